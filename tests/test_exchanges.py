"""Figures of a partner's own log and feedback: what counts as a query, and when."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from fairlead.cubes.period import Unit, parse_unit
from fairlead.v1 import query_pb2
from node.exchanges import ExchangeFigures
from node.figures import FiguresUnusable
from tests.figures import REGISTRY, YEAR, Exchanges, exchanges

ANSWERED, REFUSED = query_pb2.STATUS_ANSWERED, query_pb2.STATUS_REFUSED
HOUR, DAY = 3_600.0, 86_400.0
JANUARY = parse_unit("2026-01")
BEGIN = float(JANUARY.begins)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[tuple[Exchanges, ExchangeFigures]]:
    leaves, figures = exchanges(tmp_path)
    with closing(leaves.log), closing(leaves.book._vault):
        yield leaves, figures


async def words(
    figures: ExchangeFigures, cube: str, unit: Unit, *, cut_off: float = BEGIN + 300 * DAY
) -> dict[str, int]:
    """The figures of a whole unit, by measure; of a median, how many values it has."""
    chosen = REGISTRY.cube(cube)
    level = chosen.level(unit.step)
    row = iter((await figures.count(chosen, level, unit, cut_off=cut_off)).values[0])
    return {m.id: sum(next(row) for _ in range(m.words)) for m in chosen.measures if m.words}


async def test_asked_received_answered_and_refused(
    made: tuple[Exchanges, ExchangeFigures],
) -> None:
    """Each query once: one in two messages, one answered after nine hours, one refused at the door
    twice, one that was turned away first and answered then, and one that is still open."""
    leaves, figures = made
    await leaves.asked(BEGIN + 10, {"police": ANSWERED})
    await leaves.received(BEGIN + 20, answered_after=1, mandate=500)
    await leaves.received(BEGIN + 21, answered_after=2, mandate=500)
    await leaves.received(BEGIN + 30, answered_after=9 * HOUR)
    await leaves.received(BEGIN + 10 * HOUR, refused=True)
    door = leaves.query_id(BEGIN + 11 * HOUR)
    await leaves.turned_away(BEGIN + 11 * HOUR, door)
    await leaves.turned_away(BEGIN + 11 * HOUR + 1, door)
    late = await leaves.received(BEGIN + 12 * HOUR, answered_after=5)
    await leaves.turned_away(BEGIN + 12 * HOUR + 9, late)
    await leaves.received(BEGIN + 13 * HOUR)
    assert await words(figures, "queries", JANUARY) == {
        "asked": 1, "received": 6, "answered": 3, "refused": 2, "within-8h": 2, "within-3d": 3,
        "within-7d": 3, "hours": 3,
    }  # fmt: skip


async def test_a_query_belongs_to_the_unit_in_which_it_began(
    made: tuple[Exchanges, ExchangeFigures],
) -> None:
    """One whose second message came after midnight, and whose answer after that, counts once."""
    leaves, figures = made
    ends = float(JANUARY.ends)
    await leaves.received(ends - 60, mandate=700)
    await leaves.received(ends + 60, answered_after=HOUR, mandate=700)
    february = parse_unit("2026-02")
    assert (await words(figures, "queries", JANUARY))["answered"] == 1
    assert (await words(figures, "queries", february))["received"] == 0


async def test_what_the_log_says_later_than_the_cut_off_is_not_counted(
    made: tuple[Exchanges, ExchangeFigures],
) -> None:
    """A query whose answer left after the cut-off was received, and not yet answered."""
    leaves, figures = made
    await leaves.received(BEGIN + 10, answered_after=HOUR)
    before = await words(figures, "queries", JANUARY, cut_off=BEGIN + HOUR)
    assert (before["received"], before["answered"]) == (1, 0)
    assert (await words(figures, "queries", JANUARY))["answered"] == 1


async def test_coverage_and_false_alarms(made: tuple[Exchanges, ExchangeFigures]) -> None:
    """Whoever was asked could have answered; judgements are those of own analysts, by the time of
    asking; what others said of this partner's answers is theirs."""
    leaves, figures = made
    states = {
        "police": ANSWERED, "fiod": REFUSED, "port": query_pb2.STATUS_TIMEOUT,
        "line": query_pb2.STATUS_NOT_ASKED,
    }  # fmt: skip
    await leaves.asked(BEGIN + 10, states, query_pb2.FEEDBACK_OUTCOME_NOT_USEFUL)
    await leaves.asked(BEGIN + 20, {"police": ANSWERED}, query_pb2.FEEDBACK_OUTCOME_SEIZURE)
    await leaves.received(BEGIN + 30, answered_after=1)
    body = query_pb2.FeedbackBody(
        feedback_id=b"f" * 16, query_id=leaves.query_id(BEGIN + 40),
        outcome=query_pb2.FEEDBACK_OUTCOME_NOT_USEFUL,
    )  # fmt: skip
    await leaves.book.put(body, partner_id="police", received=True, now=BEGIN + 50)
    quarter = parse_unit("2026-Q1")
    assert await words(figures, "coverage", quarter) == {
        "eligible": 4, "answered": 2, "judged": 2, "mistaken": 1,
    }  # fmt: skip


async def test_a_unit_of_which_something_is_gone_is_not_counted(tmp_path: Path) -> None:
    """After an erasure, or when its feedback may have been deleted, there is an error and no
    number; a unit after that is counted."""
    leaves, figures = exchanges(tmp_path, kept_since=BEGIN + 100 * DAY)
    with closing(leaves.log), closing(leaves.book._vault):
        await leaves.log.keep(
            lambda connection: connection.execute(
                "INSERT INTO erasure VALUES (?, ?, ?, ?, ?)",
                (bytes(32), "public", int((BEGIN + DAY) * 1000), 1, int((BEGIN + DAY) * 1000)),
            )
        )
        with pytest.raises(FiguresUnusable) as caught:
            await words(figures, "queries", JANUARY)
        assert caught.value.code == "FIGURES_ERASED"
        assert (await words(figures, "queries", parse_unit("2026-02")))["asked"] == 0
        with pytest.raises(FiguresUnusable) as caught:
            await words(figures, "coverage", parse_unit("2026-Q2"))
        assert caught.value.code == "FIGURES_ERASED"
        assert (await words(figures, "coverage", parse_unit("2026-Q3")))["judged"] == 0


async def test_a_measure_that_the_log_has_not_is_an_error(
    made: tuple[Exchanges, ExchangeFigures],
) -> None:
    """A federation's own cube of the log with a figure of another name is not counted as zero."""
    cube = REGISTRY.cube("queries")
    other = replace(cube, measures=(replace(cube.measures[0], id="wondered"),))
    with pytest.raises(FiguresUnusable) as caught:
        await made[1].count(other, other.level("year"), YEAR, cut_off=BEGIN)
    assert caught.value.code == "FIGURES_MEASURE"
    assert "wondered" in caught.value.diagnostics()

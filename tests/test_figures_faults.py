"""Faults of askers and partners, seen from a whole gateway: figures spelled in two ways, partners
that come and go, counts that are inflated, cubes of another version."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fairlead import signing
from fairlead.errors import FairleadError, InvalidInput
from fairlead.published import Published, Shown
from fairlead.summing import Figures, Terms
from fairlead.v1 import query_pb2
from fairlead.v1 import statistics_pb2 as pb
from gateway.members import LegFailed, RoundRequest
from tests.tallying import CUBE, Town, gone, plenty, releases
from tests.walks import World, make_world

LIAR = "p00"
FEW = {LIAR, "p01", "p02"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("faults"))


@pytest.fixture
def town(world: World, tmp_path: Path) -> Iterator[Town]:
    made = Town(world, tmp_path)
    yield made
    made.close()


def out(town: Town) -> list[Published]:
    """Every release that there is."""
    rows = town.log.read("SELECT release FROM figures_release ORDER BY position")
    return [Published.parse(octets, [town.registry]) for (octets,) in rows]


# ── One figure has one spelling ──────────────────────────────────────────────────────────────


async def test_a_year_and_its_quarters_are_the_same_releases(town: Town) -> None:
    """Whoever writes the period in another way gets the octets that are out, and no node hears of
    it: a second spelling is no second draw of noise."""
    first = await town.ask(period="2025-Q1..2025-Q4")
    town.wire.seen.clear()
    for text in ("2025", "2025-Q1..2025-Q4", "2025-Q2"):
        again = await town.ask(period=text)
        octets = [event.released.release for event in again if event.HasField("released")]
        assert {*octets} <= {event.released.release for event in first}
        assert len(octets) == (1 if text == "2025-Q2" else 4)
    assert not town.wire.seen
    assert len(town.leaves("figures-released")) == 4


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"period": "2025"}, "PERIOD_MALFORMED"),
        ({"period": "2025-Q1..2025-Q1"}, "PERIOD_MALFORMED"),
        ({"period": "2025-q1"}, "PERIOD_MALFORMED"),
        ({"period": " 2025-Q1"}, "PERIOD_MALFORMED"),
        ({"level": "country,quarter"}, "LEVEL_UNKNOWN"),
        ({"level": "quarter, country"}, "LEVEL_UNKNOWN"),
        ({"level": "Quarter,country"}, "LEVEL_UNKNOWN"),
        ({"cube": "Reports"}, "CODE"),
    ],
)
async def test_a_second_spelling_is_no_question(
    town: Town, change: dict[str, str], code: str
) -> None:
    """Signed by an asker's own client and node, and refused before anybody is asked."""
    drafted = pb.FiguresQuestion.FromString(town.question(period="2025-Q1").question)
    for name, value in change.items():
        setattr(drafted, name, value)
    with pytest.raises(InvalidInput) as caught:
        await town.ask(town.question(question=signing.canonical(drafted)))
    assert caught.value.code == code
    assert not town.wire.seen
    assert not out(town)


# ── Partners that come and go ────────────────────────────────────────────────────────────────


async def test_an_asker_that_asks_as_a_partner_comes_and_goes_gets_one_list(town: Town) -> None:
    """Level after level, with the partner on the line and off it by turns: whatever is released of
    one year has one list, or it is not released; an asker has no two figures to subtract."""
    asked = [
        ("quarter,country", "2026-Q3"), ("month,port,kind", "2026-07"),
        ("month,port,kind", "2026-08"), ("quarter,country,kind", "2026-Q3"),
        ("month,port,kind", "2026-09"),
    ]  # fmt: skip
    refused = []
    for turn, (level, period) in enumerate(asked):
        if turn % 2:
            town.wire.faults["p07"] = gone
        else:
            town.wire.faults.clear()
        try:
            await town.ask(level=level, period=period)
        except FairleadError as error:
            refused.append(error.code)
    assert refused == ["PARTICIPANT_MISSING"] * 2
    assert [each.participants for each in out(town)] == [8, 8, 8]


# ── Counts that are inflated ─────────────────────────────────────────────────────────────────


def without(found: Figures, at: int) -> Figures:
    """Figures of a partner that has nothing in one cell."""

    def none(said: Any) -> Any:
        return tuple(False for _ in said) if isinstance(said, tuple) else False

    has = tuple(none(said) if at == place else said for place, said in enumerate(found.contributes))
    rows = tuple((0,) * len(row) if at == place else row for place, row in enumerate(found.values))
    return replace(found, contributes=has, values=rows)


def honest(partner: str, terms: Terms) -> Figures:
    """In the first cell three partners have something, in the second all."""
    found = plenty(partner, terms)
    return found if partner in FEW else without(found, 0)


def inflated(partner: str, terms: Terms) -> Figures:
    """One of the three states as much of everything in the first cell as its bounds allow."""
    found = honest(partner, terms)
    if partner != LIAR:
        return found
    return replace(found, values=(tuple(m.bound for m in terms.measures), *found.values[1:]))


def over(partner: str, terms: Terms) -> Figures:
    """The same partner has one more than the bound."""
    found = honest(partner, terms)
    if partner != LIAR:
        return found
    first, *rest = found.values
    return replace(found, values=((terms.measures[0].bound + 1, *first[1:]), *rest))


async def released(world: World, folder: Path, counts: Any) -> bytes:
    """The octets of one release."""
    folder.mkdir()
    town = Town(world, folder)
    town.wire.counts = counts
    try:
        return (await town.ask())[-1].released.release
    finally:
        town.close()


async def test_who_inflates_its_counts_lifts_no_cell_of_few(world: World, tmp_path: Path) -> None:
    """Contributors are counted by heads: the release is octet for octet what it would have been,
    the cell of three withheld and the other one shown."""
    true = await released(world, tmp_path / "true", honest)
    assert await released(world, tmp_path / "inflated", inflated) == true
    (few, all_) = Published.parse(true, [Town.registry]).of(CUBE.measures[0].id)
    assert (few.shown, all_.shown) == (Shown.SUPPRESSED, Shown.VALUE)
    assert await released(world, tmp_path / "plenty", plenty) != true


async def test_a_figure_over_its_bound_stops_the_release_until_it_is_mended(town: Town) -> None:
    """Nothing is released meanwhile, the partner is named and no figure; then what the others had
    said is said again, and the release is made."""
    town.wire.counts = over
    with pytest.raises(FairleadError) as caught:
        await town.ask()
    assert caught.value.code == "PARTICIPANT_MISSING"
    assert LIAR in caught.value.remedy
    assert str(10**6) not in caught.value.remedy
    assert not out(town)
    before = {each.vector for name, each in town.wire.said if each.vector}
    assert len(before) == town.count - 1
    town.wire.counts = honest
    (found,) = await town.released()
    assert found.participants == town.count
    assert before <= {each.vector for _, each in town.wire.said}


# ── Another version of the cube ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize("later", [False, True])
async def test_a_node_with_another_cube_version_takes_no_part(town: Town, later: bool) -> None:
    """Found before it counted anything, it is left out; between two rounds, the release waits for
    it, and its figures are not in any sum."""

    def other(request: RoundRequest) -> None:
        if not (later and isinstance(request, pb.GetReadyRequest)):
            raise LegFailed(query_pb2.STATUS_INVALID, "CUBE_VERSION")

    town.wire.faults["p03"] = other
    if not later:
        (found,) = releases(await town.ask())
        assert (found.participants, found.expected) == (7, 9)
        return
    with pytest.raises(FairleadError) as caught:
        await town.ask()
    assert "p03 (invalid, CUBE_VERSION)" in caught.value.remedy
    assert not out(town)
    town.wire.faults.clear()
    (found,) = releases(await town.ask())
    assert found.participants == 8

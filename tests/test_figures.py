"""Records into cells: every code finds its place, and whatever cannot be counted is named."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.cubes.cube import MadeOf
from fairlead.cubes.period import parse_unit
from fairlead.cubes.registry import Registry
from fairlead.errors import InvalidInput
from node.figures import Counted, Figures, FiguresUnusable
from node.figures.adding import own_part
from node.figures.tally import Fact, Places, ranges, tally
from tests.cubes import SMALL, written

CUBE = Registry.parse(written(SMALL)).cube("reports")
QUARTER, YEAR = parse_unit("2026-Q1"), parse_unit("2026")


def fact(row: int = 1, *, place: str = "NLRTM", kind: str = "named", **adds: float) -> Fact:
    """A record of February."""
    return Fact(
        row=row, at=parse_unit("2026-02").begins, codes={"place": place, "report-kind": kind},
        adds=adds,
    )  # fmt: skip


def test_a_record_is_in_its_cell_with_each_of_its_words() -> None:
    """Counts, sums and the bar of a median stand in the order of the measures; a rate has none."""
    level = CUBE.level("quarter,country,kind")
    facts = [fact(due=1, kg=40, days=8), fact(place="BEANR", kind="anonymous", due=1, done=1)]
    found = tally(CUBE, level, QUARTER, facts, what="report")
    assert found.records == (1, 0, 0, 1)
    assert found.values == (
        (1, 1, 0, 0, 0, 0, 0), (0,) * 7, (0,) * 7, (1, 0, 40, 0, 0, 1, 0),
    )  # fmt: skip


def test_a_record_of_another_time_is_in_no_cell_and_in_no_error() -> None:
    """What is dated before or after the unit is not looked at."""
    level = CUBE.level("year")
    others = [replace(fact(due=1), at=at) for at in (YEAR.begins - 1, YEAR.ends)]
    wrong = replace(fact(place="nowhere"), at=YEAR.ends)
    assert tally(CUBE, level, YEAR, [*others, wrong], what="report").records == (0,)
    edges = [replace(fact(due=1), at=at) for at in (YEAR.begins, YEAR.ends - 1)]
    assert tally(CUBE, level, YEAR, edges, what="report").records == (2,)


def test_records_without_a_cell_are_named_by_their_rows() -> None:
    """Also at a level that does not count by what is wrong: every level agrees on what counts."""
    facts = [*(fact(row, place="NL") for row in (3, 4, 5, 9)), fact(7, kind=""), fact(1, due=1)]
    with pytest.raises(FiguresUnusable) as caught:
        tally(CUBE, CUBE.level("year"), YEAR, facts, what="report")
    assert caught.value.problems == (
        "report 3–5, 9: place: a code of the registry's port, or finer, is expected",
        "report 7: report-kind: is missing",
    )
    assert "report 7" in caught.value.diagnostics()
    assert "NL" not in caught.value.diagnostics().replace("report", "")


def test_over_the_bound_names_cell_and_measure() -> None:
    """Ten are one too many; a bar has the bound of its median."""
    facts = [fact(row, due=1, days=2) for row in range(10)]
    with pytest.raises(FiguresUnusable) as caught:
        tally(CUBE, CUBE.level("quarter,country"), QUARTER, facts, what="report")
    assert caught.value.problems == (
        "2026-Q1/NL: due: at most 9 in a cell is expected",
        "2026-Q1/NL: days: at most 9 in a bar is expected",
    )
    assert tally(CUBE, CUBE.level("year"), YEAR, facts[:9], what="report").values[0][0] == 9


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["NLRTM", "BEANR", "NLAMS"]),
            st.sampled_from(["named", "anonymous"]),
        ),
        max_size=9,
    )
)
@settings(max_examples=50, deadline=None)
def test_the_place_in_a_level_is_that_of_the_cell(records: list[tuple[str, str]]) -> None:
    """Whatever the records, each is counted in the cell that the registry spells for it."""
    level = CUBE.level("month,port,kind")
    unit = parse_unit("2026-02")
    found = tally(
        CUBE, level, unit, [fact(place=p, kind=k, due=1) for p, k in records], what="report"
    )
    cells = level.cells(level.period(unit.spelling))
    for cell, count in zip(cells, found.records, strict=True):
        assert count == records.count(cell.codes)


def test_a_code_of_two_steps_is_that_of_the_finer() -> None:
    """Where the registry spells a port like its country, a record means the port."""
    document = {**SMALL, "dimensions": [*SMALL["dimensions"]]}
    place = {**document["dimensions"][0]}
    fine, coarse = place["steps"]
    codes = [{"code": "NL", "title": "Port NL", "parent": "BE"}, *fine["codes"]]
    place["steps"] = [{**fine, "codes": codes}, coarse]
    document["dimensions"][0] = place
    cube = Registry.parse(written(document)).cube("reports")
    found = tally(cube, cube.level("quarter,country"), QUARTER, [fact(place="NL", due=1)], what="r")
    assert found.records == (1, 0)
    assert Places(cube).wrong({"place": "NL", "report-kind": "named"}) == []


@given(st.sets(st.integers(1, 60), min_size=1))
def test_ranges_say_every_row(rows: set[int]) -> None:
    """Whatever rows are wrong, up to twenty ranges of them can be read back."""
    text = ranges(sorted(rows, reverse=True))
    parts = [part.split("–") for part in text.split(", ") if part != "…"]
    read = {row for part in parts for row in range(int(part[0]), int(part[-1]) + 1)}
    assert read <= rows
    assert read == rows or text.endswith("…")


# ── Added up ─────────────────────────────────────────────────────────────────────────────────


class Fixed:
    """An origin that always says the same."""

    def __init__(self, due: int) -> None:
        self.due = due

    async def count(self, *_: object, cut_off: float) -> Counted:
        return Counted(records=(self.due,), values=((self.due, 0, 0, 0, 0, 0, 0),))


MIXED = replace(CUBE, made_of=(MadeOf.SOURCE, MadeOf.REPORTS))


async def test_origins_are_added_and_their_sum_is_within_the_bound() -> None:
    """A cube of the register and of a source is the sum of both, or an error."""
    level = MIXED.level("year")
    for source, total in ((4, 9), (5, None)):
        figures = Figures({own_part(MIXED): Fixed(5)}, source=Fixed(source), clock=lambda: 9.0)
        if total is None:
            with pytest.raises(FiguresUnusable, match="cannot be counted"):
                await figures.count(MIXED, level, YEAR, cut_off=9.0)
            continue
        found = await figures.count(MIXED, level, YEAR, cut_off=9.0)
        assert (found.records, found.values[0][0]) == ((total,), total)


async def test_a_node_with_nothing_to_count_from_says_so() -> None:
    """That is another thing than zero; and so is a source that is mapped for other cubes only."""
    only = replace(CUBE, made_of=(MadeOf.SOURCE,))
    for figures in (
        Figures({}, clock=lambda: 9.0),
        Figures(
            {own_part(CUBE): Fixed(1)}, source=Fixed(1), mapped=lambda _: False, clock=lambda: 9.0
        ),
    ):
        assert figures.origins(only) == ()
        with pytest.raises(FiguresUnusable) as caught:
            await figures.count(only, only.level("year"), YEAR, cut_off=1.0)
        assert caught.value.code == "FIGURES_NONE"


async def test_a_cut_off_is_not_ahead() -> None:
    """Figures as of a time that is still to come would not stay the same."""
    figures = Figures({own_part(CUBE): Fixed(1)}, clock=lambda: 9.0)
    with pytest.raises(InvalidInput):
        await figures.count(CUBE, CUBE.level("year"), YEAR, cut_off=9.5)


def test_a_row_for_each_cell_and_a_number_for_each_word() -> None:
    """What an origin states in another shape is a fault of the program, found at once."""
    level = CUBE.level("quarter,country")
    for records, values in (((0,), ((0,) * 7,) * 2), ((0, 0), ((0,) * 6,) * 2)):
        with pytest.raises(ValueError, match="for each"):
            Counted.checked(CUBE, level, QUARTER, records=records, values=values)

"""Cells: a fixed list, one spelling each, and parts that add up to exactly one whole."""

from __future__ import annotations

from contextlib import suppress
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.cubes.level import MAX_CELLS, Cell, Level
from fairlead.cubes.period import Period, Unit, parse_period
from fairlead.cubes.registry import Registry
from fairlead.cubes.rollup import roll, rolls_up
from fairlead.errors import InvalidInput
from tests.cubes import DEFAULTS, SMALL, registries, written

SMALL_CUBE = Registry.parse(written(SMALL)).cube("reports")
SHIPPED = [level for cube in Registry.parse(DEFAULTS).cubes for level in cube.levels]
YEARS = parse_period("2025..2026")


def unit_of(level: Level) -> Period:
    """One unit of a level's time."""
    unit = YEARS.units(level.time)[0]
    return Period(unit, unit)


def test_cells_come_in_the_order_of_the_registry() -> None:
    """By time, then by code as listed, the last dimension's fastest."""
    level = SMALL_CUBE.level("quarter,country,kind")
    assert [cell.spelling for cell in level.cells(parse_period("2026-Q1..2026-Q2"))] == [
        "2026-Q1/BE/anonymous", "2026-Q1/BE/named", "2026-Q1/NL/anonymous", "2026-Q1/NL/named",
        "2026-Q2/BE/anonymous", "2026-Q2/BE/named", "2026-Q2/NL/anonymous", "2026-Q2/NL/named",
    ]  # fmt: skip
    assert [cell.spelling for cell in SMALL_CUBE.level("year").cells(YEARS)] == ["2025", "2026"]


@given(registries())
@settings(max_examples=20, deadline=None)
def test_every_cell_has_one_spelling_and_one_index(registry: Registry) -> None:
    """Spelled, read back and looked up, a cell is itself, and no two have the same spelling."""
    for level in registry.cubes[0].levels:
        cells = level.cells(YEARS)
        spelled = [cell.spelling for cell in cells]
        assert len(set(spelled)) == len(cells) == level.width * len(YEARS.units(level.time))
        assert [level.cell(text) for text in spelled] == list(cells)
        assert [cells.place(cell) for cell in cells] == list(range(len(cells)))
        assert cells[-1] == list(cells)[-1]
        assert cells[1:3] == tuple(cells)[1:3]


@given(registries())
@settings(max_examples=20, deadline=None)
def test_no_two_cells_of_a_registry_share_a_reference(registry: Registry) -> None:
    """Not even of two levels, where their spellings may be alike."""
    cells = list(chain.from_iterable(level.cells(YEARS) for level in registry.cubes[0].levels))
    assert len({cell.reference for cell in cells}) == len(cells)


_TEXTS = st.text(st.sampled_from("2026-Q1/BENLamnd anoyus"), max_size=24)


@given(st.sampled_from(SMALL_CUBE.levels), _TEXTS)
def test_a_text_is_the_one_spelling_of_a_cell_or_refused(level: Level, text: str) -> None:
    """Whatever is read is spelled exactly so, and nothing raises anything but our error."""
    with suppress(InvalidInput):
        assert level.cell(text).spelling == text


@pytest.mark.parametrize(
    "text",
    [
        "2026-Q1", "2026-Q1/NL", "2026-Q1/NL/anonymous/", "2026-Q1/anonymous/NL",
        "2026/NL/anonymous", "2026-Q1/nl/anonymous", "2026-Q1//anonymous",
        "2026-Q1/NLRTM/anonymous", "NL/anonymous",
    ],
)  # fmt: skip
def test_a_cell_of_another_level_or_order_is_refused(text: str) -> None:
    """Codes too few or too many, of another step, in another order or another case."""
    with pytest.raises(InvalidInput) as caught:
        SMALL_CUBE.level("quarter,country,kind").cell(text)
    assert caught.value.code == "CELL_UNKNOWN"


@pytest.mark.parametrize(
    ("cube", "level", "unit", "codes"),
    [
        ("others", "year", "2026", ()), ("reports", "quarter", "2026", ()),
        ("reports", "year", "2027", ()), ("reports", "year", "2026-Q1", ()),
        ("reports", "year", "2026", ("NL",)),
    ],
)  # fmt: skip
def test_a_cell_of_another_list_has_no_index(
    cube: str, level: str, unit: str, codes: tuple[str, ...]
) -> None:
    """Another cube's, another level's, or of another time."""
    step = parse_period(unit).first
    cell = Cell(cube=cube, level=level, unit=step, codes=codes)
    with pytest.raises(InvalidInput) as caught:
        SMALL_CUBE.level("year").cells(YEARS).place(cell)
    assert caught.value.code == "CELL_UNKNOWN"


def test_an_index_beyond_the_last_cell_is_none() -> None:
    """As in any sequence."""
    with pytest.raises(IndexError):
        _ = SMALL_CUBE.level("year").cells(YEARS)[2]


# ── Parts and wholes ─────────────────────────────────────────────────────────────────────────


def checked(fine: Level, coarse: Level) -> None:
    """The roll-up is a partition, and each part is of its whole by unit and by parents."""
    found = roll(fine, coarse)
    whole = unit_of(coarse)
    parts, wholes = fine.cells(whole), coarse.cells(whole)
    assert sorted(chain.from_iterable(found)) == list(range(len(parts)))
    assert len(found) == len(wholes)
    assert all(places and list(places) == sorted(places) for places in found)
    steps = {axis.dimension.id: axis.step.step for axis in coarse.axes}
    for place, cell in enumerate(parts):
        codes = []
        for axis, code in zip(fine.axes, cell.codes, strict=True):
            if axis.dimension.id in steps:
                codes.append(climbed(axis.dimension.steps, axis.step.step, code, steps))
        above = Cell(
            cube=coarse.cube, level=coarse.name, unit=cell.unit.within(coarse.time),
            codes=tuple(codes),
        )  # fmt: skip
        assert place in found[wholes.place(above)]


def climbed(steps, start: str, code: str, wanted) -> str:
    """The code that a code belongs to at the coarser step, one parent after the other."""
    names = [step.step for step in steps]
    for step in steps[names.index(start) :]:
        (found,) = [row for row in step.codes if row.code == code]
        if step.step in wanted.values():
            return code
        code = found.parent
    raise AssertionError


@given(registries())
@settings(max_examples=20, deadline=None)
def test_roll_ups_partition(registry: Registry) -> None:
    """Of every two levels that compare, each fine cell is part of one coarse cell, its own."""
    levels = registry.cubes[0].levels
    for fine in levels:
        for coarse in levels:
            if rolls_up(fine, coarse):
                checked(fine, coarse)
            else:
                with pytest.raises(InvalidInput):
                    roll(fine, coarse)


@pytest.mark.parametrize("level", SHIPPED, ids=lambda level: f"{level.cube}:{level.name}")
def test_the_shipped_levels_add_up(level: Level) -> None:
    """Every level of every shipped cube fits a vector and partitions into the one above."""
    assert level.width <= MAX_CELLS
    assert level.parent is not None or level.name == "year"
    if level.parent is not None:
        checked(level, level.parent)


def test_a_quarter_rolls_up_to_its_year_in_order() -> None:
    """Time adds up like any dimension: the four quarters' cells, in order, are the year's."""
    fine, coarse = SMALL_CUBE.level("quarter,country"), SMALL_CUBE.level("year")
    assert roll(fine, coarse) == ((0, 1, 2, 3, 4, 5, 6, 7),)
    ports = roll(SMALL_CUBE.level("month,port,kind"), fine)
    assert ports == ((2, 3, 8, 9, 14, 15), (0, 1, 4, 5, 6, 7, 10, 11, 12, 13, 16, 17))


def test_levels_of_two_cubes_do_not_add_up() -> None:
    """Nor a coarse level to a finer one."""
    other = next(level for level in SHIPPED if level.name == "year")
    for fine, coarse in (
        (SMALL_CUBE.level("quarter,country"), other),
        (SMALL_CUBE.level("year"), SMALL_CUBE.level("quarter,country")),
        (SMALL_CUBE.level("quarter,country"), SMALL_CUBE.level("quarter,country,kind")),
    ):
        with pytest.raises(InvalidInput) as caught:
            roll(fine, coarse)
        assert caught.value.code == "LEVEL_NO_ROLLUP"


def test_a_level_reads_a_period_in_its_own_units() -> None:
    """So the period of a question, and of its release, has one spelling."""
    level = SMALL_CUBE.level("quarter,country")
    assert level.period("2026").spelling == "2026-Q1..2026-Q4"
    assert list(level.cells(parse_period("2026"))) == list(level.cells(level.period("2026")))
    assert level.cells(parse_period("2026"))[0].unit == Unit(level.time, 2026 * 4)

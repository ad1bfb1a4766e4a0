"""One suite over every origin of figures: cells in order, exact totals, cut-off, bounds."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from fairlead.cubes.cube import Cube
from fairlead.cubes.level import Level
from fairlead.cubes.period import Period
from fairlead.cubes.registry import Registry
from fairlead.cubes.rollup import roll, rolls_up
from node.figures import Counted, FiguresUnusable
from tests.cubes import written
from tests.figures import (
    REGISTRY,
    YEAR,
    Origin,
    added,
    of_exchanges,
    of_mapped,
    of_register,
    tight,
)

MAKERS = {
    "reports": of_register("reports-received"),
    "reports with feedback": of_register("report-feedback"),
    "bribe approaches": of_register("bribe-approaches"),
    "enquiries": of_register("enquiry-outcomes"),
    "seizures": of_register("seizures"),
    "queries": of_exchanges("queries"),
    "coverage": of_exchanges("coverage"),
    "two origins": added(of_register("displacement")),
    "a mapped file": of_mapped("seizures", "csv"),
    "a mapped table": of_mapped("vulnerabilities", "sqlite"),
}
"""Every implementation, over records of half of :data:`YEAR`; a further one is a line here."""


@pytest.fixture(params=MAKERS.values(), ids=MAKERS.keys())
async def origin(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Origin]:
    """One of them."""
    made, close = await request.param(tmp_path)
    yield made
    close()


async def counted(
    origin: Origin, level: Level, *, cut_off: float | None = None, cube: Cube | None = None
) -> list[Counted]:
    """The figures of a level in each of its units of the year."""
    until = origin.clock.now if cut_off is None else cut_off
    units = Period(YEAR, YEAR).units(level.time)
    return [
        await origin.figures.count(cube or origin.cube, level, unit, cut_off=until)
        for unit in units
    ]


def flat(found: Sequence[Counted]) -> list[tuple[int, ...]]:
    """Each cell's records and words, over all units, in canonical order."""
    return [
        (records, *values)
        for one in found
        for records, values in zip(one.records, one.values, strict=True)
    ]


def summed(rows: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(map(sum, zip(*rows, strict=True)))


async def test_each_cell_has_a_row_with_each_word_of_the_cube(origin: Origin) -> None:
    """As many rows as the level has cells, as many numbers as the cube has words, and none but
    where there is a record."""
    words = sum(measure.words for measure in origin.cube.measures)
    for level in origin.cube.levels:
        for one in await counted(origin, level):
            assert len(one.records) == len(one.values) == level.width
            assert {len(row) for row in one.values} == {words}
            assert all(any(row) <= (n > 0) for n, row in zip(one.records, one.values, strict=True))


async def test_finer_cells_add_up_to_each_coarser_one(origin: Origin) -> None:
    """Of every two levels of which one rolls up to the other, in the order of the registry."""
    found = {level.name: flat(await counted(origin, level)) for level in origin.cube.levels}
    assert any(records for records, *_ in found["year"])
    for fine in origin.cube.levels:
        for coarse in origin.cube.levels:
            if fine is coarse or not rolls_up(fine, coarse):
                continue
            below = found[fine.name]
            step = len(below) * coarse.time.months // 12
            for unit in range(12 // coarse.time.months):
                part = below[unit * step : (unit + 1) * step]
                for place, cells in enumerate(roll(fine, coarse)):
                    total = found[coarse.name][unit * coarse.width + place]
                    assert total == summed([part[cell] for cell in cells]), (fine.name, coarse.name)


async def test_what_is_recorded_later_is_not_in_figures_of_before(origin: Origin) -> None:
    """The figures of a cut-off stay what they were, and those of a later one have what came."""
    before_at = origin.clock.now
    before = {level.name: await counted(origin, level) for level in origin.cube.levels}
    origin.clock.now += 3600
    await origin.more()
    for level in origin.cube.levels:
        assert await counted(origin, level, cut_off=before_at) == before[level.name]
    assert await counted(origin, origin.cube.level("year")) != before["year"]


async def test_before_anything_was_recorded_there_is_nothing(origin: Origin) -> None:
    """A cut-off before the first record gives zeros in every cell."""
    level = origin.cube.levels[0]
    assert not any(map(any, flat(await counted(origin, level, cut_off=YEAR.begins - 1.0))))


async def test_a_figure_over_its_bound_is_an_error_that_names_the_cell(origin: Origin) -> None:
    """Nothing is cut off: what one partner may not state is refused, cell by cell and measure."""
    cube = tight(origin.cube)
    with pytest.raises(FiguresUnusable) as caught:
        await counted(origin, cube.level("year"), cube=cube)
    assert caught.value.code == "MEASURE_BOUND"
    assert all(problem.startswith(f"{YEAR.spelling}: ") for problem in caught.value.problems)
    assert any("at most 1 in a" in problem for problem in caught.value.problems)


async def test_a_record_without_a_cell_is_an_error_and_nothing_is_half_counted(
    origin: Origin,
) -> None:
    """When the registry in force lacks the codes of records, their rows are named."""
    name = origin.cube.dimensions[0].id
    cube = recoded(origin.cube.id, name)
    with pytest.raises(FiguresUnusable) as caught:
        await counted(origin, cube.level("year"), cube=cube)
    assert caught.value.code == "FIGURES_CODES"
    (problem,) = caught.value.problems
    assert re.fullmatch(
        rf"[a-z., ]+ [0-9–, …]+: (dimensions\.)?{name}: a code of the registry's .*", problem
    )


def recoded(cube: str, dimension: str) -> Cube:
    """A cube as another registry has it, in which each code of a dimension is spelled otherwise."""
    document = json.loads(REGISTRY.canonical)
    (row,) = document["cubes"] = [row for row in document["cubes"] if row["id"] == cube]
    document["dimensions"] = [d for d in document["dimensions"] if d["id"] in row["dimensions"]]
    (changed,) = (d for d in document["dimensions"] if d["id"] == dimension)
    for step in changed["steps"]:
        for code in step["codes"]:
            code |= {key: f"x-{code[key]}" for key in ("code", "parent") if key in code}
    return Registry.parse(written(document)).cube(cube)

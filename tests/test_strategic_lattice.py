"""How released levels add up: every sum is true, none is missing, and looks are counted where one
record is in one cell."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.cubes.cube import Cube
from fairlead.cubes.period import TimeStep, Unit, parse_unit
from fairlead.cubes.registry import Registry
from fairlead.published import Shown
from fairlead.strategic.lattice import Lattice, Place, lattice, level_named, meet, references
from fairlead.strategic.looks import Look, most_looks
from tests.cubes import written
from tests.strategic import REGISTRY, Record, federation, months_of

SEIZURES = REGISTRY.cube("seizures")


def crossed(*levels: str) -> Cube:
    """A cube of two dimensions of three codes, at these levels."""
    dimensions: list[Any] = [
        {"id": d, "title": d, "steps": [{"step": d, "title": d, "codes": [
            {"code": f"{d}{at}", "title": "x"} for at in range(3)]}]}
        for d in ("a", "b")
    ]  # fmt: skip
    cube = {
        "id": "crossed", "version": 1, "title": "C", "about": "c", "made_of": ["source"],
        "dimensions": ["a", "b"],
        "measures": [{"id": "n", "title": "N", "kind": "count", "unit": "n", "bound": 10_000}],
        "levels": [*({"level": name, "rolls_up_to": "year"} for name in levels), {"level": "year"}],
    }  # fmt: skip
    document = {"schema": 1, "version": 1, "dimensions": dimensions, "cubes": [cube]}
    return Registry.parse(written(document)).cubes[0]


def month_cells(cube: Cube, place: Place, at: int) -> np.ndarray:
    """One for each finest cell of each month of 2025 that is part of a cell."""
    level, unit = level_named(cube, place[0]), place[1]
    sizes = [len(cube.finest(d.id).codes) for d in cube.dimensions]
    found = np.zeros((12, *sizes))
    for month in range(12):
        its = Unit(TimeStep.MONTH, 2025 * 12 + month)
        found[month] = its.within(unit.step) == unit
    for axis in reversed(level.axes):
        at, code = divmod(at, len(axis.step.codes))
        where = cube.dimensions.index(axis.dimension)
        up = np.array(axis.dimension.up(cube.finest(axis.dimension.id).step, axis.step.step))
        shape = [1] * found.ndim
        shape[where + 1] = sizes[where]
        found = found * (up == code).reshape(shape)
    return found.ravel()


def rows_of(cube: Cube, made: Lattice) -> dict[str, np.ndarray]:
    """Every cell that is present, by its key."""
    return {
        cell: month_cells(cube, place, at)
        for place in made.present
        for at, cell in enumerate(references(made.levels[place[0]], place[1]))
    }


UNITS = {
    TimeStep.MONTH: [f"2025-{month:02}" for month in range(1, 13)],
    TimeStep.QUARTER: [f"2025-Q{quarter}" for quarter in range(1, 5)],
    TimeStep.YEAR: ["2025"],
}


def places_of(cube: Cube) -> list[Place]:
    return [(level.name, parse_unit(u)) for level in cube.levels for u in UNITS[level.time]]


@settings(deadline=None, max_examples=25)
@given(
    name=st.sampled_from(["seizures", "queries", "bribe-approaches", "vulnerabilities"]),
    seed=st.integers(0, 10_000),
)
def test_every_sum_is_true(name: str, seed: int) -> None:
    """Whatever is out, in whatever order: a whole has its parts, and a rest where some are not."""
    cube, luck = REGISTRY.cube(name), Random(seed)
    places = luck.sample(places_of(cube), luck.randint(1, len(places_of(cube))))
    made = lattice(cube, places, places[0])
    rows = rows_of(cube, made)
    for each in made.sums(places[0]):
        parts = [part for part in each.parts if not part.startswith("~")]
        left = rows[each.whole] - sum(rows[part] for part in parts)
        assert left.min() >= 0
        assert (left.max() > 0) == (len(parts) < len(each.parts))


@pytest.mark.parametrize("name", ["seizures", "enquiry-outcomes", "vulnerabilities"])
@pytest.mark.parametrize("seed", range(2))
def test_no_sum_is_missing(name: str, seed: int) -> None:
    """What the finest cells say of the released ones, the sums say: as many independent ones, once
    what is not out is eliminated."""
    cube = REGISTRY.cube(name)
    levels = Random(seed).sample(cube.levels, 4)
    quarters = UNITS[TimeStep.QUARTER]
    places = [
        (level.name, parse_unit(u))
        for level in levels
        for u in (quarters if level.time is TimeStep.QUARTER else UNITS[level.time])
    ]
    made = lattice(cube, places, places[0])
    rows = rows_of(cube, made)
    out = [cell for place in made.out for cell in references(made.levels[place[0]], place[1])]
    truth = np.array([rows[cell] for cell in out])
    wanted = len(out) - np.linalg.matrix_rank(truth)
    order = {cell: at for at, cell in enumerate(rows)}
    system = np.zeros((len(made.sums(places[0])), len(order)))
    for at, each in enumerate(made.sums(places[0])):
        system[at, order[each.whole]] = 1
        system[at, [order[part] for part in each.parts]] = -1
    hidden = system[:, [order[cell] for cell in rows if cell not in set(out)]]
    ranks = [np.linalg.matrix_rank(part) if part.size else 0 for part in (system, hidden)]
    assert ranks[0] - ranks[1] == wanted


def test_two_levels_meet_where_both_add_up() -> None:
    """The coarser step of each dimension that both have."""
    quarter, kg, year = (
        SEIZURES.level(name)
        for name in ("quarter,country", "quarter,exchange,kg-band", "year,country,exchange")
    )
    assert meet(quarter, kg) == meet(kg, quarter) == "quarter"
    assert meet(quarter, year) == "year,country"
    assert meet(kg, year) == "year,exchange"


def test_a_total_that_nobody_released_gives_nothing_away() -> None:
    """Three cells by one dimension, of which one is withheld, and three by another: both add up to
    the same, though no release says to what."""
    cube = crossed("quarter,a", "quarter,b")
    pool = federation(cube, months=months_of("2025-Q1"), each=40, skew=0.1)
    for name in pool.ids[2:]:
        pool.records[name] = [one for one in pool.records[name] if one.codes[0] != "a2"]
    pool.noise = False
    first = pool.release("quarter,a", "2025-Q1").published.of("n")
    assert [cell.shown for cell in first].count(Shown.SUPPRESSED) == 1
    second = pool.release("quarter,b", "2025-Q1").published.of("n")
    assert [cell.shown for cell in second].count(Shown.SUPPRESSED) == 1


def test_a_record_is_in_one_cell_of_each_level() -> None:
    """Two levels of which neither is finer look at the same record, and a third at all of them."""
    cube = crossed("quarter,a", "quarter,b", "quarter")
    unit = parse_unit("2025-Q1")

    def look(name: str, *drawn: bool) -> Look:
        return Look(level=cube.level(name), unit=unit, drawn=drawn)

    by_a = look("quarter,a", True, False, False)
    by_b = look("quarter,b", False, False, True)
    assert most_looks(cube, by_a, [by_b]) == 2
    assert most_looks(cube, look("quarter", True), [by_a, by_b, by_b]) == 4
    assert most_looks(cube, look("quarter,a", False, True, True), [by_a]) == 1
    assert most_looks(cube, look("quarter,a", False, False, False), [by_a]) == 0


def test_looks_of_other_months_are_of_other_records() -> None:
    """A year has the looks at its quarters, the most of any; a quarter not those at another."""
    cube = crossed("quarter,a", "quarter,b", "quarter")
    first, second = (
        Look(level=cube.level("quarter"), unit=parse_unit(text), drawn=(True,))
        for text in ("2025-Q1", "2025-Q2")
    )
    year = Look(level=cube.level("year"), unit=parse_unit("2025"), drawn=(True,))
    assert most_looks(cube, second, [first, year]) == 2
    assert most_looks(cube, year, [first, first, second]) == 3


def test_cells_beyond_count_are_counted_by_release(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the finest cells are too many to be looked at, every release has every record."""
    cube = crossed("quarter,a", "quarter,b")
    unit = parse_unit("2025-Q1")
    looks = [
        Look(level=cube.level("quarter,a"), unit=unit, drawn=drawn)
        for drawn in ((True, False, False), (False, True, False))
    ]
    assert most_looks(cube, looks[0], looks[1:]) == 1
    monkeypatch.setattr("fairlead.strategic.looks.MAX_ARRAY", 2)
    assert most_looks(cube, looks[0], looks[1:]) == 2


def test_records_are_placed_as_the_registry_says() -> None:
    """The helper of these tests counts a record in the cell whose codes its own belong to."""
    pool = federation(SEIZURES, months=months_of("2025-Q1"), each=1, partners=4)
    record = Record(2025 * 12, ("NL", "linked", "10-100"), (1, 50))
    pool.records = {name: [record] for name in pool.ids}
    level = SEIZURES.level("quarter,country")
    rows = pool.truth(level, parse_unit("2025-Q1"))
    place = next(at for at, count in enumerate(rows.records) if count)
    assert level.cells(level.period("2025-Q1"))[place].codes == ("NL",)

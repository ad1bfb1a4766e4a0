"""What anybody can conclude from released octets alone, with every record's cell as an unknown.

The audit of the product works on levels that are out and on what these have in common. This one
works on the finest cells there are, of which all levels are sums, and knows nothing of ledgers:
were a relation missing in the former, the latter would find a cell too narrow.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linprog

from fairlead.cubes.cube import Cube
from fairlead.cubes.level import Level
from fairlead.cubes.period import TimeStep, Unit, parse_unit
from fairlead.published import Figures, Published, PublishedCell, Shown
from fairlead.strategic.deciding import RULES
from fairlead.strategic.errors import own_error
from tests.strategic import REGISTRY, Federation, federation, months_of


def test_no_suppressed_cell_is_known_closely_from_everything_that_is_out() -> None:
    """Levels of which neither is finer, a year over its quarters, all of them together."""
    pool = federation(REGISTRY.cube("seizures"), months=months_of("2025"), each=8, skew=1.2)
    pool.noise = False
    out = [
        pool.release(level, unit).published
        for unit in ("2025-Q1", "2025-Q2")
        for level in ("quarter,country", "quarter,exchange,kg-band", "quarter,exchange", "quarter")
    ]
    out += [pool.release(level, "2025").published for level in ("year,country,exchange", "year")]
    checked, narrow = attacked(pool, out)
    assert checked > 40
    assert narrow == []


def test_the_attack_succeeds_where_nothing_else_is_withheld() -> None:
    """Were one cell suppressed alone, totals would give it away: the test above can fail."""
    pool = federation(REGISTRY.cube("seizures"), months=months_of("2025-Q1"), each=8, skew=1.2)
    pool.noise = False
    naive = [unprotected(pool, level) for level in ("quarter,exchange,kg-band", "quarter,exchange")]
    assert attacked(pool, naive)[1]


def unprotected(pool: Federation, name: str) -> Published:
    """A release of which only one cell of the finer level is withheld."""
    level, unit = pool.cube.level(name), parse_unit("2025-Q1")
    made = Federation(cube=pool.cube, records=pool.records, noise=False).release(name, "2025-Q1")
    rows = pool.truth(level, unit).values
    cells = tuple(
        PublishedCell.of(cell.codes, None if level.width == 8 and at == 0 else row[0], 2)
        for at, (cell, row) in enumerate(zip(made.published.of("seizures"), rows, strict=True))
    )
    first, *rest = made.published.figures
    return replace(made.published, figures=(Figures(measure=first.measure, cells=cells), *rest))


def attacked(pool: Federation, out: list[Published]) -> tuple[int, list[str]]:
    """How many suppressed counts there are, and which of them are known too closely."""
    cube = pool.cube
    rows, low, high = [], [], []
    withheld: dict[str, np.ndarray] = {}
    bound = cube.measures[0].bound * len(pool.ids)
    own = own_error(cube, cube.measures[0], len(pool.ids), RULES)
    shown: set[str] = set()
    for made in out:
        for at, cell in enumerate(made.of("seizures")):
            name = f"{made.level.name} {made.unit.spelling} {'/'.join(cell.codes)}"
            row = members(cube, made.level, made.unit, at)
            if cell.shown in {Shown.VALUE, Shown.ZERO} and cell.error <= own:
                rows.append(row)
                low.append(max(0, cell.value - 2))
                high.append(cell.value + 2)
                shown.add(name)
            elif cell.shown is Shown.SUPPRESSED:
                withheld[name] = row
    matrix = np.array(rows)
    limits = np.vstack([matrix, -matrix])
    ends = np.concatenate([np.array(high), -np.array(low)])
    narrow = []
    for name, row in withheld.items():
        found = [
            linprog(sign * row, A_ub=limits, b_ub=ends, bounds=(0, bound), method="highs").fun
            for sign in (1, -1)
        ]
        if not RULES.wide(found[0], -found[1]):
            narrow.append(name)
    return len(withheld), narrow


def members(cube: Cube, level: Level, unit: Unit, at: int) -> np.ndarray:
    """One for each finest cell of the year, by quarter, that is part of a level's cell."""
    sizes = [len(cube.finest(d.id).codes) for d in cube.dimensions]
    found = np.ones((4, *sizes))
    for quarter in range(4):
        its = Unit(TimeStep.QUARTER, 2025 * 4 + quarter)
        found[quarter] *= its.within(TimeStep.YEAR) == unit or its == unit
    for axis in reversed(level.axes):
        at, code = divmod(at, len(axis.step.codes))
        where = cube.dimensions.index(axis.dimension)
        up = np.array(axis.dimension.up(cube.finest(axis.dimension.id).step, axis.step.step))
        shape = [1] * found.ndim
        shape[where + 1] = sizes[where]
        found = found * (up == code).reshape(shape)
    return found.ravel()


@pytest.mark.parametrize("name", ["seizures", "displacement"])
def test_every_level_of_a_cube_has_its_members(name: str) -> None:
    """The cells of a level share no finest cell, and have all of a quarter."""
    cube = REGISTRY.cube(name)
    for level in cube.levels:
        unit = Unit(level.time, 2025 * 12 // level.time.months)
        total = sum(members(cube, level, unit, at) for at in range(level.width))
        assert set(np.unique(total)) <= {0.0, 1.0}
        assert total.sum() == total.size * level.time.months / 12

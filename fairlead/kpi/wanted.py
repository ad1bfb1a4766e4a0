"""Which releases a pack of a year is made of: asked for once, finest level first.

Few levels on purpose. Each separately released figure that counts a record is one more guess at
it, and the rules stop showing figures of it after a few: a pack that asked for every level would
hide the figures that people read.
"""

from __future__ import annotations

from collections.abc import Iterator

from fairlead.cubes.cube import Cube
from fairlead.cubes.level import Level
from fairlead.cubes.period import Period, TimeStep, Unit
from fairlead.cubes.registry import Registry
from fairlead.kpi.shelf import units_of

TRENDS = (("displacement", "quarter,shore"), ("modus-operandi", "quarter,modus-operandi"))
"""What the pages about trends show."""
NARROW = 12
"""Cells in a unit of time: a level with more is not shown beside a cube's totals."""


def levels_of(cube: Cube) -> tuple[Level, ...]:
    """The levels of a cube that a pack shows, finest first: that of its trend, or else the
    narrowest by quarter and one dimension; quarters; years."""
    trend = [level for level in cube.levels if (cube.id, level.name) in TRENDS]
    single = [
        level
        for level in cube.levels
        if level.time is TimeStep.QUARTER and len(level.axes) == 1 and level.width <= NARROW
    ]
    wanted = trend or sorted(single, key=lambda level: level.width)[:1]
    whole = (TimeStep.QUARTER, TimeStep.YEAR)
    wanted += [level for level in cube.levels if level.name in whole]
    return tuple(level for level in cube.levels if level in wanted)


def wanted(registry: Registry, year: int, now: float) -> Iterator[tuple[Cube, Level, Period]]:
    """What a pack of a year needs, with the year before, as far as it is over.

    :param now: Unix seconds.
    """
    for cube in registry.cubes:
        for level in levels_of(cube):
            over = over_of(level.time, year, now)
            if over:
                yield cube, level, Period(over[0], over[-1])


def over_of(step: TimeStep, year: int, now: float) -> tuple[Unit, ...]:
    """The units of a year and the year before that are over."""
    return tuple(unit for unit in units_of(step, year - 1, year) if now >= unit.ends)

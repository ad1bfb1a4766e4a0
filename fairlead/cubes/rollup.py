"""How the cells of a level add up to those of a coarser one.

Each fine cell belongs to exactly one coarse cell, and no coarse cell is without: that is what
makes a total from parts exact, and an audit of additive tables complete.
"""

from __future__ import annotations

from fairlead.cubes.level import Level
from fairlead.errors import InvalidInput


def rolls_up(fine: Level, coarse: Level) -> bool:
    """Whether the second level is the first or a coarser one of the same cube."""
    if fine.cube != coarse.cube or fine.time.months > coarse.time.months:
        return False
    places = {axis.dimension.id: axis.dimension.place(axis.step.step) for axis in fine.axes}
    return all(
        axis.dimension.id in places
        and places[axis.dimension.id] <= axis.dimension.place(axis.step.step)
        for axis in coarse.axes
    )


def roll(fine: Level, coarse: Level) -> tuple[tuple[int, ...], ...]:
    """For each cell of one unit of ``coarse.time``, in canonical order, the indexes of its cells
    in ``fine.cells(that unit)``, ascending.

    :raises InvalidInput: LEVEL_NO_ROLLUP.
    """
    if not rolls_up(fine, coarse):
        raise InvalidInput(
            "figures of the one level do not add up to the other's",
            reasons=("LEVEL_NO_ROLLUP",),
            remedy="name a level of the same cube that is coarser in every dimension",
        )
    units = coarse.time.months // fine.time.months
    above = _above(fine, coarse)
    found: list[list[int]] = [[] for _ in range(coarse.width)]
    for unit in range(units):
        for place, to in enumerate(above):
            found[to].append(unit * len(above) + place)
    return tuple(tuple(places) for places in found)


def _above(fine: Level, coarse: Level) -> list[int]:
    """For each cell of the fine level in one unit, the place of the coarse cell it belongs to."""
    steps = {axis.dimension.id: axis.step for axis in coarse.axes}
    found = [0]
    for axis in fine.axes:  # the coarse level has its axes in the same order
        step = steps.get(axis.dimension.id)
        if step is None:
            found = [place for place in found for _ in axis.step.codes]
        else:
            up = axis.dimension.up(axis.step.step, step.step)
            found = [place * len(step.codes) + to for place in found for to in up]
    return found

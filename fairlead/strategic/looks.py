"""How many figures with noise of their own one record is in, over everything that is out of a cube.

A record is in one cell of each level, so what counts are cells at the steps that are finest in any
level that is out: there one record is in exactly one. See :mod:`fairlead.disclosure.draws`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fairlead.cubes.cube import Cube
from fairlead.cubes.dimension import Dimension
from fairlead.cubes.level import Level
from fairlead.cubes.period import TimeStep, Unit

MAX_ARRAY = 4_000_000
"""Cells at those steps; of more, each release is taken to have every record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A release of one measure: which of its cells have a figure with noise of its own."""

    level: Level
    unit: Unit
    drawn: tuple[bool, ...]


def most_looks(cube: Cube, own: Look, others: Sequence[Look]) -> int:
    """The most such figures that one record is in which is in a cell of ``own`` that is drawn."""
    if not any(own.drawn):
        return 0
    covering = {
        tuple(look for look in others if _has(look.unit, month)) for month in _months(own.unit)
    }
    return max(_most(cube, own, looks) for looks in covering)


def _most(cube: Cube, own: Look, others: Sequence[Look]) -> int:
    looks = [own, *others]
    finest = [_finest(dimension, looks) for dimension in cube.dimensions]
    if math.prod(size for _, size in finest) > MAX_ARRAY:
        return len(looks)
    arrays = [_spread(cube, look, [step for step, _ in finest]) for look in looks]
    total = sum(arrays[1:], arrays[0])
    return int(np.max(np.where(arrays[0] > 0, total, 0)))


def _finest(dimension: Dimension, looks: Sequence[Look]) -> tuple[str, int]:
    """The finest step of a dimension that is looked at, and how many codes it has."""
    steps = [
        axis.step for look in looks for axis in look.level.axes if axis.dimension.id == dimension.id
    ]
    if not steps:
        return "", 1
    found = min(steps, key=lambda step: dimension.place(step.step))
    return found.step, len(found.codes)


def _spread(cube: Cube, look: Look, finest: Sequence[str]) -> NDArray[np.int64]:
    """One if a cell at the finest steps is in a cell that is drawn; one axis a dimension."""
    axes = {axis.dimension.id: axis for axis in look.level.axes}
    shape = [len(axes[d.id].step.codes) if d.id in axes else 1 for d in cube.dimensions]
    found = np.array(look.drawn, dtype=np.int64).reshape(shape)
    for at, dimension in enumerate(cube.dimensions):
        if dimension.id in axes:
            up = dimension.up(finest[at], axes[dimension.id].step.step)
            found = np.take(found, up, axis=at)
    return found


def _months(unit: Unit) -> range:
    size = unit.step.months
    return range(unit.number * size, (unit.number + 1) * size)


def _has(unit: Unit, month: int) -> bool:
    return Unit(TimeStep.MONTH, month).within(unit.step) == unit

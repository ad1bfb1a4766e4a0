"""Levels and their cells: a fixed list, in the order of the registry."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from fairlead.cubes.dimension import Dimension, Step
from fairlead.cubes.period import Period, TimeStep, Unit, parse_period, parse_unit
from fairlead.errors import InvalidInput

MAX_CELLS = 4096
"""Of one level in one unit of time."""
BETWEEN = "/"
"""Between the parts of a cell's spelling; no code has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One combination of codes in one unit of time."""

    cube: str
    level: str
    unit: Unit
    codes: tuple[str, ...]

    @property
    def spelling(self) -> str:
        """``2026-Q1/NL-ZH/anonymous``: the one spelling that it has within its level."""
        return BETWEEN.join([self.unit.spelling, *self.codes])

    @property
    def reference(self) -> str:
        """Cube, level and spelling. Two cells of a registry never share it, where their spellings
        alone may be the same: whatever is derived for a cell is derived from this."""
        return BETWEEN.join([self.cube, self.level, self.spelling])


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A step of a dimension that a level counts by."""

    dimension: Dimension
    step: Step

    def place(self, code: str) -> int:
        """Where a code stands among the step's.

        :raises InvalidInput: CELL_UNKNOWN.
        """
        for place, found in enumerate(self.step.codes):
            if found.code == code:
                return place
        raise _no_cell()


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What a query names: a step of time, and one step of some of the cube's dimensions, the
    others being summed over. ``parent`` is the level that its figures roll up to."""

    cube: str
    time: TimeStep
    axes: tuple[Axis, ...]
    parent: Level | None

    @property
    def name(self) -> str:
        """``quarter,region,kind``, in the order of the cube's dimensions."""
        return ",".join([self.time, *(axis.step.step for axis in self.axes)])

    @property
    def width(self) -> int:
        """Cells in one unit of time."""
        return math.prod(len(axis.step.codes) for axis in self.axes)

    def period(self, text: str) -> Period:
        """A period in the units of this level, whatever units of time it was written in.

        :raises InvalidInput: PERIOD_MALFORMED, PERIOD_STEP, PERIOD_TOO_LONG.
        """
        return parse_period(text).at(self.time)

    def cells(self, period: Period) -> Cells:
        """Every cell of a period in canonical order: by unit of time, then by code, the last
        dimension's changing fastest.

        :raises InvalidInput: PERIOD_STEP, PERIOD_TOO_LONG.
        """
        return Cells(self, period.at(self.time))

    def cell(self, spelling: str) -> Cell:
        """Read a cell's spelling.

        :raises InvalidInput: CELL_UNKNOWN: this level has no cell that is spelled so.
        """
        first, *codes = spelling.split(BETWEEN)
        try:
            unit = parse_unit(first)
        except InvalidInput:
            raise _no_cell() from None
        if unit.step is not self.time or len(codes) != len(self.axes):
            raise _no_cell()
        for axis, code in zip(self.axes, codes, strict=True):
            axis.place(code)
        return Cell(cube=self.cube, level=self.name, unit=unit, codes=tuple(codes))


class Cells(Sequence[Cell]):
    """The cells of a level in a period, made when they are looked at."""

    def __init__(self, level: Level, period: Period) -> None:
        self.level = level
        self.period = period
        self._name, self._width = level.name, level.width
        self._units = period.units(level.time)

    def __len__(self) -> int:
        return self._width * len(self._units)

    @overload
    def __getitem__(self, index: int) -> Cell: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Cell]: ...
    def __getitem__(self, index: int | slice) -> Cell | Sequence[Cell]:
        if isinstance(index, slice):
            return tuple(self[place] for place in range(len(self))[index])
        unit, rest = divmod(range(len(self))[index], self._width)
        codes: list[str] = []
        for axis in reversed(self.level.axes):
            rest, place = divmod(rest, len(axis.step.codes))
            codes.append(axis.step.codes[place].code)
        return Cell(
            cube=self.level.cube,
            level=self._name,
            unit=self._units[unit],
            codes=tuple(reversed(codes)),
        )

    def __iter__(self) -> Iterator[Cell]:
        return (self[place] for place in range(len(self)))

    def place(self, cell: Cell) -> int:
        """The index by which a cell is known.

        :raises InvalidInput: CELL_UNKNOWN: it is none of these.
        """
        own = (self.level.cube, self._name, len(self.level.axes))
        if (cell.cube, cell.level, len(cell.codes)) != own or cell.unit not in self._units:
            raise _no_cell()
        place = self._units.index(cell.unit)
        for axis, code in zip(self.level.axes, cell.codes, strict=True):
            place = place * len(axis.step.codes) + axis.place(code)
        return place


def _no_cell() -> InvalidInput:
    return InvalidInput(
        "the level has no such cell",
        reasons=("CELL_UNKNOWN",),
        remedy="write the unit of time, then one code for each step of the level, with / between",
    )

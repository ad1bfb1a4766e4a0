"""The words that nodes' vectors add up to, by measure and by cell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fairlead import summing
from fairlead.cubes.cube import Cube, Measure, MeasureKind
from fairlead.cubes.level import Level
from fairlead.cubes.period import Period, Unit
from fairlead.disclosure.release import Sums
from fairlead.strategic.terms import RECORDS, group_name, word_names, words_of

ONE_SIDED = math.log(10)
"""Noise is above so many scales with a chance of one in twenty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Sums with noise, a row for each cell in canonical order; none of a cell that did not survive,
    and of none where no node was asked."""

    cube: Cube
    contributors: tuple[tuple[int, ...], ...]
    """To each measure, by its place in the cube."""
    rows: tuple[Mapping[str, int] | None, ...]

    @classmethod
    def of(cls, cube: Cube, level: Level, unit: Unit, combined: summing.Combined) -> Words:
        """What was summed of a level in one unit of time."""
        spelt = [cell.spelling for cell in level.cells(Period(unit, unit))]
        return cls(
            cube=cube,
            contributors=tuple(
                tuple(combined.groups.get(group_name(at), {}).get(cell, 0) for cell in spelt)
                for at, _ in enumerate(cube.measures)
            ),
            rows=tuple(combined.sums.get(cell) for cell in spelt),
        )

    @classmethod
    def none(cls, cube: Cube, level: Level) -> Words:
        """Where no node was asked."""
        nobody = (0,) * level.width
        return cls(
            cube=cube, contributors=(nobody,) * len(cube.measures), rows=(None,) * level.width
        )

    def contributing(self, measure: Measure) -> tuple[int, ...]:
        """How many contribute to a measure in each cell."""
        return self.contributors[self.cube.measures.index(measure)]

    def sums(self, measure: Measure) -> Sums:
        """One measure in steps, for :func:`fairlead.disclosure.release.decide`; cells are left to
        the caller. What counts as a record of a count is what it counts."""
        name = self._names(measure)[0]
        values = self._values(name)
        counts = self._values(RECORDS)
        if measure.kind is MeasureKind.COUNT:
            counts = [min(pair) for pair in zip(counts, values, strict=True)]
        return Sums(
            cells=(),
            values=tuple((value + measure.step // 2) // measure.step for value in values),
            indicators=self.contributing(measure),
            counts=tuple(counts),
            squares=self._squares(name) if measure.dominance else None,
        )

    def bars(self, measure: Measure) -> list[tuple[int, ...] | None]:
        """The histogram of each cell, with noise; None of one that was not summed."""
        names = self._names(measure)
        return [None if row is None else tuple(row[name] for name in names) for row in self.rows]

    def _squares(self, name: str) -> tuple[tuple[int, int], ...]:
        """A cell's sum at its least and its squares at their most: noise must not hide that one
        contributor makes up most of it."""
        square = f"{name}^2"
        scales = {word.name: word.scale for each in words_of(self.cube) for word in each.words}
        off = {word: math.ceil(scales[word] * ONE_SIDED) for word in (name, square)}
        pairs = zip(self._values(name), self._values(square), strict=True)
        return tuple((total - off[name], most + off[square]) for total, most in pairs)

    def _names(self, measure: Measure) -> Sequence[str]:
        return word_names(self.cube.measures.index(measure), measure)

    def _values(self, name: str) -> list[int]:
        return [0 if row is None else row[name] for row in self.rows]

"""A cube: what is counted, by what, and down to which level."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from enum import StrEnum

from fairlead.cubes.dimension import Dimension, Step
from fairlead.cubes.level import Level
from fairlead.errors import InvalidInput


class MeasureKind(StrEnum):
    """How a figure comes about. ``median``: of a histogram whose bars are summed. ``rate``: of two
    other measures, in per cent, after both were released."""

    COUNT = "count"
    SUM = "sum"
    MEDIAN = "median"
    RATE = "rate"


class MadeOf(StrEnum):
    """What a node takes a cube's figures from."""

    REPORTS = "reports"
    ENQUIRIES = "enquiries"
    OUTCOMES = "outcomes"
    FEEDBACK = "feedback"
    AUDIT_LOG = "audit-log"
    SOURCE = "source"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One figure of a cell.

    ``bound``: the largest number that one contributor may state in one cell (of a median, in one
    bar); 0 for a rate. ``step`` of a sum: what noise hides and rounding keeps to, in its unit; of
    anything else 1. ``dominance``: released only where no contributor makes up most of it.
    ``edges`` of a median, ascending, in its unit; ``parts`` of a rate: numerator, denominator.
    """

    id: str
    title: str
    kind: MeasureKind
    unit: str
    bound: int = 0
    step: int = 1
    dominance: bool = False
    edges: tuple[int, ...] = ()
    parts: tuple[str, str] | None = None

    @property
    def words(self) -> int:
        """Numbers that a contributor states for it in each cell."""
        match self.kind:
            case MeasureKind.MEDIAN:
                return len(self.edges) + 1
            case MeasureKind.RATE:
                return 0
            case _:
                return 1

    def bar(self, value: float) -> int:
        """The bar of a median's histogram that a value counts in: bar ``n`` is from edge ``n - 1``
        up to, without, edge ``n``; the first and the last are open."""
        return bisect_right(self.edges, value)

    def check(self, value: int) -> None:
        """:raises InvalidInput: MEASURE_BOUND: a contributor may not state this in one cell."""
        if not 0 <= value <= self.bound:
            raise InvalidInput(
                "a figure is outside what its measure allows one contributor",
                reasons=("MEASURE_BOUND",),
                remedy="correct the figure or its unit; docs/statistics.md has every bound",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cube:
    """One table of figures. ``about``: in one line, what it says and what dates a record."""

    id: str
    version: int
    title: str
    about: str
    made_of: tuple[MadeOf, ...]
    dimensions: tuple[Dimension, ...]
    measures: tuple[Measure, ...]
    levels: tuple[Level, ...]

    def measure(self, name: str) -> Measure:
        """:raises InvalidInput: MEASURE_UNKNOWN."""
        for found in self.measures:
            if found.id == name:
                return found
        raise _unknown("the cube has no such measure", "MEASURE_UNKNOWN", self._measures)

    def level(self, name: str) -> Level:
        """The level that is spelled exactly so.

        :raises InvalidInput: LEVEL_UNKNOWN; the remedy has the cube's levels.
        """
        for found in self.levels:
            if found.name == name:
                return found
        raise _unknown("the cube has no such level", "LEVEL_UNKNOWN", self._levels)

    def finest(self, dimension: str) -> Step:
        """The finest step of a dimension that any level counts by: what a record must state.

        :raises InvalidInput: DIMENSION_UNKNOWN.
        """
        used = {
            axis.dimension.place(axis.step.step): axis.step
            for level in self.levels
            for axis in level.axes
            if axis.dimension.id == dimension
        }
        if not used:
            names = tuple(found.id for found in self.dimensions)
            raise _unknown("the cube has no such dimension", "DIMENSION_UNKNOWN", names)
        return used[min(used)]

    @property
    def _levels(self) -> tuple[str, ...]:
        return tuple(level.name for level in self.levels)

    @property
    def _measures(self) -> tuple[str, ...]:
        return tuple(measure.id for measure in self.measures)


def _unknown(message: str, code: str, known: tuple[str, ...]) -> InvalidInput:
    return InvalidInput(message, reasons=(code,), remedy=f"name one of: {'  '.join(known)}")

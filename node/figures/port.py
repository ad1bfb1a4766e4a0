"""The port between an owner's records and the rounds that sum them with those of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fairlead.cubes.cube import Cube, MeasureKind
from fairlead.cubes.level import Level
from fairlead.cubes.period import Period, Unit
from fairlead.errors import InvalidInput, OwnerError


class FiguresUnusable(OwnerError):
    """Something cannot be counted, so nothing is; ``problems`` has every one, with its place: rows
    of a register or source, or a cell and a measure. No value of a record is in it."""

    default_code = "FIGURES_UNUSABLE"

    def __init__(
        self, problems: Sequence[str], *, reasons: tuple[str, ...] = (), remedy: str = ""
    ) -> None:
        super().__init__(
            "the figures of this cube cannot be counted",
            reasons=reasons,
            remedy=remedy or "correct what is listed, then count again; docs/statistics.md",
        )
        self.problems = tuple(problems)

    def diagnostics(self) -> str:
        """The message, every problem, the next step."""
        head, _, tail = super().diagnostics().partition("\n")
        return "\n".join([head, *(f"  {problem}" for problem in self.problems), tail])


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Figures of one cube and level in one unit of time: one row for each cell of
    ``level.cells(period of that unit)``, in their order.

    ``records``: how many records are behind each cell; they are for the owner, and are not summed.
    ``values``: the cube's words of each cell, in the order of its measures: a median has one word
    for each bar, a rate none. A node contributes to what it has more than nought of.
    """

    records: tuple[int, ...]
    values: tuple[tuple[int, ...], ...]

    @classmethod
    def checked(
        cls,
        cube: Cube,
        level: Level,
        unit: Unit,
        *,
        records: Sequence[int],
        values: Sequence[Sequence[int]],
    ) -> Counted:
        """What was counted, of the right length and within every bound.

        :raises FiguresUnusable: MEASURE_BOUND: cells in which a figure is more than one partner
            may state; nothing is cut off.
        """
        width = sum(measure.words for measure in cube.measures)
        if len(records) != level.width or len(values) != level.width:
            raise ValueError("a row for each cell of the level")
        if any(len(row) != width for row in values):
            raise ValueError("a number for each word of the cube")
        problems = [
            problem
            for place, row in enumerate(values)
            for problem in _over(cube, level, unit, place, row)
        ]
        if problems:
            raise FiguresUnusable(
                problems,
                reasons=("MEASURE_BOUND",),
                remedy="correct the records or their unit; docs/statistics.md has every bound",
            )
        return cls(records=tuple(records), values=tuple(tuple(row) for row in values))


def _over(cube: Cube, level: Level, unit: Unit, place: int, row: Sequence[int]) -> list[str]:
    problems, first = [], 0
    for measure in cube.measures:
        words = row[first : first + measure.words]
        first += measure.words
        try:
            for word in words:
                measure.check(word)
        except InvalidInput:
            spelling = level.cells(Period(unit, unit))[place].spelling
            of = "bar" if measure.kind is MeasureKind.MEDIAN else "cell"
            bound = f"at most {measure.bound} in a {of} is expected"
            problems.append(f"{spelling}: {measure.id}: {bound}")
    return problems


class FiguresOf(Protocol):
    """An origin of figures: a register, a log, a mapped source."""

    async def count(self, cube: Cube, level: Level, unit: Unit, *, cut_off: float) -> Counted:
        """What was recorded until ``cut_off`` (Unix seconds), dated within the unit. The same
        cut-off gives the same figures, whatever is recorded later.

        :raises FiguresUnusable: something cannot be counted, with its place; nothing is
            half-counted. :raises OwnerError: the origin cannot be read.
        """
        ...

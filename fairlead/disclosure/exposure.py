"""The audit: what anybody can conclude about withheld cells from everything that is out.

Each withheld cell's least and largest possible value follow from two linear programmes over all
sums and intervals. Most cells need none of their own: every programme's solution is a whole table
that the releases allow, and two tables far enough apart in a cell prove that cell safe. So safety
is shown by tables that anybody can check, and only what is exposed takes both programmes.

The attacker of the audit is stronger than a real one: it believes that figures bear no noise.
It is weaker in one way: it may think of fractions of a record.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fairlead.disclosure.highs import Point, Programme
from fairlead.disclosure.rules import Rules
from fairlead.disclosure.system import Cell, Interval, Sum, System


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposed:
    """A withheld cell that is known too closely: its bounds, and which intervals make them so."""

    cell: Cell
    low: float
    high: float
    through: frozenset[Cell]


def exposed(
    sums: Iterable[Sum],
    known: Mapping[Cell, Interval],
    withheld: Collection[Cell],
    rules: Rules,
    *,
    bound: float,
) -> list[Exposed]:
    """Which withheld cells can be bounded too closely, in their order; none is the proof.

    :param known: of every cell of which a figure is out, the values that may lie behind it.
    :param bound: the most that a cell may hold: the measure's bound × participants.
    :raises Unsolved: HiGHS came to no end.
    """
    found = {}
    for part, cells in System.of(sums, known, withheld, bound).parts([*withheld]):
        audit = Audit(part, cells, rules)
        found.update({cell: each for cell in cells if (each := audit.check(cell))})
    return [found[cell] for cell in withheld if cell in found]


class Audit:
    """The audit of cells that sums connect, one after the other."""

    def __init__(self, system: System, cells: Sequence[Cell], rules: Rules) -> None:
        self._rules = rules
        self._programme = Programme(system) if system.sums else None
        self._system = system
        self._row = {cell: at for at, cell in enumerate(system.intervals)}
        self._low = np.full(len(self._row), np.inf)
        self._high = np.full(len(self._row), -np.inf)
        if self._programme is not None:
            self._begin(self._programme, cells)

    def check(self, cell: Cell) -> Exposed | None:
        """Whether one cell can be bounded too closely."""
        if self._programme is None:
            known = self._system.intervals[cell]
            return self._judged(cell, known.low, known.high, frozenset())
        through: frozenset[Cell] = frozenset()
        for sign in (1, -1):
            if self._wide(cell):
                return None
            through |= self._add(self._programme.furthest({cell: sign}))
        row = self._row[cell]
        return self._judged(cell, float(self._low[row]), float(self._high[row]), through - {cell})

    def forget(self, cell: Cell, left: Interval) -> None:
        """A cell will not be shown after all: no more is known of it than is ``left``."""
        if self._programme is not None:
            self._programme.forget(cell, left)

    def _begin(self, programme: Programme, cells: Sequence[Cell]) -> None:
        """A few tables that prove most cells safe: every other one up and the rest down, then the
        other way round; again for those that are left, as long as that helps."""
        left, before = list(cells), 2 * len(cells) + 1
        while len(left) > 1 and len(left) < 0.8 * before:
            before, enough = len(left), 2.0 * self._rules.width
            for up, down in ((left[::2], left[1::2]), (left[1::2], left[::2])):
                self._add(programme.spread(up, down, enough))
            left = [cell for cell in left if not self._wide(cell)]

    def _add(self, point: Point) -> frozenset[Cell]:
        """One table more; returns what it was bounded by."""
        self._low = np.minimum(self._low, point.values)
        self._high = np.maximum(self._high, point.values)
        return point.binding

    def _wide(self, cell: Cell) -> bool:
        """Whether two tables prove a cell safe: its true bounds lie outside of theirs, and wider
        bounds satisfy the rule too, which asks for low ≤ (1 - share) · high and high - width."""
        row = self._row[cell]
        return self._rules.wide(float(self._low[row]), float(self._high[row]))

    def _judged(
        self, cell: Cell, low: float, high: float, through: frozenset[Cell]
    ) -> Exposed | None:
        if self._rules.wide(low, high):
            return None
        return Exposed(cell=cell, low=low, high=high, through=through)

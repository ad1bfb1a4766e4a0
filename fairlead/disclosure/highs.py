"""HiGHS, through scipy: the largest and the least that a system allows a cell to be.

scipy is loaded with the first programme: no process that decides nothing waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fairlead.disclosure.system import Cell, Interval, System
from fairlead.errors import OperatorError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_OPTIMAL = 0
_EACH = 1_000
"""What any programme costs beside its size: it takes two milliseconds before HiGHS begins."""
_BINDING = 1e-9
_MARGIN = 1e-6
"""What loosened intervals get beside the least that is needed: HiGHS is exact to 1e-7."""


@dataclass(slots=True)
class Effort:
    """How much may still be computed: columns and entries of programmes, in the sum of all.

    A count and not a clock, so that whoever decides the same ends at the same place.
    """

    left: int

    def take(self, size: int) -> None:
        """:raises Unsolved: it is used up."""
        self.left -= size
        if self.left < 0:
            raise Unsolved


_effort: ContextVar[Effort | None] = ContextVar("effort", default=None)


@contextmanager
def within(effort: Effort) -> Iterator[None]:
    """What is solved in here costs of one effort; :class:`Unsolved` is raised where it ends."""
    before = _effort.set(effort)
    try:
        yield
    finally:
        _effort.reset(before)


class Unsolved(OperatorError):
    """HiGHS came to no end: nothing is proved, so nothing may be shown."""

    status = "UNAVAILABLE"
    default_code = "AUDIT_UNSOLVED"

    def __init__(self) -> None:
        super().__init__("the audit of what the figures give away came to no end")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One solution: a table that everything known allows.

    ``binding`` are the cells whose intervals keep it from going further.
    """

    values: NDArray[np.float64]
    binding: frozenset[Cell]


class Programme:
    """A system as HiGHS takes it; contradictions are loosened first.

    Figures are noised, so sums need not agree. Whoever leaves noise out of account must loosen
    some of them: those are chosen that make the sum of all corrections least.
    """

    def __init__(self, system: System) -> None:
        self.cells = tuple(system.intervals)
        self.place: Mapping[Cell, int] = {cell: at for at, cell in enumerate(self.cells)}
        self._low = np.array([i.low for i in system.intervals.values()], dtype=np.float64)
        self._high = np.array([i.high for i in system.intervals.values()], dtype=np.float64)
        self._matrix = self._rows(system)
        self._zeros = np.zeros(len(system.sums))
        self._sound = False

    def _rows(self, system: System) -> csr_array:
        """One row a sum: its whole, less its parts."""
        from scipy.sparse import csr_array

        row, column, factor = [], [], []
        for at, each in enumerate(system.sums):
            for cell in each.cells:
                row.append(at)
                column.append(self.place[cell])
                factor.append(1.0 if cell == each.whole else -1.0)
        shape = (len(system.sums), len(self.cells))
        return csr_array((factor, (row, column)), shape=shape)

    def furthest(self, signs: Mapping[Cell, int]) -> Point:
        """The table in which the sum of cells, each times its sign, is largest.

        :raises Unsolved: HiGHS found none.
        """
        aim = np.zeros(len(self.cells))
        for cell, sign in signs.items():
            aim[self.place[cell]] = -sign
        return self._found(lambda: self._solve(aim))

    def spread(self, up: Sequence[Cell], down: Sequence[Cell], enough: float) -> Point:
        """A table in which as many of ``up`` as can be hold ``enough``, and those of ``down``
        little: one programme shows of many cells at once that they may be far from it.

        :raises Unsolved: HiGHS found none.
        """
        from scipy.sparse import csr_array, hstack

        count, places = len(self.cells), [self.place[cell] for cell in up]
        # What counts of each of ``up`` is a variable of its own, at most the cell and ``enough``.
        rows, ones = np.arange(len(up)), np.ones(len(up))
        cells = csr_array((-ones, (rows, places)), shape=(len(up), count))
        least = hstack([cells, csr_array((ones, (rows, rows)))], format="csr")
        nothing = csr_array((self._matrix.shape[0], len(up)))
        aim = np.concatenate([np.zeros(count), -ones])
        aim[[self.place[cell] for cell in down]] = 1
        whole = hstack([self._matrix, nothing], format="csr")
        return self._found(lambda: self._spread(aim, whole, least, enough))

    def forget(self, cell: Cell, left: Interval) -> None:
        """From now on less is known of one cell: every table found so far remains one."""
        at = self.place[cell]
        self._low[at] = min(left.low, self._low[at])
        self._high[at] = max(left.high, self._high[at])

    def _found(self, solve: Callable[[], Point | None]) -> Point:
        """A table; where there is none at first, figures contradict each other."""
        point = solve()
        if point is None and not self._sound:
            self._loosen()
            point = solve()
        if point is None:
            raise Unsolved
        self._sound = True
        return point

    def _solve(self, aim: NDArray[np.float64]) -> Point | None:
        """Minimise; ``None`` if no table is found.

        :raises Unsolved: the effort is used up.
        """
        self._take(1)
        some = self._matrix.shape[0] > 0
        found = _linprog(
            aim, A_eq=self._matrix if some else None, b_eq=self._zeros if some else None,
            bounds=self._bounds(), method="highs",
        )  # fmt: skip
        if found.status != _OPTIMAL:
            return None
        pulled = np.abs(found.lower.marginals) + np.abs(found.upper.marginals)
        binding = frozenset(self.cells[at] for at in np.flatnonzero(pulled > _BINDING))
        return Point(values=found.x, binding=binding)

    def _take(self, times: int) -> None:
        if (effort := _effort.get()) is not None:
            effort.take(_EACH + times * (len(self.cells) + self._matrix.nnz))

    def _spread(
        self, aim: NDArray[np.float64], whole: csr_array, least: csr_array, enough: float
    ) -> Point | None:
        self._take(2)
        rows = least.shape[0]
        bounds = np.vstack([self._bounds(), np.tile([0.0, enough], (rows, 1))])
        found = _linprog(
            aim, A_ub=least, b_ub=np.zeros(rows), A_eq=whole, b_eq=self._zeros,
            bounds=bounds, method="highs",
        )  # fmt: skip
        if found.status != _OPTIMAL:
            return None
        return Point(values=found.x[: len(self.cells)], binding=frozenset())

    def _bounds(self) -> NDArray[np.float64]:
        return np.column_stack([self._low, self._high])

    def _loosen(self) -> None:
        """Widen intervals by as little as lets one table be possible; nothing falls below zero.

        :raises Unsolved: no such widening was found.
        """
        from scipy.sparse import hstack

        self._take(3)
        count, rows = len(self.cells), self._matrix.shape[0]
        # x = kept + over - under, with kept in its interval: the excess is what is to be least.
        wide = hstack([self._matrix, self._matrix, -self._matrix], format="csr")
        kept = self._bounds()
        upward = np.tile([0.0, np.inf], (count, 1))
        downward = np.column_stack([np.zeros(count), self._low])
        bounds = np.vstack([kept, upward, downward])
        aim = np.concatenate([np.zeros(count), np.ones(2 * count)])
        found = _linprog(aim, A_eq=wide, b_eq=np.zeros(rows), bounds=bounds, method="highs")
        if found.status != _OPTIMAL:
            raise Unsolved
        over, under = found.x[count : 2 * count], found.x[2 * count :]
        self._high = self._high + np.where(over > 0, over + _MARGIN, 0.0)
        self._low = np.maximum(0.0, self._low - np.where(under > 0, under + _MARGIN, 0.0))


def _linprog(aim: NDArray[np.float64], **more: Any) -> Any:
    from scipy.optimize import linprog

    return linprog(aim, **more)

"""What moved from one year to the next, said only where it is more than the error.

Years are compared by the quarters that both have, so that one which is not over yet is no smaller.
Their figure is the sum of those, with the sum of their errors: more than it may be off, because
errors seldom all point one way.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from fairlead.charting.grid import Column, Row
from fairlead.kpi.shelf import year_of
from fairlead.published import PublishedCell, Shown, spoken

UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Span:
    """A figure and how far it may be off on either side."""

    value: int
    error: int

    @property
    def low(self) -> int:
        """The least that it may be."""
        return max(0, self.value - self.error)

    @property
    def high(self) -> int:
        """The most that it may be."""
        return self.value + self.error

    def __str__(self) -> str:
        return f"{spoken(self.value, 0)} ± {spoken(self.error, 0)}"


@dataclass(frozen=True, slots=True)
class Share:
    """One of two figures in per cent of both, in tenths, and between what it lies."""

    value: int
    low: int
    high: int

    def __str__(self) -> str:
        ends = f"{spoken(self.low, 1)} to {spoken(self.high, 1)}"
        return f"{spoken(self.value, 1)} % ({ends})"


def quarters_of(columns: Sequence[Column], year: int) -> tuple[int, ...]:
    """Which quarters (1 to 4) of a year, and of the year before, were both released: by these two
    years are compared, whatever is not over yet."""
    there = {
        (year_of(column.unit), column.unit.number % 4 + 1) for column in columns if column.version
    }
    return tuple(n for n in (1, 2, 3, 4) if {(year - 1, n), (year, n)} <= there)


def year_sum(
    row: Row, columns: Sequence[Column], year: int, quarters: Collection[int]
) -> Span | None:
    """A row's figure for some quarters of a year; None unless each of them is known in full."""
    parts = _parts(row, columns, year, quarters)
    if not parts or not all(cell.shown in {Shown.VALUE, Shown.ZERO} for cell in parts):
        return None
    return Span(sum(cell.value for cell in parts), sum(cell.error for cell in parts))


def told_sum(row: Row, columns: Sequence[Column], year: int, quarters: Collection[int]) -> str:
    """The same in words: a figure, else what all the parts are, else that it is not known."""
    found = year_sum(row, columns, year, quarters)
    if found is not None:
        return str(found)
    kinds = {cell.shown for cell in _parts(row, columns, year, quarters)}
    return "suppressed" if kinds == {Shown.SUPPRESSED} else UNKNOWN


def _parts(
    row: Row, columns: Sequence[Column], year: int, quarters: Collection[int]
) -> list[PublishedCell]:
    return [
        cell
        for cell, column in zip(row.cells, columns, strict=True)
        if year_of(column.unit) == year and column.unit.number % 4 + 1 in quarters
    ]


def share_of(one: Span | None, other: Span | None) -> Share | None:
    """The first in per cent of both; None where it is not known."""
    if one is None or other is None or one.value + other.value == 0:
        return None
    return Share(
        _tenths(one.value, other.value), _tenths(one.low, other.high), _tenths(one.high, other.low)
    )


def _tenths(one: int, other: int) -> int:
    """Tenths of a per cent, rounded half up."""
    both = one + other
    return (2000 * one + both) // (2 * both) if both else 0


def change(before: Span | Share | None, after: Span | Share | None) -> str:
    """``more``, ``less``, ``no change beyond the error`` or ``not known``."""
    if before is None or after is None:
        return UNKNOWN
    if after.low > before.high:
        return "more"
    if after.high < before.low:
        return "less"
    return "no change beyond the error"

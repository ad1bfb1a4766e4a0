"""Cells as variables of a linear system: what is known of each, which is the sum of which. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fairlead.errors import InvalidInput

Cell = str
"""One key for one cell at one level in one time unit (PROTOCOL §6: it has exactly one spelling).
Versions of a release share it: whoever knows that nothing came late compares them directly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A cell's value lies in it, both ends included."""

    low: float
    high: float

    def __post_init__(self) -> None:
        """:raises InvalidInput: INTERVAL: its ends are not in order, or no numbers."""
        if not self.low <= self.high:
            raise InvalidInput("an interval ends before it begins", reasons=("INTERVAL",))

    def met(self, other: Interval) -> Interval:
        """What two statements on one cell say together; where noise has them contradict each
        other, both may be right."""
        low, high = max(self.low, other.low), min(self.high, other.high)
        if low <= high:
            return Interval(low=low, high=high)
        return Interval(low=min(self.low, other.low), high=max(self.high, other.high))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """``whole`` is what ``parts`` add up to: a quarter and its months, a region and its ports."""

    whole: Cell
    parts: tuple[Cell, ...]

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All of them."""
        return (self.whole, *self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """A linear system: sums, and an interval for each cell in them."""

    sums: tuple[Sum, ...]
    intervals: Mapping[Cell, Interval]
    """Of every cell in ``sums``, and of every other one that is asked about."""

    @classmethod
    def of(
        cls,
        sums: Iterable[Sum],
        known: Mapping[Cell, Interval],
        cells: Iterable[Cell],
        bound: float,
    ) -> System:
        """A system in which each of ``cells`` lies between zero and ``bound``, unless more is
        known of it, and any other cell that nothing is known of is only not negative."""
        sums, unasked = tuple(sums), Interval(low=0, high=math.inf)
        secret = dict.fromkeys(cells, Interval(low=0, high=bound))
        named = {cell for each in sums for cell in each.cells} | {*secret}
        intervals = {c: known.get(c) or secret.get(c, unasked) for c in sorted(named)}
        return cls(sums=sums, intervals=intervals)

    def parts(self, cells: Sequence[Cell]) -> Iterator[tuple[System, list[Cell]]]:
        """The independent parts in which one of ``cells`` is, each with those of them."""
        group = _grouped(self.sums, self.intervals)
        asked: dict[Cell, list[Cell]] = {}
        for cell in cells:
            asked.setdefault(group[cell], []).append(cell)
        sums: dict[Cell, list[Sum]] = {}
        for each in self.sums:
            sums.setdefault(group[each.whole], []).append(each)
        members: dict[Cell, dict[Cell, Interval]] = {}
        for cell, interval in self.intervals.items():
            members.setdefault(group[cell], {})[cell] = interval
        for head, wanted in asked.items():
            part = System(sums=tuple(sums.get(head, ())), intervals=members[head])
            yield part, wanted


def telling(sums: Iterable[Sum], known: Collection[Cell], near: Collection[Cell]) -> list[Sum]:
    """The sums that say something of cells which a chain of sums connects with one of ``near``.

    :param known: cells whose value is limited from above. Any other one may be as large as its
        parts make it: where it stands in one sum alone, that sum says nothing of them.
    """
    sums = list(dict.fromkeys(sums))
    while True:
        stands = Counter(cell for each in sums for cell in each.cells)
        left = [each for each in sums if each.whole in known or stands[each.whole] > 1]
        if len(left) == len(sums):
            break
        sums = left
    group = _grouped(sums, {*near}.union(*(each.cells for each in sums)))
    touched = {group[cell] for cell in near}
    return [each for each in sums if group[each.whole] in touched]


def _grouped(sums: Iterable[Sum], cells: Iterable[Cell]) -> dict[Cell, Cell]:
    """Each cell's group, named by one of it: cells that a chain of sums connects (union-find)."""
    heads = {cell: cell for cell in cells}

    def head(cell: Cell) -> Cell:
        while heads[cell] != cell:
            heads[cell] = cell = heads[heads[cell]]
        return cell

    for each in sums:
        for part in each.parts:
            heads[head(part)] = head(each.whole)
    return {cell: head(cell) for cell in heads}

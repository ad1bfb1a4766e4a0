"""Totals from published parts: they tell nothing that their parts have not told. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fairlead.disclosure.ledger import Ledger
from fairlead.disclosure.system import Cell, Interval, Sum


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """The sum of the figures of a cell's parts, and what these say of it.

    ``whole``: every part has a figure of its own. Otherwise the total is of the published parts
    only, says so, and says nothing of the cell.
    """

    figure: int
    span: Interval
    whole: bool


def totals(
    relations: Iterable[Sum], cells: Iterable[Cell], ledger: Ledger, version: int, base: int
) -> dict[Cell, Total]:
    """Of each cell all of whose parts were released in a version, at least one with a figure."""
    wanted, found = {*cells}, dict[Cell, Total]()
    for each in relations:
        if each.whole in wanted and (total := _total(each, ledger, version, base)):
            other = found.get(each.whole)
            if other is None or (total.whole and not other.whole):
                found[each.whole] = total
    return found


def _total(each: Sum, ledger: Ledger, version: int, base: int) -> Total | None:
    figures, low, high, whole = [], 0.0, 0.0, True
    for part in each.parts:
        made = ledger.holding(part, version)
        if made is None:
            return None
        figure = made.shown.get(part)
        if figure is None:
            whole = False
            continue
        figures.append(figure)
        whole = whole and part not in made.partial
        span = made.span(part, base)
        low, high = low + span.low, high + span.high
    if not figures:
        return None
    return Total(figure=sum(figures), span=Interval(low=low, high=high), whole=whole)

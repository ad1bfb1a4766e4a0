"""How many figures with noise of their own one record is in. Pure.

A figure that is not a total of published parts is a look at its records through noise of its own.
Who knows all records but one guesses that one right with probability .54 from one look, .58 from
six and .60 from nine (noise with ε = .2, rounding to 5; the game ``levels`` of
``tests/attacks/statistics`` plays it), so there are few looks. How many there were follows from
what is out: that one more is refused tells nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from fairlead.disclosure.ledger import Ledger
from fairlead.disclosure.system import Cell, Sum


def most_draws(cells: Iterable[Cell], relations: Iterable[Sum], ledger: Ledger) -> int:
    """The most figures of their own that one record is in, once each of ``cells`` has one more."""
    parts: dict[Cell, set[Cell]] = {}
    wholes: dict[Cell, set[Cell]] = {}
    for each in relations:
        parts.setdefault(each.whole, set()).update(each.parts)
        for part in each.parts:
            wholes.setdefault(part, set()).add(each.whole)
    cells = {*cells}
    drawn = Counter(cells)
    for made in ledger.releases:
        drawn.update(made.shown.keys() - made.partial - made.spans.keys())
    finest = {cell for cell in _reached(cells, parts) if cell not in parts}
    return max((sum(drawn[c] for c in _reached({cell}, wholes)) for cell in finest), default=0)


def _reached(cells: set[Cell], steps: dict[Cell, set[Cell]]) -> set[Cell]:
    """What any number of steps leads to, the beginning too."""
    found, new = {*cells}, {*cells}
    while new:
        new = {after for cell in new for after in steps.get(cell, ())} - found
        found |= new
    return found

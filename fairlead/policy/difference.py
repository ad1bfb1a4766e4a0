"""What changes between two policies, for people: widening first, then narrowing, then the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fairlead.policy.cells import Cell, Plane
from fairlead.policy.figures.changes import DIMENSIONS, ChangedFigures, lost
from fairlead.policy.figures.sides import figures_of
from fairlead.policy.narrowing import BESIDE, concerned, outcome, statement, widenings
from fairlead.policy.sides import Policy
from fairlead.policy.widened import Widening, merged


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Two policies compared. ``changed`` has the changed fields of each agreement in both."""

    widening: tuple[Widening | ChangedFigures, ...]
    narrowing: tuple[Widening | ChangedFigures, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: Mapping[str, tuple[str, ...]]
    same: tuple[str, ...]
    registry: tuple[str, ...]
    rules: bool

    @property
    def tightening(self) -> bool:
        """Whether nothing is wider and the rules are the same: one person may publish it."""
        return not self.widening and not self.rules


def compare(old: Mapping[str, Any], new: Mapping[str, Any], *, rules: bool = False) -> Difference:
    """Compare two compiled data documents.

    :param rules: whether the rules themselves (the kernel) differ: then data alone does not say
        what changes, and replaying past decisions does.
    """
    before, after = old["federation"], new["federation"]
    one, two = ({**policy["agreements"], **figures_of(policy)} for policy in (before, after))
    both = one.keys() & two.keys()
    wider = widenings(old, new)
    understood = all(w.askers for w in wider)
    return Difference(
        widening=tuple(wider),
        narrowing=tuple(_narrowings(before, after)) if understood else (),
        added=tuple(sorted(two.keys() - one.keys())),
        removed=tuple(sorted(one.keys() - two.keys())),
        changed={n: _keys(one[n], two[n]) for n in sorted(both) if one[n] != two[n]},
        same=tuple(sorted(n for n in both if one[n] == two[n])),
        registry=tuple(k for k in _keys(before, after) if k not in BESIDE),
        rules=rules,
    )


def _narrowings(before: Policy, after: Policy) -> list[Widening | ChangedFigures]:
    plane = Plane((before, after))
    cells = plane.cells(concerned(before, after))
    found = merged(w for cell in cells for w in _lost(plane, cell))
    return [*found, *merged(lost(before, after), DIMENSIONS)]


def _lost(plane: Plane, cell: Cell) -> Iterator[Widening]:
    before, after = (outcome(policy, cell, i) for i, policy in enumerate(plane.policies))
    if before is None:
        return
    if after is None:
        yield statement(cell, ("is refused",), before, after, cell.granted[0])
    elif shrunk := after.shrunk(before):
        yield statement(cell, shrunk, before, after, cell.granted[1])


def _keys(one: Mapping[str, Any], two: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(sorted(k for k in one.keys() | two.keys() if one.get(k) != two.get(k)))

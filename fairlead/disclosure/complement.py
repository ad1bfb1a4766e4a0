"""Complementary suppression: which further cells to withhold, so that no withheld one is exposed.

The choice is greedy (the best one is NP-hard: Kelly, Golden, Assad 1992), the result is proved:
it ends when :func:`fairlead.disclosure.exposure.exposed` finds nothing. A cell withheld for the
sake of another is protected like it, as nobody can tell the two apart; not so one of which an
earlier version is out, or in whose place stands a total of its published parts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from fairlead.disclosure.exposure import Audit, Exposed, exposed
from fairlead.disclosure.ledger import Sight
from fairlead.disclosure.rules import Rules
from fairlead.disclosure.system import Cell, Interval, Sum, System, telling


@dataclass(frozen=True, slots=True, kw_only=True)
class Complement:
    """``further`` cells are to be withheld. ``beyond`` stays exposed whatever this release
    withholds: by what is out already, or by a bound that is too low."""

    further: tuple[Cell, ...]
    beyond: tuple[Exposed, ...]


def complementary(
    cells: Mapping[Cell, Interval],
    sums: Iterable[Sum],
    released: Mapping[Cell, Interval],
    withheld: Collection[Cell],
    rules: Rules,
    *,
    bound: float,
    replaced: Collection[Cell] = (),
    alone: bool = False,
) -> Complement:
    """Choose further cells of this release to withhold; the audit is of what these have a say in.

    :param cells: what may be shown, in canonical order, with what each figure would say.
    :param released: the same of everything that is out.
    :param withheld: cells that must stay unknown, of this release and of earlier ones.
    :param replaced: of ``cells``, those whose parts are out: if they may not be shown, the total
        of their published parts is shown in their place, so that they need no protection.
    :param alone: of ``cells`` that are out too, believe what is new and not both.
    :raises Unsolved: HiGHS came to no end.
    """
    known = {} if alone else released
    shown = {c: i.met(known[c]) if c in known else i for c, i in cells.items()}
    asked = {*cells} or {*withheld}
    near = telling(sums, {*released, *cells, *withheld}, asked)
    touched = asked.union(*(each.cells for each in near))
    choice = _Choice(tuple(near), shown, released, rules, bound)
    secret = dict.fromkeys(cell for cell in withheld if cell in touched)
    open_ = {*replaced, *released}
    while True:
        # The audit begins anew until it finds nothing to do: with less shown, figures that
        # contradict each other are reconciled in another way.
        known = {**released, **choice.shown}
        found = exposed(choice.sums, known, secret, rules, bound=bound)
        before = len(choice.shown)
        if found:
            system = System.of(choice.sums, known, secret, bound)
            for part, members in system.parts([each.cell for each in found]):
                choice.make(part, members, open_)
        secret |= dict.fromkeys(c for c in cells if c not in choice.shown and c not in open_)
        if len(choice.shown) == before:
            further = tuple(cell for cell in cells if cell not in choice.shown)
            return Complement(further=further, beyond=tuple(found))


def in_every_sight(
    cells: Mapping[Cell, Interval],
    sums: Sequence[Sum],
    sights: Sequence[Sight],
    withheld: Collection[Cell],
    rules: Rules,
    *,
    bound: float,
    replaced: Collection[Cell] = (),
) -> Complement:
    """What is :func:`complementary` however one reads what is out: again, until no reading of it
    has anything withheld for the sake of which another has not been asked.

    :raises Unsolved: HiGHS came to no end.
    """
    left, secret = dict(cells), dict.fromkeys(withheld)
    while True:
        before, beyond = len(left), dict[Cell, Exposed]()
        for sight in sights:
            offered = {cell: left[cell] for cell in left if cell not in sight.settled}
            if left and not offered:
                continue  # it says nothing new to who reads it so
            found = complementary(
                offered, sums, sight.known, secret, rules,
                bound=bound, replaced=replaced, alone=sight.alone,
            )  # fmt: skip
            beyond |= {each.cell: each for each in found.beyond}
            for cell in found.further:
                del left[cell]
            open_ = {*replaced, *sight.known}
            secret |= dict.fromkeys(cell for cell in found.further if cell not in open_)
        if len(left) == before or len(sights) == 1:
            further = tuple(cell for cell in cells if cell not in left)
            return Complement(further=further, beyond=tuple(beyond.values()))


class _Choice:
    """What is still shown; it only ever becomes less."""

    def __init__(
        self,
        sums: tuple[Sum, ...],
        shown: dict[Cell, Interval],
        released: Mapping[Cell, Interval],
        rules: Rules,
        bound: float,
    ) -> None:
        self.sums = sums
        self.shown = shown
        self._released = released
        self._rules = rules
        self._bound = bound

    def make(self, system: System, cells: list[Cell], open_: Collection[Cell]) -> None:
        """Withhold the least of the cells that bound an exposed one, until none is exposed.

        :param open_: cells that need no protection of their own if they are withheld.
        """
        nothing = Interval(low=0, high=self._bound)
        audit, queue = Audit(system, cells, self._rules), deque(cells)
        while queue:
            found = audit.check(queue[0])
            chosen = None if found is None else self._least(found)
            if chosen is None:
                queue.popleft()
                continue
            del self.shown[chosen]
            audit.forget(chosen, self._released.get(chosen, nothing))
            if chosen not in open_:
                queue.append(chosen)

    def _least(self, found: Exposed) -> Cell | None:
        """The least of the shown cells that bound a cell, or stand in a sum with it."""
        candidates = {cell for cell in found.through if cell in self.shown}
        if not candidates:
            beside = (each.cells for each in self.sums if found.cell in each.cells)
            candidates = {cell for cells in beside for cell in cells if cell in self.shown}
        return min(candidates, key=lambda cell: (self.shown[cell].high, cell), default=None)

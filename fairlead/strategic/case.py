"""What is to be decided of one unit, and each measure that adds up, decided over all that is out.

What may not be released, or not be proved safe within the effort, is withheld whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from fairlead.cubes.cube import Cube, Measure
from fairlead.cubes.level import Level
from fairlead.cubes.period import Unit
from fairlead.disclosure.exposure import Exposed
from fairlead.disclosure.highs import Effort, Unsolved, within
from fairlead.disclosure.ledger import Asked, Release
from fairlead.disclosure.release import Decided, ReleaseRefused, Sums, decide, needs_sums
from fairlead.disclosure.rules import Rules
from fairlead.disclosure.system import Cell, Sum
from fairlead.errors import Conflict
from fairlead.strategic import errors
from fairlead.strategic.books import Account, Books, Kept, Row, account, kept_of
from fairlead.strategic.lattice import Lattice, Place, lattice, references
from fairlead.strategic.layout import additive, layout_of
from fairlead.strategic.looks import Look, most_looks
from fairlead.strategic.summed import Words
from fairlead.strategic.waiver import Waiver, in_force, known, shares

EFFORT = 20_000_000
"""Columns and entries of programmes for one release, over all measures: about 40 s of one core. A
year of a level with 4,096 cells a quarter took 5 million, one of 265 cells a tenth of one."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is to be decided, and all that is needed for it."""

    cube: Cube
    level: Level
    unit: Unit
    version: int
    participants: int
    words: Words
    rules: Rules
    books: Books

    @property
    def place(self) -> Place:
        return self.level.name, self.unit

    @property
    def cells(self) -> tuple[Cell, ...]:
        return references(self.level, self.unit)

    @property
    def rows(self) -> tuple[Row, ...]:
        """What is out and has to do with it."""
        out = self.lattice.out
        return tuple(row for row in self.books.near(self.cube, self.unit) if row.place in out)

    @cached_property
    def lattice(self) -> Lattice:
        """:raises Unsolved: there are too many levels."""
        near = self.books.near(self.cube, self.unit)
        return lattice(self.cube, (row.place for row in near), self.place)

    def asked(self, measure: Measure) -> Asked:
        return Asked(
            cube=self.cube.id,
            cube_version=self.cube.version,
            measure=measure.id,
            level=self.level.name,
            period=self.unit.spelling,
            version=self.version,
        )

    @cached_property
    def sums(self) -> tuple[Sum, ...] | None:
        """How everything that is out adds up; None where nobody knows."""
        if self.books.foreign(self.cube, self.unit):
            return None
        try:
            return self.lattice.sums(self.place)
        except Unsolved:
            return None

    def asks_nodes(self) -> bool:
        """Whether some measure is not a total of published parts in every cell."""
        sums = self.sums
        return sums is not None and any(
            needs_sums(
                self.asked(measure),
                self.cells,
                sums,
                _account(self, measure, sums).ledger,
                self.rules,
            )
            for measure in additive(self.cube)
        )


def decided_of(case: Case) -> tuple[dict[str, Kept], dict[str, tuple[Exposed, ...]]]:
    """Each measure that adds up, and what stays exposed whatever is withheld."""
    kept: dict[str, Kept] = {}
    beyond: dict[str, tuple[Exposed, ...]] = {}
    effort = Effort(EFFORT)
    sums = case.sums
    for measure in additive(case.cube):
        release = Release.refused(case.asked(measure), case.cells)
        found: dict[Cell, int] = {}
        if sums is not None:
            with within(effort):
                own = _account(case, measure, sums)
                decided = _decide(case, measure, sums, own)
            if decided is not None:
                release = decided.release
                plain = errors.own_error(case.cube, measure, case.participants, case.rules)
                found = errors.of_release(release, measure, sums, own, plain)
                if decided.beyond:
                    beyond[measure.id] = decided.beyond
        kept[measure.id] = kept_of(release, found)
    return kept, beyond


def _account(case: Case, measure: Measure, sums: Sequence[Sum]) -> Account:
    waived = known(_waived(case, sums), measure)
    return account(case.cube, measure, case.rows, waived)


def _waived(case: Case, sums: Sequence[Sum]) -> list[Waiver]:
    """Waivers of this release's cells, and of those in its sums, one of each share."""
    if not case.books.waivers:
        return []
    cells = {*case.cells}.union(*(each.cells for each in sums))
    near = (waiver for waiver in case.books.waivers if waiver.reference in cells)
    return in_force(near, layout_of(case.cube), case.version)


def _decide(case: Case, measure: Measure, sums: tuple[Sum, ...], own: Account) -> Decided | None:
    """One measure; None where nothing of it may be released.

    :raises Stale: VERSION.
    """
    waivers = _waived(case, sums)
    bound = -(-measure.bound * max(case.participants, 1) // measure.step)
    try:
        return decide(
            case.asked(measure),
            _summed(case, measure, waivers),
            (*sums, *shares(waivers, measure)),
            own.ledger,
            case.rules,
            bound=bound,
            draws=_draws(case, own),
        )
    except (Conflict, ReleaseRefused, Unsolved):
        return None


def _draws(case: Case, own: Account) -> Callable[[Sequence[Cell]], int]:
    def most(cells: Sequence[Cell]) -> int:
        chosen = {*cells}
        drawn = tuple(cell in chosen for cell in case.cells)
        look = Look(level=case.level, unit=case.unit, drawn=drawn)
        return most_looks(case.cube, look, own.looks)

    return most


def _summed(case: Case, measure: Measure, waivers: Sequence[Waiver]) -> Sums:
    """What the nodes stated of one measure, in its steps; squares with what noise may hide."""
    counted: dict[Cell, int] = {}
    for waiver in waivers:
        if waiver.measure == measure.id:
            counted[waiver.reference] = counted.get(waiver.reference, 0) + 1
    sums = case.words.sums(measure, case.participants)
    return replace(
        sums, cells=case.cells, waived=tuple(counted.get(cell, 0) for cell in case.cells)
    )

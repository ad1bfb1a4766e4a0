"""One unit of a question: from the nodes' sums to the release that anybody may see. Pure.

A security procedure: every measure that adds up is decided by itself (:mod:`fairlead.disclosure`),
over everything that is out of the cube; rates and medians are made of what that shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from fairlead import summing
from fairlead.cubes.cube import Cube, Measure, MeasureKind
from fairlead.cubes.level import Level
from fairlead.cubes.period import Unit
from fairlead.disclosure.exposure import Exposed
from fairlead.disclosure.highs import Effort, Unsolved, within
from fairlead.disclosure.ledger import Asked, Release
from fairlead.disclosure.release import Decided, ReleaseRefused, Sums, decide, needs_sums
from fairlead.disclosure.rules import Rules
from fairlead.disclosure.system import Cell, Sum
from fairlead.errors import Conflict
from fairlead.published import Figures, Published, PublishedCell, Shown, codes_of
from fairlead.strategic import errors, medians, method, rates
from fairlead.strategic.books import (
    Account,
    Books,
    Kept,
    Row,
    account,
    additive,
    kept_of,
    layout_of,
)
from fairlead.strategic.lattice import Lattice, Place, lattice, references
from fairlead.strategic.looks import Look, most_looks
from fairlead.strategic.summed import Words
from fairlead.strategic.waiver import Waiver, known, shares

RULES = Rules()
EFFORT = 60_000_000
"""Columns and entries of programmes for one release, over all measures: see bench/deciding.py."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A release. ``row`` is kept beside its octets; ``books`` have it. ``beyond``: withheld cells,
    by measure, that no suppression protects any more, which is an alarm to whoever decides."""

    published: Published
    row: bytes
    books: Books = field(repr=False)
    beyond: Mapping[str, tuple[Exposed, ...]]


@dataclass(frozen=True, kw_only=True)
class _Case:
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


# ── What the gateway calls ───────────────────────────────────────────────────────────────────


def needs_rounds(
    cube: Cube, level: Level, unit: Unit, version: int, books: Books, rules: Rules = RULES
) -> bool:
    """Whether nodes must be asked: not where every figure is a total of published parts, nor where
    nothing may be released; then :func:`total_unit` has the answer."""
    if any(measure.kind is MeasureKind.MEDIAN for measure in cube.measures):
        return True
    case = _case(cube, level, unit, version, 0, Words.none(cube, level), rules, books)
    sums = _sums(case)
    if sums is None:
        return False
    return any(
        needs_sums(
            case.asked(measure), case.cells, sums, _account(case, measure, sums).ledger, rules
        )
        for measure in additive(cube)
    )


def decide_unit(
    terms: summing.Terms,
    cube: Cube,
    level: Level,
    unit: Unit,
    combined: summing.Combined,
    books: Books,
    rules: Rules = RULES,
    *,
    registry_digest: bytes,
    expected: int,
    released_at: int,
) -> Made:
    """Decide what is released of a unit, in steps:

    1. What is frozen is not decided again.
    2. Each measure that adds up is decided over all that is out. What may not be released, or not
       be proved safe within the effort, is withheld whole.
    3. Rates are made of published figures, medians of histograms where the first figure is shown.
    4. The books have the release from now on.

    :param combined: what all participants' vectors add up to under these terms.
    :param books: of this cube, rows and waivers.
    :raises Conflict: RELEASE_FROZEN: the books have it: give what is stored.
    :raises Stale: VERSION: they have a later version.
    :raises InvalidInput: BOOKS; PUBLISHED_FORM.
    """
    words = Words.of(cube, level, unit, combined)
    case = _case(
        cube, level, unit, terms.release.version, len(terms.participants), words, rules, books
    )
    return _made(case, registry_digest, expected, released_at)


def total_unit(
    cube: Cube,
    level: Level,
    unit: Unit,
    books: Books,
    rules: Rules = RULES,
    *,
    version: int,
    registry_digest: bytes,
    expected: int,
    released_at: int,
    participants: int | None = None,
) -> Made:
    """Release totals of published parts, and nothing else: no node is asked, or none states any
    more.

    :param participants: by default the fewest of any release of this version and time.
    :raises Conflict, Stale, InvalidInput: see :func:`decide_unit`.
    """
    if participants is None:
        participants = min(
            (row.participants for row in books.beside(cube, unit, version)), default=0
        )
    words = Words.none(cube, level)
    case = _case(cube, level, unit, version, participants, words, rules, books)
    return _made(case, registry_digest, expected, released_at)


def not_reported(
    cube: Cube,
    level: Level,
    unit: Unit,
    *,
    registry_digest: bytes,
    expected: int,
    released_at: int,
    participants: int = 0,
    rules: Rules = RULES,
) -> Published:
    """The answer where too few take part: nobody counted. It is never frozen."""
    cells = tuple(
        PublishedCell(codes=codes, shown=Shown.NOT_REPORTED) for codes in codes_of(level, unit)
    )
    return Published(
        cube=cube,
        registry_digest=registry_digest,
        level=level,
        unit=unit,
        version=0,
        participants=participants,
        expected=expected,
        figures=tuple(Figures(measure=measure, cells=cells) for measure in cube.measures),
        released_at=released_at,
        rules_digest=method.digest_of(rules),
        method=method.note_of(rules),
    )


# ── How it is decided ────────────────────────────────────────────────────────────────────────


def _case(
    cube: Cube,
    level: Level,
    unit: Unit,
    version: int,
    participants: int,
    words: Words,
    rules: Rules,
    books: Books,
) -> _Case:
    return _Case(
        cube=cube,
        level=level,
        unit=unit,
        version=version,
        participants=participants,
        words=words,
        rules=rules,
        books=books,
    )


def _made(case: _Case, registry_digest: bytes, expected: int, released_at: int) -> Made:
    # 1
    if case.books.found(case.cube, case.place, case.version):
        raise Conflict("this release is frozen", reasons=("RELEASE_FROZEN",))
    # 2
    kept, beyond = _decided(case)
    # 3
    published = Published(
        cube=case.cube,
        registry_digest=registry_digest,
        level=case.level,
        unit=case.unit,
        version=case.version,
        participants=case.participants,
        expected=expected,
        figures=_figures(case, kept),
        released_at=released_at,
        rules_digest=method.digest_of(case.rules),
        method=method.note_of(case.rules),
    )
    # 4
    row = Row(
        cube_version=case.cube.version,
        level=case.level.name,
        unit=case.unit.spelling,
        version=case.version,
        layout=layout_of(case.cube),
        participants=case.participants,
        measures=kept,
    )
    return Made(
        published=published, row=row.to_bytes(), books=case.books.with_row(row), beyond=beyond
    )


def _decided(case: _Case) -> tuple[dict[str, Kept], dict[str, tuple[Exposed, ...]]]:
    """Each measure that adds up, and what stays exposed whatever is withheld."""
    kept: dict[str, Kept] = {}
    beyond: dict[str, tuple[Exposed, ...]] = {}
    effort = Effort(EFFORT)
    sums = _sums(case)
    for measure in additive(case.cube):
        release = Release.refused(case.asked(measure), case.cells)
        found: dict[Cell, int] = {}
        if sums is not None:
            with within(effort):
                own = _account(case, measure, sums)
                decided = _decide(case, measure, sums, own)
            if decided is not None:
                release = decided.release
                found = errors.of_release(release, measure, sums, own, case.rules)
                if decided.beyond:
                    beyond[measure.id] = decided.beyond
        kept[measure.id] = kept_of(release, found)
    return kept, beyond


def _sums(case: _Case) -> tuple[Sum, ...] | None:
    """How everything that is out adds up; None where nobody knows."""
    if case.books.foreign(case.cube, case.unit):
        return None
    try:
        return case.lattice.sums(case.place)
    except Unsolved:
        return None


def _account(case: _Case, measure: Measure, sums: Sequence[Sum]) -> Account:
    waived = known(_waived(case.books.waivers, sums), measure)
    return account(case.cube, measure, case.rows, waived)


def _waived(waivers: Sequence[Waiver], sums: Sequence[Sum]) -> list[Waiver]:
    """Those of cells in these sums."""
    if not waivers:
        return []
    cells = {cell for each in sums for cell in each.cells}
    return [waiver for waiver in waivers if waiver.reference in cells]


def _decide(case: _Case, measure: Measure, sums: tuple[Sum, ...], own: Account) -> Decided | None:
    """One measure; None where nothing of it may be released.

    :raises Stale: VERSION.
    """
    waivers = _waived(case.books.waivers, sums)
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


def _draws(case: _Case, own: Account) -> Callable[[Sequence[Cell]], int]:
    def most(cells: Sequence[Cell]) -> int:
        chosen = {*cells}
        drawn = tuple(cell in chosen for cell in case.cells)
        look = Look(level=case.level, unit=case.unit, drawn=drawn)
        return most_looks(case.cube, look, own.looks)

    return most


def _summed(case: _Case, measure: Measure, waivers: Sequence[Waiver]) -> Sums:
    """What the nodes stated of one measure, in its steps; squares with what noise may hide."""
    counted: dict[Cell, int] = {}
    for waiver in waivers:
        if waiver.measure == measure.id:
            counted[waiver.reference] = counted.get(waiver.reference, 0) + 1
    sums = case.words.sums(measure)
    return replace(
        sums, cells=case.cells, waived=tuple(counted.get(cell, 0) for cell in case.cells)
    )


def _figures(case: _Case, kept: Mapping[str, Kept]) -> tuple[Figures, ...]:
    """Every measure of the cube, in its order."""
    codes = codes_of(case.level, case.unit)
    shown = {
        measure.id: tuple(
            PublishedCell.of(
                code,
                None if figure is None else figure * measure.step,
                error if figure is not None else 0,
                partial=at in partial,
            )
            for at, (code, figure, error) in enumerate(
                zip(codes, own.figures, own.errors, strict=True)
            )
        )
        for measure in additive(case.cube)
        for own in [kept[measure.id]]
        for partial in [{*own.partial}]
    }
    first = next((shown[m.id] for m in additive(case.cube) if m.kind is MeasureKind.COUNT), None)
    found = []
    for measure in case.cube.measures:
        match measure.kind:
            case MeasureKind.RATE:
                cells = rates.cells_of(measure, shown)
            case MeasureKind.MEDIAN:
                bars = case.words.bars(measure)
                cells = medians.cells_of(measure, codes, bars, first, case.rules)
            case _:
                cells = shown[measure.id]
        found.append(Figures(measure=measure, cells=cells))
    return tuple(found)

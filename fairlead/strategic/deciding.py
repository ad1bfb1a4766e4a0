"""One unit of a question: from the nodes' sums to the release that anybody may see. Pure.

A security procedure: every measure that adds up is decided by itself (:mod:`fairlead.disclosure`),
over everything that is out of the cube; rates and medians are made of what that shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fairlead import summing
from fairlead.cubes.cube import Cube, MeasureKind
from fairlead.cubes.level import Level
from fairlead.cubes.period import Unit
from fairlead.disclosure.exposure import Exposed
from fairlead.disclosure.rules import Rules
from fairlead.errors import Conflict
from fairlead.published import Figures, Published, PublishedCell, Shown, codes_of
from fairlead.strategic import method
from fairlead.strategic.books import Books, Row
from fairlead.strategic.case import Case, decided_of
from fairlead.strategic.layout import layout_of
from fairlead.strategic.shown import figures_of
from fairlead.strategic.summed import Words

RULES = Rules()


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A release. ``row`` is kept beside its octets; ``books`` have it. ``beyond``: withheld cells,
    by measure, that no suppression protects any more, which is an alarm to whoever decides."""

    published: Published
    row: bytes
    books: Books = field(repr=False)
    beyond: Mapping[str, tuple[Exposed, ...]]


# ── What the gateway calls ───────────────────────────────────────────────────────────────────


def needs_rounds(
    cube: Cube, level: Level, unit: Unit, version: int, books: Books, rules: Rules = RULES
) -> bool:
    """Whether nodes must be asked: not where every figure is a total of published parts, nor where
    nothing may be released; then :func:`total_unit` has the answer."""
    case = _case(cube, level, unit, version, 0, Words.none(cube, level), rules, books)
    medians = any(measure.kind is MeasureKind.MEDIAN for measure in cube.measures)
    return case.sums is not None and (medians or case.asks_nodes())


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


# ── How ──────────────────────────────────────────────────────────────────────────────────────


def _case(
    cube: Cube,
    level: Level,
    unit: Unit,
    version: int,
    participants: int,
    words: Words,
    rules: Rules,
    books: Books,
) -> Case:
    return Case(
        cube=cube,
        level=level,
        unit=unit,
        version=version,
        participants=participants,
        words=words,
        rules=rules,
        books=books,
    )


def _made(case: Case, registry_digest: bytes, expected: int, released_at: int) -> Made:
    # 1
    if case.books.found(case.cube, case.place, case.version):
        raise Conflict("this release is frozen", reasons=("RELEASE_FROZEN",))
    # 2
    kept, beyond = decided_of(case)
    # 3
    published = Published(
        cube=case.cube,
        registry_digest=registry_digest,
        level=case.level,
        unit=case.unit,
        version=case.version,
        participants=case.participants,
        expected=expected,
        figures=figures_of(case, kept),
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

"""The demo's two years as its partners' registers count them, six nodes sum them and the gateway
decides them, and what all their entries say together."""

from __future__ import annotations

import datetime as dt
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from demo.figures import CLERK, entries, last_quarters, pack_year
from demo.ledger import PARTNERS
from fairlead.cubes.cube import Cube, Measure, MeasureKind
from fairlead.cubes.level import Level
from fairlead.cubes.period import TimeStep, Unit, parse_unit
from fairlead.kpi.wanted import TRENDS, wanted
from fairlead.published import Published, PublishedCell
from fairlead.strategic.books import Books
from fairlead.strategic.deciding import decide_unit, needs_rounds, total_unit
from fairlead.strategic.summed import Words
from fairlead.strategic.terms import quarter_at, terms_of, version_at
from fairlead.summing import Terms
from node.figures.adding import own_part
from node.figures.port import Counted
from node.register import MADE, RegisterFigures
from node.register.entry import Entry, Noun
from tests.figures import desk_of, open_log
from tests.small_log import Clock
from tests.strategic import REGISTRY, Federation
from tests.summed import Nodes, names

SEED = 7
TODAY = dt.date(2026, 11, 26)
NOW = int(dt.datetime(2026, 11, 26, tzinfo=dt.UTC).timestamp())
SILENT = Fraction(1, 1000)
"""Noise of such a scale is zero but for one draw in e¹⁰⁰⁰."""
GROUPS = {
    "": "pending",
    "unsubstantiated": "without",
    "substantiated": "with",
    "measure": "with",
    "seizure": "with",
}
FIRST, LAST = "2025-Q1", "2026-Q3"
LAST_YEAR = ("2025-Q4", "2026-Q1", "2026-Q2", LAST)
TRENDS_ONLY = (FIRST, *LAST_YEAR[:2], "2025")
"""Units that are asked for of trends alone, to save time; earlier ones of none."""


# ── Six registers, and what all their entries say together ───────────────────────────────────


def entered() -> dict[str, list[Entry]]:
    """Every partner's entries."""
    last, quarters = TODAY - dt.timedelta(days=1), last_quarters(TODAY)
    return {who: entries(who, quarters, seed=SEED, last=last) for who in PARTNERS}


def fact(cube: str, entry: Entry, came: Mapping[str, str]) -> tuple[str, dict[str, int]] | None:
    """What one entry adds to one cube, and the code by which the pack shows it; counted without
    the product's rules."""
    codes, noun = entry.codes, entry.noun
    if cube == "enquiry-outcomes" and noun is Noun.ENQUIRY:
        return GROUPS[came.get(entry.id, "")], {"enquiries": 1}
    if cube == "seizures" and codes.get("outcome") == "seizure":
        return codes["exchange"], {"seizures": 1, "weight": entry.kg or 0}
    if noun is not Noun.REPORT:
        return None
    match cube:
        case "reports-received":
            return codes["report-kind"], {"reports": 1}
        case "report-feedback" if entry.due or entry.done:
            return codes["report-kind"], {"due": 1, "given": int(entry.done is not None)}
        case "modus-operandi":
            return codes["modus"], {"incidents": 1}
        case "displacement":
            return codes["shore"], {"events": 1}
        case "bribe-approaches" if codes["event"] == "bribe-approach":
            return "", {"approaches": 1}
    return None


@dataclass
class Truth:
    """Of one cell: each partner's part of each measure, and all days that a median is of."""

    parts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    days: list[int] = field(default_factory=list)

    def of(self, measure: str) -> int:
        """What all have together."""
        return self.parts[measure].total()

    def by(self, measure: str) -> int:
        """How many have any."""
        return sum(part > 0 for part in self.parts[measure].values())

    def said(self, measure: Measure) -> float | None:
        """The true figure, as one is published: a median's and a rate's in tenths."""
        match measure.kind:
            case MeasureKind.MEDIAN:
                return statistics.median(self.days) * 10 if self.days else None
            case MeasureKind.RATE:
                numerator, denominator = measure.parts or ("", "")
                return 1000 * self.of(numerator) / self.of(denominator)
        return self.of(measure.id)


Place = tuple[str, str, tuple[str, ...]]
"""A cell: its cube, its unit, its codes."""


def pooled(registers: Mapping[str, Sequence[Entry]]) -> dict[Place, Truth]:
    """Every cell that the pack shows."""
    found: dict[Place, Truth] = defaultdict(Truth)
    for partner, rows in registers.items():
        came = {row.of: row.codes["outcome"] for row in rows if row.noun is Noun.OUTCOME}
        for row in rows:
            month = f"{row.on:%Y-%m}"
            units = [parse_unit(month).within(step) for step in (TimeStep.QUARTER, TimeStep.YEAR)]
            for cube in REGISTRY.cubes:
                if (adds := fact(cube.id, row, came)) is None:
                    continue
                for unit in units:
                    for codes in {(), (adds[0],)}:
                        cell = found[cube.id, unit.spelling, codes]
                        for measure, amount in adds[1].items():
                            cell.parts[measure][partner] += amount
                        if row.done:
                            cell.days.append((row.done - row.on).days)
    return found


# ── Six nodes, and the gateway's side ────────────────────────────────────────────────────────


Counts = dict[tuple[str, str, str, str], Counted]
"""By partner, cube, level and unit."""


@dataclass
class Demo(Federation):
    """Partners whose registers count, and nodes that sum."""

    counts: Mapping[tuple[str, str, str, str], Counted] = field(default_factory=dict)
    exact: bool = False
    """Noise is set to zero."""

    def counted(self, name: str, level: Level, unit: Unit) -> Any:
        """What a partner's own register said."""
        return self.counts[name, self.cube.id, level.name, unit.spelling]

    def terms(self, level: Level, unit: Unit, version: int = 0) -> Terms:
        """Terms of everybody, of the version that is released today."""
        made = terms_of(
            self.cube, level, unit,
            version=version or version_at(unit, NOW), participants=self.ids,
            quarter=quarter_at(NOW), cut_off=NOW,
        )  # fmt: skip
        if not self.exact:
            return made
        silent = [
            replace(m, scale=SILENT, square_scale=m.square_scale and SILENT) for m in made.measures
        ]
        return replace(made, measures=tuple(silent))


Asked = tuple[Cube, Level, Unit]


def asked() -> Iterator[Asked]:
    """What the pack asks of registers, in its order."""
    trends = {cube for cube, _ in TRENDS}
    for cube, level, period in wanted(REGISTRY, pack_year(TODAY), NOW):
        if own_part(cube) in MADE:
            for unit in period.units(level.time):
                listed = LAST_YEAR[2:] if cube.id not in trends else (*TRENDS_ONLY, *LAST_YEAR[2:])
                if unit.spelling in listed:
                    yield cube, level, unit


async def count(
    folder: Path, registers: Mapping[str, Sequence[Entry]], wanted: Sequence[Asked]
) -> Counts:
    """What each partner's register counts, once its entries went through its desk."""
    found: Counts = {}
    for name, (partner, rows) in zip(names(len(PARTNERS)), registers.items(), strict=True):
        place, clock = folder / partner, Clock(NOW - 60.0)
        place.mkdir()
        log = open_log(place, clock)
        try:
            desk = desk_of(log, clock)
            assert await desk.take(rows, by=CLERK) == len(rows)
            figures = RegisterFigures(desk.register)
            for cube, level, unit in wanted:
                own = await figures.count(cube, level, unit, cut_off=NOW)
                found[name, cube.id, level.name, unit.spelling] = own
        finally:
            log.close()
    return found


@dataclass(frozen=True, kw_only=True)
class Told:
    """A release, and the sums that it was made of; none where it has totals of what is out."""

    cube: Cube
    level: Level
    unit: Unit
    published: Published
    words: Words
    sums: Mapping[str, Mapping[str, int]]

    def cells(self) -> Iterator[tuple[Measure, int, PublishedCell, Place]]:
        """Every cell of every measure, and which it is."""
        for measure in self.cube.measures:
            for at, cell in enumerate(self.published.of(measure.id)):
                yield measure, at, cell, (self.cube.id, self.unit.spelling, cell.codes)


def told(counts: Counts, wanted: Sequence[Asked], *, exact: bool = False) -> Iterator[Told]:
    """Rounds and decisions, one release after the other; ``exact``: without noise, and each as the
    first of its cube."""
    books: dict[str, Books] = defaultdict(Books)
    nodes = Nodes(len(PARTNERS))
    answer = {"registry_digest": REGISTRY.digest, "expected": 6, "released_at": NOW}
    for cube, level, unit in wanted:
        if exact:
            books.clear()
        out = books[cube.id]
        pool = Demo(
            cube=cube, records={n: [] for n in nodes.ids}, nodes=nodes, counts=counts, exact=exact
        )
        words, sums, version = Words.none(cube, level), {}, version_at(unit, NOW)
        if needs_rounds(cube, level, unit, version, out):
            terms = pool.terms(level, unit)
            combined = pool.combined(terms, level, unit)
            words, sums = Words.of(cube, level, unit, combined), combined.sums
            made = decide_unit(terms, cube, level, unit, combined, out, **answer)
        else:
            made = total_unit(cube, level, unit, out, version=version, **answer)
        books[cube.id] = made.books
        yield Told(
            cube=cube, level=level, unit=unit, published=made.published, words=words, sums=sums
        )

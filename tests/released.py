"""Published releases for tests: made up for every cube, or drawn at random for the small one."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from random import Random

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import strategies as st

from fairlead.cubes.cube import Cube, Measure
from fairlead.cubes.level import Level
from fairlead.cubes.period import Unit, parse_unit
from fairlead.cubes.registry import Registry
from fairlead.kpi.contents import Contents
from fairlead.priorities import Priorities, State
from fairlead.published import Figures, Published, PublishedCell, Shown, codes_of
from tests.cubes import DEFAULTS, SMALL, written

METHOD = (
    "Each partner adds noise of its own before anything leaves it. A cell needs three contributors "
    "beside its reader and ten records; figures are rounded to 5."
)
RULES = bytes(range(32))
KEY = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
Figure = Callable[[Measure, tuple[str, ...]], PublishedCell]


@lru_cache
def defaults() -> Registry:
    """The registry that ships."""
    return Registry.parse(DEFAULTS)


@lru_cache
def small() -> Registry:
    """The small registry."""
    return Registry.parse(written(SMALL))


def release(
    registry: Registry,
    cube: str,
    level: str,
    unit: str,
    figure: Figure,
    *,
    version: int = 1,
    participants: int = 12,
    expected: int = 14,
    method: str = METHOD,
) -> Published:
    """A release with these figures, a day after its unit of time ended."""
    found = registry.cube(cube)
    named, time = found.level(level), parse_unit(unit)
    codes = codes_of(named, time)
    return Published(
        cube=found,
        registry_digest=registry.digest,
        level=named,
        unit=time,
        version=version,
        participants=participants,
        expected=expected,
        figures=tuple(
            Figures(measure=measure, cells=tuple(figure(measure, code) for code in codes))
            for measure in found.measures
        ),
        released_at=time.ends + 86_400,
        rules_digest=RULES,
        method=method,
    )


# ── One of every kind ────────────────────────────────────────────────────────────────────────


def every_kind(_: Measure, codes: tuple[str, ...]) -> PublishedCell:
    """A cell of each kind by turns, of the small registry's countries and kinds."""
    kinds = {
        ("BE", "anonymous"): PublishedCell.of(codes, 1250, 15),
        ("BE", "named"): PublishedCell.of(codes, 0, 15),
        ("NL", "anonymous"): PublishedCell.of(codes, None),
        ("NL", "named"): PublishedCell(codes=codes, shown=Shown.NOT_REPORTED),
        ("BE",): PublishedCell.of(codes, 1250, 15, partial=True),
    }
    return kinds.get(codes, PublishedCell.of(codes, 40, 5))


def small_contents() -> Contents:
    """A pack of the small registry: every kind of cell, a quarter without a release, priorities."""
    registry = small()
    releases = [
        release(registry, "reports", "quarter,country,kind", unit, every_kind)
        for unit in ("2026-Q1", "2026-Q2", "2026-Q4")
    ]
    releases += [
        release(registry, "reports", "quarter,country", "2026-Q1", every_kind),
        release(registry, "reports", "year", "2026", every_kind, version=2, participants=11),
        release(registry, "reports", "year", "2026", every_kind),
    ]
    return Contents.of(
        2026, federation="example", registry=registry, releases=releases, priorities=resolved()
    )


def resolved() -> Priorities:
    """Priorities in every state."""
    made = Priorities()
    for title, owner, due in (
        ("Seals read at every gate", "port-authority", dt.date(2026, 6, 30)),
        ("PIN codes shown to two roles only", "terminal-north", dt.date(2027, 3, 31)),
        ("Inland terminals take part in statistics", "customs", dt.date(2026, 12, 31)),
    ):
        made = made.added(title, owner, due)
    return made.closed(3, State.DONE, dt.date(2026, 11, 2))


# ── At random ────────────────────────────────────────────────────────────────────────────────

_NUMBERS = st.integers(0, 2**40)


@st.composite
def cells(draw: st.DrawFn, codes: tuple[str, ...]) -> PublishedCell:
    """Any cell."""
    match draw(st.sampled_from(list(Shown))):
        case Shown.NOT_REPORTED:
            return PublishedCell(codes=codes, shown=Shown.NOT_REPORTED)
        case Shown.SUPPRESSED:
            return PublishedCell.of(codes, None)
        case Shown.PARTIAL:
            return PublishedCell.of(codes, draw(_NUMBERS), draw(_NUMBERS), partial=True)
        case _:
            return PublishedCell.of(codes, draw(_NUMBERS), draw(_NUMBERS))


@st.composite
def releases(draw: st.DrawFn) -> Published:
    """Any release of the small registry; where nothing was reported, of no version."""
    level = draw(st.sampled_from(small().cube("reports").levels))
    units = {"month": "2026-03", "quarter": "2026-Q2", "year": "2025"}
    expected = draw(st.integers(0, 40))
    told: dict[tuple[str, tuple[str, ...]], PublishedCell] = {}

    def figure(measure: Measure, codes: tuple[str, ...]) -> PublishedCell:
        if (measure.id, codes) not in told:
            told[measure.id, codes] = draw(cells(codes))
        return told[measure.id, codes]

    named, unit = small().cube("reports"), parse_unit(units[level.time.value])
    for measure in named.measures:
        for codes in codes_of(level, unit):
            figure(measure, codes)
    reported = {cell.shown for cell in told.values()} != {Shown.NOT_REPORTED}
    return release(
        small(),
        "reports",
        level.name,
        units[level.time.value],
        figure,
        version=draw(st.integers(1, 3)) if reported else 0,
        participants=draw(st.integers(0, expected)),
        expected=expected,
        method=draw(st.sampled_from([METHOD, "", "<b>&\"'"])),
    )


# ── Two years of made-up figures ─────────────────────────────────────────────────────────────


def two_years(year: int = 2026, seed: int = 7) -> Iterator[Published]:
    """Releases of every cube that ships at every level of the page: events move inland, PIN-code
    fraud grows, small cells are suppressed, and one quarter of reports was never released."""
    random = Random(seed)
    for cube in defaults().cubes:
        for level in cube.levels:
            for unit in _units(level, year):
                if (cube.id, unit.spelling) != ("reports-received", f"{year}-Q3"):
                    figure = _made_up(cube, level, unit, random)
                    taking = 12 + random.randrange(3)
                    yield release(
                        defaults(), cube.id, level.name, unit.spelling, figure, participants=taking
                    )


def two_years_contents() -> Contents:
    """A pack of them."""
    return Contents.of(
        2026,
        federation="example",
        registry=defaults(),
        releases=two_years(),
        priorities=Priorities(),
    )


def _units(level: Level, year: int) -> Iterator[Unit]:
    each = 12 // level.time.months
    return (Unit(level.time, n) for n in range((year - 1) * each, (year + 1) * each))


def _made_up(cube: Cube, level: Level, unit: Unit, random: Random) -> Figure:
    growth = 1.15 ** ((unit.number - 2025 * 12 // unit.step.months) * unit.step.months / 3)

    def figure(measure: Measure, codes: tuple[str, ...]) -> PublishedCell:
        size = 400 * unit.step.months * random.lognormvariate(0, 0.3) / (1 + level.width**0.8)
        size *= {"sea": 3 / growth, "inland": growth, "pin-code-fraud": growth}.get(
            next(iter(codes), ""), 1
        )
        match measure.kind.value:
            case "rate":
                return PublishedCell.of(codes, random.randrange(300, 950), 40)
            case "median":
                return PublishedCell.of(codes, random.randrange(20, 300), 15)
        if size < 12:
            return PublishedCell.of(codes, None if random.random() < 0.9 else 0, 0)
        return PublishedCell.of(codes, 5 * math.ceil(size / 5), 15)

    return figure

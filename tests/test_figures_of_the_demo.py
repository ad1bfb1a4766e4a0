"""What a pack of the demo's two years shows, against what all entries say together: figures are
within their errors, sums exact without noise, nothing is withheld without a reason, and two trends
are to be seen."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from fairlead.cubes.cube import Measure, MeasureKind
from fairlead.cubes.period import Period
from fairlead.disclosure.release import Decided
from fairlead.disclosure.rounding import round_to_base
from fairlead.disclosure.rules import Reason
from fairlead.published import Shown
from fairlead.strategic import case
from fairlead.strategic.deciding import RULES
from fairlead.strategic.lattice import references
from fairlead.strategic.terms import word_names
from tests.attacks.games.bounds import at_least
from tests.demo_figures import (
    FIRST,
    LAST,
    LAST_YEAR,
    Counts,
    Place,
    Told,
    Truth,
    asked,
    count,
    entered,
    pooled,
    told,
)  # fmt: skip

STATED = 0.95
"""How often the true figure is within the error that stands beside the published one."""
REFUTED = 1e-3
"""So few within it have a chance of one in a thousand where that is so."""


@dataclass(frozen=True, kw_only=True)
class World:
    """What was entered, counted and released."""

    truth: Mapping[Place, Truth]
    counts: Counts
    told: tuple[Told, ...]
    reasons: tuple[Mapping[str, Mapping[Any, Reason]], ...]
    """Of each release by measure: why its cells are withheld."""

    def of(self, cube: str, level: str, unit: str) -> Told:
        """One release."""
        wanted = (cube, level, unit)
        (found,) = (t for t in self.told if (t.cube.id, t.level.name, t.unit.spelling) == wanted)
        return found

    def shown(self, told: Told, measure: Measure, at: int) -> float | None:
        """What a published figure is of: all that is true; in part, all that its parts are of."""
        cell = told.published.of(measure.id)[at]
        if not cell.shown.is_number:
            return 0
        if cell.shown is not Shown.PARTIAL:
            return self.truth[told.cube.id, told.unit.spelling, cell.codes].said(measure)
        parts = [
            (other, place)
            for other in self.told
            if other.cube is told.cube and self._is_part(other, told)
            for place in range(other.level.width)
        ]
        return sum(self.shown(other, measure, place) or 0 for other, place in parts)

    def _is_part(self, other: Told, told: Told) -> bool:
        parent = other.level.parent
        if parent is None or parent.name != told.level.name:
            return False
        return other.unit.within(told.unit.step) == told.unit


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The pack's releases, and why each cell in them is withheld."""
    registers, wanted = entered(), tuple(asked())
    counts = asyncio.run(count(tmp_path_factory.mktemp("registers"), registers, wanted))
    found: list[dict[str, Mapping[Any, Reason]]] = [{}]
    decide = case.decide

    def spied(asked: Any, *rest: Any, **named: Any) -> Decided:
        made = decide(asked, *rest, **named)
        assert not made.beyond
        found[-1][asked.measure] = made.reasons
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(case, "decide", spied)
        releases = []
        for release in told(counts, wanted):
            releases.append(release)
            found.append({})
    return World(
        truth=pooled(registers), counts=counts, told=tuple(releases), reasons=tuple(found[:-1])
    )


def test_figures_are_within_the_error_that_they_state(world: World) -> None:
    """At least 95 in a hundred of all figures that the pack shows; fewer only where chance explains
    it, by the exact binomial bound."""
    shown = [
        (told, measure, at, cell)
        for told in world.told
        for measure, at, cell, _ in told.cells()
        if cell.shown.is_number
    ]
    within = 0
    for release, measure, at, cell in shown:
        true = world.shown(release, measure, at)
        within += true is not None and abs(cell.value - true) <= cell.error
    print(f"{within} of {len(shown)} figures are within their error")
    assert len(shown) > 90
    assert at_least(len(shown) - within, len(shown), 1 - STATED) > REFUTED


def test_without_noise_sums_are_exact(world: World) -> None:
    """Every word is what all registers have together, and a figure is that, rounded."""
    wanted = [each for each in asked() if each[2].spelling in (LAST, "2025")]
    figures = 0
    for release in told(world.counts, wanted, exact=True):
        for measure, at, cell, place in release.cells():
            true = world.truth[place]
            if measure.kind not in (MeasureKind.COUNT, MeasureKind.SUM):
                continue
            assert release.words.contributing(measure)[at] == true.by(measure.id)
            name = word_names(release.cube.measures.index(measure), measure)[0]
            spelt = release.level.cells(Period(release.unit, release.unit))[at].spelling
            row = release.sums.get(spelt, {})
            if cell.shown is Shown.VALUE:
                figures += 1
                assert row[name] == true.of(measure.id)
                steps = (true.of(measure.id) + measure.step // 2) // measure.step
                assert cell.value == round_to_base(steps, RULES.round_to) * measure.step
    assert figures > 20


def test_what_is_withheld_has_a_true_reason(world: World) -> None:
    """Too few contribute, or too few records, or one makes up most, or another withheld cell would
    be given away; nothing else, and no release is refused whole."""
    seen = set()
    for release, reasons in zip(world.told, world.reasons, strict=True):
        cells = references(release.level, release.unit)
        for measure, at, cell, place in release.cells():
            if measure.kind not in (MeasureKind.COUNT, MeasureKind.SUM):
                continue
            if cell.shown not in (Shown.SUPPRESSED, Shown.PARTIAL):
                continue
            reason = reasons[measure.id][cells[at]]
            seen.add(reason)
            assert _true(world, reason, release, measure, at, world.truth[place]), (place, reason)
    assert {Reason.TOO_FEW_CONTRIBUTORS, Reason.COMPLEMENTARY} <= seen


def _true(
    world: World, reason: Reason, release: Told, measure: Measure, at: int, true: Truth
) -> bool:
    match reason:
        case Reason.TOO_FEW_CONTRIBUTORS:
            rule = RULES.dominance_contributors if measure.dominance else RULES.contributors
            return true.by(measure.id) <= rule
        case Reason.TOO_FEW_RECORDS:
            first = release.cube.measures[0]
            return true.of(first.id) < RULES.records + _most_error(world, release, first)
        case Reason.DOMINATED:
            return measure.dominance
        case Reason.COMPLEMENTARY:
            return any(
                (other is not release or place != at)
                and cell.shown in (Shown.SUPPRESSED, Shown.PARTIAL)
                for other in world.told
                if other.cube is release.cube
                for place, cell in enumerate(other.published.of(measure.id))
            )
    return False


def _most_error(world: World, release: Told, measure: Measure) -> int:
    return max(
        cell.error
        for other in world.told
        if other.cube is release.cube
        for cell in other.published.of(measure.id)
    )


def test_rates_and_medians_are_withheld_with_what_they_are_made_of(world: World) -> None:
    """A rate is of two shown figures, a median of a cell whose first figure is shown."""
    for release in world.told:
        published = release.published
        for measure, at, cell, _ in release.cells():
            match measure.kind:
                case MeasureKind.RATE:
                    part, whole = (published.of(name)[at] for name in measure.parts or ())
                    both = part.shown is whole.shown is Shown.VALUE
                    assert cell.shown.is_number == (both and whole.value > whole.error)
                case MeasureKind.MEDIAN if cell.shown.is_number:
                    first = release.cube.measures[0].id
                    assert published.of(first)[at].shown is Shown.VALUE


def _by_code(world: World, cube: str, level: str, unit: str) -> dict[str, tuple[int, int]]:
    """Published figures with their errors, of the cube's first measure."""
    release = world.of(cube, level, unit)
    cells = release.published.of(release.cube.measures[0].id)
    return {cell.codes[0]: (cell.value, cell.error) for cell in cells if cell.shown.is_number}


def test_events_are_seen_to_move_inland(world: World) -> None:
    """The inland share of published events doubles and more, and at least five partners report
    inland events in each quarter of the last year."""
    shares = []
    for unit in (FIRST, *LAST_YEAR):
        said = _by_code(world, "displacement", "quarter,shore", unit)
        shares.append(said["inland"][0] / (said["inland"][0] + said["sea"][0]))
        release = world.of("displacement", "quarter,shore", unit)
        (at,) = (i for i, c in enumerate(release.published.of("events")) if "inland" in c.codes)
        (events,) = release.cube.measures
        assert release.words.contributing(events)[at] >= 5
    print("inland share:", *(f"{share:.2f}" for share in shares))
    first, *later = shares
    assert min(later) > first
    assert shares[-1] > 0.5 > 2 * first * 0.9
    (sea, off), (then, error) = (
        _by_code(world, "displacement", "quarter,shore", unit)["sea"] for unit in (FIRST, LAST)
    )
    assert sea - off > then + error


def test_switches_are_seen_to_take_the_place_of_stolen_codes(world: World) -> None:
    """Between the first and the last quarter, further than their errors reach."""
    first, last = (
        _by_code(world, "modus-operandi", "quarter,modus-operandi", unit) for unit in (FIRST, LAST)
    )
    (before, off), (after, error) = first["switch"], last["switch"]
    assert before + off < after - error
    (before, off), (after, error) = first["pin-code-fraud"], last["pin-code-fraud"]
    assert before - off > after + error

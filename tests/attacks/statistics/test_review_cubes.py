"""What a cube or measure tells of another: each test shows a figure that no rule would show."""

from __future__ import annotations

import math

import pytest

from fairlead.cubes.cube import Cube
from fairlead.cubes.period import parse_unit
from fairlead.published import Shown
from fairlead.strategic.deciding import RULES
from fairlead.strategic.terms import scale_of
from tests.strategic import REGISTRY, Federation, Record, months_of
from tests.summed import Nodes, names

UNIT = "2026-Q1"
MONTH = months_of(UNIT)[0]
REPORTS, FEEDBACK = REGISTRY.cube("reports-received"), REGISTRY.cube("report-feedback")
SEIZURES = REGISTRY.cube("seizures")
IDS = names(8)
Rows = list[tuple[str, str, tuple[int, ...]]]


def federation(cube: Cube, rows: Rows) -> Federation:
    """Partners with records of these countries and words, each in the first of its places."""
    places = [code.code for code in cube.finest("place").codes]
    kind = cube.finest("report-kind").codes[0].code

    def record(country: str, words: tuple[int, ...]) -> Record:
        return Record(MONTH, (next(p for p in places if p.startswith(country)), kind), words)

    records = {name: [record(c, w) for who, c, w in rows if who == name] for name in IDS}
    return Federation(cube=cube, records=records)


def feedback(due: int, given: int) -> tuple[int, ...]:
    """The words of a report: feedback is due, was given (at once), or not."""
    bars = next(m.words for m in FEEDBACK.measures if m.id == "days")
    return due, given, *(int(bar == 0) * given for bar in range(bars))


@pytest.mark.xfail(strict=True, reason="review A, finding 2: not mended")
def test_a_total_of_another_cube_gives_away_the_country_that_is_withheld() -> None:
    """report-feedback's ``due`` are reports-received's ``reports``, unless nobody waits to hear."""
    rows = [(name, country) for name in IDS for country in ["BE"] * 40 + ["NL"] * 60]
    rows += [(IDS[0], "DE")] * 400
    one = federation(REPORTS, [(name, country, (1,)) for name, country in rows])
    other = federation(FEEDBACK, [(name, country, feedback(1, 0)) for name, country in rows])
    parts = one.release("quarter,country", UNIT).published.figures[0].cells
    one.release("quarter", UNIT)
    due = other.release("quarter", UNIT).published.figures[0].cells[0]
    shown = [cell.value for cell in parts if cell.shown is Shown.VALUE]
    left, off = due.value - sum(shown), 2 * (len(shown) + 1)
    assert next(cell for cell in parts if cell.codes[-1] == "DE").shown is Shown.SUPPRESSED
    assert RULES.wide(left - off, left + off), (left, off)


def test_a_measure_to_which_one_partner_contributes_is_withheld() -> None:
    """Eight have reports, one gives feedback: ``given`` and ``days`` are its own figures."""
    rows: Rows = [(name, "NL", feedback(1, 0)) for name in IDS for _ in range(60)]
    rows += [(IDS[3], "NL", feedback(1, 1))] * 340
    made = federation(FEEDBACK, rows).release("quarter,country", UNIT)
    cells = {
        figures.measure.id: next(c for c in figures.cells if c.codes[-1] == "NL")
        for figures in made.published.figures
    }
    assert {name for name, cell in cells.items() if cell.shown is Shown.VALUE} <= {"due"}, cells


@pytest.mark.parametrize("kg", [120, 300, pytest.param(1000, marks=pytest.mark.xfail(
    strict=True, reason="review A, finding 5: noise hides a step, not a whole large seizure"
))])  # fmt: skip
def test_a_seizure_more_or_less_is_not_seen_in_the_weight(kg: int) -> None:
    """Noise and rounding are of a hundred kilograms, not of what a record weighs."""
    weight = next(m for m in SEIZURES.measures if m.id == "weight")
    # Discrete Laplace against itself moved by so many steps: the best guess of two.
    scale = scale_of(SEIZURES, weight)
    guess = 1 - 0.5 * math.exp(-kg / (2 * scale))
    assert guess <= 0.6, (kg, guess)


def test_the_weight_of_five_partners_is_not_even_summed() -> None:
    """Where one may make up most of it six must contribute to it, and the nodes see to that."""
    kg = SEIZURES.finest("weight").codes[0].code
    place = SEIZURES.finest("place").codes[0].code
    exchange = SEIZURES.finest("exchange").codes[0].code
    few = [Record(MONTH, (place, exchange, kg), (1, 40))] * 60
    none = [Record(MONTH, (place, exchange, kg), (1, 0))] * 60
    records = {name: few if at < 5 else none for at, name in enumerate(IDS)}
    pool = Federation(cube=SEIZURES, records=records, nodes=Nodes(8))
    level, unit = SEIZURES.level("quarter"), parse_unit(UNIT)
    found = pool.combined(pool.terms(level, unit), level, unit)
    assert found.contributors == {UNIT: {"m0": 8, "m1": 5}}
    assert found.sums[UNIT].keys() == {"m0"}

"""Periods: whole units of the calendar, each with one spelling, and over before they are asked."""

from __future__ import annotations

import datetime as dt
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.cubes.period import (
    FIRST_YEAR,
    LAST_YEAR,
    MAX_UNITS,
    Period,
    TimeStep,
    Unit,
    parse_period,
    parse_unit,
)
from fairlead.errors import InvalidInput


@st.composite
def periods(draw: st.DrawFn) -> Period:
    """Any period that there is."""
    step = draw(st.sampled_from(list(TimeStep)))
    each = 12 // step.months
    first = draw(st.integers(FIRST_YEAR * each, (LAST_YEAR + 1) * each - 1))
    last = min(first + draw(st.integers(0, MAX_UNITS - 1)), (LAST_YEAR + 1) * each - 1)
    return Period(Unit(step, first), Unit(step, last))


@given(periods())
def test_a_period_is_read_as_it_is_spelled(period: Period) -> None:
    """The spelling of any period reads as that period."""
    assert parse_period(period.spelling) == period


@given(st.text(max_size=20) | st.from_regex(r"\A[0-9]{4}(-Q?[0-9]{1,2})?(\.\.[0-9Q-]{4,8})?\Z"))
def test_a_text_is_the_one_spelling_of_its_period_or_refused(text: str) -> None:
    """Whatever is read is spelled exactly so, and nothing raises anything but our error."""
    with suppress(InvalidInput):
        assert parse_period(text).spelling == text


@pytest.mark.parametrize(
    "text",
    [
        "", "26", "2026-", "2026-1", "2026-00", "2026-13", "2026-Q0", "2026-Q5", "2026-q1",
        "2026Q1", "1999", "2100", "2026-01-01", " 2026", "2026\n", "２０２６", "2026..2026",
        "2026..2025",
        "2026-Q1..2026", "2026-01..2026-Q2", "2026..", "..2026", "2026..2027..2028", "2026...2027",
        "2026-Q3..2026-Q1", "2026-Q1-2026-Q3", "2026,2027",
    ],
)  # fmt: skip
def test_what_is_only_like_a_period_is_refused(text: str) -> None:
    """Other signs, other lengths, a range of one or backwards, white space around."""
    with pytest.raises(InvalidInput) as caught:
        parse_period(text)
    assert caught.value.code == "PERIOD_MALFORMED"


@pytest.mark.parametrize(
    ("text", "step", "spelling"),
    [
        ("2026", TimeStep.QUARTER, "2026-Q1..2026-Q4"),
        ("2026", TimeStep.YEAR, "2026"),
        ("2026-Q4", TimeStep.MONTH, "2026-10..2026-12"),
        ("2025..2026", TimeStep.MONTH, "2025-01..2026-12"),
        ("2026-Q1..2026-Q3", TimeStep.QUARTER, "2026-Q1..2026-Q3"),
    ],
)
def test_a_longer_unit_is_read_in_the_levels_own(text: str, step: TimeStep, spelling: str) -> None:
    """So that a year and its four quarters are one question."""
    found = parse_period(text)
    assert found.at(step).spelling == spelling
    assert found.units(step)[0].spelling == spelling.split("..", maxsplit=1)[0]
    assert found.at(step) == parse_period(spelling)


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("2026-Q1", TimeStep.YEAR), ("2026-Q1..2026-Q4", TimeStep.YEAR),
        ("2026-01..2026-03", TimeStep.QUARTER), ("2026-01", TimeStep.YEAR),
    ],
)  # fmt: skip
def test_a_shorter_unit_is_refused(text: str, step: TimeStep) -> None:
    """Even where the units happen to be whole ones together, they are spelled as what they are."""
    with pytest.raises(InvalidInput) as caught:
        parse_period(text).units(step)
    assert caught.value.code == "PERIOD_STEP"


def test_a_period_has_a_longest_length() -> None:
    """Ten years by the month, and not one more, however it is written."""
    assert len(parse_period("2020..2029").units(TimeStep.MONTH)) == MAX_UNITS
    with pytest.raises(InvalidInput) as caught:
        parse_period("2020..2030").units(TimeStep.MONTH)
    assert caught.value.code == "PERIOD_TOO_LONG"
    with pytest.raises(InvalidInput) as caught:
        parse_period("2020-01..2030-01")
    assert caught.value.code == "PERIOD_TOO_LONG"


@given(periods())
def test_units_follow_one_another_without_a_gap(period: Period) -> None:
    """Each begins on the first of a month in UTC, in the second in which the one before ends."""
    units = period.units(period.step)
    assert [a.ends for a in units[:-1]] == [b.begins for b in units[1:]]
    assert [parse_unit(unit.spelling) for unit in units] == list(units)
    for unit in units:
        begins = dt.datetime.fromtimestamp(unit.begins, tz=dt.UTC)
        assert (begins.day, begins.hour, begins.minute, begins.second) == (1, 0, 0, 0)


def test_a_period_is_closed_when_its_last_second_is_over() -> None:
    """At midnight UTC after its last day, and not a second before."""
    period = parse_period("2026-Q1..2026-Q2")
    end = dt.datetime(2026, 7, 1, tzinfo=dt.UTC).timestamp()
    assert not period.closed(end - 1)
    assert period.closed(end)
    period.check_closed(end)
    with pytest.raises(InvalidInput) as caught:
        period.check_closed(end - 1)
    assert caught.value.code == "PERIOD_OPEN"


def test_a_unit_lies_within_one_of_a_coarser_step() -> None:
    """And in none of a finer one."""
    unit = parse_unit("2026-Q3")
    assert unit.within(TimeStep.YEAR) == parse_unit("2026")
    assert unit.within(TimeStep.QUARTER) == unit
    with pytest.raises(InvalidInput):
        unit.within(TimeStep.MONTH)

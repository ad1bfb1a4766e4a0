"""Periods: whole months, quarters or years of the calendar, in UTC, each with one spelling.

``2026-01`` is a month, ``2026-Q1`` a quarter, ``2026`` a year, ``2026-Q1..2026-Q3`` three quarters.
A level that counts by quarters reads ``2026`` as ``2026-Q1..2026-Q4``: what is asked is always
spelled in the level's own units, so that two spellings of a question are one question.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from enum import StrEnum

from fairlead.errors import InvalidInput

FIRST_YEAR, LAST_YEAR = 2000, 2099
MAX_UNITS = 120
"""Of one period: ten years by the month."""

_UNIT = re.compile(r"(20[0-9]{2})(?:-(0[1-9]|1[0-2])|-Q([1-4]))?\Z")
_SEPARATOR = ".."


class TimeStep(StrEnum):
    """How long a unit of time is, from the shortest."""

    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"

    @property
    def months(self) -> int:
        """Months in one unit."""
        return _MONTHS[self]


_MONTHS = {TimeStep.MONTH: 1, TimeStep.QUARTER: 3, TimeStep.YEAR: 12}


@dataclass(frozen=True, slots=True)
class Unit:
    """One month, quarter or year: the ``number``-th since the beginning of year 0."""

    step: TimeStep
    number: int

    @property
    def spelling(self) -> str:
        """``2026-01``, ``2026-Q1`` or ``2026``."""
        year, place = divmod(self.number * self.step.months, 12)
        match self.step:
            case TimeStep.MONTH:
                return f"{year:04d}-{place + 1:02d}"
            case TimeStep.QUARTER:
                return f"{year:04d}-Q{place // 3 + 1}"
            case TimeStep.YEAR:
                return f"{year:04d}"

    @property
    def begins(self) -> int:
        """Its first second (Unix, UTC)."""
        year, month = divmod(self.number * self.step.months, 12)
        return int(dt.datetime(year, month + 1, 1, tzinfo=dt.UTC).timestamp())

    @property
    def ends(self) -> int:
        """The first second after it."""
        return Unit(self.step, self.number + 1).begins

    def within(self, step: TimeStep) -> Unit:
        """The unit of a coarser step that it lies in.

        :raises InvalidInput: PERIOD_STEP: the step is a finer one.
        """
        if step.months < self.step.months:
            raise _finer()
        return Unit(step, self.number * self.step.months // step.months)


@dataclass(frozen=True, slots=True)
class Period:
    """Units of one step from ``first`` to ``last``, both included."""

    first: Unit
    last: Unit

    @property
    def step(self) -> TimeStep:
        """Of which length its units are."""
        return self.first.step

    @property
    def spelling(self) -> str:
        """How it is written, and in no other way."""
        ends = [self.first.spelling, self.last.spelling]
        return ends[0] if self.first == self.last else _SEPARATOR.join(ends)

    def at(self, step: TimeStep) -> Period:
        """The same time in units of another step.

        :raises InvalidInput: PERIOD_STEP: the step is coarser than the period is written in;
            PERIOD_TOO_LONG.
        """
        ratio, rest = divmod(self.step.months, step.months)
        if rest or not ratio:
            raise _finer()
        first, last = self.first.number * ratio, (self.last.number + 1) * ratio - 1
        if last - first >= MAX_UNITS:
            raise InvalidInput(
                "the period has more units than are counted at once",
                reasons=("PERIOD_TOO_LONG",),
                remedy=f"ask for at most {MAX_UNITS} units of the level's step",
            )
        return Period(Unit(step, first), Unit(step, last))

    def units(self, step: TimeStep) -> tuple[Unit, ...]:
        """Its units of a step, in order.

        :raises InvalidInput: see :meth:`at`.
        """
        found = self.at(step)
        return tuple(
            Unit(step, number) for number in range(found.first.number, found.last.number + 1)
        )

    def closed(self, now: float) -> bool:
        """Whether all of it has ended. :param now: Unix seconds."""
        return now >= self.last.ends

    def check_closed(self, now: float) -> None:
        """:raises InvalidInput: PERIOD_OPEN: it has not ended at ``now`` (Unix seconds)."""
        if not self.closed(now):
            raise InvalidInput(
                "the period has not ended yet",
                reasons=("PERIOD_OPEN",),
                remedy="ask again when its last unit is over (UTC), or for an earlier one",
            )


def parse_unit(text: str) -> Unit:
    """Read one unit.

    :raises InvalidInput: PERIOD_MALFORMED.
    """
    found = _UNIT.match(text)
    if found is None:
        raise _malformed()
    year, month, quarter = found.groups()
    if month:
        return Unit(TimeStep.MONTH, int(year) * 12 + int(month) - 1)
    if quarter:
        return Unit(TimeStep.QUARTER, int(year) * 4 + int(quarter) - 1)
    return Unit(TimeStep.YEAR, int(year))


def parse_period(text: str) -> Period:
    """Read a period as it is spelled, and nothing that is only like it.

    :raises InvalidInput: PERIOD_MALFORMED: no such spelling, ends of two lengths, or the later end
        first; PERIOD_TOO_LONG.
    """
    ends = [parse_unit(part) for part in text.split(_SEPARATOR, 2)[:3]]
    if len(ends) > 2 or len({end.step for end in ends}) > 1:
        raise _malformed()
    if len(ends) == 2 and ends[0].number >= ends[1].number:
        raise _malformed()
    found = Period(ends[0], ends[-1])
    return found.at(found.step)


def _malformed() -> InvalidInput:
    return InvalidInput(
        "the period is not spelled as one",
        reasons=("PERIOD_MALFORMED",),
        remedy=f"write 2026-01, 2026-Q1, 2026 or 2026-Q1..2026-Q3, {FIRST_YEAR} to {LAST_YEAR}",
    )


def _finer() -> InvalidInput:
    return InvalidInput(
        "the period is not whole units of what the level counts by",
        reasons=("PERIOD_STEP",),
        remedy="write the period in the level's own unit of time, or in a longer one",
    )

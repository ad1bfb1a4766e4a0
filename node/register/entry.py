"""What stands in the register: reports, the enquiries that ensue, and what came of these."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from fairlead.errors import InvalidInput

FIRST_DAY = dt.date(2000, 1, 1)
MAX_KG = 10_000_000
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,63}\Z")


class Noun(StrEnum):
    """Kinds of entries."""

    REPORT = "report"
    ENQUIRY = "enquiry"
    OUTCOME = "outcome"

    @property
    def plural(self) -> str:
        """As commands name it."""
        return "enquiries" if self is Noun.ENQUIRY else f"{self}s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that happened, as the register says it at one time.

    :param id: given by whoever enters it; of one noun once.
    :param on: the day of receipt of a report, of opening of an enquiry, of an outcome.
    :param happened: the day of what a report tells of.
    :param done: the day on which a report's feedback was given, or an enquiry closed.
    :param due: somebody who made a report waits for feedback.
    :param codes: by the id of the registry's dimension.
    :param of: the id of what it follows: an enquiry's report, an outcome's enquiry.
    :param withdrawn: entered by mistake; it counts nowhere.
    """

    noun: Noun
    id: str
    on: dt.date
    happened: dt.date | None = None
    done: dt.date | None = None
    due: bool = False
    codes: Mapping[str, str] = field(default_factory=dict)
    of: str = ""
    kg: int | None = None
    withdrawn: bool = False

    @property
    def began(self) -> Entry:
        """What it said when it was entered: not yet done, nor withdrawn."""
        return replace(self, done=None, withdrawn=False)

    def to_octets(self) -> bytes:
        """For the file."""
        days = {"on": self.on, "happened": self.happened, "done": self.done}
        return json.dumps(
            {
                "noun": self.noun,
                "id": self.id,
                **{name: day.isoformat() for name, day in days.items() if day is not None},
                "due": self.due,
                "codes": dict(self.codes),
                "of": self.of,
                "kg": self.kg,
                "withdrawn": self.withdrawn,
            },
            sort_keys=True,
            separators=(",", ":"),
        ).encode("ascii")

    @classmethod
    def from_octets(cls, octets: bytes) -> Entry:
        """Undo :meth:`to_octets`, of octets that this program wrote and sealed."""
        found: dict[str, Any] = json.loads(octets)
        for name in ("on", "happened", "done"):
            if name in found:
                found[name] = dt.date.fromisoformat(found[name])
        return cls(**{**found, "noun": Noun(found["noun"])})


def seconds(day: dt.date) -> int:
    """The first second of a day, in UTC (Unix)."""
    return int(dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC).timestamp())


def check_id(text: str) -> str:
    """An id: letters, digits and ``. _ / -``; ≤ 64.

    :raises InvalidInput: REGISTER_ID.
    """
    if not _ID.match(text):
        raise InvalidInput(
            "an id of the register has letters, digits and . _ / - and at most 64 of them",
            reasons=("REGISTER_ID",),
            remedy="give it an id of your own records, as in R-2026-017; never a person's name",
        )
    return text


def day(text: str, *, now: float, after: dt.date = FIRST_DAY) -> dt.date:
    """A day as it is typed: ``2026-02-17``.

    :param after: the first day it may be. A day ahead of UTC may have begun where it is typed.
    :raises InvalidInput: DATE: not a day, or one that may not be.
    """
    last = dt.datetime.fromtimestamp(now, dt.UTC).date() + dt.timedelta(days=1)
    try:
        found = dt.datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=dt.UTC).date()
    except ValueError:
        found = dt.date.max
    if found.isoformat() != text or not after <= found <= last:
        raise before_it(after)
    return found


def before_it(after: dt.date | None = None) -> InvalidInput:
    """The error for a day that cannot be."""
    since = f", from {after}" if after else ""
    return InvalidInput(
        "a day is not one that has been, or comes before what it follows",
        reasons=("DATE",),
        remedy=f"write it as in 2026-02-17{since} until today",
    )


def kilograms(number: int) -> int:
    """Whole kilograms, gross.

    :raises InvalidInput: REGISTER_KG.
    """
    if not 0 <= number <= MAX_KG:
        raise InvalidInput(
            "a weight is in whole kilograms, ten thousand tonnes at most",
            reasons=("REGISTER_KG",),
            remedy="write it as in --kg 120",
        )
    return number

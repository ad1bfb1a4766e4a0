"""Guessing what the columns of a sample mean, by the share of values that pass a check. Pure.

A check digit is evidence, a form is hardly any: a scheme whose check digit is right in most
values is guessed by itself, a scheme that only has a form needs a column of its name as well.
Nothing about handling, purposes or retention is ever guessed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import islice

from fairlead import vocabulary
from fairlead.errors import InvalidInput
from fairlead.identifiers import SCHEMES, Validity, normaliser
from node.sources.personal import PERSON_SCHEMES, about_person, snake
from node.sources.sample import Sample

DISTINCT = 1_000
"""Different values of one column that are checked."""
CHECKED_SHARE = 0.6
"""Of values with a right check digit (chance alone gives a tenth)."""
FORM_SHARE = 0.8
"""Of values in the form of a scheme whose name the column bears."""
TIME_SHARE = 0.9
MAX_EVENTS = 30
"""Different values of a column of events."""
MAX_SHAPE = 24

TIME_FORMATS = (
    "iso", "unix", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y", "%d/%m/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M", "%d/%m/%Y", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y",
    "%d-%m-%Y %H:%M:%S", "%d-%m-%Y %H:%M", "%d-%m-%Y", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M",
    "%Y/%m/%d", "%Y%m%d%H%M%S", "%Y%m%d %H:%M",
)  # fmt: skip
_HINTS = {
    "container": {"container", "box", "unit", "cntr", "equipment", "iso6346"},
    "vehicle-plate": {"plate", "kenteken", "registration", "licence", "license", "kennzeichen"},
    "vessel-imo": {"imo", "vessel", "ship", "lloyds"},
}  # fmt: skip
_WEAK = {"vehicle", "number", "no", "id", "code", "reference"}
_TIMES = re.compile(
    r"(?:^|_)(?:at|on|time|date|datetime|timestamp|ts|when|moment|tijd|datum|zeit)$"
)
_NOT_THE_TIME = re.compile(r"birth|dob|expir|valid|updated|modified|loaded_at|export")
_EVENTS = re.compile(r"(?:^|_)(?:event|direction|kind|type|action|status|move|movement)(?:_|$)")
_COUNTRIES = re.compile(r"(?:^|_)(?:country|nation|land|issuer)(?:_|$)")
_EVENT_WORDS = {
    "in": "gate-in", "gatein": "gate-in", "i": "gate-in", "out": "gate-out", "gateout": "gate-out",
    "o": "gate-out", "dis": "discharge", "disch": "discharge", "lod": "load", "loaded": "load",
    "discharged": "discharge", "seized": "seizure", "stolen": "lost-or-stolen",
    "lost": "lost-or-stolen", "scanned": "scan", "yard": "yard-move", "move": "yard-move",
}  # fmt: skip


class Role(StrEnum):
    """What a column is taken for."""

    IDENTIFIER = "identifier"
    ISSUER = "issuer"
    TIME = "time"
    EVENT = "event"
    FIELD = "field"
    PERSON = "person"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """One column. ``what`` is a scheme, a time format or a field's name; ``share`` of the values
    examined passes its check (None: nothing to check); ``shape`` shows letters as A and a,
    digits as 9, so that no value is shown.
    """

    column: str
    role: Role
    what: str
    share: float | None
    shape: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Guesses:
    """All columns, in their order, and what was found about the time and the events.

    ``naive``: the times state no offset. ``ambiguous``: another format of times fits as well.
    ``events``: value of the event's column → event, or the empty text where none is known.
    """

    columns: tuple[Guess, ...]
    naive: bool = False
    ambiguous: bool = False
    events: dict[str, str]

    def of(self, role: Role) -> tuple[Guess, ...]:
        """The columns with a role."""
        return tuple(guess for guess in self.columns if guess.role is role)


def guess(sample: Sample) -> Guesses:
    """What each column of a sample may be."""
    values = [_distinct(sample.column(place)) for place in range(len(sample.header))]
    schemes = [_scheme(name, values[place], sample) for place, name in enumerate(sample.header)]
    times = [_time(found) for found in values]
    time = _best_time(sample.header, times, schemes)
    event = _best_event(sample.header, values, {time})
    plates = any(found and found[0] == "vehicle-plate" for found in schemes)
    columns = []
    for place, name in enumerate(sample.header):
        role, what, share = _role(
            name, values[place], schemes[place], is_time=place == time, is_event=place == event
        )
        if plates and role is Role.FIELD and _COUNTRIES.search(snake(name)):
            role = Role.ISSUER
        if role is Role.TIME:
            what, share = times[place][0]
        columns.append(
            Guess(column=name, role=role, what=what, share=share, shape=shape_of(values[place]))
        )
    return Guesses(
        columns=tuple(columns),
        naive=time is not None and _naive(values[time], times[time][0][0]),
        ambiguous=time is not None and _ambiguous(times[time]),
        events={} if event is None else {value: _event(value) for value in sorted(values[event])},
    )


def shape_of(values: Sequence[str]) -> str:
    """The most frequent shape: letters as A and a, digits as 9, at most 24 characters."""
    if not values:
        return ""
    return Counter(_shape(value) for value in values).most_common(1)[0][0]


def _role(
    name: str,
    values: Sequence[str],
    scheme: tuple[str, float] | None,
    *,
    is_time: bool,
    is_event: bool,
) -> tuple[Role, str, float | None]:
    if not values:
        return Role.EMPTY, "", None
    if scheme is not None:
        person = scheme[0] in PERSON_SCHEMES
        return Role.PERSON if person else Role.IDENTIFIER, scheme[0], scheme[1]
    if is_time:
        return Role.TIME, "", None
    if is_event:
        known = sum(bool(_event(value)) for value in values) / len(values)
        return Role.EVENT, "event", known
    return Role.PERSON if about_person(name) else Role.FIELD, field_name(name), None


def field_name(column: str) -> str:
    """A field's name for a column: the registry's word where it is a known one."""
    name = snake(column)
    known = {
        "seal_no": "seal", "seal_number": "seal", "gate": "place", "location": "place",
        "driver": "driver_name", "operator": "operator_name", "booking_no": "booking",
    }  # fmt: skip
    name = known.get(name, name)[:32]
    return name if name[:1].isalpha() else f"c_{name}"[:32].rstrip("_")


# ── Identifiers ──────────────────────────────────────────────────────────────────────────────


def _scheme(name: str, values: Sequence[str], sample: Sample) -> tuple[str, float] | None:
    """The scheme with the best evidence, and the share of values that pass."""
    if not values:
        return None
    best: tuple[bool, float, bool, str] | None = None
    words = set(snake(name).split("_"))
    for scheme in SCHEMES:
        hinted = bool(words & _hints(scheme))
        checked, formed = _shares(scheme, values, sample if hinted else None, name)
        strong = checked >= CHECKED_SHARE
        if strong or (hinted and max(formed, checked) >= FORM_SHARE):
            found = (strong, round(max(checked, formed), 2), hinted, scheme)
            best = found if best is None or found[:3] > best[:3] else best
    if best is None:
        return None
    return best[3], best[1]


def _shares(
    scheme: str, values: Sequence[str], beside: Sample | None, name: str
) -> tuple[float, float]:
    """Shares with a right check digit, and in the right form (a country may stand beside)."""
    normal = normaliser(scheme)
    found = Counter(normal(value, "").validity for value in values)
    checked, formed = found[Validity.CHECKSUM_OK], found[Validity.FORMAT_OK]
    if beside is not None and not checked + formed:
        pairs = _with_country(beside, name)
        if pairs:
            stated = Counter(normal(value, country).validity for value, country in pairs)
            return (
                stated[Validity.CHECKSUM_OK] / len(pairs), stated[Validity.FORMAT_OK] / len(pairs)
            )  # fmt: skip
    return checked / len(values), (checked + formed) / len(values)


def _with_country(sample: Sample, name: str) -> list[tuple[str, str]]:
    places = [p for p, other in enumerate(sample.header) if _COUNTRIES.search(snake(other))]
    if not places:
        return []
    here, there = sample.header.index(name), places[0]
    rows = (row for row in sample.rows if max(here, there) < len(row))
    pairs = ((row[here] or "", row[there] or "") for row in rows)
    return list(islice((pair for pair in pairs if pair[0].strip()), DISTINCT))


def _hints(scheme: str) -> set[str]:
    return _HINTS.get(scheme, set()) | (set(scheme.split("-")) - _WEAK)


# ── Times ────────────────────────────────────────────────────────────────────────────────────


def _time(values: Sequence[str]) -> list[tuple[str, float]]:
    """Formats that nearly all values have, the best first."""
    if not values:
        return []
    found = []
    for form in TIME_FORMATS:
        if not _read_time(values[0], form) and not _read_time(values[-1], form):
            continue
        share = sum(_read_time(value, form) is not None for value in values) / len(values)
        if share >= TIME_SHARE:
            found.append((form, share))
    return sorted(found, key=lambda pair: -pair[1])


def _read_time(text: str, form: str) -> datetime | None:
    """A time between 1990 and 2100, else None."""
    try:
        if form == "iso":
            when = datetime.fromisoformat(text) if not text.isdigit() else None
        elif form == "unix":
            when = datetime.fromtimestamp(float(text)) if len(text) >= 9 else None  # noqa: DTZ006
        else:
            when = datetime.strptime(text, form)  # noqa: DTZ007  (its zone is the mapping's)
    except (ValueError, OverflowError, OSError):
        return None
    return when if when is not None and 1990 <= when.year < 2100 else None


def _best_time(
    header: Sequence[str],
    times: Sequence[list[tuple[str, float]]],
    schemes: Sequence[tuple[str, float] | None],
) -> int | None:
    candidates = [
        place
        for place, found in enumerate(times)
        if found and not schemes[place] and (found[0][0] != "unix" or _is_time(header[place]))
    ]
    if not candidates:
        return None
    return max(
        candidates,
        key=lambda place: (
            not _NOT_THE_TIME.search(snake(header[place])),
            _is_time(header[place]),
            times[place][0][1],
            -place,
        ),
    )


def _is_time(name: str) -> bool:
    return _TIMES.search(snake(name)) is not None


def _naive(values: Sequence[str], form: str) -> bool:
    if form == "unix":
        return False
    read = [_read_time(value, form) for value in values]
    return any(when is not None and when.tzinfo is None for when in read)


def _ambiguous(formats: Sequence[tuple[str, float]]) -> bool:
    """Day before month and month before day both fit."""
    first = [form[:5] for form, share in formats if share == formats[0][1]]
    return "%d/%m" in first and "%m/%d" in first


# ── Events ───────────────────────────────────────────────────────────────────────────────────


def _best_event(
    header: Sequence[str], values: Sequence[Sequence[str]], taken: set[int | None]
) -> int | None:
    """The column whose values are events, or that is named like one and has few values."""
    found = []
    for place, name in enumerate(header):
        few = 0 < len(values[place]) <= MAX_EVENTS
        if place in taken or not few or any(len(value) > MAX_SHAPE for value in values[place]):
            continue
        known = sum(bool(_event(value)) for value in values[place]) / len(values[place])
        named = _EVENTS.search(snake(name)) is not None
        if known >= FORM_SHARE or (named and known > 0):
            found.append((known, named, -place))
    return -max(found)[2] if found else None


def _event(value: str) -> str:
    """The event that a word stands for; empty when none is known."""
    plain = re.sub(r"[^a-z]", "", value.lower())
    try:
        return str(vocabulary.parse_event(value))
    except InvalidInput:
        return _EVENT_WORDS.get(plain, "")


def _distinct(values: Iterable[str]) -> list[str]:
    found: dict[str, None] = {}
    for value in values:
        found[value] = None
        if len(found) >= DISTINCT:
            break
    return list(found)


def _shape(value: str) -> str:
    return "".join(_kind(char) for char in value[:MAX_SHAPE])


def _kind(char: str) -> str:
    if char.isdigit():
        return "9"
    if char.isalpha():
        return "A" if char.isupper() else "a"
    return char if char in " -/.:()+_" else "?"

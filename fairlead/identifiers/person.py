"""Persons: the exact name with the date of birth, and the name alone, which is only a lead.

Canonical: ``NAME PARTS IN ORDER OF ALPHABET|YYYY-MM-DD``, so ``Jansen, Jan`` and ``Jan Jansen`` are
one. What becomes of letters and what is not covered is told in :mod:`fairlead.identifiers.latin`.
A date is read when it has one meaning: the year first, the month in English letters, or a day above
12 (or equal to its month). ``03/04/1980`` is refused. A name alone is never a hit: its scheme's
ceiling lets existence and contact desk leave, whatever any policy permits.

What cannot be read is kept folded behind a ``?``, so that nothing is read into it later.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Iterator

from fairlead.identifiers import latin
from fairlead.identifiers.identifier import Identifier, Validity
from fairlead.identifiers.scheme import POINTER, Scheme, reason
from fairlead.identifiers.spelling import fold

PERSON = "person"
_MONTHS = {
    name: number
    for number, names in enumerate(
        ("JAN JANUARY", "FEB FEBRUARY", "MAR MARCH", "APR APRIL", "MAY", "JUN JUNE", "JUL JULY",
         "AUG AUGUST", "SEP SEPT SEPTEMBER", "OCT OCTOBER", "NOV NOVEMBER", "DEC DECEMBER"),
        start=1,
    )
    for name in names.split()
}  # fmt: skip
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_YEAR_FIRST = re.compile(r"(?<!\d)(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?!\d)")
_COMPACT = re.compile(r"(?<!\d)(\d{4})(\d{2})(\d{2})(?!\d)")
_YEAR_LAST = re.compile(r"(?<!\d)(\d{1,2})([-/.])(\d{1,2})\2(\d{4})(?!\d)")
_LETTERS = re.compile(rf"(?<!\d)(\d{{1,2}})[ .-]*\b({_MONTH})\b[ .,-]*(\d{{4}})(?!\d)")
_LETTERS_FIRST = re.compile(rf"\b({_MONTH})\b[ .]*(\d{{1,2}})[ .,]+(\d{{4}})(?!\d)")
_BIRTH = re.compile(r"\b(?:D\.?O\.?B\b\.?|BORN(?: ON)?\b|DATE OF BIRTH\b)")
_YEARS = range(1850, 2100)
_UNREAD = "?"


def birth_date(text: str) -> str | None:
    """``YYYY-MM-DD`` of a text that is one date with one meaning, else None."""
    found = list(_dates(_prepared(text)))
    if len(found) != 1 or latin.words(_BIRTH.sub(" ", _without(_prepared(text), found[0][0]))):
        return None
    return found[0][1]


def _dates(text: str) -> Iterator[tuple[tuple[int, int], str | None]]:
    """Where dates stand, with each date's meaning; None when it has none or two."""
    for match in _YEAR_FIRST.finditer(text):
        yield match.span(), _date(match[1], match[3], match[4])
    for match in _COMPACT.finditer(text):
        yield match.span(), _date(match[1], match[2], match[3])
    for match in _YEAR_LAST.finditer(text):
        meanings = {_date(match[4], match[3], match[1]), _date(match[4], match[1], match[3])}
        meanings.discard(None)
        yield match.span(), meanings.pop() if len(meanings) == 1 else None
    for match in _LETTERS.finditer(text):
        yield match.span(), _date(match[3], str(_MONTHS[match[2]]), match[1])
    for match in _LETTERS_FIRST.finditer(text):
        yield match.span(), _date(match[3], str(_MONTHS[match[1]]), match[2])


def _date(year: str, month: str, day: str) -> str | None:
    try:
        found = dt.date(int(year), int(month), int(day))
    except ValueError:
        return None
    return found.isoformat() if found.year in _YEARS else None


def _prepared(raw: str) -> str:
    """Upper case, ASCII digits and hyphens, one blank for each run of white space."""
    text = unicodedata.normalize("NFKC", raw).upper()
    kept = (_character(c) for c in text)
    return " ".join("".join(kept).split())


def _character(character: str) -> str:
    if character.isascii():
        return character if character.isprintable() else " "
    category = unicodedata.category(character)
    if category in {"Cf", "Cc"}:
        return ""
    if category == "Pd":
        return "-"
    return str(unicodedata.decimal(character)) if category == "Nd" else character


def _without(text: str, span: tuple[int, int]) -> str:
    return text[: span[0]] + " " + text[span[1] :]


def _name(text: str) -> str | None:
    """The parts of a name in order; None when there is none, or a digit among them."""
    parts = latin.words(text)
    if not parts or not all(c.isalpha() or unicodedata.category(c) == "Mc" for c in "".join(parts)):
        return None
    return " ".join(sorted(parts)) if len("".join(parts)) > 1 else None


def _read(raw: str, beside: str) -> tuple[str | None, str | None]:
    """(name, date); a date within the text wins over the one beside it."""
    if fold(raw).startswith(_UNREAD):
        return None, None
    text = _prepared(raw)
    found = list(_dates(text))
    if len(found) > 1:
        return None, None
    if found:
        return _name(_BIRTH.sub(" ", _without(text, found[0][0]))), found[0][1]
    return _name(text), birth_date(beside) if beside else None


def _unread(scheme: str, raw: str) -> Identifier:
    folded = fold(raw).lstrip(_UNREAD)
    return Identifier(
        scheme=scheme,
        value=_UNREAD + folded if folded else "",
        issuer=None,
        validity=Validity.UNVERIFIABLE,
        raw=raw,
    )


def _person(raw: str, beside: str = "") -> Identifier:
    name, born = _read(raw, beside)
    if name is None or born is None:
        return _unread(PERSON, raw)
    return Identifier(
        scheme=PERSON, value=f"{name}|{born}", issuer=None, validity=Validity.FORMAT_OK, raw=raw
    )


def _person_why(found: Identifier) -> str | None:
    if found.validity is Validity.UNVERIFIABLE and found.value:
        return "BIRTH_DATE"
    return reason(found)


def _lead(raw: str, beside: str = "") -> Identifier:  # noqa: ARG001  (every family's shape)
    name = None if fold(raw).startswith(_UNREAD) else _name(raw)
    if name is None or " " not in name:
        return _unread("person-name", raw)
    return Identifier(
        scheme="person-name", value=name, issuer=None, validity=Validity.FORMAT_OK, raw=raw
    )


SCHEMES = (
    Scheme(
        name=PERSON,
        title="Person: exact name with date of birth",
        checks="a name, and a real date with one meaning",
        examples=("Jansen, Jan|1980-02-01", "Ján Janšen, born 1 Feb 1980"),
        normalise=_person,
        reason=_person_why,
        personal=True,
        issuer="the date of birth, behind the name or in a column beside it",
    ),
    Scheme(
        name="person-name",
        title="Person: a name alone; a lead, never a hit",
        checks="two or more parts without digits",
        examples=("Jansen, Jan",),
        normalise=_lead,
        reason=reason,
        ceiling=POINTER,
        personal=True,
    ),
)

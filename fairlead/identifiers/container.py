"""Freight containers: ISO 6346.

Three letters of the owner, one of the category (U, J or Z), six digits of the serial, one
check digit. Painted and written as ``MSCU 663987 0``, ``MSCU-663987/0``, ``MSCU663987[0]``.
Canonical: the eleven characters.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator

from fairlead.identifiers.identifier import Identifier, Validity
from fairlead.identifiers.spelling import fold

SCHEME = "container"
LENGTH = 11

_FULL = re.compile(r"[A-Z]{3}[UJZ][0-9]{7}\Z")
_WITHOUT_CHECK_DIGIT = re.compile(r"[A-Z]{3}[UJZ][0-9]{6}\Z")
_MULTIPLES_OF_ELEVEN = (11, 22, 33)


def _values() -> dict[str, int]:
    """The standard's letter values: from 10 upwards, leaving out the multiples of 11."""
    values = {digit: int(digit) for digit in string.digits}
    free = (n for n in range(10, 40) if n not in _MULTIPLES_OF_ELEVEN)
    return values | dict(zip(string.ascii_uppercase, free, strict=False))


_VALUES = _values()


def check_digit(first_ten: str) -> str:
    """The digit that belongs behind ten ASCII capitals and digits (a remainder of 10 is "0").

    :raises KeyError: another character, a programmer's error.
    """
    total = sum(_VALUES[character] << place for place, character in enumerate(first_ten))
    return str(total % 11 % 10)


def normalise(raw: str, issuer: str = "") -> Identifier:  # noqa: ARG001  (every family's shape)
    """Total. A number written without its check digit gets it, and is only ``format_ok``."""
    value = fold(raw)
    validity = Validity.UNVERIFIABLE
    if _FULL.match(value):
        right = check_digit(value[:10]) == value[10]
        validity = Validity.CHECKSUM_OK if right else Validity.CHECKSUM_FAILED
    elif _WITHOUT_CHECK_DIGIT.match(value):
        value += check_digit(value)
        validity = Validity.FORMAT_OK
    return Identifier(scheme=SCHEME, value=value, issuer=None, validity=validity, raw=raw)


def reason(found: Identifier) -> str | None:
    """Why the identifier may not be asked about, or None."""
    return {
        Validity.CHECKSUM_OK: None,
        Validity.FORMAT_OK: "CHECK_DIGIT_MISSING",
        Validity.CHECKSUM_FAILED: "CHECK_DIGIT",
        Validity.UNVERIFIABLE: "FORMAT",
    }[found.validity]


def neighbours(raw: str) -> Iterator[str]:
    """Canonical numbers one adjacent swap or one substituted character away, likeliest first.

    The digits before the letters: people know the owner's code and misread the serial.
    """
    value = fold(raw)
    if _WITHOUT_CHECK_DIGIT.match(value):
        yield value + check_digit(value)
    if len(value) != LENGTH:
        return
    for places, alphabet in ((range(4, LENGTH), string.digits), (range(4), string.ascii_uppercase)):
        changed = [*_swapped(value, places[:-1]), *_substituted(value, places, alphabet)]
        yield from (near for near in changed if near != value and _is_right(near))


def _swapped(value: str, places: range) -> Iterator[str]:
    for at in places:
        yield value[:at] + value[at + 1] + value[at] + value[at + 2 :]


def _substituted(value: str, places: range, alphabet: str) -> Iterator[str]:
    for at in reversed(places):
        for character in alphabet:
            yield value[:at] + character + value[at + 1 :]


def _is_right(value: str) -> bool:
    return bool(_FULL.match(value)) and check_digit(value[:10]) == value[10]

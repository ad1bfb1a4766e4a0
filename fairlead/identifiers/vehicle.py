"""Vehicles by their makers' and railways' numbers: VIN (ISO 3779) and UIC wagon numbers.

The check digit of a VIN binds in North America and China only: elsewhere a right one is
welcome and a wrong one says nothing. I, O and Q never occur, so they are read as 1, 0 and 0.
"""

from __future__ import annotations

import re

from fairlead.identifiers.checks import luhn
from fairlead.identifiers.identifier import Validity
from fairlead.identifiers.scheme import Reading, checked, plain

_VIN = re.compile(r"[A-HJ-NPR-Z0-9]{13}[0-9]{4}\Z")
_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
_VALUES = {c: int(v) for c, v in zip("ABCDEFGHJKLMNPRSTUVWXYZ", "12345678123457923456789",
                                    strict=True)}  # fmt: skip
_BINDING = frozenset("12345L")
_CONFUSED = str.maketrans("IOQ", "100")
_WAGON = re.compile(r"[0-9]{12}\Z")


def vin_check(vin: str) -> str:
    """The character that belongs in the ninth place of seventeen."""
    total = sum(
        (int(c) if c.isdigit() else _VALUES[c]) * w for c, w in zip(vin, _WEIGHTS, strict=True)
    )
    return "0123456789X"[total % 11]


def _vin(text: str) -> Reading | None:
    value = text.removeprefix("VIN").translate(_CONFUSED)
    if not _VIN.match(value):
        value = text.translate(_CONFUSED)
    if not _VIN.match(value):
        return None
    right = vin_check(value) == value[8]
    if not right and value[0] not in _BINDING:
        return value, Validity.FORMAT_OK
    return checked(value, right=right)


def _wagon(text: str) -> Reading | None:
    return checked(text, right=luhn(text)) if _WAGON.match(text) else None


SCHEMES = (
    plain(
        "vin",
        "Vehicle identification number (ISO 3779)",
        "form; check digit, binding when the vehicle is from North America or China",
        "1M8GDM9AXKP042788",
        "WVWZZZ1JZ3W386752",
        read=_vin,
    ),
    plain(
        "rail-wagon",
        "Rail wagon (UIC number)",
        "check digit (Luhn)",
        "31 88 4671 234-3",
        read=_wagon,
    ),
)

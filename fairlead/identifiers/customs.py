"""Customs: movement reference numbers, consignment references, and codes of goods."""

from __future__ import annotations

import re

from fairlead.identifiers import country
from fairlead.identifiers.container import check_digit
from fairlead.identifiers.identifier import Validity
from fairlead.identifiers.scheme import Reading, checked, plain

_MRN = re.compile(r"[0-9]{2}([A-Z]{2})[A-Z0-9]{13}[0-9]\Z")
_UCR = re.compile(r"[0-9]([A-Z]{2})(?=.*[0-9])[A-Z0-9]{4,32}\Z")
_GOODS = re.compile(r"([0-9]{2})(?:[0-9]{2}){1,4}\Z")
_CAS = re.compile(r"([0-9]{2,7})([0-9]{2})([0-9])\Z")


def _mrn(text: str) -> Reading | None:
    """The last digit is that of ISO 6346 over the seventeen characters before it."""
    value = text.removeprefix("MRN")
    match = _MRN.match(value)
    if match is None or (country.iso(match[1]) is None and match[1] not in {"EU", "XI"}):
        return None
    return checked(value, right=check_digit(value[:17]) == value[17])


def _ucr(text: str) -> Reading | None:
    match = _UCR.match(text)
    return (text, Validity.FORMAT_OK) if match and country.iso(match[1]) else None


def _goods(text: str) -> Reading | None:
    """Chapters 01 to 97 without 77, which is kept free, and the national 98 and 99."""
    match = _GOODS.match(text)
    return (text, Validity.FORMAT_OK) if match and match[1] not in {"00", "77"} else None


def _cas(text: str) -> Reading | None:
    """The last digit is the sum of the others, the rightmost times one, the next times two …"""
    value = text.removeprefix("CAS").removeprefix("NO").removeprefix("RN").lstrip("#0")
    match = _CAS.match(value)
    if match is None:
        return None
    total = sum(int(d) * n for n, d in enumerate(reversed(match[1] + match[2]), start=1))
    return checked("-".join(match.groups()), right=total % 10 == int(match[3]))


SCHEMES = (
    plain(
        "customs-mrn",
        "Customs movement reference number",
        "country; check digit as in ISO 6346",
        "26BEA1234567890122",
        read=_mrn,
    ),
    plain(
        "ucr",
        "Unique consignment reference (WCO)",
        "form and country: year digit, country, up to 32 letters and digits",
        "6BE0123456789-PO4471",
        read=_ucr,
    ),
    plain(
        "hs-code",
        "Commodity code: HS, CN, TARIC",
        "form and chapter: 4, 6, 8 or 10 digits",
        "0803.90.10",
        read=_goods,
    ),
    plain(
        "cas",
        "Chemical substance (CAS registry number)",
        "check digit",
        "108-24-7",
        read=_cas,
    ),
)

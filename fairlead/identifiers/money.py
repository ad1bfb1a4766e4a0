"""Bank accounts and banks: IBAN (ISO 13616) and BIC (ISO 9362).

Only the two check digits and the country's length are verified: national check digits vary, and
refuse the textbook's own example.
"""

from __future__ import annotations

import re

from fairlead.identifiers import country
from fairlead.identifiers.checks import mod_97
from fairlead.identifiers.identifier import Validity
from fairlead.identifiers.scheme import Reading, checked, plain

_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,29}\Z")
_BIC = re.compile(r"([A-Z]{4}([A-Z]{2})[A-Z0-9]{2})([A-Z0-9]{3})?\Z")
_BY_LENGTH = {
    15: "NO",
    16: "BE",
    18: "DK FI FK FO GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU YE",
    31: "MT SC",
    32: "LC",
    33: "RU",
}
_LENGTHS = {code: length for length, codes in _BY_LENGTH.items() for code in codes.split()}


def _iban(text: str) -> Reading | None:
    value = text.removeprefix("IBAN")
    if not _IBAN.match(value) or _LENGTHS.get(value[:2]) != len(value):
        return None
    return checked(value, right=mod_97(value[4:] + value[:4]) == 1)


def _bic(text: str) -> Reading | None:
    """A head office may be written with the branch XXX, and is the same."""
    value = text.removeprefix("BIC").removeprefix("SWIFT") if len(text) > 11 else text
    match = _BIC.match(value)
    if match is None or country.iso(match[2]) is None:
        return None
    branch = match[3] if match[3] not in {None, "XXX"} else ""
    return match[1] + branch, Validity.FORMAT_OK


SCHEMES = (
    plain(
        "iban",
        "Bank account (IBAN, ISO 13616)",
        "check digits, ISO 7064 MOD 97-10, and the country's length",
        "BE68 5390 0754 7034",
        read=_iban,
        recognised=True,
    ),
    plain(
        "bic",
        "Bank (BIC, ISO 9362)",
        "form and country",
        "XYZBBEBB",
        "XYZBBEBBXXX",
        read=_bic,
    ),
)

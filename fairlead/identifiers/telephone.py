"""Telephones: numbers (ITU-T E.164) and handsets (IMEI, 3GPP TS 23.003).

A number is international when it begins with ``+`` or ``00``; any other one is completed only
when its country stands beside it, by that country's own trunk prefix, and never guessed.
"""

from __future__ import annotations

import re

from fairlead.identifiers import country
from fairlead.identifiers.checks import luhn, luhn_digit
from fairlead.identifiers.identifier import Identifier, Validity
from fairlead.identifiers.scheme import Reading, Scheme, checked, plain, reason
from fairlead.identifiers.spelling import fold

PHONE = "phone"
_PREFIX = re.compile(r"\A(?:TEL(?:EPHONE)?|PHONE|MOBILE|GSM|MOB)(?=[+0-9])")
_TRUNK_SHOWN = re.compile(r"[(\[（]\s*[0０]\s*[)\]）]")
_INTERNATIONAL = re.compile(r"\+[1-9][0-9]{7,14}\Z")
_NATIONAL = re.compile(r"[0-9]{5,14}\Z")
_TRUNKS = {
    "AL": "355 0", "AT": "43 0", "BE": "32 0", "BG": "359 0", "CH": "41 0", "CO": "57", "CY": "357",
    "CZ": "420", "DE": "49 0", "DK": "45", "EC": "593 0", "EE": "372", "ES": "34", "FI": "358 0",
    "FR": "33 0", "GB": "44 0", "GR": "30", "HR": "385 0", "HU": "36 06", "IE": "353 0", "IT": "39",
    "LU": "352", "LV": "371", "MA": "212 0", "MT": "356", "NL": "31 0", "NO": "47", "PL": "48",
    "PT": "351", "RO": "40 0", "SE": "46 0", "SI": "386 0", "SK": "421 0", "TR": "90 0",
}  # fmt: skip
"""Calling code and trunk prefix; without a prefix national numbers are whole as they stand."""


def _phone(raw: str, region: str = "") -> Identifier:
    folded = _stripped(raw)
    shown = _stripped(_TRUNK_SHOWN.sub("", raw, count=1))
    value = _international(shown) or _international(folded) or _completed(folded, region)
    return Identifier(
        scheme=PHONE,
        value=value or folded,
        issuer=None,
        validity=Validity.FORMAT_OK if value else Validity.UNVERIFIABLE,
        raw=raw,
    )


def _stripped(raw: str) -> str:
    folded = fold(raw)
    while match := _PREFIX.match(folded):
        folded = folded[match.end() :]
    return folded


def _international(folded: str) -> str | None:
    value = "+" + folded[2:] if folded.startswith("00") else folded
    return value if _INTERNATIONAL.match(value) else None


def _completed(folded: str, region: str) -> str | None:
    code, _, trunk = _TRUNKS.get(country.iso(region) or "", "").partition(" ")
    if not code or not _NATIONAL.match(folded) or not folded.startswith(trunk):
        return None
    return _international(f"+{code}{folded.removeprefix(trunk)}")


def _why(found: Identifier) -> str | None:
    if found.validity is Validity.UNVERIFIABLE and _NATIONAL.match(found.value):
        return "REGION_REQUIRED"
    return reason(found)


def _imei(text: str) -> Reading | None:
    """Fifteen digits; fourteen get their check digit, and a software version (16) loses its own."""
    value = text.removeprefix("IMEISV").removeprefix("IMEI")
    if not value.isascii() or not value.isdigit() or len(value) not in {14, 15, 16}:
        return None
    if len(value) == 15:
        return checked(value, right=luhn(value))
    return value[:14] + luhn_digit(value[:14]), Validity.FORMAT_OK


def _imei_why(found: Identifier) -> str | None:
    digits = sum(character.isdigit() for character in fold(found.raw))
    return "CHECK_DIGIT_MISSING" if digits == 14 else reason(found)


SCHEMES = (
    Scheme(
        name=PHONE,
        title="Telephone number (ITU-T E.164)",
        checks="form: + or 00, then the whole international number",
        examples=("+32 (0)3 555 01 23", "0032 3 555 01 23"),
        normalise=_phone,
        reason=_why,
        recognised=True,
        personal=True,
    ),
    plain(
        "imei",
        "Mobile telephone (IMEI)",
        "check digit (Luhn)",
        "35-209900-176148-1",
        read=_imei,
        why=_imei_why,
        personal=True,
    ),
)

"""Vehicle registration plates, which mean nothing without their country.

Canonical: ``CC:PLATE``, the ISO 3166 country and the plate's letters and digits. Spellings:
``NL:AB-123-C``, ``AB-123-C/NL``, ``NL|AB 123 C``, ``AB-123-C (NL)``, ``[D] B-MW 123``; the
country may be the ISO code or the sign of the 1968 Vienna Convention (``D``, ``FIN``, ``UK``).
A country is never guessed, and never read from a mere blank or hyphen: ``B AB 123`` is from
Berlin, not from Belgium. Hyphens inside the plate are dropped, as most lists drop them, so the
German ``B-MW 123`` and ``BM-W 123`` fall together: a hit is a lead to verify.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from fairlead.identifiers.identifier import Identifier, Validity
from fairlead.identifiers.spelling import fold

SCHEME = "vehicle-plate"

_ISO = frozenset({
    "AD", "AL", "AM", "AT", "AZ", "BA", "BE", "BG", "BY", "CH", "CY", "CZ", "DE", "DK", "EE",
    "ES", "FI", "FO", "FR", "GB", "GE", "GI", "GR", "HR", "HU", "IE", "IS", "IT", "KZ", "LI",
    "LT", "LU", "LV", "MA", "MC", "MD", "ME", "MK", "MT", "NL", "NO", "PL", "PT", "RO", "RS",
    "RU", "SE", "SI", "SK", "SM", "TN", "TR", "UA", "UZ", "VA", "XK",
})  # fmt: skip
_SIGNS = {
    "A": "AT", "AND": "AD", "ARM": "AM", "B": "BE", "BIH": "BA", "D": "DE", "E": "ES",
    "EL": "GR", "EST": "EE", "F": "FR", "FIN": "FI", "FL": "LI", "GBZ": "GI", "H": "HU",
    "I": "IT", "IRL": "IE", "L": "LU", "M": "MT", "MNE": "ME", "N": "NO", "NMK": "MK",
    "P": "PT", "RKS": "XK", "RSM": "SM", "RUS": "RU", "S": "SE", "SLO": "SI", "SRB": "RS",
    "UK": "GB", "V": "VA",
}  # fmt: skip
_MARKS = str.maketrans({"：": ":", "／": "/", "｜": "|", "（": "(", "）": ")"})
_ENCLOSED_FIRST = re.compile(r"\s*[\(\[]\s*([^\W\d_]{1,3})\s*[\)\]](.*)\Z", re.DOTALL)
_ENCLOSED_LAST = re.compile(r"(.*)[\(\[]\s*([^\W\d_]{1,3})\s*[\)\]]\s*\Z", re.DOTALL)
_PLATE = re.compile(r"(?=.*[0-9])[A-Z0-9À-ÖØ-Þ]{2,12}\Z")


def country_of(sign: str) -> str | None:
    """The ISO 3166 code for a country code or a vehicle sign; None when it is neither."""
    folded = fold(sign)
    return folded if folded in _ISO else _SIGNS.get(folded)


def normalise(raw: str, issuer: str = "") -> Identifier:
    """Total. ``issuer`` is the country a source states beside the plate; one in the text wins."""
    country, plate = _split(raw)
    plate = fold(plate)
    country = country or (country_of(issuer) if issuer else None)
    value = f"{country}:{plate}" if country else plate
    right = country is not None and _PLATE.match(plate)
    return Identifier(
        scheme=SCHEME,
        value=value,
        issuer=country,
        validity=Validity.FORMAT_OK if right else Validity.UNVERIFIABLE,
        raw=raw,
    )


def reason(found: Identifier) -> str | None:
    """Why the identifier may not be asked about, or None."""
    if found.validity is Validity.FORMAT_OK:
        return None
    return "FORMAT" if found.issuer or not _PLATE.match(found.value) else "COUNTRY_REQUIRED"


def looks_like_plate(found: Identifier) -> bool:
    """Whether only the country is missing: letters and digits, as few as a plate has."""
    return bool(_PLATE.match(found.value)) and any(c.isalpha() for c in found.value)


def _split(raw: str) -> tuple[str | None, str]:
    """Country and plate; the country is None unless exactly one side states one."""
    for sign, plate in _readings(raw if raw.isascii() else raw.translate(_MARKS)):
        if country := country_of(sign):
            return country, plate
    return None, raw


def _readings(text: str) -> Iterator[tuple[str, str]]:
    """Every way in which the text may state (country, plate), the plainest first."""
    if ":" in text:
        left, _, right = text.partition(":")
        yield left, right
        return
    if match := _ENCLOSED_FIRST.match(text):
        yield match[1], match[2]
    if match := _ENCLOSED_LAST.match(text):
        yield match[2], match[1]
    for mark in "/|":
        left, _, right = text.partition(mark)
        if not country_of(right):
            yield left if right else "", right
        left, _, right = text.rpartition(mark)
        if not country_of(left):
            yield right if left else "", left

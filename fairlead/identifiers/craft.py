"""Ships by their radio and inland numbers: MMSI, call sign, ENI.

An ENI has no check digit of its own: its first three digits name the authority (ES-TRIN
Annex 2), except that a sea-going ship's is 9 and its IMO number, whose digit is verified.
"""

from __future__ import annotations

import re

from fairlead.identifiers.identifier import Validity
from fairlead.identifiers.scheme import Reading, checked, formed, plain
from fairlead.identifiers.vessel import check_digit

_MMSI = re.compile(r"(?:[2-7][0-9]{8}|0[2-7][0-9]{7}|00[2-7][0-9]{6}|111[2-7][0-9]{5}|"
                   r"8[2-7][0-9]{7}|9[789][0-9]{7})\Z")  # fmt: skip
_ENI = re.compile(r"(?:0[0-9]{7}|[1-3][0-9]{7})\Z")
_SEAGOING = re.compile(r"9[1-9][0-9]{6}\Z")


def _mmsi(text: str) -> Reading | None:
    value = text.removeprefix("MMSI")
    return (value, Validity.FORMAT_OK) if _MMSI.match(value) else None


def _eni(text: str) -> Reading | None:
    value = text.removeprefix("ENI")
    if _SEAGOING.match(value):
        return checked(value, right=check_digit(value[1:7]) == value[7])
    return (value, Validity.FORMAT_OK) if _ENI.match(value) else None


SCHEMES = (
    plain(
        "vessel-mmsi",
        "Ship's radio identity (ITU-R M.585)",
        "form: nine digits with the digits of a ship, group, station, aircraft, aid or craft",
        "205 123 000",
        read=_mmsi,
    ),
    plain(
        "call-sign",
        "Radio call sign (ITU)",
        "form: a series of two characters, then up to five",
        "ORXY7",
        read=formed(r"(?:[A-Z][A-Z0-9]|[2-9][A-Z])[A-Z0-9]{1,5}"),
    ),
    plain(
        "vessel-eni",
        "Inland vessel (European Vessel Identification Number)",
        "form and authority; the IMO check digit when it begins with 9",
        "02312345",
        read=_eni,
    ),
)

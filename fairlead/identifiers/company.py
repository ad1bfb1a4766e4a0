"""Companies: EORI, VAT, LEI, and the IMO's company and registered owner number.

``EL`` and ``GR`` are one country, written ``GR`` here. Northern Ireland's ``XI`` stays apart
from ``GB``, as EORI and VAT numbers do. The company's IMO number has its own weights, which a
tenth of ships' numbers pass too: a bare number is never taken for one.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from fairlead.identifiers import country
from fairlead.identifiers.checks import mod_97, weighted
from fairlead.identifiers.identifier import Validity
from fairlead.identifiers.scheme import Reading, checked, formed_by, issued, plain
from fairlead.identifiers.spelling import fold

_LEI = re.compile(r"[A-Z0-9]{18}[0-9]{2}\Z")
_COMPANY = re.compile(r"(?:IMO)?(?:COMPANY|OWNER)?(?:NO)?([0-9]{7})\Z")
_COMPANY_WEIGHTS = (8, 6, 4, 2, 9, 7)
_VAT = re.compile(r"(?=.*[0-9])[A-Z0-9+*]{4,14}\Z")
_VAT_ENDINGS = {"CH": re.compile(r"(?:MWST|TVA|IVA|TPV)\Z"), "NO": re.compile(r"MVA\Z")}
_EIGHT, _NINE = re.compile(r"[0-9]{8}\Z"), re.compile(r"[0-9]{9}\Z")
_CHECKED = {
    "AT": "eu", "BE": "eu", "BG": "eu", "CY": "eu", "CZ": "eu", "DE": "eu", "DK": "eu", "EE": "eu",
    "ES": "eu", "FI": "eu", "FR": "eu", "GR": "eu", "HR": "eu", "HU": "eu", "IE": "eu", "IT": "eu",
    "LT": "eu", "LU": "eu", "LV": "eu", "MT": "eu", "NL": "eu", "PL": "eu", "PT": "eu", "RO": "eu",
    "SE": "eu", "SI": "eu", "SK": "eu", "XI": "eu", "GB": "gb.vat", "CH": "ch.uid",
    "NO": "no.orgnr",
}  # fmt: skip


def _state(text: str) -> str | None:
    return "XI" if fold(text) == "XI" else country.iso(text)


def _leading(folded: str) -> tuple[str, str] | None:
    return (folded[:2], folded[2:]) if _state(folded[:2]) else None


def _vat(text: str, state: str) -> Reading | None:
    """python-stdnum knows the check digits; it is asked about plain ASCII only, and guarded."""
    if (ending := _VAT_ENDINGS.get(state)) is not None:
        text = ending.sub("", text)
    if (state == "BE" and _NINE.match(text)) or (state == "GR" and _EIGHT.match(text)):
        text = "0" + text
    if not _VAT.match(text) or not text.isascii():
        return None
    if state not in _CHECKED:
        return text, Validity.FORMAT_OK
    right = _known_right(text, state)
    return None if right is None else checked(text, right=right)


def _known_right(number: str, state: str) -> bool | None:
    """Whether the check digit fits; None when the form does not."""
    from stdnum import exceptions

    try:
        _validator(state)(("CH" if state == "CH" else "") + number)
    except exceptions.InvalidChecksum:
        return False
    except Exception:  # noqa: BLE001  FACTS: it raises what it pleases; nothing here may
        return None
    return True


def _validator(state: str) -> Callable[[str], str]:
    from importlib import import_module

    place = _CHECKED[state]
    if place == "eu":
        found = import_module("stdnum.util").get_cc_module("gb" if state == "XI" else state, "vat")
    else:
        found = import_module(f"stdnum.{place}")
    validate: Callable[[str], str] = found.validate
    return validate


def _lei(text: str) -> Reading | None:
    value = text.removeprefix("LEI") if len(text) > 20 else text
    return checked(value, right=mod_97(value) == 1) if _LEI.match(value) else None


def company_digit(first_six: str) -> str:
    """The digit that belongs behind six ASCII digits of a company's IMO number."""
    return str((11 - weighted(first_six, _COMPANY_WEIGHTS) % 11) % 10)


def _company(text: str) -> Reading | None:
    match = _COMPANY.match(text)
    if match is None or match[1] == "0000000":
        return None
    return checked(match[1], right=company_digit(match[1][:6]) == match[1][6])


SCHEMES = (
    issued(
        "eori",
        "Economic operator (EORI number)",
        "form and country: up to 15 letters and digits behind the country",
        "BE0123456789",
        read=formed_by(r"(?=.*[0-9])[A-Z0-9]{4,15}"),
        issuer="the country that issued it, as its first two letters",
        issuer_of=_state,
        bare=_leading,
        joint="",
    ),
    issued(
        "vat",
        "Company (VAT number)",
        "the country's check digit (EU, GB, XI, CH, NO); elsewhere the form",
        "EL 123456783",
        "GR123456783",
        read=_vat,
        issuer="the country, as its first two letters (EL or GR for Greece)",
        issuer_of=_state,
        bare=_leading,
        joint="",
    ),
    plain(
        "lei",
        "Legal entity (LEI, ISO 17442)",
        "check digits, ISO 7064 MOD 97-10",
        "5493001KJTIIGC8Y1R12",
        read=_lei,
        recognised=True,
    ),
    plain(
        "company-imo",
        "Shipping company or registered owner (IMO)",
        "check digit with the company's own weights",
        "2041999",
        read=_company,
    ),
)

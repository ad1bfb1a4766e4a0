"""Places: UN/LOCODE, terminals within them, and postal addresses.

An address is its words and numbers in alphabetical order behind the country: the order in which
a list writes street, number, code and town does not matter, abbreviations do.
"""

from __future__ import annotations

import re

from fairlead.identifiers import country, latin
from fairlead.identifiers.identifier import Validity
from fairlead.identifiers.scheme import Reading, formed_by, issued, plain
from fairlead.identifiers.spelling import fold

_LOCODE = re.compile(r"([A-Z]{2})[A-Z2-9]{3}\Z")


def locode(text: str) -> str | None:
    """A UN/LOCODE, however spelt; None for any other text."""
    folded = fold(text)
    match = _LOCODE.match(folded)
    return folded if match and match[1] in country.ISO else None


def _locode(text: str) -> Reading | None:
    found = locode(text)
    return (found, Validity.FORMAT_OK) if found else None


def _address(text: str, _: str) -> Reading | None:
    words = latin.words(text)
    numbered = any(c.isdigit() for word in words for c in word)
    if len(words) < 2 or not numbered or not any(word.isalpha() for word in words):
        return None
    return " ".join(sorted(words)), Validity.FORMAT_OK


SCHEMES = (
    plain(
        "un-locode",
        "Port or place (UN/LOCODE)",
        "form and country",
        "BE ANR",
        read=_locode,
    ),
    issued(
        "terminal",
        "Terminal or quay within a port",
        "form: 2 to 12 letters and digits behind the port",
        "BEANR:K1742",
        read=formed_by(r"[A-Z0-9]{2,12}"),
        issuer="the port's UN/LOCODE",
        issuer_of=locode,
    ),
    issued(
        "address",
        "Postal address",
        "form: words and at least one number behind the country",
        "BE:Kaai 1742, 2030 Antwerpen",
        read=_address,
        issuer="the country",
        issuer_of=country.iso,
        exact=True,
        personal=True,
    ),
)

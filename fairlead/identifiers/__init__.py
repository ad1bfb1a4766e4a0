"""Identifiers: recognise, verify, and write in one canonical form. Pure.

Two strangers must agree on the canonical form byte for byte, so it is versioned by
:data:`NORM_VERSION`; :func:`normalise` is total and idempotent. A new family is one file with
``SCHEMES``, and one place in :mod:`fairlead.identifiers.catalogue`. docs/schemes.md lists them.
"""

from __future__ import annotations

from collections.abc import Callable

from fairlead.errors import InvalidInput
from fairlead.identifiers import container, plate, vessel
from fairlead.identifiers.catalogue import CATALOGUE
from fairlead.identifiers.identifier import Identifier, Validity
from fairlead.identifiers.scheme import Scheme
from fairlead.identifiers.spelling import fold

__all__ = [
    "CATALOGUE",
    "MAX_RAW",
    "MAX_SUGGESTIONS",
    "MAX_VALUE",
    "NORM_VERSION",
    "PERSONAL",
    "SCHEMES",
    "Identifier",
    "Scheme",
    "Validity",
    "ceiling",
    "normalise",
    "normaliser",
    "parse",
    "recognise",
    "suggest",
]

NORM_VERSION = 1
"""Version of the canonical forms and of the match keys (:mod:`fairlead.identifiers.matching`). A
mismatch between two sides is an error, never a miss."""

MAX_RAW = 128
"""Characters in a term that may be asked about."""

MAX_VALUE = 192
"""Octets of a canonical value that may be asked about: it has to fit a term's place in a part."""

MAX_SUGGESTIONS = 12

SCHEMES = tuple(CATALOGUE)
"""The schemes of this version, in the order in which :func:`recognise` prefers them."""

PERSONAL = frozenset(name for name, scheme in CATALOGUE.items() if scheme.personal)
"""The schemes whose identifiers are, or lead straight to, one natural person. (Plates and ships
may lead to one as well, through a register.)"""

_MESSAGES = {
    "BIRTH_DATE": "a person needs a name and a full date of birth with one meaning",
    "CHECK_DIGIT": "the check digit does not fit the rest of the identifier",
    "CHECK_DIGIT_MISSING": "the check digit is missing",
    "COUNTRY_REQUIRED": "a vehicle plate needs its country",
    "FORMAT": "the identifier is not written as its scheme demands",
    "ISSUER_REQUIRED": "this kind of identifier means nothing without its issuer",
    "LOOKS_LIKE_PIN": "a PIN may never be asked about; this may be one",
    "REGION_REQUIRED": "a telephone number is read in its international form only",
}
_REMEDIES = {
    "BIRTH_DATE": "write the year first, as in Jansen, Jan|1980-02-01",
    "CHECK_DIGIT": "compare with the document, or choose one of the suggestions shown at home",
    "CHECK_DIGIT_MISSING": "add the last digit, as on the document or in the container's box",
    "COUNTRY_REQUIRED": "write the country first, as in NL:AB-123-C",
    "FORMAT": "fairlead ask --help lists the schemes and how each is written",
    "ISSUER_REQUIRED": "write the issuer first, as in ISSUER:NUMBER; docs/schemes.md says which",
    "LOOKS_LIKE_PIN": "ask about the release's reference, of eight characters or more",
    "REGION_REQUIRED": "write + and the country's code first, as in +32 3 555 01 23",
}
_RANK = (
    Validity.CHECKSUM_OK,
    Validity.FORMAT_OK,
    Validity.CHECKSUM_FAILED,
    Validity.UNVERIFIABLE,
)


def parse(scheme: str, raw: str, *, issuer: str = "") -> Identifier:
    """Read an identifier that is to be asked about.

    :param scheme: one of :data:`SCHEMES`.
    :param raw: at most :data:`MAX_RAW` characters.
    :param issuer: what the scheme needs beside the identifier, when it is stated apart: a
        country, a carrier, a date of birth (docs/schemes.md).
    :raises InvalidInput: ``SCHEME``, ``TOO_LONG``, ``FORMAT``, ``CHECK_DIGIT``,
        ``CHECK_DIGIT_MISSING``, ``COUNTRY_REQUIRED``, ``ISSUER_REQUIRED``, ``REGION_REQUIRED``,
        ``BIRTH_DATE`` or ``LOOKS_LIKE_PIN``. The error never holds the term: :func:`suggest` is
        for showing near ones at home.
    """
    if scheme not in CATALOGUE:
        raise InvalidInput(
            "no such kind of identifier", reasons=("SCHEME",), remedy=_REMEDIES["FORMAT"]
        )
    found = None if len(raw) > MAX_RAW else CATALOGUE[scheme].normalise(raw, issuer)
    if found is None or len(found.value.encode()) > MAX_VALUE:
        raise InvalidInput(
            "the identifier is too long", reasons=("TOO_LONG",), remedy=_REMEDIES["FORMAT"]
        )
    code = CATALOGUE[scheme].reason(found)
    if code is not None:
        raise InvalidInput(_MESSAGES[code], reasons=(code,), remedy=_REMEDIES[code])
    return found


def normalise(scheme: str, raw: str, *, issuer: str = "") -> Identifier:
    """Read an identifier from somebody's data: never raises, for any string.

    What cannot be verified is kept, marked, and still matched by its canonical spelling.
    """
    if scheme not in CATALOGUE:
        return Identifier(
            scheme=scheme, value=fold(raw), issuer=None, validity=Validity.UNVERIFIABLE, raw=raw
        )
    return CATALOGUE[scheme].normalise(raw, issuer)


def normaliser(scheme: str) -> Callable[[str, str], Identifier]:
    """The scheme's own ``(raw, issuer) -> Identifier``, looked up once for many rows.

    :raises InvalidInput: ``SCHEME``.
    """
    if scheme not in CATALOGUE:
        raise InvalidInput("no such kind of identifier", reasons=("SCHEME",))
    return CATALOGUE[scheme].normalise


def ceiling(scheme: str) -> frozenset[str] | None:
    """The facets that a question in a scheme may ever yield; None leaves it to policy."""
    found = CATALOGUE.get(scheme)
    return found.ceiling if found else None


def recognise(raw: str) -> tuple[Identifier, ...]:
    """What the text may be, best first: right check digits before forms before wrong ones.

    Containers, ships and plates, whatever their check digits, and other schemes whose
    identifiers are unlike any other when they are verified (the digits of an IP address may be a
    ship's: its dots say what it is); a text that may be of any other
    scheme needs its scheme stated. A plate without its country comes last, ``unverifiable``, so
    that :func:`parse` can say what is missing. Empty when nothing fits.
    """
    if len(raw) > MAX_RAW:
        return ()
    kept = [
        found
        for scheme in CATALOGUE.values()
        if scheme.recognised and _fits(found := scheme.normalise(raw, ""))
    ]
    dotted = [found for found in kept if found.scheme == "ip-address"]
    return tuple(sorted(dotted or kept, key=lambda found: _RANK.index(found.validity)))


def _fits(found: Identifier) -> bool:
    if found.scheme == plate.SCHEME and plate.looks_like_plate(found):
        return True
    if found.scheme in {container.SCHEME, vessel.SCHEME, plate.SCHEME}:
        return found.validity is not Validity.UNVERIFIABLE
    return found.validity in {Validity.CHECKSUM_OK, Validity.FORMAT_OK}


def suggest(raw: str) -> tuple[str, ...]:
    """Near identifiers with a right check digit, likeliest first, at most :data:`MAX_SUGGESTIONS`.

    One adjacent swap or one substituted character away. To be shown at home only: they are as
    secret as the term. Empty when the text is right as it stands, or has no check digit.
    """
    if len(raw) > MAX_RAW:
        return ()
    if any(found.validity is Validity.CHECKSUM_OK for found in recognise(raw)):
        return ()
    near = dict.fromkeys([*container.neighbours(raw), *vessel.neighbours(raw)])
    return tuple(near)[:MAX_SUGGESTIONS]

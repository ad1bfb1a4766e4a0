"""Identifiers: recognise, verify, and write in one canonical form. Pure.

Two strangers must agree on the canonical form byte for byte, so it is versioned by
:data:`NORM_VERSION`; :func:`normalise` is total and idempotent. A new family is one file with
``SCHEME``, ``normalise`` and ``reason``, and one place in the two tables below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from fairlead.errors import InvalidInput
from fairlead.identifiers import container, plate, vessel
from fairlead.identifiers.identifier import Identifier, Validity
from fairlead.identifiers.spelling import fold

__all__ = [
    "MAX_RAW",
    "MAX_SUGGESTIONS",
    "NORM_VERSION",
    "SCHEMES",
    "Identifier",
    "Validity",
    "normalise",
    "normaliser",
    "parse",
    "recognise",
    "suggest",
]

NORM_VERSION = 1
"""Version of the canonical forms. A mismatch between two sides is an error, never a miss."""

MAX_RAW = 64
"""Characters in a term that may be asked about."""

MAX_SUGGESTIONS = 12

_NORMALISERS: Mapping[str, Callable[[str, str], Identifier]] = MappingProxyType(
    {family.SCHEME: family.normalise for family in (container, vessel, plate)}
)
_REASONS: Mapping[str, Callable[[Identifier], str | None]] = MappingProxyType(
    {family.SCHEME: family.reason for family in (container, vessel, plate)}
)
SCHEMES = tuple(_NORMALISERS)
"""The schemes of this version, in the order in which :func:`recognise` prefers them."""

_MESSAGES = {
    "CHECK_DIGIT": "the check digit does not fit the rest of the identifier",
    "CHECK_DIGIT_MISSING": "the check digit is missing",
    "COUNTRY_REQUIRED": "a vehicle plate needs its country",
    "FORMAT": "the identifier is not written as its scheme demands",
}
_REMEDIES = {
    "CHECK_DIGIT": "compare with the document, or choose one of the suggestions shown at home",
    "CHECK_DIGIT_MISSING": "add the last digit, as painted in the box on the container",
    "COUNTRY_REQUIRED": "write the country first, as in NL:AB-123-C",
    "FORMAT": "fairlead ask --help lists the schemes and how each is written",
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
    :param issuer: the country when it is stated apart from a plate.
    :raises InvalidInput: ``SCHEME``, ``TOO_LONG``, ``FORMAT``, ``CHECK_DIGIT``,
        ``CHECK_DIGIT_MISSING`` or ``COUNTRY_REQUIRED``. The error never holds the term:
        :func:`suggest` is for showing near ones at home.
    """
    if scheme not in _NORMALISERS:
        raise InvalidInput(
            "no such kind of identifier", reasons=("SCHEME",), remedy=_REMEDIES["FORMAT"]
        )
    if len(raw) > MAX_RAW:
        raise InvalidInput(
            "the identifier is too long", reasons=("TOO_LONG",), remedy=_REMEDIES["FORMAT"]
        )
    found = _NORMALISERS[scheme](raw, issuer)
    code = _REASONS[scheme](found)
    if code is not None:
        raise InvalidInput(_MESSAGES[code], reasons=(code,), remedy=_REMEDIES[code])
    return found


def normalise(scheme: str, raw: str, *, issuer: str = "") -> Identifier:
    """Read an identifier from somebody's data: never raises, for any string.

    What cannot be verified is kept, marked, and still matched by its canonical spelling.
    """
    if scheme not in _NORMALISERS:
        return Identifier(
            scheme=scheme, value=fold(raw), issuer=None, validity=Validity.UNVERIFIABLE, raw=raw
        )
    return _NORMALISERS[scheme](raw, issuer)


def normaliser(scheme: str) -> Callable[[str, str], Identifier]:
    """The scheme's own ``(raw, issuer) -> Identifier``, looked up once for many rows.

    :raises InvalidInput: ``SCHEME``.
    """
    if scheme not in _NORMALISERS:
        raise InvalidInput("no such kind of identifier", reasons=("SCHEME",))
    return _NORMALISERS[scheme]


def recognise(raw: str) -> tuple[Identifier, ...]:
    """What the text may be, best first: right check digits before forms before wrong ones.

    A plate without its country comes last, ``unverifiable``, so that :func:`parse` can say
    what is missing. Empty when nothing fits.
    """
    if len(raw) > MAX_RAW:
        return ()
    candidates = [normal(raw, "") for normal in _NORMALISERS.values()]
    kept = [
        found
        for found in candidates
        if found.validity is not Validity.UNVERIFIABLE
        or (found.scheme == plate.SCHEME and plate.looks_like_plate(found))
    ]
    return tuple(sorted(kept, key=lambda found: _RANK.index(found.validity)))


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

"""Sea-going ships: the IMO ship identification number (IMO Resolution A.1117(30)).

Seven digits, the last a check digit; written as ``IMO 9074729``, ``IMO no. 9074729`` or bare.
Canonical: the seven digits. (A *company's* IMO number is another scheme with other weights.)
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator

from fairlead.identifiers.identifier import Identifier, Validity
from fairlead.identifiers.spelling import fold

SCHEME = "vessel-imo"

_PREFIX = re.compile(r"(?:IMO(?:NUMBER|NUM|NO|NR)?#?)(?=[0-9])")
_NUMBER = re.compile(r"[1-9][0-9]{6}\Z")
_WEIGHTS = (7, 6, 5, 4, 3, 2)


def check_digit(first_six: str) -> str:
    """The digit that belongs behind six ASCII digits."""
    total = sum(int(digit) * weight for digit, weight in zip(first_six, _WEIGHTS, strict=True))
    return str(total % 10)


def normalise(raw: str, issuer: str = "") -> Identifier:  # noqa: ARG001  (every family's shape)
    """Total; numbers that begin with 0 do not exist and are ``unverifiable``."""
    value = _bare(raw)
    validity = Validity.UNVERIFIABLE
    if _NUMBER.match(value):
        right = check_digit(value[:6]) == value[6]
        validity = Validity.CHECKSUM_OK if right else Validity.CHECKSUM_FAILED
    return Identifier(scheme=SCHEME, value=value, issuer=None, validity=validity, raw=raw)


def reason(found: Identifier) -> str | None:
    """Why the identifier may not be asked about, or None."""
    return {Validity.CHECKSUM_OK: None, Validity.CHECKSUM_FAILED: "CHECK_DIGIT"}.get(
        found.validity, "FORMAT"
    )


def neighbours(raw: str) -> Iterator[str]:
    """Canonical numbers one adjacent swap or one substituted digit away, likeliest first."""
    value = _bare(raw)
    if len(value) != len(_WEIGHTS) + 1:
        return
    for place in range(len(value) - 1):
        swapped = value[:place] + value[place + 1] + value[place] + value[place + 2 :]
        if _is_right(swapped):
            yield swapped
    for place in range(len(value) - 1, -1, -1):
        for digit in string.digits:
            changed = value[:place] + digit + value[place + 1 :]
            if changed != value and _is_right(changed):
                yield changed


def _bare(raw: str) -> str:
    value = fold(raw)
    while match := _PREFIX.match(value):
        value = value[match.end() :]
    return value


def _is_right(value: str) -> bool:
    return bool(_NUMBER.match(value)) and check_digit(value[:6]) == value[6]

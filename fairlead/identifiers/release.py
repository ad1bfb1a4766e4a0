"""The reference of a release event. **Never the PIN itself.**

What may be a PIN (fewer than eight characters, or fewer than ten when all are digits) is
dropped at once: no value, and nothing kept for display.
"""

from __future__ import annotations

import re

from fairlead.identifiers.identifier import Identifier, Validity
from fairlead.identifiers.scheme import Scheme, reason
from fairlead.identifiers.spelling import fold

SCHEME = "release-reference"
_FORM = re.compile(r"(?=.*[0-9])[A-Z0-9]{8,40}\Z")
_NAMED_PIN = re.compile(r"\A(?:PIN|TAN)(?:CODE)?(?=[0-9])")
_SHORT, _SHORT_NUMBER = 8, 10


def _normalise(raw: str, issuer: str = "") -> Identifier:  # noqa: ARG001  (every family's shape)
    value = fold(raw)
    if _may_be_pin(value):
        return Identifier(
            scheme=SCHEME, value="", issuer=None, validity=Validity.UNVERIFIABLE, raw=""
        )
    validity = Validity.FORMAT_OK if _FORM.match(value) else Validity.UNVERIFIABLE
    return Identifier(scheme=SCHEME, value=value, issuer=None, validity=validity, raw=raw)


def _may_be_pin(value: str) -> bool:
    if _NAMED_PIN.match(value):
        return True
    return len(value) < (_SHORT_NUMBER if value.isdigit() else _SHORT)


def _why(found: Identifier) -> str | None:
    return reason(found) if found.value else "LOOKS_LIKE_PIN"


SCHEMES = (
    Scheme(
        name=SCHEME,
        title="Release of a container: the event's reference, never the PIN",
        checks="form: 8 to 40 letters and digits; what may be a PIN is dropped",
        examples=("REL-2026-0047122",),
        normalise=_normalise,
        reason=_why,
    ),
)

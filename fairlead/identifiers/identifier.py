"""What every family of schemes speaks about: one identifier in its canonical form."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Validity(StrEnum):
    """How far an identifier could be verified without asking its issuer."""

    CHECKSUM_OK = "checksum_ok"
    """The form is right and so is the check digit."""
    FORMAT_OK = "format_ok"
    """The form is right; there is no check digit to verify."""
    CHECKSUM_FAILED = "checksum_failed"
    """The form is right, the check digit is wrong. Kept and matched: official lists have typos."""
    UNVERIFIABLE = "unverifiable"
    """The form is not the scheme's own. Kept as it reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identifier:
    """One identifier.

    ``value`` is canonical and the only part that is ever matched; it can always be written
    as UTF-8. ``raw`` is what was read, for display alone. ``issuer`` is the ISO 3166 country
    where the scheme needs one.
    """

    scheme: str
    value: str
    issuer: str | None
    validity: Validity
    raw: str

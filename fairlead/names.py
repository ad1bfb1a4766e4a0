"""The spelling of names that travel: partner ids, pseudonyms, case references, codes.

Strict, so that no name can smuggle a path, a SPIFFE segment or a control character anywhere.
"""

from __future__ import annotations

import re

from fairlead.errors import InvalidInput

_PARTNER = re.compile(r"[a-z][a-z0-9-]{1,31}\Z")
_CODE = re.compile(r"[a-z][a-z0-9-]{0,63}\Z")
_REASON = re.compile(r"[A-Z]+(?:_[A-Z]+)*\Z")
_CASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,63}\Z")


def check_partner_id(value: str) -> str:
    """Lower-case letters, digits, hyphens; 2 to 32 characters.

    :raises InvalidInput: anything else.
    """
    return _check(_PARTNER, value, "a partner id is misspelt", "PARTNER_ID", "fairlead partners")


def check_code(value: str) -> str:
    """A purpose, legal basis, scheme or event: lower-case letters, digits, hyphens; ≤ 64.

    :raises InvalidInput: anything else.
    """
    return _check(_CODE, value, "a code is misspelt", "CODE", "")


def check_case_id(value: str) -> str:
    """A case reference: letters, digits and ``. _ / -``; ≤ 64.

    :raises InvalidInput: anything else.
    """
    return _check(_CASE, value, "a case reference is misspelt", "CASE_ID", "fairlead cases list")


def reason_code(value: str) -> str:
    """A reason code as somebody else states it: upper-case words of letters, at most 64, else
    ``UNKNOWN``. No digit fits, so no identifier of the real world does; empty stays empty."""
    if not value or (len(value) <= 64 and _REASON.match(value)):
        return value
    return "UNKNOWN"


def _check(pattern: re.Pattern[str], value: str, message: str, code: str, remedy: str) -> str:
    if not pattern.match(value):
        raise InvalidInput(message, reasons=(code,), remedy=remedy)
    return value

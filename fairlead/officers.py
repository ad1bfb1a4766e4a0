"""Policy officers: the people whose signatures make a policy, as somebody named them beforehand.

The federation's stand in the pins file, which is compared out of band; a partner's own in its
node's configuration. An officer is a key, the pseudonym of the person who holds it, and the
organisation the person works for::

    policy_officers = [
      { key = "<Ed25519 key, hex>", person = "u-so1", organisation = "customs" },
    ]

People are told apart by ``person`` alone, so one pseudonym is one person whatever it is listed
under: who holds two keys, or works for two organisations, still counts once.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from fairlead.errors import InvalidInput
from fairlead.names import check_partner_id

MAX_OFFICERS = 64
_PERSON = re.compile(r"[a-z][a-z0-9-]{0,31}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Officer:
    """``key`` is a raw Ed25519 key; ``organisation`` a partner's id."""

    key: bytes
    person: str
    organisation: str

    @property
    def key_id(self) -> str:
        """SHA-256 of the key, in hexadecimal: how a manifest names it."""
        return key_id(self.key)

    def plain(self) -> dict[str, str]:
        """As a file spells it."""
        return {"key": self.key.hex(), "person": self.person, "organisation": self.organisation}


def key_id(key: bytes) -> str:
    """How a manifest names a key."""
    return hashlib.sha256(key).hexdigest()


def parse_officers(rows: object) -> tuple[Officer, ...]:
    """Read the tables of a file.

    :raises InvalidInput: OFFICERS: not a list of such tables, misspelt, or a key listed twice.
    """
    try:
        if not isinstance(rows, list) or len(rows) > MAX_OFFICERS:
            raise ValueError
        found = tuple(_officer(row) for row in rows)
    except (ValueError, TypeError, AttributeError, InvalidInput):
        raise _misspelt() from None
    if len({officer.key for officer in found}) != len(found):
        raise _misspelt()
    return found


def render_officers(officers: Iterable[Officer]) -> str:
    """The list as TOML; :func:`parse_officers` reads what a TOML reader makes of it."""
    rows = (
        ", ".join(f"{name} = {json.dumps(value)}" for name, value in officer.plain().items())
        for officer in officers
    )
    return "[" + "".join(f"\n  {{ {row} }}," for row in rows) + "\n]"


def _officer(row: object) -> Officer:
    if not isinstance(row, dict) or row.keys() != {"key", "person", "organisation"}:
        raise ValueError
    key = bytes.fromhex(row["key"])
    if len(key) != 32 or not _PERSON.match(row["person"]):
        raise ValueError
    organisation = check_partner_id(row["organisation"])
    return Officer(key=key, person=row["person"], organisation=organisation)


def _misspelt() -> InvalidInput:
    return InvalidInput(
        "the list of policy officers cannot be read",
        reasons=("OFFICERS",),
        remedy='each is { key = "…hex", person = "pseudonym", organisation = "partner-id" }, '
        "each key once",
    )

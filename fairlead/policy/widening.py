"""What a draft would change of one decision, and the classes of what it would widen.

A decision is compared as what leaves because of it: the facets it discloses, fields one by one,
and the duties that come with them. A duty is looser exactly when the two decisions' meet, which
only tightens, is not what the draft says alone; so an obligation that is invented tomorrow is
compared as well. Telling somebody (``notify``) is a disclosure of a denial, too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from fairlead.policy.decision import Decision, Obligations, disclosed, meet

_FIELD = "field:"
DUTY = "duty:"
"""Before the name of an obligation that would be looser, among the gained facets of a class."""


class Kind(StrEnum):
    """What would become of a decision."""

    SAME = "same"
    NEWLY_ALLOWED = "newly allowed"
    NEWLY_REFUSED = "newly refused"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Change:
    """``gained`` is what would be disclosed beyond what is now, sorted; empty: no widening."""

    kind: Kind
    gained: tuple[str, ...] = ()


def compare(before: Decision, after: Decision, universe: Collection[str]) -> Change:
    """What changes from ``before`` to ``after``.

    :param universe: names of the fields that what it is about may have; those that either decision
        names are added.
    """
    named = {f.removeprefix(_FIELD) for f in before.facets | after.facets if f.startswith(_FIELD)}
    every = named | set(universe)
    shown, now_shown = disclosed(before, every), disclosed(after, every)
    gained = [*sorted(now_shown - shown), *_looser(before, after)]
    if before.permit != after.permit:
        if not after.permit:
            duties = tuple(name for name in gained if name == f"{DUTY}notify")
            return Change(Kind.NEWLY_REFUSED, duties)
        return Change(Kind.NEWLY_ALLOWED, tuple(gained))
    if shown == now_shown and before.obligations == after.obligations:
        return Change(Kind.SAME)
    return Change(Kind.CHANGED, tuple(gained))


def _looser(before: Decision, after: Decision) -> list[str]:
    """The obligations in which ``after`` is not as tight as ``before``; redactions are compared as
    what they withhold, and a denial has but one duty."""
    both = meet(after, before).obligations
    names = [item.name for item in fields(Obligations) if item.name != "redact"]
    if not (before.permit and after.permit):
        names = ["notify"]
    return [
        DUTY + name for name in names if getattr(both, name) != getattr(after.obligations, name)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Widening:
    """Decisions that a draft widens alike. An empty kind of owner: no owner was looked at."""

    agreements: tuple[str, ...]
    asker_kind: str
    owner_kind: str
    purpose: str
    schemes: tuple[str, ...]
    mode: str
    gained: tuple[str, ...]

    @property
    def widening_id(self) -> str:
        """12 hexadecimal digits, the same in every replay by anybody."""
        octets = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":")).encode()
        return hashlib.sha256(b"fairlead/v1/widening\x00" + octets).hexdigest()[:12]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {n: list(v) if isinstance(v, tuple) else v for n, v in values.items()}


OTHERS = Widening(
    agreements=("*",), asker_kind="*", owner_kind="*", purpose="*", schemes=("*",), mode="*",
    gained=("*",),
)  # fmt: skip
"""The class of what is widened beyond the number of classes that a report can hold."""

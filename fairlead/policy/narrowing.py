"""Whether one policy's data only tightens another's; mechanically, and in doubt not.

Two compiled data documents are compared (:func:`fairlead.policy.agreements.federation_data`). A
change that this cannot see through counts as a widening: an emergency must be simple.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_SETS = ("purposes", "legal_bases", "modes", "schemes", "roles")
_LOWER = ("max_records", "retention_days", "max_terms", "valid_until")
_HIGHER = ("approvals", "notice_delay_s", "valid_from")


@dataclass(frozen=True, slots=True, kw_only=True)
class Widening:
    """One way in which the later policy permits more: where (an agreement, or the registry), and
    which part of it."""

    where: str
    what: str


def widenings(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Widening]:
    """Every way in which ``new`` might permit what ``old`` does not; none: it only tightens."""
    before, after = old["federation"], new["federation"]
    found = [
        Widening(where="registry", what=key)
        for key in sorted((before.keys() | after.keys()) - {"agreements", "policy"})
        if before.get(key) != after.get(key)
    ]
    rows, kept = before["agreements"], after["agreements"]
    for name in sorted(kept):
        if name not in rows:
            found.append(Widening(where=name, what="agreement"))
        else:
            found += [Widening(where=name, what=w) for w in _wider(rows[name], kept[name])]
    # Where several agreements cover a question the narrowest holds, so one that goes may widen.
    for name in sorted(rows.keys() - kept.keys()):
        if any(_meet(rows[name], other) for other in kept.values()):
            found.append(Widening(where=name, what="agreement"))
    return found


def _wider(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    wide = [key for key in _SETS if not new[key].keys() <= old[key].keys()]
    wide += [key for key in ("from", "to") if not _within(new[key], old[key])]
    wide += [key for key in _LOWER if new[key] > old[key]]
    wide += [key for key in _HIGHER if new[key] < old[key]]
    wide += [] if set(new["facets"]) <= set(old["facets"]) else ["facets"]
    wide += [] if set(new["redact"]) >= set(old["redact"]) else ["redact"]
    longest = "max_window_days"
    if old[longest] is not None and (new[longest] is None or new[longest] > old[longest]):
        wide.append(longest)
    understood = {*_SETS, *_LOWER, *_HIGHER, "from", "to", "facets", "redact", longest}
    wide += [key for key in sorted((old.keys() | new.keys()) - understood)
             if old.get(key) != new.get(key)]  # fmt: skip
    # What an agreement no longer covers, another and wider one may.
    narrowed = {*_SETS, "from", "to", *_LOWER[2:], longest, "valid_from"}
    return wide + [f"{key} (narrowed)" for key in sorted(narrowed) if key not in wide
                   and new[key] != old[key] and key != "valid_until"]  # fmt: skip


def _within(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    return all(new[kind].keys() <= old[kind].keys() for kind in ("kinds", "partners"))


def _meet(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether some question may be covered by both; kinds and partners may always overlap."""
    shared = all(one[key].keys() & other[key].keys() for key in _SETS)
    return shared and all(_overlap(one[key], other[key]) for key in ("from", "to"))


def _overlap(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    mixed = (one["kinds"] and other["partners"]) or (one["partners"] and other["kinds"])
    same = one["kinds"].keys() & other["kinds"].keys()
    return bool(mixed or same or one["partners"].keys() & other["partners"].keys())

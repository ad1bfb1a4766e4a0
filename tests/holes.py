"""Holes in a document: every path of it, the document without one, and what may come of that."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairlead.policy.decision import Decision, meet
from fairlead.policy.engine import PolicyEngine
from fairlead.policy.points import Layer, PolicyPoints

Path = tuple[Any, ...]
POLICY = "golden"
"""The identity of the policy that the engines of these tests have."""


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every inner node and every leaf, but the whole itself."""
    if isinstance(value, Mapping):
        items: Any = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    else:
        return
    for key, item in items:
        yield (*path, key)
        yield from paths(item, (*path, key))


def without(document: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """A copy without what is at ``path``."""
    copied: dict[str, Any] = copy.deepcopy(dict(document))
    inner: Any = copied
    for key in path[:-1]:
        inner[key] = list(inner[key]) if isinstance(inner[key], tuple) else inner[key]
        inner = inner[key]
    del inner[path[-1]]
    return copied


def decided(
    layers: Sequence[PolicyEngine],
    point: str,
    document: Mapping[str, Any],
    asked: Mapping[str, Any],
) -> dict[str, Decision]:
    """What the enforcement point makes of ``document`` when it had asked ``asked``: one decision
    for each candidate or record of it, and under the empty name the one over all."""
    policy = PolicyPoints([Layer(layer, POLICY) for layer in layers], 1)
    if point in {"asking", "routing"}:
        overall, each = policy._over_candidates(point, dict(document), asked["candidates"])
        return {"": overall, **each}
    if point == "release":
        count = len(asked["records"])
        found = [policy._records(layer, dict(document), count) for layer in policy._layers]
        return {str(n): meet(*each) for n, each in enumerate(zip(*found, strict=True))}
    return {"": policy._single(point, dict(document))}


def no_wider(after: Decision, before: Decision) -> bool:
    """Whether the one permits nothing that the other does not: their meet is the one itself."""
    if not after.permit:
        return True
    both = meet(after, before)
    return (both.permit, both.facets, both.obligations) == (
        True, after.facets, after.obligations,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Argued:
    """Paths whose loss need not deny, and why; what comes of it permits the ``same``, or less.

    In ``pattern``, parted by dots, ``*`` is any key.
    """

    pattern: str
    why: str
    comes: str = "same"

    def fits(self, path: Path) -> bool:
        """Whether ``path`` is one of these."""
        parts = self.pattern.split(".")
        pairs = zip(path, parts, strict=False)
        return len(path) == len(parts) and all(part in {"*", str(key)} for key, part in pairs)

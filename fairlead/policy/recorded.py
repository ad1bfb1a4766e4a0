"""A decision as it is written down, and as it is read again years later.

What a record says of a decision is what leaves because of it: effect, facets, obligations, the
agreements it rests on and the codes of its reasons; not the reasons' words, which are the
catalogue's. An obligation that a record does not have, because nobody had invented it yet, reads as
the default; one that this program does not know makes a record unreadable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Protocol

from fairlead.errors import InvalidInput
from fairlead.policy.decision import Decision, Effect, Obligations, is_facet
from fairlead.policy.inputs import Document

OVERALL = ""
"""The place of a decision over all candidates, and of one that has no candidates."""

Decisions = Decision | Sequence[Decision] | Mapping[str, Decision]
"""What one evaluation came to: one decision, one for each record, or by candidate with that over
all of them at :data:`OVERALL`."""


class Recorder(Protocol):
    """Takes down what a decision point decided."""

    def record(
        self,
        point: str,
        document: Document,
        decisions: Decisions,
        *,
        policy_serial: int,
        engine: str,
    ) -> bytes:
        """Write one evaluation down; returns its id, 16 octets. Called before anybody acts on it.

        :param document: the policy input; it is not changed afterwards.
        """
        ...


def places(decisions: Decisions) -> Mapping[str, Decision]:
    """The decisions by place, those for records at "0", "1", …"""
    if isinstance(decisions, Decision):
        return {OVERALL: decisions}
    if isinstance(decisions, Mapping):
        return decisions
    return {str(place): decision for place, decision in enumerate(decisions)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one decision came to. ``reasons`` are codes, most important first."""

    permit: bool
    facets: frozenset[str]
    obligations: Obligations
    reasons: tuple[str, ...]
    rules: tuple[str, ...]

    @classmethod
    def of(cls, decision: Decision) -> Outcome:
        """What a decision came to."""
        return cls(
            permit=decision.permit,
            facets=decision.facets,
            obligations=decision.obligations,
            reasons=tuple(reason.code for reason in decision.reasons),
            rules=decision.rules,
        )

    def decision(self) -> Decision:
        """The outcome as a decision, for what compares and meets decisions."""
        return Decision(
            effect=Effect.PERMIT if self.permit else Effect.DENY,
            checks=MappingProxyType({}),
            facets=self.facets,
            obligations=self.obligations,
            rules=self.rules,
        )

    def to_json(self) -> dict[str, Any]:
        """As plain JSON; :meth:`from_json` reads it back."""
        limits = self.obligations
        return {
            "effect": "permit" if self.permit else "deny",
            "facets": sorted(self.facets),
            "obligations": {
                item.name: sorted(value) if isinstance(value, frozenset) else value
                for item in fields(limits)
                if (value := getattr(limits, item.name)) != item.default
            },
            "reasons": list(self.reasons),
            "rules": list(self.rules),
        }

    @classmethod
    def from_json(cls, value: object) -> Outcome:
        """:raises InvalidInput: DECISION_RECORD: not an outcome."""
        try:
            return cls._read(value)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise malformed() from None

    @classmethod
    def _read(cls, value: Any) -> Outcome:
        if value["effect"] not in ("permit", "deny"):
            raise ValueError
        facets = _texts(value["facets"])
        if not all(is_facet(facet) for facet in facets):
            raise ValueError
        return cls(
            permit=value["effect"] == "permit",
            facets=frozenset(facets),
            obligations=_obligations(value["obligations"]),
            reasons=_texts(value["reasons"]),
            rules=_texts(value["rules"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One evaluation as it was written down. ``document`` None: its input was not kept.

    ``query_id`` is empty where a decision was not about one; ``digest`` is that of the input,
    empty without it.
    """

    decision_id: bytes
    point: str
    engine: str
    policy_serial: int
    time_ms: int
    query_id: bytes
    digest: bytes
    outcomes: Mapping[str, Outcome]
    document: Mapping[str, Any] | None = None


def malformed() -> InvalidInput:
    """The error for a record that cannot be read."""
    return InvalidInput(
        "a decision record cannot be read",
        reasons=("DECISION_RECORD",),
        remedy="see whether the log is sound: fairlead audit verify FILE",
    )


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError
    return tuple(value)


@lru_cache(maxsize=1)
def _kinds() -> Mapping[str, bool]:
    """Obligation → whether it is a set of names."""
    return {item.name: isinstance(item.default, frozenset) for item in fields(Obligations)}


def _obligations(value: dict[str, Any]) -> Obligations:
    kinds = _kinds()
    for name, item in value.items():
        plain = item is None or type(item) in (int, str, bool)
        if name not in kinds or not (isinstance(item, list) if kinds[name] else plain):
            raise ValueError
    read: dict[str, Any] = {n: frozenset(_texts(v)) if kinds[n] else v for n, v in value.items()}
    return Obligations(**read)

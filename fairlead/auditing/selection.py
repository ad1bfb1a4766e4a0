"""Which leaves an auditor looks for.

A selection is written into the log before anything is shown, so nothing fits into it that could be
a term: names and codes of the shapes that the operator's log accepts, numbers and ids.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from fairlead.errors import InvalidInput
from fairlead.receipts import MAX_SIZE
from fairlead.telemetry import Shape
from fairlead.v1 import audit_pb2 as pb

MOST = 32
"""Values of one kind."""
_TYPES = frozenset(pb.LeafType.values()) - {pb.LEAF_TYPE_UNSPECIFIED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Leaves ``first`` up to before ``stop`` (0: the end) and from ``since_ms`` up to before
    ``until_ms`` (0: unbounded) that have one of the values of each kind that names some."""

    first: int = 0
    stop: int = 0
    since_ms: int = 0
    until_ms: int = 0
    types: frozenset[int] = frozenset()
    partners: frozenset[str] = frozenset()
    purposes: frozenset[str] = frozenset()
    users: frozenset[str] = frozenset()
    query_id: bytes = b""
    reasons: frozenset[str] = frozenset()

    @classmethod
    def from_wire(cls, wire: pb.LeafSelection) -> Selection:
        """Read one.

        :raises InvalidInput: SELECTION.
        """
        whole = wire.first <= MAX_SIZE and wire.stop <= MAX_SIZE
        whole = whole and (not wire.stop or wire.first <= wire.stop)
        whole = whole and wire.since_ms >= 0 and wire.until_ms >= 0
        whole = whole and len(wire.query_id) in {0, 16} and set(wire.types) <= _TYPES
        if not whole or len(wire.types) > len(_TYPES):
            raise _unreadable()
        return cls(
            first=wire.first,
            stop=wire.stop,
            since_ms=wire.since_ms,
            until_ms=wire.until_ms,
            types=frozenset(wire.types),
            partners=_words(wire.partners, Shape.SLUG),
            purposes=_words(wire.purposes, Shape.SLUG),
            users=_words(wire.users, Shape.SLUG, Shape.SPIFFE),
            query_id=wire.query_id,
            reasons=_words(wire.reasons, Shape.CODE),
        )

    def to_wire(self) -> pb.LeafSelection:
        """Write it."""
        return pb.LeafSelection(
            first=self.first,
            stop=self.stop,
            since_ms=self.since_ms,
            until_ms=self.until_ms,
            types=sorted(self.types),  # type: ignore[arg-type]
            partners=sorted(self.partners),
            purposes=sorted(self.purposes),
            users=sorted(self.users),
            query_id=self.query_id,
            reasons=sorted(self.reasons),
        )

    def among(self, span: range) -> Selection:
        """The same of these leaves."""
        return replace(self, first=span.start, stop=span.stop)

    @property
    def all(self) -> bool:
        """Whether it takes every leaf of its span."""
        return self == Selection(first=self.first, stop=self.stop)

    def takes(self, leaf: pb.AuditLeaf) -> bool:
        """Whether a leaf is one of them, wherever it lies."""
        return (
            self.since_ms <= leaf.time_ms
            and (not self.until_ms or leaf.time_ms < self.until_ms)
            and (not self.types or leaf.type in self.types)
            and (not self.partners or not self.partners.isdisjoint(partners_of(leaf)))
            and (not self.purposes or leaf.purpose in self.purposes)
            and (not self.users or any(self._is_wanted(name) for name in users_of(leaf)))
            and (not self.query_id or self.query_id in queries_of(leaf))
            and (not self.reasons or not self.reasons.isdisjoint(reasons_of(leaf)))
        )

    def _is_wanted(self, user: str) -> bool:
        return user in self.users or user.rpartition("/")[2] in self.users


def partners_of(leaf: pb.AuditLeaf) -> set[str]:
    """Who asked, was asked or answered."""
    named = {leaf.partner_id, *(line.partner_id for line in leaf.partners)}
    return (named | {answer.partner_id for answer in leaf.released}) - {""}


def users_of(leaf: pb.AuditLeaf) -> list[str]:
    """The SPIFFE ids of people it names."""
    return [name for name in (leaf.user, *leaf.approvers) if name]


def queries_of(leaf: pb.AuditLeaf) -> set[bytes]:
    """The queries it is about."""
    return {leaf.query_id, *(answer.query_id for answer in leaf.released)} - {b""}


def reasons_of(leaf: pb.AuditLeaf) -> set[str]:
    """The codes it gives, for itself or for a partner."""
    return {*leaf.reasons, *(line.reason for line in leaf.partners)} - {""}


def _words(values: Iterable[str], *shapes: Shape) -> frozenset[str]:
    found = frozenset(values)
    patterns = [shape.value for shape in shapes if shape.value is not None]
    fit = all(len(v) <= 128 and any(p.match(v) for p in patterns) for v in found)
    if len(found) > MOST or not fit:
        raise _unreadable()
    return found


def _unreadable() -> InvalidInput:
    return InvalidInput(
        "what to look for is none of a log's names, codes or spans",
        reasons=("SELECTION",),
        remedy="fairlead audit list --help",
    )

"""Legal holds: leaves that are kept though their time is over, because somebody ordered so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fairlead import merkle, signing
from fairlead.auditing.reading import Read
from fairlead.auditing.selection import Selection, queries_of
from fairlead.auditlog.erased import HOLD_BEGUN, HOLD_ENDED
from fairlead.auditlog.store import Connection
from fairlead.errors import FairleadError, Forged, InvalidInput, NotFound
from fairlead.leaves import LeafWriter
from fairlead.retention.classes import LeafClass
from fairlead.telemetry import Shape
from fairlead.v1 import audit_pb2
from fairlead.v1 import erasure_pb2 as pb

MAX_REFERENCE = 200
MOST = 1_000
"""Holds in force at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """One in force. ``hold_id`` is the hash of the leaf that began it."""

    hold_id: bytes
    selection: Selection
    leaf_class: LeafClass | None
    reference: str
    time_ms: int

    def takes(self, leaf: audit_pb2.AuditLeaf, leaf_class: LeafClass) -> bool:
        """Whether it keeps a leaf of this class, of itself."""
        return self.leaf_class in {None, leaf_class} and self.selection.takes(leaf)


class Keeper:
    """Tells which leaves of one log are held, given in their order."""

    def __init__(self, holds: Sequence[Hold]) -> None:
        self._holds = holds
        self._queries: set[bytes] = set()

    def takes(self, leaf: audit_pb2.AuditLeaf, leaf_class: LeafClass) -> bool:
        """Whether the next leaf is held; with a query's leaf that names it, so are those that
        follow of the same query."""
        if not self._queries.isdisjoint(queries_of(leaf)):
            return True
        held = any(hold.takes(leaf, leaf_class) for hold in self._holds)
        if held and leaf.query_id:
            self._queries.add(leaf.query_id)
        return held


def holds(read: Read) -> list[Hold]:
    """The holds in force, the oldest first.

    :raises Forged: LOG_CORRUPTED: one cannot be read.
    """
    rows = read(
        "SELECT id, selection, leaf_class, reference, time_ms FROM legal_hold ORDER BY time_ms, id",
        (),
    )
    try:
        return [
            Hold(
                hold_id=bytes(hold_id),
                selection=_selection(bytes(selection)),
                leaf_class=LeafClass.parse(leaf_class) if leaf_class else None,
                reference=str(reference),
                time_ms=time_ms,
            )
            for hold_id, selection, leaf_class, reference, time_ms in rows
        ]
    except (FairleadError, TypeError):
        raise Forged(
            "a legal hold cannot be read",
            reasons=("LOG_CORRUPTED",),
            remedy="keep the file as evidence, and restore a backup",
        ) from None


def require_hold(request: pb.HoldRequest) -> Selection:
    """What a hold is to keep.

    :raises InvalidInput: SELECTION, LEAF_CLASS, HOLD_REFERENCE, HOLD_BY, or HOLD_ALL: it names
        nothing.
    """
    selection = Selection.from_wire(request.selection)
    if request.leaf_class:
        LeafClass.parse(request.leaf_class)
    _require_words(request)
    if not request.leaf_class and selection == Selection():
        raise InvalidInput(
            "a hold says what it keeps",
            reasons=("HOLD_ALL",),
            remedy="name --query, --user, --partner, --class, --since or --until",
        )
    return selection


def begin(request: pb.HoldRequest, leaves: LeafWriter) -> tuple[bytes, list[object]]:
    """The leaf of a hold that begins, and its row.

    :raises InvalidInput: as :func:`require_hold`.
    """
    wire = require_hold(request).to_wire()
    leaf = leaves.hold(
        HOLD_BEGUN,
        user=request.by,
        selection=wire,
        leaf_class=request.leaf_class,
        reference=request.reference,
    )
    row: list[object] = [
        merkle.leaf_hash(leaf),
        signing.canonical(wire),
        request.leaf_class,
        request.reference,
        audit_pb2.AuditLeaf.FromString(leaf).time_ms,
    ]
    return leaf, row


def end(request: pb.HoldRequest, leaves: LeafWriter) -> bytes:
    """The leaf of a hold that ends. :raises InvalidInput: HOLD_BY."""
    _require_name(request.by)
    return leaves.hold(HOLD_ENDED, user=request.by, ended=request.ended)


def put(connection: Connection, row: Sequence[object]) -> None:
    """Keep a hold; call it inside ``also`` of its leaf.

    :raises InvalidInput: HOLDS_MANY.
    """
    (count,) = connection.execute("SELECT count(*) FROM legal_hold").fetchone()
    if count >= MOST:
        raise InvalidInput(
            "there are too many legal holds",
            reasons=("HOLDS_MANY",),
            remedy="end those that are over: audit hold list, audit hold end",
        )
    connection.execute(
        "INSERT INTO legal_hold (id, selection, leaf_class, reference, time_ms) "
        "VALUES (?, ?, ?, ?, ?)",
        tuple(row),
    )


def drop(connection: Connection, hold_id: bytes) -> None:
    """Let a hold go; call it inside ``also`` of its leaf.

    :raises NotFound: HOLD_UNKNOWN.
    """
    found = connection.execute("DELETE FROM legal_hold WHERE id = ?", (hold_id,))
    if not found.rowcount:
        raise unknown()


def unknown() -> NotFound:
    """The error for a hold that is not in force."""
    return NotFound(
        "no such legal hold is in force",
        reasons=("HOLD_UNKNOWN",),
        remedy="audit hold list, of the program that keeps this log",
    )


def _selection(octets: bytes) -> Selection:
    return Selection.from_wire(signing.parse_canonical(audit_pb2.LeafSelection, octets))


def _require_words(request: pb.HoldRequest) -> None:
    text = request.reference
    if not 0 < len(text.strip()) <= MAX_REFERENCE or not text.isprintable():
        raise InvalidInput(
            "a hold has a reference of 1 to 200 characters",
            reasons=("HOLD_REFERENCE",),
            remedy="--reference: the order or letter that it rests on",
        )
    _require_name(request.by)


def _require_name(name: str) -> None:
    slug = Shape.SLUG.value
    if slug is None or len(name) > 64 or not slug.match(name):
        raise InvalidInput(
            "a hold is put or ended by somebody",
            reasons=("HOLD_BY",),
            remedy="--by: your pseudonym, as in u-o01",
        )

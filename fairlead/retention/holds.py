"""Legal holds: leaves that are kept though their time is over, because somebody ordered so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fairlead import merkle
from fairlead.auditing.reading import Read, Row, damaged, newest_first
from fairlead.auditing.selection import Selection, queries_of
from fairlead.auditlog.erased import HOLD_BEGUN, HOLD_ENDED
from fairlead.auditlog.store import Connection
from fairlead.errors import FairleadError, InvalidInput, NotFound
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


def holds(read: Read, size: int) -> list[Hold]:
    """The holds in force among the first ``size`` leaves, the oldest first.

    The leaves say so: whoever deletes a row beside them takes away the reference and no hold.

    :raises Forged: LOG_CORRUPTED: a leaf or a reference cannot be read.
    """
    found: dict[bytes, Row] = {}
    ended: set[bytes] = set()
    selection = Selection(types=frozenset({audit_pb2.LEAF_TYPE_ERASURE}))
    for step in newest_first(read, selection, range(size)):
        for row in step:
            if row.leaf.subject == HOLD_ENDED:
                ended.add(row.leaf.erased_digest)
            elif row.leaf.subject == HOLD_BEGUN:
                found[merkle.leaf_hash(row.body)] = row
    rows = read("SELECT id, reference FROM legal_hold", ())
    references = {bytes(hold_id): str(reference) for hold_id, reference in rows}
    left = [item for item in reversed(found.items()) if item[0] not in ended]
    try:
        return [_hold(hold_id, row.leaf, references.get(hold_id, "")) for hold_id, row in left]
    except FairleadError:
        raise damaged() from None


def _hold(hold_id: bytes, leaf: audit_pb2.AuditLeaf, reference: str) -> Hold:
    return Hold(
        hold_id=hold_id,
        selection=Selection.from_wire(leaf.selection),
        leaf_class=LeafClass.parse(leaf.erased_class) if leaf.erased_class else None,
        reference=reference,
        time_ms=leaf.time_ms,
    )


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
    return leaf, [merkle.leaf_hash(leaf), request.reference]


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
    connection.execute("INSERT INTO legal_hold (id, reference) VALUES (?, ?)", tuple(row))


def drop(connection: Connection, hold_id: bytes) -> None:
    """Forget a hold's reference; call it inside ``also`` of the leaf that ends it."""
    connection.execute("DELETE FROM legal_hold WHERE id = ?", (hold_id,))


def unknown() -> NotFound:
    """The error for a hold that is not in force."""
    return NotFound(
        "no such legal hold is in force",
        reasons=("HOLD_UNKNOWN",),
        remedy="audit hold list, of the program that keeps this log",
    )


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

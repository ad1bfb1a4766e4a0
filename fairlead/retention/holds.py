"""Legal holds: leaves that are kept though their time is over, because somebody ordered so."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial

from fairlead import merkle, signing
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
NONCE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """One in force. ``hold_id`` is the hash of the leaf that began it."""

    hold_id: bytes
    selection: Selection
    leaf_class: LeafClass | None
    reference: str
    time_ms: int
    queries: Callable[[], frozenset[bytes]] = field(default=frozenset, repr=False, compare=False)
    """What every leaf that it selects is about, wherever in the log that stands."""

    def takes(
        self, leaf: audit_pb2.AuditLeaf, leaf_class: LeafClass, queries: frozenset[bytes]
    ) -> bool:
        """Whether it keeps a leaf of this class: of itself, or because it is of these queries."""
        if self.leaf_class not in {None, leaf_class}:
            return False
        return self.selection.takes(leaf) or not queries.isdisjoint(queries_of(leaf))


class Keeper:
    """Tells which leaves of one log are held, given in their order.

    A query is held as a whole: an answer's partner or an approver stands in leaves that come long
    after its INTENT, so what the holds select is looked for before the first leaf is judged.
    """

    def __init__(self, holds: Sequence[Hold]) -> None:
        self._holds = [(hold, hold.queries()) for hold in holds]
        self._queries: set[bytes] = set()

    def takes(self, leaf: audit_pb2.AuditLeaf, leaf_class: LeafClass) -> bool:
        """Whether the next leaf is held; with a query's leaf that names it, so are those that
        follow of the same query."""
        if not self._queries.isdisjoint(queries_of(leaf)):
            return True
        held = any(hold.takes(leaf, leaf_class, queries) for hold, queries in self._holds)
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
    references = {bytes(hold_id): str(kept) for hold_id, kept in rows}
    left = [item for item in reversed(found.items()) if item[0] not in ended]
    try:
        selections = {hold_id: Selection.from_wire(row.leaf.selection) for hold_id, row in left}
        queries = cache(partial(_queries, read, size, selections))
        return [
            Hold(
                hold_id=hold_id,
                selection=selections[hold_id],
                leaf_class=LeafClass.parse(row.leaf.erased_class)
                if row.leaf.erased_class
                else None,
                reference=_opened(references.get(hold_id, ""), row.leaf.commitment),
                time_ms=row.leaf.time_ms,
                queries=partial(_of, queries, hold_id),
            )
            for hold_id, row in left
        ]
    except FairleadError:
        raise damaged() from None


def _of(
    queries: Callable[[], Mapping[bytes, frozenset[bytes]]], hold_id: bytes
) -> frozenset[bytes]:
    return queries()[hold_id]


def _queries(
    read: Read, size: int, selections: Mapping[bytes, Selection]
) -> dict[bytes, frozenset[bytes]]:
    """For each selection the queries of every leaf that it takes; of one that takes all, none: its
    class alone says what it keeps."""
    found: dict[bytes, set[bytes]] = {hold_id: set() for hold_id in selections}
    narrow = [(found[h], one) for h, one in selections.items() if one != Selection()]
    for step in newest_first(read, Selection(), range(size if narrow else 0)):
        for row in step:
            if named := queries_of(row.leaf):
                for queries, selection in narrow:
                    if selection.takes(row.leaf):
                        queries.update(named)
    return {hold_id: frozenset(queries) for hold_id, queries in found.items()}


def _opened(kept: str, commitment: bytes) -> str:
    """The reference that a hold's leaf commits to, out of what is kept beside the leaf; nothing:
    that is gone, or somebody edited it."""
    nonce, _, reference = kept.partition(" ")
    try:
        said = signing.commit(bytes.fromhex(nonce), reference.encode())
    except ValueError:
        return ""
    return reference if hmac.compare_digest(said, commitment) else ""


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
    """The leaf of a hold that begins, and its row: the leaf's hash, and what opens its commitment.

    :raises InvalidInput: as :func:`require_hold`.
    """
    wire, nonce = require_hold(request).to_wire(), leaves.random(NONCE)
    leaf = leaves.hold(
        HOLD_BEGUN,
        user=request.by,
        selection=wire,
        leaf_class=request.leaf_class,
        commitment=signing.commit(nonce, request.reference.encode()),
    )
    return leaf, [merkle.leaf_hash(leaf), f"{nonce.hex()} {request.reference}"]


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

"""Verification of a whole log by somebody who holds only its public key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from fairlead import errors, merkle, receipts
from fairlead.auditlog.database_url import Place
from fairlead.auditlog.erased import Erased
from fairlead.auditlog.kept import Kept, require_kept
from fairlead.auditlog.leaves import parse_leaf, type_name
from fairlead.auditlog.places import snapshot
from fairlead.auditlog.store import Snapshot
from fairlead.v1 import audit_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReport:
    """What :func:`verify_log` found: a sound log and what it holds.

    ``leaves`` counts by type name (``"INTENT"``); ``open_queries`` are the ids of queries with an
    INTENT that nothing closed, in order: a crash leaves those, they are not errors. ``batches``
    counts the batches of decision records that are still kept, ``erased`` the leaves of which an
    ERASURE leaf left the hash alone; ``orders`` is whatever two people are said to have signed for
    that: the index of a leaf, the order's octets, and their names. Whether they did, is not looked
    at here: that needs to know who they were (:mod:`fairlead.retention`).
    """

    size: int
    root: bytes
    checkpoints: int
    leaves: Mapping[str, int]
    open_queries: tuple[bytes, ...]
    batches: int = 0
    erased: int = 0
    orders: tuple[tuple[int, bytes, tuple[str, ...]], ...] = ()


def verify_log(
    place: Place,
    *,
    origin: str,
    public_key: bytes,
    former: Sequence[bytes] = (),
    known: Sequence[receipts.Head] = (),
) -> LogReport:
    """Re-derive everything in a log, without its key and without writing to it.

    :param public_key: the log's Ed25519 key, 32 bytes, from the directory.
    :param former: keys that signed the log before its key was rotated.
    :param known: heads verified elsewhere (receipts, witnesses) that the log must extend. Only
        these betray an operator who rewrites history and signs it again.
    :raises Misconfigured: it cannot be opened.
    :raises Forged: the first fault, with its leaf index.
    :raises InvalidInput: a head of ``known`` is of another origin.
    :raises CheckpointFork: the log does not extend a head of ``known``.
    """
    with snapshot(place) as database:  # One moment, also beside a running writer.
        return _Verification(origin=origin, public_keys=(public_key, *former)).run(database, known)


def verify_unerased(place: Place, *, origin: str, public_key: bytes) -> LogReport:
    """Verify a log of which nothing is ever erased: an oversight's, a user authority's.

    :raises Misconfigured: it cannot be opened.
    :raises Forged: as :func:`verify_log`, or a leaf says that others were erased.
    """
    report = verify_log(place, origin=origin, public_key=public_key)
    if report.orders:
        raise _forged(f"at leaf {report.orders[0][0]}: of this log nothing is ever erased")
    return report


def claimed_origin(place: Place) -> str:
    """Whose log it says it is: the first line of its first checkpoint, not verified.

    Good for choosing which key to verify with, and for nothing else.

    :raises Misconfigured: it cannot be opened. :raises Forged: it has no checkpoint.
    """
    with snapshot(place) as database:
        row = database.execute("SELECT note FROM checkpoint ORDER BY size LIMIT 1").fetchone()
    if row is None:
        raise errors.Forged("the file holds no audit log", reasons=("LOG_CORRUPTED",))
    return str(row[0]).partition("\n")[0]


@dataclass(slots=True, kw_only=True)
class _Verification:
    """One pass over a log."""

    origin: str
    public_keys: tuple[bytes, ...]
    tree: merkle.Tree = field(default_factory=merkle.Tree)
    log: str = ""
    leaves: Counter[str] = field(default_factory=Counter)
    intents: set[bytes] = field(default_factory=set)
    unclosed: dict[bytes, None] = field(default_factory=dict)
    kept: Kept = field(default_factory=Kept)
    erased: Erased = field(init=False)

    def __post_init__(self) -> None:
        self.erased = Erased(self.origin)

    def run(self, database: Snapshot, known: Sequence[receipts.Head]) -> LogReport:
        checkpoints, denied = 0, {head.size for head in known}
        rows = iter(database.execute("SELECT idx, hash, body, detail FROM leaf ORDER BY idx"))
        last: receipts.Checkpoint | None = None
        for size, note in database.execute("SELECT size, note FROM checkpoint ORDER BY size"):
            # 1. The leaves up to this checkpoint: hash, form, order.
            self._leaves(rows, size)
            # 2. The checkpoint: signature, size, root.
            last = self._checkpoint(size, note)
            checkpoints += 1
            denied.discard(size)
        # 3. No leaf beyond the last checkpoint, and a checkpoint at all.
        if last is None or next(rows, None) is not None:
            self._fault("no checkpoint covers it")
        # 4. The heads others hold are heads of this log, and it still has its own copies.
        for head in known:
            if head.origin != self.origin:
                raise errors.InvalidInput(
                    "a head is of another log", reasons=("CHECKPOINT_ORIGIN",)
                )
            if head.size > self.tree.size or self.tree.root(head.size) != head.root:
                raise receipts.CheckpointFork(accepted=head.checkpoint, offered=note)
        if denied:
            raise _forged(f"before leaf {min(denied)}: a checkpoint somebody holds is missing")
        # 5. Every leaf without a body was erased by two people, on the record.
        index, fault = self.erased.compare()
        if fault:
            raise _forged(f"at leaf {index}: {fault}")
        # 6. Every batch of decision records is the one its leaf names, and none is missing.
        batches = require_kept(database, self.kept)
        return LogReport(
            size=last.size,
            root=last.root,
            checkpoints=checkpoints,
            leaves=dict(self.leaves),
            open_queries=tuple(self.unclosed),
            batches=batches,
            erased=self.erased.count,
            orders=tuple((at, octets, who) for octets, (at, who) in self.erased.orders.items()),
        )

    def _leaves(self, rows: Iterator[tuple[Any, ...]], size: int) -> None:
        while self.tree.size < size:
            index, leaf_hash, body, detail = next(rows, (None, None, None, None))
            if index != self.tree.size:
                self._fault("it is missing")
            if body == detail == b"":
                if fault := self.erased.gone(index, leaf_hash):
                    self._fault(fault)
                self.tree.append(leaf_hash)
                continue
            if not isinstance(detail, bytes):
                self._fault("its detail is none")
            if not isinstance(body, bytes) or merkle.leaf_hash(body) != leaf_hash:
                self._fault("its hash does not match its body")
            try:
                leaf = parse_leaf(body, detail)
            except errors.InvalidInput:
                self._fault("it is not a canonical leaf with its detail")
            self.log = self.log or leaf.log
            if leaf.log != self.log:
                self._fault("it names another log")
            self._order(leaf, detail)
            self.leaves[type_name(leaf)] += 1
            self.tree.append(leaf_hash)

    def _order(self, leaf: audit_pb2.AuditLeaf, detail: bytes) -> None:
        """INTENT before RELEASE and OUTCOME; times need not be monotonic."""
        strict = self.log.startswith("gateway/")
        if leaf.type == audit_pb2.LEAF_TYPE_INTENT:
            if strict and leaf.query_id in self.intents:
                self._fault("it is a second INTENT of one query")
            self.intents.add(leaf.query_id)
            self.unclosed[leaf.query_id] = None
        elif leaf.type == audit_pb2.LEAF_TYPE_RELEASE:
            queries = {answer.query_id for answer in leaf.released}
            queries |= {leaf.query_id} if leaf.query_id else set()
            self._begun(queries)
            if not strict:  # An owner's part of a query ends with its release.
                for query_id in queries:
                    self.unclosed.pop(query_id, None)
        elif leaf.type == audit_pb2.LEAF_TYPE_DECISION:
            if fault := self.kept.leaf(leaf, self.tree.size):
                self._fault(fault)
        elif leaf.type == audit_pb2.LEAF_TYPE_ERASURE:
            if fault := self.erased.leaf(leaf, self.tree.size, detail):
                self._fault(fault)
        elif leaf.type == audit_pb2.LEAF_TYPE_OUTCOME:
            self._begun({leaf.query_id})
            self.unclosed.pop(leaf.query_id, None)

    def _begun(self, query_ids: set[bytes]) -> None:
        """In a gateway's log each has its INTENT, or had one that was erased."""
        if not self.log.startswith("gateway/"):
            return
        if not query_ids:
            self._fault("it is a RELEASE of nothing")
        missing = query_ids - self.intents
        if missing and (fault := self.erased.orphan(missing, self.tree.size)):
            self._fault(fault)

    def _checkpoint(self, size: int, note: str) -> receipts.Checkpoint:
        if not isinstance(note, str):
            self._fault("the checkpoint before it is malformed")
        try:
            checkpoint = receipts.open_checkpoint_of(note, self.origin, self.public_keys)
        except (errors.InvalidInput, errors.Forged):
            self._fault("the checkpoint before it is not signed by this log")
        if (checkpoint.size, checkpoint.root) != (size, self.tree.root()):
            self._fault("the checkpoint before it has another size or root")
        return checkpoint

    def _fault(self, fault: str) -> NoReturn:
        raise _forged(f"at leaf {self.tree.size}: {fault}")


def _forged(fault: str) -> errors.Forged:
    return errors.Forged(
        f"audit log fault {fault}",
        reasons=("LOG_FORGED",),
        remedy="keep the file as evidence and compare it with the receipts of the partners",
    )

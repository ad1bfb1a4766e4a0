"""Batches of decision records beside the leaves: kept for a time, and bound for ever.

A leaf of type DECISION with the subject ``recorded`` names a batch by its number, which counts
from 1 without gaps, and by its SHA-256; the batch's row is written in the leaf's transaction. One
with the subject ``expired`` names the last batch whose row may be gone.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator

from fairlead import errors
from fairlead.auditlog.store import Snapshot
from fairlead.v1 import audit_pb2, decisions_pb2

RECORDED = "decisions-recorded"
EXPIRED = "decisions-expired"

SIZE = 32
"""Octets of a digest."""

MIGRATION = """
    CREATE TABLE decision_batch (
        number INTEGER PRIMARY KEY,
        digest BLOB NOT NULL,
        time_ms INTEGER NOT NULL,
        leaf INTEGER NOT NULL,
        key BLOB NOT NULL,
        body BLOB NOT NULL
    ) STRICT;
    CREATE INDEX decision_batch_time ON decision_batch (time_ms);
    CREATE TABLE decision_key (
        id BLOB PRIMARY KEY,
        time_ms INTEGER NOT NULL,
        sealed BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    """
"""``key`` is the id of the content key a batch is sealed under, empty for none. It and the time are
of the body, ``leaf`` is the index of the batch's leaf: columns are for looking, and verified. The
time of a key is a note that nothing rests on."""

KEYS_OF_BATCHES = "CREATE INDEX decision_batch_key ON decision_batch (key)"
"""Several gateways seal under keys of their own, in turns: which batch is the last one under a key
is looked up."""


class Kept:
    """What the leaves of one log say of its batches, gathered in their order, then compared."""

    def __init__(self) -> None:
        self._digests = bytearray()
        self._leaves = array("Q")
        self._expired = 0

    @property
    def _count(self) -> int:
        return len(self._digests) // SIZE

    def leaf(self, leaf: audit_pb2.AuditLeaf, index: int) -> str:
        """Take the DECISION leaf at ``index`` in; returns what is wrong with it, or nothing."""
        if leaf.subject == RECORDED:
            if leaf.decision_batch != self._count + 1 or len(leaf.detail_digest) != SIZE:
                return "its batch of decision records is not the next one"
            self._digests += leaf.detail_digest
            self._leaves.append(index)
        elif leaf.subject == EXPIRED:
            if not self._expired <= leaf.decision_batch < self._count:
                return "it lets decision records go that are not there"
            self._expired = leaf.decision_batch
        return ""

    def compare(self, database: Snapshot) -> tuple[int, str]:
        """How many batches are there, and what is wrong with one, or nothing.

        Those let go may be there still: a crash between their leaf and a backup's copy is none.
        """
        held = 0
        expected = iter(range(self._expired + 1, self._count + 1))
        keys: set[bytes] | None = None
        for number, digest, body, columns in _rows(database, self._count):
            if number > self._expired and next(expected, None) != number:
                return held, f"a batch of decision records before number {number} is missing"
            if not 1 <= number <= self._count:
                return held, f"the batch of decision records {number} has no leaf"
            named = bytes(self._digests[(number - 1) * SIZE : number * SIZE])
            if not (isinstance(body, bytes) and digest == named == hashlib.sha256(body).digest()):
                return held, f"the batch of decision records {number} was changed"
            batch = decisions_pb2.DecisionBatch.FromString(body)
            if columns != (batch.time_ms, batch.key, self._leaves[number - 1]):
                return held, f"time, key or leaf beside batch {number} was changed"
            keys = _keys(database) if keys is None else keys
            if batch.key and batch.key not in keys and number > self._expired:
                return held, f"the content key of the batch of decision records {number} is missing"
            held += 1
        missing = next(expected, None)
        return held, "" if missing is None else (
            f"the batch of decision records {missing} is missing"
        )


def _keys(database: Snapshot) -> set[bytes]:
    """Ids of the content keys that are what their id says."""
    rows = database.execute("SELECT id, sealed FROM decision_key")
    return {
        key
        for key, sealed in rows
        if isinstance(sealed, bytes) and hashlib.sha256(sealed).digest() == key
    }


def _rows(
    database: Snapshot, expected: int
) -> Iterator[tuple[int, bytes, bytes, tuple[int, bytes, int]]]:
    """Number, digest, body, and time, key and leaf of every row; a log from before there were any
    has no table."""
    if "decision_batch" in database.tables() or expected:
        for number, digest, body, *columns in database.execute(
            "SELECT number, digest, body, time_ms, key, leaf FROM decision_batch ORDER BY number"
        ):
            yield number, digest, body, tuple(columns)


def require_kept(database: Snapshot, batches: Kept) -> int:
    """How many batches are there.

    :raises Forged: DECISIONS_FORGED: one is missing, was changed, or has no leaf.
    """
    held, fault = batches.compare(database)
    if fault:
        raise forged(fault)
    return held


def forged(fault: str) -> errors.Forged:
    """Batches that are not those of the leaves."""
    return errors.Forged(
        fault,
        reasons=("DECISIONS_FORGED",),
        remedy="keep the file as evidence; a restored backup must hold every batch",
    )

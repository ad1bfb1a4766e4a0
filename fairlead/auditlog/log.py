"""The log as its process sees it: append, prove, read."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import errors, merkle, receipts, signing, storage
from fairlead.auditlog import kept
from fairlead.auditlog.heads import FOREIGN_HEAD, as_head
from fairlead.auditlog.leaves import parse_leaf
from fairlead.auditlog.writer import REMEDY, Also, Appended, Companion, Entry, Writer
from fairlead.v1 import audit_pb2

_MIGRATIONS = (
    """
    CREATE TABLE leaf (
        idx INTEGER PRIMARY KEY,
        hash BLOB NOT NULL,
        body BLOB NOT NULL,
        detail BLOB NOT NULL
    ) STRICT;
    CREATE TABLE checkpoint (
        size INTEGER PRIMARY KEY,
        note TEXT NOT NULL,
        time_ms INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE foreign_head (
        origin TEXT PRIMARY KEY,
        size INTEGER NOT NULL,
        root BLOB NOT NULL,
        note TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
    kept.MIGRATION,
)


RECENT_LEAVES = 1024
RECENT_OCTETS = 4 * 1024
"""Leaves of at most so many octets are kept in memory for their receipts, so many of them."""
PROVEN = 64
"""Receipts kept in memory."""

K = TypeVar("K")
V = TypeVar("V")


class AuditLog:
    """One process's own log. Make it with :meth:`open`; appends come from any event loop."""

    def __init__(
        self, *, origin: str, writer: Writer, tree: merkle.Tree, reader: storage.Database
    ) -> None:
        self._origin = origin
        self._writer = writer
        self._tree = tree
        self._recent: dict[int, bytes] = {}
        self._proven: dict[tuple[int, str, int], audit_pb2.Receipt] = {}
        self._reader = reader
        self._reading = threading.Lock()

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        origin: str,
        key: Ed25519PrivateKey,
        former: Sequence[bytes] = (),
        clock: Callable[[], float],
        migrations: Sequence[str] = (),
        on_failure: Callable[[], None] | None = None,
    ) -> AuditLog:
        """Open or create the log at ``path``, rebuild its tree and check its last checkpoint.

        :param origin: the log's name, first line of its checkpoints (c2sp.org/tlog-checkpoint).
        :param former: public keys that may have signed the last checkpoint before a rotation.
        :param clock: Unix seconds.
        :param migrations: tables of the caller in the same file, for ``also`` and :meth:`read`.
        :param on_failure: called once, on the writer thread, when the log fails.
        :raises Misconfigured: the file is in use, damaged or foreign (see storage).
        :raises LogUnavailable: ``LOG_CORRUPTED``: leaves and last checkpoint do not agree.
        """
        receipts.require_origin(origin)
        database = storage.open_database(path, _MIGRATIONS, scope="auditlog")
        reader: storage.Database | None = None
        try:
            storage.migrate(database, migrations, scope="application")
            reader = storage.open_readonly(path)
            tree = merkle.Tree()
            head = _restore(database, tree, origin, [signing.public_bytes(key), *former])
            writer = Writer(
                database=database,
                tree=tree,
                origin=origin,
                key=key,
                clock=clock,
                on_failure=on_failure,
            )
            writer.start(head)
        except BaseException as error:
            if reader is not None:
                reader.close()
            database.close()
            if isinstance(error, storage.DAMAGED):
                raise _corrupted() from error
            raise
        return cls(origin=origin, writer=writer, tree=tree, reader=reader)

    def rekey(self, key: Ed25519PrivateKey) -> None:
        """Sign every checkpoint from the next one on with another key."""
        self._writer.rekey(key)

    def accompany(self, companion: Companion) -> None:
        """Let ``companion`` put leaves of its own before those of each transaction: whatever it
        holds when an append is called is durable no later than that append's leaf."""
        self._writer.accompany(companion)

    def wake(self) -> None:
        """Commit what the companion holds, though nobody appends. From any thread."""
        self._writer.wake()

    @property
    def origin(self) -> str:
        """The log's name."""
        return self._origin

    @property
    def healthy(self) -> bool:
        """False once a write failed or the log was closed; it never turns true again."""
        return self._writer.healthy

    @property
    def head(self) -> receipts.Head:
        """The last durable head."""
        return self._writer.head

    def checkpoint(self) -> str:
        """The last durable checkpoint: a signed note."""
        return self._writer.head.checkpoint

    async def append(
        self, leaf: bytes, *, detail: bytes = b"", also: Also | None = None
    ) -> Appended:
        """Append a leaf; returns when it is durable.

        A cancelled caller gives up waiting, not the leaf.

        :param leaf: a canonical :class:`AuditLeaf`, at most 64 KiB.
        :param detail: stored beside the leaf; its SHA-256 must be ``leaf.detail_digest``.
        :param also: runs in the same transaction, before the leaf's row is written. Whatever it
            raises fails this append alone: neither the leaf nor its own changes remain.
        :raises InvalidInput: not a canonical leaf, no type, too large, or another detail.
        :raises LogUnavailable: the log failed or was closed; nothing may be answered.
        """
        parse_leaf(leaf, detail)
        appended = await self._written(leaf, detail, also)
        if len(leaf) <= RECENT_OCTETS:
            _keep(self._recent, appended.index, leaf, RECENT_LEAVES)
        return appended

    async def keep(self, also: Also) -> None:
        """Do work in this file that needs no leaf, in the order of appends; returns when it is
        durable. What it raises undoes it, and is raised here.

        :raises LogUnavailable: the log failed or was closed.
        """
        await self._written(b"", b"", also)

    async def _written(self, leaf: bytes, detail: bytes, also: Also | None) -> Appended:
        loop = asyncio.get_running_loop()
        entry = Entry(
            body=leaf,
            leaf_hash=merkle.leaf_hash(leaf),
            detail=detail,
            also=also,
            loop=loop,
            future=loop.create_future(),
        )
        self._writer.put(entry)
        return await entry.future

    def root(self, size: int) -> bytes:
        """The root of the first ``size`` leaves. :raises InvalidInput: no such size."""
        return self._tree.root(size)

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Proof that the first ``old`` leaves begin the first ``new`` ones; none from 0.

        :raises InvalidInput: no such sizes.
        """
        return self._tree.consistency(old, new) if old else []

    def receipt(
        self, index: int, consistency_from: int = 0, *, under: receipts.Head | None = None
    ) -> audit_pb2.Receipt:
        """Prove leaf ``index`` under the last durable checkpoint.

        :param consistency_from: size of the head the reader accepted last; 0 for none.
        :param under: a head of this log to prove it under instead, its note perhaps cosigned. A
            reader that has accepted more is proved that it is a beginning of that.
        :raises NotFound: no such durable leaf.
        :raises InvalidInput: ``HEAD_UNKNOWN``: the reader's head is ahead of this log, so either
            this log has lost its tail or the reader trusts another.
        """
        if not 0 <= consistency_from <= self._writer.head.size:
            raise errors.InvalidInput(
                "the reader's log head is ahead of this log", reasons=("HEAD_UNKNOWN",)
            )
        head = under or self._writer.head
        if not 0 <= index < head.size:
            raise errors.NotFound("the log has no such leaf", reasons=("LEAF_UNKNOWN",))
        key = (index, head.checkpoint, consistency_from)
        proven = self._proven.get(key)
        if proven is None:
            # A query's owners get the same leaf under the same head, and most of them know the
            # same earlier head: prove it once.
            proven = receipts.make_receipt(
                leaf=self._body(index),
                index=index,
                inclusion=self._tree.inclusion(index, head.size),
                checkpoint=head.checkpoint,
                consistency_from=consistency_from,
                consistency=self.consistency(*sorted((consistency_from, head.size))),
            )
            _keep(self._proven, key, proven, PROVEN)
        receipt = audit_pb2.Receipt()
        receipt.CopyFrom(proven)
        return receipt

    def frontier(self, size: int) -> list[bytes]:
        """The hashes that stand for the first ``size`` leaves (:class:`merkle.Frontier`).

        :raises InvalidInput: more than are durable.
        """
        return self._tree.frontier(size)

    def _body(self, index: int) -> bytes:
        """A durable leaf, from memory when it was appended lately."""
        body = self._recent.get(index)
        if body is None:
            ((body,),) = self.read("SELECT body FROM leaf WHERE idx = ?", (index,))
        return bytes(body)

    def read(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run one small query on what is durable, from any thread.

        :raises LogUnavailable: ``LOG_UNREADABLE``.
        """
        try:
            with self._reading:
                return self._reader.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise errors.LogUnavailable(
                "the audit log cannot be read", reasons=("LOG_UNREADABLE",), remedy=REMEDY
            ) from error

    def foreign_head(self, origin: str) -> receipts.Head | None:
        """The durable head accepted last of another log; None before first contact."""
        rows = self.read(FOREIGN_HEAD, (origin,))
        return as_head(origin, rows[0]) if rows else None

    def close(self) -> None:
        """Write what is queued, then release the file. Appends after this fail."""
        self._writer.drain()
        with self._reading:
            self._reader.close()
        self._writer.close()  # Last, because only the writer can fold the write-ahead log in.


def _keep(memory: dict[K, V], key: K, value: V, limit: int) -> None:
    """Remember ``value``, forgetting what was remembered first."""
    if len(memory) >= limit:
        memory.pop(next(iter(memory)), None)
    memory[key] = value


def _restore(
    database: storage.Database, tree: merkle.Tree, origin: str, keys: Sequence[bytes]
) -> receipts.Head | None:
    """Rebuild the tree and check it against the last checkpoint; None for a new log."""
    for index, leaf_hash in database.execute("SELECT idx, hash FROM leaf ORDER BY idx"):
        whole = isinstance(leaf_hash, bytes) and len(leaf_hash) == merkle.HASH_SIZE
        if index != tree.size or not whole:
            raise _corrupted()
        tree.append(leaf_hash)
    row = database.execute("SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1").fetchone()
    if row is None and tree.size == 0:
        return None
    note = str(row[0]) if row else ""
    try:
        last = receipts.open_checkpoint_of(note, origin, keys)
    except errors.FairleadError as error:
        raise _corrupted(error.code) from error
    if (last.size, last.root) != (tree.size, tree.root()):
        raise _corrupted()
    return receipts.Head(origin=origin, size=last.size, root=last.root, checkpoint=note)


def _corrupted(*more: str) -> errors.LogUnavailable:
    return errors.LogUnavailable(
        "the audit log does not match its last checkpoint",
        reasons=("LOG_CORRUPTED", *more),
        remedy="fairlead audit verify FILE",
    )

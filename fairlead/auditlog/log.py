"""The log as its process sees it: append, prove, read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import errors, merkle, receipts
from fairlead.auditlog.database_url import Place
from fairlead.auditlog.erased import was_erased
from fairlead.auditlog.heads import FOREIGN_HEAD, as_head
from fairlead.auditlog.leaves import parse_leaf
from fairlead.auditlog.places import open_store
from fairlead.auditlog.schema import MIGRATIONS
from fairlead.auditlog.store import Also, Companion, Store
from fairlead.auditlog.writer import PATIENCE_S, Appended, Entry, Follower, Writer
from fairlead.v1 import audit_pb2

RECENT_LEAVES = 1024
RECENT_OCTETS = 4 * 1024
"""Leaves of at most so many octets are kept in memory for their receipts, so many of them."""
PROVEN = 64
"""Receipts kept in memory."""
LATELY_S = 86_400
"""What others may erase meanwhile is in memory no longer than this, far from being old enough."""

K = TypeVar("K")
V = TypeVar("V")


class AuditLog:
    """One process's own log. Make it with :meth:`open`; appends come from any event loop."""

    def __init__(
        self,
        *,
        origin: str,
        writer: Writer,
        tree: merkle.Tree,
        store: Store,
        clock: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._origin = origin
        self._writer = writer
        self._tree = tree
        self._recent: dict[int, tuple[float, bytes]] = {}
        self._proven: dict[tuple[int, str, int], audit_pb2.Receipt] = {}
        self._store = store

    @classmethod
    def open(
        cls,
        place: Place,
        *,
        origin: str,
        key: Ed25519PrivateKey,
        former: Sequence[bytes] = (),
        clock: Callable[[], float],
        migrations: Sequence[str] = (),
        on_failure: Callable[[], None] | None = None,
        patience_s: float = PATIENCE_S,
    ) -> AuditLog:
        """Open or create the log at ``place``, rebuild its tree and check its last checkpoint.

        :param place: a file, which this process has alone; or a PostgreSQL database, where every
            process that opens it with the same origin and key appends to the same log.
        :param origin: the log's name, first line of its checkpoints (c2sp.org/tlog-checkpoint).
        :param former: public keys that may have signed the last checkpoint before a rotation.
        :param clock: Unix seconds.
        :param migrations: tables of the caller beside the log, for ``also`` and :meth:`read`.
        :param on_failure: called once, on the writer thread, when the log fails.
        :param patience_s: how long a database that went away is waited for.
        :raises Misconfigured: the file is in use, damaged or foreign (see storage), or the database
            cannot be used.
        :raises LogUnavailable: ``LOG_CORRUPTED``: leaves and last checkpoint do not agree.
        """
        receipts.require_origin(origin)
        store = open_store(place, MIGRATIONS, migrations)
        try:
            tree = merkle.Tree()
            writer = Writer(
                store=store,
                tree=tree,
                origin=origin,
                key=key,
                former=former,
                clock=clock,
                on_failure=on_failure,
                patience_s=patience_s,
            )
            writer.start()
        except BaseException as error:
            said = store.explain(error)
            store.close()
            if said is not None:
                raise said from error
            raise
        return cls(origin=origin, writer=writer, tree=tree, store=store, clock=clock)

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
            _keep(self._recent, appended.index, (self._clock(), leaf), RECENT_LEAVES)
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
        :raises NotFound: no such durable leaf; or ``LEAF_ERASED``.
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
        lasts = not self._store.shared or self._lately(index) is not None
        proven = self._proven.get(key) if lasts else None
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
            if lasts:
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
        body = self._lately(index)
        if body is None:
            ((body,),) = self.read("SELECT body FROM leaf WHERE idx = ?", (index,))
        if not body:
            raise was_erased()
        return bytes(body)

    def _lately(self, index: int) -> bytes | None:
        """A leaf that is in memory, and that no other process can have erased."""
        at, body = self._recent.get(index, (0.0, None))
        if body is not None and self._store.shared and abs(self._clock() - at) > LATELY_S:
            self.forget([index])
            return None
        return body

    def forget(self, indexes: Iterable[int]) -> None:
        """Leaves that were erased are not in memory either."""
        gone = set(indexes)
        self._recent = {i: kept for i, kept in self._recent.items() if i not in gone}
        self._proven = {key: made for key, made in self._proven.items() if key[0] not in gone}

    def scrub(self) -> bool:
        """Leave nothing of what was erased behind; see :meth:`Store.scrub`. It takes a moment, so
        call it in a thread.

        :raises LogUnavailable: ``LOG_UNREADABLE``.
        """
        return self._store.scrub()

    @property
    def shared(self) -> bool:
        """Whether other processes append to the same log."""
        return self._store.shared

    async def follow(self) -> None:
        """Return when :attr:`head` covers whatever is durable now, of whichever process.

        :raises LogUnavailable: the log failed or was closed.
        """
        if not self._store.shared:
            return
        loop = asyncio.get_running_loop()
        follower = Follower(loop=loop, future=loop.create_future())
        self._writer.put(follower)
        await follower.future

    def read(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run one small query on what is durable, from any thread.

        :raises LogUnavailable: ``LOG_UNREADABLE``.
        """
        return self._store.read(sql, parameters)

    def foreign_head(self, origin: str) -> receipts.Head | None:
        """The durable head accepted last of another log; None before first contact."""
        rows = self.read(FOREIGN_HEAD, (origin,))
        return as_head(origin, rows[0]) if rows else None

    def close(self) -> None:
        """Write what is queued, then release the store. Appends after this fail."""
        self._writer.drain()
        self._store.close()


def _keep(memory: dict[K, V], key: K, value: V, limit: int) -> None:
    """Remember ``value``, forgetting what was remembered first."""
    if len(memory) >= limit:
        memory.pop(next(iter(memory)), None)
    memory[key] = value

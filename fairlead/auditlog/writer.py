"""The one thread that writes a log: group commit, one signed checkpoint a batch."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import errors, merkle, receipts, signing
from fairlead.auditlog.catching import catch_up, take
from fairlead.auditlog.store import REMEDY, Also, Companion, Row, Store, corrupted

BATCH = 256
"""Appends in one transaction at most."""
WINDOW_S = 0.002
MAX_WINDOW_S = 0.008
"""A transaction waits for more appends, so many seconds for each that the last one held beside
its first, and so many at most, or until it is full: each transaction costs a signature, a
checkpoint and a flush, and under load appends queue anyway."""
PATIENCE_S = 10.0
"""Seconds within which a fault that may pass has to: appends wait meanwhile, then all fail."""
PAUSE_S, MAX_PAUSE_S = 0.02, 0.5
"""Between two attempts, the first time and at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """A durable leaf: its index, and its RFC 6962 leaf hash (32 bytes)."""

    index: int
    leaf_hash: bytes


@dataclass(slots=True, kw_only=True)
class Entry:
    """One append on its way: what to write, and who waits for it. Without a body it is work alone,
    durable like a leaf and on no record."""

    body: bytes
    leaf_hash: bytes
    detail: bytes
    also: Also | None
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Appended]
    result: Appended | Exception | None = None


NOTHING = Appended(index=-1, leaf_hash=b"")
"""What became of work without a leaf."""


@dataclass(slots=True, kw_only=True)
class Follower:
    """Somebody who waits until the head covers all that is durable now."""

    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[None]
    result: Exception | None = None


class _Wake:
    """Queued to begin a transaction though nobody appends: the companion has something."""


Waiting = Entry | Follower


class Writer:
    """Owns the writing half of the store and the growing tree; ``head`` is the last durable one."""

    def __init__(
        self,
        *,
        store: Store,
        tree: merkle.Tree,
        origin: str,
        key: Ed25519PrivateKey,
        former: Sequence[bytes],
        clock: Callable[[], float],
        on_failure: Callable[[], None] | None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._store = store
        self._tree = tree
        self._origin = origin
        self._key = key
        self._keys = [signing.public_bytes(key), *former]
        self._clock = clock
        self._on_failure = on_failure
        self._patience_s = patience_s
        self._failed = False
        self._closed = False
        self._window_s = 0.0
        self._companion: Companion | None = None
        self._contributed = False
        self._doubtful: receipts.Head | None = None
        self._gate = threading.Lock()
        self._full = threading.Event()
        self._queue: queue.SimpleQueue[Waiting | _Wake | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="auditlog", daemon=True)
        self.head = receipts.Head(origin=origin, size=0, root=merkle.EMPTY_ROOT, checkpoint="")

    @property
    def healthy(self) -> bool:
        """Whether an append can still succeed."""
        return not self._failed and not self._closed

    def start(self) -> None:
        """Begin at the last stored head; a new log first signs and stores an empty one.

        :raises LogUnavailable: ``LOG_CORRUPTED``.
        """
        take(self._store, self._tree)  # most of it, before anybody has to wait for us
        stored = self._store.begin()
        head = catch_up(self._store, self._tree, self._origin, self._keys)
        if stored is not None and stored != (self._tree.size, self._tree.root()):
            raise corrupted()
        if head is None:
            head = self._sign_head()
            self._store_checkpoint(head)
        self._store.commit()
        self.head = head
        self._thread.start()

    def rekey(self, key: Ed25519PrivateKey) -> None:
        """Sign every further head with another key."""
        self._keys = [signing.public_bytes(key), *self._keys]
        self._key = key

    def accompany(self, companion: Companion) -> None:
        """Ask ``companion`` at the beginning of every further transaction."""
        self._companion = companion

    def put(self, item: Waiting) -> None:
        """Queue an append, or a wish to follow. :raises LogUnavailable: it failed or was closed."""
        with self._gate:
            if not self.healthy:
                raise unavailable()
            self._queue.put(item)
            if self._queue.qsize() >= BATCH - 1:  # and the one that the writer holds already
                self._full.set()

    def wake(self) -> None:
        """Begin a transaction soon; a log that failed or was closed does not."""
        with self._gate:
            if self.healthy:
                self._queue.put(_Wake())

    def drain(self) -> None:
        """Write what is queued and stop the thread; further appends fail."""
        with self._gate:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    # ── The thread ───────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            self._write(batch)
            _wake(batch)
        self._write([])  # what the companion still has

    def _next_batch(self) -> list[Waiting] | None:
        """Wait for work; None once the log is closed and the queue drained."""
        first = self._queue.get()
        if first is None:
            return None
        batch: list[Waiting | _Wake] = [first]
        if self._window_s and self._queue.qsize() < BATCH - 1:
            self._full.wait(self._window_s)
        while len(batch) < BATCH:
            try:
                entry = self._queue.get_nowait()
            except queue.Empty:
                break
            if entry is None:  # Nothing can follow: the gate was shut before it was queued.
                self._queue.put(None)
                break
            batch.append(entry)
        self._full.clear()
        self._window_s = min(WINDOW_S * (len(batch) - 1), MAX_WINDOW_S)
        return [item for item in batch if not isinstance(item, _Wake)]

    def _write(self, batch: list[Waiting]) -> None:
        """Commit one batch, or fail for good."""
        if not self._failed:
            try:
                self._commit([item for item in batch if isinstance(item, Entry)])
            except BaseException:  # noqa: BLE001  whatever it was, the log is now in doubt
                self._fail()
        if self._failed:
            for item in batch:
                item.result = unavailable()

    def _commit(self, entries: list[Entry]) -> None:
        """Commit them once, also where a server goes away and comes back meanwhile."""
        pause, until = PAUSE_S, 0.0
        while True:
            try:
                if self._doubtful is None or not self._stands(self._doubtful):
                    self._undo(entries)
                    self._transact(entries)
            except Exception as error:
                if not self._store.passes(error):
                    raise
                until = until or time.monotonic() + self._patience_s
                if time.monotonic() >= until:
                    raise
            else:
                return
            time.sleep(pause)
            pause = min(2 * pause, MAX_PAUSE_S)
            self._reopen(until)

    def _reopen(self, until: float) -> None:
        pause = PAUSE_S
        while True:
            try:
                return self._store.reopen()
            except Exception as error:
                if not self._store.passes(error) or time.monotonic() >= until:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, MAX_PAUSE_S)

    def _transact(self, entries: list[Entry]) -> None:
        # 1. One transaction, on top of what others have appended; what an entry wants besides its
        #    leaf in a savepoint of its own.
        self._follow(self._store.begin())
        rows = self._accompanied()
        written = [entry for entry in entries if self._accept(entry)]
        rows += [self._row(entry) for entry in written if entry.body]
        if not rows:
            if written:
                self._store.commit()  # lost in doubt, it is done again: work without a leaf may be
            else:
                self._store.rollback()
            return
        self._store.insert(rows)
        # 2. One signed checkpoint over all of them.
        head = self._sign_head()
        self._store_checkpoint(head)
        # 3. Durable, and only then visible.
        self._doubtful = head
        self._store.commit()
        self._settle(head)

    def _follow(self, stored: tuple[int, bytes] | None) -> None:
        """Take over what others have appended. Nobody takes leaves away: a shorter log, or another
        one, is an old copy that went on, and to go on from it would be a fork."""
        if stored is None or stored == (self.head.size, self.head.root):
            return
        head = None
        if stored[0] > self.head.size:
            head = catch_up(self._store, self._tree, self._origin, self._keys)
        if head is None or (head.size, head.root) != stored:
            raise corrupted("LOG_BEHIND")
        self.head = head

    def _stands(self, doubtful: receipts.Head) -> bool:
        """Whether the transaction whose end nobody heard of is durable.

        The head is locked first: a server that still works on it is waited for. A checkpoint is of
        one history alone, and no two gateways write the same leaf (each is of a query, a case or a
        moment of its own), so the very same one stands there, or what it covers does not.
        """
        self._store.begin()
        stands = self._store.note(doubtful.size) == doubtful.checkpoint
        self._store.rollback()
        if stands:
            self._settle(doubtful)
        self._doubtful = None
        return stands

    def _settle(self, head: receipts.Head) -> None:
        self.head, self._doubtful = head, None
        if self._companion is not None and self._contributed:
            self._contributed = False
            self._companion.settle(True)

    def _undo(self, entries: list[Entry]) -> None:
        """Begin again from what is durable; nothing to do the first time."""
        if self._tree.size > self.head.size:
            self._tree.cut(self.head.size)
        for entry in entries:
            entry.result = None
        if self._companion is not None and self._contributed:
            self._contributed = False
            self._companion.settle(False)

    def _accompanied(self) -> list[Row]:
        """The companion's leaves, in the tree and with their own work done; returns their rows."""
        if self._companion is None:
            return []
        rows = []
        self._contributed = True
        for body, beside in self._companion.contribute(self._store.connection):
            leaf_hash = merkle.leaf_hash(body)
            index = self._tree.append(leaf_hash)
            beside(self._store.connection, index)
            rows.append((index, leaf_hash, body, b""))
        return rows

    def _accept(self, entry: Entry) -> bool:
        """Do an entry's ``also``; False if it refused, and then nothing of it remains."""
        if entry.also is None:
            return True
        error = self._store.attempt(entry.also)
        # A future cannot carry StopIteration.
        entry.result = RuntimeError() if isinstance(error, StopIteration) else error
        if error is None and not entry.body:
            entry.result = NOTHING
        return error is None

    def _row(self, entry: Entry) -> Row:
        """Append an accepted entry to the tree; returns its row."""
        index = self._tree.append(entry.leaf_hash)
        entry.result = Appended(index=index, leaf_hash=entry.leaf_hash)
        return index, entry.leaf_hash, entry.body, entry.detail

    def _sign_head(self) -> receipts.Head:
        size, root = self._tree.size, self._tree.root()
        note = receipts.sign_checkpoint(
            receipts.Checkpoint(origin=self._origin, size=size, root=root), self._key
        )
        return receipts.Head(origin=self._origin, size=size, root=root, checkpoint=note)

    def _store_checkpoint(self, head: receipts.Head) -> None:
        self._store.checkpoint(head, int(self._clock() * 1000))

    def _fail(self) -> None:
        with self._gate:
            self._failed = True
        self._store.rollback()
        if self._on_failure is not None:
            with contextlib.suppress(Exception):
                self._on_failure()


def unavailable() -> errors.LogUnavailable:
    """The error for everybody who needs a log that stopped."""
    return errors.LogUnavailable("the audit log cannot be written", remedy=REMEDY)


def _wake(batch: list[Waiting]) -> None:
    """Hand the results to the waiting callers: one call per event loop."""
    for loop in {item.loop for item in batch}:
        mine = [item for item in batch if item.loop is loop]
        with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits there.
            loop.call_soon_threadsafe(_resolve, mine)


def _resolve(items: list[Waiting]) -> None:
    for item in items:
        if item.future.done():  # The caller was cancelled.
            continue
        if isinstance(item, Follower) and item.result is None:
            item.future.set_result(None)
        elif isinstance(item, Entry) and isinstance(item.result, Appended):
            item.future.set_result(item.result)
        else:
            item.future.set_exception(
                item.result if isinstance(item.result, Exception) else unavailable()
            )

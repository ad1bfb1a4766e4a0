"""The one thread that writes a log: group commit, one signed checkpoint a batch."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import errors, merkle, receipts, storage

BATCH = 256
"""Appends in one transaction at most."""
WINDOW_S = 0.002
MAX_WINDOW_S = 0.008
"""A transaction waits for more appends, so many seconds for each that the last one held beside
its first, and so many at most, or until it is full: each transaction costs a signature, a
checkpoint and a flush, and under load appends queue anyway."""

REMEDY = "check the disk and the file's mode, then restart; fairlead audit verify FILE"

Also = Callable[[sqlite3.Connection], None]
"""Work done in the transaction of a leaf. It runs on the writer thread and must not commit."""

Beside = Callable[[sqlite3.Connection, int], None]
"""The same for a companion's leaf, whose index it is told."""
Companion = Callable[[], Sequence[tuple[bytes, Beside]]]
"""Leaves that go into the next transaction before all others, each with its own work. Called on the
writer thread. Unlike an entry's, a failure of that work fails the log: nothing that rests on what
could not be written may stand."""

_ENTRY_ERRORS = frozenset(
    {
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_MISUSE,
        sqlite3.SQLITE_RANGE,
        sqlite3.SQLITE_TOOBIG,
    }
)
"""SQLite's primary result codes that blame a statement; all others blame the file."""


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


class _Wake:
    """Queued to begin a transaction though nobody appends: the companion has something."""


class Writer:
    """Owns the writing connection and the growing tree; ``head`` is the last durable one."""

    def __init__(
        self,
        *,
        database: storage.Database,
        tree: merkle.Tree,
        origin: str,
        key: Ed25519PrivateKey,
        clock: Callable[[], float],
        on_failure: Callable[[], None] | None,
    ) -> None:
        self._database = database
        self._tree = tree
        self._origin = origin
        self._key = key
        self._clock = clock
        self._on_failure = on_failure
        self._failed = False
        self._closed = False
        self._window_s = 0.0
        self._companion: Companion | None = None
        self._gate = threading.Lock()
        self._full = threading.Event()
        self._queue: queue.SimpleQueue[Entry | _Wake | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="auditlog", daemon=True)
        self.head = receipts.Head(origin=origin, size=0, root=merkle.EMPTY_ROOT, checkpoint="")

    @property
    def healthy(self) -> bool:
        """Whether an append can still succeed."""
        return not self._failed and not self._closed

    def start(self, head: receipts.Head | None) -> None:
        """Begin at the last stored head; a new log first signs and stores an empty one."""
        if head is None:
            head = self._sign_head()
            self._store_checkpoint(head)
        self.head = head
        self._thread.start()

    def rekey(self, key: Ed25519PrivateKey) -> None:
        """Sign every further head with another key."""
        self._key = key

    def accompany(self, companion: Companion) -> None:
        """Ask ``companion`` at the beginning of every further transaction."""
        self._companion = companion

    def put(self, entry: Entry) -> None:
        """Queue an append. :raises LogUnavailable: the log failed or was closed."""
        with self._gate:
            if not self.healthy:
                raise unavailable()
            self._queue.put(entry)
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

    def close(self) -> None:
        """Drain, then release the file."""
        self.drain()
        self._database.close()

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            self._write(batch)
            _wake(batch)
        self._write([])  # what the companion still has

    def _next_batch(self) -> list[Entry] | None:
        """Wait for work; None once the log is closed and the queue drained."""
        first = self._queue.get()
        if first is None:
            return None
        batch: list[Entry | _Wake] = [first]
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
        return [entry for entry in batch if isinstance(entry, Entry)]

    def _write(self, batch: list[Entry]) -> None:
        """Commit one batch, or fail for good."""
        if not self._failed:
            try:
                self._transact(batch)
            except BaseException:  # noqa: BLE001  whatever it was, the file is now in doubt
                self._fail()
        if self._failed:
            for entry in batch:
                entry.result = unavailable()

    def _transact(self, batch: list[Entry]) -> None:
        # 1. One transaction; what an entry wants besides its leaf in a savepoint of its own.
        self._database.execute("BEGIN IMMEDIATE")
        rows = self._accompanied()
        written = [entry for entry in batch if self._accept(entry)]
        rows += [self._row(entry) for entry in written if entry.body]
        if not rows:
            self._database.execute("COMMIT" if written else "ROLLBACK")
            return
        self._database.executemany(
            "INSERT INTO leaf (idx, hash, body, detail) VALUES (?, ?, ?, ?)", rows
        )
        # 2. One signed checkpoint over all of them.
        head = self._sign_head()
        self._store_checkpoint(head)
        # 3. Durable, and only then visible.
        self._database.execute("COMMIT")
        self.head = head

    def _accompanied(self) -> list[tuple[int, bytes, bytes, bytes]]:
        """The companion's leaves, in the tree and with their own work done; returns their rows."""
        rows = []
        for body, beside in self._companion() if self._companion is not None else ():
            leaf_hash = merkle.leaf_hash(body)
            index = self._tree.append(leaf_hash)
            beside(self._database, index)
            rows.append((index, leaf_hash, body, b""))
        return rows

    def _accept(self, entry: Entry) -> bool:
        """Do an entry's ``also``; False if it refused, and then nothing of it remains."""
        if entry.also is None:
            return True
        self._database.execute("SAVEPOINT entry")
        try:
            entry.also(self._database)
        except Exception as error:
            if _blames_the_file(error):
                raise
            # A future cannot carry StopIteration.
            entry.result = RuntimeError() if isinstance(error, StopIteration) else error
            self._database.execute("ROLLBACK TO entry")
        self._database.execute("RELEASE entry")
        if entry.result is None and not entry.body:
            entry.result = NOTHING
            return True
        return entry.result is None

    def _row(self, entry: Entry) -> tuple[int, bytes, bytes, bytes]:
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
        self._database.execute(
            "INSERT INTO checkpoint (size, note, time_ms) VALUES (?, ?, ?)",
            (head.size, head.checkpoint, int(self._clock() * 1000)),
        )

    def _fail(self) -> None:
        with self._gate:
            self._failed = True
        with contextlib.suppress(sqlite3.Error):
            self._database.execute("ROLLBACK")
        if self._on_failure is not None:
            with contextlib.suppress(Exception):
                self._on_failure()


def unavailable() -> errors.LogUnavailable:
    """The error for everybody who needs a log that stopped."""
    return errors.LogUnavailable("the audit log cannot be written", remedy=REMEDY)


def _wake(batch: list[Entry]) -> None:
    """Hand the results to the waiting callers: one call per event loop."""
    for loop in {entry.loop for entry in batch}:
        mine = [entry for entry in batch if entry.loop is loop]
        with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits there.
            loop.call_soon_threadsafe(_resolve, mine)


def _resolve(entries: list[Entry]) -> None:
    for entry in entries:
        if entry.future.done():  # The caller was cancelled.
            continue
        if isinstance(entry.result, Appended):
            entry.future.set_result(entry.result)
        else:
            entry.future.set_exception(entry.result or unavailable())


def _blames_the_file(error: Exception) -> bool:
    if not isinstance(error, sqlite3.Error):
        return False
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF not in _ENTRY_ERRORS

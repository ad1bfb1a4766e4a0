"""A log in one SQLite file: one process, one file lock, and any fault of the file is final."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fairlead import errors, receipts, storage
from fairlead.auditlog.store import Also, Row, corrupted, unreadable

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
_WAITING = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
SCRUB_S = 0.5
"""Seconds that a scrub waits for readers at most: whoever appends waits with it."""


class SqliteStore:
    """See :class:`~fairlead.auditlog.store.Store`."""

    shared = False

    def __init__(self, path: Path, database: storage.Database, reader: storage.Database) -> None:
        self._path = path
        self._database = database
        self._reader = reader
        self._reading = threading.Lock()

    @classmethod
    def open(cls, path: Path, migrations: Sequence[str], application: Sequence[str]) -> SqliteStore:
        """Open or create the file.

        :param application: migrations of the caller's own tables.
        :raises Misconfigured: the file is in use, damaged or foreign (see storage).
        """
        database = storage.open_database(path, migrations, scope="auditlog")
        try:
            database.execute("PRAGMA secure_delete=ON")  # what is erased becomes zeros
            storage.migrate(database, application, scope="application")
            return cls(path, database, storage.open_readonly(path))
        except storage.DAMAGED as error:
            database.close()
            raise corrupted() from error
        except BaseException:
            database.close()
            raise

    @property
    def connection(self) -> sqlite3.Connection:
        """The transaction that is open."""
        return self._database

    def begin(self) -> tuple[int, bytes] | None:
        """Begin a transaction; the file lock keeps everybody else out."""
        self._database.execute("BEGIN IMMEDIATE")
        return None

    def attempt(self, work: Also) -> Exception | None:
        """Do an entry's work in a savepoint of its own."""
        self._database.execute("SAVEPOINT entry")
        failed: Exception | None = None
        try:
            work(self._database)
        except Exception as error:
            if _blames_the_file(error):
                raise
            failed = error
            self._database.execute("ROLLBACK TO entry")
        self._database.execute("RELEASE entry")
        return failed

    def insert(self, rows: Sequence[Row]) -> None:
        """Put leaves into the transaction."""
        self._database.executemany(
            "INSERT INTO leaf (idx, hash, body, detail) VALUES (?, ?, ?, ?)", rows
        )

    def checkpoint(self, head: receipts.Head, time_ms: int) -> None:
        """Put a checkpoint into the transaction."""
        self._database.execute(
            "INSERT INTO checkpoint (size, note, time_ms) VALUES (?, ?, ?)",
            (head.size, head.checkpoint, time_ms),
        )

    def commit(self) -> None:
        """End the transaction."""
        self._database.execute("COMMIT")

    def rollback(self) -> None:
        """Leave the transaction, if one is open."""
        with contextlib.suppress(sqlite3.Error):
            self._database.execute("ROLLBACK")

    def leaves(self, start: int) -> Iterator[tuple[int, bytes]]:
        """Index and hash of the leaves from ``start`` on."""
        found = "SELECT idx, hash FROM leaf WHERE idx >= ? ORDER BY idx"
        return iter(self._database.execute(found, (start,)))

    def note(self, size: int | None = None) -> str | None:
        """The checkpoint of a size, or the last one."""
        where = "" if size is None else "WHERE size = ? "
        row = self._database.execute(
            f"SELECT note FROM checkpoint {where}ORDER BY size DESC LIMIT 1",  # noqa: S608  fixed
            () if size is None else (size,),
        ).fetchone()
        return None if row is None else row[0]

    def passes(self, error: BaseException) -> bool:  # noqa: ARG002  none does
        """No fault does: nobody knows what of the last write has reached the disk."""
        return False

    def reopen(self) -> None:
        """Never asked for: no fault passes."""
        raise unreadable()

    def explain(self, error: BaseException) -> errors.FairleadError | None:
        """A file that opened and cannot be read is damaged."""
        return corrupted() if isinstance(error, storage.DAMAGED) else None

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one small query on what is durable, from any thread."""
        try:
            with self._reading:
                return self._reader.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise unreadable() from error

    def scrub(self) -> bool:
        """Fold the write-ahead log into the file, whose freed places are zeros, and cut it."""
        try:
            with contextlib.closing(
                sqlite3.connect(self._path, timeout=SCRUB_S, isolation_level=None)
            ) as database:
                (busy, *_) = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _WAITING:
                return False
            raise unreadable() from error
        return not busy

    def close_reading(self) -> None:
        """Further reads fail."""
        with self._reading:
            self._reader.close()

    def close(self) -> None:
        """Release the file; last, because only the writer can fold the write-ahead log in."""
        self.close_reading()
        self._database.close()


def _blames_the_file(error: Exception) -> bool:
    if not isinstance(error, sqlite3.Error):
        return False
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF not in _ENTRY_ERRORS


class SqliteSnapshot:
    """A log's file at one moment."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> sqlite3.Cursor:
        """Run one query."""
        return self._database.execute(sql, parameters)

    def tables(self) -> set[str]:
        """Names of the tables that are there."""
        return {name for (name,) in self.execute("SELECT name FROM sqlite_master")}


@contextmanager
def snapshot(path: Path) -> Iterator[SqliteSnapshot]:
    """Read a log's file, also beside its writer, without writing to it.

    :raises Misconfigured: it cannot be opened.
    :raises Forged: LOG_CORRUPTED: what is in it cannot be read as a log.
    """
    database = storage.open_readonly(path)
    try:
        database.execute("BEGIN")
        yield SqliteSnapshot(database)
    except storage.DAMAGED as error:
        raise errors.Forged("the log cannot be read", reasons=("LOG_CORRUPTED",)) from error
    finally:
        database.close()

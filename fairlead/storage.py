"""SQLite files: one process each, durable, numbered migrations.

``synchronous=FULL`` on a write-ahead log: NORMAL lost acknowledged records in power cuts. A file
lock keeps a second process out, because two writers of one audit log would fork it. Files are
readable by their owner alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fairlead import errors

_LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migration (
    scope TEXT NOT NULL,
    number INTEGER NOT NULL,
    digest BLOB NOT NULL,
    PRIMARY KEY (scope, number)
) STRICT
"""

DAMAGED = (sqlite3.Error, UnicodeError)
"""What reading a damaged file raises: the latter where SQLite's message quotes what was text."""


class Database(sqlite3.Connection):
    """A connection that lets go of its file lock when it is closed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lock: int | None = None

    def hold(self, lock: int) -> None:
        """Keep the file descriptor of the lock for as long as the connection is open."""
        self._lock = lock

    def close(self) -> None:
        """Close the connection, then release the lock."""
        super().close()
        if self._lock is not None:
            lock, self._lock = self._lock, None
            with suppress(OSError):  # The lock is let go whatever close says.
                os.close(lock)


def open_database(
    path: Path, migrations: Sequence[str], *, exclusive: bool = True, scope: str = "main"
) -> Database:
    """Open a database file for writing, create it if need be, and bring its schema up to date.

    The connection is in autocommit mode (write ``BEGIN`` yourself) and may pass between threads
    as long as one uses it at a time.

    :param migrations: SQL scripts, in order, only ever appended to; each runs in a transaction.
    :param exclusive: hold ``path`` + ``.lock`` until the connection is closed.
    :param scope: whose migrations these are, when several modules share one file.
    :raises Misconfigured: ``DATABASE_IN_USE``, ``DATABASE_UNUSABLE`` (unreadable, unwritable or
        damaged), ``DATABASE_FOREIGN``, ``DATABASE_NEWER`` or ``DATABASE_CHANGED``.
    """
    lock = _lock_file(path) if exclusive else None
    database: Database | None = None
    try:
        _create(path)
        database = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, factory=Database
        )
        _configure(database)
        migrate(database, migrations, scope=scope)
    except BaseException as error:
        if database is not None:
            database.close()
        if lock is not None:
            os.close(lock)
        if isinstance(error, (*DAMAGED, OSError)):
            raise unusable() from error
        raise
    if lock is not None:
        database.hold(lock)
    return database


def open_readonly(path: Path) -> Database:
    """Open an existing database file without ever writing to it.

    Works beside a running writer, and on a copy kept on a read-only medium.

    :raises Misconfigured: ``DATABASE_UNUSABLE``.
    """
    uri = path.absolute().as_uri() + "?mode=ro"
    try:
        return _readable(uri)
    except DAMAGED as error:
        if Path(f"{path}-wal").exists():
            raise unusable() from error
    try:  # No write-ahead log and no way to make one: the file stands still.
        return _readable(uri + "&immutable=1")
    except DAMAGED as error:
        raise unusable() from error


def migrate(connection: sqlite3.Connection, migrations: Sequence[str], *, scope: str) -> None:
    """Apply the migrations of ``scope`` that the database has not seen, in order.

    :raises Misconfigured: ``DATABASE_NEWER`` or ``DATABASE_CHANGED``.
    """
    applied = connection.execute(
        "SELECT digest FROM schema_migration WHERE scope = ? ORDER BY number", (scope,)
    ).fetchall()
    digests = [hashlib.sha256(script.encode()).digest() for script in migrations]
    if len(applied) > len(digests):
        raise errors.Misconfigured(
            "the database was written by a newer version",
            reasons=("DATABASE_NEWER",),
            remedy="install the version that wrote it",
        )
    if [row[0] for row in applied] != digests[: len(applied)]:
        raise errors.Misconfigured(
            "the database has another schema history",
            reasons=("DATABASE_CHANGED",),
            remedy="install the version that wrote it",
        )
    for number in range(len(applied), len(digests)):
        _apply(connection, migrations[number], (scope, number, digests[number]))


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """One immediate transaction of an autocommit connection; whatever is raised inside, or by the
    commit, undoes it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def unusable() -> errors.Misconfigured:
    """The error for a file that SQLite cannot read or write."""
    return errors.Misconfigured(
        "the database cannot be opened",
        reasons=("DATABASE_UNUSABLE",),
        remedy="check the file's owner, its mode and the free space, or restore a backup",
    )


def _apply(connection: sqlite3.Connection, script: str, record: tuple[str, int, bytes]) -> None:
    with transaction(connection):
        for statement in _statements(script):
            connection.execute(statement)
        connection.execute("INSERT INTO schema_migration VALUES (?, ?, ?)", record)


def _statements(script: str) -> list[str]:
    """Split a script, because ``executescript`` would commit behind our back."""
    statements, current = [], ""
    for piece in script.split(";"):
        current += piece + ";"
        if sqlite3.complete_statement(current):
            statements.append(current)
            current = ""
    return [statement for statement in [*statements, current] if statement.strip(" \n\t;")]


def _configure(database: Database) -> None:
    (mode,) = database.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise unusable()
    database.execute("PRAGMA synchronous=FULL")
    database.execute("PRAGMA foreign_keys=ON")
    names = {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
    if names and "schema_migration" not in names:
        raise errors.Misconfigured(
            "the database was not made by this program",
            reasons=("DATABASE_FOREIGN",),
            remedy="name another file",
        )
    database.execute(_LEDGER)


def _readable(uri: str) -> Database:
    database = sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, factory=Database
    )
    try:
        database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except DAMAGED:
        database.close()
        raise
    return database


def _create(path: Path) -> None:
    """Create the file for its owner alone; SQLite gives its companions the same mode."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _lock_file(path: Path) -> int:
    try:
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise unusable() from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise errors.Misconfigured(
            "the database is already in use",
            reasons=("DATABASE_IN_USE",),
            remedy="stop the other process that serves this file",
        ) from error
    return lock

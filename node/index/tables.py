"""The index's file: its tables, and the one connection that may write to them."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import struct
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from fairlead.errors import Misconfigured
from node.index.codec import NONCE_SIZE, TOKEN_SIZE, Codec
from node.index.description import Description, other_version

PAGE_OCTETS = 8192
CACHE_KIB = 64 * 1024
_SCHEMA = """
CREATE TABLE state (name BLOB PRIMARY KEY, sealed BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE record (
    part INTEGER NOT NULL, key BLOB NOT NULL, expires BLOB NOT NULL, tokens BLOB NOT NULL,
    sealed BLOB NOT NULL, PRIMARY KEY (part, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE entry (
    token BLOB NOT NULL, part INTEGER NOT NULL, key BLOB NOT NULL, moment BLOB NOT NULL,
    PRIMARY KEY (token, part, key)
) STRICT, WITHOUT ROWID;
"""
_PART = struct.Struct(">Q")


class RecordRow(NamedTuple):
    """A row of ``record``: where it stands, its masked expiry, its tokens, its sealed content."""

    part: int
    key: bytes
    expires: bytes
    tokens: bytes
    sealed: bytes


EntryRow = tuple[bytes, int, bytes, bytes]
"""A row of ``entry``: token, part, key, masked time."""


def record_octets(part: int, key: bytes, expires: bytes, tokens: bytes) -> bytes:
    """A record as an element of the multiset. Its content is bound by its key and its seal."""
    return _PART.pack(part) + key + expires + tokens


def entry_octets(row: EntryRow) -> bytes:
    """An entry as an element of the multiset."""
    return row[0] + _PART.pack(row[1]) + row[2] + row[3]


@dataclass(slots=True)
class Transaction:
    """What a transaction says of the index: a new ``fresh_at``, None when it stays."""

    fresh_at: float | None = None


class Tables:
    """The file as its only writer holds it. Every transaction leaves the description right."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        lock: int,
        codec: Codec,
        clock: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> None:
        self.connection = connection
        self.codec = codec
        self.clock = clock
        self.random = random
        self._lock = lock
        self.description = Description.empty()

    @classmethod
    def open(
        cls,
        path: Path,
        codec: Codec,
        *,
        clock: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> Tables:
        """Open for writing, and create what is missing.

        :raises Misconfigured: ``INDEX_IN_USE``, ``INDEX_UNWRITABLE``.
        :raises SourceUnusable: ``INDEX_CHANGED``, ``NORM_VERSION``.
        """
        lock = _lock(path)
        connection: sqlite3.Connection | None = None
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            tables = cls(connection, lock, codec, clock, random)
            tables._prepare()
        except BaseException as error:
            if connection is not None:
                connection.close()
            os.close(lock)
            if isinstance(error, sqlite3.Error | OSError):
                raise unwritable() from None
            raise
        return tables

    def _prepare(self) -> None:
        self.connection.execute(f"PRAGMA page_size = {PAGE_OCTETS}")
        self.connection.execute("PRAGMA journal_mode = WAL")
        # Commits are durable; the log is folded into the file by the writer alone, below.
        self.connection.execute("PRAGMA synchronous = FULL")
        self.connection.execute("PRAGMA wal_autocheckpoint = 0")
        self.connection.execute("PRAGMA secure_delete = FAST")
        self.connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        names = {row[0] for row in self.connection.execute("SELECT name FROM sqlite_master")}
        if not names:
            self.connection.executescript(f"BEGIN;{_SCHEMA}")
            self.description.write(self.connection, self.codec, self.random(NONCE_SIZE))
            self.connection.execute("COMMIT")
        elif not {"state", "record", "entry"} <= names:
            raise other_version()
        self.description = Description.read(self.connection, self.codec)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """What is done inside becomes visible at once, or not at all."""
        before = self.description
        kinds = (before.records.copy(), before.entries.copy(), before.states.copy())
        self.connection.execute("BEGIN IMMEDIATE")
        transaction = Transaction()
        try:
            yield transaction
            fresh_at = transaction.fresh_at
            self.description = replace(
                self.description,
                generation=max(before.generation + 1, int(self.clock() * 1000)),
                fresh_at=before.fresh_at if fresh_at is None else fresh_at,
            )
            self.description.write(self.connection, self.codec, self.random(NONCE_SIZE))
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            self.description = replace(before, records=kinds[0], entries=kinds[1], states=kinds[2])
            raise
        # Never waits for a reader, and no reader ever waits for it.
        self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    # ── Records and entries ──────────────────────────────────────────────────────────────────

    def insert_records(self, rows: Collection[RecordRow]) -> None:
        """Add rows that are not there yet, best in the order of (part, key)."""
        self.connection.executemany(
            "INSERT INTO record VALUES (?, ?, ?, ?, ?)",
            ((r.part, r.key, r.expires, r.tokens, r.sealed) for r in rows),
        )
        self.description.records.add(
            self.codec, (record_octets(r.part, r.key, r.expires, r.tokens) for r in rows)
        )

    def insert_entries(self, rows: Sequence[EntryRow]) -> None:
        """Add rows that are not there yet, best in their order."""
        self.connection.executemany("INSERT INTO entry VALUES (?, ?, ?, ?)", rows)
        self.description.entries.add(self.codec, map(entry_octets, rows))

    def delete_record(self, part: int, key: bytes) -> None:
        """Take a record and every entry that leads to it out, if it is there."""
        for expires, tokens in self.connection.execute(
            "DELETE FROM record WHERE part = ? AND key = ? RETURNING expires, tokens", (part, key)
        ).fetchall():
            gone = [record_octets(part, key, expires, tokens)]
            self.description.records.remove(self.codec, gone)
            for place in range(0, len(tokens), TOKEN_SIZE):
                token = tokens[place : place + TOKEN_SIZE]
                moments = self.connection.execute(
                    "DELETE FROM entry WHERE token = ? AND part = ? AND key = ? RETURNING moment",
                    (token, part, key),
                ).fetchall()
                self.description.entries.remove(
                    self.codec, (entry_octets((token, part, key, moment)) for (moment,) in moments)
                )

    # ── Documents of the index's own ─────────────────────────────────────────────────────────

    def document(self, name: str) -> dict[str, Any] | None:
        """A sealed document, None when there is none.

        :raises SourceUnusable: ``INDEX_CHANGED``.
        """
        return read_document(self.connection, self.codec, name)

    def put_document(self, name: str, document: object | None) -> None:
        """Replace a document; None takes it away."""
        hashed = self.codec.state_name(name)
        for (old,) in self.connection.execute(
            "DELETE FROM state WHERE name = ? RETURNING sealed", (hashed,)
        ).fetchall():
            self.description.states.remove(self.codec, [hashed + old])
        if document is not None:
            sealed = self.codec.seal(
                hashed,
                orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS),
                self.random(NONCE_SIZE),
            )
            self.connection.execute("INSERT INTO state VALUES (?, ?)", (hashed, sealed))
            self.description.states.add(self.codec, [hashed + sealed])

    def fold(self) -> None:
        """Make everything durable in the file itself, and empty the log if no reader minds."""
        self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Close the file, then let go of the lock."""
        self.connection.close()
        os.close(self._lock)


def read_document(connection: sqlite3.Connection, codec: Codec, name: str) -> dict[str, Any] | None:
    """A sealed document of the file, None when there is none.

    :raises SourceUnusable: ``INDEX_CHANGED``.
    """
    hashed = codec.state_name(name)
    row = connection.execute("SELECT sealed FROM state WHERE name = ?", (hashed,)).fetchone()
    found: dict[str, Any] | None = orjson.loads(codec.open(hashed, row[0])) if row else None
    return found


def unwritable() -> Misconfigured:
    """The file, or the one beside it, cannot be written."""
    return Misconfigured(
        "the index cannot be written",
        reasons=("INDEX_UNWRITABLE",),
        remedy="check free space (df -h) and the permissions of the state folder (ls -ld)",
    )


def _lock(path: Path) -> int:
    try:
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        raise unwritable() from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise Misconfigured(
            "another process is refreshing the index",
            reasons=("INDEX_IN_USE",),
            remedy="wait until it is done, then run the command again",
        ) from None
    return lock

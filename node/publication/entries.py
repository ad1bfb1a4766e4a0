"""The entries of an epoch as they are computed: a file beside the index, kept until the epoch ends.

A row is a token's entry in one target, and a print of the payload it was made of. What is there
under the same print need not be computed again: so an interrupted build goes on, and a later one
computes only what has changed. Rows come and go with the transaction that computed them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Self

from fairlead.entries import TAG_SIZE
from fairlead.errors import Misconfigured
from node.publication.evaluating import Work

CACHE_KIB = 16 * 1024
ROWS = 5_000
_LAST = b"\xff" * 17
"""After every token."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS target (id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE) STRICT;
CREATE TABLE IF NOT EXISTS entry (
    target INTEGER NOT NULL, token BLOB NOT NULL, print BLOB NOT NULL, tag BLOB NOT NULL,
    sealed BLOB NOT NULL, PRIMARY KEY (target, token)
) STRICT, WITHOUT ROWID;
"""


class EntryFile:
    """The file at ``path``; a context manager.

    :raises Misconfigured: ``PUBLISH_UNWRITABLE``; any method.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.touch(mode=0o600)
            self._connection = sqlite3.connect(path, isolation_level=None)
            self._connection.executescript(
                f"PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; "
                f"PRAGMA cache_size = -{CACHE_KIB}; PRAGMA temp_store = FILE; {_SCHEMA}"
            )
        except (sqlite3.Error, OSError):
            raise unwritable() from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def open(self, names: Sequence[bytes]) -> tuple[int, ...]:
        """Numbers of these targets; any other one's rows go."""
        with self._transaction():
            known = dict(self._read("SELECT name, id FROM target"))
            for name in known.keys() - set(names):
                self._write("DELETE FROM entry WHERE target = ?", (known[name],))
                self._write("DELETE FROM target WHERE id = ?", (known[name],))
            for name in names:
                self._write("INSERT OR IGNORE INTO target (name) VALUES (?)", (name,))
            numbers = dict(self._read("SELECT name, id FROM target"))
        return tuple(numbers[name] for name in names)

    def prints(self, target: int, after: bytes, last: bytes) -> dict[bytes, bytes]:
        """Token → print of the rows after one token and up to another."""
        statement = "SELECT token, print FROM entry WHERE target = ? AND token > ? AND token <= ?"
        return dict(self._read(statement, (target, after, last)))

    def drop(self, target: int, tokens: Iterable[bytes]) -> None:
        """Delete the rows of these tokens."""
        with self._transaction():
            for token in tokens:
                self._write("DELETE FROM entry WHERE target = ? AND token = ?", (target, token))

    def drop_after(self, target: int, token: bytes) -> None:
        """Delete every row behind a token: the index has no term there."""
        statement = "DELETE FROM entry WHERE target = ? AND token > ? AND token < ?"
        self._write(statement, (target, token, _LAST))

    def keep(self, target: int, work: Work, entries: Sequence[bytes]) -> None:
        """Put computed entries in, in one transaction."""
        with self._transaction():
            for token, mark, entry in zip(work.tokens, work.prints, entries, strict=True):
                self._write(
                    "INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?, ?)",
                    (target, token, mark, entry[:TAG_SIZE], entry[TAG_SIZE:]),
                )

    def count(self, target: int) -> int:
        """How many entries a target has."""
        ((count,),) = self._read("SELECT count(*) FROM entry WHERE target = ?", (target,))
        return int(count)

    def sorted(self, target: int) -> Iterator[bytes]:
        """Its entries in the order of their tags; SQLite sorts them outside memory."""
        statement = "SELECT tag, sealed FROM entry WHERE target = ? ORDER BY tag"
        try:
            cursor = self._connection.execute(statement, (target,))
            for batch in iter(partial(cursor.fetchmany, ROWS), []):
                yield from (tag + sealed for tag, sealed in batch)
        except sqlite3.Error:
            raise unwritable() from None

    def _transaction(self) -> _Transaction:
        return _Transaction(self._connection)

    def _read(self, statement: str, values: Sequence[object] = ()) -> list[tuple]:  # type: ignore[type-arg]
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error:
            raise unwritable() from None

    def _write(self, statement: str, values: Sequence[object]) -> None:
        try:
            self._connection.execute(statement, values)
        except sqlite3.Error:
            raise unwritable() from None


class _Transaction:
    """BEGIN, then COMMIT or ROLLBACK."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._end("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        self._end("COMMIT" if kind is None else "ROLLBACK")

    def _end(self, statement: str) -> None:
        try:
            self._connection.execute(statement)
        except sqlite3.Error:
            raise unwritable() from None


def unwritable() -> Misconfigured:
    return Misconfigured(
        "the entries of a blind index cannot be written",
        reasons=("PUBLISH_UNWRITABLE",),
        remedy="make room under state_dir (df -h); if that does not help, remove the folder "
        "blind/epoch-* in it and publish again",
    )

"""The ledger: what a log's leaves record, by query, digest and partner.

It is derived from the log and holds nothing of its own: it is rebuilt whenever it does not fit the
log, and no backup holds it. It serves both ends: to list one's own entries, and to look up the
other's.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from fairlead import storage
from fairlead.auditlog import AuditLog
from fairlead.errors import Misconfigured
from fairlead.reconciling.facts import (
    ACCEPTED,
    ASKED,
    PUBLISHED,
    RELAYED,
    RELEASED,
    RESUMED,
    Fact,
    facts,
    resumed,
)
from fairlead.reconciling.statement import Entry
from fairlead.v1 import audit_pb2

FILE = "reconciling.sqlite"
AT_ONCE = 1_000
"""Leaves read at a time."""
_MIGRATIONS = (
    """
    CREATE TABLE entry (
        leaf INTEGER NOT NULL,
        place INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        partner TEXT NOT NULL,
        query_id BLOB NOT NULL,
        digest BLOB NOT NULL,
        time_ms INTEGER NOT NULL,
        PRIMARY KEY (leaf, place)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX entry_query ON entry (query_id, kind);
    CREATE INDEX entry_digest ON entry (digest, kind);
    CREATE INDEX entry_partner ON entry (partner, leaf);
    CREATE TABLE progress (next INTEGER NOT NULL, hash BLOB NOT NULL) STRICT
    """,
)
_INSERT = "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?)"
_COLUMNS = "kind, leaf, time_ms, query_id, partner, digest"
OTHER_FILE = frozenset({"DATABASE_UNUSABLE", "DATABASE_NEWER", "DATABASE_CHANGED"})
"""Why a ledger's file is thrown away and made anew; one in use is not."""


class Ledger:
    """The ledger of one log. Its methods may be called from any thread, one at a time."""

    def __init__(self, path: Path, log: AuditLog) -> None:
        """:raises Misconfigured: another process has it open, or no file can be made there."""
        self._log = log
        self._one = threading.Lock()
        self._closed = False
        try:
            self._database = storage.open_database(path, _MIGRATIONS)
        except Misconfigured as error:
            if error.code not in OTHER_FILE:
                raise
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            self._database = storage.open_database(path, _MIGRATIONS)

    def close(self) -> None:
        """Release the file."""
        with self._one:
            self._closed = True
            self._database.close()

    def catch_up(self) -> int:
        """Take in what was logged since; returns the size of the log up to which all is known.

        :raises LogUnavailable: the log cannot be read. :raises Misconfigured: DATABASE_UNUSABLE:
            the ledger's own file cannot be written, or was closed.
        """
        while True:
            with self._using():  # others may look something up in between, or close it
                at = self._begin()
                rows = self._log.read(
                    "SELECT idx, hash, body FROM leaf WHERE idx >= ? ORDER BY idx LIMIT ?",
                    (at, AT_ONCE),
                )
                if not rows:
                    return at
                self._take(rows)

    @contextmanager
    def _using(self) -> Iterator[None]:
        with self._one:
            if self._closed:
                raise storage.unusable()
            try:
                yield
            except sqlite3.Error:
                raise storage.unusable() from None

    def _begin(self) -> int:
        """Where to go on; from the start when the ledger is of another history."""
        row = self._database.execute("SELECT next, hash FROM progress").fetchone()
        if row is None:
            return 0
        known = self._log.read("SELECT hash FROM leaf WHERE idx = ?", (row[0] - 1,))
        if known and bytes(known[0][0]) == row[1]:
            return int(row[0])
        with storage.transaction(self._database):
            self._database.execute("DELETE FROM entry")
            self._database.execute("DELETE FROM progress")
        return 0

    def _take(self, rows: Sequence[tuple[Any, ...]]) -> None:
        fresh = [
            (index, place, *found, time_ms)
            for index, leaf_hash, body in rows
            for time_ms, kept in [_read(bytes(body), bytes(leaf_hash))]
            for place, found in enumerate(kept)
        ]
        last, last_hash, _ = rows[-1]
        with storage.transaction(self._database):
            self._database.executemany(_INSERT, fresh)
            self._database.execute("DELETE FROM progress")
            self._database.execute(
                "INSERT INTO progress VALUES (?, ?)", (last + 1, bytes(last_hash))
            )

    # ── List ─────────────────────────────────────────────────────────────────────────────────

    def of_node(self, partner_id: str, *, first: int, size: int, limit: int) -> Page:
        """What a node lists of its own leaves before ``size``: all but its own questions and
        answers, which its gateway lists."""
        others = f"kind NOT IN ({ASKED}, {PUBLISHED}, {RESUMED})"
        where = f"{others} AND NOT (kind = {RELEASED} AND partner = ?)"
        return self._page(where, partner_id, first=first, size=size, limit=limit)

    def of_partner(self, partner_id: str, *, first: int, size: int, limit: int) -> Page:
        """What a gateway lists for a partner: its questions, its answers, its manifests."""
        where = f"kind IN ({ASKED}, {RELEASED}, {ACCEPTED}) AND partner = ?"
        return self._page(where, partner_id, first=first, size=size, limit=limit)

    def _page(self, where: str, partner_id: str, *, first: int, size: int, limit: int) -> Page:
        """Entries of whole leaves, ``limit`` of them at most, and the leaf to go on from."""
        with self._using():
            rows = self._database.execute(
                f"SELECT {_COLUMNS} FROM entry WHERE {where} AND leaf >= ? AND leaf < ? "  # noqa: S608
                "ORDER BY leaf, place LIMIT ?",
                (partner_id, first, size, limit + 1),
            ).fetchall()
        if len(rows) <= limit:
            return tuple(map(_entry, rows)), max(first, size), False
        end = int(rows[-1][1])
        return tuple(_entry(row) for row in rows if row[1] < end), end, True

    # ── Look up ──────────────────────────────────────────────────────────────────────────────

    def find(self, entry: Entry) -> tuple[int, bool]:
        """This log's leaf of another's entry.

        :returns: its index plus one, or 0; and then whether another one is there in its place.
        """
        found = self._alike(entry)
        for leaf, fact in found:
            if _agrees(entry, fact):
                return leaf + 1, False
        return 0, any(f.kind == entry.kind for _, f in found)

    def concerns(self, partner_id: str, entry: Entry) -> bool:
        """Whether a partner may be told what this log holds of an entry: not of the answers to a
        question of another's, nor of the readers of another's manifest."""
        if entry.kind == RELEASED:
            whose = self._whose("query_id", entry.query_id, ASKED)
        elif entry.kind == RELAYED:
            whose = self._whose("digest", entry.digest, ACCEPTED)
        else:
            return True
        return not whose or partner_id in whose

    def _whose(self, column: str, value: bytes, kind: int) -> set[str]:
        with self._using():
            rows = self._database.execute(
                f"SELECT DISTINCT partner FROM entry WHERE {column} = ? AND kind = ?",  # noqa: S608
                (value, kind),
            ).fetchall()
        return {str(row[0]) for row in rows}

    def resumed(self, former: str) -> int:
        """The first leaf by which a log was taken up that follows one that ended with this
        checkpoint; 0 where there is none, or none ended."""
        if not former:
            return 0
        fact = resumed(former)
        with self._using():
            rows = self._database.execute(
                "SELECT min(leaf) FROM entry WHERE digest = ? AND kind = ?",
                (fact.digest, fact.kind),
            ).fetchall()
        return int(rows[0][0] or 0)

    def _alike(self, entry: Entry) -> list[tuple[int, Fact]]:
        """Whatever this log holds under the entry's query and partner, or under its digest."""
        if entry.query_id:
            where, values = "query_id = ? AND kind = ?", (entry.query_id, entry.kind)
        else:
            where, values = "digest = ? AND kind IN (?, ?)", (entry.digest, entry.kind, PUBLISHED)  # type: ignore[assignment]
        with self._using():
            rows = self._database.execute(
                f"SELECT leaf, kind, partner, query_id, digest FROM entry WHERE {where}",  # noqa: S608
                values,
            ).fetchall()
        found = [(int(row[0]), Fact(*row[1:])) for row in rows]
        if entry.kind != RELEASED:
            return found
        return [item for item in found if item[1].partner_id == entry.partner_id]


Page = tuple[tuple[Entry, ...], int, bool]
"""Entries; the leaf to go on from; whether there are more."""


def _agrees(entry: Entry, fact: Fact) -> bool:
    """Whether a fact of this log is the entry. An owner's manifest counts from its signature on:
    the receipt that makes it announced may still be on its way."""
    kinds: Collection[int] = {entry.kind}
    if entry.kind == ACCEPTED:
        kinds = {ACCEPTED, PUBLISHED}
    return fact.kind in kinds and fact[1:] == (entry.partner_id, entry.query_id, entry.digest)


def _read(body: bytes, leaf_hash: bytes) -> tuple[int, list[Fact]]:
    """Time and facts of a leaf; one whose body was erased has none."""
    try:
        leaf = audit_pb2.AuditLeaf.FromString(body)
    except DecodeError:
        return 0, []
    kept = [f for f in facts(leaf, leaf_hash) if len(f.digest) == 32 and len(f.query_id) in {0, 16}]
    return leaf.time_ms, kept


def _entry(row: sqlite3.Row | tuple[Any, ...]) -> Entry:
    kind, leaf, time_ms, query_id, partner_id, digest = row
    return Entry(
        kind=kind,
        leaf=leaf,
        time_ms=time_ms,
        query_id=query_id,
        partner_id=partner_id,
        digest=digest,
    )

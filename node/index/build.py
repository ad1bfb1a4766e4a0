"""The index's file: its tables, its description, its root, and how it is written."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from fairlead.errors import SourceUnusable
from fairlead.identifiers import NORM_VERSION
from node.index.codec import NONCE_SIZE, Codec, index_changed
from node.index.record import write_record
from node.sources.record import SourceRecord

EPOCH_S = 7 * 86_400
FORMAT = 2
BATCH = 2_000

Progress = Callable[[int, float], None]
"""Called with the records written so far and the records per second."""

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE record (ref BLOB PRIMARY KEY, sealed BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE entry (
    token BLOB NOT NULL, place INTEGER NOT NULL, ref BLOB NOT NULL, PRIMARY KEY (token, place)
) STRICT, WITHOUT ROWID;
CREATE TEMP TABLE stage (
    token BLOB NOT NULL, ref BLOB NOT NULL, occurred_at INTEGER NOT NULL, PRIMARY KEY (token, ref)
) STRICT, WITHOUT ROWID;
"""
_PLACES = """
INSERT INTO entry SELECT
    token, row_number() OVER (PARTITION BY token ORDER BY occurred_at DESC, ref) - 1, ref
FROM stage;
"""
"""Newest first for each token. When anything happened stays in the sealed record: the times
that order the rows live in a temporary table, in memory, and go with the build."""
_PRAGMAS = ("journal_mode = OFF", "synchronous = OFF", "cache_size = -65536", "temp_store = MEMORY")
_LAYOUT = struct.Struct(">QQQdQQ32s")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """A finished build: how many records and (token, record) entries, in how many seconds."""

    records: int
    entries: int
    seconds: float
    root: bytes

    @property
    def per_second(self) -> float:
        """Records a second; 0 when the clock did not move."""
        return self.records / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What an index says of itself, under this node's key."""

    epoch: int
    built_at: float
    records: int
    entries: int
    root: bytes

    def _octets(self) -> bytes:
        return _LAYOUT.pack(
            FORMAT,
            NORM_VERSION,
            self.epoch,
            self.built_at,
            self.records,
            self.entries,
            self.root,
        )

    def write(self, connection: sqlite3.Connection, codec: Codec) -> None:
        """Put it into the file."""
        octets = self._octets()
        rows = [("description", octets), ("mac", codec.mac(octets))]
        connection.executemany("INSERT INTO meta VALUES (?, ?)", rows)

    @classmethod
    def verify(cls, connection: sqlite3.Connection, codec: Codec) -> Description:
        """Read it, and verify the content against it.

        1. It bears this node's key.
        2. Its format and its canonical forms are those of this program.
        3. The content has the root it was built with.

        :raises SourceUnusable: ``INDEX_CHANGED``, ``NORM_VERSION``.
        """
        rows = dict(connection.execute("SELECT name, value FROM meta"))
        octets = rows.get("description", b"")
        # 1
        if rows.get("mac") != codec.mac(octets) or len(octets) != _LAYOUT.size:
            raise index_changed()
        layout, norm_version, epoch, built_at, records, entries, root = _LAYOUT.unpack(octets)
        # 2
        if (layout, norm_version) != (FORMAT, NORM_VERSION):
            raise SourceUnusable(
                "the index was built by another version of this program",
                reasons=("NORM_VERSION",),
                remedy="build it anew: fairlead-node index --config FILE",
            )
        # 3
        if content_root(connection, epoch) != root:
            raise index_changed()
        return cls(epoch=epoch, built_at=built_at, records=records, entries=entries, root=root)


def content_root(connection: sqlite3.Connection, epoch: int) -> bytes:
    """32 octets: SHA-256 over the epoch, every (token, place, ref) in order, and every
    (ref, SHA-256 of the sealed record) in order.

    :raises SourceUnusable: ``INDEX_CHANGED``, the tables hold something else.
    """
    chain = hashlib.sha256(b"fairlead/v1/index-root\0" + struct.pack(">Q", epoch))
    try:
        for token, place, ref in connection.execute(
            "SELECT token, place, ref FROM entry ORDER BY token, place"
        ):
            chain.update(token + struct.pack(">Q", place) + ref)
        chain.update(b"\0records\0")
        for ref, sealed in connection.execute("SELECT ref, sealed FROM record ORDER BY ref"):
            chain.update(ref + hashlib.sha256(sealed).digest())
    except (TypeError, struct.error):
        raise index_changed() from None
    return chain.digest()


def create_file(path: Path) -> None:
    """An empty file for this user alone, in the place of an unfinished one."""
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def replace_file(unfinished: Path, path: Path) -> None:
    """Make the finished file durable, then let it take its place in one step."""
    _sync(unfinished, os.O_RDWR)
    unfinished.replace(path)
    _sync(path.parent, os.O_RDONLY)


def write_index(
    connection: sqlite3.Connection,
    records: Iterable[SourceRecord],
    *,
    codec: Codec,
    clock: Callable[[], float],
    progress: Progress,
    random: Callable[[int], bytes],
) -> BuildReport:
    """Fill an empty database in one transaction."""
    started = clock()
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    connection.executescript(_SCHEMA)
    connection.execute("BEGIN")
    written = 0
    for batch in _batches(records, BATCH):
        _write_batch(connection, batch, codec, random)
        written += len(batch)
        elapsed = clock() - started
        progress(written, written / elapsed if elapsed > 0 else 0.0)
    connection.execute(_PLACES)
    (records_held,) = connection.execute("SELECT count(*) FROM record").fetchone()
    (entries,) = connection.execute("SELECT count(*) FROM entry").fetchone()
    epoch = int(started // EPOCH_S)
    description = Description(
        epoch=epoch,
        built_at=started,
        records=records_held,
        entries=entries,
        root=content_root(connection, epoch),
    )
    description.write(connection, codec)
    connection.execute("COMMIT")
    return BuildReport(
        records=records_held, entries=entries, seconds=clock() - started, root=description.root
    )


def _write_batch(
    connection: sqlite3.Connection,
    batch: list[SourceRecord],
    codec: Codec,
    random: Callable[[int], bytes],
) -> None:
    sealed: list[tuple[bytes, bytes]] = []
    entries: list[tuple[bytes, bytes, int]] = []
    for record in batch:
        content = write_record(record)
        ref = codec.ref(record.origin, content)
        sealed.append((ref, codec.seal(ref, content, random(NONCE_SIZE))))
        tokens = {codec.token(i.scheme, i.value) for i in record.identifiers}
        entries += [(token, ref, record.occurred_at) for token in tokens]
    connection.executemany("INSERT OR IGNORE INTO record VALUES (?, ?)", sealed)
    connection.executemany("INSERT OR IGNORE INTO stage VALUES (?, ?, ?)", sorted(entries))


def _batches(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

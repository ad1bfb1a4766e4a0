"""The file beside the index in which a reading of one source waits until it is complete.

Rows are sorted into 256 buckets by the first octet of their key (entries: of their token) while
they are read, so that they later enter the tables in order, a bucket at a time, whatever their
number. Each commit is durable and names the mark at which the reading goes on after a crash.
Chunks are sealed: who edits the file is noticed.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from pydantic import TypeAdapter

from node.index.codec import KEY_SIZE, MOMENT_SIZE, NONCE_SIZE, TOKEN_SIZE, Codec, index_changed
from node.index.source_state import PartState
from node.index.tables import PAGE_OCTETS, EntryRow, RecordRow

FLUSH_ROWS = 20_000
"""Rows kept in memory before they are written."""
_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE chunk (
    number INTEGER PRIMARY KEY, kind TEXT NOT NULL, bucket INTEGER NOT NULL, sealed BLOB NOT NULL
) STRICT;
CREATE INDEX chunk_place ON chunk (kind, bucket, number);
"""
RECORDS, ENTRIES = "records", "entries"
_RECORD = struct.Struct(f">I{KEY_SIZE}s{MOMENT_SIZE}sHI")
_ENTRY = struct.Struct(f">{TOKEN_SIZE}sI{KEY_SIZE}s{MOMENT_SIZE}s")


@dataclass(slots=True, kw_only=True)
class PartReading:
    """How far the reading of one part is.

    ``state`` is what the part will be afterwards, but for ``records``: those it had before.
    ``staged`` counts the records read.
    """

    name: str
    whole: bool
    state: PartState
    complete: bool = False
    vanished: bool = False
    staged: int = 0


@dataclass(slots=True, kw_only=True)
class Reading:
    """A reading of one source: since when, the parts to read in order, and those that are gone."""

    number: str
    source: str
    mapping: str
    began: float
    parts: list[PartReading] = field(default_factory=list)
    chunks: int = 0


_READING: TypeAdapter[Reading] = TypeAdapter(Reading)


class Stage:
    """The open file. Nobody but the holder of the index's lock opens it."""

    def __init__(
        self, connection: sqlite3.Connection, path: Path, codec: Codec, reading: Reading,
        random: Callable[[int], bytes],
    ) -> None:  # fmt: skip
        self.reading = reading
        self._connection = connection
        self._path = path
        self._codec = codec
        self._random = random
        self._records: defaultdict[int, bytearray] = defaultdict(bytearray)
        self._entries: defaultdict[int, bytearray] = defaultdict(bytearray)
        self._waiting = self._uncommitted = 0

    @classmethod
    def begin(
        cls, path: Path, codec: Codec, reading: Reading, *, random: Callable[[int], bytes]
    ) -> Stage:
        """A new file in the place of any that is there.

        :raises sqlite3.Error, OSError: it cannot be written.
        """
        discard(path)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        stage = cls(_connect(path), path, codec, reading, random)
        stage._connection.executescript(_SCHEMA)
        stage._connection.execute("BEGIN")
        stage.commit()
        return stage

    @classmethod
    def resume(cls, path: Path, codec: Codec, *, random: Callable[[int], bytes]) -> Stage | None:
        """What an earlier process left, None when that is nothing or of no use."""
        if not path.exists():
            return None
        connection = _connect(path)
        try:
            row = connection.execute("SELECT value FROM meta WHERE name = 'reading'").fetchone()
            reading = _READING.validate_python(
                orjson.loads(codec.open(codec.state_name("reading"), row[0]))
            )
            (chunks,) = connection.execute("SELECT count(*) FROM chunk").fetchone()
            if chunks != reading.chunks:
                raise index_changed()
        except Exception:  # noqa: BLE001  whatever is wrong with it: the source is read again
            connection.close()
            discard(path)
            return None
        connection.execute("BEGIN")
        return cls(connection, path, codec, reading, random)

    def add(self, row: RecordRow, entries: list[EntryRow]) -> None:
        """Keep a record; one without content stands for a row that the tables hold already."""
        part, key, tokens, sealed = row.part, row.key, row.tokens, row.sealed
        buffer = self._records[key[0]]
        buffer += _RECORD.pack(part, key, row.expires, len(tokens), len(sealed))
        buffer += tokens
        buffer += sealed
        for entry in entries:
            self._entries[entry[0][0]] += _ENTRY.pack(*entry)
        self._waiting += 1
        if self._waiting >= FLUSH_ROWS:
            self._flush()

    @property
    def due(self) -> bool:
        """Whether enough was written since the last commit to commit at the next mark."""
        return self._uncommitted + self._waiting >= FLUSH_ROWS

    def commit(self) -> None:
        """Make the reading as it is now durable."""
        self._flush()
        octets = orjson.dumps(_READING.dump_python(self.reading))
        name = self._codec.state_name("reading")
        sealed = self._codec.seal(name, octets, self._random(NONCE_SIZE))
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('reading', ?)", (sealed,))
        self._connection.execute("COMMIT")
        self._connection.execute("BEGIN")
        self._uncommitted = 0

    def buckets(self, kind: str) -> list[int]:
        """The buckets that hold anything, in order."""
        rows = self._connection.execute(
            "SELECT DISTINCT bucket FROM chunk WHERE kind = ? ORDER BY bucket", (kind,)
        )
        return [bucket for (bucket,) in rows]

    def records(self, bucket: int) -> Iterator[RecordRow]:
        """The records of a bucket, in the order in which they were read."""
        for octets in self._chunks(RECORDS, bucket):
            place = 0
            while place < len(octets):
                part, key, expires, tokens, sealed = _RECORD.unpack_from(octets, place)
                begin = place + _RECORD.size
                middle = begin + tokens
                place = middle + sealed
                yield RecordRow(part, key, expires, octets[begin:middle], octets[middle:place])

    def entries(self, bucket: int) -> Iterator[EntryRow]:
        """The entries of a bucket, in the order in which they were read."""
        for octets in self._chunks(ENTRIES, bucket):
            yield from _ENTRY.iter_unpack(octets)

    def close(self) -> None:
        """Close the file; what was not committed is lost."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._connection.close()

    def discard(self) -> None:
        """Close the file and take it away."""
        self._connection.close()
        discard(self._path)

    def _chunks(self, kind: str, bucket: int) -> Iterator[bytes]:
        rows = self._connection.execute(
            "SELECT number, sealed FROM chunk WHERE kind = ? AND bucket = ? ORDER BY number",
            (kind, bucket),
        )
        for number, sealed in rows:
            octets = self._codec.open(self._name(kind, bucket, number), sealed)
            (size,) = struct.unpack_from(">I", octets)
            yield octets[4 : 4 + size]

    def _flush(self) -> None:
        for kind, buffers in ((RECORDS, self._records), (ENTRIES, self._entries)):
            for bucket in sorted(buffers):
                self.reading.chunks += 1
                octets = buffers[bucket]
                sealed = self._codec.seal(
                    self._name(kind, bucket, self.reading.chunks),
                    struct.pack(">I", len(octets)) + octets,
                    self._random(NONCE_SIZE),
                )
                self._connection.execute(
                    "INSERT INTO chunk VALUES (?, ?, ?, ?)",
                    (self.reading.chunks, kind, bucket, sealed),
                )
            buffers.clear()
        self._uncommitted += self._waiting
        self._waiting = 0

    def _name(self, kind: str, bucket: int, number: int) -> bytes:
        return self._codec.state_name(f"{self.reading.number}/{kind}/{bucket}/{number}")


def discard(path: Path) -> None:
    """Take the file and its journal away."""
    path.unlink(missing_ok=True)
    path.with_name(path.name + "-journal").unlink(missing_ok=True)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    # Nearly every page is new, and a rollback journal writes new pages once.
    for pragma in (f"page_size = {PAGE_OCTETS}", "synchronous = FULL", "cache_size = -16384"):
        connection.execute(f"PRAGMA {pragma}")
    return connection

"""Reading an index for publication: which kinds of record it holds, and what it holds of each term.

Reads beside whoever refreshes and answers, all of it as of one moment. Terms come in the order of
their tokens, which are hashes: the order tells nothing and stays the same from one reading to the
next.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Self

from node.index import IndexedRecord
from node.index.codec import Codec, index_changed
from node.index.description import Description
from node.index.index import open_for_reading, unreadable
from node.index.record import read_record
from node.publication.kind import Kind, kind_of

ROWS = 2_000
NEWEST = 1_024
"""Records of one term that are considered: the newest ones."""
REPORT = 10_000

_ENTRIES = "SELECT token, part, key, moment FROM entry"
_Entry = tuple[bytes, int, bytes, bytes]
Progress = Callable[[int, int], None]
"""Called now and then with what was read and how much there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldTerm:
    """One identifier, and the records about it, newest first, opened as they are asked for."""

    token: bytes
    records: Iterator[IndexedRecord]


class TermReader:
    """An index as of the moment it was opened; a context manager.

    :raises SourceUnusable: ``INDEX_CHANGED``, ``INDEX_UNREADABLE``, ``NORM_VERSION``; any method.
    """

    def __init__(self, path: Path, *, token_key: bytes, field_key: bytes) -> None:
        self._codec = Codec(token_key, field_key)
        self._connection = open_for_reading(path)
        try:
            self._connection.execute("BEGIN")
            self._description = Description.read(self._connection, self._codec)
        except BaseException as error:
            self._connection.close()
            if isinstance(error, sqlite3.Error):
                raise unreadable() from None
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    @property
    def root(self) -> bytes:
        """32 octets that attest the content."""
        return self._description.root(self._codec)

    def token(self, scheme: str, value: str) -> bytes:
        """The token of a term: 16 octets."""
        return self._codec.token(scheme, value)

    def mask(self, where: bytes, moment: int) -> bytes:
        """8 octets that hide a time (unix seconds); ``where`` is unlike that of any other time."""
        return self._codec.mask(where, moment)

    def unmask(self, where: bytes, masked: bytes) -> int:
        """The reverse of :meth:`mask`."""
        return self._codec.unmask(where, masked)

    def kinds(self, until: int, progress: Progress) -> set[tuple[str, Kind]]:
        """Every (scheme, kind) of records whose retention reaches ``until`` (unix seconds)."""
        found: set[tuple[str, Kind]] = set()
        total = self._description.records.count
        rows = self._rows("SELECT key, sealed FROM record")
        for done, (key, sealed) in enumerate(rows, 1):
            record = self._open(key, sealed)
            kind = kind_of(record, until)
            if kind is not None:
                found.update((scheme, kind) for scheme, _ in record.terms)
            if not done % REPORT:
                progress(min(done, total), total)
        return found

    def held(self, progress: Progress) -> Iterator[HeldTerm]:
        """Every term in the order of tokens; look at one before you take the next."""
        done, total = 0, self._description.entries.count
        statement = "SELECT token, part, key, moment FROM entry ORDER BY token, part, key"
        for token, rows in groupby(self._rows(statement), key=itemgetter(0)):
            entries = self._newest(rows)
            yield HeldTerm(token=token, records=self._opened(entries))
            before, done = done, done + len(entries)
            if before // REPORT != done // REPORT:
                progress(min(done, total), total)

    def holds(self, token: bytes) -> bool:
        """Whether some record has this term."""
        return any(self._rows("SELECT 1 FROM entry WHERE token = ? LIMIT 1", (token,)))

    def held_around(self, token: bytes) -> Iterator[HeldTerm]:
        """Every term from a place in the order of tokens on, then those before it."""
        for compared in (">=", "<"):
            statement = f"{_ENTRIES} WHERE token {compared} ? ORDER BY token, part, key"
            for found, rows in groupby(self._rows(statement, (token,)), key=itemgetter(0)):
                yield HeldTerm(token=found, records=self._opened(self._newest(rows)))

    def term(self, token: bytes) -> HeldTerm:
        """One term again."""
        statement = "SELECT token, part, key, moment FROM entry WHERE token = ? ORDER BY part, key"
        entries = self._newest(self._rows(statement, (token,)))
        return HeldTerm(token=token, records=self._opened(entries))

    def _newest(self, rows: Iterator[_Entry]) -> list[tuple[int, bytes, int]]:
        """Time, key and part of a term's newest records, however many it has."""
        timed = map(self._timed, rows)
        first = list(islice(timed, NEWEST))
        if len(first) < NEWEST:
            return sorted(first, reverse=True)
        return heapq.nlargest(NEWEST, chain(first, timed))

    def _timed(self, entry: _Entry) -> tuple[int, bytes, int]:
        token, part, key, masked = entry
        return self._codec.unmask(token + key, masked), key, part

    def _opened(self, entries: list[tuple[int, bytes, int]]) -> Iterator[IndexedRecord]:
        for moment, key, part in entries:
            row = self._connection.execute(
                "SELECT sealed FROM record WHERE part = ? AND key = ?", (part, key)
            ).fetchone()
            record = self._open(key, row[0] if row else b"")
            if record.occurred_at != moment:
                raise index_changed()
            yield record

    def _open(self, key: bytes, sealed: bytes) -> IndexedRecord:
        try:
            return read_record(self._codec.ref(key), self._codec.open(key, sealed))
        except (ValueError, TypeError, KeyError):
            raise index_changed() from None

    def _rows(self, statement: str, values: Sequence[object] = ()) -> Iterator[tuple]:  # type: ignore[type-arg]
        try:
            cursor = self._connection.execute(statement, values)
            for batch in iter(partial(cursor.fetchmany, ROWS), []):
                yield from batch
        except sqlite3.Error:
            raise unreadable() from None

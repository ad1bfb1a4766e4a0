"""An index in use, while another process refreshes it."""

from __future__ import annotations

import contextlib
import heapq
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from fairlead.errors import SourceUnusable
from fairlead.identifiers import Identifier
from node.index.build import BuildReport, build_index, no_report
from node.index.codec import NONCE_SIZE, PADDING, REF_SIZE, Codec, index_changed
from node.index.description import Description
from node.index.record import IndexedRecord, read_record
from node.index.source_state import SourceState
from node.index.writer import read_states
from node.sources.record import SourceRecord

PAGE = 64
"""Records opened at a time."""
COLLECT = 1_024
"""Entries of a term with very many records that are looked at between two other queries."""
NEWEST = 16_384
"""Records of one term that are considered: the newest ones."""
BUSY_S = 0.25
CACHE_KIB = 32 * 1024

_FIRST = """
    SELECT e.part, e.key, e.moment, r.sealed
    FROM entry e LEFT JOIN record r ON r.part = e.part AND r.key = e.key
    WHERE e.token = ? ORDER BY e.part, e.key LIMIT ?
"""
_MORE = """
    SELECT part, key, moment FROM entry
    WHERE token = ? AND (part, key) > (?, ?) ORDER BY part, key LIMIT ?
"""
_ONE = "SELECT sealed FROM record WHERE part = ? AND key = ?"

_Found = tuple[int, int, bytes, bytes]
"""Time, part, key, sealed record."""


class Index:
    """An index in use. Make one with :meth:`build` or an ``IndexWriter``."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        codec: Codec,
        clock: Callable[[], float],
    ) -> None:
        self._connection = connection
        self._path = path
        self._file = _file_at(path)
        self._codec = codec
        self._clock = clock
        self._seen = -1
        self._current = Description.empty()
        decoy_ref = bytes(REF_SIZE)
        decoy = codec.seal(decoy_ref, b" " * (6 * PADDING), bytes(NONCE_SIZE))
        self._decoys = [(decoy_ref, decoy)]

    @classmethod
    def build(
        cls,
        path: Path,
        records: Iterable[SourceRecord],
        *,
        token_key: bytes,
        field_key: bytes,
        clock: Callable[[], float],
        progress: Callable[[int, float], None] = no_report,
        random: Callable[[int], bytes] = os.urandom,
    ) -> BuildReport:
        """See :func:`node.index.build.build_index`."""
        return build_index(
            path,
            records,
            token_key=token_key,
            field_key=field_key,
            clock=clock,
            progress=progress,
            random=random,
        )

    @classmethod
    def open(
        cls, path: Path, *, token_key: bytes, field_key: bytes, clock: Callable[[], float]
    ) -> Index:
        """Open and verify the description, whatever the size; see :meth:`Description.read`.

        :raises SourceUnusable: ``INDEX_UNREADABLE``, ``INDEX_CHANGED``, ``NORM_VERSION``.
        :raises Misconfigured: ``INDEX_KEY``.
        """
        codec = Codec(token_key, field_key)
        connection = open_for_reading(path)
        try:
            index = cls(connection, path, codec, clock)
            index._verify()
        except BaseException:
            connection.close()
            raise
        return index

    def pages(self, identifier: Identifier) -> Iterator[list[IndexedRecord]]:
        """The records about ``identifier`` that have not expired, newest first, page by page.

        Only the scheme and the canonical value count. There is always a first page, and opening
        it opens at least one sealed record. A term with more than :data:`PAGE` records is
        collected first, and gives empty pages meanwhile; of more than :data:`NEWEST` records,
        the newest come. What a refresh takes away between two pages does not come.

        :raises SourceUnusable: ``INDEX_CHANGED``, ``INDEX_UNREADABLE``: damaged while in use.
        """
        token = self._codec.token(identifier.scheme, identifier.value)
        version = self._verify()
        rows = self._rows(_FIRST, (token, PAGE))
        if len(rows) < PAGE:
            found = [(self._moment(token, key, moment), part, key, sealed)
                     for part, key, moment, sealed in rows]  # fmt: skip
            found.sort(key=lambda item: (-item[0], item[2]))
            yield self._open_page(found, version)
            return
        newest: list[tuple[int, int, bytes]] = []
        part, key = -1, b""
        while True:
            entries = self._rows(_MORE, (token, part, key, COLLECT))
            newest += [(self._moment(token, k, moment), p, k) for p, k, moment in entries]
            if len(entries) < COLLECT:
                break
            if len(newest) >= 2 * NEWEST:
                newest = heapq.nlargest(NEWEST, newest)
            part, key = entries[-1][:2]
            yield []
        newest.sort(key=lambda item: (-item[0], item[2]))
        for place in range(0, min(len(newest), NEWEST), PAGE):
            page = newest[place : place + PAGE]
            yield self._open_page([(*item, self._sealed(*item[1:])) for item in page], version)

    def lookup(self, identifier: Identifier) -> list[IndexedRecord]:
        """All of :meth:`pages` at once."""
        return [record for page in self.pages(identifier) for record in page]

    def _sealed(self, part: int, key: bytes) -> bytes:
        rows = self._rows(_ONE, (part, key))
        return rows[0][0] if rows else b""

    def _moment(self, token: bytes, key: bytes, masked: bytes) -> int:
        return self._codec.unmask(token + key, masked)

    def _open_page(self, found: list[_Found], version: int) -> list[IndexedRecord]:
        """Open and verify what was found; an entry leads to a record, and tells its time."""
        gone = [item for item in found if not item[3]]
        if gone:
            if version == self._version():
                raise index_changed()  # nobody refreshed it meanwhile
            found = [item for item in found if item[3]]
        opened = [(moment, key, self._codec.open(key, sealed)) for moment, _, key, sealed in found]
        if not opened:
            for ref, sealed in self._decoys:
                self._codec.open(ref, sealed)
            return []
        now, records = self._clock(), []
        for moment, key, content in opened:
            try:
                record = read_record(self._codec.ref(key), content)
            except (ValueError, TypeError, KeyError):
                raise index_changed() from None
            if record.occurred_at != moment:
                raise index_changed()
            if record.expires_at > now:
                records.append(record)
        return records

    # ── What the index says of itself ────────────────────────────────────────────────────────

    def age_s(self, now: float) -> float:
        """Seconds since the source read longest ago was read, never negative."""
        return max(0.0, now - self._description().fresh_at)

    @property
    def root(self) -> bytes:
        """32 octets over epoch and content, see :meth:`Description.root`."""
        return self._description().root(self._codec)

    @property
    def epoch(self) -> int:
        """Whole weeks since 1970 when the sources were read."""
        return self._description().epoch

    @property
    def generation(self) -> int:
        """Grows with every change of the file; see :class:`Description`."""
        return self._description().generation

    @property
    def records(self) -> int:
        """Records held, expired ones included."""
        return self._description().records.count

    def sources(self) -> dict[str, SourceState]:
        """Every source the index knows of, by name.

        :raises SourceUnusable: ``INDEX_CHANGED``, ``INDEX_UNREADABLE``.
        """
        self._verify()
        try:
            return read_states(self._connection, self._codec)
        except sqlite3.Error:
            raise unreadable() from None

    def close(self) -> None:
        """Close the file; lookups fail afterwards."""
        self._connection.close()

    def _description(self) -> Description:
        """The description as last committed; of a damaged index, as last read. Lookups refuse."""
        with contextlib.suppress(SourceUnusable):
            self._verify()
        return self._current

    def _verify(self) -> int:
        """Read and verify the description again when the writer has written; the version. A file
        that was put in the place of this one is what the writer writes, so this one is over."""
        if _file_at(self._path) != self._file:
            raise index_changed()
        version = self._version()
        if version != self._seen:
            try:
                self._current = Description.read(self._connection, self._codec)
            except sqlite3.Error:
                raise unreadable() from None
            self._seen = version
        return version

    def _version(self) -> int:
        """Changes when the writer has committed something."""
        ((version,),) = self._rows("PRAGMA data_version", ())
        return int(version)

    def _rows(self, statement: str, values: tuple[object, ...]) -> list[tuple]:  # type: ignore[type-arg]
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error:
            raise unreadable() from None


def _file_at(path: Path) -> tuple[int, int]:
    """Which file stands there. :raises SourceUnusable: ``INDEX_UNREADABLE``, none."""
    try:
        found = path.stat()
    except OSError:
        raise unreadable() from None
    return found.st_dev, found.st_ino


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A connection that never writes. It may create the log's companions beside the file.

    :raises SourceUnusable: ``INDEX_UNREADABLE``.
    """
    uri = f"{path.absolute().as_uri()}?mode=rw"
    try:
        connection = sqlite3.connect(
            uri, uri=True, check_same_thread=False, isolation_level=None, timeout=BUSY_S
        )
    except sqlite3.Error:
        raise unreadable() from None
    try:
        connection.execute("PRAGMA query_only = ON")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
    except sqlite3.Error:
        connection.close()
        raise unreadable() from None
    return connection


def unreadable() -> SourceUnusable:
    """The file is not there, is none, or is of an older program."""
    return SourceUnusable(
        "the index cannot be read",
        reasons=("INDEX_UNREADABLE",),
        remedy="check its permissions (ls -l), or build it anew: "
        "fairlead-node index --anew --config FILE",
    )

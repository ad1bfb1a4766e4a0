"""An index in use."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

from fairlead.errors import Misconfigured, SourceUnusable
from fairlead.identifiers import Identifier
from node.index.build import (
    BuildReport,
    Description,
    Progress,
    create_file,
    replace_file,
    write_index,
)
from node.index.codec import NONCE_SIZE, PADDING, REF_SIZE, Codec, index_changed
from node.index.record import IndexedRecord, read_record
from node.sources.record import SourceRecord

PAGE = 64
"""Records opened at a time."""

_PAGE = """
    SELECT e.ref, r.sealed FROM entry e JOIN record r ON r.ref = e.ref
    WHERE e.token = ? AND e.place >= ? AND e.place < ? ORDER BY e.place
"""


def _silent(_records: int, _per_second: float) -> None:
    """Nobody is watching the build."""


class Index:
    """An index as last built. Make one with :meth:`build`, use it with :meth:`open`."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        codec: Codec,
        description: Description,
        clock: Callable[[], float],
    ) -> None:
        self._connection = connection
        self._codec = codec
        self._description = description
        self._clock = clock
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
        progress: Progress = _silent,
        random: Callable[[int], bytes] = os.urandom,
    ) -> BuildReport:
        """Write a whole index beside ``path``, then replace ``path`` atomically.

        Whatever goes wrong, an index that is already there stays as it is.

        :param progress: called after each batch with the records so far and the rate.
        :raises Misconfigured: ``INDEX_KEY``, ``INDEX_UNWRITABLE``.
        :raises SourceUnusable: from ``records``.
        """
        codec = Codec(token_key, field_key)
        unfinished = path.with_name(path.name + ".building")
        try:
            create_file(unfinished)
            with closing(sqlite3.connect(unfinished, isolation_level=None)) as connection:
                report = write_index(
                    connection, records, codec=codec, clock=clock, progress=progress, random=random
                )
            replace_file(unfinished, path)
        except (sqlite3.Error, OSError):
            raise Misconfigured(
                "the index cannot be written",
                reasons=("INDEX_UNWRITABLE",),
                remedy="check free space (df -h) and the permissions of the state folder (ls -ld)",
            ) from None
        finally:
            unfinished.unlink(missing_ok=True)
        return report

    @classmethod
    def open(
        cls, path: Path, *, token_key: bytes, field_key: bytes, clock: Callable[[], float]
    ) -> Index:
        """Open and verify, see :meth:`Description.verify`.

        :raises SourceUnusable: ``INDEX_UNREADABLE``, ``INDEX_CHANGED``, ``NORM_VERSION``.
        :raises Misconfigured: ``INDEX_KEY``.
        """
        codec = Codec(token_key, field_key)
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        try:
            connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
        except sqlite3.Error:
            raise _unreadable() from None
        try:
            description = Description.verify(connection, codec)
        except sqlite3.Error:
            connection.close()
            raise _unreadable() from None
        except SourceUnusable:
            connection.close()
            raise
        return cls(connection, codec, description, clock)

    def pages(self, identifier: Identifier) -> Iterator[list[IndexedRecord]]:
        """The records about ``identifier`` that have not expired, newest first, page by page.

        Only the scheme and the canonical value count. There is always a first page, and opening
        it opens at least one sealed record.

        :raises SourceUnusable: ``INDEX_CHANGED``, ``INDEX_UNREADABLE``: damaged while in use.
        """
        token = self._codec.token(identifier.scheme, identifier.value)
        place = 0
        while True:
            try:
                rows = self._connection.execute(_PAGE, (token, place, place + PAGE)).fetchall()
            except sqlite3.Error:
                raise _unreadable() from None
            yield self._open_page(rows)
            place += PAGE
            if len(rows) < PAGE:
                return

    def lookup(self, identifier: Identifier) -> list[IndexedRecord]:
        """All of :meth:`pages` at once."""
        return [record for page in self.pages(identifier) for record in page]

    def _open_page(self, rows: list[tuple[bytes, bytes]]) -> list[IndexedRecord]:
        opened = [(ref, self._codec.open(ref, sealed)) for ref, sealed in rows or self._decoys]
        if not rows:
            return []
        try:
            found = [read_record(ref, content) for ref, content in opened]
        except (ValueError, TypeError):
            raise index_changed() from None
        now = self._clock()
        return [record for record in found if record.expires_at > now]

    def age_s(self, now: float) -> float:
        """Seconds since the sources were read, never negative."""
        return max(0.0, now - self._description.built_at)

    @property
    def root(self) -> bytes:
        """32 octets over epoch and content, see :func:`node.index.build.content_root`."""
        return self._description.root

    @property
    def epoch(self) -> int:
        """Whole weeks since 1970 when the sources were read."""
        return self._description.epoch

    @property
    def records(self) -> int:
        """Records held, expired ones included."""
        return self._description.records

    def close(self) -> None:
        """Close the file; lookups fail afterwards."""
        self._connection.close()


def _unreadable() -> SourceUnusable:
    return SourceUnusable(
        "the index cannot be read",
        reasons=("INDEX_UNREADABLE",),
        remedy="check its permissions (ls -l), or build it anew: fairlead-node index --config FILE",
    )

"""Is the whole content of an index what this node wrote?"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from node.index.codec import Codec, index_changed
from node.index.description import NAME, Description
from node.index.index import open_for_reading, unreadable
from node.index.multiset import Multiset
from node.index.tables import entry_octets, record_octets

BATCH = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was found to be right."""

    records: int
    entries: int
    root: bytes
    generation: int


def verify_index(
    path: Path,
    *,
    token_key: bytes,
    field_key: bytes,
    progress: Callable[[int, int], None],
) -> Verified:
    """Read everything once, as of one moment, beside whoever reads and refreshes.

    1. The description was sealed by this node.
    2. Every record opens under its key, and the records are those that were written.
    3. The entries are those that were written.
    4. So are the index's own documents.

    :param progress: called with the rows done and their number.
    :raises SourceUnusable: ``INDEX_CHANGED``, ``INDEX_UNREADABLE``, ``NORM_VERSION``.
    """
    codec = Codec(token_key, field_key)
    connection = open_for_reading(path)
    try:
        connection.execute("BEGIN")
        # 1
        said = Description.read(connection, codec)
        rows = _Rows(connection, said.records.count + said.entries.count, progress)
        # 2
        records = Multiset(said.records.kind)
        for batch in rows.of("SELECT part, key, expires, tokens, sealed FROM record"):
            for _, key, _, _, sealed in batch:
                codec.open(key, sealed)
            records.add(codec, (record_octets(*row[:4]) for row in batch))
        # 3
        entries = Multiset(said.entries.kind)
        for batch in rows.of("SELECT token, part, key, moment FROM entry"):
            entries.add(codec, map(entry_octets, batch))
        # 4
        own, documents = codec.state_name(NAME), Multiset(said.states.kind)
        for batch in rows.of("SELECT name, sealed FROM state"):
            documents.add(codec, (name + sealed for name, sealed in batch if name != own))
    except sqlite3.Error:
        raise unreadable() from None
    finally:
        connection.close()
    if (records, entries, documents) != (said.records, said.entries, said.states):
        raise index_changed()
    return Verified(
        records=records.count,
        entries=entries.count,
        root=said.root(codec),
        generation=said.generation,
    )


class _Rows:
    """Reads in batches, and says how far it is."""

    def __init__(
        self, connection: sqlite3.Connection, total: int, progress: Callable[[int, int], None]
    ) -> None:
        self._connection = connection
        self._total = total
        self._progress = progress
        self._done = 0

    def of(self, query: str) -> Iterator[list[tuple]]:  # type: ignore[type-arg]
        cursor = self._connection.execute(query)
        while rows := cursor.fetchmany(BATCH):
            yield rows
            self._done = min(self._done + len(rows), self._total)
            self._progress(self._done, self._total)

"""Parquet files through DuckDB, every value as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb

from node.sources.duck import BATCH_ROWS, BROKEN, confined, unreadable
from node.sources.files import Wanted
from node.sources.fingerprint import fingerprint
from node.sources.row import Row
from node.sources.text import MAX_CELL


class ParquetTable:
    """One file. Times are cast by DuckDB: ISO, with the offset +00 where they state a zone."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, path: Path, wanted: frozenset[str]
    ) -> None:
        self._connection, self._path = connection, path
        found = connection.execute("SELECT * FROM read_parquet($path) LIMIT 0", {"path": str(path)})
        described = found.description or []
        self.header = [str(column[0]) for column in described]
        self.schema = fingerprint((str(c[0]), str(c[1])) for c in described if c[0] in wanted)

    def rows(self, positions: Sequence[int]) -> Iterator[Row | str]:
        """Stream the wanted columns. :raises SourceUnusable: ``FILE_UNREADABLE``."""
        names = [self.header[position].replace('"', '""') for position in positions]
        cells = ", ".join(f'CAST("{name}" AS VARCHAR)' for name in names)
        query = f"SELECT {cells} FROM read_parquet($path)"  # noqa: S608  (names are quoted)
        try:
            result = self._connection.execute(query, {"path": str(self._path)})
            while rows := result.fetchmany(BATCH_ROWS):
                for row in rows:
                    too_long = any(cell is not None and len(cell) > MAX_CELL for cell in row)
                    yield "TOO_LONG" if too_long else row
        except BROKEN:
            raise unreadable() from None


@contextmanager
def open_parquet(path: Path, wanted: Wanted) -> Iterator[ParquetTable]:
    """Open a file, which has no sheets. :raises SourceUnusable: ``FILE_UNREADABLE``."""
    connection = confined(path)
    try:
        try:
            table = ParquetTable(connection, path, wanted.columns)
        except BROKEN:
            raise unreadable() from None
        yield table
    finally:
        connection.close()

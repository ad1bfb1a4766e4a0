"""CSV files through DuckDB: one pass, bounded memory, read-only, no network, no extensions."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import duckdb

from fairlead.errors import InvalidInput, SourceUnusable
from node.sources.duck import BATCH_ROWS, BROKEN, MEMORY_MB, confined, unreadable
from node.sources.files import file_part
from node.sources.mapping import SourceMapping
from node.sources.record import SourceRecord
from node.sources.report import UNCLOSED_QUOTE, ImportReport
from node.sources.row import RowReader
from node.sources.source import Mark, Part
from node.sources.tally import Tally

MAX_HEADER = 64 * 1024
"""Octets in the header line."""
MAX_ROW = 1024 * 1024
"""Octets in one row."""

_ENCODING = "INVALID ENCODING"
_RUNAWAY = frozenset({"UNQUOTED VALUE", "LINE SIZE OVER MAXIMUM"})


class CsvSource:
    """The rows of a mapping's CSV files as records; every file is one part.

    Rows that cannot be decoded (UTF-8) or split, and rows whose time, event or handling is
    not sayable in the vocabulary, are excluded, counted and named by number; the others are
    kept. A cell that begins like a formula (``=CMD…``) is text like any other.
    """

    def __init__(self, mapping: SourceMapping, *, now: float, memory_mb: int = MEMORY_MB) -> None:
        self.name = mapping.file.source
        self.mapping = mapping
        self._now = now
        self._memory_mb = memory_mb
        self._tally = Tally(self.name)

    def parts(self) -> tuple[Part, ...]:
        """Every file. :raises SourceUnusable: ``FILE_MISSING``, ``FILE_UNREADABLE``."""
        return tuple(file_part(self.mapping, path) for path in self.mapping.data_files())

    def read(self, part: Part, *, after: str = "") -> Iterator[SourceRecord | Mark]:  # noqa: ARG002
        """Read one file; it yields no marks, because half a file is never continued.

        :raises SourceUnusable: ``HEADER``, ``FILE_UNREADABLE``, or ``COLUMN_MISSING``
            (:class:`node.sources.row.ColumnsMissing`, which names them).
        """
        self._tally.begin()
        yield from self._file(self.mapping.base / part.name, part.name)
        self._tally.settle()

    def report(self) -> ImportReport:
        """What became of the rows read until now."""
        return self._tally.report()

    def _file(self, path: Path, name: str) -> Iterator[SourceRecord]:
        header = header_of(path, self.mapping.file.delimiter)
        reader = RowReader(self.mapping.file, header, name=name, now=self._now)
        refused: list[tuple[int, str]] = []
        kept = 0
        with closing(confined(path, memory_mb=self._memory_mb)) as connection:
            for row in self._select(connection, path, reader.positions, len(header)):
                kept += 1
                try:
                    record = reader.read(row, kept)
                except InvalidInput as error:
                    refused.append((kept, error.code))
                    continue
                self._tally.keep(record)
                yield record
            rejected = rejected_in(connection)
        self._exclude(name, refused, rejected)

    def _exclude(
        self, file: str, refused: Sequence[tuple[int, str]], rejected: dict[int, str]
    ) -> None:
        """Number the refused rows among all rows: those that DuckDB rejected stand between."""
        gaps = sorted(rejected)
        passed = 0
        for ordinal, reason in refused:
            while passed < len(gaps) and gaps[passed] <= ordinal + passed:
                passed += 1
            self._tally.exclude(file, ordinal + passed, reason)
        for number, reason in sorted(rejected.items()):
            self._tally.exclude(file, number, reason)

    def _select(
        self,
        connection: duckdb.DuckDBPyConnection,
        path: Path,
        positions: Sequence[int],
        width: int,
    ) -> Iterator[tuple[str | None, ...]]:
        """Stream the wanted columns, all as text, in the order of the file."""
        wanted = ", ".join(f"c{position}" for position in positions)
        columns = ", ".join(f"'c{position}': 'VARCHAR'" for position in range(width))
        # Only numbers are put into the text; the path and the delimiter are parameters.
        query = (
            f"SELECT {wanted} FROM read_csv($path, columns = {{{columns}}}, header = true,"  # noqa: S608
            " delim = $delimiter, quote = '\"', escape = '\"', auto_detect = false,"
            " compression = 'none', ignore_errors = true, store_rejects = true,"
            " max_line_size = $max_row)"
        )
        values = {
            "path": str(path),
            "delimiter": self.mapping.file.delimiter,
            "max_row": MAX_ROW,
        }
        try:
            result = connection.execute(query, values)
            while rows := result.fetchmany(BATCH_ROWS):
                yield from rows
        except BROKEN:
            raise unreadable() from None


def rejected_in(connection: duckdb.DuckDBPyConnection) -> dict[int, str]:
    """Row number → reason for every row that DuckDB could not decode or split."""
    found: dict[int, str] = {}
    query = (
        "SELECT line, CAST(error_type AS VARCHAR), contains(rtrim(csv_line, chr(10)), chr(10))"
        " FROM reject_errors ORDER BY line"
    )
    for line, kind, several_lines in connection.execute(query).fetchall():
        reason = "ENCODING" if kind == _ENCODING else "MALFORMED"
        if several_lines and kind in _RUNAWAY:
            reason = UNCLOSED_QUOTE
        if found.get(int(line) - 1) != UNCLOSED_QUOTE:
            found[int(line) - 1] = reason
    return found


def header_of(path: Path, delimiter: str) -> list[str]:
    """The first line's column names.

    :raises SourceUnusable: unreadable, empty, too long or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            line = file.readline(MAX_HEADER + 1)
        text = line.decode("utf-8-sig").rstrip("\r\n")
        names = next(csv.reader([text], delimiter=delimiter, strict=True), [])
    except OSError:
        raise unreadable() from None
    except (UnicodeDecodeError, csv.Error):
        names = []
    if not names or len(line) > MAX_HEADER:
        raise SourceUnusable(
            "a source's first line is no header",
            reasons=("HEADER",),
            remedy="export the source with one UTF-8 line of column names, and add it again",
        )
    return names

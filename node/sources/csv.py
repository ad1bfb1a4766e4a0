"""CSV files through DuckDB: one pass, bounded memory, read-only, no network, no extensions."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import duckdb

from fairlead.errors import InvalidInput, SourceUnusable
from fairlead.identifiers import Validity
from node.sources.mapping import SourceMapping
from node.sources.record import SourceRecord
from node.sources.report import UNCLOSED_QUOTE, ExcludedRow, ImportReport
from node.sources.row import RowReader

BATCH_ROWS = 4096
MAX_HEADER = 64 * 1024
"""Octets in the header line."""
MAX_ROW = 1024 * 1024
"""Octets in one row."""

_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_unsigned_extensions": "false",
    "temp_directory": "",
    "threads": "1",
}
_ENCODING = "INVALID ENCODING"
_RUNAWAY = frozenset({"UNQUOTED VALUE", "LINE SIZE OVER MAXIMUM"})


class CsvSource:
    """The rows of a mapping's files as records.

    Rows that cannot be decoded (UTF-8) or split, and rows whose time, event or handling is
    not sayable in the vocabulary, are excluded, counted and named by number; the others are
    kept. :meth:`report` is complete once :meth:`records` is exhausted.
    """

    def __init__(self, mapping: SourceMapping, *, now: float, memory_limit_mb: int = 256) -> None:
        self._mapping = mapping
        self._now = now
        self._memory_limit_mb = memory_limit_mb
        self._excluded: list[ExcludedRow] = []
        self._rows = self._records = 0
        self._validities = dict.fromkeys(Validity, 0)

    def records(self) -> Iterator[SourceRecord]:
        """Read every file, in order.

        :raises SourceUnusable: ``FILE_MISSING``, ``HEADER``, ``FILE_UNREADABLE``, or
            ``COLUMN_MISSING`` (:class:`node.sources.row.ColumnsMissing`, which names them).
        """
        for path in self._mapping.data_files():
            yield from self._file(path)

    def report(self) -> ImportReport:
        """What became of the rows read until now."""
        return ImportReport(
            source=self._mapping.file.source,
            rows=self._rows,
            records=self._records,
            excluded=tuple(sorted(self._excluded, key=lambda row: (row.file, row.row))),
            checksum_failed=self._validities[Validity.CHECKSUM_FAILED],
            unverifiable=self._validities[Validity.UNVERIFIABLE],
        )

    def _file(self, path: Path) -> Iterator[SourceRecord]:
        header = _header(path, self._mapping.file.delimiter)
        name = str(path.relative_to(self._mapping.base))
        reader = RowReader(self._mapping.file, header, name=name, now=self._now)
        refused: list[tuple[int, str]] = []
        kept = 0
        with closing(self._connect(path)) as connection:
            for row in self._select(connection, path, reader.positions, len(header)):
                kept += 1
                try:
                    record = reader.read(row, kept)
                except InvalidInput as error:
                    refused.append((kept, error.code))
                    continue
                for identifier in record.identifiers:
                    self._validities[identifier.validity] += 1
                self._records += 1
                yield record
            rejected = _rejected(connection)
        self._rows += kept + len(rejected)
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
            self._excluded.append(ExcludedRow(file=file, row=ordinal + passed, reason=reason))
        self._excluded += [ExcludedRow(file=file, row=n, reason=r) for n, r in rejected.items()]

    def _connect(self, path: Path) -> duckdb.DuckDBPyConnection:
        config = _CONFIG | {"memory_limit": f"{self._memory_limit_mb}MB"}
        connection = duckdb.connect(":memory:", config=config)
        connection.execute("SET allowed_paths = ?", [[str(path)]])
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        return connection

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
            "delimiter": self._mapping.file.delimiter,
            "max_row": MAX_ROW,
        }
        try:
            result = connection.execute(query, values)
            while rows := result.fetchmany(BATCH_ROWS):
                yield from rows
        except duckdb.Error:
            raise _unreadable() from None


def _rejected(connection: duckdb.DuckDBPyConnection) -> dict[int, str]:
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


def _header(path: Path, delimiter: str) -> list[str]:
    """The first line's column names.

    :raises SourceUnusable: unreadable, empty, too long or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            line = file.readline(MAX_HEADER + 1)
        text = line.decode("utf-8-sig").rstrip("\r\n")
        names = next(csv.reader([text], delimiter=delimiter, strict=True), [])
    except OSError:
        raise _unreadable() from None
    except (UnicodeDecodeError, csv.Error):
        names = []
    if not names or len(line) > MAX_HEADER:
        raise SourceUnusable(
            "a source's first line is no header",
            reasons=("HEADER",),
            remedy="export the source with one UTF-8 line of column names, and add it again",
        )
    return names


def _unreadable() -> SourceUnusable:
    return SourceUnusable(
        "a source's file cannot be read",
        reasons=("FILE_UNREADABLE",),
        remedy="check the file's permissions (ls -l) and that it is plain CSV, then add it again",
    )

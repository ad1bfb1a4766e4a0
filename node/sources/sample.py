"""The first rows of something that has no mapping yet: all columns, as text."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from fairlead.errors import InvalidInput, SourceUnusable
from node.sources.database import DatabaseTable
from node.sources.duck import unreadable
from node.sources.files import Format as FileFormat
from node.sources.files import Wanted
from node.sources.mapping import SUFFIXES, Format
from node.sources.row import Row
from node.sources.text import text_of

SAMPLE_ROWS = 10_000
DELIMITERS = ",;\t|"
_MAX_FIELD = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Columns, at most :data:`SAMPLE_ROWS` rows, and what else the reader found out.

    ``key`` is a database table's primary key; ``delimiter`` a CSV file's.
    """

    header: tuple[str, ...]
    rows: tuple[Row, ...]
    delimiter: str = ","
    key: tuple[str, ...] = ()

    def column(self, place: int) -> Iterator[str]:
        """What stands in one column, without what is empty."""
        cells = (row[place] for row in self.rows if place < len(row))
        return (text.strip() for text in cells if text and text.strip())


def sample_file(path: Path, *, sheet: str | None = None, kind: Format | None = None) -> Sample:
    """The first rows of a file.

    :raises SourceUnusable: ``FORMAT``, ``FILE_UNREADABLE``, ``HEADER``, ``SHEET_MISSING``, …
    """
    found = kind or SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise SourceUnusable(
            "the format of a file cannot be told from its name",
            reasons=("SOURCE_FORMAT",),
            remedy="name it .csv, .parquet, .json, .jsonl or .xlsx",
        )
    if found is Format.CSV:
        return _csv(path)
    with _opener(found)(path, Wanted(sheet=sheet)) as table:
        positions = range(len(table.header))
        rows = [
            row for row in islice(table.rows(positions), SAMPLE_ROWS) if not isinstance(row, str)
        ]
        return Sample(header=tuple(table.header), rows=tuple(rows))


def sample_database(table: DatabaseTable, base: Path, environ: Mapping[str, str]) -> Sample:
    """Some rows of a table or a query, in no order.

    :raises SourceUnusable: as :meth:`node.sources.sql.DatabaseSource.parts`.
    """
    from node.sources.connecting import engine_of, failure
    from node.sources.relation import describe

    try:
        with engine_of(table, base, environ).connect() as connection:
            relation = describe(connection, table)
            found = connection.execute(relation.first(SAMPLE_ROWS)).all()
    except (SQLAlchemyError, OSError) as error:
        raise failure(error) from None
    rows = tuple(tuple(_cell(value) for value in row) for row in found)
    return Sample(header=tuple(relation.names), rows=rows, key=relation.primary)


def _opener(kind: Format) -> FileFormat:
    if kind is Format.PARQUET:
        from node.sources.parquet import open_parquet

        return open_parquet
    if kind is Format.JSON:
        from node.sources.json import open_json

        return open_json
    from node.sources.excel import open_excel

    return open_excel


def _csv(path: Path) -> Sample:
    from node.sources.csv import header_of

    delimiter = max(DELIMITERS, key=lambda mark: len(_header(path, mark)))
    header = header_of(path, delimiter)
    with _lines(path) as lines:
        reader = csv.reader(lines, delimiter=delimiter)
        rows: list[Sequence[str]] = []
        try:
            rows += islice(reader, 1, SAMPLE_ROWS + 1)
        except csv.Error:
            if not rows:
                raise unreadable() from None
    return Sample(header=tuple(header), rows=tuple(rows), delimiter=delimiter)


def _header(path: Path, delimiter: str) -> Sequence[str]:
    from node.sources.csv import header_of

    try:
        return header_of(path, delimiter)
    except SourceUnusable as error:
        if error.code != "HEADER":
            raise
        return ()


@contextmanager
def _lines(path: Path) -> Iterator[Iterator[str]]:
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            yield (line for line in iter(lambda: file.readline(_MAX_FIELD), ""))
    except OSError:
        raise unreadable() from None


def _cell(value: object) -> str | None:
    try:
        return text_of(value)
    except InvalidInput:
        return None

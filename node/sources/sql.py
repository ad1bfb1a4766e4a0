"""A table or a query of a database as a source, through SQLAlchemy Core.

The database is asked at a refresh only, with statements that depend on the mapping and on the
last mark and on nothing else. Every page is one short read-only transaction: rows in the order
of the key (or of the cursor and the key) behind the last one, streamed from a server-side
cursor where the driver has one. An interrupted read goes on at its last mark.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from fairlead.errors import InvalidInput
from node.sources.connecting import engine_of, failure
from node.sources.database import DatabaseTable
from node.sources.mapping import SourceMapping
from node.sources.position import Position, read_position, row_place
from node.sources.privileges import Excess, excess_of
from node.sources.record import SourceRecord
from node.sources.relation import Relation, describe
from node.sources.report import ImportReport
from node.sources.row import RowReader
from node.sources.source import Mark, Part
from node.sources.tally import Tally
from node.sources.text import text_of

PAGE_ROWS = 20_000
"""Rows of one transaction, and between two marks."""
FETCH_ROWS = 1_000
"""Rows that are in memory at a time."""


class DatabaseSource:
    """One part, read by pages. With a cursor it appends; without one it is read whole."""

    def __init__(
        self,
        mapping: SourceMapping,
        table: DatabaseTable,
        *,
        now: float,
        environ: Mapping[str, str],
        page_rows: int = PAGE_ROWS,
    ) -> None:
        self.name = mapping.file.source
        self.mapping = mapping
        self._table, self._now, self._page_rows = table, now, page_rows
        self._engine: Engine = engine_of(table, mapping.base, environ)
        self._tally = Tally(self.name)
        self._number = 0

    def parts(self) -> tuple[Part, ...]:
        """The table or query.

        :raises SourceUnusable: ``SOURCE_DOWN``, ``TIMEOUT``, ``SCHEMA_CHANGED``,
            ``COLUMN_MISSING`` (:class:`node.sources.row.ColumnsMissing`).
        """
        with self._connected() as connection:
            relation = describe(connection, self._table)
        self._reader(relation)
        schema = relation.fingerprint(self.mapping.file.columns().values())
        appends = self._table.cursor is not None
        return (Part(name=self._table.reads, stamp="", appends=appends, schema=schema),)

    def read(self, part: Part, *, after: str = "") -> Iterator[SourceRecord | Mark]:  # noqa: ARG002
        """Read from the beginning or behind a mark; a mark stands behind every page.

        :raises SourceUnusable: as :meth:`parts`, and ``KEY_NOT_UNIQUE``, ``KEY_TYPE``,
            ``CURSOR``.
        """
        self._tally.begin()
        position = read_position(after) if after else None
        with self._connected() as connection:
            relation = describe(connection, self._table)
            reader = self._reader(relation)
            if position is None:
                self._number = 0
                relation.check_unique(connection)
                self._tally.exclude_unseen(relation.without_key(connection), "KEY_MISSING")
            connection.rollback()
            while True:
                page = _Page()
                yield from self._page(connection, relation, reader, position, page)
                connection.rollback()
                position = page.last or position
                self._tally.settle()
                if page.rows < self._page_rows:
                    break
                if position is not None:
                    yield Mark(position.write())
        if position is not None:
            yield Mark(self._end(position).write())

    def report(self) -> ImportReport:
        """What became of the rows read until now."""
        return self._tally.report()

    def excess(self) -> tuple[Excess, ...]:
        """What the account may do beyond reading. :raises SourceUnusable: as :meth:`parts`."""
        columns = sorted(set(self.mapping.file.columns().values()))
        with self._connected() as connection:
            return excess_of(connection, self._table, columns)

    def _end(self, position: Position) -> Position:
        """Rows that share the last cursor's value are read again: more of them may come."""
        return position if position.cursor is None else Position(position.cursor, ())

    def _reader(self, relation: Relation) -> RowReader:
        return RowReader(self.mapping.file, relation.names, name=self._table.reads, now=self._now)

    def _page(
        self,
        connection: Connection,
        relation: Relation,
        reader: RowReader,
        position: Position | None,
        page: _Page,
    ) -> Iterator[SourceRecord]:
        """The records of one page, in the transaction that its statement begins."""
        statement = relation.page(reader.positions, position, self._page_rows)
        streaming = {"stream_results": True, "yield_per": FETCH_ROWS}
        width, ordered = len(reader.positions), relation.has_cursor
        for row in connection.execute(statement, execution_options=streaming):
            page.rows += 1
            self._number += 1
            order = row[width:]
            page.last = Position(order[0] if ordered else None, tuple(order[ordered:]))
            if record := self._take(reader, row[:width], page.last):
                yield record

    def _take(
        self, reader: RowReader, values: Sequence[object], last: Position
    ) -> SourceRecord | None:
        place, file = row_place(last.key), self._table.reads
        try:
            cells = [text_of(value) for value in values]
        except InvalidInput as error:
            self._tally.exclude(file, self._number, error.code)
            return None
        return self._tally.take(reader, cells, self._number, file=file, origin=place)

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """One transaction; a driver's error becomes one of ours, without its words."""
        try:
            with self._engine.connect() as connection:
                yield connection
        except (SQLAlchemyError, psycopg.Error, OSError, UnicodeError) as error:
            raise failure(error) from None


@dataclass(slots=True)
class _Page:
    """How far a page came: its rows, and the position of the last one."""

    rows: int = 0
    last: Position | None = None

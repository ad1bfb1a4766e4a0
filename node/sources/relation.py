"""A table or a query as SQLAlchemy sees it: its columns, its order, its pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import NoSuchTableError

from fairlead.errors import SourceUnusable
from node.sources.database import DatabaseTable
from node.sources.fingerprint import fingerprint
from node.sources.position import Position, Value

Column = sa.ColumnElement[Any]


class Relation:
    """What a mapping reads from, described.

    On PostgreSQL every cell is cast to text by the server, so that one value the driver cannot
    hold (``infinity``, the year 10000) costs one row; elsewhere cells come as the driver has
    them. The order's own columns are selected a second time as they are.
    """

    def __init__(
        self,
        origin: sa.FromClause,
        types: Sequence[tuple[str, sa.types.TypeEngine[Any] | None, str]],
        table: DatabaseTable,
        *,
        casts: bool,
        proven_unique: bool,
        maybe_null: Sequence[str],
        primary: Sequence[str] = (),
    ) -> None:
        self.primary = tuple(primary)
        """The primary key's columns, where a table states one."""
        self.names = [name for name, _, _ in types]
        self.has_cursor = table.cursor is not None
        self._kinds = {name: kind for name, _, kind in types}
        self._origin, self._casts = origin, casts
        self._proven_unique, self._maybe_null = proven_unique, tuple(maybe_null)
        known = {name: type_ for name, type_, _ in types}
        self._key = [sa.column(name, known.get(name)) for name in table.key]
        cursor = [sa.column(table.cursor, known.get(table.cursor))] if table.cursor else []
        self._order = [*cursor, *self._key]

    def fingerprint(self, columns: Iterable[str]) -> str:
        """Of these columns' names and types."""
        return fingerprint((name, self._kinds.get(name, "")) for name in columns)

    def page(self, positions: Sequence[int], after: Position | None, rows: int) -> sa.Select[Any]:
        """The wanted columns, then the order's columns, of the next rows behind a position."""
        cells: list[Column] = [sa.column(self.names[position]) for position in positions]
        if self._casts:
            cells = [sa.cast(cell, sa.Text) for cell in cells]
        cells = [cell.label(f"c{place}") for place, cell in enumerate(cells)]
        order = [column.label(f"o{place}") for place, column in enumerate(self._order)]
        statement = sa.select(*cells, *order).select_from(self._origin)
        for name in self._maybe_null:
            statement = statement.where(sa.column(name).is_not(None))
        if after is not None:
            statement = statement.where(self._behind(after))
        return statement.order_by(*self._order).limit(rows)

    def first(self, rows: int) -> sa.Select[Any]:
        """Every column of some rows, in no order."""
        cells: list[Column] = [sa.column(name) for name in self.names]
        if self._casts:
            cells = [sa.cast(cell, sa.Text) for cell in cells]
        labelled = [cell.label(f"c{place}") for place, cell in enumerate(cells)]
        return sa.select(*labelled).select_from(self._origin).limit(rows)

    def check_unique(self, connection: Connection) -> None:
        """The key tells every row apart: rows behind a mark are found by it.

        :raises SourceUnusable: ``KEY_NOT_UNIQUE``.
        """
        if self._proven_unique:
            return
        twice = (
            sa.select(sa.literal(1))
            .select_from(self._origin)
            .group_by(*self._key)
            .having(sa.func.count() > 1)
            .limit(1)
        )
        for column in self._key:
            twice = twice.where(column.is_not(None))
        if connection.execute(twice).first() is not None:
            raise SourceUnusable(
                "two rows of a source have the same key",
                reasons=("KEY_NOT_UNIQUE",),
                remedy="name columns in database.key that together tell every row apart",
            )

    def without_key(self, connection: Connection) -> int:
        """How many rows have no value in the key or in the cursor: no read can place them."""
        if not self._maybe_null:
            return 0
        missing = sa.or_(*[sa.column(name).is_(None) for name in self._maybe_null])
        count = sa.select(sa.func.count()).select_from(self._origin).where(missing)
        return int(connection.execute(count).scalar_one())

    def _behind(self, after: Position) -> Column:
        if self.has_cursor and not after.key:
            return self._order[0] >= after.cursor
        values: list[Value | None] = [after.cursor] if self.has_cursor else []
        values += after.key
        if len(values) != len(self._order):
            raise SourceUnusable(
                "the last read of a source had another order",
                reasons=("CURSOR",),
                remedy="read the source anew: fairlead-node index",
            )
        return _greater(self._order, values)


def describe(connection: Connection, table: DatabaseTable) -> Relation:
    """Ask the database what it has.

    :raises SourceUnusable: ``SCHEMA_CHANGED``, no such table.
    """
    casts = connection.dialect.name == "postgresql"
    wanted = [*table.key, *([table.cursor] if table.cursor else [])]
    if table.query is not None:
        inner = subquery(table.query)
        found = connection.execute(sa.select(sa.text("*")).select_from(inner).where(sa.false()))
        described = found.cursor.description if found.cursor is not None else ()
        types = [(str(c[0]), None, str(c[1] or "")) for c in described or ()]
        return Relation(inner, types, table, casts=casts, proven_unique=False, maybe_null=wanted)
    schema, _, name = str(table.table).rpartition(".")
    inspector = sa.inspect(connection)
    try:
        columns = inspector.get_columns(name, schema=schema or None)
    except NoSuchTableError:
        raise _no_table() from None
    typed = [(c["name"], c["type"] if casts else None, str(c["type"])) for c in columns]
    nullable = {column["name"] for column in columns if column.get("nullable", True)}
    primary = inspector.get_pk_constraint(name, schema=schema or None)["constrained_columns"]
    unique = [set(primary)] if primary else []
    indexes = inspector.get_indexes(name, schema=schema or None)
    unique += [
        {str(column) for column in index["column_names"]}
        for index in indexes
        if index["unique"] and None not in index["column_names"] and not _partial(index)
    ]
    return Relation(
        sa.table(name, schema=schema or None),
        typed,
        table,
        casts=casts,
        proven_unique=any(columns_ <= set(table.key) for columns_ in unique),
        maybe_null=[column for column in wanted if column in nullable - set(primary)],
        primary=primary,
    )


def _partial(index: Any) -> bool:
    return any("where" in str(option) for option in index.get("dialect_options", {}))


def subquery(query: str) -> sa.FromClause:
    """A query in brackets; nothing in it is taken for a parameter."""
    escaped = query.replace("\\", "\\\\").replace(":", "\\:")
    return sa.text(f"({escaped}) AS source")  # type: ignore[return-value]


def _greater(order: Sequence[Column], values: Sequence[Value | None]) -> Column:
    """``(a, b) > (x, y)`` written so that every dialect has it and an index on ``a`` serves."""
    first, value = order[0], values[0]
    if len(order) == 1:
        return first > value
    rest = sa.and_(first == value, _greater(order[1:], values[1:]))
    return sa.and_(first >= value, sa.or_(first > value, rest))


def _no_table() -> SourceUnusable:
    return SourceUnusable(
        "a source's database has no table of the mapping's name, or does not show it",
        reasons=("SCHEMA_CHANGED",),
        remedy="correct database.table, or grant SELECT, then: fairlead-node source test NAME",
    )

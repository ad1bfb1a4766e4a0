"""Counting a table or a query in its own database, through SQLAlchemy Core: SQLite, PostgreSQL.

One statement with a GROUP BY in one read-only session with a time limit; every word, number and
moment is a parameter, every name of a column is quoted. The database sees the mapping and the unit
of time and nothing of who asked. Only where a row is faulty a second statement finds which are.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from fairlead.errors import SourceUnusable
from node.figures.mapped_column import Cells, cells_of
from node.figures.mapped_fault import CHECK, gathered, uncountable
from node.figures.mapped_plan import Bars, Figure, Group, Plan, Rows, Total, Window
from node.figures.mapped_query import group_of
from node.sources.connecting import engine_of, failure
from node.sources.database import DatabaseTable
from node.sources.relation import subquery
from node.sources.row import ColumnsMissing

FETCH_ROWS = 1_000
MAX_PARAMETERS = 30_000
"""SQLite takes 32,766."""

Column = sa.ColumnElement[Any]


def count_database(
    table: DatabaseTable,
    plan: Plan,
    window: Window,
    *,
    base: Path,
    environ: Mapping[str, str],
    columns: Mapping[str, str],
) -> list[Group]:
    """What a table or query has in each place.

    :param columns: each key of the mapping and the column it names.
    :raises Uncountable: with the rows, numbered in the order of the key.
    :raises ColumnsMissing: with the columns.
    :raises SourceUnusable: ``URL``, ``DIALECT``, ``DRIVER_MISSING``, ``SOURCE_DOWN``, ``TIMEOUT``,
        ``SCHEMA_CHANGED``, ``COLUMN_TYPE``, ``MAP_TOO_LONG``.
    """
    engine = engine_of(table, base, environ)
    if engine.dialect.name not in {"sqlite", "postgresql"}:
        raise SourceUnusable(
            "a source's database is of a kind that is not counted in",
            reasons=("DIALECT",),
            remedy="count from sqlite or postgresql, or export a file of it",
        )
    if sum(2 * len(axis.places) for axis in plan.axes) > MAX_PARAMETERS:
        raise SourceUnusable(
            "a mapping has more words than a database takes at once",
            reasons=("MAP_TOO_LONG",),
            remedy="give the rows their codes in a view, and count by its column of codes",
        )
    try:
        with engine.connect() as connection, _limited(connection, table.timeout_s):
            return _count(connection, table, plan, window, columns)
    except (SQLAlchemyError, psycopg.Error, OSError, UnicodeError) as error:
        raise failure(error) from None


def _count(
    connection: Connection,
    table: DatabaseTable,
    plan: Plan,
    window: Window,
    columns: Mapping[str, str],
) -> list[Group]:
    origin = _origin(table)
    found = connection.execute(sa.select(sa.text("*")).select_from(origin).where(sa.false()))
    described = (found.cursor.description if found.cursor is not None else None) or ()
    names = [str(column[0]) for column in described]
    found.close()
    if wrong := [(key, name) for key, name in columns.items() if names.count(name) != 1]:
        raise ColumnsMissing(wrong, then=CHECK)
    kinds = {str(column[0]): column[1] for column in described}
    cells = cells_of(connection.dialect.name, kinds)
    rows = _placed(origin, (), cells, plan, window)
    groups = connection.execute(_counting(rows, plan)).fetchall()
    if any(row[1] for row in groups):
        rows = _placed(origin, table.key, cells, plan, window)
        streamed = connection.execute(
            _faulty(rows), execution_options={"stream_results": True, "yield_per": FETCH_ROWS}
        )
        numbered = ((int(number), int(which)) for number, which in streamed)
        raise uncountable(gathered(table.reads, plan.faults, numbered))
    return [group_of(plan, row) for row in groups if row[0]]


def _origin(table: DatabaseTable) -> sa.FromClause:
    if table.query is not None:
        return subquery(table.query)
    schema, _, name = str(table.table).rpartition(".")
    return sa.table(name, schema=schema or None)


def _placed(
    origin: sa.FromClause, key: Sequence[str], cells: Cells, plan: Plan, window: Window
) -> sa.Subquery:
    """Every row's places and numbers, whether it counts, and what is wrong with it; with a key, the
    row's own number in its order too."""
    read: list[Column] = []
    if key:
        order: list[Column] = [sa.column(name) for name in key]
        read.append(sa.func.row_number().over(order_by=order).label("number"))
    read += [cells.word(axis.column).label(f"a{n}") for n, axis in enumerate(plan.axes)]
    for place, figure in enumerate(plan.figures):
        if isinstance(figure, Rows):
            if figure.column is not None:
                read.append(cells.word(figure.column).label(f"f{place}"))
            continue
        span = figure.span if isinstance(figure, Bars) else None
        number = cells.number(figure.column) if span is None else cells.milliseconds(*span)
        empty = cells.empty(figure.column)
        if isinstance(figure, Total) and figure.empty_is_zero:
            number = sa.case((empty, sa.literal(0, sa.BigInteger)), else_=number)
        read += [number.label(f"f{place}"), empty.label(f"f{place}e")]
    read += [
        cells.readable(plan.date).label("d"),
        cells.within(plan.date, window.begins, window.ends).label("dated"),
    ]
    if plan.recorded is not None:
        read += [
            cells.readable(plan.recorded).label("e"),
            cells.until(plan.recorded, window.cut_off).label("kept"),
        ]
    inner = sa.select(*read).select_from(origin).subquery("s")
    placed = sa.select(
        *inner.c,
        *[
            sa.case(
                {word: sa.literal(to, sa.Integer) for word, to in axis.places.items()},
                value=inner.c[f"a{place}"],
                else_=sa.literal(axis.other, sa.Integer),
            ).label(f"p{place}")
            for place, axis in enumerate(plan.axes)
        ],
    ).subquery("p")
    counts = placed.c.dated if plan.recorded is None else sa.and_(placed.c.dated, placed.c.kept)
    return sa.select(
        *placed.c, counts.label("counts"), _fault(placed, plan).label("fault")
    ).subquery("q")


def _fault(rows: sa.Subquery, plan: Plan) -> Column:
    """The place among :attr:`Plan.faults` of what is wrong with a row, NULL where nothing is or
    where the row is not asked about."""
    none = sa.null()
    wrong: list[tuple[Column, Column]] = []
    place = 0

    def found(condition: Column) -> None:
        nonlocal place
        wrong.append((condition, sa.literal(place, sa.Integer)))
        place += 1

    found(sa.not_(rows.c.d))
    wrong.append((sa.not_(rows.c.dated), none))
    if plan.recorded is not None:
        found(sa.not_(rows.c.e))
        wrong.append((sa.not_(rows.c.kept), none))
    for number in range(len(plan.axes)):
        found(rows.c[f"p{number}"] < 0)
    for number, figure in enumerate(plan.figures):
        if not isinstance(figure, Rows):
            value = rows.c[f"f{number}"]
            unread: Column = value.is_(None)
            if isinstance(figure, Bars):
                unread = sa.and_(sa.not_(rows.c[f"f{number}e"]), unread)
            found(unread)
    return sa.case(*wrong, else_=none)


def _counting(rows: sa.Subquery, plan: Plan) -> sa.Select[Any]:
    places = [rows.c[f"p{place}"] for place, axis in enumerate(plan.axes) if axis.counted]
    numbers = [
        number
        for place, figure in enumerate(plan.figures)
        for number in _numbers(rows, place, figure)
    ]
    return (
        sa.select(sa.func.count(), sa.func.count(rows.c.fault), *places, *numbers)
        .select_from(rows)
        .where(sa.or_(rows.c.counts, rows.c.fault.is_not(None)))
        .group_by(*places)
    )


def _faulty(rows: sa.Subquery) -> sa.Select[Any]:
    wrong = rows.c.fault.is_not(None)
    return sa.select(rows.c.number, rows.c.fault).where(wrong).order_by(rows.c.number)


def _numbers(rows: sa.Subquery, place: int, figure: Figure) -> list[Column]:
    """A figure's numbers in a group."""
    if isinstance(figure, Rows) and figure.column is None:
        return [sa.func.count()]
    value = rows.c[f"f{place}"]
    if isinstance(figure, Total):
        times, more, by = (sa.literal(number, sa.BigInteger) for number in figure.whole)
        return [sa.func.sum((value * times + more) // by)]
    if isinstance(figure, Rows):
        return [_so_many(value != "" if figure.values is None else value.in_(figure.values))]
    lows: list[int | None] = [None, *figure.edges]
    highs: list[int | None] = [*figure.edges, None]
    return [
        _so_many(sa.and_(value.is_not(None), *_between(value, low, high)))
        for low, high in zip(lows, highs, strict=True)
    ]


def _between(value: Column, low: int | None, high: int | None) -> Iterator[Column]:
    if low is not None:
        yield value >= sa.literal(low, sa.BigInteger)
    if high is not None:
        yield value < sa.literal(high, sa.BigInteger)


def _so_many(condition: Column) -> Column:
    return sa.func.sum(sa.case((condition, sa.literal(1, sa.Integer)), else_=0))


@contextmanager
def _limited(connection: Connection, seconds: int) -> Iterator[None]:
    """SQLite has no time limit of its own; PostgreSQL's is an option of the session."""
    raw = connection.connection.driver_connection
    if connection.dialect.name != "sqlite" or raw is None:
        yield
        return
    timer = threading.Timer(seconds, raw.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()

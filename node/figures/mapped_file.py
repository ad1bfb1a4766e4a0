"""Counting a Parquet, CSV or JSON file in DuckDB: one pass, in bounded memory.

The statement's text is made of numbers and of quoted names of columns; every word of the mapping
is a parameter. Only where a row is faulty a second pass finds which rows are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import duckdb

from node.figures.mapped_fault import CHECK, Uncountable, changed, gathered, uncountable
from node.figures.mapped_plan import Group, Plan, Window
from node.figures.mapped_query import Statement, counting, faulty, group_of
from node.sources.csv import MAX_ROW, header_of, rejected_in
from node.sources.duck import BATCH_ROWS, BROKEN, confined, unreadable
from node.sources.files import Wanted
from node.sources.json import MAX_OBJECT, layout_of, open_json
from node.sources.mapping import Format
from node.sources.row import ColumnsMissing

MEMORY_MB = 512
"""What DuckDB may use for itself."""
THREADS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One file as DuckDB reads it: ``relation`` in SQL with its ``values``, and for each column of
    the mapping an expression and its type."""

    relation: str
    values: Mapping[str, object]
    cells: Mapping[str, tuple[str, str]]


def count_file(
    path: Path,
    kind: Format,
    plan: Plan,
    window: Window,
    *,
    columns: Mapping[str, str],
    name: str,
    delimiter: str = ",",
    memory_mb: int = MEMORY_MB,
    threads: int = THREADS,
) -> list[Group]:
    """What one file has in each place.

    :param columns: each key of the mapping and the column it names.
    :param name: what errors call the file.
    :raises Uncountable: with the rows. :raises ColumnsMissing: with the columns.
    :raises SourceUnusable: FILE_UNREADABLE, HEADER, SOURCE_CHANGED.
    """
    before = _state(path)
    with closing(confined(path, memory_mb=memory_mb, threads=threads)) as connection:
        try:
            shape = _SHAPES[kind](connection, path, columns, delimiter)
            found = _count(connection, shape, kind, plan, window, name)
        except BROKEN:
            if _state(path) != before:
                raise changed() from None
            raise unreadable() from None
        except Uncountable:
            if _state(path) != before:
                raise changed() from None
            raise
    if _state(path) != before:
        raise changed()
    return found


def _count(
    connection: duckdb.DuckDBPyConnection,
    shape: Shape,
    kind: Format,
    plan: Plan,
    window: Window,
    name: str,
) -> list[Group]:
    statement = counting(plan, window, Statement(shape.relation, shape.cells, shape.values))
    rows = connection.execute(statement.text, statement.values).fetchall()
    if kind is Format.CSV and (rejected := rejected_in(connection)):
        codes = sorted(set(rejected.values()))
        places = {code: place for place, code in enumerate(codes)}
        numbered = [(number, places[rejected[number]]) for number in sorted(rejected)]
        raise Uncountable(gathered(name, [("files", code) for code in codes], numbered))
    if any(row[1] for row in rows):
        statement = faulty(plan, window, Statement(shape.relation, shape.cells, shape.values))
        result = connection.execute(statement.text, statement.values)
        raise uncountable(gathered(name, plan.faults, _stream(result)))
    return [group_of(plan, row) for row in rows if row[0]]


def _stream(result: duckdb.DuckDBPyConnection) -> Iterator[tuple[int, int]]:
    while rows := result.fetchmany(BATCH_ROWS):
        yield from rows


def _state(path: Path) -> tuple[int, ...]:
    """What changes when a file is written to, or another takes its place."""
    try:
        found = path.stat()
    except OSError:
        raise unreadable() from None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


# ── Formats ──────────────────────────────────────────────────────────────────────────────────


def _parquet(
    connection: duckdb.DuckDBPyConnection, path: Path, columns: Mapping[str, str], _: str
) -> Shape:
    relation, values = "read_parquet($path, hive_partitioning = false)", {"path": str(path)}
    query = f"SELECT * FROM {relation} LIMIT 0"  # noqa: S608  (a constant)
    described = connection.execute(query, values).description or []
    kinds = {str(column[0]): str(column[1]) for column in described}
    _check([str(column[0]) for column in described], columns)
    cells = {column: (_quoted(column), kinds[column]) for column in columns.values()}
    return Shape(relation=relation, values=values, cells=cells)


def _csv(
    _connection: duckdb.DuckDBPyConnection, path: Path, columns: Mapping[str, str], delimiter: str
) -> Shape:
    header = header_of(path, delimiter)
    _check(header, columns)
    kinds = ", ".join(f"'c{place}': 'VARCHAR'" for place in range(len(header)))
    relation = (
        f"read_csv($path, columns = {{{kinds}}}, header = true, delim = $delimiter, quote = '\"',"
        " escape = '\"', auto_detect = false, compression = 'none', ignore_errors = true,"
        " store_rejects = true, max_line_size = $max_row, hive_partitioning = false)"
    )
    values = {"path": str(path), "delimiter": delimiter, "max_row": MAX_ROW}
    cells = {column: (f"c{header.index(column)}", "VARCHAR") for column in columns.values()}
    return Shape(relation=relation, values=values, cells=cells)


def _json(
    _connection: duckdb.DuckDBPyConnection, path: Path, columns: Mapping[str, str], _: str
) -> Shape:
    with open_json(path, Wanted()) as table:
        _check(list(table.header), columns)
    layout = layout_of(path)
    relation = (
        "read_json_objects($path, format = $layout, maximum_object_size = $max,"
        " ignore_errors = $lines, compression = 'none')"
    )
    lines = layout == "newline_delimited"
    values: dict[str, object] = {
        "path": str(path), "layout": layout, "max": MAX_OBJECT, "lines": lines,
    }  # fmt: skip
    cells = {}
    for place, column in enumerate(sorted(set(columns.values()))):
        pointer = column.replace("~", "~0").replace("/", "~1")
        values[f"key{place}"] = f"/{pointer}"
        cells[column] = (f"json_extract_string(json, $key{place})", "VARCHAR")
    return Shape(relation=relation, values=values, cells=cells)


_SHAPES: Mapping[
    Format, Callable[[duckdb.DuckDBPyConnection, Path, Mapping[str, str], str], Shape]
] = {Format.PARQUET: _parquet, Format.CSV: _csv, Format.JSON: _json}


def _check(header: list[str], columns: Mapping[str, str]) -> None:
    if wrong := [(key, column) for key, column in columns.items() if header.count(column) != 1]:
        raise ColumnsMissing(wrong, then=CHECK)


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'

"""The statement by which DuckDB counts. Pure: text and parameters.

From the inside out: the mapped columns of every row as they are compared (a moment in microseconds,
a word, a number in thousandths); its places, found in the mapping's words, and what is wrong with
it; the groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from node.figures.mapped_plan import (
    MICROSECONDS,
    Bars,
    Figure,
    Group,
    Moments,
    Plan,
    Rows,
    Total,
    Window,
)

_OFFSET = r"[T ][0-9]{2}:.*([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)$"
"""How a text shows that a moment states its offset."""
_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT",
            "UINTEGER", "UBIGINT", "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL")  # fmt: skip


class Statement:
    """A statement under way: its text in the end, and the values of its parameters."""

    def __init__(
        self, relation: str, cells: Mapping[str, tuple[str, str]], values: Mapping[str, object]
    ) -> None:
        self.relation = relation
        self.text = ""
        self.values: dict[str, object] = dict(values)
        self._cells = cells

    def bind(self, value: object) -> str:
        """The name under which the text has a value."""
        name = f"v{len(self.values)}"
        self.values[name] = value
        return f"${name}"

    def cell(self, column: str) -> tuple[str, str]:
        """A column's expression and type."""
        return self._cells[column]


def counting(plan: Plan, window: Window, statement: Statement) -> Statement:
    """Rows, faults, places and numbers of each group."""
    rows = _placed(plan, window, statement, numbered=False)
    places = [f"p{place}" for place, axis in enumerate(plan.axes) if axis.counted]
    numbers = [
        text
        for place, figure in enumerate(plan.figures)
        for text in _numbers(place, figure, statement)
    ]
    wanted = ", ".join(["count(*)", "count(fault)", *places, *numbers])
    groups = f" GROUP BY {', '.join(places)}" if places else ""
    statement.text = f"SELECT {wanted} FROM ({rows}) WHERE counts OR fault IS NOT NULL{groups}"  # noqa: S608
    return statement


def faulty(plan: Plan, window: Window, statement: Statement) -> Statement:
    """The number of each faulty row (from 1) and the place of what is wrong with it first."""
    rows = _placed(plan, window, statement, numbered=True)
    statement.text = f"SELECT number, fault FROM ({rows}) WHERE fault IS NOT NULL ORDER BY number"  # noqa: S608
    return statement


def group_of(plan: Plan, row: Sequence[Any]) -> Group:
    """A row of :func:`counting`."""
    width = sum(axis.counted for axis in plan.axes)
    rest = [int(value or 0) for value in row[2 + width :]]
    numbers = []
    for figure in plan.figures:
        size = len(figure.edges) + 1 if isinstance(figure, Bars) else 1
        numbers.append(tuple(rest[:size]))
        rest = rest[size:]
    return Group(places=tuple(row[2 : 2 + width]), rows=int(row[0]), numbers=tuple(numbers))


# ── Rows with their places ───────────────────────────────────────────────────────────────────


def _placed(plan: Plan, window: Window, statement: Statement, *, numbered: bool) -> str:
    cells, joins = ["s.*"], []
    for place, axis in enumerate(plan.axes):
        words = statement.bind(list(axis.places))
        places = statement.bind(list(axis.places.values()))
        joins.append(
            f"LEFT JOIN (SELECT unnest({words}) AS word, unnest({places}) AS place) AS j{place}"
            f" ON s.a{place} = j{place}.word"
        )
        cells.append(f"coalesce(j{place}.place, {int(axis.other)}) AS p{place}")
    dated = _within("d", plan.date, window.begins, window.ends)
    read = f"SELECT * FROM ({_read(plan, statement, numbered)}) WHERE d IS NULL OR ({dated})"  # noqa: S608
    inner = " ".join([f"SELECT {', '.join(cells)} FROM ({read}) AS s", *joins])  # noqa: S608
    kept = "true" if plan.recorded is None else _until("e", plan.recorded, window.cut_off)
    return (
        f"SELECT *, ({dated}) AND ({kept}) AS counts, {_fault(plan, dated, kept)} AS fault"  # noqa: S608
        f" FROM ({inner})"
    )


def _read(plan: Plan, statement: Statement, numbered: bool) -> str:
    """Every row's moments, words and numbers."""
    cells = ["row_number() OVER () AS number"] if numbered else []
    for name, moments in (("d", plan.date), ("e", plan.recorded)):
        if moments is not None:
            instant, aware = _moment(moments, statement)
            cells += [f"{instant} AS {name}", f"{aware} AS {name}z"]
    for place, axis in enumerate(plan.axes):
        cells.append(f"{_word(statement.cell(axis.column)[0])} AS a{place}")
    for place, figure in enumerate(plan.figures):
        if isinstance(figure, Rows):
            if figure.column is not None:
                cells.append(f"{_word(statement.cell(figure.column)[0])} AS f{place}")
        else:
            number, empty = _number(*statement.cell(figure.column))
            if isinstance(figure, Bars) and figure.span is not None:
                number = _milliseconds(*figure.span, statement)
            if isinstance(figure, Total) and figure.empty_is_zero:
                number = f"CASE WHEN {empty} THEN 0 ELSE {number} END"
            cells += [f"{number} AS f{place}", f"{empty} AS f{place}e"]
    return f"SELECT {', '.join(cells)} FROM {statement.relation}"  # noqa: S608  (names are quoted)


def _word(cell: str) -> str:
    return f"coalesce(trim(CAST({cell} AS VARCHAR)), '')"


def _number(cell: str, kind: str) -> tuple[str, str]:
    """A number in thousandths, NULL where there is none; and whether the cell is empty."""
    plain = kind.startswith(_NUMBERS)
    text = cell if plain else f"trim(CAST({cell} AS VARCHAR))"
    number = f"CAST(TRY_CAST({text} AS DECIMAL(15, 3)) * 1000 AS BIGINT)"
    return number, (f"{cell} IS NULL" if plain else f"{_word(cell)} = ''")


def _milliseconds(since: Moments, until: Moments, statement: Statement) -> str:
    """Thousandths of a second between two moments; NULL where one cannot be read, or only one of
    them states its offset."""
    begin, begins_aware = _moment(since, statement)
    end, ends_aware = _moment(until, statement)
    return f"CASE WHEN ({begins_aware}) = ({ends_aware}) THEN (({end}) - ({begin})) // 1000 END"


def _moment(moments: Moments, statement: Statement) -> tuple[str, str]:
    """Microseconds, NULL where they cannot be read, and whether they count from 1970 in UTC; else
    they are what a clock of the mapping's zone shows."""
    cell, kind = statement.cell(moments.column)
    text = f"trim(CAST({cell} AS VARCHAR))"
    if moments.unix:
        number = cell if kind.startswith(_NUMBERS) else text
        return f"TRY_CAST(TRY_CAST({number} AS DOUBLE) * {MICROSECONDS} AS BIGINT)", "true"
    if kind.startswith("TIMESTAMP WITH TIME ZONE"):
        return f"epoch_us({cell})", "true"
    if kind.startswith(("TIMESTAMP", "DATE")):
        return f"epoch_us(CAST({cell} AS TIMESTAMP))", "false"
    aware = f"coalesce(regexp_matches({text}, '{_OFFSET}'), false)"
    instant = (
        f"CASE WHEN {aware} THEN epoch_us(TRY_CAST({text} AS TIMESTAMP WITH TIME ZONE))"
        f" ELSE epoch_us(TRY_CAST({text} AS TIMESTAMP)) END"
    )
    return instant, aware


# ── What counts, and what is wrong ───────────────────────────────────────────────────────────


def _within(name: str, moments: Moments, begins: int, ends: int) -> str:
    first, last = begins * MICROSECONDS, ends * MICROSECONDS
    walls = [moments.wall_us(moment) for moment in (begins, ends)]
    return (
        f"CASE WHEN {name}z THEN {name} >= {first} AND {name} < {last}"
        f" ELSE {name} >= {walls[0]} AND {name} < {walls[1]} END"
    )


def _until(name: str, moments: Moments, cut_off: float) -> str:
    last = round(cut_off * MICROSECONDS)
    return f"{name} <= CASE WHEN {name}z THEN {last} ELSE {moments.wall_us(cut_off)} END"


def _fault(plan: Plan, dated: str, kept: str) -> str:
    """The place among :attr:`Plan.faults` of what is wrong with a row, NULL where nothing is or
    where the row is not asked about."""
    wrong, place = [f"WHEN d IS NULL THEN 0 WHEN NOT ({dated}) THEN NULL"], 1
    if plan.recorded is not None:
        wrong.append(f"WHEN e IS NULL THEN {place} WHEN NOT ({kept}) THEN NULL")
        place += 1
    for number in range(len(plan.axes)):
        wrong.append(f"WHEN p{number} < 0 THEN {place}")
        place += 1
    for number, figure in enumerate(plan.figures):
        if isinstance(figure, Rows):
            continue
        value = f"f{number}"
        unread = f"({value} IS NULL OR {value} < 0)"
        if isinstance(figure, Bars):
            unread = f"NOT {value}e AND {unread}"
        wrong.append(f"WHEN {unread} THEN {place}")
        place += 1
    return f"CASE {' '.join(wrong)} END"


def _numbers(place: int, figure: Figure, statement: Statement) -> list[str]:
    """A figure's numbers in a group."""
    value = f"f{place}"
    if isinstance(figure, Total):
        times, more, by = figure.whole
        return [f"sum(({value} * {times} + {more}) // {by})"]
    if isinstance(figure, Rows):
        if figure.column is None:
            return ["count(*)"]
        if figure.values is None:
            return [f"count(*) FILTER (WHERE {value} <> '')"]
        words = ", ".join(statement.bind(word) for word in figure.values)
        return [f"count(*) FILTER (WHERE {value} IN ({words}))"]
    lows = [None, *figure.edges]
    highs = [*figure.edges, None]
    return [
        f"count(*) FILTER (WHERE {_between(value, low, high)})"
        for low, high in zip(lows, highs, strict=True)
    ]


def _between(value: str, low: int | None, high: int | None) -> str:
    parts = [f"{value} IS NOT NULL"]
    parts += [] if low is None else [f"{value} >= {low}"]
    parts += [] if high is None else [f"{value} < {high}"]
    return " AND ".join(parts)

"""Tables and queries counted in their own database: SQLite and PostgreSQL."""

from __future__ import annotations

import sqlite3
import time
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from fairlead.cubes.period import parse_unit
from fairlead.errors import FairleadError, SourceUnusable
from node.figures import mapped_sql
from node.figures.mapped_fault import Uncountable
from node.figures.mapped_form import FiguresMapping
from node.figures.mapped_plan import Group, Plan
from node.figures.mapped_query import group_of
from node.sources.row import ColumnsMissing
from tests.mapped import CUT_OFF, DATABASE, counted, mapping, plainly, registry, rows, write_sqlite
from tests.postgres import postgres
from tests.test_figures_files import ASKED, MANY, good, spoilt

TYPED = (
    "CREATE TABLE rows (id integer PRIMARY KEY, at timestamptz, entered bigint, port text,"
    " how text, state text, kg double precision, hours numeric)"
)


def sqlite_mapping(folder: Path, *changes: tuple[str, str]) -> FiguresMapping:
    """The standard mapping of the table ``rows`` of ``rows.db``."""
    return mapping(folder, DATABASE.replace("URL", "sqlite:///rows.db"), *changes)


def code_of(caught: pytest.ExceptionInfo[FairleadError]) -> str:
    return caught.value.code


# ── SQLite ───────────────────────────────────────────────────────────────────────────────────


def test_a_table_is_counted_as_by_a_plain_loop(tmp_path: Path) -> None:
    """A hundred thousand rows of SQLite give the records and words that a loop over them finds."""
    many = rows(MANY, seed=11)
    write_sqlite(tmp_path / "rows.db", many)
    found = sqlite_mapping(tmp_path)
    cube = registry().cube("reports")
    for level, unit in ASKED[:3]:
        truth = plainly(many, cube, cube.level(level), parse_unit(unit), CUT_OFF)
        assert counted(found, level, unit) == truth, (level, unit)


def test_of_a_table_only_its_groups_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite adds up itself: what comes back is a row for each cell that has records, at most."""
    write_sqlite(tmp_path / "rows.db", rows(2_000))
    fetched: list[object] = []

    def seen(plan: Plan, row: Any) -> Group:
        fetched.append(row)
        return group_of(plan, row)

    monkeypatch.setattr(mapped_sql, "group_of", seen)
    found = counted(sqlite_mapping(tmp_path), "quarter,country", "2026-Q1")
    assert sum(found.records) > 100
    assert len(fetched) == sum(n > 0 for n in found.records)


def test_faulty_rows_of_a_table_are_numbered_in_the_order_of_its_key(tmp_path: Path) -> None:
    """A table says the same of faulty rows as a file, whatever order its rows lie in."""
    wrong = spoilt()
    write_sqlite(tmp_path / "rows.db", [row for row in reversed(wrong) if row["hours"] != "soon"])
    with pytest.raises(Uncountable) as caught:
        counted(sqlite_mapping(tmp_path), "month,port,kind", "2026-01")
    assert [(f.part, f.key, f.code, f.ranges) for f in caught.value.faults] == [
        ("rows", "date.column", "DATE_UNREADABLE", [(12, 12)]),
        ("rows", "dimensions.place", "FIGURES_CODES", [(3, 5), (9, 9)]),
        ("rows", "measures.kg", "NUMBER_UNREADABLE", [(20, 20)]),
    ]


@pytest.mark.parametrize(
    "at", ["now", "2460000", 2460000.5, "2026-01-05 noon", "2026-13-01", b"x", None]
)
def test_what_sqlite_would_take_for_a_moment_is_none(tmp_path: Path, at: object) -> None:
    """Words and Julian days that SQLite's own functions understand are no dates of a record."""
    write_sqlite(tmp_path / "rows.db", [good(1) | {"at": at}])
    with pytest.raises(Uncountable) as caught:
        counted(sqlite_mapping(tmp_path), "year", "2026")
    assert [fault.code for fault in caught.value.faults] == ["DATE_UNREADABLE"]


def test_columns_of_a_table_may_have_any_name(tmp_path: Path) -> None:
    """Quotes, placeholders and statements in a column's name are only a name."""
    for name in (
        'po"rt',
        "po'rt",
        "po:rt",
        "p%s",
        "?",
        "number",
        "d",
        "group",
        '"; DROP TABLE rows',
    ):
        path = tmp_path / "rows.db"
        path.unlink(missing_ok=True)
        write_sqlite(path, rows(30))
        quoted = name.replace('"', '""')
        with sqlite3.connect(path) as connection:
            connection.execute(f'ALTER TABLE rows RENAME COLUMN port TO "{quoted}"')
        connection.close()
        written = name.replace('"', '\\"')
        found = sqlite_mapping(tmp_path, ('column = "port"', f'column = "{written}"'))
        cube = registry().cube("reports")
        level, unit = cube.level("month,port,kind"), parse_unit("2026-01")
        assert counted(found, level.name, "2026-01") == plainly(
            rows(30), cube, level, unit, CUT_OFF
        )


def test_a_time_is_counted_between_two_columns_of_a_table(tmp_path: Path) -> None:
    """SQLite counts the time between two columns as DuckDB does, and finds the same faults."""
    change = ('unit = "hours"\ncolumn = "hours"', 'unit = "days"\ncolumn = "state"\nsince = "at"')
    ends = ["2026-01-06T11:59:59Z", "2026-01-06T12:00:00Z", "2026-01-12 13:00:00+01:00", ""]
    write_sqlite(tmp_path / "rows.db", [good(n, state=end) for n, end in enumerate(ends, 1)])
    found = sqlite_mapping(tmp_path, change)
    assert counted(found, "year", "2026").values[0][3:] == (1, 1, 1, 0)
    (tmp_path / "rows.db").unlink()
    wrong = ["2026-01-04T00:00:00Z", "2026-02-05T12:00:00", "2026-02-30"]
    write_sqlite(tmp_path / "rows.db", [good(n, state=end) for n, end in enumerate(wrong, 1)])
    with pytest.raises(Uncountable) as caught:
        counted(found, "year", "2026")
    assert [(f.key, f.ranges) for f in caught.value.faults] == [("measures.days", [(1, 3)])]


def test_a_query_is_counted_and_cannot_write(tmp_path: Path) -> None:
    """A query with colons and percent signs is counted; a missing column or table is named."""
    write_sqlite(tmp_path / "rows.db", rows(50))
    query = "query = \"SELECT *, '50%:x' AS note FROM rows WHERE id > 10\""
    found = sqlite_mapping(tmp_path, ('table = "rows"', query))
    cube = registry().cube("reports")
    level, unit = cube.level("year"), parse_unit("2026")
    assert counted(found, "year", "2026") == plainly(rows(50)[10:], cube, level, unit, CUT_OFF)
    with pytest.raises(ColumnsMissing) as caught:
        counted(sqlite_mapping(tmp_path, ('column = "kg"', 'column = "lb"')), "year", "2026")
    assert caught.value.missing == (("measures.kg.column", "lb"),)
    with pytest.raises(SourceUnusable) as gone:
        counted(sqlite_mapping(tmp_path, ('table = "rows"', 'table = "row"')), "year", "2026")
    assert code_of(gone) == "SCHEMA_CHANGED"


def test_an_endless_query_ends_at_its_time(tmp_path: Path) -> None:
    """A statement that SQLite would never end is interrupted, which says so."""
    write_sqlite(tmp_path / "rows.db", rows(5))
    endless = (
        'query = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)'
        ' SELECT rows.* FROM n JOIN rows ON rows.id = i"\ntimeout_s = 1'
    )
    began = time.monotonic()
    with pytest.raises(SourceUnusable) as caught:
        counted(sqlite_mapping(tmp_path, ('table = "rows"', endless)), "year", "2026")
    assert code_of(caught) == "TIMEOUT"
    assert time.monotonic() - began < 10


def test_a_map_longer_than_a_statement_is_refused(tmp_path: Path) -> None:
    """A mapping with more words than a statement may hold is refused before it is sent."""
    write_sqlite(tmp_path / "rows.db", rows(5))
    words = ", ".join(f'"w{n}" = "NLRTM"' for n in range(16_000))
    changes = (('map = { "R\'dam"', f'map = {{ {words}, "R\'dam"'),)
    with pytest.raises(SourceUnusable) as caught:
        counted(sqlite_mapping(tmp_path, *changes), "year", "2026")
    assert code_of(caught) == "MAP_TOO_LONG"


# ── PostgreSQL ───────────────────────────────────────────────────────────────────────────────


def _typed(row: dict[str, Any]) -> tuple[object, ...]:
    at = datetime.fromisoformat(row["at"])
    at = at if at.tzinfo else at.replace(tzinfo=ZoneInfo("Europe/Amsterdam"))
    kg, hours = (None if row[name] == "" else row[name] for name in ("kg", "hours"))
    return row["id"], at, row["entered"], row["port"] or None, row["how"], row["state"], kg, hours


def test_postgresql_counts_in_one_read_only_statement(tmp_path: Path) -> None:
    """PostgreSQL counts like a loop, numbers faulty rows by the key, sees no word of the mapping in
    the statement's text, and refuses a write, a text for a date and a statement without an end."""
    found = rows(3_000)
    with postgres() as server:
        server.run(TYPED, "CREATE ROLE reader LOGIN", "GRANT SELECT ON rows TO reader")
        with server.admin() as connection, connection.cursor() as cursor:
            marks = ", ".join(["%s"] * 8)
            typed = [_typed(row) for row in found]
            cursor.executemany(f"INSERT INTO rows VALUES ({marks})", typed)  # noqa: S608
        at = mapping(tmp_path, DATABASE.replace("URL", server.url(user="reader")))
        cube = registry().cube("reports")
        begin = server.size_of_log()
        for level, unit in ASKED:
            truth = plainly(found, cube, cube.level(level), parse_unit(unit), CUT_OFF)
            assert counted(at, level, unit) == truth, (level, unit)
        said = server.statements(begin, of="fairlead-node")
        assert not [line for line in said if "DROP TABLE" in line and "DETAIL" not in line]
        read = [line for line in said if "FROM rows" in line and "WHERE false" not in line]
        assert len(read) == len(ASKED)
        assert all("execute <unnamed>: SELECT count(*)" in line for line in read)
        server.run("UPDATE rows SET port = 'x', at = '2026-01-05Z', entered = 0 WHERE id IN (7, 8)",
                   "UPDATE rows SET kg = 'NaN', at = '2026-01-05Z', entered = 0 WHERE id = 10",
                   "UPDATE rows SET at = NULL WHERE id = 12")  # fmt: skip
        with pytest.raises(Uncountable) as caught:
            counted(at, "year", "2026")
        assert [(f.key, f.ranges) for f in caught.value.faults] == [
            ("date.column", [(12, 12)]), ("dimensions.place", [(7, 8)]),
            ("measures.kg", [(10, 10)]),
        ]  # fmt: skip
        refused = {
            "COLUMN_TYPE": "SELECT id, CAST(at AS text) AS at, entered, port, how, state, kg, hours"
                           " FROM rows",
            "SOURCE_DOWN": "WITH w AS (DELETE FROM rows RETURNING *) SELECT * FROM w",
            "TIMEOUT": "SELECT rows.* FROM rows, pg_sleep(30)",
        }  # fmt: skip
        for code, query in refused.items():
            change = ('table = "rows"', f'query = "{query}"\ntimeout_s = 1')
            with pytest.raises(SourceUnusable) as stopped:
                head = DATABASE.replace("URL", server.url())
                counted(mapping(tmp_path, head, change), "year", "2026")
            assert stopped.value.code == code
        with server.admin() as connection:
            left = connection.execute("SELECT count(*) FROM rows").fetchone()
        assert left == (3_000,)

"""Databases as sources: read by pages of the key, resumed at a mark, and never written to."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.config import ConfigurationInvalid
from fairlead.errors import FairleadError, Misconfigured, SourceUnusable
from node.sources.database import holds_secret
from node.sources.incident import Incident, incident_of, schema_changed, shrank
from node.sources.mapping import load_mapping
from node.sources.opening import open_source
from node.sources.position import read_position
from node.sources.record import SourceRecord
from node.sources.source import Mark, records_of
from node.sources.sql import DatabaseSource
from tests.postgres import Postgres, postgres

NOW = 1_790_000_000.0
MAPPING = """
source = "moves"
record_type = "movement"
event = { column = "direction", map = { IN = "gate-in", OUT = "gate-out" } }
purposes = ["drug-trafficking"]
retention_days = 3650
active_target = false
personal = false
[database]
url = "URL"
table = "moves"
key = ["id"]
[[identifiers]]
scheme = "container"
column = "box"
[time]
column = "at"
timezone = "Europe/Amsterdam"
[handling]
tlp = "AMBER"
pap = "AMBER"
europol = "H0"
source_grade = "A"
information_grade = "1"
[fields]
place = "place"
"""
CURSOR = ('key = ["id"]', 'key = ["id"]\ncursor = "changed"')
TABLE = """CREATE TABLE moves (id integer PRIMARY KEY, at timestamptz, direction text NOT NULL,
 box text, place text, changed integer)"""


def fill(first: int, last: int) -> str:
    """Rows with these ids, all about one container, one a minute."""
    rows = f"FROM generate_series({first}, {last}) g"
    return (
        "INSERT INTO moves SELECT g, timestamptz '2026-09-01 10:00:00Z' + g * interval '1 minute',"
        f" 'IN', 'MSCU6639870', 'Gate ' || g % 9, g {rows}"
    )


def source(
    folder: Path, url: str, *changes: tuple[str, str], page_rows: int = 100
) -> DatabaseSource:
    """The standard mapping of the table, changed."""
    text = MAPPING.replace("URL", url)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "moves.toml").write_text(text, encoding="utf-8")
    mapping = load_mapping(folder / "moves.toml")
    assert mapping.file.database is not None
    return DatabaseSource(mapping, mapping.file.database, now=NOW, environ={}, page_rows=page_rows)


def read(found: DatabaseSource, after: str = "") -> tuple[list[SourceRecord], list[str]]:
    """Records and the cursors of the marks of the only part."""
    (part,) = found.parts()
    things = list(found.read(part, after=after))
    marks = [thing.cursor for thing in things if isinstance(thing, Mark)]
    return [thing for thing in things if isinstance(thing, SourceRecord)], marks


def code_of(caught: pytest.ExceptionInfo[FairleadError]) -> str:
    return caught.value.code


# ── SQLite ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def lite(tmp_path: Path) -> str:
    """A database file with 250 rows; the URL is relative to the mapping."""
    with sqlite3.connect(tmp_path / "moves.db") as connection:
        connection.execute(TABLE)
        rows = [(n, f"2026-09-01T10:{n % 60:02d}:00Z", "IN", "MSCU6639870", "Gate 7", n)
                for n in range(250)]  # fmt: skip
        connection.executemany("INSERT INTO moves VALUES (?, ?, ?, ?, ?, ?)", rows)
    connection.close()
    return "sqlite:///moves.db"


def change(folder: Path, *statements: str) -> None:
    """The owner's own program writes to the file."""
    with sqlite3.connect(folder / "moves.db") as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def test_a_table_is_read_by_pages_and_resumed_at_any_mark(lite: str, tmp_path: Path) -> None:
    """Every row once, in the key's order, and behind a mark exactly the rest."""
    found = source(tmp_path, lite)
    records, marks = read(found)
    origins = [record.origin for record in records]
    assert len(set(origins)) == 250
    assert len(marks) == 3
    for place, mark in enumerate(marks, 1):
        rest, _ = read(source(tmp_path, lite), after=mark)
        assert [record.origin for record in rest] == origins[place * 100 :]
    assert found.report().rows == 250


def test_a_cursor_gives_what_is_new_or_changed_and_its_equals_again(
    lite: str, tmp_path: Path
) -> None:
    """After a complete read, the next one starts with the rows that share the last value."""
    records, marks = read(source(tmp_path, lite, CURSOR))
    assert len(records) == 250
    change(
        tmp_path,
        "UPDATE moves SET changed = 249 WHERE id = 3",
        "UPDATE moves SET changed = 300, place = 'Gate 8' WHERE id = 5",
        "INSERT INTO moves VALUES (900, '2026-09-02T10:00:00Z', 'OUT', 'CSQU3054383', 'x', 301)",
    )
    found = source(tmp_path, lite, CURSOR)
    again, last = read(found, after=marks[-1])
    assert found.parts()[0].appends
    assert [json.loads(record.origin.split("|")[2])[0][1] for record in again] == [
        "3", "249", "5", "900"
    ]  # fmt: skip
    assert {record.origin for record in again} - {record.origin for record in records} == {
        'moves|moves|[["int", "900"]]'
    }
    assert read(source(tmp_path, lite, CURSOR), after=last[-1])[0][0].event == "gate-out"


def test_rows_without_a_key_or_cursor_are_counted(lite: str, tmp_path: Path) -> None:
    """A row that no read can place is excluded by reason rather than silently absent."""
    change(tmp_path, "UPDATE moves SET changed = NULL WHERE id < 7")
    found = source(tmp_path, lite, CURSOR)
    records, _ = read(found)
    assert len(records) == 243
    assert found.report().reasons == {"KEY_MISSING": 7}
    assert found.report().rows == 250


def test_a_key_that_is_not_unique_is_refused(lite: str, tmp_path: Path) -> None:
    """Rows behind a mark are found by the key, so two rows of one key are an error."""
    with pytest.raises(SourceUnusable) as caught:
        read(source(tmp_path, lite, ('key = ["id"]', 'key = ["box"]')))
    assert code_of(caught) == "KEY_NOT_UNIQUE"
    assert incident_of(caught.value) is Incident.SCHEMA_CHANGED


def test_a_key_of_two_columns_is_paged_in_order(lite: str, tmp_path: Path) -> None:
    """Composite keys need no index to be right."""
    changes = ('key = ["id"]', 'key = ["box", "id"]')
    records, marks = read(source(tmp_path, lite, changes))
    assert len({record.origin for record in records}) == 250
    rest, _ = read(source(tmp_path, lite, changes), after=marks[1])
    assert len(rest) == 50


def test_a_query_is_read_like_a_table(lite: str, tmp_path: Path) -> None:
    """Colons and percent signs in a query are text, and its columns may be renamed."""
    query = "SELECT id, at, direction, box, '50%:x' AS place FROM moves WHERE id < 120"
    records, marks = read(source(tmp_path, lite, ('table = "moves"', f'query = "{query}"')))
    assert len(records) == 120
    assert records[0].fields == {"place": "50%:x"}
    assert len(marks) == 2


def test_octets_that_are_no_text_exclude_one_row(lite: str, tmp_path: Path) -> None:
    """A value that is not UTF-8 costs its row, not the page."""
    change(tmp_path, "UPDATE moves SET place = CAST(x'ff5a' AS TEXT) WHERE id = 5")
    found = source(tmp_path, lite)
    records, _ = read(found)
    assert len(records) == 249
    assert [(row.row, row.reason) for row in found.report().excluded] == [(6, "ENCODING")]


def test_a_database_file_is_opened_read_only(lite: str, tmp_path: Path) -> None:
    """The connection of a source cannot write, whatever the file's mode says."""
    with source(tmp_path, lite)._connected() as connection:
        for statement in ("DELETE FROM moves", "CREATE TABLE t (a)", "PRAGMA user_version = 5"):
            with pytest.raises(Exception, match="readonly"):
                connection.exec_driver_sql(statement)


def test_a_lost_file_and_a_lost_table_are_told_apart(lite: str, tmp_path: Path) -> None:
    """One is a source that is down, the other a source that changed."""
    change(tmp_path, "ALTER TABLE moves RENAME TO gone")
    with pytest.raises(SourceUnusable) as caught:
        source(tmp_path, lite).parts()
    assert incident_of(caught.value) is Incident.SCHEMA_CHANGED
    (tmp_path / "moves.db").unlink()
    with pytest.raises(SourceUnusable) as caught:
        source(tmp_path, lite).parts()
    assert code_of(caught) == "SOURCE_DOWN"
    assert not (tmp_path / "moves.db").exists()


def test_a_renamed_column_is_named_and_another_type_changes_the_fingerprint(
    lite: str, tmp_path: Path
) -> None:
    """What the mapping needs is compared; a column that it does not need may come and go."""
    (before,) = source(tmp_path, lite).parts()
    change(tmp_path, "ALTER TABLE moves ADD COLUMN other text")
    assert source(tmp_path, lite).parts()[0].schema == before.schema
    change(tmp_path, "ALTER TABLE moves RENAME COLUMN box TO bax")
    with pytest.raises(SourceUnusable) as caught:
        source(tmp_path, lite).parts()
    assert code_of(caught) == "COLUMN_MISSING"
    assert incident_of(caught.value) is Incident.SCHEMA_CHANGED
    change(tmp_path, "ALTER TABLE moves ADD COLUMN box integer")
    (after,) = source(tmp_path, lite).parts()
    assert schema_changed(before.schema, after.schema)


# ── Mapping and URL ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://node:hunter2@db/port", "postgresql://db/port?password=hunter2",
        "postgresql://db/port?sslpassword=x", "just-a-word", "env:", "postgresql://:hunter2@[",
    ],
)  # fmt: skip
def test_a_password_never_stands_in_a_mapping(tmp_path: Path, url: str) -> None:
    """A URL with a password in clear is refused, with the way to write it instead."""
    with pytest.raises(ConfigurationInvalid) as caught:
        source(tmp_path, url)
    text = caught.value.diagnostics()
    assert "database.url" in text
    assert "file:path" in text
    assert "hunter2" not in text


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('table = "moves"', "", "database"),
        ('table = "moves"', 'table = "moves"\nquery = "SELECT 1"', "database"),
        ('table = "moves"', 'query = "DELETE FROM moves"', "database.query"),
        ('table = "moves"', 'query = "SELECT 1; DROP TABLE moves"', "database.query"),
        ('key = ["id"]', "", "database.key"),
        ('key = ["id"]', "key = []", "database.key"),
        ('source = "moves"', 'source = "moves"\nfiles = ["x.csv"]', "files"),
        ("personal = false", "", "personal"),
        ("personal = false", "personal = true", "personal"),
        ('place = "place"', 'driver_name = "place"', "personal"),
    ],
)
def test_a_database_mapping_is_complete_or_refused(
    tmp_path: Path, old: str, new: str, key: str
) -> None:
    """What is missing, doubled, or about persons without a ground is named by its key."""
    with pytest.raises(ConfigurationInvalid) as caught:
        source(tmp_path, "sqlite:///moves.db", (old, new))
    assert key in {problem.key for problem in caught.value.problems}


def test_a_url_is_taken_from_the_environment_or_a_file(lite: str, tmp_path: Path) -> None:
    """References are looked up when the source is opened, and missing ones have their own code."""
    (tmp_path / "url").touch(mode=0o600)
    (tmp_path / "url").write_text(f"{lite}\n")
    assert len(read(source(tmp_path, "file:url"))[0]) == 250
    (tmp_path / "moves.toml").write_text(MAPPING.replace("URL", "env:MOVES"))
    found = open_source(tmp_path / "moves.toml", now=NOW, environ={"MOVES": lite})
    assert sum(1 for _ in records_of(found)) == 250
    with pytest.raises(Misconfigured) as caught:
        open_source(tmp_path / "moves.toml", now=NOW, environ={})
    assert code_of(caught) == "SECRET_MISSING"


@pytest.mark.parametrize(
    ("url", "code", "words"),
    [
        ("oracle://db/port", "DRIVER_MISSING", "fairlead[oracle]"),
        ("mssql://db/port", "DRIVER_MISSING", "fairlead[mssql]"),
        ("mysql://db/port", "DRIVER_MISSING", "fairlead[mysql]"),
        ("dbase://db/port", "DIALECT", "postgresql"),
        ("sqlite://", "URL", "sqlite:///"),
    ],
)
def test_a_driver_that_is_not_installed_is_named_with_its_extra(
    tmp_path: Path, url: str, code: str, words: str
) -> None:
    """The error says which package of ours to install, or which databases are known."""
    with pytest.raises(SourceUnusable) as caught:
        source(tmp_path, url)
    assert code_of(caught) == code
    assert words in caught.value.remedy


@given(st.text(max_size=80))
def test_any_text_is_a_cursor_or_an_error(text: str) -> None:
    """What an index hands back is read or refused, never a crash."""
    try:
        position = read_position(text)
    except SourceUnusable as error:
        assert error.code == "CURSOR"  # noqa: PT017
    else:
        assert read_position(position.write()) == position


@given(st.text(max_size=80))
def test_any_text_may_be_a_url(text: str) -> None:
    """Looking for a password is total."""
    assert holds_secret(text) in {True, False}


@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [(100, 80, False), (100, 79, True), (0, 0, False), (1, 0, True), (5, 9, False)],
)
def test_more_than_a_fifth_of_the_rows_gone_is_an_incident(
    before: int, after: int, lost: bool
) -> None:
    """Exactly a fifth is still believed."""
    assert shrank(before, after) is lost


# ── PostgreSQL ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """One server for the module."""
    with postgres() as running:
        running.run("CREATE ROLE reader LOGIN", "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        yield running


@pytest.fixture
def table(server: Postgres) -> Postgres:
    """The table anew, with 1000 rows, readable by an account that can do nothing else."""
    server.run(
        "DROP TABLE IF EXISTS moves", TABLE, fill(1, 1000),
        "GRANT SELECT (id, at, direction, box, place, changed) ON moves TO reader",
    )  # fmt: skip
    return server


def test_an_account_with_column_rights_alone_is_enough(table: Postgres, tmp_path: Path) -> None:
    """Every row is read with SELECT on the mapped columns only, and nothing is in excess."""
    found = source(tmp_path, table.url(user="reader"))
    records, marks = read(found)
    assert len(records) == 1000
    assert records[0].occurred_at == 1_788_256_860
    assert len(marks) == 10 + 1
    assert found.excess() == ()


def test_an_account_that_can_write_is_warned_about_with_the_grant(
    table: Postgres, tmp_path: Path
) -> None:
    """Superuser, writing and creating are each found, with the statement that cures them."""
    superuser = source(tmp_path, table.url()).excess()
    assert [found.code for found in superuser] == ["SUPERUSER", "WRITES", "CREATES"]
    table.run("GRANT UPDATE ON moves TO reader")
    (writes,) = source(tmp_path, table.url(user="reader")).excess()
    assert (writes.code, writes.count) == ("WRITES", 1)
    assert 'GRANT SELECT ("at", "box", "direction", "id", "place")' in writes.remedy
    with (
        source(tmp_path, table.url(user="reader"))._connected() as connection,
        pytest.raises(Exception, match="read-only"),
    ):
        connection.exec_driver_sql("UPDATE moves SET place = 'x'")


def test_a_connection_killed_in_the_middle_is_resumed_at_the_last_mark(
    table: Postgres, tmp_path: Path
) -> None:
    """pg_terminate_backend between two pages loses nothing and counts nothing twice."""
    found = source(tmp_path, table.url(user="reader"))
    (part,) = found.parts()
    seen: list[str] = []
    mark = ""
    with pytest.raises(SourceUnusable) as caught:
        for thing in found.read(part):
            if isinstance(thing, Mark):
                mark = thing.cursor
                continue
            seen.append(thing.origin)
            if len(seen) == 350:
                table.run(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'fairlead-node'"
                )
    assert incident_of(caught.value) is Incident.SOURCE_DOWN
    assert "terminat" not in caught.value.diagnostics()
    rest = [t.origin for t in found.read(part, after=mark) if isinstance(t, SourceRecord)]
    assert set(seen) | set(rest) == {f'moves|moves|[["int", "{n}"]]' for n in range(1, 1001)}
    assert len(rest) == 1000 - int(json.loads(mark)[1][0][1])
    assert found.report().records == 1000


def test_a_column_renamed_between_two_reads_is_an_incident(table: Postgres, tmp_path: Path) -> None:
    """The column is named before any row is read, and also when it goes away during a read."""
    found = source(tmp_path, table.url(user="reader"))
    (part,) = found.parts()
    reading = found.read(part)
    for thing in reading:
        if isinstance(thing, Mark):
            break
    table.run("ALTER TABLE moves RENAME COLUMN box TO bax")
    with pytest.raises(SourceUnusable) as caught:
        list(reading)
    assert incident_of(caught.value) is Incident.SCHEMA_CHANGED
    with pytest.raises(SourceUnusable) as caught:
        found.parts()
    assert code_of(caught) == "COLUMN_MISSING"


def test_a_table_that_is_not_granted_is_a_changed_source(table: Postgres, tmp_path: Path) -> None:
    """A right that was taken away has a remedy that names the grant."""
    table.run("REVOKE ALL ON moves FROM reader")
    with pytest.raises(SourceUnusable) as caught:
        read(source(tmp_path, table.url(user="reader")))
    assert code_of(caught) == "SCHEMA_CHANGED"
    assert "SELECT" in caught.value.remedy


def test_a_statement_that_takes_too_long_is_given_up(table: Postgres, tmp_path: Path) -> None:
    """The database itself ends a statement after the mapping's time."""
    query = "SELECT id, at, direction, box, place, pg_sleep(30) AS s FROM moves"
    changes = ('table = "moves"', f'query = "{query}"\ntimeout_s = 1')
    with pytest.raises(SourceUnusable) as caught:
        read(source(tmp_path, table.url(user="reader"), changes))
    assert code_of(caught) == "TIMEOUT"
    assert incident_of(caught.value) is Incident.SOURCE_DOWN


def test_a_server_that_is_gone_is_down(tmp_path: Path) -> None:
    """Nobody listening is an incident with fixed words."""
    with pytest.raises(SourceUnusable) as caught:
        source(tmp_path, "postgresql://reader@127.0.0.1:1/postgres").parts()
    assert code_of(caught) == "SOURCE_DOWN"
    assert "127.0.0.1" not in caught.value.diagnostics()


def test_a_time_beyond_the_calendar_costs_one_row(table: Postgres, tmp_path: Path) -> None:
    """PostgreSQL's infinity and the year 10000, which no driver can hold, exclude their rows."""
    table.run(
        "UPDATE moves SET at = 'infinity' WHERE id = 2",
        "UPDATE moves SET at = '10000-01-01' WHERE id = 3",
    )
    found = source(tmp_path, table.url(user="reader"))
    assert len(read(found)[0]) == 998
    assert found.report().reasons == {"TIME": 2}


def test_naive_times_of_a_table_are_in_the_mappings_zone(table: Postgres, tmp_path: Path) -> None:
    """timestamp and timestamptz side by side give one time line."""
    table.run(
        "ALTER TABLE moves ADD COLUMN local timestamp",
        "UPDATE moves SET local = at AT TIME ZONE 'Europe/Amsterdam'",
        "GRANT SELECT (local) ON moves TO reader",
    )
    zoned, _ = read(source(tmp_path, table.url(user="reader")))
    local, _ = read(
        source(tmp_path, table.url(user="reader"), ('column = "at"', 'column = "local"'))
    )
    assert [r.occurred_at for r in local] == [r.occurred_at for r in zoned]


def test_a_database_without_an_encoding_loses_only_the_broken_rows(
    server: Postgres, tmp_path: Path
) -> None:
    """In SQL_ASCII any octets may stand in a text; each row is judged by itself."""
    server.run(
        "DROP DATABASE IF EXISTS mixed",
        "CREATE DATABASE mixed ENCODING 'SQL_ASCII' TEMPLATE template0",
    )
    server.run(
        TABLE, fill(1, 5), "UPDATE moves SET place = E'S\\xfcd' WHERE id = 2",
        "UPDATE moves SET place = E'S\\xc3\\xbcd' WHERE id = 3", database="mixed",
    )  # fmt: skip
    found = source(tmp_path, server.url(database="mixed"))
    records, _ = read(found)
    assert [r.fields["place"] for r in records][1] == "Süd"
    assert [(row.row, row.reason) for row in found.report().excluded] == [(2, "ENCODING")]


def test_many_rows_are_read_in_bounded_memory(table: Postgres, tmp_path: Path) -> None:
    """Reading 8,000 rows holds no more of them at once than reading the first page does."""
    import tracemalloc

    table.run(fill(1001, 8_000))
    found = source(tmp_path, table.url(user="reader"), page_rows=1_000)
    (part,) = found.parts()
    tracemalloc.start()
    try:
        peaks = [
            tracemalloc.get_traced_memory()[1]
            for thing in found.read(part)
            if isinstance(thing, Mark)
        ]
    finally:
        tracemalloc.stop()
    assert found.report().records == 8_000
    assert peaks[-1] < peaks[0] + 1024**2
    assert peaks[-1] < 16 * 1024**2

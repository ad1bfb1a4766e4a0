"""Files counted in DuckDB: the same figures as a plain loop, or the rows that are at fault."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

from fairlead.cubes.period import parse_unit
from fairlead.cubes.rollup import roll
from fairlead.errors import SourceUnusable
from node.figures import mapped_file
from node.figures.mapped import MappedFigures, faults
from node.figures.mapped_fault import Uncountable
from node.figures.port import FiguresUnusable
from node.sources.row import ColumnsMissing
from tests.mapped import (
    CUT_OFF,
    NAMES,
    SQL,
    counted,
    mapping,
    plainly,
    registry,
    rows,
    write_csv,
    write_json,
    write_parquet,
)

ASKED = [("month,port,kind", "2026-01"), ("month,port,kind", "2025-12"),
         ("quarter,country,kind", "2026-Q1"), ("quarter,country", "2025-Q4"),
         ("year", "2026")]  # fmt: skip
WRITERS: dict[str, Callable[[Path, Sequence[dict[str, Any]]], None]] = {
    "csv": write_csv, "json": write_json, "parquet": write_parquet,
}  # fmt: skip
MANY = 100_000


@pytest.fixture(scope="module")
def many() -> list[dict[str, Any]]:
    """A hundred thousand rows."""
    return rows(MANY)


@pytest.mark.parametrize("kind", list(WRITERS))
def test_a_hundred_thousand_rows_are_counted_as_by_a_plain_loop(
    tmp_path: Path, many: list[dict[str, Any]], kind: str
) -> None:
    """Every cell of every level has the records and the words that a loop over the rows finds."""
    WRITERS[kind](tmp_path / f"rows.{kind}", many)
    found = mapping(tmp_path, f'files = ["rows.{kind}"]')
    cube = registry().cube("reports")
    for level, unit in ASKED:
        truth = plainly(many, cube, cube.level(level), parse_unit(unit), CUT_OFF)
        assert counted(found, level, unit) == truth, (level, unit)
        assert sum(truth.records) > MANY // 20


def test_a_coarse_level_is_the_sum_of_its_parts(tmp_path: Path) -> None:
    """What is counted for a coarse level is what its cells' parts roll up to."""
    write_csv(tmp_path / "rows.csv", rows(2_000))
    found = mapping(tmp_path, 'files = ["rows.csv"]')
    cube = registry().cube("reports")
    fine, coarse = cube.level("month,port,kind"), cube.level("quarter,country,kind")
    parts = [counted(found, fine.name, f"2026-0{month}") for month in (1, 2, 3)]
    records = [n for part in parts for n in part.records]
    due = [row[0] for part in parts for row in part.values]
    whole = counted(found, coarse.name, "2026-Q1")
    places = roll(fine, coarse)
    assert [sum(records[i] for i in cell) for cell in places] == list(whole.records)
    assert [sum(due[i] for i in cell) for cell in places] == [row[0] for row in whole.values]


def test_several_files_and_mappings_are_added_up(tmp_path: Path) -> None:
    """A pattern's files, and two mappings of one cube, count together."""
    found = rows(300)
    write_csv(tmp_path / "a1.csv", found[:100])
    write_csv(tmp_path / "a2.csv", found[100:200])
    write_json(tmp_path / "b.json", found[200:], array=True)
    figures = MappedFigures(
        [
            mapping(tmp_path, 'files = ["a*.csv"]', name="a"),
            mapping(tmp_path, 'files = ["b.json"]', name="b"),
        ],
        environ={},
    )
    cube = registry().cube("reports")
    unit = parse_unit("2026-Q1")
    level = cube.level("quarter,country,kind")
    assert figures.counted(cube, level, unit, CUT_OFF) == plainly(found, cube, level, unit, CUT_OFF)
    assert (figures.maps("reports"), figures.maps("other")) == (True, False)


async def test_figures_are_counted_beside_the_event_loop(tmp_path: Path) -> None:
    """The port's own method counts the same, and says it when no mapping is of the cube."""
    write_csv(tmp_path / "rows.csv", rows(50))
    found = mapping(tmp_path, 'files = ["rows.csv"]')
    cube = registry().cube("reports")
    level, unit = cube.level("year"), parse_unit("2026")
    got = await MappedFigures([found], environ={}).count(cube, level, unit, cut_off=CUT_OFF)
    assert got == counted(found, "year", "2026")
    with pytest.raises(FiguresUnusable) as caught:
        await MappedFigures([], environ={}).count(cube, level, unit, cut_off=CUT_OFF)
    assert caught.value.code == "FIGURES_NONE"


# ── Rows at fault ────────────────────────────────────────────────────────────────────────────


def good(number: int, **changes: object) -> dict[str, Any]:
    """A row that counts in January 2026."""
    row = {"id": number, "at": "2026-01-05T12:00:00Z", "entered": 1_780_000_000, "port": "NLRTM",
           "how": "named", "state": "done", "kg": "1000", "hours": "5"}  # fmt: skip
    return row | changes


def spoilt() -> list[dict[str, Any]]:
    """Fifty rows; the faults are at 3-5, 9, 12, 20 and 30."""
    found = [good(number) for number in range(1, 51)]
    for number in (3, 4, 5, 9):
        found[number - 1]["port"] = "Timbuktu"
    found[11]["at"] = "2026-02-30"
    found[19]["kg"] = "-1"
    found[29]["hours"] = "soon"
    return found


@pytest.mark.parametrize("kind", ["csv", "json"])
@pytest.mark.parametrize("level", ["month,port,kind", "year"])
def test_faulty_rows_are_listed_by_range_and_nothing_is_counted(
    tmp_path: Path, kind: str, level: str
) -> None:
    """Unknown codes, dates and numbers are named by their rows at every level, never by content."""
    WRITERS[kind](tmp_path / f"rows.{kind}", spoilt())
    found = mapping(tmp_path, f'files = ["rows.{kind}"]')
    with pytest.raises(Uncountable) as caught:
        counted(found, level, "2026-01" if level != "year" else "2026")
    error = caught.value
    assert [(f.key, f.code, f.ranges) for f in error.faults] == [
        ("date.column", "DATE_UNREADABLE", [(12, 12)]),
        ("dimensions.place", "FIGURES_CODES", [(3, 5), (9, 9)]),
        ("measures.kg", "NUMBER_UNREADABLE", [(20, 20)]),
        ("measures.days", "NUMBER_UNREADABLE", [(30, 30)]),
    ]
    assert f"rows.{kind}, rows 3–5, 9: dimensions.place" in error.diagnostics()
    assert "Timbuktu" not in error.diagnostics()


def test_rows_outside_the_unit_are_not_held_against_it(tmp_path: Path) -> None:
    """A row of another year, or entered behind the cut-off, may hold what it wants; the check of
    the whole source finds it."""
    found = [good(1), good(2, at="2024-01-05", port="?"), good(3, entered=1_790_000_001, kg="x")]
    write_csv(tmp_path / "rows.csv", found)
    at = mapping(tmp_path, 'files = ["rows.csv"]')
    assert sum(counted(at, "year", "2026").records) == 1
    wrong, _ = faults(at, registry().cube("reports"), environ={})
    assert [(f.key, f.rows) for f in wrong] == [("dimensions.place", 1), ("measures.kg", 1)]


def test_many_ranges_are_counted_and_not_listed(tmp_path: Path) -> None:
    """Of a fault in every second row the first ranges are listed, the rest are a number."""
    found = [good(n, port="?" if n % 2 else "NLRTM") for n in range(1, 201)]
    write_csv(tmp_path / "rows.csv", found)
    with pytest.raises(Uncountable) as caught:
        counted(mapping(tmp_path, 'files = ["rows.csv"]'), "year", "2026")
    (fault,) = caught.value.faults
    assert (fault.rows, fault.listed, len(fault.ranges)) == (100, 20, 20)
    assert "and 80 more" in caught.value.diagnostics()


def test_nothing_stands_for_nothing_unless_the_mapping_says_so(tmp_path: Path) -> None:
    """An empty code is an error without `empty`, an empty weight without `empty_is_zero`, an empty
    date always; an empty number of a median counts in no bar."""
    found = [
        good(1, port=""),
        good(2, kg=""),
        good(3, at=""),
        good(4, hours=""),
        good(5, entered=""),
    ]
    write_json(tmp_path / "rows.json", found)
    strict = (('empty = "NLAMS"\n', ""), ("empty_is_zero = true\n", ""))
    with pytest.raises(Uncountable) as caught:
        counted(mapping(tmp_path, 'files = ["rows.json"]', *strict), "year", "2026")
    assert [(f.key, f.ranges) for f in caught.value.faults] == [
        ("date.column", [(3, 3)]), ("recorded.column", [(5, 5)]),
        ("dimensions.place", [(1, 1)]), ("measures.kg", [(2, 2)]),
    ]  # fmt: skip


def test_a_broken_csv_row_is_named_and_nothing_is_counted(tmp_path: Path) -> None:
    """A row that cannot be split is not passed over, as it would be in a source of records."""
    write_csv(tmp_path / "rows.csv", [good(n) for n in range(1, 6)])
    lines = (tmp_path / "rows.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    lines[3] = lines[3].replace("\n", ",too,many\n")
    (tmp_path / "rows.csv").write_text("".join(lines), encoding="utf-8")
    with pytest.raises(Uncountable) as caught:
        counted(mapping(tmp_path, 'files = ["rows.csv"]'), "year", "2026")
    assert [(f.code, f.ranges) for f in caught.value.faults] == [("MALFORMED", [(3, 3)])]


def test_a_figure_over_its_bound_is_an_error_and_is_not_cut_off(tmp_path: Path) -> None:
    """More than one partner may state in a cell is refused, with the cell and the measure."""
    write_csv(tmp_path / "rows.csv", [good(n, kg="0.001") for n in range(1, 12)])
    found = mapping(tmp_path, 'files = ["rows.csv"]')
    with pytest.raises(FiguresUnusable) as caught:
        counted(found, "quarter,country", "2026-Q1", bound=10)
    assert caught.value.code == "MEASURE_BOUND"
    assert any("2026-Q1/NL: due" in problem for problem in caught.value.problems)
    assert counted(found, "quarter,country", "2026-Q1", bound=11).records == (0, 11)


def test_numbers_beyond_every_bound_overflow_nothing(tmp_path: Path) -> None:
    """The largest numbers that are read add up exactly, and the next larger one is at fault."""
    largest = "999999999999.999"
    write_csv(tmp_path / "rows.csv", [good(n, kg=largest) for n in range(1, 10_001)])
    found = mapping(tmp_path, 'files = ["rows.csv"]')
    with pytest.raises(FiguresUnusable) as caught:
        counted(found, "year", "2026")
    assert caught.value.code == "MEASURE_BOUND"
    for wrong in ("1000000000000", "1e300", "NaN", "inf", "9" * 400, "0x10", "1,5"):
        write_csv(tmp_path / "rows.csv", [good(1, kg=wrong)])
        with pytest.raises(Uncountable):
            counted(found, "year", "2026")


# ── Attacks on names and words ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", list(WRITERS))
@pytest.mark.parametrize(
    "name",
    ['po"rt', "po'rt", "number", "d", "a0", "SELECT", '") FROM x; --', "a/b~c", "$path", "p%s"],
)  # fmt: skip
def test_a_column_may_have_any_name(tmp_path: Path, kind: str, name: str) -> None:
    """Quotes, keywords, parameters and our own names in a column's name are only a name."""
    found = [row | {name: row["port"]} for row in rows(40)]
    names = (*NAMES, name)
    if kind == "json":
        write_json(tmp_path / "rows.json", found)
    else:
        import csv

        with (tmp_path / "rows.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names, lineterminator="\n")
            writer.writeheader()
            writer.writerows(found)
    if kind == "parquet":
        with duckdb.connect() as connection:
            connection.execute(
                "COPY (SELECT * FROM read_csv($path, all_varchar = true, header = true,"  # noqa: S608
                " delim = ',', quote = '\"', escape = '\"', auto_detect = true))"
                f" TO '{tmp_path / 'rows.parquet'}' (FORMAT parquet)",
                {"path": str(tmp_path / "rows.csv")},
            )
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    at = mapping(tmp_path, f'files = ["rows.{kind}"]', ('column = "port"', f'column = "{quoted}"'))
    cube = registry().cube("reports")
    level, unit = cube.level("month,port,kind"), parse_unit("2026-01")
    assert counted(at, level.name, "2026-01") == plainly(found, cube, level, unit, CUT_OFF)


def test_a_word_that_is_sql_is_a_word(tmp_path: Path) -> None:
    """A statement as a code counts where the mapping says so, and is a fault where it does not."""
    write_csv(tmp_path / "rows.csv", [good(1, port=SQL, state=SQL)])
    found = mapping(tmp_path, 'files = ["rows.csv"]')
    got = counted(found, "quarter,country", "2026-Q1")
    assert (got.records, got.values[0][1]) == ((1, 0), 1)
    write_csv(tmp_path / "rows.csv", [good(1, port=SQL + SQL)])
    with pytest.raises(Uncountable):
        counted(found, "year", "2026")


def test_missing_and_doubled_columns_are_named(tmp_path: Path) -> None:
    """Each key whose column is not there exactly once is named before anything is counted."""
    names = ("id", "when", "entered", "port", "port", "state", "kg", "hours")
    write_csv(tmp_path / "rows.csv", [], names)
    with pytest.raises(ColumnsMissing) as caught:
        counted(mapping(tmp_path, 'files = ["rows.csv"]'), "year", "2026")
    keys = [key for key, _ in caught.value.missing]
    assert keys == ["date.column", "dimensions.place.column", "dimensions.report-kind.column"]


# ── Time ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("kind", "text", "counts"),
    [
        ("TIMESTAMP WITH TIME ZONE", "2026-01-01 00:30:00+01:00", 0),
        ("TIMESTAMP WITH TIME ZONE", "2026-01-01 00:30:00+00:00", 1),
        ("TIMESTAMP", "2026-01-01 00:30:00", 0),
        ("TIMESTAMP", "2026-01-01 01:00:00", 1),
        ("TIMESTAMP_NS", "2026-01-01 00:59:59.999999", 0),
        ("DATE", "2026-01-01", 0),
        ("DATE", "2026-01-02", 1),
    ],
)
def test_typed_moments_count_in_utc(tmp_path: Path, kind: str, text: str, counts: int) -> None:
    """A moment with a zone stands as it is, one without is the mapping's zone's."""
    with duckdb.connect() as connection:
        connection.execute(
            "COPY (SELECT CAST($at AS " + kind + ") AS at, 0 AS entered, 'NLRTM' AS port,"
            " 'named' AS how, '' AS state, 1.5 AS kg, 2 AS hours)"
            f" TO '{tmp_path / 'rows.parquet'}' (FORMAT parquet)",
            {"at": text},
        )
    found = mapping(tmp_path, 'files = ["rows.parquet"]')
    assert sum(counted(found, "year", "2026").records) == counts


def test_a_cut_off_leaves_out_what_was_recorded_later(tmp_path: Path) -> None:
    """The cut-off counts to the microsecond, and without the column everything counts."""
    write_csv(
        tmp_path / "rows.csv", [good(1, entered="1780000000.25"), good(2, entered="1780000001")]
    )
    found = mapping(tmp_path, 'files = ["rows.csv"]')
    totals = [
        sum(counted(found, "year", "2026", cut_off=cut).records)
        for cut in (1_780_000_000.2, 1_780_000_000.25, 1_780_000_001.0)
    ]
    assert totals == [0, 1, 2]
    table = '[recorded]\ncolumn = "entered"\nformat = "unix"\n'
    open_ = mapping(tmp_path, 'recorded = false\nfiles = ["rows.csv"]', (table, ""))
    assert sum(counted(open_, "year", "2026", cut_off=0.0).records) == 2


@pytest.mark.parametrize("kind", list(WRITERS))
def test_a_time_is_counted_from_one_column_to_the_other(tmp_path: Path, kind: str) -> None:
    """An end before its beginning, and one with an offset where the other has none, are faults; an
    end that is not there is in no bar."""
    ends = ["2026-01-06T11:59:59Z", "2026-01-06T12:00:00Z", "2026-01-12T13:00:00+01:00", ""]
    write = WRITERS[kind]
    change = ('unit = "hours"\ncolumn = "hours"', 'unit = "days"\ncolumn = "state"\nsince = "at"')
    found = mapping(tmp_path, f'files = ["rows.{kind}"]', change)
    write(tmp_path / f"rows.{kind}", [good(n, state=end) for n, end in enumerate(ends, 1)])
    assert counted(found, "year", "2026").values[0][3:] == (1, 1, 1, 0)
    wrong = ["2026-01-04T00:00:00Z", "2026-02-05T12:00:00", "2026-02-30"]
    write(tmp_path / f"rows.{kind}", [good(n, state=end) for n, end in enumerate(wrong, 1)])
    with pytest.raises(Uncountable) as caught:
        counted(found, "year", "2026")
    assert [(f.key, f.ranges) for f in caught.value.faults] == [("measures.days", [(1, 3)])]


# ── A file under way ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", ["appended", "replaced"])
def test_a_file_that_changes_while_it_is_read_is_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A file that was appended to, or another in its place, gives no figures at all."""
    path = tmp_path / "rows.csv"
    write_csv(path, rows(20))
    found = mapping(tmp_path, 'files = ["rows.csv"]')
    before = mapped_file._count

    def meanwhile(*given: Any) -> Any:
        done = before(*given)
        if how == "appended":
            with path.open("a", encoding="utf-8") as file:
                file.write(",".join(["x"] * len(NAMES)) + "\n")
        else:
            write_csv(tmp_path / "new", rows(20))
            (tmp_path / "new").rename(path)
        return done

    monkeypatch.setattr(mapped_file, "_count", meanwhile)
    with pytest.raises(SourceUnusable) as caught:
        counted(found, "year", "2026")
    assert caught.value.code == "SOURCE_CHANGED"
    monkeypatch.undo()
    if how == "replaced":
        assert sum(counted(found, "year", "2026").records) > 0


@pytest.mark.parametrize("kind", list(WRITERS))
def test_a_file_that_is_none_of_its_kind_is_an_error(tmp_path: Path, kind: str) -> None:
    """Octets that are no such file are said to be unreadable, in no time."""
    (tmp_path / f"rows.{kind}").write_bytes(b"\x00\xff\x00 not a file \x89" * 10)
    began = time.monotonic()
    with pytest.raises((SourceUnusable, FiguresUnusable)):
        counted(mapping(tmp_path, f'files = ["rows.{kind}"]'), "year", "2026")
    assert time.monotonic() - began < 5

"""Parquet, JSON and Excel files: the same records and the same counting as from CSV."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import duckdb
import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairlead.errors import SourceUnusable
from node.sources import excel
from node.sources.mapping import Format, load_mapping
from node.sources.opening import format_of, open_source
from node.sources.record import SourceRecord
from node.sources.report import ImportReport
from node.sources.source import Source, records_of
from tests.test_sources_mapping import MAPPING, write_mapping

NOW = 1_790_000_000.0
COLUMNS = ("at", "direction", "box", "plate", "country", "gate", "driver", "card", "tlp", "watched")
GOOD = ("2026-09-01T10:00:00Z", "IN", "MSCU 663987-0", "AB-123-C", "NL", "Gate 7", "A. Person",
        "DC1", "AMBER", "")  # fmt: skip
BAD_EVENT = (*GOOD[:1], "WARP", *GOOD[2:])


def opened(folder: Path, glob: str, **keys: str) -> Source:
    """The standard mapping on other files."""
    extra = "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
    text = MAPPING.replace('files = ["gate*.csv"]', f'files = ["{glob}"]\n{extra}')
    return open_source(write_mapping(folder, text), now=NOW, environ={})


def read(source: Source) -> tuple[list[SourceRecord], ImportReport]:
    """Everything."""
    return list(records_of(source)), source.report()


def write_parquet(path: Path, rows: Sequence[Sequence[object]]) -> None:
    """All columns as text."""
    with duckdb.connect() as connection:
        columns = ", ".join(f'"{name}" VARCHAR' for name in COLUMNS)
        connection.execute(f"CREATE TABLE t ({columns})")
        marks = ", ".join("?" * len(COLUMNS))
        insert = f"INSERT INTO t VALUES ({marks})"  # noqa: S608  (question marks)
        connection.executemany(insert, [list(row) for row in rows])
        connection.execute(f"COPY t TO '{path}' (FORMAT parquet)")


def write_lines(path: Path, rows: Sequence[Sequence[object]]) -> None:
    """One object a line."""
    lines = [json.dumps(dict(zip(COLUMNS, row, strict=True))) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_array(path: Path, rows: Sequence[Sequence[object]]) -> None:
    """One array of objects."""
    objects = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    path.write_text(json.dumps(objects, indent=1), encoding="utf-8")


def write_sheet(path: Path, rows: Sequence[Sequence[object]]) -> None:
    """A workbook with one sheet."""
    book = openpyxl.Workbook()
    for row in (COLUMNS, *rows):
        book.active.append(list(row))
    book.save(path)


WRITERS: list[tuple[str, Callable[[Path, Sequence[Sequence[object]]], None]]] = [
    ("gate.parquet", write_parquet),
    ("gate.jsonl", write_lines),
    ("gate.json", write_array),
    ("gate.xlsx", write_sheet),
]
KINDS = pytest.mark.parametrize(("name", "write"), WRITERS, ids=[name for name, _ in WRITERS])


@KINDS
def test_every_format_gives_the_same_records(
    tmp_path: Path, name: str, write: Callable[[Path, Sequence[Sequence[object]]], None]
) -> None:
    """Rows become records, refused rows are numbered, and origins stay the same across reads."""
    write(tmp_path / name, [GOOD, BAD_EVENT, GOOD])
    records, report = read(opened(tmp_path, name))
    assert [r.occurred_at for r in records] == [1_788_256_800] * 2
    assert {i.value for i in records[0].identifiers} == {"MSCU6639870", "NL:AB123C"}
    assert records[0].fields == {"place": "Gate 7", "driver_name": "A. Person"}
    assert [(row.row, row.reason) for row in report.excluded] == [(2, "EVENT_UNKNOWN")]
    assert (report.rows, report.records, report.excluded_rows) == (3, 2, 1)
    again, _ = read(opened(tmp_path, name))
    assert [r.origin for r in again] == [r.origin for r in records]
    assert [r.origin for r in records] == [f"gate|{name}|1", f"gate|{name}|3"]


@KINDS
def test_a_renamed_column_is_an_error_of_every_format(
    tmp_path: Path, name: str, write: Callable[[Path, Sequence[Sequence[object]]], None]
) -> None:
    """A mapping's column that the file does not have stops the read and is named."""
    write(tmp_path / name, [GOOD])
    text = MAPPING.replace("gate*.csv", name).replace('"box"', '"bax"')
    source = open_source(write_mapping(tmp_path, text), now=NOW, environ={})
    with pytest.raises(SourceUnusable) as caught:
        read(source)
    assert caught.value.code == "COLUMN_MISSING"


@KINDS
def test_a_stamp_changes_with_the_file_and_with_the_mapping(
    tmp_path: Path, name: str, write: Callable[[Path, Sequence[Sequence[object]]], None]
) -> None:
    """Equal stamps mean that reading again would give the same records."""
    write(tmp_path / name, [GOOD])
    (first,) = opened(tmp_path, name).parts()
    assert opened(tmp_path, name).parts() == (first,)
    text = MAPPING.replace("gate*.csv", name).replace("365", "366")
    (other,) = open_source(write_mapping(tmp_path, text), now=NOW, environ={}).parts()
    assert other.stamp != first.stamp
    write(tmp_path / name, [GOOD, GOOD])
    assert opened(tmp_path, name).parts()[0].stamp != first.stamp
    assert not first.appends


@KINDS
def test_a_file_of_another_format_is_refused(
    tmp_path: Path, name: str, write: Callable[[Path, Sequence[Sequence[object]]], None]
) -> None:
    """Rubbish under a known suffix is an error with a next command, never a crash."""
    (tmp_path / name).write_bytes(b"\x00\xff rubbish \xfe" * 400)
    with pytest.raises(SourceUnusable) as caught:
        read(opened(tmp_path, name))
    assert caught.value.code in {"FILE_UNREADABLE", "HEADER"}
    assert caught.value.remedy


@settings(
    max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(octets=st.binary(max_size=300), name=st.sampled_from([name for name, _ in WRITERS]))
def test_any_octets_end_in_a_report_or_an_error(tmp_path: Path, octets: bytes, name: str) -> None:
    """No content of a file escapes the error tree."""
    (tmp_path / name).write_bytes(octets)
    try:
        records, report = read(opened(tmp_path, name))
    except SourceUnusable:
        return
    assert report.records == len(records)


# ── Parquet ──────────────────────────────────────────────────────────────────────────────────


def test_parquet_types_become_text_and_times_keep_their_zone(tmp_path: Path) -> None:
    """Numbers and times of a typed file are read; naive times are in the mapping's zone."""
    with duckdb.connect() as connection:
        connection.execute(
            "COPY (SELECT TIMESTAMP '2026-09-01 12:00:00' AS at, 'IN' AS direction, 9074729 AS box)"
            f" TO '{tmp_path / 'typed.parquet'}' (FORMAT parquet)"
        )
    text = (
        'source = "t"\nfiles = ["typed.parquet"]\nrecord_type = "movement"\npersonal = false\n'
        'event = { column = "direction", map = { IN = "gate-in" } }\npurposes = ["p"]\n'
        'retention_days = 365\nactive_target = false\n[[identifiers]]\nscheme = "vessel-imo"\n'
        'column = "box"\n[time]\ncolumn = "at"\ntimezone = "Europe/Amsterdam"\n[handling]\n'
        'tlp = "AMBER"\npap = "AMBER"\neuropol = "H0"\nsource_grade = "A"\n'
        'information_grade = "1"\n[fields]\nkind = "direction"\n'
    )
    source = open_source(write_mapping(tmp_path, text), now=NOW, environ={})
    (record,), _ = read(source)
    assert record.occurred_at == 1_788_256_800
    assert record.identifiers[0].value == "9074729"
    (part,) = source.parts()
    assert part.schema
    with duckdb.connect() as connection:
        connection.execute(
            "COPY (SELECT '2026-09-01 12:00:00' AS at, 'IN' AS direction, 9074729 AS box)"
            f" TO '{tmp_path / 'typed.parquet'}' (FORMAT parquet)"
        )
    assert source.parts()[0].schema != part.schema


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────


def test_a_broken_line_is_excluded_by_its_number(tmp_path: Path) -> None:
    """Lines that are no JSON object are counted; the lines around them are kept."""
    write_lines(tmp_path / "gate.jsonl", [GOOD, GOOD])
    good = (tmp_path / "gate.jsonl").read_text().splitlines()[0]
    (tmp_path / "gate.jsonl").write_text(f"{good}\n{{broken\n{good}\n[1, 2]\n{good}\n")
    records, report = read(opened(tmp_path, "gate.jsonl"))
    assert len(records) == 3
    assert [(row.row, row.reason) for row in report.excluded] == [
        (2, "MALFORMED"), (4, "MALFORMED")
    ]  # fmt: skip


def test_a_cell_that_is_an_object_is_no_text(tmp_path: Path) -> None:
    """Nested values are excluded by reason rather than flattened in some way."""
    objects = dict(zip(COLUMNS, GOOD, strict=True))
    lines = [json.dumps(objects | {"gate": {"no": 7}}), json.dumps(objects)]
    (tmp_path / "gate.jsonl").write_text("\n".join(lines))
    _, report = read(opened(tmp_path, "gate.jsonl"))
    assert [(row.row, row.reason) for row in report.excluded] == [(1, "TYPE")]


# ── Excel ────────────────────────────────────────────────────────────────────────────────────


def test_a_formula_is_never_evaluated(tmp_path: Path) -> None:
    """A formula's cell has its saved value, which openpyxl never writes, and so is empty."""
    write_sheet(tmp_path / "gate.xlsx", [(*GOOD[:5], "=CMD|'/C calc'!A0", *GOOD[6:]), GOOD])
    records, report = read(opened(tmp_path, "gate.xlsx"))
    assert [record.fields.get("place") for record in records] == [None, "Gate 7"]
    assert report.excluded == ()


def test_an_error_cell_excludes_its_row(tmp_path: Path) -> None:
    """A row with #REF! where the mapping reads is not taken for a row with an empty cell."""
    write_sheet(tmp_path / "gate.xlsx", [(*GOOD[:5], "#REF!", *GOOD[6:]), GOOD])
    _, report = read(opened(tmp_path, "gate.xlsx"))
    assert [(row.row, row.reason) for row in report.excluded] == [(1, "CELL_ERROR")]


def test_dates_and_whole_numbers_of_a_sheet_are_read(tmp_path: Path) -> None:
    """Excel's own times are naive and in the mapping's zone; 7.0 is 7."""
    row = (datetime(2026, 9, 1, 10, 0), *GOOD[1:5], 7.0, *GOOD[6:])  # noqa: DTZ001
    write_sheet(tmp_path / "gate.xlsx", [row])
    (record,), _ = read(opened(tmp_path, "gate.xlsx"))
    assert record.occurred_at == 1_788_256_800
    assert record.fields["place"] == "7"


def test_the_sheet_of_the_mapping_is_read(tmp_path: Path) -> None:
    """A named sheet is read and no other; one that is missing is an error."""
    book = openpyxl.Workbook()
    book.active.append(["nothing", "here"])
    moves = book.create_sheet("Moves")
    for row in (COLUMNS, GOOD):
        moves.append(list(row))
    book.save(tmp_path / "gate.xlsx")
    records, _ = read(opened(tmp_path, "gate.xlsx", sheet="Moves"))
    assert len(records) == 1
    with pytest.raises(SourceUnusable) as caught:
        read(opened(tmp_path, "gate.xlsx", sheet="Gone"))
    assert caught.value.code == "SHEET_MISSING"


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    """An archive whose own directory states more than the limit is not opened."""
    write_sheet(tmp_path / "gate.xlsx", [GOOD])
    with zipfile.ZipFile(tmp_path / "gate.xlsx", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/media/bomb.bin", b"\0" * (excel.MAX_TEXTS + 1))
    assert (tmp_path / "gate.xlsx").stat().st_size < 1024**2
    with pytest.raises(SourceUnusable) as caught:
        read(opened(tmp_path, "gate.xlsx"))
    assert caught.value.code == "TOO_LARGE"


def test_entities_that_multiply_are_not_expanded(tmp_path: Path) -> None:
    """A billion laughs in a workbook is an unreadable file, at once."""
    write_sheet(tmp_path / "good.xlsx", [GOOD])
    layers = "".join(
        f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10)
    )  # fmt: skip
    bomb = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "ha">{layers}]><x>&l9;</x>'
    with (
        zipfile.ZipFile(tmp_path / "good.xlsx") as good,
        zipfile.ZipFile(tmp_path / "gate.xlsx", "w") as bad,
    ):
        for entry in good.infolist():
            sheet = entry.filename == "xl/worksheets/sheet1.xml"
            bad.writestr(entry.filename, bomb if sheet else good.read(entry))
    with pytest.raises(SourceUnusable) as caught:
        read(opened(tmp_path, "gate.xlsx"))
    assert caught.value.code in {"FILE_UNREADABLE", "HEADER"}


def test_a_workbook_with_a_flipped_bit_anywhere_reads_or_is_refused(tmp_path: Path) -> None:
    """A damaged stream, directory or sheet is an unreadable file, whichever library notices it."""
    write_sheet(tmp_path / "good.xlsx", [GOOD])
    good = (tmp_path / "good.xlsx").read_bytes()
    refused = 0
    for place in range(0, len(good), 3):
        damaged = bytearray(good)
        damaged[place] ^= 1 << place % 8
        (tmp_path / "gate.xlsx").write_bytes(damaged)
        try:
            read(opened(tmp_path, "gate.xlsx"))
        except SourceUnusable:
            refused += 1
    assert refused > 100


@KINDS
def test_a_file_with_a_flipped_bit_anywhere_reads_or_is_refused(
    tmp_path: Path, name: str, write: Callable[[Path, Sequence[Sequence[object]]], None]
) -> None:
    """Whatever of a file is damaged, also a column's name: it reads, or it is refused."""
    write(tmp_path / name, [GOOD])
    good = (tmp_path / name).read_bytes()
    places = {*range(0, len(good), max(1, len(good) // 60)), good.find(b"box"), len(good) - 1}
    for place in sorted(places - {-1}):
        damaged = bytearray(good)
        damaged[place] ^= 0x80
        (tmp_path / name).write_bytes(damaged)
        with suppress(SourceUnusable):
            read(opened(tmp_path, name))


READ_BOUND = """
import sys
from pathlib import Path
from fairlead.errors import SourceUnusable
from node import indexing
from node.sources.excel import open_excel
from node.sources.files import Wanted
indexing.bound_memory(320 * 1024**2)
try:
    with open_excel(Path(sys.argv[1]), Wanted()) as table:
        print(sum(1 for _ in table.rows([0])))
except SourceUnusable as error:
    print(error.code)
"""


def test_a_row_that_fills_the_memory_is_an_unreadable_file(tmp_path: Path) -> None:
    """Ten kilobytes unpack to one row of two million cells: the refreshing process has a bound."""
    write_sheet(tmp_path / "good.xlsx", [GOOD])
    with (
        zipfile.ZipFile(tmp_path / "good.xlsx") as good,
        zipfile.ZipFile(tmp_path / "gate.xlsx", "w", zipfile.ZIP_DEFLATED) as bad,
    ):
        for entry in good.infolist():
            content = good.read(entry)
            if entry.filename == "xl/worksheets/sheet1.xml":
                row = b'<row r="9">' + b"<c/>" * 2_000_000 + b"</row></sheetData>"
                content = content.replace(b"</sheetData>", row)
            bad.writestr(entry.filename, content)
    ended = subprocess.run(
        [sys.executable, "-c", READ_BOUND, str(tmp_path / "gate.xlsx")],
        capture_output=True,
        check=False,
        text=True,
    )
    assert ended.stdout.strip() == "FILE_UNREADABLE", ended.stderr


# ── Which format ─────────────────────────────────────────────────────────────────────────────


def test_the_format_is_of_the_suffix_or_as_stated(tmp_path: Path) -> None:
    """Mixed or unknown suffixes are refused unless the mapping says what they are."""
    (tmp_path / "gate.dat").touch()

    def kind(glob: str, extra: str = "") -> Format:
        text = MAPPING.replace('["gate*.csv"]', f'["{glob}"]\n{extra}')
        return format_of(load_mapping(write_mapping(tmp_path, text)))

    assert kind("gate.PARQUET") is Format.PARQUET
    assert kind("gate.dat", 'format = "json"') is Format.JSON
    for glob in ("gate.dat", 'a.csv", "b.json'):
        with pytest.raises(SourceUnusable) as caught:
            kind(glob)
        assert caught.value.code == "SOURCE_FORMAT"

"""node.sources.csv: every row becomes a record or is counted and named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairlead.errors import SourceUnusable
from fairlead.identifiers import Validity
from node.sources.csv import CsvSource
from node.sources.duck import confined
from node.sources.mapping import load_mapping
from node.sources.record import SourceRecord
from node.sources.report import ImportReport
from node.sources.row import ColumnsMissing
from node.sources.source import records_of
from tests.test_sources_mapping import MAPPING, write_mapping

NOW = 1_790_000_000.0
HEADER = "at,direction,box,plate,country,gate,driver,card,tlp,watched\n"
GOOD = "2026-09-01T10:00:00Z,IN,MSCU 663987-0,AB-123-C,NL,Gate 7,A. Person,DC1,AMBER,\n"


def read(
    folder: Path, rows: str | bytes, *, header: str = HEADER, mapping: str = MAPPING
) -> tuple[list[SourceRecord], ImportReport]:
    """Import rows through the standard mapping."""
    content = rows.encode("utf-8") if isinstance(rows, str) else rows
    (folder / "gate.csv").write_bytes(header.encode("utf-8") + content)
    source = CsvSource(load_mapping(write_mapping(folder, mapping)), now=NOW)
    return list(records_of(source)), source.report()


def test_a_row_becomes_a_record_with_all_its_facts(tmp_path: Path) -> None:
    """Identifiers are canonical, times unix seconds, handling and fields as mapped."""
    (record,), report = read(tmp_path, GOOD)
    assert {(i.scheme, i.value) for i in record.identifiers} == {
        ("container", "MSCU6639870"),
        ("vehicle-plate", "NL:AB123C"),
    }
    assert (record.event, record.record_type) == ("gate-in", "movement")
    assert record.occurred_at == 1_788_256_800
    assert record.expires_at == record.occurred_at + 365 * 86_400
    assert record.handling.tlp == "AMBER"
    assert record.fields == {"place": "Gate 7", "driver_name": "A. Person"}
    assert record.withheld == ("driver_card",)
    assert not record.active_target
    assert (report.rows, report.records, report.excluded) == (1, 1, ())
    assert record.country == ""
    abroad = MAPPING.replace("retention_days", 'country = "BE"\nretention_days')
    ((record,), _) = read(tmp_path, GOOD, mapping=abroad)
    assert record.country == "BE"


def test_a_missing_column_is_named_by_its_key(tmp_path: Path) -> None:
    """All missing columns are reported together, by mapping key and column."""
    header = HEADER.replace("box", "bax").replace("driver", "chauffeur")
    with pytest.raises(ColumnsMissing) as caught:
        read(tmp_path, GOOD, header=header)
    assert caught.value.code == "COLUMN_MISSING"
    assert set(caught.value.missing) == {
        ("identifiers.0.column", "box"),
        ("fields.driver_name", "driver"),
    }
    assert "identifiers.0.column" in caught.value.diagnostics()
    assert "MSCU" not in caught.value.diagnostics()


def test_a_column_that_stands_twice_is_refused(tmp_path: Path) -> None:
    """Which of two columns of one name is meant is not guessed."""
    with pytest.raises(ColumnsMissing) as caught:
        read(tmp_path, GOOD.replace("AMBER,", "AMBER,,x"), header=HEADER.replace("\n", ",box\n"))
    assert caught.value.missing == (("identifiers.0.column", "box"),)


def test_latin_1_rows_are_counted_by_number_and_others_kept(tmp_path: Path) -> None:
    """A file of mixed encodings loses only the rows that are not UTF-8, and says which."""
    bad = GOOD.replace("Gate 7", "Zufahrt Süd").encode("latin-1")
    utf8 = GOOD.replace("Gate 7", "Zufahrt Süd").encode("utf-8")
    records, report = read(tmp_path, utf8 + bad + utf8 + bad + GOOD.encode())
    assert [record.fields["place"] for record in records] == ["Zufahrt Süd"] * 2 + ["Gate 7"]
    assert [(row.row, row.reason) for row in report.excluded] == [(2, "ENCODING"), (4, "ENCODING")]
    assert (report.rows, report.records) == (5, 3)


def test_refused_rows_keep_their_numbers_between_rejected_ones(tmp_path: Path) -> None:
    """Numbers count every row, whether it failed to decode, to split, or to make sense."""
    bad = GOOD.replace("Gate 7", "Süd").encode("latin-1")
    unknown = GOOD.replace(",IN,", ",WARP,").encode()
    short = b"2026-09-01T10:00:00Z,IN\n"
    rows = [unknown, bad, bad, GOOD.encode(), unknown, short, unknown, GOOD.encode()]
    _, report = read(tmp_path, b"".join(rows))
    assert [(row.row, row.reason) for row in report.excluded] == [
        (1, "EVENT_UNKNOWN"), (2, "ENCODING"), (3, "ENCODING"), (5, "EVENT_UNKNOWN"),
        (6, "MALFORMED"), (7, "EVENT_UNKNOWN"),
    ]  # fmt: skip
    assert report.excluded_by_reason() == {"EVENT_UNKNOWN": 3, "ENCODING": 2, "MALFORMED": 1}


def test_bad_check_digits_are_kept_marked_and_counted(tmp_path: Path) -> None:
    """A wrong check digit stays findable by the spelling that the source has."""
    (record,), report = read(tmp_path, GOOD.replace("663987-0", "663987-4"))
    box = next(i for i in record.identifiers if i.scheme == "container")
    assert (box.value, box.validity) == ("MSCU6639874", Validity.CHECKSUM_FAILED)
    assert report.checksum_failed == 1
    assert report.excluded == ()


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (",IN,", ",,", "EVENT_UNSPECIFIED"),
        (",IN,", ",unspecified,", "EVENT_UNSPECIFIED"),
        (",IN,", ",beamed,", "EVENT_UNKNOWN"),
        ("AMBER", "", "HANDLING_TLP"),
        ("AMBER", "MAUVE", "HANDLING_TLP"),
        ("AMBER", "RESTREINT UE/EU RESTRICTED", "EU_CLASSIFIED"),
        ("2026-09-01T10:00:00Z", "yesterday", "TIME"),
        ("2026-09-01T10:00:00Z", "", "TIME"),
        ("2026-09-01T10:00:00Z", "1926-09-01T10:00:00Z", "TIME"),
        ("2026-09-01T10:00:00Z", "2024-09-01T10:00:00Z", "EXPIRED"),
        ("MSCU 663987-0,AB-123-C", ",", "NO_IDENTIFIER"),
        ("AMBER,", "AMBER,perhaps", "FLAG"),
    ],
)
def test_a_row_that_cannot_be_said_is_refused_and_counted(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    """Unknown or unspecified events, handling, times and flags are never guessed."""
    assert old in GOOD
    records, report = read(tmp_path, GOOD.replace(old, new) + GOOD)
    assert len(records) == 1
    assert [(row.row, row.reason) for row in report.excluded] == [(1, reason)]
    assert (report.rows, report.records) == (2, 1)


def test_quoting_line_ends_and_the_byte_order_mark_are_understood(tmp_path: Path) -> None:
    """Quoted delimiters and line breaks, CRLF and a BOM are ordinary."""
    row = GOOD.replace("Gate 7", '"Gate 7, ""north""\nlane 2"').replace("\n", "\r\n")
    (record,), report = read(tmp_path, row, header="\ufeff" + HEADER.replace("\n", "\r\n"))
    assert record.fields["place"].replace("\r", "") == 'Gate 7, "north"\nlane 2'
    assert report.rows == 1


def test_a_time_zone_applies_to_times_that_state_none(tmp_path: Path) -> None:
    """Local times are read in the mapping's zone, explicit offsets as they stand."""
    mapping = MAPPING.replace('column = "at"', 'column = "at"\nformat = "%d.%m.%Y %H:%M"')
    (record,), _ = read(
        tmp_path, GOOD.replace("2026-09-01T10:00:00Z", "01.09.2026 10:00"), mapping=mapping
    )
    assert record.occurred_at == 1_788_256_800
    mapping = MAPPING.replace('column = "at"', 'column = "at"\nformat = "unix"')
    (record,), _ = read(
        tmp_path, GOOD.replace("2026-09-01T10:00:00Z", "1788256800"), mapping=mapping
    )
    assert record.occurred_at == 1_788_256_800


@pytest.mark.parametrize("header", ["", "a" * 70_000 + "\n", '"unclosed\n'])
def test_a_file_without_a_usable_header_is_refused(tmp_path: Path, header: str) -> None:
    """An empty, endless or broken first line has its own code."""
    with pytest.raises(SourceUnusable) as caught:
        read(tmp_path, "", header=header)
    assert caught.value.code in {"HEADER", "COLUMN_MISSING"}


def test_a_row_without_end_does_not_take_the_memory(tmp_path: Path) -> None:
    """A row above the limit is excluded by number; the rows around it are kept."""
    endless = GOOD.replace("Gate 7", "x" * 3_000_000)
    records, report = read(tmp_path, GOOD + endless + GOOD)
    assert len(records) == 2
    assert [(row.row, row.reason) for row in report.excluded] == [(2, "MALFORMED")]
    assert report.complete


@pytest.mark.parametrize("behind", [5, 9_000])
def test_an_unclosed_quote_says_that_other_lines_are_lost(tmp_path: Path, behind: int) -> None:
    """A quote that swallows the lines behind it marks the whole import as incomplete."""
    unclosed = GOOD.replace("Gate 7", '"Gate 7')
    _, report = read(tmp_path, GOOD + unclosed + GOOD * behind)
    assert [(row.row, row.reason) for row in report.excluded] == [(2, "UNCLOSED_QUOTE")]
    assert not report.complete


def test_every_file_of_a_pattern_is_read_and_rows_are_told_apart(tmp_path: Path) -> None:
    """Two files give two origins for the same line."""
    (tmp_path / "gate-2.csv").write_text(HEADER + GOOD, encoding="utf-8")
    records, report = read(tmp_path, GOOD)
    assert len(records) == 2
    assert len({record.origin for record in records}) == 2
    assert report.rows == 2


def test_the_reader_can_reach_no_other_file_and_no_setting(tmp_path: Path) -> None:
    """The connection that reads a source is confined to that one file and locked."""
    read(tmp_path, GOOD)
    other = tmp_path / "other.csv"
    other.write_text("a\n1\n", encoding="utf-8")
    connection = confined(tmp_path / "gate.csv")
    for statement in (
        f"FROM read_csv('{other}')",
        f"COPY (SELECT 1) TO '{tmp_path / 'out.csv'}'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
    ):
        with pytest.raises(Exception, match=r"(?i)disabled|locked|permission|cannot"):
            connection.execute(statement)
    connection.close()
    assert not (tmp_path / "out.csv").exists()


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=st.lists(st.binary(max_size=60), max_size=12))
def test_any_bytes_give_records_or_counted_rows(tmp_path: Path, rows: list[bytes]) -> None:
    """Whatever stands in a file, the import ends with a report that adds up."""
    content = b"\n".join(rows) + b"\n" + GOOD.encode()
    try:
        records, report = read(tmp_path, content)
    except SourceUnusable as error:
        assert error.code == "FILE_UNREADABLE"  # noqa: PT017
    else:
        assert report.records == len(records)
        assert report.rows == report.records + report.excluded_rows


def test_a_formula_in_a_cell_is_text(tmp_path: Path) -> None:
    """A cell that a spreadsheet would run is kept as it is written."""
    formula = "=CMD|'/C calc'!A0"
    (record,), _ = read(tmp_path, GOOD.replace("Gate 7", formula))
    assert record.fields["place"] == formula


def test_mixed_time_zones_are_one_time_line(tmp_path: Path) -> None:
    """Offsets in the data count as they stand, and the mapping's zone where there is none."""
    mapping = MAPPING.replace('column = "at"', 'column = "at"\ntimezone = "Europe/Amsterdam"')
    times = ("2026-09-01T10:00:00Z", "2026-09-01T12:00:00", "2026-09-01 05:00:00-05:00")
    rows = "".join(GOOD.replace("2026-09-01T10:00:00Z", time) for time in times)
    records, _ = read(tmp_path, rows, mapping=mapping)
    assert {record.occurred_at for record in records} == {1_788_256_800}


_STREAM = """
import resource, sys
from pathlib import Path
from node.sources.opening import open_source
from node.sources.source import records_of
source = open_source(Path(sys.argv[1]), now=1_790_000_000.0, environ={})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = sum(1 for _ in records_of(source))
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(count, (after - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_large_file_is_streamed_in_bounded_memory(tmp_path: Path) -> None:
    """120 MB of rows pass through a reader that grows by less than that."""
    block = GOOD.encode() * 5_000
    with (tmp_path / "gate.csv").open("wb") as file:
        file.write(HEADER.encode())
        written = 0
        while written < 120 * 1024**2:
            written += file.write(block)
    mapping = write_mapping(tmp_path)
    ended = subprocess.run(
        [sys.executable, "-c", _STREAM, str(mapping)],
        capture_output=True, text=True, check=True, timeout=600,
    )  # fmt: skip
    count, grown = map(int, ended.stdout.split())
    assert count == written // len(GOOD)
    assert grown < 100


def test_a_row_marked_classified_is_refused_in_a_column_of_its_own(tmp_path: Path) -> None:
    """A mapped column of free markings refuses the row, whatever its handling says."""
    mapping = MAPPING.replace('pap = "AMBER"', 'pap = "AMBER"\nmarking = { column = "gate" }')
    assert mapping != MAPPING
    rows = GOOD + GOOD.replace("Gate 7", "R-UE/EU-R") + GOOD.replace("Gate 7", "confidential")
    records, report = read(tmp_path, rows, mapping=mapping)
    assert [row.reason for row in report.excluded] == ["EU_CLASSIFIED"]
    assert len(records) == 2

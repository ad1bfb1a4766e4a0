"""Files of terms: any octets are rows or a usage error, and no row is lost."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairlead.cli import ask, terms
from fairlead.cli.terms import read_terms
from fairlead.errors import FairleadError, InvalidInput
from fairlead.v1 import asking_pb2
from tests.federation import OTHER, STORY

PLATE = "NL:AB-12-CD"


def quiet(text: str, scheme: str | None) -> asking_pb2.Term:
    return ask.recognise(text, scheme, aloud=False)


def read(path: Path, content: bytes, **options: Any) -> terms.TermsFile:
    path.write_bytes(content)
    return read_terms(path, quiet, **options)


def outline(file: terms.TermsFile) -> list[tuple[str, str]]:
    """Each row's term, or why it has none."""
    return [
        (row.text, file.terms[row.term - 1].value if row.term else row.reason) for row in file.rows
    ]


def test_duplicates_blanks_and_unknown_types_are_rows(tmp_path: Path) -> None:
    """Each keeps its place and says what became of it; a repeated term is asked once."""
    content = f"{STORY}\n\n{STORY.lower()}\nhello\nMSCU6639871\nAB-123-C\n   \n{OTHER}\n".encode()
    file = read(tmp_path / "t.txt", content)
    assert [value for _, value in outline(file)] == [
        STORY,
        "BLANK",
        STORY,
        "NOT_RECOGNISED",
        "NOT_RECOGNISED",
        "COUNTRY_REQUIRED",
        "BLANK",
        OTHER,
    ]
    assert [term.value for term in file.terms] == [STORY, OTHER]
    assert file.summary() == "8 rows: 2 terms to ask, 1 repeated, 2 blank, 3 not recognised"


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("t.txt", f"{STORY}\n{OTHER}", {}),
        ("t.txt", f"\ufeff{STORY}\r\n{OTHER}\r\n", {}),
        ("t.csv", f"{STORY}\n{OTHER}\n", {}),
        ("t.csv", f"term\n{STORY}\n{OTHER}\n", {}),
        ("t.csv", f"\ufeffIdentifier\n{STORY}\n{OTHER}\n", {}),
        ("t.csv", f"note,TERM\nx,{STORY}\ny,{OTHER}\n", {}),
        ("t.csv", f"note;box\nx;{STORY}\ny;{OTHER}\n", {"column": "Box"}),
        ("t.csv", f'"a,b"\tterm\n"x\n2"\t{STORY}\ny\t{OTHER}\n', {}),
        ("t.csv", f"term,scheme\n{STORY},container\n{OTHER},\n", {}),
        ("t.tsv", f"term\tnote\n{STORY}\n{OTHER}\tragged\trow\n", {}),
        ("t.txt", f"box,note\n{STORY},x\n{OTHER},y\n", {"column": "box"}),
    ],
)
def test_the_same_two_terms_in_many_shapes(
    tmp_path: Path, name: str, content: str, options: dict[str, Any]
) -> None:
    """Marks, headings, delimiters and ragged rows change nothing."""
    file = read(tmp_path / name, content.encode(), **options)
    assert [value for _, value in outline(file)] == [STORY, OTHER]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8", "utf-8-sig", "cp1252"])
def test_encodings_are_told_apart(tmp_path: Path, encoding: str) -> None:
    """An identifier reads the same in each, and other words stay a row."""
    file = read(tmp_path / "t.txt", f"{STORY}\nMünchen\n".encode(encoding))
    assert outline(file) == [(STORY, STORY), ("München", "NOT_RECOGNISED")]


def test_a_scheme_can_be_stated_for_each_row_or_for_all(tmp_path: Path) -> None:
    """A scheme nobody knows is that row's reason."""
    content = f"term,scheme\n9074729,vessel-imo\n{STORY},no-such\n9074729,\n".encode()
    file = read(tmp_path / "t.csv", content, scheme="vessel-imo")
    assert [value for _, value in outline(file)] == ["9074729", "SCHEME", "9074729"]


def workbook(rows: list[list[Any]]) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.worksheets[0].append(row)
    data = io.BytesIO()
    book.save(data)
    return data.getvalue()


def test_excel_reads_like_csv(tmp_path: Path) -> None:
    """Numbers are whole, empty cells are blank rows, and empty rows behind the last are none."""
    rows: list[list[Any]] = [["note", "term"], ["a", STORY], [None, None], ["b", 9074729.0]]
    file = read(tmp_path / "t.xlsx", workbook([*rows, [None, None], [None, None]]))
    assert [value for _, value in outline(file)] == [STORY, "BLANK", "9074729"]
    formula = read(tmp_path / "f.xlsx", workbook([["=1+1"], [STORY]]))
    assert [value for _, value in outline(formula)] == ["BLANK", STORY]


def rewritten(book: bytes, old: bytes, new: bytes) -> bytes:
    """The workbook with something else in its first sheet."""
    data = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(book)) as source,
        zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename == "xl/worksheets/sheet1.xml":
                assert old in content
                content = content.replace(old, new)
            target.writestr(entry.filename, content)
    return data.getvalue()


def test_a_workbook_that_claims_to_be_huge_takes_no_memory(tmp_path: Path) -> None:
    """Five kilobytes that state 16,384 columns and thousands of rows are read as they are."""
    book = rewritten(
        workbook([["term"], [STORY]]), b'<dimension ref="A1:A2"', b'<dimension ref="A1:XFD32000"'
    )
    book = rewritten(book, b"</sheetData>", b'<row r="2000"><c r="XFD2000"/></row></sheetData>')
    path = tmp_path / "t.xlsx"
    path.write_bytes(book)
    tracemalloc.start()
    try:
        file = read_terms(path, quiet)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [value for _, value in outline(file)] == [STORY]
    assert peak < 32 * 1024 * 1024


def test_a_workbook_that_unpacks_to_too_much_is_refused_unread(tmp_path: Path) -> None:
    """What a thousandfold compression hides is counted before anything is unpacked."""
    blank = b" " * (terms.MAX_UNPACKED + 1)
    bomb = rewritten(workbook([["term"], [STORY]]), b"</sheetData>", blank + b"</sheetData>")
    assert len(bomb) < 1024 * 1024
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path / "t.xlsx", bomb)
    assert caught.value.code == "TOO_LARGE"


@pytest.mark.parametrize(
    ("name", "content", "options", "code"),
    [
        ("t.xlsx", b"PK not a workbook", {}, "FILE_FORMAT"),
        ("t.xlsx", b"", {}, "FILE_FORMAT"),
        ("t.csv", b"a,b\n1,2\n", {}, "COLUMN"),
        ("t.csv", b"term,term\n1,2\n", {}, "COLUMN"),
        ("t.csv", b"a,b\n1,2\n", {"column": "c"}, "COLUMN"),
        ("t.csv", b"term\n" + b"x" * 200_000, {}, "FILE_FORMAT"),
        ("t.txt", b"x" * (terms.MAX_FILE + 1), {}, "TOO_LARGE"),
    ],
)
def test_what_is_no_file_of_terms_says_why(
    tmp_path: Path, name: str, content: bytes, options: dict[str, Any], code: str
) -> None:
    """A stable code and the next command, before anything is sent."""
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path / name, content, **options)
    assert caught.value.code == code
    assert caught.value.remedy


def test_a_row_too_many_is_no_file_of_terms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit of rows holds for lines, and a workbook has one of its own."""
    monkeypatch.setattr(terms, "MAX_ROWS", 3)
    assert len(read(tmp_path / "t.txt", b"x\n" * 3).rows) == 3
    monkeypatch.setattr(terms, "MAX_SHEET_ROWS", 2)
    for name, content in (("t.txt", b"x\n" * 4), ("t.xlsx", workbook([[STORY]] * 4))):
        with pytest.raises(InvalidInput) as caught:
            read(tmp_path / name, content)
        assert caught.value.code == "TOO_MANY_ROWS"


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    """No such file, or a folder, is a usage error."""
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(InvalidInput) as caught:
            read_terms(path, quiet)
        assert caught.value.code == "FILE_MISSING"


@settings(suppress_health_check=list(HealthCheck), deadline=None)
@given(content=st.binary(max_size=300), suffix=st.sampled_from([".csv", ".txt", ".xlsx", ""]))
def test_any_octets_are_rows_or_a_usage_error(tmp_path: Path, content: bytes, suffix: str) -> None:
    """Reading never fails in another way, and every row can be kept and sent."""
    try:
        file = read(tmp_path / f"any{suffix}", content)
    except FairleadError:
        return
    for row in file.rows:
        assert asking_pb2.Row.FromString(row.SerializeToString()) == row
        assert bool(row.term) != bool(row.reason)
        assert len(row.text) <= terms.MAX_TEXT
        assert row.term <= len(file.terms)


@settings(suppress_health_check=list(HealthCheck), deadline=None)
@given(
    lines=st.lists(
        st.text(alphabet=st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])),
        max_size=30,
    )
)
def test_every_line_is_a_row(tmp_path: Path, lines: list[str]) -> None:
    """N lines in, N rows out, in order."""
    content = "".join(f"{line}\n" for line in lines).encode()
    file = read(tmp_path / "t.txt", content)
    shown = [row.text for row in file.rows]
    wanted = [line.strip()[: terms.MAX_TEXT] for line in lines]
    if lines and lines[0].startswith("\ufeff"):
        wanted[0] = lines[0][1:].strip()[: terms.MAX_TEXT]
    assert shown == wanted

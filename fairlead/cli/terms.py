"""A file of terms: every row is kept, in its order, with its term or the reason why it has none."""

from __future__ import annotations

import csv
import io
import re
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairlead.errors import FairleadError, InvalidInput

if TYPE_CHECKING:
    from fairlead.v1 import asking_pb2

MAX_FILE = 16 * 1024 * 1024
"""Octets of one file."""
MAX_ROWS = 32_768
MAX_UNPACKED = 64 * 1024 * 1024
"""Octets of everything in a workbook, unpacked."""
MAX_COLUMNS = 64
"""Columns of a workbook that are looked at."""
MAX_TOTAL = 2 * 1024 * 1024
"""Octets of all rows together, so that they fit one message."""
MAX_TEXT = 64
"""Characters of a row that are kept; no identifier is longer."""
HEADINGS = frozenset({"term", "terms", "identifier", "identifiers", "value"})
"""What the column of terms may be called, unless --column names another."""
SCHEME = "scheme"
_DELIMITERS = ",;\t|"

Identify = Callable[[str, str | None], "asking_pb2.Term"]
"""Reads one identifier under a scheme or any; raises InvalidInput."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TermsFile:
    """The rows of a file, and each term once."""

    rows: tuple[asking_pb2.Row, ...]
    terms: tuple[asking_pb2.Term, ...]

    def summary(self) -> str:
        """One sentence: how many rows, and what becomes of them."""
        blank = sum(row.reason == "BLANK" for row in self.rows)
        unread = sum(bool(row.reason) for row in self.rows) - blank
        twice = sum(bool(row.term) for row in self.rows) - len(self.terms)
        return (
            f"{len(self.rows):,} rows: {len(self.terms):,} terms to ask, {twice:,} repeated, "
            f"{blank:,} blank, {unread:,} not recognised"
        )


def read_terms(
    path: Path, identify: Identify, *, column: str | None = None, scheme: str | None = None
) -> TermsFile:
    """Read terms from CSV, Excel (``.xlsx``), or a line each; ``-`` is standard input.

    :param column: the heading of the terms' column; else the only column, or one of
        :data:`HEADINGS`. A column called ``scheme`` states the scheme of each row.
    :param scheme: the scheme of every row that states none.
    :raises InvalidInput: FILE_MISSING, FILE_FORMAT, TOO_LARGE, TOO_MANY_ROWS or COLUMN.
    """
    from fairlead.v1 import asking_pb2

    rows: list[asking_pb2.Row] = []
    places: dict[tuple[str, str], int] = {}
    terms: list[asking_pb2.Term] = []
    for text, stated in _cells(_table(path, column), column):
        if len(rows) == MAX_ROWS:
            raise InvalidInput(
                "a file of terms has at most 32,768 rows; nothing was sent",
                reasons=("TOO_MANY_ROWS",),
                remedy="split the file",
            )
        row = asking_pb2.Row(text=_clean(text)[:MAX_TEXT])
        rows.append(row)
        if not text.strip():
            row.reason = "BLANK"
            continue
        try:
            term = identify(text.strip(), stated.strip() or scheme)
        except FairleadError as error:
            row.reason = error.code
            continue
        key = (term.scheme, term.value)
        if key not in places:
            terms.append(term)
            places[key] = len(terms)
        row.term = places[key]
    if sum(row.ByteSize() for row in rows) > MAX_TOTAL:
        raise InvalidInput(
            "the rows of a file of terms are too long; nothing was sent",
            reasons=("TOO_LARGE",),
            remedy="name the column of the terms: --column HEADING",
        )
    return TermsFile(rows=tuple(rows), terms=tuple(terms))


def _clean(text: str) -> str:
    """The text as UTF-8 can carry it."""
    return text.strip().encode("utf-8", "replace").decode()


def _table(path: Path, column: str | None) -> list[list[str]]:
    if path.suffix.lower() == ".xlsx":
        return _workbook(path)
    text = _text(path)
    if path.suffix.lower() in {".csv", ".tsv"} or column is not None:
        return _csv(text)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [[line] for line in (lines[:-1] if not lines[-1] else lines)]


def _octets(path: Path) -> bytes:
    try:
        if str(path) == "-":
            data = sys.stdin.buffer.read(MAX_FILE + 1)
        else:
            with path.open("rb") as file:
                data = file.read(MAX_FILE + 1)
    except OSError:
        raise InvalidInput(
            "the file of terms cannot be read; nothing was sent",
            reasons=("FILE_MISSING",),
            remedy="fairlead ask --file FILE",
        ) from None
    if len(data) > MAX_FILE:
        raise InvalidInput(
            "a file of terms is at most 16 MiB; nothing was sent",
            reasons=("TOO_LARGE",),
            remedy="split the file",
        )
    return data


def _text(path: Path) -> str:
    """UTF-8 or, by its byte order mark, UTF-16; other octets are read as Windows-1252, where
    every identifier looks the same."""
    data = _octets(path)
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _csv(text: str) -> list[list[str]]:
    heading = next((line for line in text.split("\n") if line.strip()), "")
    delimiter = max(_DELIMITERS, key=re.sub(r'"[^"]*"', "", heading).count)
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error:
        raise _unreadable() from None


def _workbook(path: Path) -> list[list[str]]:
    """The first sheet, without the empty rows behind its last one."""
    import openpyxl

    data = io.BytesIO(_octets(path))
    _check_archive(data)
    try:
        book = openpyxl.load_workbook(data, read_only=True, data_only=True)
        rows, sheet = [], book.worksheets[0]
        sheet.reset_dimensions()  # what the sheet states about its size is not believed
        for values in sheet.iter_rows(values_only=True):
            rows.append([_cell(value) for value in values[:MAX_COLUMNS]])
            if len(rows) > MAX_ROWS + 1:
                break
        book.close()
    except Exception:  # noqa: BLE001  whatever a broken workbook does to its reader
        raise _unreadable() from None
    while rows and not any(cell.strip() for cell in rows[-1]):
        rows.pop()
    return rows


def _check_archive(data: io.BytesIO) -> None:
    """Refuse, before anything is unpacked, a workbook that would unpack to too much; its reader
    unpacks no more than the archive's own directory states.

    :raises InvalidInput: FILE_FORMAT or TOO_LARGE.
    """
    try:
        with zipfile.ZipFile(data) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except Exception:  # noqa: BLE001  whatever a broken archive does to its reader
        raise _unreadable() from None
    if unpacked > MAX_UNPACKED:
        raise InvalidInput(
            "a workbook of terms is at most 64 MiB unpacked; nothing was sent",
            reasons=("TOO_LARGE",),
            remedy="save its column of terms as CSV (UTF-8) and try again",
        )


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _cells(table: Sequence[list[str]], column: str | None) -> Iterator[tuple[str, str]]:
    """Each row's term and stated scheme.

    :raises InvalidInput: COLUMN: there is no such column, or it is not clear which it is.
    """
    widest = max((len(row) for row in table), default=0)
    heading = [name.strip().casefold() for name in table[0]] if table else []
    only = widest <= 1
    if column is None and only and not (heading and heading[0] in HEADINGS):
        for row in table:
            yield (row[0] if row else ""), ""
        return
    wanted = {column.casefold()} if column is not None else HEADINGS
    places = [place for place, name in enumerate(heading) if name in wanted]
    if len(places) != 1:
        raise InvalidInput(
            "it is not clear which column holds the terms; nothing was sent",
            reasons=("COLUMN",),
            remedy="fairlead ask --file FILE --column HEADING",
        )
    stated = heading.index(SCHEME) if SCHEME in heading else None
    for row in table[1:]:
        yield _at(row, places[0]), "" if stated is None else _at(row, stated)


def _at(row: Sequence[str], place: int) -> str:
    return row[place] if place < len(row) else ""


def _unreadable() -> InvalidInput:
    return InvalidInput(
        "the file of terms is not what its name says; nothing was sent",
        reasons=("FILE_FORMAT",),
        remedy="save it as CSV (UTF-8) and try again",
    )

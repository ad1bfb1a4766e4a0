"""A file of terms: every row is kept, in its order, with its term or the reason why it has none."""

from __future__ import annotations

import csv
import io
import re
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from fairlead.errors import FairleadError, InvalidInput

if TYPE_CHECKING:
    from fairlead.packed import PackedRows, PackedTerms
    from fairlead.v1 import asking_pb2

MAX_FILE = 64 * 1024 * 1024
"""Octets of one file."""
MAX_ROWS = 1_048_576
MAX_SHEET_ROWS = 65_536
"""Rows of a workbook, which its reader holds all at once."""
MAX_UNPACKED = 64 * 1024 * 1024
"""Octets of everything in a workbook, unpacked."""
MAX_COLUMNS = 64
"""Columns of a workbook that are looked at."""
MAX_TEXT = 64
"""Characters of a row that are kept; no identifier is longer."""
HEADINGS = frozenset({"term", "terms", "identifier", "identifiers", "value"})
"""What the column of terms may be called, unless --column names another."""
SCHEME = "scheme"
_BLOCK = 1024 * 1024
_DELIMITERS = ",;\t|"

Identify = Callable[[str, str | None], "asking_pb2.Term"]
"""Reads one identifier under a scheme or any; raises InvalidInput."""
Table = Callable[[], Iterator[list[str]]]
Near = Callable[[str, str | None], "list[asking_pb2.Term]"]
"""A term whose check digit is wrong as it stands, and what it may have been meant to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TermsFile:
    """The rows of a file, and each term once."""

    rows: PackedRows
    terms: PackedTerms

    def summary(self) -> str:
        """One sentence: how many rows, and what becomes of them."""
        reasons = self.rows.reasons()
        blank, wrong, suggested = reasons.get("BLANK", 0), 0, 0
        asked = len(self.rows) - sum(reasons.values()) + reasons.get("", 0)
        for row in self.rows if "CHECK_DIGIT" in reasons else ():
            wrong += bool(row.term and row.reason)
            suggested += len(row.suggested)
        unread = len(self.rows) - asked - blank - wrong
        twice = asked + wrong + suggested - len(self.terms)
        near = (
            f", {wrong:,} with a wrong check digit asked as they stand and as suggested"
            if wrong
            else ""
        )
        return (
            f"{len(self.rows):,} rows: {len(self.terms):,} terms to ask, {twice:,} repeated, "
            f"{blank:,} blank, {unread:,} not recognised{near}"
        )


def read_terms(
    path: Path,
    identify: Identify,
    *,
    column: str | None = None,
    scheme: str | None = None,
    near: Near | None = None,
) -> TermsFile:
    """Read terms from CSV, Excel (``.xlsx``), or a line each; ``-`` is standard input.

    :param column: the heading of the terms' column; else the only column, or one of
        :data:`HEADINGS`. A column called ``scheme`` states the scheme of each row.
    :param scheme: the scheme of every row that states none.
    :param near: what to ask for a row whose check digit is wrong; None asks nothing.
    :raises InvalidInput: FILE_MISSING, FILE_FORMAT, TOO_LARGE, TOO_MANY_ROWS or COLUMN.
    """
    listing = _Listing(identify, near)
    for text, stated in _cells(_table(path, column), column):
        if len(listing.rows) == MAX_ROWS:
            raise _too_many_rows(MAX_ROWS)
        listing.add(text, stated.strip() or scheme)
    return TermsFile(rows=listing.rows, terms=listing.terms)


class _Listing:
    """The rows so far, and the place of each term: 16 octets or so for each beside its text."""

    def __init__(self, identify: Identify, near: Near | None) -> None:
        from fairlead.packed import PackedRows, PackedTerms

        self._identify = identify
        self._near = near
        self.rows = PackedRows()
        self.terms = PackedTerms()
        self._places: dict[int, int] = {}

    def add(self, text: str, scheme: str | None) -> None:
        """Take in the next row."""
        from fairlead.v1 import asking_pb2

        row = asking_pb2.Row(text=_clean(text)[:MAX_TEXT])
        if not text.strip():
            row.reason = "BLANK"
        else:
            self._read(row, text.strip(), scheme)
        self.rows.append(row)

    def _read(self, row: asking_pb2.Row, text: str, scheme: str | None) -> None:
        try:
            row.term = self._place(self._identify(text, scheme))
        except FairleadError as error:
            row.reason = error.code
            named = self._near(text, scheme) if self._near else []
            if named:
                row.term, row.reason = self._place(named[0]), "CHECK_DIGIT"
                row.suggested.extend(self._place(term) for term in named[1:])

    def _place(self, term: asking_pb2.Term) -> int:
        """The place of a term, plus one. Two terms of one hash of 64 bits, under a key of this
        process, are told apart by looking."""
        pair = (term.scheme, term.value)
        mark = hash(pair)
        while (place := self._places.get(mark)) is not None:
            found = self.terms[place - 1]
            if (found.scheme, found.value) == pair:
                return place
            mark += 1
        self.terms.append(*pair)
        self._places[mark] = len(self.terms)
        return len(self.terms)


def _too_many_rows(most: int) -> InvalidInput:
    return InvalidInput(
        "the file has more rows than can be asked at once; nothing was sent",
        reasons=("TOO_MANY_ROWS",),
        remedy=f"at most {most:,} rows: "
        + ("split the file" if most == MAX_ROWS else "save it as CSV (UTF-8), or split it"),
    )


def _clean(text: str) -> str:
    """The text as UTF-8 can carry it."""
    return text.strip().encode("utf-8", "replace").decode()


def _table(path: Path, column: str | None) -> Table:
    """A function that reads the rows anew each time."""
    if path.suffix.lower() == ".xlsx":
        rows = _workbook(path)
        return lambda: iter(rows)
    text = _text(path)
    if path.suffix.lower() in {".csv", ".tsv"} or column is not None:
        return lambda: _csv(text)
    return lambda: ([line] for line in _lines(text))


def _lines(text: str) -> Iterator[str]:
    """Each line; what follows the last end of a line is one as well, unless it is empty."""
    text_end, start = len(text), 0
    while start < text_end:
        stop = text.find("\n", start)
        stop = text_end if stop < 0 else stop
        yield from text[start:stop].removesuffix("\r").split("\r")
        start = stop + 1


def _octets(path: Path) -> bytes:
    try:
        if str(path) == "-":
            data = _limited(sys.stdin.buffer)
        else:
            with path.open("rb") as file:
                data = _limited(file)
    except OSError:
        raise InvalidInput(
            "the file of terms cannot be read; nothing was sent",
            reasons=("FILE_MISSING",),
            remedy="fairlead ask --file FILE …",
        ) from None
    if len(data) > MAX_FILE:
        raise InvalidInput(
            "a file of terms is at most 64 MiB; nothing was sent",
            reasons=("TOO_LARGE",),
            remedy="split the file",
        )
    return data


def _limited(file: BinaryIO) -> bytes:
    """At most one octet too many; no more memory than there are octets."""
    parts, left = [], MAX_FILE + 1
    while left and (part := file.read(min(left, _BLOCK))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


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


def _csv(text: str) -> Iterator[list[str]]:
    heading = next((line for line in _lines(text) if line.strip()), "")
    delimiter = max(_DELIMITERS, key=re.sub(r'"[^"]*"', "", heading).count)
    try:
        yield from csv.reader(_with_ends(text), delimiter=delimiter)
    except csv.Error:
        raise _unreadable() from None


def _with_ends(text: str) -> Iterator[str]:
    """Each line with its end, which a quoted cell may hold."""
    start = 0
    while start < len(text):
        stop = text.find("\n", start) + 1 or len(text)
        yield text[start:stop]
        start = stop


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
            if len(rows) > MAX_SHEET_ROWS + 1:
                break
        book.close()
    except Exception:  # noqa: BLE001  whatever a broken workbook does to its reader
        raise _unreadable() from None
    while rows and not any(cell.strip() for cell in rows[-1]):
        rows.pop()
    if len(rows) > MAX_SHEET_ROWS + 1:
        raise _too_many_rows(MAX_SHEET_ROWS)
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


def _cells(table: Table, column: str | None) -> Iterator[tuple[str, str]]:
    """Each row's term and stated scheme.

    :raises InvalidInput: COLUMN: there is no such column, or it is not clear which it is.
    """
    heading = [name.strip().casefold() for name in next(table(), [])]
    only = column is None and all(len(row) <= 1 for row in table())
    if only and not (heading and heading[0] in HEADINGS):
        for row in table():
            yield (row[0] if row else ""), ""
        return
    wanted = {column.casefold()} if column is not None else HEADINGS
    places = [place for place, name in enumerate(heading) if name in wanted]
    if len(places) != 1:
        raise InvalidInput(
            "it is not clear which column holds the terms; nothing was sent",
            reasons=("COLUMN",),
            remedy="fairlead ask --file FILE --column HEADING …",
        )
    stated = heading.index(SCHEME) if SCHEME in heading else None
    for row in islice(table(), 1, None):
        yield _at(row, places[0]), "" if stated is None else _at(row, stated)


def _at(row: Sequence[str], place: int) -> str:
    return row[place] if place < len(row) else ""


def _unreadable() -> InvalidInput:
    return InvalidInput(
        "the file of terms is not what its name says; nothing was sent",
        reasons=("FILE_FORMAT",),
        remedy="save it as CSV (UTF-8) and try again",
    )

"""Excel workbooks (.xlsx) through openpyxl, read-only, one row at a time.

Nothing is ever calculated: a formula's cell has the value that Excel last saved for it, and is
empty when it saved none. Macros, links and embedded objects are not looked at. Sizes are
checked on the archive's own directory before anything is unpacked, and the archive's reader
unpacks no more than the directory states.
"""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree.ElementTree import ParseError

import openpyxl
from openpyxl.utils.exceptions import InvalidFileException

from fairlead.errors import InvalidInput, SourceUnusable
from node.sources.duck import unreadable
from node.sources.files import Wanted
from node.sources.row import Row
from node.sources.text import text_of

MAX_FILES = 10_000
"""Files in the archive."""
MAX_SHEET = 2 * 1024**3
"""Octets of one unpacked sheet, which is streamed."""
MAX_TEXTS = 128 * 1024**2
"""Octets of all other unpacked files together; the shared texts are held in memory."""
MAX_ROWS = 1_048_576
MAX_COLUMNS = 1_024
MAX_CELL = 32_767

_BROKEN = (
    zipfile.BadZipFile, InvalidFileException, ParseError, KeyError, ValueError, TypeError,
    AttributeError, IndexError, OSError, EOFError, NotImplementedError, OverflowError,
    AssertionError, RuntimeError, MemoryError, zlib.error, lzma.LZMAError, struct.error,
)  # fmt: skip
"""What openpyxl and zipfile raise for a workbook that is none, or whose row fills the memory."""


class ExcelTable:
    """One sheet; its first row names the columns."""

    schema = ""

    def __init__(self, sheet: Any) -> None:
        sheet.reset_dimensions()  # what the sheet states about its size is not believed
        self._rows = sheet.iter_rows(max_col=MAX_COLUMNS)
        first = next(self._rows, ())
        names = [str(cell.value).strip() if cell.value is not None else "" for cell in first]
        while names and not names[-1]:
            names.pop()
        if not names:
            raise _no_header()
        self.header = names

    def rows(self, positions: Sequence[int]) -> Iterator[Row | str]:
        """Stream the wanted columns; rows without any value are no rows.

        :raises SourceUnusable: ``FILE_UNREADABLE``.
        """
        try:
            for cells in islice(self._rows, MAX_ROWS):
                if any(cell.value is not None for cell in cells):
                    yield _row(cells, positions)
        except _BROKEN:
            raise unreadable() from None


@contextmanager
def open_excel(path: Path, wanted: Wanted) -> Iterator[ExcelTable]:
    """Open a sheet, or the first one; a sheet states no types.

    :raises SourceUnusable: ``FILE_UNREADABLE``, ``TOO_LARGE``, ``SHEET_MISSING``, ``HEADER``.
    """
    check_archive(path)
    with _opened(path) as file:  # openpyxl leaves a file of its own open when it fails
        try:
            book = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
        except _BROKEN:
            raise unreadable() from None
        try:
            yield _table(book, wanted.sheet)
        finally:
            book.close()


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError:
        raise unreadable() from None


def _table(book: openpyxl.Workbook, name: str | None) -> ExcelTable:
    sheets = {found.title: found for found in book.worksheets}
    if not sheets or (name is not None and name not in sheets):
        raise SourceUnusable(
            "a workbook lacks the sheet that its mapping names",
            reasons=("SHEET_MISSING",),
            remedy="correct `sheet` in the mapping, then: fairlead-node source test NAME",
        )
    try:
        return ExcelTable(sheets[name] if name else next(iter(sheets.values())))
    except _BROKEN:
        raise unreadable() from None


def check_archive(path: Path) -> None:
    """Refuse an archive that would unpack to more than the limits.

    :raises SourceUnusable: ``FILE_UNREADABLE``, ``TOO_LARGE``.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except _BROKEN:
        raise unreadable() from None
    sheets = [e.file_size for e in entries if e.filename.startswith("xl/worksheets/sheet")]
    others = sum(entry.file_size for entry in entries) - sum(sheets)
    if len(entries) > MAX_FILES or max(sheets, default=0) > MAX_SHEET or others > MAX_TEXTS:
        raise SourceUnusable(
            "a workbook is larger than this product reads",
            reasons=("TOO_LARGE",),
            remedy="export the sheet as CSV or Parquet, and map that file instead",
        )


def _row(cells: Sequence[Any], positions: Sequence[int]) -> Row | str:
    found: list[str | None] = []
    for position in positions:
        cell = cells[position] if position < len(cells) else None
        if cell is None or cell.value is None:
            found.append(None)
            continue
        if cell.data_type == "e":
            return "CELL_ERROR"
        try:
            text = text_of(cell.value)
        except InvalidInput as error:
            return error.code
        if text is not None and len(text) > MAX_CELL:
            return "TOO_LONG"
        found.append(text)
    return found


def _no_header() -> SourceUnusable:
    return SourceUnusable(
        "a sheet's first row names no columns",
        reasons=("HEADER",),
        remedy="put the columns' names into the first row, then: fairlead-node source test NAME",
    )

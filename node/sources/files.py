"""Files whose rows come with their numbers (Parquet, JSON, Excel) as a source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from node.sources.duck import unreadable
from node.sources.mapping import SourceMapping
from node.sources.record import SourceRecord
from node.sources.report import ImportReport
from node.sources.row import Row, RowReader
from node.sources.source import Mark, Part
from node.sources.tally import Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What of a file is meant.

    ``columns`` are those whose types the fingerprint is about; ``sheet`` names a sheet of a
    workbook, of which the first one is meant otherwise.
    """

    columns: frozenset[str] = frozenset()
    sheet: str | None = None


class Table(Protocol):
    """One table of a file, open for one pass."""

    @property
    def header(self) -> Sequence[str]:
        """Names of the columns, in order."""
        ...

    @property
    def schema(self) -> str:
        """Fingerprint of the columns' types; empty where the format states none."""
        ...

    def rows(self, positions: Sequence[int]) -> Iterator[Row | str]:
        """Every row's cells at these positions, or the reason why the row cannot be read."""
        ...


Format = Callable[[Path, Wanted], AbstractContextManager[Table]]
"""One format of files: opens the table that is meant."""


class FileSource:
    """The rows of a mapping's files as records; every file is one part, read whole."""

    def __init__(self, mapping: SourceMapping, open_table: Format, *, now: float) -> None:
        self.name = mapping.file.source
        self.mapping = mapping
        self._open, self._now = open_table, now
        self._tally = Tally(self.name)

    def parts(self) -> tuple[Part, ...]:
        """Every file. :raises SourceUnusable: ``FILE_MISSING``, ``FILE_UNREADABLE``, …"""
        found = []
        for path in self.mapping.data_files():
            with self._table(path) as table:
                found.append(file_part(self.mapping, path, schema=table.schema))
        return tuple(found)

    def read(self, part: Part, *, after: str = "") -> Iterator[SourceRecord | Mark]:  # noqa: ARG002
        """Read one file; it yields no marks, because half a file is never continued.

        :raises SourceUnusable: ``FILE_UNREADABLE``, ``HEADER``, ``COLUMN_MISSING``, …
        """
        self._tally.begin()
        file = self.mapping.file
        with self._table(self.mapping.base / part.name) as table:
            reader = RowReader(file, table.header, name=part.name, now=self._now)
            for number, row in enumerate(table.rows(reader.positions), 1):
                if isinstance(row, str):
                    self._tally.exclude(part.name, number, row)
                elif record := self._tally.take(reader, row, number, file=part.name, origin=number):
                    yield record
        self._tally.settle()

    def report(self) -> ImportReport:
        """What became of the rows read until now."""
        return self._tally.report()

    def _table(self, path: Path) -> AbstractContextManager[Table]:
        file = self.mapping.file
        return self._open(
            path, Wanted(columns=frozenset(file.columns().values()), sheet=file.sheet)
        )


def file_part(mapping: SourceMapping, path: Path, *, schema: str = "") -> Part:
    """A file as a part; its stamp changes with its size, its time and the mapping.

    :raises SourceUnusable: ``FILE_UNREADABLE``.
    """
    try:
        state = path.stat()
    except OSError:
        raise unreadable() from None
    stamp = f"{state.st_size}-{state.st_mtime_ns}-{state.st_ino}-{mapping.digest}"
    name = path.relative_to(mapping.base).as_posix()
    return Part(name=name, stamp=stamp, appends=False, schema=schema)

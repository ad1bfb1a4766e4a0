"""JSON files through DuckDB: one object a line, or one array of objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import orjson

from fairlead.errors import InvalidInput, SourceUnusable
from node.sources.duck import BROKEN, confined, unreadable
from node.sources.files import Wanted
from node.sources.row import Row
from node.sources.text import text_of

MAX_OBJECT = 4 * 1024 * 1024
"""Octets in one object."""
MAX_COLUMNS = 4096
SAMPLE_ROWS = 10_000
"""Objects from whose keys the columns are taken; a key may be missing in any of them."""
_BATCH = 256
_PROLOGUE = 64 * 1024


class JsonTable:
    """One file. Numbers, flags and texts are cells; an object or an array is no cell."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._layout = layout_of(path)
        keys: dict[str, None] = {}
        for place, found in enumerate(self._objects()):
            if place >= SAMPLE_ROWS or len(keys) > MAX_COLUMNS:
                break
            if isinstance(found, dict):
                keys |= dict.fromkeys(found)
        if not keys or len(keys) > MAX_COLUMNS:
            raise SourceUnusable(
                "a source's first rows are no objects with keys",
                reasons=("HEADER",),
                remedy="export one JSON object a line, or one array of objects",
            )
        self.header = list(keys)
        self.schema = ""

    def rows(self, positions: Sequence[int]) -> Iterator[Row | str]:
        """Stream the wanted keys. :raises SourceUnusable: ``FILE_UNREADABLE``."""
        names = [self.header[position] for position in positions]
        for found in self._objects():
            if not isinstance(found, dict):
                yield "MALFORMED"
                continue
            try:
                yield [text_of(found.get(name)) for name in names]
            except InvalidInput as error:
                yield error.code

    def _objects(self) -> Iterator[object]:
        """Every object, parsed; None for one that is not JSON."""
        # ignore_errors needs lines: an array with a hole in it has no rows behind the hole.
        lines = self._layout == "newline_delimited"
        query = (
            "SELECT CAST(json AS VARCHAR) FROM read_json_objects($path, format = $layout,"
            " maximum_object_size = $max, ignore_errors = $lines, compression = 'none')"
        )
        values = {
            "path": str(self._path), "layout": self._layout, "max": MAX_OBJECT, "lines": lines,
        }  # fmt: skip
        with closing(confined(self._path)) as connection:
            try:
                result = connection.execute(query, values)
                while rows := result.fetchmany(_BATCH):
                    for (text,) in rows:
                        yield _parsed(text)
            except BROKEN:
                raise unreadable() from None


@contextmanager
def open_json(path: Path, _wanted: Wanted) -> Iterator[JsonTable]:
    """Open a file, which states neither types nor sheets.

    :raises SourceUnusable: ``FILE_UNREADABLE``, ``HEADER``.
    """
    yield JsonTable(path)


def _parsed(text: str | None) -> object:
    try:
        return None if text is None else orjson.loads(text)
    except ValueError:
        return None


def layout_of(path: Path) -> str:
    """``array`` when the first character that is no blank is a bracket."""
    try:
        with path.open("rb") as file:
            start = file.read(_PROLOGUE).removeprefix(b"\xef\xbb\xbf").lstrip()
    except OSError:
        raise unreadable() from None
    return "array" if start.startswith(b"[") else "newline_delimited"

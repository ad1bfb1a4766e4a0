"""The pack's figures as CSV files in one ZIP: the same octets on every machine and every run.

Files are stored and not compressed, because two versions of a compressor write different octets;
their order, times and modes are fixed.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator

from fairlead.cubes.cube import Cube
from fairlead.escaping import sheet
from fairlead.kpi import method
from fairlead.kpi.contents import Contents
from fairlead.kpi.figures import kind_of
from fairlead.kpi.rows import COLUMNS, figure_rows
from fairlead.kpi.shelf import units_of, year_of

_TIME = (1980, 1, 1, 0, 0, 0)
"""The first that the format knows."""
_MODE = 0o100644 << 16
_UNIX = 3
DEFINITION_COLUMNS = (
    "cube", "cube_version", "title", "about", "made_of", "measure", "measure_title", "how", "unit",
    "bound",
)  # fmt: skip


def bundle(contents: Contents) -> bytes:
    """The ZIP."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_STORED) as archive:
        for name, text in sorted(_files(contents)):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.create_system, entry.external_attr = _UNIX, _MODE
            archive.writestr(entry, text.encode())
    return written.getvalue()


def _files(contents: Contents) -> Iterator[tuple[str, str]]:
    """Names and texts; there is a file of figures for each cube, with or without figures."""
    figures: dict[str, list[tuple[object, ...]]] = {cube.id: [] for cube in contents.cubes}
    for cube in contents.cubes:
        figures[cube.id].extend(_figures(contents, cube))
    for name, rows in figures.items():
        yield f"figures/{name}.csv", sheet(COLUMNS, rows)
    definitions = [row for cube in contents.cubes for row in _definitions(cube)]
    yield "definitions.csv", sheet(DEFINITION_COLUMNS, definitions)
    yield "method.csv", sheet(("method", "releases"), method.method_rows(contents))
    yield "pending.csv", sheet(method.PENDING_COLUMNS, method.pending_rows(contents))
    yield "priorities.csv", sheet(method.PRIORITY_COLUMNS, method.priority_rows(contents))
    yield "releases.csv", sheet(method.RELEASE_COLUMNS, method.release_rows(contents))
    yield "signs.csv", sheet(("it says", "it means"), method.SIGNS)


def _figures(contents: Contents, cube: Cube) -> Iterator[tuple[object, ...]]:
    """Both years where anything of the year before is here, as on the page."""
    for level in cube.levels:
        found = contents.shelf.of_level(cube, level)
        if found:
            first = min(contents.year, *(year_of(release.unit) for release in found))
            yield from figure_rows(cube, level, units_of(level.time, first, contents.year), found)


def _definitions(cube: Cube) -> Iterator[tuple[object, ...]]:
    for measure in cube.measures:
        yield (
            cube.id,
            cube.version,
            cube.title,
            cube.about,
            " ".join(word.value for word in cube.made_of),
            measure.id,
            measure.title,
            kind_of(cube, measure),
            measure.unit,
            measure.bound or "",
        )

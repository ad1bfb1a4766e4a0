"""Figures as rows of a spreadsheet: every cell of every measure, one a row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from fairlead.charting.grid import title_of
from fairlead.cubes.cube import Cube
from fairlead.cubes.level import BETWEEN, Level
from fairlead.cubes.period import Unit
from fairlead.published import Published, Shown, codes_of, decimals, plain

COLUMNS = (
    "cube", "cube_version", "level", "period", "cell", "title", "measure", "unit", "shown", "value",
    "error", "participants", "expected", "release_version",
)  # fmt: skip


def figure_rows(
    cube: Cube, level: Level, units: Sequence[Unit], releases: Iterable[Published]
) -> Iterator[tuple[object, ...]]:
    """A row for each cell and measure; a unit of time without a release is not reported.

    ``value`` and ``error`` are empty where no number is shown: nothing is taken for nought.
    """
    found = {release.unit: release for release in releases}
    for unit in units:
        if unit in found:
            yield from released_rows(found[unit])
        else:
            yield from _missing(cube, level, unit)


def released_rows(release: Published) -> Iterator[tuple[object, ...]]:
    """The rows of one release."""
    titles = [title_of(release.level, code) for code in codes_of(release.level, release.unit)]
    taken = (release.participants, release.expected, release.version)
    for figures in release.figures:
        places = decimals(figures.measure)
        for title, cell in zip(titles, figures.cells, strict=True):
            numbers: tuple[str, str] = ("", "")
            if cell.shown.is_number:
                numbers = (plain(cell.value, places), plain(cell.error, places))
            yield (
                *_head(release.cube, release.level, release.unit, cell.codes),
                title,
                figures.measure.id,
                figures.measure.unit,
                cell.shown.value,
                *numbers,
                *taken,
            )


def _missing(cube: Cube, level: Level, unit: Unit) -> Iterator[tuple[object, ...]]:
    for measure in cube.measures:
        for code in codes_of(level, unit):
            yield (
                *_head(cube, level, unit, code),
                title_of(level, code),
                measure.id,
                measure.unit,
                Shown.NOT_REPORTED.value,
                *("", "", "", "", ""),
            )


def _head(cube: Cube, level: Level, unit: Unit, codes: Sequence[str]) -> tuple[object, ...]:
    spelling = BETWEEN.join([unit.spelling, *codes])
    return (cube.id, cube.version, level.name, unit.spelling, spelling)

"""A grid of figures: one measure of a cube at one level, cells down and units of time across.

Tables and charts are both made of it, so that they cannot say different things.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from fairlead.cubes.cube import Cube, Measure
from fairlead.cubes.level import Level
from fairlead.cubes.period import Unit
from fairlead.errors import Conflict
from fairlead.published import Published, PublishedCell, Shown, codes_of, decimals

WHOLE = "All"
"""The title of the only row of a level that counts by time alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A unit of time; ``version`` 0: nothing was released of it."""

    unit: Unit
    version: int = 0
    participants: int = 0
    expected: int = 0

    @property
    def coverage(self) -> str:
        """Participants of those expected, in words."""
        return f"{self.participants} of {self.expected}" if self.expected else "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The cells of one combination of codes, one for each column."""

    codes: tuple[str, ...]
    title: str
    cells: tuple[PublishedCell, ...]

    @property
    def size(self) -> int:
        """The sum of its figures, by which rows are compared when not all can be drawn."""
        return sum(cell.value for cell in self.cells)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Rows in the canonical order of the level's cells."""

    cube: Cube
    level: Level
    measure: Measure
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """What it shows."""
        title = self.cube.title
        return title if self.measure.title == title else f"{title}: {self.measure.title}"

    @property
    def by(self) -> str:
        """By what its rows differ; empty for a single row."""
        return " · ".join(axis.step.title for axis in self.level.axes)

    @property
    def places(self) -> int:
        """Decimal places of its figures."""
        return decimals(self.measure)

    @property
    def reported(self) -> bool:
        """Whether anything was released."""
        return any(column.version for column in self.columns)

    def counted(self) -> dict[Shown, int]:
        """How many cells are shown in each way."""
        found = dict.fromkeys(Shown, 0)
        for row in self.rows:
            for cell in row.cells:
                found[cell.shown] += 1
        return found

    def largest(self, most: int) -> Grid:
        """The same with at most so many of the rows that have figures: the largest, in order."""
        have = [row for row in self.rows if any(cell.shown.is_number for cell in row.cells)]
        kept = sorted(have, key=lambda row: -row.size)[:most]
        return replace(self, rows=tuple(row for row in have if row in kept))


def grid_of(
    cube: Cube,
    level: Level,
    measure: Measure,
    units: Sequence[Unit],
    releases: Iterable[Published],
) -> Grid:
    """The grid of a measure over these units; a unit without a release is not reported.

    :param releases: of this cube at this level, each unit's newest; others are passed over.
    :raises Conflict: PUBLISHED_TWICE: two releases of one unit.
    """
    found: dict[Unit, Published] = {}
    for release in releases:
        if release.cube != cube or release.level != level:
            continue
        if release.unit in found:
            raise Conflict("a unit of time has two releases", reasons=("PUBLISHED_TWICE",))
        found[release.unit] = release
    codes = codes_of(level, units[0]) if units else ()
    cells = [_cells(found.get(unit), measure, codes) for unit in units]
    return Grid(
        cube=cube,
        level=level,
        measure=measure,
        columns=tuple(_column(unit, found.get(unit)) for unit in units),
        rows=tuple(
            Row(
                codes=code,
                title=title_of(level, code),
                cells=tuple(column[place] for column in cells),
            )
            for place, code in enumerate(codes)
        ),
    )


def title_of(level: Level, codes: Sequence[str]) -> str:
    """What a cell is called: the titles of its codes."""
    titles = [
        next((found.title for found in axis.step.codes if found.code == code), code)
        for axis, code in zip(level.axes, codes, strict=True)
    ]
    return " · ".join(titles) or WHOLE


def _column(unit: Unit, release: Published | None) -> Column:
    if release is None:
        return Column(unit=unit)
    return Column(
        unit=unit,
        version=release.version,
        participants=release.participants,
        expected=release.expected,
    )


def _cells(
    release: Published | None, measure: Measure, codes: Sequence[tuple[str, ...]]
) -> tuple[PublishedCell, ...]:
    if release is None:
        return tuple(PublishedCell(codes=code, shown=Shown.NOT_REPORTED) for code in codes)
    return release.of(measure.id)

"""What a pack is made of, put together and checked; nothing of it is read from a clock."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fairlead.charting.grid import Grid, grid_of
from fairlead.cubes.cube import Cube, Measure
from fairlead.cubes.level import Level
from fairlead.cubes.period import FIRST_YEAR, LAST_YEAR, TimeStep
from fairlead.cubes.registry import Registry
from fairlead.errors import InvalidInput
from fairlead.kpi.shelf import Shelf, units_of, year_of
from fairlead.priorities import Priorities
from fairlead.published import Published


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """Of a year's pack. ``shelf`` has the year's releases and those of the year before, with which
    it is compared; ``day`` is the one as of which priorities are late."""

    year: int
    federation: str
    registry: Registry
    shelf: Shelf
    priorities: Priorities
    day: dt.date

    @classmethod
    def of(
        cls,
        year: int,
        *,
        federation: str,
        registry: Registry,
        releases: Iterable[Published],
        priorities: Priorities,
    ) -> Contents:
        """Put together what concerns a year.

        :param registry: the cubes that are expected to be there.
        :raises InvalidInput: PACK_YEAR. :raises Conflict: PUBLISHED_TWICE.
        """
        check_year(year)
        near = (release for release in releases if year_of(release.unit) in {year - 1, year})
        shelf = Shelf.of(near, registry.cubes)
        newest = max((release.released_at for release in shelf.releases), default=None)
        return cls(
            year=year,
            federation=federation,
            registry=registry,
            shelf=shelf,
            priorities=priorities,
            day=dt.date(year, 12, 31) if newest is None else day_of(newest),
        )

    @property
    def cubes(self) -> tuple[Cube, ...]:
        """Those of the registry, then other versions of which figures of these years are here."""
        own = {(cube.id, cube.version): cube for cube in self.registry.cubes}
        others = {(cube.id, cube.version): cube for cube in self.shelf.cubes()}
        known = {**others, **own}
        return tuple(known[place] for place in [*own, *sorted(others.keys() - own.keys())])

    def name(self, cube: Cube) -> str:
        """A cube's title, with its version where the pack has two."""
        versions = {other.version for other in self.cubes if other.id == cube.id}
        return f"{cube.title} (version {cube.version})" if len(versions) > 1 else cube.title

    def grid(self, cube: Cube, level: Level, measure: Measure) -> Grid:
        """A measure at a level: of the year before too where anything of it is here, but of months
        the year's alone, because a page has no room for more."""
        releases = self.shelf.of_level(cube, level)
        before = any(year_of(release.unit) < self.year for release in releases)
        first = self.year - (before and level.time is not TimeStep.MONTH)
        wanted = units_of(level.time, first, self.year)
        return grid_of(cube, level, measure, wanted, releases)

    def levels(self, cube: Cube) -> Iterator[Level]:
        """The levels at which figures of the year are here."""
        for level in cube.levels:
            if any(year_of(r.unit) == self.year for r in self.shelf.of_level(cube, level)):
                yield level


def check_year(year: int) -> None:
    """:raises InvalidInput: PACK_YEAR: there are no packs of it."""
    if not FIRST_YEAR < year <= LAST_YEAR:
        raise InvalidInput(
            "a pack is of no such year",
            reasons=("PACK_YEAR",),
            remedy=f"name a year from {FIRST_YEAR + 1} to {LAST_YEAR}",
        )


def day_of(seconds: int) -> dt.date:
    """The day of a moment, in UTC; the last one there is, for what lies beyond it."""
    try:
        return dt.datetime.fromtimestamp(seconds, dt.UTC).date()
    except (OverflowError, ValueError, OSError):
        return dt.date.max

"""The releases that a pack is made of: of each the newest version, in one order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fairlead.cubes.cube import Cube
from fairlead.cubes.level import Level
from fairlead.cubes.period import TimeStep, Unit
from fairlead.errors import Conflict, InvalidInput
from fairlead.published import Published

MAX_RELEASES = 4096
Place = tuple[str, int, str, Unit]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """``releases``: one of each cube, level and unit of time; ``corrected``: how many versions
    later ones stand in for."""

    releases: tuple[Published, ...]
    corrected: int = 0

    @classmethod
    def of(cls, releases: Iterable[Published], known: Iterable[Cube] = ()) -> Shelf:
        """Put releases in order, whatever order they come in; the same one twice is one.

        :param known: cubes of which no version may mean anything else.
        :raises Conflict: PUBLISHED_TWICE: two different ones are the same version of the same
            release, or one version of a cube has two meanings.
        :raises InvalidInput: PUBLISHED_MANY.
        """
        found: dict[tuple[Place, int], Published] = {}
        cubes = {(cube.id, cube.version): cube for cube in known}
        for release in releases:
            cube = cubes.setdefault((release.cube.id, release.cube.version), release.cube)
            held = found.setdefault((_place(release), release.version), release)
            if held != release or cube != release.cube:
                raise Conflict(
                    "two releases that differ say that they are the same",
                    reasons=("PUBLISHED_TWICE",),
                    remedy="ask for the releases again, and keep both files for the operators",
                )
            if len(found) > MAX_RELEASES:
                raise InvalidInput("too many releases for one pack", reasons=("PUBLISHED_MANY",))
        newest: dict[Place, Published] = {}
        for (place, version), release in found.items():
            if place not in newest or version > newest[place].version:
                newest[place] = release
        ordered = tuple(sorted(newest.values(), key=_order))
        return cls(releases=ordered, corrected=len(found) - len(ordered))

    def of_level(self, cube: Cube, level: Level) -> tuple[Published, ...]:
        """The releases of a cube at a level."""
        return tuple(r for r in self.releases if r.cube == cube and r.level == level)

    def cubes(self) -> tuple[Cube, ...]:
        """Every cube of which anything is here, each version once."""
        return tuple({(r.cube.id, r.cube.version): r.cube for r in self.releases}.values())


def year_of(unit: Unit) -> int:
    """The year that a unit of time lies in."""
    return unit.within(TimeStep.YEAR).number


def units_of(step: TimeStep, first: int, last: int) -> tuple[Unit, ...]:
    """The units of the years from one to another, both included."""
    each = 12 // step.months
    return tuple(Unit(step, number) for number in range(first * each, (last + 1) * each))


def _place(release: Published) -> Place:
    return (release.cube.id, release.cube.version, release.level.name, release.unit)


def _order(release: Published) -> tuple[str, int, int, int]:
    level = release.cube.levels.index(release.level)
    return (release.cube.id, release.cube.version, level, release.unit.number)

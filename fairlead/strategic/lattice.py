"""How the cells of a cube's released levels add up to each other, whichever levels these are.

Two levels of which neither is finer still say something of each other: both add up to the finest
level that is coarser than either. So what is out is closed under that, and each level is the sum of
the next finer ones. A level between, or in a unit of time, of which nothing is out is unknown, but
no less part of the sums. What nothing finer is out of is one unknown rest.

Units of different calendar years have no sum in common.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from fairlead.cubes.cube import Cube
from fairlead.cubes.level import Axis, Level
from fairlead.cubes.period import Period, TimeStep, Unit
from fairlead.cubes.rollup import roll, rolls_up
from fairlead.disclosure.highs import Unsolved
from fairlead.disclosure.system import Cell, Sum

MAX_LEVELS = 256
"""Of what is out and what it has in common: the cubes that ship have twelve at most."""

Place = tuple[str, Unit]
"""A level's name and a unit of time."""


def level_named(cube: Cube, name: str) -> Level:
    """A level by its name, also one that the cube does not list (any more)."""
    for level in cube.levels:
        if level.name == name:
            return level
    time, *steps = name.split(",")
    axes = (
        Axis(dimension=dimension, step=step)
        for dimension in cube.dimensions
        for step in dimension.steps
        if step.step in steps
    )
    return Level(cube=cube.id, time=TimeStep(time), axes=tuple(axes), parent=None)


def meet(one: Level, other: Level) -> str:
    """The name of the finest level to which both add up."""
    time = max(one.time, other.time, key=lambda step: step.months)
    steps = {axis.dimension.id: axis for axis in other.axes}
    names: list[str] = [time]
    for axis in one.axes:
        twin = steps.get(axis.dimension.id)
        if twin is not None:
            place = axis.dimension.place
            names.append(max(axis.step.step, twin.step.step, key=place))
    return ",".join(names)


@lru_cache(maxsize=1024)
def references(level: Level, unit: Unit) -> tuple[Cell, ...]:
    """The keys of a level's cells in one unit of time, in canonical order."""
    return tuple(cell.reference for cell in level.cells(Period(unit, unit)))


@dataclass(frozen=True, kw_only=True)
class Lattice:
    """Everything that is out of one calendar year, and what it has in common."""

    cube: Cube
    out: frozenset[Place]

    @cached_property
    def levels(self) -> dict[str, Level]:
        """Levels by name, closed under :func:`meet`.

        :raises Unsolved: they are too many to be audited.
        """
        found = {name: level_named(self.cube, name) for name in sorted({n for n, _ in self.out})}
        waiting = list(found)
        while waiting:
            level = found[waiting.pop()]
            for name in {meet(level, other) for other in found.values()} - found.keys():
                found[name] = level_named(self.cube, name)
                waiting.append(name)
            if len(found) > MAX_LEVELS:
                raise Unsolved
        return found

    @cached_property
    def _finer(self) -> dict[str, tuple[str, ...]]:
        """Of each level the next finer ones: those between which and it there is no other."""
        below = {
            name: {fine for fine, its in self.levels.items() if fine != name and rolls_up(its, at)}
            for name, at in self.levels.items()
        }
        return {
            name: tuple(f for f in sorted(fine) if not any(f in below[b] for b in fine if b != f))
            for name, fine in below.items()
        }

    @cached_property
    def present(self) -> frozenset[Place]:
        """What is out, and every coarser level and unit that it is part of."""
        found = set(self.out)
        for fine, unit in self.out:
            for name, level in self.levels.items():
                if rolls_up(self.levels[fine], level):
                    found.add((name, unit.within(level.time)))
        return frozenset(found)

    def connected(self, wanted: Place) -> frozenset[Place]:
        """What chains of sums connect with a place."""
        found, new = {wanted}, [wanted]
        while new:
            at = new.pop()
            for place in self.present - found:
                if self._adds_up(at, place) or self._adds_up(place, at):
                    found.add(place)
                    new.append(place)
        return frozenset(found)

    def _adds_up(self, fine: Place, coarse: Place) -> bool:
        one, other = self.levels[fine[0]], self.levels[coarse[0]]
        return rolls_up(one, other) and fine[1].within(other.time) == coarse[1]

    def sums(self, wanted: Place) -> tuple[Sum, ...]:
        """Every sum, those of few parts first; of the cells of ``wanted`` also the sums of released
        levels that are not the next finer ones, for totals."""
        found: list[Sum] = []
        for name, unit in sorted(self.present, key=_ordered):
            for fine in self._finer[name]:
                found += self._between(self.levels[name], unit, self.levels[fine])
        found += self._totals(wanted)
        return tuple(sorted(found, key=lambda each: len(each.parts)))

    def _between(self, coarse: Level, unit: Unit, fine: Level) -> Iterator[Sum]:
        units = _within(unit, fine.time)
        here = [(fine.name, each) in self.present for each in units]
        if not any(here):
            return
        cells = [
            references(fine, each) if is_here else (None,) * fine.width
            for each, is_here in zip(units, here, strict=True)
        ]
        flat = [cell for row in cells for cell in row]
        for whole, places in zip(references(coarse, unit), roll(fine, coarse), strict=True):
            parts = tuple(cell for place in places if (cell := flat[place]) is not None)
            rest = () if all(here) else (f"~{whole}~{fine.name}",)
            yield Sum(whole=whole, parts=(*parts, *rest))

    def _totals(self, wanted: Place) -> Iterator[Sum]:
        name, unit = wanted
        coarse = self.levels[name]
        for fine in sorted({other for other, _ in self.out} - {name, *self._finer[name]}):
            level = self.levels[fine]
            if rolls_up(level, coarse):
                units = _within(unit, level.time)
                if all((fine, each) in self.out for each in units):
                    yield from self._between(coarse, unit, level)


def _within(unit: Unit, step: TimeStep) -> tuple[Unit, ...]:
    return Period(unit, unit).units(step)


def _ordered(place: Place) -> tuple[str, int]:
    return place[0], place[1].number


def lattice(cube: Cube, out: Iterable[Place], wanted: Place) -> Lattice:
    """What is out of the calendar year of a release, and that release.

    Only what some chain of sums connects with it: about anything else it says nothing new.
    """
    year = wanted[1].within(TimeStep.YEAR)
    same = {place for place in (*out, wanted) if place[1].within(TimeStep.YEAR) == year}
    whole = Lattice(cube=cube, out=frozenset(same))
    return Lattice(cube=cube, out=whole.connected(wanted) & whole.out)

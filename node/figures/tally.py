"""Records put into the cells of a level, all of them or none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

from fairlead.cubes.cube import Cube, MeasureKind
from fairlead.cubes.dimension import Dimension
from fairlead.cubes.level import Level
from fairlead.cubes.period import Unit
from node.figures.port import Counted, FiguresUnusable

SHOWN = 20
"""Ranges of rows that one problem names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A record as a cube counts it.

    :param row: which one it is, for whoever has to correct it. :param at: its date (Unix seconds).
    :param codes: of each of the cube's dimensions, by the dimension's id: a code of the finest
        step that the cube counts by, or of a finer one.
    :param adds: what it adds to measures, by their ids; of a median, the value itself.
    """

    row: int
    at: float
    codes: Mapping[str, str]
    adds: Mapping[str, float]


class Places:
    """Where a cube's records belong: one cell of each level, whatever step they name."""

    def __init__(self, cube: Cube) -> None:
        self.cube = cube
        self._finest = {d.id: cube.finest(d.id).step for d in cube.dimensions}
        self._codes = {d.id: _codes(d, self._finest[d.id]) for d in cube.dimensions}

    def wrong(self, codes: Mapping[str, str]) -> list[tuple[str, str]]:
        """The dimensions by which a record cannot be counted, each with what is expected."""
        found = []
        for dimension, known in self._codes.items():
            if not codes.get(dimension):
                found.append((dimension, "is missing"))
            elif codes[dimension] not in known:
                step = self._finest[dimension]
                found.append((dimension, f"a code of the registry's {step}, or finer, is expected"))
        return found

    def of(self, level: Level, codes: Mapping[str, str]) -> int:
        """The index of the cell, within one unit of time, of codes of which none is wrong."""
        place = 0
        for axis in level.axes:
            fine = self._codes[axis.dimension.id][codes[axis.dimension.id]]
            up = axis.dimension.up(self._finest[axis.dimension.id], axis.step.step)
            place = place * len(axis.step.codes) + up[fine]
        return place


def _codes(dimension: Dimension, finest: str) -> dict[str, int]:
    """Code → its place at the finest step counted by. Where two steps spell a code alike, it is
    that of the finer one."""
    found: dict[str, int] = {}
    for step in reversed(dimension.steps[: dimension.place(finest) + 1]):
        up = dimension.up(step.step, finest)
        found |= {code.code: place for code, place in zip(step.codes, up, strict=True)}
    return found


def tally(cube: Cube, level: Level, unit: Unit, facts: Iterable[Fact], *, what: str) -> Counted:
    """The figures of the facts that are dated within the unit.

    :param what: the records, in one word, for whoever has to correct some.
    :raises FiguresUnusable: FIGURES_CODES: some cannot be put into a cell; MEASURE_BOUND.
    """
    cells = _Cells(cube, level)
    wrong: dict[tuple[str, str], list[int]] = {}
    for fact in facts:
        if not unit.begins <= fact.at < unit.ends:
            continue
        problems = cells.places.wrong(fact.codes)
        for problem in problems:
            wrong.setdefault(problem, []).append(fact.row)
        if not problems:
            cells.add(fact)
    if wrong:
        raise FiguresUnusable(
            [f"{what} {ranges(rows)}: {of}: {text}" for (of, text), rows in wrong.items()],
            reasons=("FIGURES_CODES",),
        )
    return Counted.checked(cube, level, unit, records=cells.records, values=cells.values)


@dataclass(slots=True)
class _Cells:
    cube: Cube
    level: Level
    places: Places = field(init=False)
    records: list[int] = field(init=False)
    values: list[list[int]] = field(init=False)
    _first: dict[str, int] = field(init=False)
    _known: dict[tuple[str, ...], int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.places = Places(self.cube)
        starts = [0, *accumulate(measure.words for measure in self.cube.measures)]
        self._first = {m.id: n for m, n in zip(self.cube.measures, starts, strict=False)}
        self.records = [0] * self.level.width
        self.values = [[0] * starts[-1] for _ in range(self.level.width)]

    def add(self, fact: Fact) -> None:
        key = tuple(fact.codes[axis.dimension.id] for axis in self.level.axes)
        place = self._known.get(key)
        if place is None:
            place = self._known[key] = self.places.of(self.level, fact.codes)
        self.records[place] += 1
        for name, value in fact.adds.items():
            measure = self.cube.measure(name)
            first = self._first[name]
            if measure.kind is MeasureKind.MEDIAN:
                self.values[place][first + measure.bar(value)] += 1
            else:
                self.values[place][first] += int(value)


def ranges(rows: Sequence[int]) -> str:
    """Rows as a person reads them: ``3–7, 12``; the first :data:`SHOWN` ranges."""
    found = sorted(set(rows))
    breaks = [n for n, (low, high) in enumerate(pairwise(found), 1) if high != low + 1]
    parts = [found[a:b] for a, b in pairwise([0, *breaks, len(found)])]
    shown = [f"{part[0]}–{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts]
    return ", ".join([*shown[:SHOWN], *(["…"] if len(shown) > SHOWN else [])])

"""Partners with records, counted at any level, and the gateway's side of a release."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from fairlead.cubes.cube import Cube, Measure, MeasureKind
from fairlead.cubes.level import Level
from fairlead.cubes.period import Period, TimeStep, Unit, parse_unit
from fairlead.cubes.registry import Registry
from fairlead.strategic.books import Books
from fairlead.strategic.deciding import RULES, Made, decide_unit
from fairlead.strategic.terms import figures_of_counted, quarter_at, terms_of, words_of
from fairlead.summing import Combined, Terms
from tests.cubes import DEFAULTS
from tests.summed import Nodes, names

REGISTRY = Registry.parse(DEFAULTS)
NOW = 1_795_000_000


@dataclass(frozen=True)
class Rows:
    """What a node counted."""

    records: tuple[int, ...]
    values: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Record:
    """One record: its month, its code at the finest step of each dimension, the cube's words."""

    month: int
    codes: tuple[str, ...]
    words: tuple[int, ...]


@dataclass
class Federation:
    """Partners with records of one cube, and what is out of it."""

    cube: Cube
    records: dict[str, list[Record]]
    registry: Registry = REGISTRY
    books: Books = field(default_factory=Books)
    nodes: Nodes | None = None
    """None: sums are made up, with noise from ``luck``, as the nodes would."""
    luck: Random = field(default_factory=lambda: Random(1))
    noise: bool = True

    @property
    def ids(self) -> tuple[str, ...]:
        """Its partners."""
        return tuple(sorted(self.records))

    def counted(self, name: str, level: Level, unit: Unit) -> Rows:
        """What one partner has in each cell."""
        cells = level.cells(Period(unit, unit))
        width = sum(measure.words for measure in self.cube.measures)
        records = [0] * len(cells)
        values = [[0] * width for _ in cells]
        for record in self.records[name]:
            if Unit(TimeStep.MONTH, record.month).within(unit.step) == unit:
                place = _place(self.cube, level, record)
                records[place] += 1
                values[place] = [a + b for a, b in zip(values[place], record.words, strict=True)]
        return Rows(tuple(records), tuple(map(tuple, values)))

    def truth(self, level: Level, unit: Unit) -> Rows:
        """What all have together."""
        rows = [self.counted(name, level, unit) for name in self.ids]
        return Rows(
            tuple(map(sum, zip(*(row.records for row in rows), strict=True))),
            tuple(
                tuple(map(sum, zip(*cells, strict=True)))
                for cells in zip(*(row.values for row in rows), strict=True)
            ),
        )

    def terms(self, level: Level, unit: Unit, version: int = 1) -> Terms:
        """Terms of everybody."""
        return terms_of(
            self.cube, level, unit,
            version=version, participants=self.ids, quarter=quarter_at(NOW), cut_off=NOW,
        )  # fmt: skip

    def combined(self, terms: Terms, level: Level, unit: Unit) -> Combined:
        """What the rounds add up to."""
        rows = {name: self.counted(name, level, unit) for name in self.ids}
        figures = {name: figures_of_counted(row) for name, row in rows.items()}
        if self.nodes is not None:
            return self.nodes.run(terms, figures)
        counted = [sum(f.contributes[at] for f in figures.values()) for at in range(level.width)]
        sums: dict[str, dict[str, int]] = {}
        by = {
            group: {
                spelt: sum(
                    any(
                        f.values[at][word]
                        for word, m in enumerate(terms.measures)
                        if m.group == group
                    )
                    for f in figures.values()
                )
                for at, spelt in enumerate(terms.cells)
            }
            for group in terms.groups
        }
        for at, spelt in enumerate(terms.cells):
            if counted[at] < terms.needed:
                continue
            row = sums[spelt] = {}
            for word, measure in enumerate(words_of(self.cube)):
                if measure.group and by[measure.group][spelt] < terms.needed:
                    row |= {each.name: 0 for each in measure.words}
                    continue
                for power, each in enumerate(measure.words, start=1):
                    total = sum(f.values[at][word] ** power for f in figures.values())
                    row[each.name] = total + self._noise(float(each.scale))
        return Combined(
            contributors=dict(zip(terms.cells, counted, strict=True)), sums=sums, groups=by
        )

    def _noise(self, scale: float) -> int:
        if not self.noise:
            return 0
        ends = [math.floor(-scale * math.log(1 - self.luck.random())) for _ in range(2)]
        return ends[0] - ends[1]

    def release(self, level_name: str, text: str, version: int = 1) -> Made:
        """All of it: rounds, decision, books."""
        level, unit = self.cube.level(level_name), parse_unit(text)
        terms = self.terms(level, unit, version)
        made = decide_unit(
            terms, self.cube, level, unit, self.combined(terms, level, unit), self.books, RULES,
            registry_digest=self.registry.digest, expected=len(self.ids), released_at=NOW,
        )  # fmt: skip
        self.books = made.books
        return made


def _place(cube: Cube, level: Level, record: Record) -> int:
    place = 0
    for axis in level.axes:
        at = cube.dimensions.index(axis.dimension)
        finest = cube.finest(axis.dimension.id)
        fine = [code.code for code in finest.codes].index(record.codes[at])
        up = axis.dimension.up(finest.step, axis.step.step)[fine]
        place = place * len(axis.step.codes) + up
    return place


def federation(
    cube: Cube,
    *,
    partners: int = 7,
    months: Sequence[int],
    each: int,
    skew: float = 1.0,
    seed: int = 1,
    real: bool = False,
    kg: tuple[int, int] = (200, 3000),
) -> Federation:
    """So many records of each partner in each month; with ``skew`` codes differ in how often they
    come, the first ones most."""
    luck = Random(seed)
    weights = [
        [1 / (1 + at) ** skew for at in range(len(cube.finest(d.id).codes))]
        for d in cube.dimensions
    ]

    def record(month: int) -> Record:
        codes = tuple(
            luck.choices([code.code for code in cube.finest(d.id).codes], weights[at])[0]
            for at, d in enumerate(cube.dimensions)
        )
        words: list[int] = []
        for at, measure in enumerate(cube.measures):
            words += _words(luck, measure, kg, first=at == 0)
        return Record(month, codes, tuple(words))

    records = {
        name: [record(month) for month in months for _ in range(each)] for name in names(partners)
    }
    return Federation(
        cube=cube, records=records, nodes=Nodes(partners) if real else None, luck=luck
    )


def _words(luck: Random, measure: Measure, kg: tuple[int, int], *, first: bool) -> list[int]:
    match measure.kind:
        case MeasureKind.COUNT:
            return [1 if first else int(luck.random() < 0.6)]
        case MeasureKind.SUM:
            return [luck.randint(*kg)]
        case MeasureKind.MEDIAN:
            bar = min(measure.words - 2, int(luck.expovariate(0.5)))
            return [int(at == bar) for at in range(measure.words)]
        case _:
            return []


def months_of(*texts: str) -> list[int]:
    """The months of some units."""
    found = []
    for text in texts:
        unit = parse_unit(text)
        size = unit.step.months
        found += range(unit.number * size, (unit.number + 1) * size)
    return found


def by_measure(cube: Cube, row: Sequence[int]) -> Mapping[str, tuple[int, ...]]:
    """A cell's words by measure."""
    found, first = {}, 0
    for measure in cube.measures:
        found[measure.id] = tuple(row[first : first + measure.words])
        first += measure.words
    return found

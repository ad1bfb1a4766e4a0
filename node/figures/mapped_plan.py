"""From a mapping and a cube to what an engine counts. Pure: no engine is asked here.

An engine sees words and places: by which text of which column a row counts in which place of a
level. Everything that a cell means stays here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

from fairlead.cubes.cube import Cube, Measure, MeasureKind
from fairlead.cubes.level import Level
from fairlead.cubes.period import Unit
from node.figures.mapped_form import MappedFile, MeasureColumn
from node.figures.mapped_words import Words, words_of

THOUSANDTHS = 1000
"""Numbers are read as whole thousandths, so that nothing depends on the order of the rows."""
MICROSECONDS = 1_000_000
"""In a second."""
MAX_NUMBER = 10**12
"""No row's number reaches it."""
NOWHERE = -1
"""The place of a word that is no code."""
UNITS: Mapping[tuple[str, str], Fraction] = {
    ("t", "kg"): Fraction(1000), ("g", "kg"): Fraction(1, 1000),
    ("hours", "days"): Fraction(1, 24), ("minutes", "days"): Fraction(1, 1440),
    ("days", "hours"): Fraction(24), ("minutes", "hours"): Fraction(1, 60),
    ("seconds", "hours"): Fraction(1, 3600), ("seconds", "days"): Fraction(1, 86_400),
}  # fmt: skip
"""What one of a column's unit is in a measure's, where they differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """A column of moments: Unix seconds, or ISO, in ``zone`` where it states no offset."""

    key: str
    column: str
    unix: bool
    zone: str

    def instant(self, moment: float) -> datetime:
        """Unix seconds as a moment of UTC, to the microsecond."""
        whole = math.floor(moment)
        found = datetime.fromtimestamp(whole, UTC)
        return found + timedelta(microseconds=round((moment - whole) * MICROSECONDS))

    def wall(self, moment: float) -> datetime:
        """What a clock of the zone shows then, without the zone."""
        return self.instant(moment).astimezone(ZoneInfo(self.zone)).replace(tzinfo=None)

    def wall_us(self, moment: float) -> int:
        """The same in microseconds, as if it were 1970 and UTC that the clock began with."""
        return (self.wall(moment) - datetime(1970, 1, 1)) // timedelta(microseconds=1)  # noqa: DTZ001


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A column by which rows count in places: ``places`` of known words (the empty one, where no
    word stands, among them), ``other`` of all others. ``counted``: the level counts by it;
    otherwise its words are looked at only, so that every level refuses the same rows."""

    key: str
    column: str
    places: Mapping[str, int]
    other: int
    counted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A count: of all rows, or of those with one of ``values`` (None: any word) in ``column``."""

    column: str | None = None
    values: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """The sum of a column, of which one is ``factor`` of the measure's unit; each row counts as a
    whole number of that unit, a half upwards, so that parts add up to their total exactly."""

    key: str
    column: str
    factor: Fraction
    empty_is_zero: bool

    @property
    def whole(self) -> tuple[int, int, int]:
        """By what thousandths are multiplied, what is added, and by what that is divided, without
        a rest, to have the whole units."""
        down = self.factor.denominator * THOUSANDTHS
        return 2 * self.factor.numerator, down, 2 * down


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """A column's histogram; ``edges`` in thousandths of the column's unit. An empty cell counts in
    no bar: it has no number yet. With ``span`` the numbers are seconds, from its first column's
    moment to its second's."""

    key: str
    column: str
    edges: tuple[int, ...]
    span: tuple[Moments, Moments] | None = None


Figure = Rows | Total | Bars


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Rows dated from ``begins`` until before ``ends`` and recorded until ``cut_off``: Unix
    seconds. Of the last one the microseconds count."""

    begins: int
    ends: int
    cut_off: float

    @classmethod
    def of(cls, unit: Unit, cut_off: float) -> Window:
        """One unit of time."""
        return cls(begins=unit.begins, ends=unit.ends, cut_off=cut_off)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an engine counts. ``fixed``: for each axis of the level the place of every row, where a
    constant says so, else None and the next of ``axes`` that is ``counted`` does."""

    date: Moments
    recorded: Moments | None
    axes: tuple[Axis, ...]
    fixed: tuple[int | None, ...]
    widths: tuple[int, ...]
    figures: tuple[Figure, ...]

    @property
    def faults(self) -> tuple[tuple[str, str], ...]:
        """What may be wrong with a row, in the order in which it is looked for: the key of the
        mapping and a stable code."""
        moments = [self.date, *([self.recorded] if self.recorded is not None else [])]
        numbers = [f for f in self.figures if not isinstance(f, Rows)]
        return (
            *((found.key, "DATE_UNREADABLE") for found in moments),
            *((found.key, "FIGURES_CODES") for found in self.axes),
            *((found.key, "NUMBER_UNREADABLE") for found in numbers),
        )

    def cell(self, places: tuple[int, ...]) -> int:
        """The index of the cell with these places on the counted axes."""
        found, rest = 0, iter(places)
        for width, fixed in zip(self.widths, self.fixed, strict=True):
            found = found * width + (next(rest) if fixed is None else fixed)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What an engine found in one place of each counted axis: rows, and of each figure its numbers
    (whole units of a total, one number for each bar)."""

    places: tuple[int, ...]
    rows: int
    numbers: tuple[tuple[int, ...], ...]


def plan(file: MappedFile, cube: Cube, level: Level) -> Plan:
    """What to count for a level, by a mapping that fits the cube
    (:func:`node.figures.mapped_fit.check_fits`)."""
    steps = {axis.dimension.id: axis.step for axis in level.axes}
    axes: list[Axis] = []
    fixed: dict[str, int] = {}
    for dimension in cube.dimensions:
        words = words_of(file, cube, dimension.id)
        step = steps.get(dimension.id)
        at = words.at(dimension, step.step if step is not None else None)
        if words.column is None:
            fixed[dimension.id] = at[words.constant or ""]
        else:
            axes.append(_axis(words, at, counted=step is not None))
    return Plan(
        date=_moments("date", file),
        recorded=None if file.recorded is None else _moments("recorded", file),
        axes=tuple(axes),
        fixed=tuple(fixed.get(axis.dimension.id) for axis in level.axes),
        widths=tuple(len(axis.step.codes) for axis in level.axes),
        figures=tuple(
            _figure(measure, file.measures[measure.id], _span(measure, file))
            for measure in cube.measures
            if measure.kind is not MeasureKind.RATE
        ),
    )


def scale(column: str, measure: str) -> Fraction | None:
    """What one of a column's unit is in a measure's; None where that is not known here."""
    return Fraction(1) if column == measure else UNITS.get((column, measure))


def _moments(key: str, file: MappedFile) -> Moments:
    found = file.date if key == "date" or file.recorded is None else file.recorded
    unix = found.format == "unix"
    return Moments(key=f"{key}.column", column=found.column, unix=unix, zone=found.timezone)


def _axis(words: Words, at: Mapping[str, int], *, counted: bool) -> Axis:
    places = {word: at[code] for word, code in words.codes.items()}
    return Axis(
        key=f"dimensions.{words.dimension}",
        column=words.column or "",
        places={"": NOWHERE} | places,
        other=NOWHERE if words.other is None else at[words.other],
        counted=counted,
    )


def _span(measure: Measure, file: MappedFile) -> tuple[Moments, Moments] | None:
    """The two columns of a time, written as the date is."""
    row = file.measures[measure.id]
    if row.since is None:
        return None
    date = _moments("date", file)
    key = f"measures.{measure.id}"
    return (
        replace(date, key=key, column=row.since),
        replace(date, key=key, column=row.column or ""),
    )


def _figure(measure: Measure, row: MeasureColumn, span: tuple[Moments, Moments] | None) -> Figure:
    unit = row.unit if span is None else "seconds"
    factor = scale(unit, measure.unit) or Fraction(1)
    key, column = f"measures.{measure.id}", row.column or ""
    match measure.kind:
        case MeasureKind.SUM:
            return Total(key=key, column=column, factor=factor, empty_is_zero=row.empty_is_zero)
        case MeasureKind.MEDIAN:
            edges = tuple(math.ceil(Fraction(e * THOUSANDTHS) / factor) for e in measure.edges)
            return Bars(key=key, column=column, edges=edges, span=span)
        case _:
            return Rows(column=row.column, values=row.values or None)

"""What an owner's own figures are, cell by cell, and what would have to be true for a cell to show.

An owner sees its own figures exactly. Whether a cell shows depends on the others too, and on what
was published before: of each rule it says whether it is met by the own figures alone already, is
not met whatever others have, or needs others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from fairlead.cubes.cube import Cube, Measure, MeasureKind
from fairlead.cubes.level import Cell, Level
from fairlead.cubes.period import Period, Unit
from node.figures.port import Counted, FiguresOf

MIN_CONTRIBUTORS = 3
"""Of a cell, other than whoever reads it."""
MIN_RECORDS = 10
MIN_DOMINANCE = 5
"""Contributors of a measure that one of them could make up most of."""


class Standing(StrEnum):
    """What is known here of a rule."""

    MET = "met"
    NOT_MET = "not-met"
    NEEDS_OTHERS = "needs-others"


class Rule(StrEnum):
    """What a cell needs to be shown, in the order in which it is looked at."""

    OWN_RECORDS = "own-records"
    """The node has a record in it: else it contributes nothing, and shows nothing of its own."""
    CONTRIBUTORS = "contributors"
    RECORDS = "records"
    DOMINANCE = "dominance"
    COMPLEMENTARY = "complementary"
    """No other withheld cell could be worked out from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Previewed:
    """One cell: the own records and figures (of a median its bars), and each rule's standing."""

    cell: Cell
    records: int
    values: dict[str, list[int]]
    rules: dict[Rule, Standing]

    def as_record(self) -> dict[str, object]:
        """For programs."""
        return {
            "unit": self.cell.unit.spelling,
            "codes": list(self.cell.codes),
            "records": self.records,
            "values": self.values,
            "contributes": self.records > 0,
            "rules": {str(rule): str(standing) for rule, standing in self.rules.items()},
        }


async def preview(
    figures: FiguresOf, cube: Cube, level: Level, period: Period, *, cut_off: float
) -> list[Previewed]:
    """Every cell of a period that has ended.

    :param cut_off: what was recorded later is left out (Unix seconds).
    :raises InvalidInput: PERIOD_OPEN; PERIOD_STEP.
    :raises OwnerError: the figures cannot be counted.
    """
    period.check_closed(cut_off)
    found: list[Previewed] = []
    for unit in period.units(level.time):
        counted = await figures.count(cube, level, unit, cut_off=cut_off)
        found += _of_unit(cube, level, unit, counted)
    return found


def _of_unit(cube: Cube, level: Level, unit: Unit, counted: Counted) -> Iterator[Previewed]:
    cells = level.cells(Period(unit, unit))
    for cell, records, row in zip(cells, counted.records, counted.values, strict=True):
        values = dict(_values(cube.measures, row))
        yield Previewed(cell=cell, records=records, values=values, rules=_rules(cube, records))


def _values(measures: Sequence[Measure], row: Sequence[int]) -> Iterator[tuple[str, list[int]]]:
    """The words of each measure that has any."""
    first = 0
    for measure in measures:
        if measure.kind is not MeasureKind.RATE:
            yield measure.id, list(row[first : first + measure.words])
        first += measure.words


def _rules(cube: Cube, records: int) -> dict[Rule, Standing]:
    """A cell without own records is not the owner's to show: the rest is for the others."""
    if records == 0:
        return {Rule.OWN_RECORDS: Standing.NOT_MET}
    enough = Standing.MET if records >= MIN_RECORDS else Standing.NEEDS_OTHERS
    found = {
        Rule.OWN_RECORDS: Standing.MET,
        Rule.CONTRIBUTORS: Standing.NEEDS_OTHERS,
        Rule.RECORDS: enough,
    }
    if any(measure.dominance for measure in cube.measures):
        found[Rule.DOMINANCE] = Standing.NEEDS_OTHERS
    found[Rule.COMPLEMENTARY] = Standing.NEEDS_OTHERS
    return found

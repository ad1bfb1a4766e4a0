"""What an owner's own figures are, cell by cell, and what would have to be true for a cell to show.

An owner sees its own figures exactly. Whether a cell shows depends on the others too, and on what
was published before: of each rule it says whether it is met by the own figures alone already, is
not met whatever others have, or needs others, and of these what. The rules are asked, not repeated:
each is judged in a world that is as good as it can be in everything else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fairlead.cubes.cube import Cube, Measure, MeasureKind
from fairlead.cubes.level import Cell, Level
from fairlead.cubes.period import Period, Unit
from fairlead.disclosure.rules import Reason, Rules, primary
from node.figures.port import Counted, FiguresOf

MANY = 10**6
"""Contributors, or records, of a cell that has enough of them under any rule."""


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
class Need:
    """What a measure's cell needs at least of the others: how many of them, their records, and of
    a measure marked ``dominance`` their part of the sum. ``possible``: there are so many."""

    others: int
    records: int
    amount: int
    possible: bool

    def as_record(self) -> dict[str, object]:
        """For programs."""
        return {"others": self.others, "records": self.records, "amount": self.amount,
                "possible": self.possible}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Previewed:
    """One cell: the own records and figures (of a median its bars), each rule's standing, and what
    each measure needs."""

    cell: Cell
    records: int
    values: Mapping[str, Sequence[int]]
    rules: Mapping[Rule, Standing]
    needs: Mapping[str, Need]

    def as_record(self) -> dict[str, Any]:
        """For programs."""
        return {
            "unit": self.cell.unit.spelling,
            "codes": list(self.cell.codes),
            "records": self.records,
            "values": {name: list(words) for name, words in self.values.items()},
            "contributes": self.records > 0,
            "rules": {str(rule): str(standing) for rule, standing in self.rules.items()},
            "needs": {name: need.as_record() for name, need in self.needs.items()},
        }


async def preview(
    figures: FiguresOf,
    cube: Cube,
    level: Level,
    period: Period,
    *,
    cut_off: float,
    rules: Rules,
    partners: int,
) -> list[Previewed]:
    """Every cell of a period that has ended.

    :param cut_off: what was recorded later is left out (Unix seconds).
    :param partners: how many there are, this one among them.
    :raises InvalidInput: PERIOD_OPEN; PERIOD_STEP.
    :raises OwnerError: the figures cannot be counted.
    """
    period.check_closed(cut_off)
    judge = _Judge(cube, rules, partners)
    found: list[Previewed] = []
    for unit in period.units(level.time):
        counted = await figures.count(cube, level, unit, cut_off=cut_off)
        found += _of_unit(judge, level, unit, counted)
    return found


def _of_unit(judge: _Judge, level: Level, unit: Unit, counted: Counted) -> Iterator[Previewed]:
    cells = level.cells(Period(unit, unit))
    for cell, records, row in zip(cells, counted.records, counted.values, strict=True):
        values = dict(_values(judge.cube.measures, row))
        needs = judge.needs(records, values)
        yield Previewed(
            cell=cell,
            records=records,
            values=values,
            rules=judge.rules_of(records, needs),
            needs=needs,
        )


def _values(measures: Sequence[Measure], row: Sequence[int]) -> Iterator[tuple[str, list[int]]]:
    """The words of each measure that has any."""
    first = 0
    for measure in measures:
        if measure.kind is not MeasureKind.RATE:
            yield measure.id, list(row[first : first + measure.words])
        first += measure.words


@dataclass(frozen=True, slots=True)
class _Judge:
    """The rules, asked about one contributor's part of a cell."""

    cube: Cube
    rules: Rules
    partners: int

    def rules_of(self, records: int, needs: Mapping[str, Need]) -> dict[Rule, Standing]:
        """A cell without own records is not the owner's to show: the rest is for the others."""
        if records == 0:
            return {Rule.OWN_RECORDS: Standing.NOT_MET}
        possible = any(need.possible for need in needs.values())
        found = {
            Rule.OWN_RECORDS: Standing.MET,
            Rule.CONTRIBUTORS: Standing.NEEDS_OTHERS if possible else Standing.NOT_MET,
            Rule.RECORDS: Standing.NEEDS_OTHERS if self._records(records) else Standing.MET,
        }
        if marked := [m.id for m in self.cube.measures if m.dominance and m.id in needs]:
            possible = any(needs[name].possible for name in marked)
            found[Rule.DOMINANCE] = Standing.NEEDS_OTHERS if possible else Standing.NOT_MET
        found[Rule.COMPLEMENTARY] = Standing.NEEDS_OTHERS
        return found

    def needs(self, records: int, values: Mapping[str, Sequence[int]]) -> dict[str, Need]:
        """What each measure needs; nothing is said of one of which the node has nothing."""
        if records == 0:
            return {}
        found = {}
        for measure in self.cube.measures:
            if any(values.get(measure.id, ())):
                others = self._others(dominance=measure.dominance)
                own = sum(values[measure.id]) if measure.dominance else 0
                found[measure.id] = Need(
                    others=others,
                    records=self._records(records),
                    amount=self._amount(own, max(others, self.partners - 1)),
                    possible=others < self.partners,
                )
        return found

    def _others(self, *, dominance: bool) -> int:
        """The fewest contributors beside the own one."""
        for others in range(MANY):
            total = 1 + others
            squares = [(total, total)] if dominance else None
            reason = primary([total], [MANY], squares, self.rules).get(0)
            if reason is not Reason.TOO_FEW_CONTRIBUTORS:
                return others
        return MANY

    def _records(self, own: int) -> int:
        """The fewest records beside the own ones."""
        return next(
            (more for more in range(self.rules.records + 1)
             if not primary([MANY], [own + more], None, self.rules)),
            0,
        )  # fmt: skip

    def _amount(self, own: int, others: int) -> int:
        """The least that the others have to have together, so that the own part is not most of the
        sum: so little is enough where there are so many and their parts are equal."""
        low, high = 0, own
        while low < high:
            middle = (low + high) // 2
            total = others * (own + middle)
            square = (others * own) ** 2 + others * middle**2
            if primary([MANY], [MANY], [(total, square)], self.rules):
                low = middle + 1
            else:
                high = middle
        return low

"""Figures of the register: :class:`node.figures.FiguresOf` over its rows."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fairlead.cubes.cube import Cube
from fairlead.cubes.level import Level
from fairlead.cubes.period import Unit
from node.figures.adding import own_part
from node.figures.port import Counted, FiguresUnusable
from node.figures.tally import tally
from node.register.book import Register, Row, placed
from node.register.entry import Noun
from node.register.facts import OUTCOME, RULES, facts

MADE = frozenset(RULES)
"""What cubes must be made of (beside mapped sources) for the register to count them."""


@dataclass(frozen=True, slots=True)
class RegisterFigures:
    """Counts reports, enquiries and outcomes, as the register said them at the cut-off."""

    register: Register

    async def count(self, cube: Cube, level: Level, unit: Unit, *, cut_off: float) -> Counted:
        """See :meth:`FiguresOf.count`.

        :raises FiguresUnusable: FIGURES_CODES, with the rows; MEASURE_BOUND; FIGURES_MEASURE.
        """
        return await asyncio.to_thread(self._count, cube, level, unit, cut_off)

    def _count(self, cube: Cube, level: Level, unit: Unit, cut_off: float) -> Counted:
        if own_part(cube) not in MADE:
            raise FiguresUnusable(
                [f"{cube.id}: is not made of the register"], reasons=("FIGURES_NONE",)
            )
        known = self.register.as_of(cut_off)
        rows = [row for row in known.values() if not row.entry.withdrawn]
        entries = [(row.number, placed(row.entry, known)) for row in rows]
        return tally(
            cube, level, unit, facts(cube, entries, outcomes_of(rows)), what="register row"
        )


def outcomes_of(rows: Sequence[Row]) -> Mapping[str, Sequence[str]]:
    """An enquiry's id → the codes of its outcomes."""
    found: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row.entry.noun is Noun.OUTCOME:
            found[row.entry.of].append(row.entry.codes.get(OUTCOME, ""))
    return found

"""Dimensions: by what figures are broken down, from the finest step to the coarsest."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from fairlead.errors import InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """One value of a step; ``parent`` is the code of the next step that it belongs to, empty at the
    coarsest."""

    code: str
    title: str
    parent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step of a dimension with all its codes, in the order in which cells are counted."""

    step: str
    title: str
    codes: tuple[Code, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """A hierarchy: ``steps`` from the finest to the coarsest; each code has one parent, and every
    code of a coarser step is the parent of at least one."""

    id: str
    title: str
    steps: tuple[Step, ...]

    def place(self, step: str) -> int:
        """How coarse a step is: 0 is the finest.

        :raises InvalidInput: STEP_UNKNOWN.
        """
        for place, found in enumerate(self.steps):
            if found.step == step:
                return place
        raise InvalidInput("the dimension has no such step", reasons=("STEP_UNKNOWN",))

    def up(self, fine: str, coarse: str) -> tuple[int, ...]:
        """For each code of a step, the place of the code of a coarser step that it belongs to.

        :raises InvalidInput: STEP_UNKNOWN; LEVEL_NO_ROLLUP: the second is the finer one.
        """
        first, last = self.place(fine), self.place(coarse)
        if first > last:
            raise InvalidInput(
                "figures roll up to what is coarser only", reasons=("LEVEL_NO_ROLLUP",)
            )
        found = tuple(range(len(self.steps[first].codes)))
        for below, above in pairwise(self.steps[first : last + 1]):
            places = {code.code: place for place, code in enumerate(above.codes)}
            parents = [places[code.parent] for code in below.codes]
            found = tuple(parents[place] for place in found)
        return found

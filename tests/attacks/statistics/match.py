"""Many trials of each statistical attack, with its defence and without."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tests.attacks.games.bounds import accuracy
from tests.attacks.statistics import averaging, isolating, looking, spelling, subtracting
from tests.attacks.statistics.pool import ALL, Defence

LEVEL = 0.98
"""Two-sided: the upper end is a 99 % bound."""
LIMIT = 0.60
FOUND = 0.90
Attack = Callable[[random.Random, frozenset[Defence]], bool | tuple[bool, int]]
_MODULES = (averaging, isolating, looking, spelling, subtracting)
OFF: dict[Attack, frozenset[Defence]] = {
    attack: off for module in _MODULES for attack, off in module.OFF.items()
}
NUMBERED: Mapping[str, str] = {
    "total": "1 a total, less all its parts but one",
    "windows": "2 windows that are shifted by a day",
    "children": "3 a level, less the one below it",
    "repeats": "4 the same question 1,000 times",
    "asked_again": "4 the same sum, until its noise averages out",
    "looks": "4 the same records, under every level and version",
    "measures": "4 the same records, in every measure of their cube",
    "levels": "4 the same records, at every level that is published",
    "spelled": "5 every spelling of one cell",
    "versions": "6 version n, and n + 1 with one record more",
    "presence": "7 partners on- and offline by turns, over versions",
    "next_version": "7 a node offline in the next version",
    "dropped_out": "8 a node is said to have dropped out",
    "dropped_out_of_the_total": "8 the same, in the total of what was summed",
    "three_lists": "8 three lists of which two less one are a node",
    "one_against_two": "8 a node in the place of two that are known",
    "tables": "9 linear programmes over all released tables",
    "own_share": "10 a contributor that knows its own share",
    "refusal": "12 a refusal, told from what is withheld",
    "edge": "13 known records, up to the edge of rounding",
}
"""The attacks by their numbers in docs/threats.md; number 11 reads a gateway's memory and files,
and is no game of chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How often an attacker was right, and how many withheld cells it bounded too closely."""

    right: int
    of: int
    exposed: int

    def __add__(self, other: Score) -> Score:
        return Score(
            right=self.right + other.right,
            of=self.of + other.of,
            exposed=self.exposed + other.exposed,
        )

    @property
    def accuracy(self) -> float:
        """As measured."""
        return self.right / self.of

    @property
    def lower(self) -> float:
        """Its 99 % lower bound."""
        return accuracy(self.right, self.of, level=LEVEL)[0]

    @property
    def upper(self) -> float:
        """Its 99 % upper bound."""
        return accuracy(self.right, self.of, level=LEVEL)[1]


def play(attack: Attack, *, trials: int, seed: int, defended: bool = True, first: int = 0) -> Score:
    """So many trials from the ``first`` on, each with luck of its own."""
    on, right, close = ALL if defended else OFF[attack], 0, 0
    for number in range(first, first + trials):
        luck = random.Random(f"{attack.__name__}/{seed}/{number}")
        result = attack(luck, on)
        guessed, narrow = result if isinstance(result, tuple) else (result, 0)
        right, close = right + guessed, close + narrow
    return Score(right=right, of=trials, exposed=close)

"""Many trials of each statistical attack, with its defence and without."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.attacks.games.bounds import accuracy
from tests.attacks.statistics import averaging, subtracting
from tests.attacks.statistics.pool import ALL, Defence

LEVEL = 0.98
"""Two-sided: the upper end is a 99 % bound."""
LIMIT = 0.60
FOUND = 0.90
Attack = Callable[[random.Random, frozenset[Defence]], bool | tuple[bool, int]]
OFF: dict[Attack, frozenset[Defence]] = {**averaging.OFF, **subtracting.OFF}


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How often an attacker was right, and how many withheld cells it bounded too closely."""

    right: int
    of: int
    exposed: int

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


def play(attack: Attack, *, trials: int, seed: int, defended: bool = True) -> Score:
    """So many trials, each with luck of its own."""
    on, right, close = ALL if defended else OFF[attack], 0, 0
    for number in range(trials):
        luck = random.Random(f"{attack.__name__}/{seed}/{number}")
        result = attack(luck, on)
        guessed, narrow = result if isinstance(result, tuple) else (result, 0)
        right, close = right + guessed, close + narrow
    return Score(right=right, of=trials, exposed=close)

"""A federation's figures without its network: partners' counts, noise, and releases of their sums.

Everything that is released goes through :func:`fairlead.disclosure.release.decide`. Defences can be
switched off one by one; the rules then say nothing, or the release does not know what was before.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from fairlead.disclosure.ledger import Asked, Ledger, Release
from fairlead.disclosure.release import Sums, decide
from fairlead.disclosure.rules import Rules
from fairlead.disclosure.system import Sum

EPSILON = 0.2
"""Of the noise on one figure: a record more makes no figure likelier by more than e^ε."""
BOUND = 100_000
"""The most that a cell may hold."""
RULES = Rules()


class Defence(StrEnum):
    """What can be switched off."""

    NOISE = "noise"
    ROUNDING = "rounding"
    COMPLEMENT = "complement"
    CONTRIBUTORS = "contributors"
    FROZEN = "frozen"
    VERSION_NOISE = "version-noise"
    IDENTICAL = "identical"
    DRAWS = "draws"
    LISTS = "lists"
    MEASURES = "measures"
    PRF = "prf"
    SPELLING = "spelling"


ALL = frozenset(Defence)


def two_sided(luck: random.Random, epsilon: float = EPSILON) -> int:
    """Two-sided geometric noise: the difference of two geometric draws. That of all nodes but two,
    which an attacker may have bought."""
    decay = -epsilon
    first, second = (int(math.log(1 - luck.random()) / decay) for _ in range(2))
    return first - second


def likelihood(figure: int, value: int) -> float:
    """The probability of a figure when the true sum is ``value``, as everybody can compute it."""
    half = RULES.round_to // 2
    below = 0.0 if figure == 0 else _at_most(figure - half - 1 - value)
    return _at_most(figure + half - value) - below


def _at_most(noise: int) -> float:
    """The distribution function of the noise."""
    alpha = math.exp(-EPSILON)
    if noise >= 0:
        return 1 - alpha ** (noise + 1) / (1 + alpha)
    return alpha**-noise / (1 + alpha)


@dataclass(slots=True, kw_only=True)
class Pool:
    """What partners hold of one measure, and what was released of it."""

    luck: random.Random
    on: frozenset[Defence] = ALL
    relations: tuple[Sum, ...] = ()
    ledger: Ledger = field(default_factory=Ledger)
    secret: int = field(init=False)

    def __post_init__(self) -> None:
        self.secret = self.luck.getrandbits(64)

    @property
    def rules(self) -> Rules:
        """The shipped ones, less what is switched off."""
        rules = RULES
        if Defence.ROUNDING not in self.on:
            rules = replace(rules, round_to=1)
        if Defence.CONTRIBUTORS not in self.on:
            rules = replace(rules, contributors=1, records=1)
        if Defence.FROZEN not in self.on:
            rules = replace(rules, versions=10**9)
        if Defence.DRAWS not in self.on:
            rules = replace(rules, draws=10**9)
        return rules

    def noise(self, spelling: str) -> int:
        """The noise on one figure: the same for the same spelling, as from a keyed PRF."""
        if Defence.NOISE not in self.on:
            return 0
        return two_sided(random.Random(f"{self.secret}/{spelling}"))

    def release(
        self,
        level: str,
        held: Mapping[str, Sequence[int]],
        *,
        period: str = "2026",
        version: int = 1,
    ) -> Release:
        """Release a level: of each cell, how many records each partner holds."""
        drawn = version if Defence.VERSION_NOISE in self.on else 1
        values = tuple(sum(counts) + self.noise(f"{cell}@{drawn}") for cell, counts in held.items())
        asked = Asked(
            cube="reports", cube_version=1, measure="count", level=level, period=period,
            version=version if Defence.FROZEN in self.on else 1,
        )  # fmt: skip
        sums = Sums(
            cells=tuple(held), values=values, counts=values,
            indicators=tuple(sum(count > 0 for count in counts) for counts in held.values()),
        )  # fmt: skip
        relations = self.relations if Defence.COMPLEMENT in self.on else ()
        decided = decide(asked, sums, relations, self.ledger, self.rules, bound=BOUND)
        if Defence.FROZEN in self.on:
            self.ledger = decided.ledger
        return decided.release


def guess(luck: random.Random, seen: Iterable[tuple[int, int]], *, exact: bool = False) -> bool:
    """Whether the record is there: the likelier of the two (Neyman and Pearson), else a coin.

    :param seen: figures, each with the sum it stands for if the record is not there.
    :param exact: figures bear neither noise nor rounding.
    """
    if exact:
        return any(figure > value for figure, value in seen)
    score = sum(
        math.log(likelihood(figure, value + 1) / likelihood(figure, value))
        for figure, value in seen
    )
    return luck.random() < 0.5 if abs(score) < 1e-12 else score > 0


def several(luck: random.Random, partners: int = 8) -> list[int]:
    """Records of a cell that may be shown: every partner holds a few."""
    return [luck.randrange(6, 16) for _ in range(partners)]


def few(luck: random.Random, partners: int = 8) -> list[int]:
    """Records of a cell that may not: two partners hold some."""
    return [luck.randrange(1, 9), luck.randrange(1, 9)] + [0] * (partners - 2)

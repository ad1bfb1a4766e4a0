"""Attacks that isolate one node by lists of participants: has it one record more, or not?

Each trial draws everybody's figures and a secret coin; the attacker is the gateway, knows all
figures but the coin, and asks for sums with whatever lists it likes. The last one leaves lists
alone, and asks until the noise averages out.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from statistics import median_low

from fairlead.errors import FairleadError
from fairlead.summing import Binding, ListKeeper, Release, Round, Served, list_digest, mask, sum_of
from fairlead.summing.noise import Noise
from tests.attacks.statistics.pool import ALL, Defence
from tests.summed import RELEASE, MemoryStore, names, octets

Attack = Callable[[random.Random, frozenset[Defence]], bool]
IDS = names(9)
TARGET = IDS[4]
SCALE, NONE = Fraction(5), Fraction(1, 1000)
"""Noise of scale s alone holds who knows all the rest to 1/2 + tanh(1/2s)/2: .550 at 5."""
AGAIN, SEEN = 400, 6
"""How often one sum is asked for; and after how many equal answers it is no more."""
CELL = "2026-Q1/c0"


class UnsafeKeeper(ListKeeper):
    """Serves any list."""

    def judge(self, wanted: Served) -> None:
        """No objection."""


@dataclass
class Federation:
    """Nine nodes with one figure each, in the clear only to themselves."""

    figures: dict[str, int]
    secrets: dict[str, bytes]
    keeper: ListKeeper
    scale: Fraction

    def sum(self, participants: Sequence[str], release: Release = RELEASE) -> int | None:
        """What the gateway gets for a list, with noise; None where the nodes refuse."""
        listed = tuple(sorted(participants))
        try:
            served = Served(release=release, participants=listed, readers=("reader",))
            self.keeper.serve(served)
        except FairleadError:
            return None
        digest = list_digest(listed)
        binding = Binding(
            release=release, round=Round.VALUES, list_digest=digest, earlier=bytes(32)
        )
        vectors = {}
        for own in listed:
            others = [other for other in listed if other != own]
            seeds = {other: octets(*sorted((own, other))) for other in others}
            noise = Noise(self.secrets[own], release, digest, len(listed))
            value = self.figures[own] + noise.share(CELL, "count", self.scale)
            vectors[own] = mask([value], own, others, seeds, binding)
        return sum_of(vectors, 1, listed)[0]

    def known(self, participants: Sequence[str]) -> int:
        """What the attacker knows of a list without the target."""
        return sum(self.figures[name] for name in participants if name != TARGET)


Isolating = Callable[[Federation], int | None]
"""What is left of the target's figure, to the attacker's best; None where it has nothing."""


def dropped_out(nodes: Federation) -> int | None:
    """The gateway has everything, says that the target is gone, and asks the others again."""
    rest = [name for name in IDS if name != TARGET]
    return _difference(nodes.sum(IDS), nodes.sum(rest))


def dropped_out_of_the_total(nodes: Federation) -> int | None:
    """The same, but the target is gone when the coarser level is asked."""
    rest = [name for name in IDS if name != TARGET]
    return _difference(nodes.sum(IDS), nodes.sum(rest, replace(RELEASE, level="quarter")))


def three_lists(nodes: Federation) -> int | None:
    """X + k, Y + k and X + Y + k: each differs from each other by four nodes."""
    first, second = nodes.sum((*IDS[:4], TARGET)), nodes.sum((TARGET, *IDS[5:]))
    both = nodes.sum(IDS)
    total = None if first is None or second is None else first + second
    return _difference(total, both)


def one_against_two(nodes: Federation) -> int | None:
    """The target in place of two that the attacker knows: the lists differ by three."""
    first, second = (*IDS[:4], TARGET), (*IDS[:4], *IDS[7:])
    found = _difference(nodes.sum(first), nodes.sum(second))
    return None if found is None else found + nodes.known(IDS[7:])


def next_version(nodes: Federation) -> int | None:
    """The target leaves between two versions, of which most figures are the same."""
    rest = [name for name in IDS if name != TARGET]
    return _difference(nodes.sum(IDS), nodes.sum(rest, replace(RELEASE, version=2)))


def asked_again(nodes: Federation) -> int | None:
    """The middle of the same sum of all nodes, many times, less what is known of the others."""
    found = list[int]()
    while len(found) < AGAIN and (len(found) < SEEN or len({*found}) > 1):
        found.append(nodes.sum(IDS) or 0)
    return median_low(found) - nodes.known(IDS)


class Fresh(dict[str, bytes]):
    """Secrets that are drawn anew whenever they are used: noise without a PRF."""

    def __init__(self, secrets: dict[str, bytes]) -> None:
        super().__init__(secrets)
        self.count = 0

    def __getitem__(self, name: str) -> bytes:
        self.count += 1
        return octets(super().__getitem__(name), self.count)


def lists(attack: Isolating) -> Attack:
    """An attack that the rule for lists stops; there is no noise in it."""

    def play(luck: random.Random, on: frozenset[Defence]) -> bool:
        keeper = ListKeeper if Defence.LISTS in on else UnsafeKeeper
        return _guessed(attack, luck, keeper(MemoryStore()), NONE, dict)

    play.__name__ = attack.__name__
    return play


def noise(luck: random.Random, on: frozenset[Defence]) -> bool:
    """The attack that noise stops, as long as it is the same for the same sum."""
    secrets = dict if Defence.PRF in on else Fresh
    return _guessed(asked_again, luck, ListKeeper(MemoryStore()), SCALE, secrets)


def _guessed(
    attack: Isolating,
    luck: random.Random,
    keeper: ListKeeper,
    scale: Fraction,
    kept: Callable[[dict[str, bytes]], dict[str, bytes]],
) -> bool:
    """Whether the attacker guesses the coin."""
    coin = luck.randrange(2)
    figures = {name: luck.randrange(3, 40) for name in IDS}
    base = figures[TARGET]
    figures[TARGET] += coin
    secrets = kept({name: luck.randbytes(32) for name in IDS})
    left = attack(Federation(figures=figures, secrets=secrets, keeper=keeper, scale=scale))
    guess = luck.randrange(2) if left is None else int(left - base >= 1)
    return guess == coin


def _difference(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one - other


noise.__name__ = asked_again.__name__
BY_LISTS = [
    lists(attack)
    for attack in (
        dropped_out,
        dropped_out_of_the_total,
        three_lists,
        one_against_two,
        next_version,
    )
]
OFF = {attack: ALL - {Defence.LISTS} for attack in BY_LISTS} | {noise: ALL - {Defence.PRF}}
"""Each attack, with what is left when its defence is switched off."""

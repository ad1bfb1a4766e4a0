"""Games of isolating one node by lists of participants: has it one record more, or not?

Each trial draws everybody's figures and a secret coin; the attacker is the gateway, knows all
figures but the coin, and asks for sums with whatever lists it likes. ``defended=False`` switches
off exactly what the game is about. ``python -m tests.attacks.statistics.isolating --trials 2000``
prints each game's accuracy, in which one half is a coin's.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from fairlead.errors import FairleadError
from fairlead.summing import Binding, ListKeeper, Release, Round, Served, list_digest, mask, sum_of
from fairlead.summing.noise import Noise
from tests.summed import RELEASE, MemoryStore, names, octets

IDS = names(9)
TARGET = IDS[4]
SCALE, NONE = Fraction(3), Fraction(1, 1000)
"""Noise of scale s alone holds who knows all the rest to 1/2 + tanh(1/2s)/2: .583 at 3."""
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


Attack = Callable[[Federation], int | None]
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
    """The target leaves between two versions of one release."""
    rest = [name for name in IDS if name != TARGET]
    return _difference(nodes.sum(IDS), nodes.sum(rest, replace(RELEASE, version=2)))


def asked_again(nodes: Federation) -> int | None:
    """The same sum of three nodes sixty times, averaged, less what is known of the others."""
    few = IDS[3:6]
    found = [nodes.sum(few) or 0 for _ in range(60)]
    return round(sum(found) / len(found)) - nodes.known(few)


@dataclass(frozen=True)
class Game:
    """An attack, and what hides the target from it: rules for lists, or noise."""

    attack: Attack
    by_noise: bool = False
    steady: bool = False

    def accuracy(self, trials: int, *, defended: bool, seed: int = 1) -> float:
        """How often the attacker guesses the coin."""
        chance, right = random.Random(seed), 0
        for trial in range(trials):
            coin = chance.randrange(2)
            nodes = self._federation(chance, trial, coin, defended=defended)
            left = self.attack(nodes)
            base = nodes.figures[TARGET] - coin
            guess = chance.randrange(2) if left is None else int(left - base >= 1)
            right += guess == coin
        return right / trials

    def _federation(
        self, chance: random.Random, trial: int, coin: int, *, defended: bool
    ) -> Federation:
        figures = {name: chance.randrange(3, 40) for name in IDS}
        figures[TARGET] += coin
        noisy = defended and self.by_noise
        keeper = ListKeeper if defended or self.by_noise else UnsafeKeeper
        secrets = {name: octets(seed_of(self, trial), name) for name in IDS}
        if self.steady and not defended:
            secrets = Fresh(secrets)
        return Federation(
            figures=figures, secrets=secrets, keeper=keeper(MemoryStore()),
            scale=SCALE if noisy or self.steady else NONE,
        )  # fmt: skip


class Fresh(dict[str, bytes]):
    """Secrets that are drawn anew whenever they are used: noise without a PRF."""

    def __init__(self, secrets: dict[str, bytes]) -> None:
        super().__init__(secrets)
        self.count = 0

    def __getitem__(self, name: str) -> bytes:
        self.count += 1
        return octets(super().__getitem__(name), self.count)


def seed_of(game: Game, trial: int) -> str:
    """A name of this trial."""
    return f"{game.attack.__name__}/{trial}"


def _difference(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one - other


GAMES = {
    "claimed drop-out": Game(dropped_out),
    "drop-out of the total": Game(dropped_out_of_the_total),
    "three lists": Game(three_lists),
    "one against two": Game(one_against_two),
    "left before the next version": Game(next_version),
    "asked again": Game(asked_again, by_noise=True, steady=True),
}


def main() -> None:
    """Print every game's accuracy."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=2000)
    trials = parser.parse_args().trials
    print(f"{'game':32} {'defended':>9} {'not':>6}   ({trials} trials)")
    for name, game in GAMES.items():
        on, off = (game.accuracy(trials, defended=defended) for defended in (True, False))
        print(f"{name:32} {on:9.3f} {off:6.3f}", flush=True)


if __name__ == "__main__":
    main()

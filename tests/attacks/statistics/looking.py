"""A gateway that asks for the same records under ever other names, and sees sums unrounded."""

from __future__ import annotations

import itertools
import random

from fairlead.summing import ListKeeper, LooksUsedUp, Release, Served
from tests.attacks.statistics.pool import ALL, Defence, several, two_sided
from tests.summed import MemoryStore, names

LEVELS = ("month", "month,region", "month,kind")
LOOKS = 600
"""As many as average the noise out."""


def looks(luck: random.Random, on: frozenset[Defence]) -> bool:
    """Version after version, at every level: each has noise of its own."""
    ids, coin, cell = names(8), luck.random() < 0.5, several(luck)
    keeper, above = ListKeeper(MemoryStore()), 0
    for version, level in itertools.product(range(1, LOOKS // len(LEVELS)), LEVELS):
        release = Release(
            cube="reports", cube_version=1, level=level, period="2026-01", version=version
        )
        if Defence.DRAWS in on:
            try:
                keeper.serve(Served(release=release, participants=ids, readers=ids))
            except LooksUsedUp:
                break
        seen = sum(cell) + coin + two_sided(luck)
        above += 1 if seen > sum(cell) else -1
    return coin == (above > 0 if above else luck.random() < 0.5)


OFF = {looks: ALL - {Defence.DRAWS}}
"""The attack, with what is left when its defence is switched off."""

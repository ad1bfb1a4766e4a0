"""A gateway that asks for the same records under ever other names, and sees sums unrounded."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from fairlead.strategic.terms import scale_of
from fairlead.summing import ListKeeper, LooksUsedUp, Release, Served
from tests.attacks.statistics.pool import ALL, EPSILON, Defence, several, two_sided
from tests.strategic import REGISTRY
from tests.summed import MemoryStore, names

LEVELS = ("month", "month,region", "month,kind")
LOOKS = 600
"""As many as average the noise out."""
CUBES = tuple(cube for cube in REGISTRY.cubes if len(cube.measures) > 1)
MANY = 40
"""Measures of a cube of which nobody has thought."""


def looks(luck: random.Random, on: frozenset[Defence]) -> bool:
    """Version after version, at every level: each has noise of its own."""
    coin, cell, above = luck.random() < 0.5, several(luck), 0
    for _ in _looks(on):
        seen = sum(cell) + coin + two_sided(luck)
        above += 1 if seen > sum(cell) else -1
    return coin == (above > 0 if above else luck.random() < 0.5)


def measures(luck: random.Random, on: frozenset[Defence]) -> bool:
    """A record that is in every measure of a cube, each with noise of its own, under every level
    and version that nodes sum: all of these words say the same of it."""
    coin, above = luck.random() < 0.5, 0
    cube = luck.choice(CUBES)
    added = [measure for measure in cube.measures if not measure.parts]
    epsilon = EPSILON
    if Defence.MEASURES in on:
        epsilon = added[0].step / scale_of(cube, added[0])
    for _ in _looks(ALL):
        for _ in added if Defence.MEASURES in on else range(MANY):
            value = sum(several(luck))
            seen = value + coin + two_sided(luck, epsilon)
            above += 1 if seen > value else -1
    return coin == (above > 0 if above else luck.random() < 0.5)


def _looks(on: frozenset[Defence]) -> Iterator[Release]:
    """Everything that a node sums of one month's records."""
    ids, keeper = names(8), ListKeeper(MemoryStore())
    for version, level in itertools.product(range(1, LOOKS // len(LEVELS)), LEVELS):
        release = Release(
            cube="reports", cube_version=1, level=level, period="2026-01", version=version
        )
        if Defence.DRAWS in on:
            try:
                keeper.serve(Served(release=release, participants=ids, readers=ids))
            except LooksUsedUp:
                return
        yield release


OFF = {looks: ALL - {Defence.DRAWS}, measures: ALL - {Defence.MEASURES}}
"""Each attack, with what is left when its defence is switched off."""

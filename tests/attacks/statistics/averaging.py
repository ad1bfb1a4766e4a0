"""Attacks that ask for one figure again and again, so that its noise averages out."""

from __future__ import annotations

import itertools
import random

from fairlead.disclosure.release import ReleaseRefused
from fairlead.disclosure.system import Sum
from tests.attacks.statistics.pool import ALL, RULES, Defence, Pool, guess, several

MANY = 1_000
WINDOWS, FEW = 1_600, 40
LEVELS, REFUSED = 800, 12
"""As many as averages the noise out, and enough to be refused the last ones, or shown that they
are the same."""


def repeats(luck: random.Random, on: frozenset[Defence]) -> bool:
    """The same question a thousand times."""
    pool, cell, coin = _begun(luck, on)
    seen = []
    for number in range(MANY):
        version = number + 1 if Defence.FROZEN not in on else 1
        made = pool.release("region", {"2026/r": _with(cell, coin)}, version=version)
        _note(seen, made.figures[0], sum(cell))
    return guess(luck, _distinct(seen, on)) == coin


def windows(luck: random.Random, on: frozenset[Defence]) -> bool:
    """Periods that begin a day later each, half of them with the record's day.

    Whole calendar units have no such days: every period that holds the record's month consists of
    that month's one cell and others.
    """
    pool, cell, coin = _begun(luck, on)
    seen = []
    for number in range(FEW if Defence.FROZEN in on else WINDOWS):
        inside = number % 2 == 0
        day = f"~{number}" if Defence.FROZEN not in on else ""
        period = f"2026-{1 if inside else 2:02d}{day}"
        made = pool.release(
            "month" + day, {f"{period}/r": _with(cell, coin and inside)}, period=period
        )
        if inside:
            _note(seen, made.figures[0], sum(cell))
    return guess(luck, _distinct(seen, on)) == coin


def versions(luck: random.Random, on: frozenset[Defence]) -> bool:
    """Version n against version n + 1, in which one record came late."""
    pool, cell, coin = _begun(luck, on)
    first = pool.release("region", {"2026/r": cell}, version=1).figures[0]
    second = pool.release("region", {"2026/r": _with(cell, coin)}, version=2).figures[0]
    if first is None or second is None:  # what noise takes below ten records is withheld
        return (luck.random() < 0.5) == coin
    if Defence.VERSION_NOISE not in on:
        return (second > first) == coin
    return guess(luck, [(second, sum(cell))]) == coin


def presence(luck: random.Random, on: frozenset[Defence]) -> bool:
    """Lists of participants with the record's node and without it, for as many versions as go.

    A list may differ from the last by no fewer than three nodes; the attacker holds what the two
    others have, so that the difference is the node's.
    """
    pool, cell, coin = _begun(luck, on)
    seen = []
    for version in range(1, WINDOWS + 1):
        inside = version % 2 == 1
        held = _with(cell, coin) if inside else [0, 0, 0, *cell[3:]]
        try:
            made = pool.release("region", {"2026/r": held}, version=version)
        except ReleaseRefused:
            break
        if inside:
            _note(seen, made.figures[0], sum(cell))
    return guess(luck, seen) == coin


def edge(luck: random.Random, on: frozenset[Defence]) -> bool:
    """A contributor adds records of its own, until one more would be rounded up."""
    pool, cell, coin = _begun(luck, on)
    seen = []
    for version in range(1, RULES.versions + 1):
        own = (RULES.round_to // 2 - sum(cell)) % RULES.round_to + RULES.round_to * version
        held = [*cell[:-1], cell[-1] + own]
        made = pool.release("region", {"2026/r": _with(held, coin)}, version=version)
        _note(seen, made.figures[0], sum(held))
    if Defence.NOISE not in on:
        return all(figure > value for figure, value in seen) == coin
    return guess(luck, seen) == coin


def levels(luck: random.Random, on: frozenset[Defence]) -> bool:
    """Every level that holds the record, the coarsest first, each with noise of its own."""
    pool, cell, coin = _begun(luck, on)
    count = REFUSED if Defence.DRAWS in on else LEVELS
    chain = [f"2026/{depth}" for depth in range(count)]
    pool.relations = tuple(
        Sum(whole=whole, parts=(part, f"{part}/beside"))
        for whole, part in itertools.pairwise(chain)
    )
    seen: list[tuple[int, int]] = []
    held = [each + count for each in cell]
    for depth, spelling in enumerate(chain):
        held = [each - 1 for each in held]
        try:
            made = pool.release(f"{depth}", {spelling: _with(held, coin)})
        except ReleaseRefused:
            break
        _note(seen, made.figures[0], sum(held))
    return guess(luck, seen) == coin


def _begun(luck: random.Random, on: frozenset[Defence]) -> tuple[Pool, list[int], bool]:
    """A pool, a cell's records by partner, and whether the first one holds one record more."""
    return Pool(luck=luck, on=on), several(luck), luck.random() < 0.5


def _with(cell: list[int], coin: bool) -> list[int]:
    return [cell[0] + coin, *cell[1:]]


def _note(seen: list[tuple[int, int]], figure: int | None, value: int) -> None:
    if figure is not None:
        seen.append((figure, value))


def _distinct(seen: list[tuple[int, int]], on: frozenset[Defence]) -> list[tuple[int, int]]:
    """What is frozen is one observation, however often it is seen."""
    if Defence.FROZEN not in on:
        return seen
    assert len({*seen}) <= 1
    return seen[:1]


OFF = {
    repeats: ALL - {Defence.FROZEN},
    windows: ALL - {Defence.FROZEN},
    versions: ALL - {Defence.VERSION_NOISE, Defence.ROUNDING},
    presence: ALL - {Defence.FROZEN},
    edge: ALL - {Defence.NOISE},
    levels: ALL - {Defence.DRAWS, Defence.COMPLEMENT, Defence.FROZEN},
}
"""Each attack, with what is left when its defence is switched off. Looks are counted over what is
kept; nothing is where it is only for the time that so many of them would take."""

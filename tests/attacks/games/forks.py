"""The game of two forks: a gateway with all its keys against many witnesses, of whom some lie.

Real witnesses over real logs are shown two histories at once, in an order and with sizes that a
seed decides; liars cosign whatever they see. The gateway wins when both histories have a
checkpoint beyond the fork that a quorum cosigned. With as many liars as the directory tolerates it
never does; with one more it can, and the control does.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from fairlead import cosigning, quorum
from tests.walks import PaperLog, World
from tests.witnessing import Place, Town, opened, shown

COMMON, LONGEST = 5, 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What a game came to: how many histories had a quorum, and how many signatures there were."""

    quorums: int
    signatures: int
    alarms: int


def histories(world: World, tag: int) -> tuple[PaperLog, PaperLog]:
    """Two histories of one log with a common beginning."""
    same = [b"%d" % n for n in range(COMMON)]
    one, two = (
        PaperLog(world, [*same, *(b"%d/%d/%d" % (tag, side, n) for n in range(COMMON, LONGEST))])
        for side in range(2)
    )
    return one, two


def offers(dice: random.Random, side: int, *, clever: bool) -> list[tuple[int, int]]:
    """Which side and size one witness is shown, in order. The clever gateway shows half of them one
    side first, and all of a side the same checkpoints; the other draws everything."""
    if clever:
        return [(s, size) for s in (side, 1 - side) for size in (COMMON + 1, LONGEST)]
    sizes = sorted(dice.choices((COMMON + 1, LONGEST), k=3))
    return [(dice.randrange(2), size) for size in sizes]


async def play(
    folder: Path, world: World, *, count: int, tolerated: int, liars: int, seed: int
) -> Played:
    """One game with ``count`` witnesses at once."""
    dice = random.Random(seed)
    town = Town.of(world, count, tolerated=tolerated)
    bought = {*dice.sample(sorted(town.keys), liars)}
    sides = histories(world, seed)
    lines: defaultdict[str, dict[str, str]] = defaultdict(dict)

    async def tempt(side: int, partner: str, place: Place | None) -> None:
        for at, size in offers(dice, side, clever=seed % 2 == 0):
            await asyncio.sleep(dice.random() / 1000)
            note = sides[at].head(size).checkpoint
            line = await _signed(place, town, partner, sides[at], size, note)
            if line:
                lines[note][partner] = line

    with ExitStack() as stack:
        places: dict[str, Place | None] = dict.fromkeys(town.keys)
        for partner in sorted(town.keys.keys() - bought):
            place = stack.enter_context(opened(folder / partner, town, partner))
            await place.witness.open()
            places[partner] = place
        # The honest ones by halves, in each of which are public and private ones.
        honest = sorted(p for p, place in places.items() if place)
        order = [
            (2 * n // len(honest) % 2, p, places[p])
            for n, p in enumerate([*honest, *sorted(bought)])
        ]
        dice.shuffle(order)
        await asyncio.gather(*(tempt(*item) for item in order))
        alarms = sum(len(place.leaves(6)) for place in places.values() if place)
    return Played(
        quorums=sum(_won(side, lines, town) for side in sides),
        signatures=sum(map(len, lines.values())),
        alarms=alarms,
    )


async def _signed(
    place: Place | None, town: Town, partner: str, log: PaperLog, size: int, note: str
) -> str:
    """A witness's line; the gateway knows where each stands and proves whatever it can."""
    if place is None:
        return town.line(partner, note)
    for known in (place.heads.size, 0):
        request = shown(log, size, min(known, LONGEST))
        response = await place.witness.add(request, town.gateway)
        if response.WhichOneof("result") == "cosignature":
            return response.cosignature
    return ""


def _won(side: PaperLog, lines: dict[str, dict[str, str]], town: Town) -> bool:
    notes = [side.head(size).checkpoint for size in (COMMON + 1, LONGEST)]
    whole = [cosigning.with_lines(note, lines[note].values()) for note in notes if note in lines]
    return any(
        quorum.reached(cosigning.cosigners(note, town.directory), town.directory) for note in whole
    )


async def play_many(
    folder: Path, world: World, *, seeds: Sequence[int], count: int = 64
) -> list[Played]:
    """The long form: a game for each seed, with the number of liars tolerated and bought drawn."""
    played = []
    for seed in seeds:
        tolerated = random.Random(seed).randrange(count // 4)
        played.append(
            await play(
                folder / str(seed), world, count=count, tolerated=tolerated, liars=tolerated,
                seed=seed,
            )
        )  # fmt: skip
    return played

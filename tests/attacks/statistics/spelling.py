"""Attack: the same figure asked for in many spellings, so that its noise is averaged away.

A released figure carries noise that is the same whenever the same cell is asked for. Whoever finds
two spellings of one cell that count as two gets two draws of the noise, and with enough of them
the true number. The registry's defence is that every cell has one spelling, and every question one
canonical form. With it off, noise hangs on the words that were typed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import lru_cache
from itertools import permutations

from fairlead.cubes.cube import Cube
from fairlead.cubes.level import Level
from fairlead.cubes.registry import Registry
from fairlead.errors import InvalidInput
from tests.attacks.statistics.pool import ALL, Defence, several, two_sided
from tests.cubes import DEFAULTS

LEVEL = "quarter,region,kind"


@lru_cache(maxsize=1)
def cube() -> Cube:
    """Parsing the registry takes a third of a second."""
    return Registry.parse(DEFAULTS).cube("reports-received")


def spellings(year: int, quarter: int) -> Iterator[tuple[str, str, str]]:
    """Ways to write one cell: level, period, and the cell in it."""
    region, kind = "NL-ZH", "anonymous"
    unit, months = f"{year}-Q{quarter}", [quarter * 3 - 2, quarter * 3]
    periods = [
        unit, f"{unit}..{unit}", f" {unit}", f"{unit}\n", unit.lower(),
        f"{year}Q{quarter}",
        f"{year}-{months[0]:02}..{year}-{months[1]:02}", f"{year}", f"{year - 1}..{year}",
        f"{year}..{year + 1}", f"{year - 1}-Q4..{year + 1}-Q1", f"{year}-Q1..{year}-Q4",
    ]  # fmt: skip
    levels = [",".join(words) for words in permutations(LEVEL.split(","))]
    levels += [LEVEL.upper(), LEVEL.replace(",", ", "), f"{LEVEL},", f"{LEVEL},{kind}"]
    cells = ["/".join(words) for words in permutations([unit, region, kind])]
    cells += [f"{unit}/{region}/{kind}/", f"{unit}/nl-zh/{kind}", f"{unit}//{region}/{kind}"]
    for level in levels:
        for period in periods:
            for cell in cells:
                yield level, period, cell


def canonical(level: str, period: str, cell: str) -> str:
    """What noise hangs on: the cell of the registry that is meant, whatever period it is in.

    :raises InvalidInput: nothing is meant.
    """
    found: Level = cube().level(level)
    cells = found.cells(found.period(period))
    return cells[cells.place(found.cell(cell))].reference


def spelled(luck: random.Random, on: frozenset[Defence]) -> bool:
    """Is somebody in the cell or not, guessed from every answer got."""
    coin, base, secret = luck.random() < 0.5, sum(several(luck)), luck.getrandbits(64)
    above = 0
    for words in spellings(luck.randrange(2020, 2026), luck.randrange(1, 5)):
        try:
            text = canonical(*words) if Defence.SPELLING in on else " ".join(words)
        except InvalidInput:
            continue
        above += 1 if base + coin + two_sided(random.Random(f"{secret}/{text}")) > base else -1
    return coin == (above > 0)


OFF = {spelled: ALL - {Defence.SPELLING}}
"""The attack, with what is left when its defence is switched off."""

"""Attack: the same figure asked for in many spellings, so that its noise is averaged away.

A released figure carries noise that is the same whenever the same cell is asked for. Whoever finds
two spellings of one cell that count as two gets two draws of the noise, and with enough of them
the true number. The registry's defence is that every cell has one spelling, and every question one
canonical form. With it off, noise hangs on the words that were typed.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Iterator
from itertools import permutations

import pytest

from fairlead.cubes.level import Level
from fairlead.cubes.registry import Registry
from fairlead.errors import InvalidInput
from tests.cubes import DEFAULTS

TRIALS = int(os.environ.get("FAIRLEAD_STATISTICS_TRIALS", "100"))
"""``FAIRLEAD_STATISTICS_TRIALS=2000`` is the long form."""
SPREAD = 40
CUBE = Registry.parse(DEFAULTS).cube("reports-received")
LEVEL = "quarter,region,kind"
SECRET = b"the nodes' own"
Draw = Callable[[str, str, str], str]


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
    found: Level = CUBE.level(level)
    cells = found.cells(found.period(period))
    return cells[cells.place(found.cell(cell))].reference


def typed(level: str, period: str, cell: str) -> str:
    """The defence switched off: whatever was typed, white space and all."""
    return f"{level} {period} {cell}"


def noise(text: str, trial: int) -> float:
    """The nodes' noise on a cell in one trial: a fixed draw for a fixed text."""
    seed = hashlib.sha256(SECRET + trial.to_bytes(4, "big") + text.encode()).digest()
    return random.Random(seed).gauss(0, SPREAD)


def guessed(draw: Draw, trial: int) -> bool:
    """One trial: is somebody in the cell or not, guessed from the mean of every answer got."""
    luck = random.Random(trial)
    present = luck.random() < 0.5
    answers = []
    for words in spellings(2020 + trial % 6, 1 + trial % 4):
        try:
            answers.append(100 + 10 * present + noise(draw(*words), trial))
        except InvalidInput:
            continue
    return (sum(answers) / len(answers) > 105) == present


@pytest.mark.parametrize(("draw", "low", "high"), [(canonical, 0.4, 0.65), (typed, 0.95, 1.01)])
def test_another_spelling_draws_no_second_noise(draw: Draw, low: float, high: float) -> None:
    """Averaging over every spelling is one look (.55), and without the defence it is certain."""
    names = {name for words in spellings(2024, 2) if (name := _named(canonical, words))}
    assert names == {f"reports-received/{LEVEL}/2024-Q2/NL-ZH/anonymous"}
    rounds = TRIALS if draw is canonical else TRIALS // 10
    accuracy = sum(guessed(draw, trial) for trial in range(rounds)) / rounds
    print(f"{draw.__name__}: {accuracy:.3f} over {rounds} trials")
    assert low <= accuracy < high


def _named(draw: Draw, words: tuple[str, str, str]) -> str | None:
    try:
        return draw(*words)
    except InvalidInput:
        return None

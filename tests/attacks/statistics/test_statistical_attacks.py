"""The published attacks on small cells: a short form of ``tests.attacks.statistics.run``."""

from __future__ import annotations

import math

import pytest

from fairlead.cubes.cube import Cube
from fairlead.strategic.terms import SCALE, scale_of
from fairlead.summing.keeper import MAX_LOOKS
from tests.attacks.statistics.looking import CUBES
from tests.attacks.statistics.match import FOUND, LIMIT, NUMBERED, OFF, Attack, play

SHORT = {"tables": 5, "total": 8, "children": 8, "repeats": 10, "spelled": 8}
"""Trials of those that take longer than a few milliseconds; of the others it is thirty."""
SHORT_OFF = {"asked_again": 2, "presence": 3, "repeats": 3, "windows": 3}
"""The same without defence; of the others it is ten."""


def test_every_attack_has_its_number() -> None:
    """What the long form plays is what is here."""
    assert {attack.__name__ for attack in OFF} == NUMBERED.keys()


@pytest.mark.parametrize("attack", OFF, ids=lambda attack: attack.__name__)
def test_who_knows_all_but_one_record_does_not_learn_of_it(attack: Attack) -> None:
    """Over few trials the attacker is not seen to be right more often than the limit, and no
    withheld cell is bounded too closely."""
    score = play(attack, trials=SHORT.get(attack.__name__, 30), seed=1)
    assert score.lower <= LIMIT
    assert score.exposed == 0


@pytest.mark.parametrize("attack", OFF, ids=lambda attack: attack.__name__)
def test_without_its_defence_the_attack_succeeds(attack: Attack) -> None:
    """The same attacker, with the defence switched off, is right nearly always."""
    score = play(attack, trials=SHORT_OFF.get(attack.__name__, 10), seed=2, defended=False)
    assert score.accuracy >= FOUND
    assert (score.exposed > 0) == (attack.__name__ == "tables")


def guessed(looks: int, scale: float) -> float:
    """How often a record is guessed right from so many words, each with noise of its own: exactly,
    by which side of the rest more of them are on."""
    right = 1 / (1 + math.exp(-1 / scale))
    chances = [math.comb(looks, n) * right**n * (1 - right) ** (looks - n)
               for n in range(looks + 1)]  # fmt: skip
    more = sum(chance for n, chance in enumerate(chances) if 2 * n > looks)
    return more + (chances[looks // 2] / 2 if looks % 2 == 0 else 0)


@pytest.mark.parametrize("cube", CUBES, ids=lambda cube: cube.id)
def test_the_scale_covers_every_measure_that_a_record_is_in(cube: Cube) -> None:
    """All words that a node ever states of a record, six sums and of each every measure: with
    noise for one measure each they would say more than the limit allows."""
    added = [measure for measure in cube.measures if not measure.parts]
    words = MAX_LOOKS * len(added)
    steps = {scale_of(cube, measure) / measure.step for measure in added}
    assert steps == {SCALE * len(added)}
    assert guessed(words, steps.pop()) <= guessed(MAX_LOOKS, SCALE) <= LIMIT
    assert guessed(words, SCALE) > LIMIT

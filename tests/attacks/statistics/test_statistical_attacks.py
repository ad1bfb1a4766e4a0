"""The published attacks on small cells: a short form of ``tests.attacks.statistics.run``."""

from __future__ import annotations

import pytest

from tests.attacks.statistics.match import FOUND, LIMIT, OFF, Attack, play
from tests.attacks.statistics.subtracting import tables

TRIALS = {tables: 8}
"""Each of these takes a tenth of a second; the others well below a hundredth."""
OFF_TRIALS = 10


@pytest.mark.parametrize("attack", OFF, ids=lambda attack: attack.__name__)
def test_who_knows_all_but_one_record_does_not_learn_of_it(attack: Attack) -> None:
    """Over few trials the attacker is not seen to be right more often than the limit, and no
    withheld cell is bounded too closely."""
    score = play(attack, trials=TRIALS.get(attack, 30), seed=1)
    assert score.lower <= LIMIT
    assert score.exposed == 0


@pytest.mark.parametrize("attack", OFF, ids=lambda attack: attack.__name__)
def test_without_its_defence_the_attack_succeeds(attack: Attack) -> None:
    """The same attacker, with the defence switched off, is right nearly always."""
    score = play(attack, trials=OFF_TRIALS, seed=2, defended=False)
    assert score.accuracy >= FOUND
    assert (score.exposed > 0) == (attack is tables)

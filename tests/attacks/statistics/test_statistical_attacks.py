"""The published attacks on small cells: a short form of ``tests.attacks.statistics.run``."""

from __future__ import annotations

import pytest

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

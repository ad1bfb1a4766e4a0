"""Attack: owner, gateway or wire tells from a blind query what is asked, or whether it hits."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.attacks.games.bounds import advantage
from tests.attacks.games.controls import CONTROLS
from tests.attacks.games.match import Score, match
from tests.attacks.games.run import FOUND, LIMIT
from tests.attacks.games.trials import GAMES
from tests.attacks.games.views import VIEWS

TRIALS, CONTROL_TRIALS = 96, 40
LEVEL = 0.999_999
"""So few trials are judged so seldom wrongly; ``make attacks`` judges ten thousand at 99.9 %."""


@pytest.fixture(scope="module")
def score(tmp_path_factory: pytest.TempPathFactory) -> Score:
    """Everything played once."""
    folder: Path = tmp_path_factory.mktemp("games")
    return asyncio.run(match(folder, trials=TRIALS, control_trials=CONTROL_TRIALS, seed=4))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("view", VIEWS)
def test_no_view_wins_a_game(score: Score, view: str, game: str) -> None:
    """A classifier trained on half of the trials guesses the other half no better than a coin."""
    verdict = score.product[view, game]
    assert advantage(verdict.right, verdict.of, level=LEVEL).lower <= LIMIT, verdict


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", CONTROLS)
def test_an_insecure_variant_is_found_out(score: Score, name: str) -> None:
    """The same classifier wins when sizes, order, blinding, time or the look-up are as they must
    not be."""
    verdict = score.controls[name]
    assert advantage(verdict.right, verdict.of).measured > FOUND, verdict

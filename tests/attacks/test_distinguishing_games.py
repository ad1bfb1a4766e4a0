"""Attack: owner, gateway or wire tells from a blind query what is asked, or whether it hits."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.attacks.games.bounds import accuracy, advantage
from tests.attacks.games.controls import CONTROLS
from tests.attacks.games.guesser import Table, Verdict, binned, judge
from tests.attacks.games.match import Score, match
from tests.attacks.games.run import FOUND, LIMIT
from tests.attacks.games.trials import GAMES
from tests.attacks.games.views import VIEWS
from tests.blind import require_libsodium

require_libsodium()
TRIALS, CONTROL_TRIALS = 96, 40
LEVEL = 0.999_999
"""Fifteen verdicts on 48 trials each are wrong once in ten thousand runs, and a leak that is
guessed right nine times in ten is found; ``make attacks`` judges ten thousand trials at 99.9 %."""


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


# ── The judge itself ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("right", "of", "low", "high"),
    [
        (0, 10, 0.0, 0.3085),
        (5, 10, 0.1871, 0.8129),
        (10, 10, 0.6915, 1.0),
        (81, 263, 0.2527, 0.3676),
    ],
)
def test_bounds_are_those_of_clopper_and_pearson(
    right: int, of: int, low: float, high: float
) -> None:
    """Intervals of tables at 95 %."""
    assert accuracy(right, of, level=0.95) == pytest.approx((low, high), abs=1e-3)


def judged(numbers: list[dict[str, float]], prints: list[int], labels: list[int]) -> Verdict:
    """The verdict on such trials, the first half for training."""
    table = Table()
    for row, octets in zip(numbers, prints, strict=True):
        table.add(row, {"octets": octets})
    return judge(binned(table, range(table.size // 2)), labels)


@pytest.mark.parametrize("leak", ["level", "middle", "absent", "repeated", "nothing"])
def test_a_planted_leak_is_learnt_and_noise_is_not(leak: str) -> None:
    """A shifted mean, a value in the middle of a range, a field that is missing, octets that
    come back."""
    luck = random.Random(5)
    labels = [luck.randrange(2) for _ in range(600)]
    rows, prints = [], []
    for label in labels:
        row = {f"noise {n}": luck.random() for n in range(40)}
        seen = luck.getrandbits(60)
        if leak == "level":
            row["leak"] = luck.gauss(3 * label, 1)
        elif leak == "middle":
            row["leak"] = (
                luck.uniform(0.4, 0.6) if label else luck.choice((0, 1)) + luck.random() / 9
            )
        elif leak == "absent" and label:
            row["leak"] = 1.0
        elif leak == "repeated":
            seen = label
        rows.append(row)
        prints.append(seen)
    verdict = judged(rows, prints, labels)
    found = advantage(verdict.right, verdict.of)
    assert (found.lower <= LIMIT) if leak == "nothing" else (found.lower > FOUND), verdict

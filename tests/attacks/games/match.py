"""Playing and scoring: trials in one federation, every game in every view, and the controls."""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.attacks.games.controls import CONTROLS
from tests.attacks.games.guesser import Table, Verdict, binned, judge
from tests.attacks.games.trials import BATCH_GAME, Ground, ground, tables
from tests.attacks.games.views import VIEWS


@dataclass(slots=True)
class Score:
    """Verdicts: of the product by view and game, of the controls by name."""

    trials: int = 0
    product: dict[tuple[str, str], Verdict] = field(default_factory=dict)
    controls: dict[str, Verdict] = field(default_factory=dict)

    def __add__(self, other: Score) -> Score:
        """Two federations' trials together, each judged by what was learnt in its own."""
        return Score(
            trials=self.trials + other.trials,
            product=_together(self.product, other.product),
            controls=_together(self.controls, other.controls),
        )


def _together(one: dict, other: dict) -> dict:
    found = dict(one)
    for key, verdict in other.items():
        before = found.get(key, Verdict(right=0, of=0, by=""))
        found[key] = Verdict(
            right=before.right + verdict.right,
            of=before.of + verdict.of,
            by=" | ".join(filter(None, (before.by, verdict.by))),
        )
    return found


async def match(
    folder: Path, *, trials: int, control_trials: int, seed: int, batches: int = 0
) -> Score:
    """Start a federation, play all trials in it, and judge.

    :param batches: trials of the game of chunks, which take half a second each.
    """
    score = Score(trials=trials)
    async with ground(folder, seed) as played:
        for name, control in CONTROLS.items():
            with control.within(played):
                short = control.game in {"asked", "hit"}
                seen, labels = await _played(played, control_trials, short=short)
            verdicts = _judged(seen[control.view], {control.game: labels[control.game]}, seed)
            score.controls[name] = verdicts[control.game]
        seen, labels = await _played(played, trials)
        of_batches, hits = tables((BATCH_GAME,))
        for _ in range(batches):
            await played.play_batch(of_batches, hits)
    for view in VIEWS if batches else ():
        for game, verdict in _judged(of_batches.pop(view), hits, seed).items():
            score.product[view, game] = verdict
    for view in VIEWS:
        # Let a table go as soon as it is judged: they are large.
        for game, verdict in _judged(seen.pop(view), labels, seed).items():
            score.product[view, game] = verdict
    return score


async def _played(
    played: Ground, trials: int, *, short: bool = False
) -> tuple[dict[str, Table], dict[str, list[int]]]:
    seen, labels = tables()
    for number in range(trials):
        await played.play(seen, labels, short=short)
        if number % 500 == 499:
            print(f"games: {number + 1} of {trials} trials", file=sys.stderr, flush=True)
    return seen, labels


def _judged(table: Table, labels: dict[str, list[int]], seed: int) -> dict[str, Verdict]:
    """Train on one random half of the trials and score on the other."""
    half = random.Random(seed).sample(range(table.size), table.size // 2)
    cut = binned(table, half)
    return {game: judge(cut, labels[game]) for game in labels}

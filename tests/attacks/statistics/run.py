"""The long form of the statistical attacks: a table, and as its last line one JSON object.

``python -m tests.attacks.statistics.run``. It fails where an attacker's 99 % upper bound exceeds
.60, where a withheld cell is exposed, or where an attack fails without its defence.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from tests.attacks.statistics.match import FOUND, LIMIT, NUMBERED, OFF, Score, play

ATTACKS = {attack.__name__: attack for attack in OFF}
MORE = {
    "looks": 100,
    "measures": 5,
    "levels": 10,
    "edge": 5,
    "presence": 5,
    "versions": 5,
    "own_share": 5,
}
"""So many times as many trials: of the attacks that come close to the limit, and of quick ones."""
PART = 200
Scores = dict[tuple[str, bool], Score]
Task = tuple[str, bool, int, int, int]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=2_000, help="of each, and more of some")
    parser.add_argument("--off", type=int, default=50, help="without defence (%(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.monotonic()
    scores: Scores = {}
    with ProcessPoolExecutor(options.jobs) as processes:
        for name, defended, score in processes.map(_play, _tasks(options)):
            key = name, defended
            scores[key] = scores[key] + score if key in scores else score
    good = _print(scores)
    line = {
        "schema": 1,
        "statistical_attacks": "ok" if good else "failed",
        "trials": {name: scores[name, True].of for name in NUMBERED},
        "presence_accuracy": max(round(scores[name, True].accuracy, 4) for name in NUMBERED),
        "presence_upper": max(_up(scores[name, True].upper) for name in NUMBERED),
        "lp_exposed": sum(scores[name, True].exposed for name in NUMBERED),
        "seconds": round(time.monotonic() - began),
    }
    print(json.dumps(line))
    return not good


def _tasks(options: argparse.Namespace) -> Iterator[Task]:
    """Every attack's trials in parts, so that all processes end at about the same time."""
    for name in NUMBERED:
        more = MORE.get(name, 1)
        for first in range(0, options.trials * more, PART * more):
            trials = min(PART * more, options.trials * more - first)
            yield name, True, first, trials, options.seed
        yield name, False, 0, options.off, options.seed


def _play(task: Task) -> tuple[str, bool, Score]:
    name, defended, first, trials, seed = task
    score = play(ATTACKS[name], trials=trials, seed=seed, defended=defended, first=first)
    return name, defended, score


def _print(scores: Scores) -> bool:
    """The table; whether every row is as it must be."""
    good = True
    print(f"{'attack':52} {'trials':>7} {'right':>6} {'99 % ≤':>7} {'exposed':>7} {'off':>6}")
    for name, title in NUMBERED.items():
        on, off = scores[name, True], scores[name, False]
        fine = on.upper <= LIMIT and not on.exposed and off.accuracy >= FOUND
        good = good and fine
        print(
            f"{title:52} {on.of:7} {on.accuracy:6.3f} {_up(on.upper):7.4f} {on.exposed:7}"
            f" {off.accuracy:6.3f}{'' if fine else '  <'}"
        )
    return good


def _up(value: float) -> float:
    """Rounded to four places, never downwards."""
    return -(-value * 10_000 // 1) / 10_000


if __name__ == "__main__":
    sys.exit(main())

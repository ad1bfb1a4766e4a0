"""The long form of the statistical attacks: a table, and as its last line one JSON object.

``python -m tests.attacks.statistics.run --trials 2000``. It fails where an attacker's 99 % upper
bound exceeds .60, where a withheld cell is exposed, or where an attack fails without its defence.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from tests.attacks.statistics.match import FOUND, LIMIT, OFF, Score, play

ATTACKS = {attack.__name__: attack for attack in OFF}


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000, help="of each (%(default)s)")
    parser.add_argument("--tables", type=int, default=2_000, help="of the audit (%(default)s)")
    parser.add_argument("--off", type=int, default=100, help="without defence (%(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.monotonic()
    tasks = [(name, options, on) for name in ATTACKS for on in (True, False)]
    with ProcessPoolExecutor(options.jobs) as processes:
        scores = dict(processes.map(_play, tasks))
    good = _print(scores)
    line = {
        "schema": 1,
        "statistical_attacks": "ok" if good else "failed",
        "trials": {name: scores[name, True].of for name in ATTACKS},
        "presence_accuracy": max(round(scores[name, True].accuracy, 4) for name in ATTACKS),
        "presence_upper": max(round(scores[name, True].upper, 4) for name in ATTACKS),
        "lp_exposed": sum(scores[name, True].exposed for name in ATTACKS),
        "seconds": round(time.monotonic() - began),
    }
    print(json.dumps(line))
    return not good


def _play(task: tuple[str, argparse.Namespace, bool]) -> tuple[tuple[str, bool], Score]:
    name, options, defended = task
    trials = options.tables if name == "tables" else options.trials
    trials = trials if defended else options.off
    score = play(ATTACKS[name], trials=trials, seed=options.seed, defended=defended)
    print(f"{name} {'on' if defended else 'off'}", file=sys.stderr, flush=True)
    return (name, defended), score


def _print(scores: dict[tuple[str, bool], Score]) -> bool:
    """The table; whether every row is as it must be."""
    good = True
    print(f"{'attack':12} {'trials':>7} {'right':>6} {'99 % ≤':>7} {'exposed':>7} {'off':>6}")
    for name in ATTACKS:
        on, off = scores[name, True], scores[name, False]
        fine = on.upper <= LIMIT and not on.exposed and off.accuracy >= FOUND
        good = good and fine
        print(
            f"{name:12} {on.of:7} {on.accuracy:6.3f} {on.upper:7.3f} {on.exposed:7}"
            f" {off.accuracy:6.3f}{'' if fine else '  <'}"
        )
    return good


if __name__ == "__main__":
    sys.exit(main())

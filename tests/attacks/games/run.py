"""The distinguishing games of blind queries, at length.

Several processes run a federation each and play their share of the trials in it. Every game is
judged in every view; it fails where the lower bound of an attacker's advantage exceeds
:data:`LIMIT`, or where a positive control does not exceed :data:`FOUND`. Progress and a table go to
standard error and output; the last line is one JSON object. docs/threats.md says how to read it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pickle
import subprocess
import sys
import tempfile
from functools import reduce
from operator import add
from pathlib import Path

from tests.attacks.games.bounds import LEVEL, Advantage, advantage
from tests.attacks.games.match import Score, match
from tests.attacks.games.views import VIEWS

HERE = "tests.attacks.games.run"
LIMIT = 0.05
"""No view of the product may give more advantage, by its lower bound."""
FOUND = 0.5
"""Every control must give more."""


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog=f"python -m {HERE}", description=__doc__)
    parser.add_argument("--trials", type=int, default=10_200, help="of the product (%(default)s)")
    parser.add_argument("--controls", type=int, default=240, help="of each control (%(default)s)")
    parser.add_argument("--batches", type=int, default=240, help="of two chunks (%(default)s)")
    parser.add_argument("--jobs", type=int, default=(os.cpu_count() or 1) + 1, help="federations")
    parser.add_argument("--seed", type=int, default=1, help="of the coins and halves")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return _work(options)
    score = _all(options)
    bounds = {key: advantage(v.right, v.of) for key, v in score.product.items()}
    controls = {name: advantage(v.right, v.of) for name, v in score.controls.items()}
    _print(score, bounds, controls)
    leaks = [key for key, found in bounds.items() if found.lower > LIMIT]
    silent = [name for name, found in controls.items() if found.measured <= FOUND]
    games = sorted({game for _, game in bounds})
    line = {
        "schema": 1,
        "attacks": "failed" if leaks or silent or not bounds else "ok",
        "trials": score.trials,
        "advantage_upper": {
            view: {game: _up(bounds[view, game].upper) for game in games} for view in VIEWS
        },
        "controls": {name: round(found.measured, 3) for name, found in controls.items()},
    }
    print(json.dumps(line))
    return line["attacks"] != "ok"


def _up(value: float) -> float:
    """Rounded to three places, never downwards."""
    return -(-value * 1000 // 1) / 1000


def _all(options: argparse.Namespace) -> Score:
    """Every process's score, together.

    :raises RuntimeError: a process failed; what it said went to standard error.
    """
    with tempfile.TemporaryDirectory(prefix="fairlead-games-") as scratch:
        started = []
        for number in range(options.jobs):
            folder = Path(scratch) / str(number)
            folder.mkdir()
            share = {name: getattr(options, name) for name in ("trials", "controls", "batches")}
            command = [sys.executable, "-m", HERE, "--worker", str(folder)]
            for name, whole in share.items():
                command += [f"--{name}", str(-(-whole // options.jobs))]
            command += ["--seed", str(options.seed * 1000 + number)]
            said = (folder / "said.txt").open("wb")
            started.append((subprocess.Popen(command, stderr=said, stdout=said), folder))
            said.close()
        print(f"games: {options.trials} trials in {options.jobs} federations", file=sys.stderr)
        try:
            for process, folder in started:
                if process.wait():
                    print((folder / "said.txt").read_text()[-3000:], file=sys.stderr)
                    raise RuntimeError("a federation of the games failed")
        finally:
            for process, _ in started:
                process.kill()
                process.wait()
        scores = [
            # Written by the processes started above.
            pickle.loads((folder / "score").read_bytes())  # noqa: S301
            for _, folder in started
        ]
    return reduce(add, scores)


def _work(options: argparse.Namespace) -> int:
    """Play one federation's share."""
    folder: Path = options.worker
    score = asyncio.run(
        match(
            folder / "federation",
            trials=options.trials,
            control_trials=options.controls,
            batches=options.batches,
            seed=options.seed,
        )
    )
    (folder / "score").write_bytes(pickle.dumps(score))
    return 0


def _print(
    score: Score,
    bounds: dict[tuple[str, str], Advantage],
    controls: dict[str, Advantage],
) -> None:
    print(f"{'view':8} {'game':8} {'right':>6} {'of':>6} {'advantage':>9} {LEVEL:.1%} interval")
    for (view, game), found in sorted(bounds.items()):
        verdict = score.product[view, game]
        print(
            f"{view:8} {game:8} {verdict.right:6} {verdict.of:6} {found.measured:9.3f} "
            f"{found.lower:.3f} to {found.upper:.3f}  {verdict.by}"
        )
    for name, found in controls.items():
        verdict = score.controls[name]
        print(
            f"control  {name:18} {verdict.right} of {verdict.of}, advantage {found.measured:.3f}, "
            f"{found.lower:.3f} to {found.upper:.3f}  {verdict.by}"
        )


if __name__ == "__main__":
    sys.exit(main())

"""How well the statistical attacks of ``tests/attacks/statistics`` guess one record's presence.

They are played in processes of their own; whether each bound holds at 99 % and each attack works
without its defence is what ``make attacks`` demands of them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

LIMITS = {"presence_accuracy": 0.60, "lp_exposed": 0.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Trials of each attack, with its defence and without."""

    trials: int
    off: int


FULL = Scale(trials=2_000, off=50)
QUICK = Scale(trials=2, off=1)


def measure(scale: Scale, say: Callable[[str], None]) -> dict[str, Any]:
    """The best guesser's accuracy, and withheld cells that programmes bound too closely."""
    say(f"every statistical attack, {scale.trials} times and more")
    played = subprocess.run(
        [
            sys.executable, "-m", "tests.attacks.statistics.run",
            "--trials", str(scale.trials), "--off", str(scale.off),
        ],
        stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    last = json.loads(played.stdout.splitlines()[-1])
    return {name: last[name] for name in LIMITS}

"""Many analysts at once: are all answered, and what memory does the gateway take?"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from bench.federation import CROWD_ASKERS
from bench.processes import Child
from bench.rounds import FULL, Bench, Plan

EVERY_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """Memory in MiB: of the gateway that served nobody yet, and the most while all asked."""

    analysts: int
    idle_mb: float
    rss_mb: float
    answered: int
    errors: int
    reasons: dict[str, int]


class _Scale(threading.Thread):
    """Weighs a process again and again."""

    def __init__(self, child: Child) -> None:
        super().__init__(daemon=True)
        self._child = child
        self._ended = threading.Event()
        self.most_mb = child.rss_mb()

    def run(self) -> None:
        while not self._ended.wait(EVERY_S):
            self.most_mb = max(self.most_mb, self._child.rss_mb())

    def stop(self) -> float:
        self._ended.set()
        self.join()
        return self.most_mb


def measure(bench: Bench, plan: Plan, *, idle_mb: float, rate: float) -> Crowd:
    """Let everybody ask for a while: as many queries under way as there are analysts.

    :param rate: queries/s of the fastest run so far, so that enough are prepared.
    """
    bench.prepare(plan.owners[0], rate * plan.crowd_seconds * 1.5 + plan.crowd, askers=CROWD_ASKERS)
    scale = _Scale(bench.arms[FULL])
    scale.start()
    result = bench.run(FULL, plan.crowd_seconds, plan.crowd)
    return Crowd(
        analysts=plan.crowd,
        idle_mb=idle_mb,
        rss_mb=scale.stop(),
        answered=result.answered,
        errors=result.failed,
        reasons=result.reasons,
    )

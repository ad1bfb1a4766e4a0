"""The rounds: the same load to the plain arm and to the full arm, in turns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.federation import CROWD_ANALYSTS, CROWD_ASKERS, TICK_MS
from bench.processes import Child

PLAIN, FULL = "plain", "full"
ARMS = (PLAIN, FULL)
OFF, ON = "tick_off", "tick_on"
WARM_UP_S = 0.5
HEADROOM = 1.3
"""Queries prepared beyond what the fastest run so far would use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much to measure. Times in seconds of one run of one arm."""

    owners: tuple[int, ...]
    rounds: int
    seconds: float
    in_flight: int = 32
    crowd: int = CROWD_ASKERS * CROWD_ANALYSTS
    crowd_seconds: float = 6.0
    stall_owners: int = 8
    stall_seconds: float = 8.0
    light_seconds: float = 0.7
    tick_seconds: float = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of one arm; ``rate`` in queries/s, ``cpu_s`` of that arm's own process."""

    rate: float
    answered: int
    failed: int
    reasons: dict[str, int]
    latencies_ms: list[float]
    cpu_s: float


@dataclass(slots=True)
class Figures:
    """What the runs of one arm with one number of owners gave, one entry a round."""

    rates: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    loaded_ms: list[float] = field(default_factory=list)
    light_ms: dict[str, list[float]] = field(default_factory=lambda: {OFF: [], ON: []})
    failed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def note_failures(self, run: Run) -> None:
        """Queries to which an answer is missing, and why."""
        self.failed += run.failed
        self.reasons.update(run.reasons)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Everything that runs: the load, the owners, and the process of each arm."""

    load: Child
    owners: Sequence[Child]
    arms: dict[str, Child]

    def tick(self, seconds: float) -> None:
        """Set the owners' release tick."""
        for child in self.owners:
            child.tell(f"tick {seconds}")

    def stall(self, owner: str) -> None:
        """Let one owner accept calls and never answer; an empty name lets all answer again."""
        for child in self.owners:
            child.tell(f"stall {owner}")

    def run(self, arm: str, seconds: float, in_flight: int) -> Run:
        """Send the prepared queries through one arm."""
        before = self.arms[arm].cpu_s()
        result = self.load.order(do="run", target=arm, seconds=seconds, in_flight=in_flight)
        return Run(**result, cpu_s=self.arms[arm].cpu_s() - before)

    def prepare(self, owners: int, count: float, *, askers: int = 0) -> None:
        """Sign that many new queries, of one asker or of so many."""
        self.load.order(do="prepare", owners=owners, count=int(count) + 64, askers=askers)


def measure(bench: Bench, plan: Plan, say: Callable[[str], None]) -> dict[int, dict[str, Figures]]:
    """All rounds; for each number of owners, the figures of each arm."""
    figures = {n: {arm: Figures() for arm in ARMS} for n in plan.owners}
    fastest = {n: warm_up(bench, n, plan) for n in plan.owners}
    for number in range(1, plan.rounds + 1):
        for n in plan.owners:
            _loaded(bench, plan, n, figures[n], fastest)
            _light(bench, plan, n, figures[n])
            last = {arm: figures[n][arm].rates[-1] for arm in ARMS}
            ratio = last[FULL] / last[PLAIN]
            troubles = figures[n][PLAIN].reasons + figures[n][FULL].reasons
            say(
                f"round {number}/{plan.rounds}, {n:2d} owners: plain {last[PLAIN]:.0f}/s, "
                f"full {last[FULL]:.0f}/s, ratio {ratio:.2f}"
                + "".join(f", {reason} {count}x" for reason, count in troubles.items())
            )
    return figures


def warm_up(bench: Bench, owners: int, plan: Plan) -> float:
    """Open connections, check that everything verifies; returns the plain arm's rate.

    :raises ChildFailed: an answer is missing or does not verify.
    """
    bench.prepare(owners, 2000 * WARM_UP_S)
    for arm in ARMS:
        found = bench.load.order(do="check", target=arm)
        assert found == {"answers": owners, "closed": arm == FULL}, "an arm answers wrongly"
    return max(bench.run(arm, WARM_UP_S, plan.in_flight).rate for arm in ARMS)


def _loaded(
    bench: Bench, plan: Plan, owners: int, figures: dict[str, Figures], fastest: dict[int, float]
) -> None:
    bench.prepare(owners, fastest[owners] * plan.seconds * HEADROOM)
    for arm in ARMS:
        result = bench.run(arm, plan.seconds, plan.in_flight)
        own = figures[arm]
        own.rates.append(result.rate)
        own.cpu_ms.append(1000 * result.cpu_s / max(result.answered, 1))
        own.busy.append(own.rates[-1] * own.cpu_ms[-1] / 1000)
        own.loaded_ms.extend(result.latencies_ms)
        own.note_failures(result)
        fastest[owners] = max(fastest[owners], own.rates[-1])


def _light(bench: Bench, plan: Plan, owners: int, figures: dict[str, Figures]) -> None:
    """One query at a time, with the owners' tick off and on."""
    for tick, seconds in ((OFF, plan.light_seconds), (ON, plan.tick_seconds)):
        bench.tick(TICK_MS / 1000 if tick == ON else 0)
        bench.prepare(owners, 400 * seconds)
        for arm in ARMS:
            result = bench.run(arm, seconds, 1)
            figures[arm].light_ms[tick].extend(result.latencies_ms)
            figures[arm].note_failures(result)
    bench.tick(0)


def ratio(figures: dict[str, Figures], what: Callable[[Figures], list[float]]) -> float:
    """Median of the full arm over median of the plain arm."""
    return median(what(figures[FULL])) / median(what(figures[PLAIN]))


def percentile(values: Sequence[float], percent: int) -> float:
    """Nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def p50_p99(values: Sequence[float]) -> dict[str, float]:
    """Both, in the unit of ``values``."""
    return {"p50": round(percentile(values, 50), 2), "p99": round(percentile(values, 99), 2)}

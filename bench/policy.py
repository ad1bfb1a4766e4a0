"""What a decision costs: in either engine, by the record, and as a share of a query.

``make bench-policy`` (``QUICK=1`` for the small form) prints a table and, as the last line, one
JSON object; progress goes to standard error. docs/benchmarks.md says what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, NoReturn

from bench import share
from bench.decisions import (
    OPA,
    WASM,
    admit,
    engines,
    p50_us,
    questions,
    recorded_by,
    records,
    release,
    replayed,
    route,
)
from fairlead.policy.points import PolicyPoints

PARTNERS, BATCH, OWNERS = 50, 100, 8
AT_MOST = {
    "wasm: admission + routing, us": 1000.0,
    "opa: admission + routing, us": 6000.0,
    "wasm: a record, us": 20.0,
    "share of a query": 0.15,
}
AT_LEAST = {"replayed a second": 10_000 / 60}
"""What ``ok`` demands of a full run; a quick one demands the right decisions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much; ``calls`` of each kind a round through WebAssembly, a third of that through OPA."""

    rounds: int
    calls: int
    replay: int
    query_seconds: float


FULL = Scale(rounds=5, calls=600, replay=4000, query_seconds=3.0)
QUICK = Scale(rounds=1, calls=15, replay=40, query_seconds=0.5)


@dataclass(slots=True)
class Costs:
    """What each round gave, in microseconds."""

    admission: list[float] = field(default_factory=list)
    routing: list[float] = field(default_factory=list)
    record: list[float] = field(default_factory=list)


def main() -> int:
    """Run the benchmark; 1 when a limit was not held."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small; also by QUICK=1")
    parser.add_argument("--rounds", type=int)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _terminated)
    quick = options.quick or os.environ.get("QUICK", "") not in {"", "0"}
    usual = QUICK if quick else FULL
    rounds = options.rounds or usual.rounds
    began = time.perf_counter()
    with TemporaryDirectory(prefix="fairlead-bench-") as folder:
        figures = measure(Path(folder), usual, rounds)
    figures["ok"] = figures["ok"] and (quick or held(figures))
    figures["seconds"] = round(time.perf_counter() - began, 1)
    print(table(figures))
    print(json.dumps(figures))
    return 0 if figures["ok"] else 1


def _terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(143)


def measure(folder: Path, scale: Scale, rounds: int) -> dict[str, Any]:
    """All of it; a decision that is not the right one ends it."""
    with engines() as running:
        costs = {name: Costs() for name in running}
        replay = []
        for number in range(1, rounds + 1):
            for name, points in running.items():
                calls = scale.calls if name == WASM else max(10, scale.calls // 3)
                one_round(points, calls, costs[name])
                say(f"round {number} of {rounds}, {name}: {_progress(costs[name])}")
            kept = recorded_by(running[WASM], scale.replay)
            began = time.perf_counter()
            count = replayed(running[WASM], kept)
            replay.append(count / (time.perf_counter() - began))
    shares = share.measure(
        folder, owners=OWNERS, rounds=rounds, seconds=scale.query_seconds, say=say
    )
    return summary(scale, rounds, costs, replay, shares)


def one_round(points: PolicyPoints, calls: int, costs: Costs) -> None:
    """Each decision so many times, no two questions alike."""
    asked, held = questions(PARTNERS), records(BATCH)
    costs.admission.append(p50_us(lambda q: admit(points, q), asked, calls))
    costs.routing.append(p50_us(lambda q: route(points, q), asked, calls))
    batch = p50_us(lambda q: release(points, q, held), asked, max(5, calls // 5))
    costs.record.append(batch / BATCH)


def _progress(costs: Costs) -> str:
    return (
        f"admission {costs.admission[-1]:.0f} us, routing over {PARTNERS} partners "
        f"{costs.routing[-1]:.0f} us, a record {costs.record[-1]:.1f} us (p50)"
    )


# ── Figures ──────────────────────────────────────────────────────────────────────────────────


def summary(
    scale: Scale, rounds: int, costs: dict[str, Costs], replay: list[float], shares: share.Share
) -> dict[str, Any]:
    """For programs; ``seconds`` is still to be set, and ``ok`` means that all was answered."""

    def of(what: Callable[[Costs], list[float]], digits: int) -> dict[str, float | None]:
        return {
            name: round(median(what(costs[name])), digits) if name in costs else None
            for name in (WASM, OPA)
        }

    return {
        "schema": 1,
        "bench": "policy",
        "ok": shares.failed == 0,
        "scale": {
            "rounds": rounds,
            "calls": scale.calls,
            "partners": PARTNERS,
            "batch": BATCH,
            "owners": OWNERS,
            "cores": os.cpu_count(),
            "query_p50_ms": round(median(shares.query_ms), 2),
            "policy_p50_ms": round(median(shares.policy_ms), 3),
            "failed": shares.failed,
            "skipped": [] if OPA in costs else ["opa: there is none here (make tools)"],
        },
        "admission_us": of(lambda c: c.admission, 1),
        "route50_us": of(lambda c: c.routing, 1),
        "release_us_per_record": of(lambda c: c.record, 2),
        "replay_per_s": round(median(replay)),
        "share_of_query": round(shares.value, 4),
        "seconds": 0.0,
    }


def measured(figures: dict[str, Any]) -> dict[str, float | None]:
    """What is limited, by the limits' names; None was not measured."""

    def both(engine: str) -> float | None:
        parts = (figures["admission_us"][engine], figures["route50_us"][engine])
        return None if None in parts else sum(parts)

    return {
        "wasm: admission + routing, us": both(WASM),
        "opa: admission + routing, us": both(OPA),
        "wasm: a record, us": figures["release_us_per_record"][WASM],
        "share of a query": figures["share_of_query"],
        "replayed a second": figures["replay_per_s"],
    }


def held(figures: dict[str, Any]) -> bool:
    """Whether each figure that was measured keeps its limit."""
    found = {name: value for name, value in measured(figures).items() if value is not None}
    return all(
        value <= AT_MOST[name] if name in AT_MOST else value >= AT_LEAST[name]
        for name, value in found.items()
    )


def table(figures: dict[str, Any]) -> str:
    """For people."""
    lines = [f"{'figure':<32} {'measured':>10} {'limit':>12}"]
    for name, value in measured(figures).items():
        limit = f"<= {AT_MOST[name]:g}" if name in AT_MOST else f">= {AT_LEAST[name]:.0f}"
        shown = "skipped" if value is None else f"{value:.5g}"
        lines.append(f"{name:<32} {shown:>10} {limit:>12}")
    scale = figures["scale"]
    lines.append(
        f"a sealed query to {OWNERS} owners, tick off, p50: {scale['query_p50_ms']} ms, "
        f"of which admission and routing {scale['policy_p50_ms']} ms"
    )
    lines += [f"not in this run: {what}" for what in scale["skipped"]]
    return "\n".join(lines) + "\n"


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

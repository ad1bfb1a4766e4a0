"""The audit log alone: group commit against single commits, audited queries, proofs at a million.

``make bench-audit`` (``QUICK=1`` for the small form) prints a table and, as the last line, one JSON
object; progress goes to standard error. docs/benchmarks.md says what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, NoReturn

from bench import appends, shared
from bench.appends import Load
from bench.federation import Federation
from bench.gateway import start_owners
from bench.processes import Children, wait_until_serving
from bench.rounds import FULL as ARM
from bench.rounds import WARM_UP_S, Bench
from fairlead import merkle

WRITERS, CONCURRENT = 256, (1, 64, 256)
OWNERS, IN_FLIGHT = 8, 32
AT_LEAST = {"group over single": 50.0, "queries/s at 64": 1000.0, "queries/s at 256": 2500.0}
AT_MOST = {"a proof at a million, us": 50.0}
"""What ``ok`` demands of a full run; a quick one demands that all was acknowledged and verifies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much; times in seconds of one run."""

    rounds: int
    seconds: float
    leaves: int
    proofs: int
    gateway_seconds: float
    shared_seconds: float


FULL = Scale(
    rounds=5, seconds=2.0, leaves=1_000_000, proofs=2000, gateway_seconds=3.0, shared_seconds=3.0
)
QUICK = Scale(
    rounds=1, seconds=0.3, leaves=5000, proofs=50, gateway_seconds=0.5, shared_seconds=0.5
)


@dataclass(slots=True)
class Rounds:
    """What each round gave."""

    grouped: list[Load] = field(default_factory=list)
    single: list[Load] = field(default_factory=list)
    queries: dict[int, list[Load]] = field(default_factory=lambda: {n: [] for n in CONCURRENT})
    proof_us: list[float] = field(default_factory=list)


def main() -> int:
    """Run the benchmark; 1 when a limit was not held."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small; also by QUICK=1")
    parser.add_argument("--rounds", type=int)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _terminated)
    quick = options.quick or os.environ.get("QUICK", "") not in {"", "0"}
    scale = QUICK if quick else FULL
    with TemporaryDirectory(prefix="fairlead-bench-") as folder:
        figures = measure(Path(folder), scale, options.rounds or scale.rounds)
    figures["ok"] = quick or held(figures)
    print(table(figures))
    print(json.dumps(figures))
    return 0 if figures["ok"] else 1


def _terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(143)


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


def measure(folder: Path, scale: Scale, rounds: int) -> dict[str, Any]:
    """All of it, what is compared in turns; a leaf that is missing afterwards ends it."""
    found, tree = Rounds(), _tree(scale.leaves)
    for number in range(1, rounds + 1):
        _round(folder, scale, tree, found)
        say(f"round {number} of {rounds}: {_progress(found)}")
    del tree
    gateway_qps = _gateway(folder / "gateway", scale.gateway_seconds)
    say(f"a gateway: {gateway_qps:.0f} queries/s")
    both = shared.two_over_one(rounds, scale.shared_seconds, say)
    return summary(scale, rounds, found, gateway_qps, both)


def _round(folder: Path, scale: Scale, tree: merkle.Tree, found: Rounds) -> None:
    found.single.append(appends.leaves(folder, WRITERS, scale.seconds, grouped=False))
    found.grouped.append(appends.leaves(folder, WRITERS, scale.seconds, grouped=True))
    for concurrent in CONCURRENT:
        found.queries[concurrent].append(appends.queries(folder, concurrent, scale.seconds))
    found.proof_us.append(_proof_us(tree, scale.proofs))


def _tree(leaves: int) -> merkle.Tree:
    """A tree of so many leaves; what they say does not matter."""
    tree = merkle.Tree()
    for number in range(leaves):
        tree.append(merkle.leaf_hash(number.to_bytes(8)))
    return tree


def _proof_us(tree: merkle.Tree, count: int) -> float:
    """Microseconds of one inclusion proof of a leaf anywhere, under the whole tree (median)."""
    taken = []
    for index in random.Random(1).choices(range(tree.size), k=count):
        began = time.perf_counter_ns()
        tree.inclusion(index, tree.size)
        taken.append((time.perf_counter_ns() - began) / 1000)
    return median(taken)


def _gateway(folder: Path, seconds: float) -> float:
    """Queries a second of a gateway as shipped, with owners whose answers are prepared."""
    federation = Federation(folder)
    federation.make(OWNERS)
    with Children(folder) as children:
        config = str(federation.write_gateway_config("gateway"))
        gateway = children.product("gateway", "gateway.cli.main", "serve", "--config", config)
        owners = start_owners(federation, children, OWNERS)
        target = f"{ARM}={federation.directory().gateway.endpoint}"
        load = children.obedient("load", "bench.load", str(folder), target)
        wait_until_serving(gateway)
        bench = Bench(load=load, owners=owners, arms={ARM: gateway})
        bench.tick(0)
        bench.prepare(OWNERS, 2000 * WARM_UP_S)
        rate = bench.run(ARM, WARM_UP_S, IN_FLIGHT).rate
        bench.prepare(OWNERS, 1.5 * max(rate, 100) * seconds)
        result = bench.run(ARM, seconds, IN_FLIGHT)
    if result.failed:
        raise AssertionError(f"the gateway did not answer: {result.reasons}")
    return result.rate


# ── Figures ──────────────────────────────────────────────────────────────────────────────────


def summary(
    scale: Scale, rounds: int, found: Rounds, gateway_qps: float, both: shared.Compared
) -> dict[str, Any]:
    """For programs; ``ok`` is still to be set."""
    ratios = [
        grouped.leaves_per_s / single.leaves_per_s
        for grouped, single in zip(found.grouped, found.single, strict=True)
    ]
    return {
        "schema": 1,
        "bench": "audit",
        "ok": False,
        "scale": _scale(scale, rounds, found, both),
        "group_over_single": round(median(ratios), 1),
        "log_qps": {
            str(n): round(median(load.queries_per_s for load in loads))
            for n, loads in found.queries.items()
        },
        "gateway_qps": round(gateway_qps, 1),
        "append_us": round(
            median(1e6 * load.cpu_s / load.leaves for load in found.grouped), 1
        ),
        "proof_us_1m": round(median(found.proof_us), 1),
        "pg_two_over_one": both.ratio,
    }  # fmt: skip


def _scale(scale: Scale, rounds: int, found: Rounds, both: shared.Compared) -> dict[str, Any]:
    """How much was measured, and what the figures rest on."""
    return {
        "rounds": rounds,
        "seconds_a_run": scale.seconds,
        "writers": WRITERS,
        "flush_ms": appends.FLUSH_S * 1000,
        "fanout_ms": appends.FANOUT_S * 1000,
        "disk_ms": round(median(load.disk_ms for load in found.single), 3),
        "leaves_per_s": {"grouped": _rate(found.grouped, 0), "single": _rate(found.single, 0)},
        "tree": scale.leaves,
        "owners": OWNERS,
        "in_flight": IN_FLIGHT,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "pg_leaves_per_s": both.leaves_per_s,
        "skipped": both.skipped,
    }


def _rate(loads: Iterable[Load], digits: int) -> float:
    return round(median(load.leaves_per_s for load in loads), digits)


def _progress(found: Rounds) -> str:
    grouped, single = found.grouped[-1], found.single[-1]
    rates = ", ".join(f"{n}: {loads[-1].queries_per_s:.0f}" for n, loads in found.queries.items())
    return (
        f"{grouped.leaves_per_s:.0f} leaves/s grouped, {single.leaves_per_s:.0f} single, "
        f"queries/s at {rates}, a proof {found.proof_us[-1]:.1f} us"
    )


def measured(figures: dict[str, Any]) -> dict[str, float]:
    """What is limited, by the limits' names."""
    return {
        "group over single": figures["group_over_single"],
        "queries/s at 64": figures["log_qps"]["64"],
        "queries/s at 256": figures["log_qps"]["256"],
        "a proof at a million, us": figures["proof_us_1m"],
    }


def held(figures: dict[str, Any]) -> bool:
    """Whether each limit is kept."""
    return all(
        value <= AT_MOST[name] if name in AT_MOST else value >= AT_LEAST[name]
        for name, value in measured(figures).items()
    )


def table(figures: dict[str, Any]) -> str:
    """For people."""
    lines = [f"{'figure':<28} {'measured':>10} {'limit':>10}"]
    for name, value in measured(figures).items():
        limit = f"<= {AT_MOST[name]:g}" if name in AT_MOST else f">= {AT_LEAST[name]:g}"
        lines.append(f"{name:<28} {value:>10g} {limit:>10}")
    rates = figures["scale"]["leaves_per_s"]
    two = figures["pg_two_over_one"]
    for name, value in {
        "queries/s, one at a time": figures["log_qps"]["1"],
        "leaves/s, grouped": rates["grouped"],
        "leaves/s, single": rates["single"],
        "CPU of an append, us": figures["append_us"],
        "a gateway's queries/s": figures["gateway_qps"],
        "PostgreSQL, two over one": "skipped" if two is None else two,
    }.items():
        lines.append(f"{name:<28} {value:>10}")
    scale = figures["scale"]
    lines.append(
        f"a flush takes {scale['flush_ms']:g} ms at least; the disk's own commits took "
        f"{scale['disk_ms']} ms; load average {scale['load']}"
    )
    lines += [f"not in this run: {what}" for what in scale["skipped"]]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())

"""The share that policy has in a sealed query: timed inside the gateway as shipped."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench import timed
from bench.federation import Federation
from bench.gateway import start_owners
from bench.processes import Children, wait_until_serving
from bench.rounds import FULL, WARM_UP_S, Bench

QUERIES_PER_S = 400
"""Prepared for each second; one at a time, no more are asked."""


@dataclass(slots=True)
class Share:
    """By round: milliseconds of a query as its asker sees it, and of its decisions, p50 both."""

    query_ms: list[float] = field(default_factory=list)
    policy_ms: list[float] = field(default_factory=list)
    failed: int = 0

    @property
    def value(self) -> float:
        """Policy over query: the median of the rounds."""
        return median(p / q for p, q in zip(self.policy_ms, self.query_ms, strict=True))


def measure(
    folder: Path, *, owners: int, rounds: int, seconds: float, say: Callable[[str], None]
) -> Share:
    """One query at a time to so many owners, the tick off; what they answer is prepared."""
    federation, found, times = Federation(folder), Share(), folder / "times.json"
    federation.make(owners)
    for number in range(rounds):
        with Children(folder) as children:
            bench = _start(federation, children, owners, times)
            bench.tick(0)
            bench.prepare(owners, QUERIES_PER_S * WARM_UP_S)
            bench.run(FULL, WARM_UP_S, 1)
            bench.prepare(owners, QUERIES_PER_S * seconds)
            bench.arms[FULL].signal(timed.START)
            result = bench.run(FULL, seconds, 1)
            bench.arms[FULL].signal(timed.STOP)
        taken = json.loads(times.read_text())
        pairs = zip(*(taken[name] for name in timed.TIMED), strict=False)
        found.policy_ms.append(median(map(sum, pairs)) / 1e6)
        found.query_ms.append(median(result.latencies_ms))
        found.failed += result.failed
        say(
            f"round {number + 1} of {rounds}: a query {found.query_ms[-1]:.2f} ms, "
            f"its decisions {found.policy_ms[-1]:.3f} ms (p50)"
        )
    return found


def _start(federation: Federation, children: Children, owners: int, times: Path) -> Bench:
    """The gateway, the owners, and one asker."""
    config = str(federation.write_gateway_config(f"gateway-{len(list(times.parent.iterdir()))}"))
    gateway = children.product("gateway", "bench.timed", str(times), config)
    serving = start_owners(federation, children, owners)
    target = f"{FULL}={federation.directory().gateway.endpoint}"
    load = children.obedient("load", "bench.load", str(federation.folder), target)
    wait_until_serving(gateway)
    return Bench(load=load, owners=serving, arms={FULL: gateway})

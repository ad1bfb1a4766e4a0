"""The gateway benchmark's table and its last line."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.crowd import Crowd
from bench.federation import TICK_MS
from bench.owner import BODY_OCTETS
from bench.rounds import ARMS, FULL, OFF, ON, PLAIN, Figures, Plan, p50_p99, ratio
from bench.stalled import Stall
from bench.walk import Walked

Found = dict[int, dict[str, Figures]]

_HEAD = ("owners", "arm", "queries/s", "CPU ms/query", "cores", "loaded p50/p99 ms",
         "alone, tick off", "alone, tick on")  # fmt: skip
_START = "{:>6} {:>6} {:>10} {:>13}"
_ROW = _START + " {:>6} {:>18} {:>16} {:>16}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Everything one run of the benchmark found."""

    figures: Found
    walked: Sequence[Walked]
    crowd: Crowd
    stall: Stall


def table(measured: Measured) -> str:
    """For people."""
    figures, many, stall = measured.figures, measured.crowd, measured.stall
    lines = [_ROW.format(*_HEAD)]
    for owners, arms in figures.items():
        lines += [_ROW.format(owners, arm, *_cells(arms[arm])) for arm in ARMS]
        each = [f / p for p, f in zip(arms[PLAIN].rates, arms[FULL].rates, strict=True)]
        whole, cpu = f"{ratio(arms, _rates):.2f}", f"{ratio(arms, _cpu):.2f}"
        spread = f"  queries/s by round: {min(each):.2f} to {max(each):.2f}"
        lines.append(_START.format(owners, "ratio", whole, cpu) + spread)
    lines.append(f"\nend to end, a user's client to real owners and back, tick {TICK_MS} ms")
    for result in measured.walked:
        times = "p50 {p50} ms, p99 {p99} ms".format(**p50_p99(result.latencies_ms))
        lines.append(
            f"{result.owners:>6} owners, {result.in_flight} in flight: "
            f"{result.queries_per_s:.1f} queries/s, {times}"
        )
    lines.append(
        f"\nthe gateway's memory: {many.idle_mb:.0f} MiB idle, {many.rss_mb:.0f} MiB with "
        f"{many.analysts} analysts asking at once "
        f"({many.answered} queries answered, {many.errors} not)"
    )
    lines.append(
        f"one of {stall.owners} owners stalls: {stall.complete} of {stall.queries} queries "
        f"complete, the others' answers at {stall.ratio:.2f} of their time (p50)"
    )
    return "\n".join(lines) + "\n"


def _cells(own: Figures) -> list[str]:
    percentiles = (p50_p99(v) for v in (own.loaded_ms, own.light_ms[OFF], own.light_ms[ON]))
    return [
        f"{median(own.rates):.0f}",
        f"{median(own.cpu_ms):.2f}",
        f"{median(own.busy):.2f}",
        *("{p50:.1f} / {p99:.1f}".format(**found) for found in percentiles),
    ]


def _rates(figures: Figures) -> list[float]:
    return figures.rates


def _cpu(figures: Figures) -> list[float]:
    return figures.cpu_ms


def summary(plan: Plan, measured: Measured, records: int) -> dict[str, object]:
    """For programs; ``seconds`` is still to be added."""
    figures, walked = measured.figures, measured.walked
    many, stall = measured.crowd, measured.stall
    every = [own for arms in figures.values() for own in arms.values()]
    failed = sum(own.failed for own in every) + sum(result.failed for result in walked)
    return {
        "schema": 1,
        "bench": "gateway",
        "ok": failed == 0 and many.errors == 0 and stall.complete == stall.queries,
        "rounds": plan.rounds,
        "scale": {
            "owners": list(plan.owners),
            "in_flight": plan.in_flight,
            "analysts": plan.crowd,
            "seconds_a_run": plan.seconds,
            "answer_octets": BODY_OCTETS,
            "records_an_owner": records,
            "cores": os.cpu_count(),
        },
        "ratio": {str(n): round(ratio(arms, _rates), 3) for n, arms in figures.items()},
        "cpu_ratio": {str(n): round(ratio(arms, _cpu), 3) for n, arms in figures.items()},
        "queries_per_s": _medians(figures, _rates, 1),
        "cpu_ms_per_query": _medians(figures, _cpu, 3),
        "cores_used": _medians(figures, lambda own: own.busy, 2),
        "latency_ms": {
            str(n): {arm: _latencies(own) for arm, own in arms.items()}
            for n, arms in figures.items()
        },
        "end_to_end": {str(result.owners): _walks(walked, result.owners) for result in walked},
        "idle_mb": round(many.idle_mb, 1),
        "rss_256_mb": round(many.rss_mb, 1),
        "errors_256": many.errors,
        "errors_256_for": many.reasons,
        "stalled": {
            "owners": stall.owners,
            "queries": stall.queries,
            "complete": stall.complete,
            "others_p50_ratio": round(stall.ratio, 3),
            "others_failed": stall.others_failed,
            "stalled_owner": dict(stall.apart),
        },
        "failed": failed,
        "failed_for": dict(sum((own.reasons for own in every), Counter[str]())),
    }


def _medians(
    figures: Found, what: Callable[[Figures], list[float]], digits: int
) -> dict[str, dict[str, float]]:
    return {
        str(n): {arm: round(median(what(own)), digits) for arm, own in arms.items()}
        for n, arms in figures.items()
    }


def _latencies(own: Figures) -> dict[str, dict[str, float]]:
    return {
        "loaded": p50_p99(own.loaded_ms),
        OFF: p50_p99(own.light_ms[OFF]),
        ON: p50_p99(own.light_ms[ON]),
    }


def _walks(walked: Sequence[Walked], owners: int) -> dict[str, object]:
    found: dict[str, object] = {"tick_ms": TICK_MS}
    for result in walked:
        if result.owners == owners:
            found[f"in_flight_{result.in_flight}"] = {
                "queries_per_s": round(result.queries_per_s, 1),
                "latency_ms": p50_p99(result.latencies_ms),
            }
    return found

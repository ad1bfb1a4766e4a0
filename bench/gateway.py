"""``make bench-gateway``: the gateway as shipped against a bare relay, on this machine, now.

Both arms fan the same prepared queries out to the same owners over the same mTLS; the owners
return the same signed answers of the agreed size. Compare ratios: absolute figures belong to
the machine and to what else it was doing.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from types import FrameType
from typing import NoReturn

from bench import sampler, walk
from bench.federation import TICK_MS, Federation, free_ports
from bench.owner import BODY_OCTETS
from bench.processes import Child, Children, wait_until_serving
from bench.rounds import ARMS, FULL, OFF, ON, PLAIN, Bench, Figures, Plan, measure, p50_p99, ratio

OWNERS = (3, 8, 32)


def main() -> int:
    """Entry point of ``python -m bench.gateway``."""
    parser = argparse.ArgumentParser(prog="python -m bench.gateway", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of each arm (%(default)s)")
    parser.add_argument("--seconds", type=float, default=2.5, help="of one run (%(default)s)")
    parser.add_argument("--in-flight", type=int, default=32, help="queries at once (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="3 owners, one short round")
    parser.add_argument("--profile", action="store_true", help="where the gateway's time goes")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _terminated)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fairlead-bench-") as name:
        federation = Federation(Path(name))
        if options.profile:
            summary = _profile(federation, options)
        else:
            summary = _compare(federation, options)
    summary["seconds"] = round(time.monotonic() - started, 1)
    print(json.dumps(summary))
    return 0 if summary["ok"] else 1


def _terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(143)


def say(text: str) -> None:
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


# ── The comparison ───────────────────────────────────────────────────────────────────────────


def _plan(options: argparse.Namespace) -> Plan:
    if options.quick:
        return Plan(
            owners=OWNERS[:1],
            rounds=1,
            seconds=0.5,
            in_flight=options.in_flight,
            light_seconds=0.3,
            tick_seconds=0.4,
        )
    return Plan(
        owners=OWNERS, rounds=options.rounds, seconds=options.seconds, in_flight=options.in_flight
    )


def _compare(federation: Federation, options: argparse.Namespace) -> dict[str, object]:
    plan = _plan(options)
    end_owners, records = (OWNERS[:1], 200) if options.quick else (walk.OWNERS, walk.RECORDS)
    with Children(federation.folder) as children:
        say("making keys, directory and policy")
        federation.make(max(*plan.owners, *end_owners))
        bench = start(federation, children, max(plan.owners), traced=None)
        figures = measure(bench, plan, say)
        children.stop(bench.load, *bench.arms.values(), *bench.owners)
        say(f"end to end: real nodes, {records} records each")
        found = walk.measure(
            federation,
            children,
            owners=end_owners,
            seconds=1.0 if options.quick else 3.0,
            records=records,
            say=say,
        )
    _print_table(figures, found)
    return _summary(plan, figures, found, records)


def start(federation: Federation, children: Children, owners: int, *, traced: Path | None) -> Bench:
    """Start owners, both arms and the load.

    :param traced: run the gateway under the sampler, which writes its samples there.
    """
    config = str(federation.write_gateway_config("gateway"))
    folder = str(federation.folder)
    if traced is None:
        gateway = children.product("gateway", "gateway.cli.main", "serve", "--config", config)
    else:
        gateway = children.product("gateway", "bench.sampler", str(traced), config)
    relay_at = f"127.0.0.1:{free_ports(1)[0]}"
    relay = children.obedient("relay", "bench.relay", folder, relay_at)
    serving = _start_owners(federation, children, owners)
    targets = [f"{PLAIN}={relay_at}", f"{FULL}={federation.directory().gateway.endpoint}"]
    load = children.obedient("load", "bench.load", folder, *targets)
    wait_until_serving(gateway)
    return Bench(load=load, owners=serving, arms={PLAIN: relay, FULL: gateway})


def _start_owners(federation: Federation, children: Children, owners: int) -> list[Child]:
    """As many processes as there are cores share the owners."""
    names, share = federation.owners(owners), os.cpu_count() or 2
    return [
        children.obedient(
            f"owners-{place}", "bench.owner", str(federation.folder), *names[place::share]
        )
        for place in range(min(share, owners))
    ]


# ── The figures ──────────────────────────────────────────────────────────────────────────────


def _print_table(
    figures: dict[int, dict[str, Figures]], found: dict[str, dict[str, object]]
) -> None:
    print(f"{'owners':>6} {'arm':>6} {'queries/s':>10} {'CPU ms/query':>13} {'cores':>6} "
          f"{'p50/p99 ms, loaded':>20} {'alone, tick off':>17} {'alone, tick on':>17}")  # fmt: skip
    for owners, arms in figures.items():
        for arm in ARMS:
            own = arms[arm]
            cells = [
                "{p50:.1f} / {p99:.1f}".format(**p50_p99(values))
                for values in (own.loaded_ms, own.light_ms[OFF], own.light_ms[ON])
            ]
            print(f"{owners:>6} {arm:>6} {median(own.rates):>10.0f} {median(own.cpu_ms):>13.2f} "
                  f"{median(own.busy):>6.2f} {cells[0]:>20} {cells[1]:>17} {cells[2]:>17}")  # fmt: skip
        each = [f / p for p, f in zip(arms[PLAIN].rates, arms[FULL].rates, strict=True)]
        print(f"{owners:>6}  ratio {ratio(arms, _rates):>10.2f} {ratio(arms, _cpu):>13.2f}"
              f"   queries/s by round: {min(each):.2f} to {max(each):.2f}")  # fmt: skip
    print(f"\nend to end, a user's client to real owners and back, tick {TICK_MS} ms")
    for owners_asked, result in found.items():
        for load, value in result.items():
            if isinstance(value, dict):
                print(f"{owners_asked:>6} owners, {load}: {value['queries_per_s']} queries/s, "
                      "p50 {p50} ms, p99 {p99} ms".format(**value["latency_ms"]))  # fmt: skip
    print()


def _rates(figures: Figures) -> list[float]:
    return figures.rates


def _cpu(figures: Figures) -> list[float]:
    return figures.cpu_ms


def _summary(
    plan: Plan,
    figures: dict[int, dict[str, Figures]],
    found: dict[str, dict[str, object]],
    records: int,
) -> dict[str, object]:
    failed = sum(own.failed for arms in figures.values() for own in arms.values())
    failed += sum(
        int(value["failed"])
        for result in found.values()
        for value in result.values()
        if isinstance(value, dict)
    )
    return {
        "schema": 1,
        "bench": "gateway",
        "ok": failed == 0,
        "rounds": plan.rounds,
        "scale": {
            "owners": list(plan.owners),
            "in_flight": plan.in_flight,
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
            str(n): {
                arm: {
                    "loaded": p50_p99(own.loaded_ms),
                    OFF: p50_p99(own.light_ms[OFF]),
                    ON: p50_p99(own.light_ms[ON]),
                }
                for arm, own in arms.items()
            }
            for n, arms in figures.items()
        },
        "end_to_end": found,
        "failed": failed,
    }


def _medians(figures, what, digits):  # type: ignore[no-untyped-def]
    return {
        str(n): {arm: round(median(what(own)), digits) for arm, own in arms.items()}
        for n, arms in figures.items()
    }


# ── The profile ──────────────────────────────────────────────────────────────────────────────


def _profile(federation: Federation, options: argparse.Namespace) -> dict[str, object]:
    shares: dict[str, dict[str, float]] = {}
    with Children(federation.folder) as children:
        say("making keys, directory and policy")
        federation.make(max(OWNERS))
        for n in OWNERS[:1] if options.quick else OWNERS:
            samples = federation.folder / f"samples-{n}.json"
            bench = start(federation, children, n, traced=samples)
            say(f"{n} owners: sampling")
            bench.prepare(n, 1500 * options.seconds)
            bench.run(FULL, 0.5, options.in_flight)
            bench.prepare(n, 1500 * options.seconds)
            bench.arms[FULL].signal(sampler.START)
            result = bench.run(FULL, options.seconds, options.in_flight)
            bench.arms[FULL].signal(sampler.STOP)
            children.stop(bench.load, bench.arms[FULL], bench.arms[PLAIN], *bench.owners)
            found = sampler.read(samples, queries=int(result["answered"]))  # type: ignore[arg-type]
            print(found.table(f"{n} owners"))
            shares[str(n)] = found.shares()
    return {"schema": 1, "bench": "gateway-profile", "ok": True, "shares": shares}


if __name__ == "__main__":
    sys.exit(main())

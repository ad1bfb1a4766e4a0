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
from types import FrameType
from typing import NoReturn

from bench import crowd, report, sampler, stalled, walk
from bench.federation import CROWD_ASKERS, Federation, free_ports
from bench.processes import Child, Children, wait_until_serving
from bench.rounds import FULL, PLAIN, Bench, Plan, measure

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
            crowd=64,
            crowd_seconds=1.0,
            stall_owners=OWNERS[0],
            stall_seconds=3.0,
        )
    return Plan(
        owners=OWNERS, rounds=options.rounds, seconds=options.seconds, in_flight=options.in_flight
    )


def _compare(federation: Federation, options: argparse.Namespace) -> dict[str, object]:
    plan = _plan(options)
    end_owners, records = (OWNERS[:1], 200) if options.quick else (walk.OWNERS, walk.RECORDS)
    with Children(federation.folder) as children:
        say("making keys, directory and policy")
        federation.make(max(*plan.owners, *end_owners), askers=CROWD_ASKERS)
        bench = start(federation, children, max(plan.owners), traced=None)
        idle_mb = bench.arms[FULL].rss_mb()
        figures = measure(bench, plan, say)
        rate = max(max(own.rates) for own in (arms[FULL] for arms in figures.values()))
        say(f"{plan.crowd} analysts at once")
        many = crowd.measure(bench, plan, idle_mb=idle_mb, rate=rate)
        stall = stalled.measure(bench, federation, plan, rate=rate, say=say)
        children.stop(bench.load, *bench.arms.values(), *bench.owners)
        say(f"end to end: real nodes, {records} records each")
        found = walk.measure(
            federation,
            children,
            owners=end_owners,
            seconds=1.0 if options.quick else 3.0,
            records=records,
        )
    measured = report.Measured(figures=figures, walked=found, crowd=many, stall=stall)
    print(report.table(measured))
    return report.summary(plan, measured, records)


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
    serving = start_owners(federation, children, owners)
    targets = [f"{PLAIN}={relay_at}", f"{FULL}={federation.directory().gateway.endpoint}"]
    load = children.obedient("load", "bench.load", folder, *targets)
    wait_until_serving(gateway)
    return Bench(load=load, owners=serving, arms={PLAIN: relay, FULL: gateway})


def start_owners(federation: Federation, children: Children, owners: int) -> list[Child]:
    """As many processes as there are cores share the owners."""
    names, share = federation.owners(owners), os.cpu_count() or 2
    return [
        children.obedient(
            f"owners-{place}", "bench.owner", str(federation.folder), *names[place::share]
        )
        for place in range(min(share, owners))
    ]


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
            seconds = options.seconds * (1 if options.quick else 2)
            bench.prepare(n, 1000)
            bench.run(FULL, 0.5, options.in_flight)
            bench.prepare(n, 1000 * seconds)
            bench.arms[FULL].signal(sampler.START)
            result = bench.run(FULL, seconds, options.in_flight)
            bench.arms[FULL].signal(sampler.STOP)
            children.stop(bench.load, bench.arms[FULL], bench.arms[PLAIN], *bench.owners)
            found = sampler.read(samples, queries=result.answered)
            print(found.table(f"{n} owners"))
            shares[str(n)] = found.shares()
    return {"schema": 1, "bench": "gateway-profile", "ok": True, "shares": shares}


if __name__ == "__main__":
    sys.exit(main())

"""The owner's index: how fast it is built, how large it is, how fast it answers meanwhile.

``make bench-node`` (``ARGS="--rows 10000000"``) prints a table and, as the last line, one JSON
object; progress goes to standard error. docs/benchmarks.md says what is compared with what.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, NoReturn

from bench.federation import Federation
from bench.processes import Child, ChildFailed, Children
from bench.rounds import p50_p99
from bench.rows import terms
from fairlead.config import NodeConfig, load
from node.index import Index
from node.indexing import INDEX_FILE, index_keys

ROWS = 10_000_000
MOVING_SHARE = 50
"""One row of so many is replaced again and again while lookups are measured."""
BATCH = 512
LOOKUP_S = 15.0
BATCH_S = 5.0
STARTS = 3
START_S = 60.0
LIMITS = {"rss_mb": 1024.0, "lookup_us_p99": 1000.0, "start_s": 3.0}


@dataclass(slots=True, kw_only=True)
class Lookups:
    """Single lookups, every second one a hit, while another process refreshes."""

    micros: list[float]
    cpu_micros: list[float]
    hits: int


def main() -> int:
    """Run the benchmark; 1 when a limit was not held."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=ROWS, help="records of the index")
    parser.add_argument("--seconds", type=float, default=LOOKUP_S, help="of measured lookups")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _terminated)
    began = time.perf_counter()
    with TemporaryDirectory(prefix="fairlead-bench-") as folder:
        figures = measure(Path(folder), options.rows, options.seconds)
    figures["seconds"] = round(time.perf_counter() - began, 1)
    print(table(figures))
    print(json.dumps(figures))
    return 0 if figures["ok"] else 1


def _terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(143)


def measure(folder: Path, rows: int, seconds: float) -> dict[str, Any]:
    """Everything, in order."""
    federation = Federation(folder)
    federation.make(1)
    (owner,) = federation.owners(1)
    config_file = federation.write_node_config(owner)
    config = load(NodeConfig, config_file)
    moving = max(100, rows // MOVING_SHARE)
    with Children(folder) as children:
        indexer = children.obedient("indexer", "bench.indexer", str(config_file))
        say(f"indexing {rows:,} records")
        built = indexer.order(do="build", rows=rows)
        children.stop(indexer)
        say(f"looking up while {moving:,} records are replaced again and again")
        churner = children.obedient("churner", "bench.indexer", str(config_file))
        found, churned = refreshing(churner, config, rows, moving, seconds)
        children.stop(churner)
        say(f"looking up in batches of {BATCH}")
        per_s = batches(config, rows, min(seconds, BATCH_S))
        say("starting a node with this index")
        starts = [start(children, config_file) for _ in range(STARTS)]
    times = p50_p99(found.micros)
    figures: dict[str, Any] = {
        "schema": 1,
        "bench": "node",
        "ok": False,
        "scale": {
            "rows": rows,
            "moving_rows": moving,
            "moved_rows_per_s": round(churned["rows_per_s"]),
            "lookups": len(found.micros),
            "hits": found.hits,
            "lookup_cpu_us_p99": round(p50_p99(found.cpu_micros)["p99"], 1),
            "batch": BATCH,
            "start_cpu_s": round(median(cpu for _, cpu in starts), 2),
            "cores": os.cpu_count(),
        },
        "ingest_rows_per_s": round(rows / built["seconds"]),
        "index_bytes_per_row": round(built["octets"] / rows, 1),
        "lookup_us_p50": round(times["p50"], 1),
        "lookup_us_p99": round(times["p99"], 1),
        "batch_terms_per_s": round(per_s),
        "start_s": round(median(seconds for seconds, _ in starts), 2),
        "rss_mb": round(built["rss_mb"], 1),
    }
    held = all(figures[name] < limit for name, limit in LIMITS.items())
    figures["ok"] = held and 0 < found.hits < len(found.micros)
    return figures


def refreshing(
    churner: Child, config: NodeConfig, rows: int, moving: int, seconds: float
) -> tuple[Lookups, dict[str, Any]]:
    """Look up for as long as another process refreshes."""
    churned: dict[str, Any] = {}

    def churn() -> None:
        churned.update(churner.order(do="churn", rows=moving, first=3 * rows, seconds=seconds))

    thread = threading.Thread(target=churn)
    index = opened(config)
    wanted = cycle_of(rows, seed=1)
    thread.start()
    found = Lookups(micros=[], cpu_micros=[], hits=0)
    while thread.is_alive():
        term = next(wanted)
        began, cpu = time.perf_counter(), time.thread_time()
        records = index.lookup(term)
        found.cpu_micros.append((time.thread_time() - cpu) * 1e6)
        found.micros.append((time.perf_counter() - began) * 1e6)
        found.hits += bool(records)
        time.sleep(0)
    thread.join()
    index.close()
    if not churned:
        raise churner.failure()
    return found, churned


def batches(config: NodeConfig, rows: int, seconds: float) -> float:
    """Terms a second, 512 after another, nothing else going on."""
    index = opened(config)
    wanted = cycle_of(rows, seed=2)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        for _ in range(BATCH):
            index.lookup(next(wanted))
        count += BATCH
    elapsed = time.perf_counter() - began
    index.close()
    return count / elapsed


def start(children: Children, config_file: Path) -> tuple[float, float]:
    """Seconds from starting a node's process until it says that it serves, and of them CPU."""
    began = time.perf_counter()
    node = children.product("node", "node.cli.main", "serve", "--config", str(config_file))
    while not node.logged("server-started"):
        if time.perf_counter() - began > START_S:
            raise ChildFailed("the node did not start")
        time.sleep(0.01)
    taken = time.perf_counter() - began, node.cpu_s()
    children.stop(node)
    return taken


def opened(config: NodeConfig) -> Index:
    """The index, as a node opens it."""
    token_key, field_key = index_keys(config)
    path = config.state_dir / INDEX_FILE
    return Index.open(path, token_key=token_key, field_key=field_key, clock=time.time)


def cycle_of(rows: int, *, seed: int) -> Iterator[Any]:
    """Terms without end, every second one held, made before they are needed."""
    random = Random(seed)
    while True:
        yield from terms(random, rows, 20_000)


def table(figures: dict[str, Any]) -> str:
    """For people."""
    rows: Sequence[tuple[str, str]] = (
        ("records", f"{figures['scale']['rows']:,}"),
        ("indexed, records/s", f"{figures['ingest_rows_per_s']:,}"),
        ("index, octets a record", f"{figures['index_bytes_per_row']:,}"),
        ("indexing process, peak MB", f"{figures['rss_mb']:,} (limit {LIMITS['rss_mb']:,.0f})"),
        ("lookup while refreshing, p50 µs", f"{figures['lookup_us_p50']:,}"),
        (
            "lookup while refreshing, p99 µs",
            f"{figures['lookup_us_p99']:,} (limit {LIMITS['lookup_us_p99']:,.0f})",
        ),
        ("refreshed meanwhile, records/s", f"{figures['scale']['moved_rows_per_s']:,}"),
        ("in batches, terms/s", f"{figures['batch_terms_per_s']:,}"),
        ("node's start (median of 3), s", f"{figures['start_s']} (limit {LIMITS['start_s']:.0f})"),
    )
    return "\n".join(f"{name:<34} {value}" for name, value in rows) + "\n"


def say(text: str) -> None:
    """Talk, beside the data."""
    print(f"bench-node: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

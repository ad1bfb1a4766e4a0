"""Publishing an owner's index: how long it takes, and what a change of one in a hundred costs.

``make bench-publication`` (``ARGS="--records 100000"``) prints a table and, as the last line, one
JSON object; progress goes to standard error. docs/benchmarks.md says what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, NoReturn

from bench import offers
from bench.federation import Federation
from bench.processes import Children, wait_until_serving
from fairlead.delta import apply_delta
from fairlead.entries import ENTRY_SIZE
from fairlead.snapshot import Snapshot
from node.publication.folder import DELTA_SUFFIX, SUFFIX

RECORDS = 1_000_000
ADDED_SHARE = 100
"""One record for so many is added before the second publication."""
SPARE_OCTETS = 1 << 30


def main() -> int:
    """Run the benchmark; 1 when a delta did not lead to the second snapshot."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--records", type=int, default=RECORDS, help="of the owner (%(default)s)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _terminated)
    began = time.perf_counter()
    with TemporaryDirectory(prefix="fairlead-bench-") as folder:
        figures = measure(Path(folder), options.records)
    figures["seconds"] = round(time.perf_counter() - began, 1)
    print(table(figures))
    print(json.dumps(figures))
    return 0 if figures["ok"] else 1


def _terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(143)


def measure(folder: Path, records: int) -> dict[str, Any]:
    """Index, publish, add records, publish again; then apply the delta as a reader does."""
    offers.check_room(folder, records * offers.OCTETS_A_RECORD + SPARE_OCTETS)
    federation, added = Federation(folder), max(1, records // ADDED_SHARE)
    (owner,) = offers.make(federation, 1)
    config_file = str(offers.config_file(federation, owner))
    with Children(folder) as children:
        say(f"indexing {records:,} records")
        offers.index(federation, children, [owner], records)
        node = children.product("node", "node.cli.main", "serve", "--config", config_file)
        wait_until_serving(node)
        say("publishing")
        first = offers.publish(federation, owner, node)
        say(f"adding {added:,} records, publishing again")
        indexer = children.obedient("adder", "bench.indexer", config_file)
        indexer.order(do="add", rows=added, first=3 * records, purposes=offers.PURPOSES)
        children.stop(indexer)
        second = offers.publish(federation, owner, node)
    read = apply(offers.config_of(federation, owner).state_dir)
    right = (first["terms"], second["terms"], read["entries"]) == (
        records,
        records + added,
        second["entries"],
    )
    return {
        "schema": 1,
        "bench": "publication",
        "ok": right,
        "scale": {"records": records, "added": added, "cores": os.cpu_count()},
        "publish_s": round(first["seconds"], 1),
        "records_per_s": round(records / first["seconds"]),
        "snapshot_octets": first["entries"] * ENTRY_SIZE,
        "republish_s": round(second["seconds"], 1),
        "delta_octets": read["delta_octets"],
        "apply_s": round(read["apply_s"], 2),
        "open_s": round(read["open_s"], 2),
    }


def apply(state: Path) -> dict[str, Any]:
    """Make the second snapshot of the first one and the delta; verify and open it."""
    (delta,) = state.glob(f"blind/epoch-*/*{DELTA_SUFFIX}")
    after = delta.with_suffix(SUFFIX)
    (before,) = (path for path in delta.parent.glob(f"*{SUFFIX}") if path != after)
    entries, digest = after.stat().st_size // ENTRY_SIZE, bytes.fromhex(after.stem)
    made = delta.parent / "made"
    began = time.perf_counter()
    apply_delta(before, delta, made, entries=entries, digest=digest)
    applied = time.perf_counter()
    snapshot = Snapshot.open(made, entries=entries, digest=digest)
    opened = time.perf_counter()
    count = len(snapshot)
    snapshot.close()
    return {
        "entries": count,
        "delta_octets": delta.stat().st_size,
        "apply_s": applied - began,
        "open_s": opened - applied,
    }


def table(figures: dict[str, Any]) -> str:
    """For people."""
    scale = figures["scale"]
    rows = (
        ("records", f"{scale['records']:,}"),
        ("published in, s", f"{figures['publish_s']:,}"),
        ("records/s", f"{figures['records_per_s']:,}"),
        ("snapshot, octets", f"{figures['snapshot_octets']:,}"),
        (f"{scale['added']:,} added, published in, s", f"{figures['republish_s']:,}"),
        ("delta, octets", f"{figures['delta_octets']:,}"),
        ("delta applied by a reader, s", f"{figures['apply_s']:,}"),
        ("snapshot verified by a reader, s", f"{figures['open_s']:,}"),
    )
    return "\n".join(f"{name:<34} {value}" for name, value in rows) + "\n"


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

"""Mapped sources: how fast a generated Parquet file is counted, and in how much memory.

``python -m bench.cube_rows --rows 10000000``: the counting runs in a process of its own, so that
its peak of memory is that of counting.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

from fairlead.cubes.period import parse_unit
from fairlead.cubes.registry import Registry
from node.figures.mapped import MappedFigures
from node.figures.mapped_form import load_figures

FULL, QUICK = 10_000_000, 20_000
LIMITS = {"cube_seconds": 10.0, "rss_mb": 1024.0}
"""At most, for the full number of rows."""
REGISTRY = Path(__file__).resolve().parent.parent / "policies" / "cubes" / "registry.yaml"
LEVEL, UNIT = "quarter,country,shore", "2026-Q1"
NOW = 1_790_000_000
MAPPING = """
cube = "displacement"
files = ["events.parquet"]
[date]
column = "happened_at"
[recorded]
column = "entered_at"
[dimensions.place]
column = "port"
step = "port"
[dimensions.shore]
by_port = true
map = { "ZZOTH" = "sea" }
[dimensions.event]
column = "what"
[measures.events]
unit = "events"
"""


def measure(rows: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Generate, count in a process of its own, and compare with what was generated."""
    with tempfile.TemporaryDirectory(prefix="fairlead-cube-") as name:
        folder = Path(name)
        (folder / "events.toml").write_text(MAPPING, encoding="utf-8")
        say(f"generating {rows:,} rows")
        generate(folder / "events.parquet", rows)
        say("counting them")
        done = subprocess.run(
            [sys.executable, "-m", "bench.cube_rows", "--count", str(folder / "events.toml")],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    if found.pop("records") != (rows + 1) // 2:
        raise AssertionError("not every row was counted once")
    found["cube_rows_per_s"] = round(rows / found["cube_seconds"])
    return found


def generate(path: Path, rows: int) -> None:
    """Events at every port; every second one is of the quarter that is asked about."""
    cube = Registry.parse(REGISTRY.read_bytes()).cube("displacement")
    places = next(found for found in cube.dimensions if found.id == "place")
    ports = [code.code for code in places.steps[places.place("port")].codes]
    events = [code.code for code in cube.finest("event").codes]
    with duckdb.connect() as connection:
        connection.execute("SET memory_limit = '512MB'")
        connection.sql(
            "SELECT i AS id,"
            " CASE WHEN i % 2 = 0 THEN TIMESTAMP '2026-01-10' ELSE TIMESTAMP '2025-07-10' END"
            "  + to_seconds((i * 7919) % 5000000) AS happened_at,"
            " TIMESTAMP '2026-05-01' + to_seconds(i % 86400) AS entered_at,"
            " list_extract($ports, CAST(1 + (i * 31) % len($ports) AS INTEGER)) AS port,"
            " list_extract($events, CAST(1 + (i * 17) % len($events) AS INTEGER)) AS what,"
            " 'container ' || (i * 104729) % 1000003 AS note"
            " FROM range($rows) AS t(i)",
            params={"ports": ports, "events": events, "rows": rows},
        ).write_parquet(str(path))


def count(mapping: Path) -> dict[str, Any]:
    """In this process: seconds, peak memory and records."""
    cube = Registry.parse(REGISTRY.read_bytes()).cube("displacement")
    level = cube.level(LEVEL)
    figures = MappedFigures([load_figures(mapping)], environ={})
    began = time.perf_counter()
    counted = figures.counted(cube, level, parse_unit(UNIT), NOW)
    took = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "cube_seconds": round(took, 3),
        "rss_mb": round(peak / 1024, 1),
        "records": sum(counted.records),
    }


def main() -> int:
    """Run it alone; 1 when a limit of the full run was not held."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=FULL)
    parser.add_argument("--count", type=Path, help="internal: count this mapping in this process")
    options = parser.parse_args()
    if options.count is not None:
        print(json.dumps(count(options.count)))
        return 0
    found = measure(options.rows, lambda text: print(text, file=sys.stderr, flush=True))
    held = options.rows < FULL or all(found[name] <= most for name, most in LIMITS.items())
    print(f"{options.rows:,} rows of Parquet: {found['cube_seconds']} s, {found['rss_mb']} MB")
    print(
        json.dumps({"schema": 1, "bench": "cube-rows", "ok": held, "rows": options.rows, **found})
    )
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())

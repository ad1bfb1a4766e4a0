"""Statistics: attacks, masked sums of many nodes, releases, and a large source counted at one.

``make bench-statistics`` (``QUICK=1`` for the small form) prints a table and, as the last line, one
JSON object; progress goes to standard error. docs/benchmarks.md says what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from bench import cube_rows, masks, presence, strategic

LIMITS = presence.LIMITS | masks.LIMITS | strategic.LIMITS | cube_rows.LIMITS
"""What ``ok`` demands of a full run; a quick one demands that every sum is right."""


def main() -> int:
    """Run the benchmark; 1 when a limit was not held."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small; also by QUICK=1")
    options = parser.parse_args()
    quick = options.quick or os.environ.get("QUICK", "") not in {"", "0"}
    scale = masks.QUICK if quick else masks.FULL
    released = strategic.QUICK if quick else strategic.FULL
    rows = cube_rows.QUICK if quick else cube_rows.FULL
    attacks = presence.QUICK if quick else presence.FULL
    figures: dict[str, Any] = {
        "schema": 1,
        "bench": "statistics",
        "ok": True,
        "scale": {
            "nodes": scale.nodes,
            "cells": scale.cells,
            "rounds": scale.rounds,
            "releases": released.releases,
            "rows": rows,
            "trials": attacks.trials,
        },
    }
    figures |= masks.measure(scale, say)
    figures |= strategic.measure(released, say)
    figures |= cube_rows.measure(rows, say)
    figures |= presence.measure(attacks, say)
    figures["ok"] = quick or all(figures[name] <= most for name, most in LIMITS.items())
    print(table(figures))
    print(json.dumps(figures))
    return 0 if figures["ok"] else 1


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


def table(figures: dict[str, Any]) -> str:
    """For people."""
    scale = figures["scale"]
    lines = [f"{scale['nodes']} nodes, {scale['cells']} cells, median of {scale['rounds']} rounds"]
    for name, value in figures.items():
        if name not in {"schema", "bench", "ok", "scale"}:
            most = f"   (at most {LIMITS[name]:g})" if name in LIMITS else ""
            lines.append(f"  {name:22} {value:>10}{most}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())

"""The benchmark's indexing process: builds and refreshes by the product's own writer.

``python -m bench.indexer CONFIG`` says ``ready``, then obeys one JSON object a line.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.rows import PURPOSE, InventedRows
from fairlead.config import NodeConfig, load
from node.index import IndexWriter, Progress
from node.indexing import INDEX_FILE, index_keys

MAIN, MOVING = "main", "moving"
SAY_EVERY_S = 5.0


class Indexer:
    """Writes one node's index."""

    def __init__(self, config: NodeConfig) -> None:
        self._config = config
        self._now = int(time.time())
        self._version = 0
        self._purposes: tuple[str, ...] = (PURPOSE,)
        self._said = time.monotonic()

    def build(self, rows: int, purposes: Sequence[str] = (PURPOSE,)) -> dict[str, Any]:
        """Index ``rows`` records from nothing; the octets are those of the finished file."""
        self._purposes = tuple(purposes)
        path = self._config.state_dir / INDEX_FILE
        self._config.state_dir.mkdir(parents=True, mode=0o700, exist_ok=True)
        began = time.perf_counter()
        self._refresh(InventedRows(name=MAIN, rows=rows, now=self._now, purposes=self._purposes))
        seconds = time.perf_counter() - began
        peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {"seconds": seconds, "rss_mb": peak_kib / 1024, "octets": path.stat().st_size}

    def add(self, rows: int, first: int, purposes: Sequence[str] = (PURPOSE,)) -> dict[str, Any]:
        """Index ``rows`` records beside those of ``main``, about the containers from ``first``."""
        began = time.perf_counter()
        self._refresh(
            InventedRows(
                name=MOVING, rows=rows, now=self._now, first=first, purposes=tuple(purposes)
            )
        )
        return {"seconds": time.perf_counter() - began}

    def churn(self, rows: int, first: int, seconds: float) -> dict[str, Any]:
        """Replace the content of ``rows`` records again and again; the rows of ``main`` stay."""
        began, rounds = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            self._version += 1
            self._refresh(
                InventedRows(
                    name=MOVING,
                    rows=rows,
                    now=self._now,
                    first=first,
                    version=self._version,
                    purposes=self._purposes,
                )
            )
            rounds += 1
        elapsed = time.perf_counter() - began
        return {"rounds": rounds, "rows_per_s": rounds * rows / elapsed}

    def _refresh(self, source: InventedRows) -> None:
        token_key, field_key = index_keys(self._config)
        writer = IndexWriter.open(
            self._config.state_dir / INDEX_FILE,
            token_key=token_key,
            field_key=field_key,
            clock=time.time,
            watch=self._say,
        )
        try:
            writer.refresh(source, mapping="bench")
            writer.settle({MAIN, MOVING})
        finally:
            writer.close()

    def _say(self, progress: Progress) -> None:
        if time.monotonic() - self._said >= SAY_EVERY_S:
            self._said = time.monotonic()
            what = f"{progress.source}: {progress.phase} {progress.done:,}"
            print(f"{what}, {progress.per_second:,.0f} a second", file=sys.stderr, flush=True)


def main() -> None:
    """Obey until standard input ends."""
    indexer = Indexer(load(NodeConfig, Path(sys.argv[1])))
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        done = getattr(indexer, order.pop("do"))(**order)
        print(json.dumps(done), flush=True)


if __name__ == "__main__":
    main()

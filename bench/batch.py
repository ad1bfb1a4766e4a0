"""A blind batch through the running federation: rate, and how the processes' memory grows.

``python -m bench.batch [--terms 100000]``: one asker, one owner, the command line itself. The last
line is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from demo.memory import rss_mib
from tests.commands import profile
from tests.federation import CASE, PURPOSE, ROOT
from tests.large import Large, boxes, large

EVERY_S = 0.5


async def measure(place: Large, file: Path, *options: str) -> dict[str, float]:
    """Ask the file; seconds, and resident memory in MiB at its highest above the start."""
    path = profile(place.made)
    began = time.monotonic()
    command = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fairlead.cli.main", "ask", "--file", str(file), "--mode", "blind",
        "--case", CASE, "--purpose", PURPOSE, "--output", "ndjson",
        *options,
        env={"PATH": os.environ["PATH"], "HOME": str(path.parent), "PYTHONPATH": str(ROOT),
             "FAIRLEAD_PROFILE": str(path)},
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    pids = {"asker": place.asker.pid, "owner": place.owner.pid, "gateway": place.gateway.pid}
    start = {name: rss_mib(pid) for name, pid in pids.items()}
    most = {**start, "client": 0.0}
    ended = asyncio.create_task(command.wait())
    while not ended.done():
        for name, pid in {**pids, "client": command.pid}.items():
            try:
                most[name] = max(most[name], rss_mib(pid))
            except (OSError, AssertionError):  # it has just ended
                continue
        await asyncio.wait([ended], timeout=EVERY_S)
    assert ended.result() == 0
    grown = {f"{name}_mib": round(most[name] - start.get(name, 0.0)) for name in most}
    return {"seconds": round(time.monotonic() - began, 1), **grown}


async def main() -> None:
    """Print one line for people and one for programs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--terms", type=int, default=100_000)
    parser.add_argument("--dry-run", action="store_true", help="draft it, and send nothing")
    arguments = parser.parse_args()
    terms, options = arguments.terms, ["--dry-run"] if arguments.dry_run else []
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        folder = Path(name)
        file = folder / "terms.txt"
        file.write_text("".join(f"{box}\n" for box in boxes(terms)))
        known = list(boxes(min(terms, 1_000)))[::10]
        async with large(folder / "made", known) as place:
            found = await measure(place, file, *options)
    rate = round(terms / found["seconds"])
    print(f"{terms:,} terms of one owner: {found['seconds']} s, {rate:,} a second; {found}")
    print(json.dumps({"schema": 1, "bench": "batch", "terms": terms, "rate": rate, **found}))


if __name__ == "__main__":
    asyncio.run(main())

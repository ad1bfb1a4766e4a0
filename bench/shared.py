"""Two gateways on one PostgreSQL log against one: leaves a second, in turns, on one server.

``python -m bench.shared WRITERS SECONDS`` is one gateway's log; the database's URL comes on
standard input. It opens the log, says so, waits for a line, appends, and prints how many leaves it
got in.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.appends import KEY, ORIGIN, a_leaf
from fairlead.auditlog import AuditLog, DatabaseUrl

WRITERS = 256
"""Callers with a leaf under way, of one gateway or of two together."""
NO_SERVER = "a log on PostgreSQL: there is no server here (apt-get install postgresql)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The median of the rounds' ratios; None: not measured."""

    ratio: float | None = None
    leaves_per_s: dict[str, int] | None = None
    skipped: list[str] = field(default_factory=list)


def two_over_one(rounds: int, seconds: float, say: Callable[[str], None]) -> Compared:
    """Both arms in turns, each run on a database of its own."""
    if not (any(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or shutil.which("initdb")):
        return Compared(skipped=[NO_SERVER])
    from tests.postgres import postgres

    rates: dict[int, list[float]] = {1: [], 2: []}
    with postgres(settings={"log_statement": "none"}) as server:
        for number in range(1, rounds + 1):
            for gateways, found in rates.items():
                found.append(_arm(server, f"log_{number}_{gateways}", gateways, seconds))
            one, two = rates[1][-1], rates[2][-1]
            say(f"PostgreSQL, round {number} of {rounds}: one {one:.0f} leaves/s, two {two:.0f}")
    ratios = [two / one for one, two in zip(rates[1], rates[2], strict=True)]
    return Compared(
        ratio=round(median(ratios), 2),
        leaves_per_s={str(n): round(median(found)) for n, found in rates.items()},
    )


def _arm(server: Any, database: str, gateways: int, seconds: float) -> float:
    """Leaves a second of so many gateways together.

    :raises AssertionError: the log does not hold just what was acknowledged.
    """
    server.run(f"CREATE DATABASE {database}")
    command = [sys.executable, "-m", "bench.shared", str(WRITERS // gateways), str(seconds)]
    with ExitStack() as stack:
        started = []
        for _ in range(gateways):
            process = stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            stack.callback(process.kill)
            _tell(process, server.url(database=database))
            _hear(process)
            started.append(process)
        for process in started:
            _tell(process, "go")
        done = sum(int(_hear(process)) for process in started)
    with server.admin(database) as connection:
        ((held,),) = connection.execute("SELECT count(*) FROM leaf").fetchall()
    if held != done:
        raise AssertionError("the log does not hold just what was acknowledged")
    return done / seconds


def _tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def _hear(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise AssertionError("a gateway's log of the benchmark ended early")
    return line


def main() -> int:
    """One gateway's log."""
    writers, seconds = int(sys.argv[1]), float(sys.argv[2])
    url = DatabaseUrl.parse(sys.stdin.readline())
    log = AuditLog.open(url, origin=ORIGIN, key=KEY, clock=time.time)
    print("open", flush=True)
    sys.stdin.readline()
    print(asyncio.run(_append(log, writers, seconds)), flush=True)
    log.close()
    return 0


async def _append(log: AuditLog, writers: int, seconds: float) -> int:
    until = time.perf_counter() + seconds

    async def one() -> int:
        count = 0
        while time.perf_counter() < until:
            await log.append(a_leaf())
            count += 1
        return count

    return sum(await asyncio.gather(*(one() for _ in range(writers))))


if __name__ == "__main__":
    sys.exit(main())

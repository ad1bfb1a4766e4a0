"""A fault at every file-system call that the log's process makes on its files, one at a time.

A first run, traced and left alone, tells which calls there are: those of the writer's thread while
it appends, and those of opening, of the last checkpoint and of closing. Each further run has one
fault at one occurrence of one call: EIO or ENOSPC instead of the call, or SIGKILL as it begins.
"""

from __future__ import annotations

import random
import re
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from fairlead import errors
from tests.faults import strace
from tests.faults.appending import Appending, appending
from tests.faults.promises import Kept, Promises, judge, reopen

APPEND, WHOLE = "append", "whole"
"""What is traced: the writer's thread from its first append on, or the first thread's whole run."""
FAULTS = ("error=EIO", "error=ENOSPC", "signal=SIGKILL")
CHANGES = frozenset(
    {"pwrite64", "write", "fdatasync", "fsync", "ftruncate", "openat", "unlink", "fallocate"}
)
"""Calls that change files: every occurrence of them gets every fault."""
LOAD = ("--paused", "--tasks", "3", "--queries", "3", "--autocheckpoint", "24")
"""Few pages before a checkpoint, so that the writer's thread makes one on its way."""

_CALL = re.compile(r"^(?:\d+ +)?(\w+)\((.*)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One fault: in which part, at which occurrence of which call."""

    part: str
    call: str
    occurrence: int
    fault: str


@dataclass(slots=True)
class Injected:
    """What a run of points found."""

    injected: int = 0
    recovered: int = 0
    refused: int = 0
    """Points after which the log had refused appends."""
    kept: Kept = field(default_factory=Kept)


def survey(folder: Path) -> list[Point]:
    """Every point of a run in which nothing goes wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    found: list[Point] = []
    for part in (APPEND, WHOLE):
        path, out = prepared(folder / part), folder / f"{part}.strace"
        with appending(path, *LOAD, said=folder / "said.txt") as running:
            traced(running, part, out, "-e", "trace=%file,%desc")
            if running.lines[-1] != "Z\n":
                raise AssertionError("the appender did not end well without any fault")
        seen: Counter[str] = Counter()
        for line in out.read_text().splitlines():
            call = _CALL.match(line)
            if call is None or (part == WHOLE and not line.startswith(f"{running.pid} ")):
                continue
            seen[call[1]] += 1
            if str(path) in strace.plain(call[2]):
                found += [
                    Point(part=part, call=call[1], occurrence=seen[call[1]], fault=fault)
                    for fault in FAULTS
                ]
    return found


def chosen(points: Iterable[Point], others: int, seed: int) -> list[Point]:
    """Every point at a call that changes a file, and so many of the others."""
    known = list(points)
    chance = random.Random(seed)
    changing = [point for point in known if point.call in CHANGES]
    rest = [point for point in known if point.call not in CHANGES]
    found = changing + chance.sample(rest, min(others, len(rest)))
    chance.shuffle(found)
    return found


def prepared(folder: Path) -> Path:
    """A log of one leaf, closed in order."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    reopen(folder / "log.sqlite")
    return folder / "log.sqlite"


def traced(running: Appending, part: str, out: Path, *arguments: str) -> int:
    """Let an appender do its work under strace; returns its exit code."""
    running.until("R")
    if part == WHOLE:
        with strace.attached(running.pid, out, "-f", *arguments):
            running.go()
            running.until("R")
            running.go()
            return running.end()
    running.go()
    thread = int(running.until("T"))
    running.until("R")
    with strace.attached(thread, out, *arguments):
        running.go()
        return running.end()


def inject(folder: Path, points: Iterable[Point], *extra: str) -> Injected:
    """One process a point; a point that was not reached is not counted.

    :param extra: arguments of the appender.
    """
    found = Injected()
    for point in points:
        path, out = prepared(folder), folder / "strace"
        with appending(path, *LOAD, *extra, said=folder / "said.txt") as running:
            what = f"inject={point.call}:{point.fault}:when={point.occurrence}"
            code = traced(running, point.part, out, "-e", f"trace={point.call}", "-e", what)
        fired = code == -9 or "(INJECTED)" in out.read_text()
        if not fired:
            continue
        found.injected += 1
        promises = Promises()
        well = promises.hear(running.lines)
        refused = promises.failed > 0 or any(line[0] == "O" for line in running.lines)
        found.refused += refused
        if code != -9 and not well and not refused:
            promises.broken.add(f"{point}: the process ended with {code} and no refusal")
        _recover(path, promises, point, found)
    return found


def _recover(path: Path, promises: Promises, point: Point, found: Injected) -> None:
    """The file has to open, go on, verify, and hold what was promised."""
    try:
        head = reopen(path)
        found.kept.add(judge(path, promises, [head]))
        found.recovered += 1
    except errors.FairleadError as error:
        found.kept.troubles.add(f"{point}: {error.code}")
        found.kept.lost += len(promises.leaves)


def counted(points: Iterable[Point]) -> str:
    """For people: how many points at which call."""
    calls = Counter(point.call for point in points)
    return ", ".join(f"{call} {count}" for call, count in calls.most_common())

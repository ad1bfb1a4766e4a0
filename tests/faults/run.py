"""``make faults``: the audit log under kills, failing calls, power cuts and forgery.

Progress goes to standard error, a table and, as the last line, one JSON object to standard output.
docs/operate.md says how to read it, docs/adr/0030-fault-suite.md what is simulated, and how.
``--quick`` is a short form: does it run at all?
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults import accepting, injections, kills, power, tampering, verifying
from tests.faults.appending import ROOT
from tests.faults.promises import Kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much of each."""

    kills: int
    lines: int
    gateway_kills: int
    points: int
    other_calls: int
    records: int
    control_records: int
    cuts: int
    tampered: int
    mutated: int


FULL = Scale(
    kills=220, lines=kills.LINES, gateway_kills=20, points=10**6, other_calls=60, records=10,
    control_records=3, cuts=10, tampered=1000, mutated=520_000,
)  # fmt: skip
QUICK = Scale(
    kills=4, lines=400, gateway_kills=0, points=12, other_calls=4, records=1, control_records=1,
    cuts=6, tampered=80, mutated=4000,
)  # fmt: skip


@dataclass(slots=True)
class Result:
    """The last line, and what the table says besides."""

    line: dict[str, Any] = field(
        default_factory=lambda: {
            "schema": 1, "faults": "failed", "kills": 0, "acked": 0, "lost": 0, "injected": 0,
            "recovered": 0, "power_rounds": 0, "control_lost": 0, "tampered": 0, "detected": 0,
            "proofs_mutated": 0, "accepted": 0,
        }
    )  # fmt: skip
    rows: list[tuple[str, str]] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def tell(self, what: str, found: str) -> None:
        """One row of the table."""
        self.rows.append((what, found))
        say(f"{what}: {found}")

    def keep(self, kept: Kept) -> None:
        """What a stage found in the files."""
        self.line["lost"] += kept.lost
        self.troubles += sorted(kept.troubles)
        if kept.unbacked:
            self.troubles.append(f"{kept.unbacked} bytes out without INTENT and RELEASE")


def say(text: str) -> None:
    """Progress."""
    print(f"faults: {text}", file=sys.stderr, flush=True)


class Shop:
    """Processes that share the work, and a folder for each piece of it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.seed = seed
        self.jobs = os.cpu_count() or 1
        self._numbers = itertools.count(1)
        # Never fork what has threads.
        spawn = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(self.jobs, mp_context=spawn)

    def share(self, work: Callable[..., Any], pieces: list[tuple[Any, ...]]) -> Iterator[Any]:
        """Each piece's result as it comes; a piece begins with its folder and ends with its seed.

        :raises Exception: what a piece raised.
        """
        jobs = []
        for piece in pieces:
            number = next(self._numbers)
            jobs.append(self.pool.submit(work, self.folder / str(number), *piece))
        for job in jobs:
            yield job.result()


def main() -> int:
    """The command line; 1 when something was lost, missed or accepted."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short form; also by QUICK=1")
    parser.add_argument("--seed", type=int, default=0, help="of every choice; 0: by the clock")
    options = parser.parse_args()
    quick = options.quick or os.environ.get("QUICK", "") not in {"", "0"}
    scale, seed = QUICK if quick else FULL, options.seed or time.time_ns() % 10**6
    say(f"seed {seed}")
    result, began = Result(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fairlead-faults-") as folder:
        shop = Shop(Path(folder), seed)
        try:
            for stage in (_kill, _kill_gateway, _inject, _cut, _tamper, _mutate):
                with _failing(stage.__name__.strip("_"), result):
                    stage(shop, scale, result)
        finally:
            shop.pool.shutdown(cancel_futures=True)
    result.tell("seconds", f"{time.monotonic() - began:.0f}")
    judge(result, scale)
    print(table(result))
    print(json.dumps(result.line))
    return result.line["faults"] != "ok"


@contextmanager
def _failing(stage: str, result: Result) -> Iterator[None]:
    """A stage that cannot end is a failure, and the others still run."""
    try:
        yield
    except Exception as error:
        result.troubles.append(f"{stage}: {type(error).__name__}: {error}")
        say(result.troubles[-1])


def _parts(whole: int, parts: int) -> list[int]:
    return [whole // parts + (place < whole % parts) for place in range(parts)]


def _kill(shop: Shop, scale: Scale, result: Result) -> None:
    lanes = [
        (count, shop.seed + place, scale.lines)
        for place, count in enumerate(_parts(scale.kills, 2 * shop.jobs))
        if count
    ]
    found = Kept()
    for lane in shop.share(kill_lane, lanes):
        found.add(lane.kept)
        result.line["kills"] += lane.kills
        say(f"{result.line['kills']} of {scale.kills} kills, {found.acked} leaves acknowledged")
    result.line["acked"] += found.acked
    result.keep(found)
    result.tell(
        "kill -9 of the log's process",
        f"{result.line['kills']} kills, {found.acked} leaves acknowledged, {found.lost} lost, "
        f"{found.bytes_out} queries answered, {found.unbacked} without INTENT and RELEASE",
    )


def kill_lane(folder: Path, count: int, seed: int, lines: int) -> kills.Killed:
    """A lane, for a process of the shop."""
    return kills.lane(folder, count, seed, lines=lines)


def _kill_gateway(shop: Shop, scale: Scale, result: Result) -> None:
    """In a process of its own, because nodes talk."""
    if not scale.gateway_kills:
        return
    said = shop.folder / "gateway.txt"
    with said.open("wb") as stream:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tests.killed_gateway"),
                *(str(shop.folder / "gateway"), str(scale.gateway_kills)),
            ],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=stream, check=False,
        )  # fmt: skip
    if done.returncode:
        say(said.read_text()[-3000:])
        raise RuntimeError("something was lost, or got out without its leaves; see above")
    survived = json.loads(done.stdout.splitlines()[-1])
    result.line["kills"] += survived["kills"]
    result.line["acked"] += survived["acked"]
    result.tell(
        "kill -9 of a gateway under queries",
        f"{survived['kills']} kills, {survived['acked']} leaves shown in receipts, 0 lost, "
        "every byte with INTENT and RELEASE",
    )


def _inject(shop: Shop, scale: Scale, result: Result) -> None:
    points = injections.survey(shop.folder / "survey")
    chosen = injections.chosen(points, scale.other_calls, shop.seed)[: scale.points]
    say(f"{len(chosen)} of {len(points)} points: {injections.counted(chosen)}")
    shares = [(chosen[place :: 4 * shop.jobs],) for place in range(4 * shop.jobs)]
    kept, refused = Kept(), 0
    for found in shop.share(injections.inject, shares):
        result.line["injected"] += found.injected
        result.line["recovered"] += found.recovered
        refused += found.refused
        kept.add(found.kept)
        say(f"{result.line['injected']} faults injected, {result.line['recovered']} recovered")
    result.keep(kept)
    result.tell(
        "a failing file-system call",
        f"{result.line['injected']} injected ({injections.counted(chosen)}), "
        f"{result.line['recovered']} recovered, {refused} refused the append, {kept.lost} lost",
    )


def _cut(shop: Shop, scale: Scale, result: Result) -> None:
    pieces = [
        (count, scale.cuts, shop.seed + place)
        for place, count in enumerate(_parts(scale.records, shop.jobs))
        if count
    ]
    kept, torn = Kept(), 0
    for found in shop.share(power.rounds, pieces):
        result.line["power_rounds"] += found.rounds
        torn += found.torn
        kept.add(found.kept)
    result.keep(kept)
    (control,) = shop.share(control_cut, [(scale.control_records, scale.cuts, shop.seed)])
    result.line["control_lost"] = control.kept.lost
    result.tell(
        "simulated power loss",
        f"{result.line['power_rounds']} rounds, {torn} with something unflushed, {kept.lost} lost; "
        f"with synchronous=NORMAL {control.kept.lost} lost in {control.rounds} rounds",
    )


def control_cut(folder: Path, records: int, cuts: int, seed: int) -> power.Lost:
    """The control of power loss, for a process of the shop."""
    return power.rounds(folder, records, cuts, seed, "--synchronous", "NORMAL")


def _tamper(shop: Shop, scale: Scale, result: Result) -> None:
    made, found = verifying.original(shop.folder / "original"), verifying.Found()
    pieces = [
        (made, count, shop.seed + place)
        for place, count in enumerate(_parts(scale.tampered, shop.jobs))
    ]
    for part in shop.share(verifying.play, pieces):
        found.add(part)
    result.line["tampered"], result.line["detected"] = found.tampered, found.detected
    result.troubles += [f"missed: {name} x{count}" for name, count in found.missed.items()]
    result.troubles += [f"{name} x{count}" for name, count in found.crashed.items()]
    result.tell(
        "a tampered database",
        f"{found.tampered} of {len(tampering.KINDS)} kinds, {found.alone.total()} found by the "
        f"file alone, {found.by_heads.total()} by heads that others hold, "
        f"{found.missed.total()} missed ({found.nothing} changed nothing)",
    )


def _mutate(shop: Shop, scale: Scale, result: Result) -> None:
    found, parts = accepting.Tried(), 4 * shop.jobs
    pieces = [(scale.mutated // parts, shop.seed + place) for place in range(parts)]
    for part in shop.share(mutate, pieces):
        found.add(part)
        say(f"{found.mutated.total()} of {scale.mutated} proofs, {found.accepted.total()} accepted")
    result.line["proofs_mutated"] = found.mutated.total()
    result.line["accepted"] = found.accepted.total()
    result.troubles += [f"accepted: {name} x{count}" for name, count in found.accepted.items()]
    result.troubles += [f"{name} x{count}" for name, count in found.crashed.items()]
    result.tell(
        "a changed proof, note or receipt",
        f"{found.mutated.total()} tried, {found.accepted.total()} accepted "
        f"({found.same.total()} still said what was signed)",
    )


def mutate(_folder: Path, count: int, seed: int) -> accepting.Tried:
    """A share of the changed proofs, for a process of the shop."""
    return accepting.play(count, seed)


def judge(result: Result, scale: Scale) -> None:
    """Nothing lost, all recovered and detected, nothing accepted, and enough of each."""
    line = result.line
    right = (
        line["lost"] == 0
        and line["injected"] == line["recovered"] > 0
        and line["tampered"] == line["detected"] == scale.tampered
        and line["accepted"] == 0
        and line["control_lost"] > 0
        and line["kills"] == scale.kills + scale.gateway_kills
    )
    enough = scale is QUICK or (
        line["kills"] >= 200
        and line["acked"] >= 100_000
        and line["injected"] >= 200
        and line["power_rounds"] >= 20
        and line["proofs_mutated"] >= 500_000
    )
    line["faults"] = "ok" if right and enough and not result.troubles else "failed"


def table(result: Result) -> str:
    """For people."""
    width = max(len(what) for what, _ in result.rows)
    lines = [f"{what:<{width}}  {found}" for what, found in result.rows]
    lines += [f"TROUBLE  {trouble}" for trouble in result.troubles]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())

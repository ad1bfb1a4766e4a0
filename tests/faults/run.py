"""``make faults``: the audit log under kills, failing calls, power cuts and forgery.

Progress goes to standard error, a table and, as the last line, one JSON object to standard output.
docs/benchmarks.md says how to read it, docs/adr/0030-fault-suite.md what is simulated, and how.
``--quick`` is a short form: does it run at all?
"""

from __future__ import annotations

import argparse
import asyncio
import io
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
from pathlib import Path
from typing import Any

from fairlead import telemetry
from tests import postgres
from tests.attacks.games import forks
from tests.faults import accepting, injections, kills, power, tampering, verifying
from tests.faults.appending import ROOT
from tests.faults.promises import Kept
from tests.faults.verdict import FULL, QUICK, SHARED, Result, Scale, judge, say, table
from tests.walks import make_world

SEEDS = 1000
"""Between the seeds of two processes that each play several games."""


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
            for stage in STAGES:
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
    if not scale.gateway_kills:
        return
    folder = str(shop.folder / "gateway")
    survived = _beside(shop, "tests.killed_gateway", folder, str(scale.gateway_kills))
    result.line["kills"] += survived["kills"]
    result.line["acked"] += survived["acked"]
    result.tell(
        "kill -9 of a gateway under queries",
        f"{survived['kills']} kills, {survived['acked']} leaves shown in receipts, 0 lost, "
        "every byte with INTENT and RELEASE",
    )


def _kill_shared(shop: Shop, scale: Scale, result: Result) -> None:
    if not scale.shared_kills:
        return
    if postgres.installed() is None:
        result.leave_out(SHARED, f"no PostgreSQL on this machine (next: {postgres.NEXT})")
        return
    survived = _beside(shop, "bench.pg_kill", "--kills", str(scale.shared_kills))
    result.line["kills"] += survived["kills"]
    result.line["acked"] += survived["acked"]
    result.line["lost"] += survived["lost"]
    result.tell(
        SHARED,
        f"{survived['kills']} kills in turns, {survived['acked']} leaves shown in receipts, "
        f"{survived['lost']} lost, a gapless log of {survived['leaves']}",
    )


def _beside(shop: Shop, module: str, *words: str) -> dict[str, Any]:
    """The last line of a program of its own, because nodes talk.

    :raises RuntimeError: it says that something is wrong.
    """
    said = shop.folder / f"{module}.txt"
    with said.open("wb") as stream:
        done = subprocess.run(
            [sys.executable, "-m", module, *words],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=stream, check=False,
        )  # fmt: skip
    if done.returncode:
        say(said.read_text(errors="replace")[-3000:])
        say(done.stdout.decode(errors="replace"))
        raise RuntimeError(f"{module} did not end well; see above")
    last: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return last


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


def _fork(shop: Shop, scale: Scale, result: Result) -> None:
    pieces = [
        (count, scale.witnesses, shop.seed + SEEDS * place)
        for place, count in enumerate(_parts(scale.games, shop.jobs))
        if count
    ]
    played = [game for part in shop.share(fork_games, pieces) for game in part]
    both = sum(game.quorums > 1 for game in played)
    if both or not all(game.signatures and game.alarms for game in played):
        result.troubles.append(f"forks: {both} games in which both histories had a quorum")
    result.tell(
        "two forks before many witnesses",
        f"{len(played)} games, {scale.witnesses} witnesses at once, as many liars as tolerated: "
        f"{sum(game.signatures for game in played)} cosignatures, "
        f"{sum(game.alarms for game in played)} alarms, {both} with a quorum for both",
    )


def fork_games(folder: Path, games: int, witnesses: int, seed: int) -> list[forks.Played]:
    """A share of the games of two forks, for a process of the shop: alarms are what it is for."""
    telemetry.configure("error", stream=io.BytesIO())
    world, seeds = make_world(folder / "keys"), range(seed, seed + games)
    return asyncio.run(forks.play_many(folder / "games", world, seeds=seeds, count=witnesses))


STAGES = (_kill, _kill_gateway, _kill_shared, _inject, _cut, _tamper, _mutate, _fork)


if __name__ == "__main__":
    sys.exit(main())

"""Blind queries: the protocol against openmined-psi, and in a federation against sealed ones.

``make bench-blind`` (``QUICK=1`` for the small form) prints a table and, as the last line, one JSON
object; progress goes to standard error. docs/benchmarks.md says what is compared with what.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, NoReturn

from bench import febrl, offers, pairs
from bench.federation import ROOT
from bench.processes import Child, Children
from bench.rows import Containers

PEER = "openmined-psi==2.0.6"
PEER_FOLDER = ROOT / ".tools" / "openmined-psi"
HELD_SHARE = 10
"""One term in so many is held."""
LIMITS = {
    "vs_openmined_cpu": 1.10,
    "index_M": 1.5,
    "blind_M": 1.5,
    "prove_M": 2.6,
    "verify_M": 4.0,
    "single_M": 16.0,
    "bytes_per_element": 32.1,
    "rss_mb": 250.0,
    "false_hits": 0,
}
LIMITED_WHEN_QUICK = {"bytes_per_element", "false_hits"}
SPARE_OCTETS = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much."""

    records: int
    terms: int
    rounds: int
    misses: int
    federation: pairs.Scale


FULL = Scale(
    records=1_000_000, terms=100_000, rounds=3, misses=1_000_000,
    federation=pairs.Scale(owners=8, records=100_000, rounds=3, pairs=40),
)  # fmt: skip
QUICK = Scale(
    records=4_000, terms=1_000, rounds=1, misses=4_000,
    federation=pairs.Scale(owners=2, records=2_000, rounds=1, pairs=5),
)  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Rounds:
    """What each round gave; a unit is one multiplication in the same minute by the same process."""

    index_m: list[float] = field(default_factory=list)
    steps_m: dict[str, list[float]] = field(default_factory=dict)
    single_m: list[float] = field(default_factory=list)
    ours_s: list[float] = field(default_factory=list)
    theirs_s: list[float] = field(default_factory=list)
    unit_us: list[float] = field(default_factory=list)
    octets: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def main() -> int:
    """Run the benchmark; 1 when a limit was not held."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small; also by QUICK=1")
    parser.add_argument("--alone", action="store_true", help="without openmined-psi")
    parser.add_argument("--records", type=int)
    parser.add_argument("--terms", type=int)
    parser.add_argument("--rounds", type=int)
    parser.add_argument(
        "--federation-records", type=int, help="of each owner; as shipped: what fits into 15 min"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _terminated)
    quick = options.quick or os.environ.get("QUICK", "") not in {"", "0"}
    scale = _scale(options, QUICK if quick else FULL)
    began = time.perf_counter()
    with TemporaryDirectory(prefix="fairlead-bench-") as name:
        folder = Path(name)
        offers.check_room(folder, pairs.octets(scale.federation) + SPARE_OCTETS)
        figures = protocol(folder, scale, alone=options.alone)
        found = pairs.measure(folder, scale.federation, say)
    figures["blind_over_sealed_p50"] = round(found.ratio(), 3)
    figures["scale"]["federation"] = found.summary(scale.federation)
    figures["scale"]["febrl"] = persons(figures["scale"]["skipped"])
    figures["ok"] = held(figures, LIMITED_WHEN_QUICK if quick else LIMITS.keys())
    figures["seconds"] = round(time.perf_counter() - began, 1)
    print(table(figures))
    print(json.dumps(figures))
    return 0 if figures["ok"] else 1


def _scale(options: argparse.Namespace, usual: Scale) -> Scale:
    federation = usual.federation
    if options.federation_records:
        federation = replace(federation, records=options.federation_records)
    return Scale(
        records=options.records or usual.records,
        terms=options.terms or usual.terms,
        rounds=options.rounds or usual.rounds,
        misses=min(usual.misses, options.records or usual.misses),
        federation=federation,
    )


def _terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(143)


def held(figures: dict[str, Any], limited: Collection[str]) -> bool:
    """Whether nothing went wrong and every figure of ``limited`` is within its limit."""
    scale = figures["scale"]
    within = all(
        figures[name] is None or figures[name] <= limit
        for name, limit in LIMITS.items()
        if name in limited
    )
    return (
        within
        and not scale["wrong"]
        and not scale["federation"]["wrong"]
        and febrl.reached(scale["febrl"])
    )


def protocol(folder: Path, scale: Scale, *, alone: bool) -> dict[str, Any]:
    """All rounds of the protocol, ours and theirs in turns."""
    files = write_values(folder, scale)
    rounds, skipped = Rounds(), []
    with Children(folder) as children:
        peer = None if alone else start_peer(children)
        if peer is None:
            why = "was not asked for" if alone else "cannot be installed here"
            skipped.append(f"vs_openmined_cpu: {PEER} {why}")
        ours = children.obedient("blinder", "bench.blinder", str(folder))
        for number in range(1, scale.rounds + 1):
            one_round(number, ours, peer, files, rounds)
            say(f"round {number} of {scale.rounds}: {progress(rounds)}")
        say(f"looking up {scale.misses:,} values that nobody holds")
        missed = ours.order(do="misses", epoch=scale.rounds, values=files["misses"])
        memory = ours.order(do="memory")
    return summary(scale, rounds, missed, memory, skipped)


def persons(skipped: list[str]) -> dict[str, Any] | None:
    """Recall and precision of persons' match keys, or None and a line that says why."""
    path = febrl.data_file()
    if path is None:
        skipped.append(febrl.skipped())
        return None
    say("matching the persons of FEBRL 3")
    return febrl.measure(febrl.read(path))


def one_round(
    number: int, ours: Child, peer: Child | None, files: dict[str, str], rounds: Rounds
) -> None:
    """The whole protocol once by each program, with a key that neither used before."""
    built = ours.order(do="index", epoch=number, records=files["records"])
    asked = ours.order(do="ask", epoch=number, terms=files["terms"], seed=os.urandom(32).hex())
    single = ours.order(do="single", epoch=number, terms=files["terms"])
    rounds.index_m.append(built["cpu_s"] / built["count"] / built["unit_s"])
    for step, seconds in asked["work_s"].items():
        in_units = seconds / asked["count"] / asked["unit_s"]
        rounds.steps_m.setdefault(step, []).append(in_units)
    rounds.single_m.append(median(single["seconds"]) / single["unit_s"])
    rounds.ours_s.append(built["cpu_s"] + sum(asked["work_s"].values()))
    rounds.unit_us.append(asked["unit_s"] * 1e6)
    rounds.octets.append(max(asked["up"], asked["down"]) / asked["count"])
    if asked["hits"] != int(files["held"]):
        rounds.wrong.append("our hits")
    if peer is not None:
        theirs = peer.order(records=files["records"], terms=files["terms"])
        rounds.theirs_s.append(theirs["cpu_s"])
        if theirs["hits"] != int(files["held"]):
            rounds.wrong.append("openmined's hits")


def write_values(folder: Path, scale: Scale) -> dict[str, str]:
    """Container numbers that are held, asked about, and neither; the terms in no order."""
    numbers = Containers()

    def write(name: str, which: Iterable[int]) -> str:
        path = folder / name
        with path.open("w", encoding="ascii") as file:
            file.writelines(f"{numbers.value(number)}\n" for number in which)
        return str(path)

    held = scale.terms // HELD_SHARE
    wanted = [n * (scale.records // held) for n in range(held)]
    wanted += range(scale.records, scale.records + scale.terms - held)
    wanted.sort(key=lambda number: number * 2_654_435_761 % 2**32)
    beyond = scale.records + scale.terms
    return {
        "records": write("records", range(scale.records)),
        "terms": write("terms", wanted),
        "misses": write("misses", range(beyond, beyond + scale.misses)),
        "held": str(held),
    }


def start_peer(children: Children) -> Child | None:
    """openmined-psi in its own environment, installed when it is not there; None: it cannot be."""
    python = PEER_FOLDER / "bin" / "python"
    steps = [
        [sys.executable, "-m", "venv", str(PEER_FOLDER)],
        [str(python), "-m", "pip", "install", "--quiet", "--only-binary", ":all:", PEER],
    ]
    ready = [str(python), "-c", "import private_set_intersection.python"]
    if not python.exists() or subprocess.run(ready, capture_output=True, check=False).returncode:
        say(f"installing {PEER} into {PEER_FOLDER.relative_to(ROOT)}")
        for step in steps:
            if subprocess.run(step, capture_output=True, check=False).returncode:
                say(f"SKIPPED: {PEER} cannot be installed; nothing is compared with it")
                return None
    return children.foreign("openmined", str(python), str(ROOT / "bench" / "openmined.py"))


def progress(rounds: Rounds) -> str:
    """The round that just ended."""
    steps = ", ".join(f"{step} {values[-1]:.2f}" for step, values in rounds.steps_m.items())
    ratio = ""
    if rounds.theirs_s:
        ratio = f", {rounds.ours_s[-1] / rounds.theirs_s[-1]:.2f} of openmined"
    return f"index {rounds.index_m[-1]:.2f}, {steps}, single {rounds.single_m[-1]:.1f} M{ratio}"


def summary(
    scale: Scale,
    rounds: Rounds,
    missed: dict[str, Any],
    memory: dict[str, Any],
    skipped: list[str],
) -> dict[str, Any]:
    """For programs; ``ok``, ``seconds`` and the federation's figures are still to be set."""
    steps = {step: round(median(values), 3) for step, values in rounds.steps_m.items()}
    ratios = [o / t for o, t in zip(rounds.ours_s, rounds.theirs_s, strict=False)]
    return {
        "schema": 1,
        "bench": "blind",
        "ok": False,
        "scale": {
            "records": scale.records,
            "terms": scale.terms,
            "misses": missed["count"],
            "cores": os.cpu_count(),
            "unit_us": round(median(rounds.unit_us), 2),
            "our_cpu_s": round(median(rounds.ours_s), 2),
            "openmined_cpu_s": round(median(rounds.theirs_s), 2) if ratios else None,
            "vs_openmined_by_round": [round(ratio, 3) for ratio in ratios],
            "pool_rss_mb": round(memory["pool_rss_mb"], 1),
            "open_M": steps["open"],
            "look_up_M": steps["look_up"],
            "wrong": rounds.wrong,
            "skipped": skipped,
        },
        "rounds": scale.rounds,
        "vs_openmined_cpu": round(median(ratios), 3) if ratios else None,
        "index_M": round(median(rounds.index_m), 3),
        "blind_M": steps["blind"],
        "prove_M": steps["prove"],
        "verify_M": steps["verify"],
        "single_M": round(median(rounds.single_m), 2),
        "bytes_per_element": round(max(rounds.octets), 3),
        "rss_mb": round(memory["rss_mb"], 1),
        "false_hits": missed["false_hits"],
        "blind_over_sealed_p50": None,
        "seconds": 0.0,
    }


def table(figures: dict[str, Any]) -> str:
    """For people."""
    lines = [f"{'figure':<20} {'measured':>10} {'limit':>8}"]
    for name, limit in LIMITS.items():
        value = figures[name]
        shown = "skipped" if value is None else f"{value:g}"
        lines.append(f"{name:<20} {shown:>10} {limit:>8g}")
    scale = figures["scale"]
    lines.append(pairs.line(scale["federation"], figures["blind_over_sealed_p50"]))
    lines += febrl.table(scale["febrl"])
    lines += [f"wrong: {what}" for what in scale["wrong"]]
    lines += [f"not in this run: {what}" for what in scale["skipped"]]
    return "\n".join(lines) + "\n"


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

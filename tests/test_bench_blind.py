"""The benchmarks of blind queries run, say what they measured, and leave nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import blinder, offers
from fairlead.entries import ENTRY_SIZE, TAG_SIZE
from fairlead.snapshot import Snapshot, write_snapshot
from tests.blind import ROOT, require_libsodium

require_libsodium()

KEYS = (
    "schema", "bench", "ok", "scale", "rounds", "vs_openmined_cpu", "index_M", "blind_M", "prove_M",
    "verify_M", "single_M", "bytes_per_element", "rss_mb", "false_hits", "blind_over_sealed_p50",
    "seconds",
)  # fmt: skip
"""Of the last line of bench-blind, in their order: programs read them."""
TAGS = st.binary(min_size=TAG_SIZE, max_size=TAG_SIZE)
PATIENCE_S = 90.0
PROTOCOL = ("bench.blind", "--quick", "--alone", "--records", "200000")
PUBLISHING = ("bench.publication", "--records", "20000")
MARK = "FAIRLEAD_BENCH_MARK"


@settings(max_examples=60, deadline=None)
@given(st.sets(TAGS, min_size=1, max_size=300), st.lists(TAGS, max_size=20))
def test_what_the_benchmark_sorts_is_a_snapshot(
    tmp_path_factory: pytest.TempPathFactory, held: set[bytes], others: list[bytes]
) -> None:
    """In whatever order entries come, each is found in the product's snapshot, and no other."""
    path = tmp_path_factory.mktemp("snapshot") / "entries"
    rows = [tag.ljust(ENTRY_SIZE, b"\x07") for tag in held]
    digest = write_snapshot(path, blinder.in_order([b"".join(rows)]))
    found = Snapshot.open(path, entries=len(rows), digest=digest)
    assert [found.find(row[:TAG_SIZE]) for row in rows] == rows
    assert [found.find(tag) is not None for tag in others] == [tag in held for tag in others]
    found.close()


def test_a_disk_without_room_is_refused_at_once(tmp_path: Path) -> None:
    """Before anything is computed, with the variable that chooses another folder."""
    offers.check_room(tmp_path, 1)
    with pytest.raises(SystemExit, match="TMPDIR"):
        offers.check_room(tmp_path, 1 << 60)


def last_line(*arguments: str, folder: Path, seconds: int) -> dict[str, Any]:
    """What a benchmark printed last; its temporary folder lies in ``folder`` and is gone."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False,
        env={**os.environ, "FAIRLEAD_DATA": "", "TMPDIR": str(folder)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert not list(folder.glob("fairlead-bench-*"))
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return summary


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_blind_benchmark_ends_with_its_figures(tmp_path: Path) -> None:
    """A small run without the other program asks, verifies and finds, alone and in a federation,
    and reports each figure under the name that programs read."""
    summary = last_line("bench.blind", "--quick", "--alone", folder=tmp_path, seconds=290)
    assert tuple(summary) == KEYS
    assert {key: summary[key] for key in ("schema", "bench", "ok", "rounds", "false_hits")} == {
        "schema": 1, "bench": "blind", "ok": True, "rounds": 1, "false_hits": 0,
    }  # fmt: skip
    scale = summary["scale"]
    assert summary["vs_openmined_cpu"] is scale["febrl"] is None
    assert scale["misses"] == scale["records"] == 4000
    assert 32 < summary["bytes_per_element"] <= 32.1
    for figure in ("index_M", "blind_M", "prove_M", "verify_M", "single_M", "rss_mb", "seconds"):
        assert summary[figure] > 0
    assert [what.partition(":")[0] for what in scale["skipped"]] == ["vs_openmined_cpu", "FEBRL 3"]
    asked = scale["federation"]
    assert (asked["owners"], asked["records_an_owner"], asked["wrong"]) == (2, 2000, {})
    assert summary["blind_over_sealed_p50"] > 0
    assert min(asked["sealed_p50_ms"], asked["blind_p50_ms"]) > 0


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_publication_benchmark_ends_with_its_figures(tmp_path: Path) -> None:
    """A small run publishes twice, and the delta leads to the second snapshot."""
    summary = last_line("bench.publication", "--records", "3000", folder=tmp_path, seconds=230)
    assert tuple(summary) == (
        "schema", "bench", "ok", "scale", "publish_s", "records_per_s", "snapshot_octets",
        "republish_s", "delta_octets", "apply_s", "open_s", "seconds",
    )  # fmt: skip
    assert summary["ok"] is True
    assert summary["scale"] == {"records": 3000, "added": 30, "cores": os.cpu_count()}
    assert 30 * ENTRY_SIZE < summary["delta_octets"] < summary["snapshot_octets"]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("arguments", "busy", "number"),
    [
        (PROTOCOL, "spawn_main", signal.SIGINT),
        (PROTOCOL, "spawn_main", signal.SIGKILL),
        (PUBLISHING, "node.publication.child", signal.SIGTERM),
        (PUBLISHING, "node.publication.child", signal.SIGKILL),
    ],
)
def test_a_benchmark_that_is_ended_leaves_no_process(
    tmp_path: Path, arguments: tuple[str, ...], busy: str, number: signal.Signals
) -> None:
    """Ended by a person, by a supervisor, or at once: its pool, nodes and their children are gone,
    and so, unless it had no time for that, is its folder."""
    value = os.urandom(8).hex()
    mark = f"{MARK}={value}"
    bench = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, MARK: value, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    try:
        until(lambda: any(busy in command for command in marked(mark)))
        bench.send_signal(number)
        bench.wait(PATIENCE_S)
        until(lambda: not marked(mark))
    finally:
        bench.kill()
        bench.wait()
    if number != signal.SIGKILL:
        assert not list(tmp_path.glob("fairlead-bench-*"))


def marked(mark: str) -> list[str]:
    """The command lines of all processes that run with ``mark`` in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:  # it has ended, or is another user's
            continue
    return found


def until(true: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.1)

"""The blind benchmark runs, and its stand-in for a snapshot finds exactly what is in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import snapshot
from fairlead.entries import ENTRY_SIZE
from tests.blind import ROOT, require_libsodium

require_libsodium()

TAGS = st.binary(min_size=16, max_size=16) | st.sampled_from([bytes(16), b"\xff" * 16])


@settings(max_examples=60)
@given(st.sets(TAGS, min_size=1, max_size=300), st.lists(TAGS, max_size=20))
def test_a_snapshot_finds_what_it_holds(
    tmp_path_factory: pytest.TempPathFactory, held: set[bytes], others: list[bytes]
) -> None:
    """Every tag that was written is found with its entry, and no other."""
    path = tmp_path_factory.mktemp("snapshot") / "entries"
    rows = [tag.ljust(ENTRY_SIZE, b"\x07") for tag in held]
    assert snapshot.write(path, [b"".join(rows)]) == len(rows) * ENTRY_SIZE
    with snapshot.Snapshot(path) as found:
        assert [found.find(row[:16]) for row in rows] == rows
        assert [found.find(tag) is not None for tag in others] == [tag in held for tag in others]


@pytest.mark.slow
def test_the_blind_benchmark_ends_with_its_figures() -> None:
    """A small run without the other program asks, verifies and finds, and reports each figure."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.blind", "--quick", "--alone"],
        cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
        env={**os.environ, "FAIRLEAD_DATA": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    summary = json.loads(done.stdout.splitlines()[-1])
    assert {key: summary[key] for key in ("schema", "bench", "ok", "rounds", "false_hits")} == {
        "schema": 1, "bench": "blind", "ok": True, "rounds": 1, "false_hits": 0,
    }  # fmt: skip
    assert summary["vs_openmined_cpu"] is summary["febrl"] is None
    assert summary["scale"]["misses"] == summary["scale"]["records"] == 4000
    assert 32 < summary["bytes_per_element"] <= 32.1
    for figure in ("index_M", "blind_M", "prove_M", "verify_M", "look_up_M", "single_M", "rss_mb"):
        assert summary[figure] > 0
    assert [what.partition(":")[0] for what in summary["skipped"]] == [
        "vs_openmined_cpu", "blind_over_sealed_p50", "FEBRL 3",
    ]  # fmt: skip

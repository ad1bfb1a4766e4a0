"""The benchmarks run, and their last line is what a program can read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import appends, audit, sampler
from bench.rounds import p50_p99

ROOT = Path(__file__).resolve().parent.parent


def last_line(*arguments: str) -> dict[str, Any]:
    """Run a benchmark in its own process and read its last line."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return summary


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_gateway_benchmark_ends_with_its_figures() -> None:
    """A short run answers every query and reports each figure that the full run reports."""
    summary = last_line("bench.gateway", "--quick")
    assert {key: summary[key] for key in ("schema", "bench", "ok", "rounds", "failed")} == {
        "schema": 1, "bench": "gateway", "ok": True, "rounds": 1, "failed": 0,
    }  # fmt: skip
    assert summary["scale"]["owners"] == [3]
    assert summary["seconds"] > 0
    for ratio in ("ratio", "cpu_ratio"):
        assert list(summary[ratio]) == ["3"]
        assert summary[ratio]["3"] > 0
    for arm in ("plain", "full"):
        latency = summary["latency_ms"]["3"][arm]
        assert set(latency) == {"loaded", "tick_off", "tick_on"}
        for found in latency.values():
            assert 0 < found["p50"] <= found["p99"]
    assert 0 < summary["idle_mb"] < summary["rss_256_mb"]
    assert summary["errors_256"] == 0, summary["errors_256_for"]
    stall = summary["stalled"]
    assert stall["complete"] == stall["queries"] > 0
    assert stall["others_failed"] == 0
    assert stall["others_p50_ratio"] > 0
    assert set(stall["stalled_owner"]) <= {"DEADLINE", "BULKHEAD_FULL", "BREAKER_OPEN"}
    whole = summary["end_to_end"]["3"]
    assert set(whole) == {"tick_ms", "in_flight_1", "in_flight_8"}
    assert whole["in_flight_1"]["queries_per_s"] > 0


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_node_benchmark_ends_with_its_figures() -> None:
    """A small run builds, refreshes, looks up and starts, and reports every figure."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.node", "--rows", "5000", "--seconds", "1"],
        cwd=ROOT, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    summary = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == (0 if summary["ok"] else 1), done.stderr[-3000:]
    assert {key: summary[key] for key in ("schema", "bench")} == {"schema": 1, "bench": "node"}
    scale = summary["scale"]
    assert scale["rows"] == 5000
    assert 0 < scale["hits"] < scale["lookups"]
    assert scale["moved_rows_per_s"] > 0
    assert 0 < summary["lookup_us_p50"] <= summary["lookup_us_p99"]
    for figure in (
        "ingest_rows_per_s", "index_bytes_per_row", "batch_terms_per_s", "start_s", "rss_mb",
    ):  # fmt: skip
        assert summary[figure] > 0


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_policy_benchmark_ends_with_its_figures() -> None:
    """A small run decides everything rightly and reports every figure, null without an OPA."""
    summary = last_line("bench.policy", "--quick")
    assert list(summary) == [
        "schema", "bench", "ok", "scale", "admission_us", "route50_us", "release_us_per_record",
        "replay_per_s", "share_of_query", "seconds",
    ]  # fmt: skip
    assert {key: summary[key] for key in ("schema", "bench", "ok")} == {
        "schema": 1, "bench": "policy", "ok": True,
    }  # fmt: skip
    skipped = bool(summary["scale"]["skipped"])
    for figure in ("admission_us", "route50_us", "release_us_per_record"):
        assert list(summary[figure]) == ["wasm", "opa"]
        assert summary[figure]["wasm"] > 0
        assert (summary[figure]["opa"] is None) is skipped
    assert summary["replay_per_s"] > 0
    assert 0 < summary["share_of_query"] < 1


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_audit_benchmark_ends_with_its_figures() -> None:
    """A short run appends in every arm, loses nothing, and reports each figure of a full one."""
    summary = last_line("bench.audit", "--quick")
    assert list(summary) == [
        "schema", "bench", "ok", "scale", "group_over_single", "log_qps", "gateway_qps",
        "append_us", "proof_us_1m", "pg_two_over_one",
    ]  # fmt: skip
    assert {key: summary[key] for key in ("schema", "bench", "ok")} == {
        "schema": 1, "bench": "audit", "ok": True,
    }  # fmt: skip
    assert list(summary["log_qps"]) == ["1", "64", "256"]
    figures = [summary[key] for key in ("group_over_single", "gateway_qps", "append_us")]
    assert all(value > 0 for value in (*figures, *summary["log_qps"].values()))
    two = summary["pg_two_over_one"]
    assert two is None if summary["scale"]["skipped"] else two > 0


def test_a_commit_of_the_audit_benchmark_takes_its_flush(tmp_path: Path) -> None:
    """Each commit takes what a flush is said to take, however fast the disk is."""
    load = appends.leaves(tmp_path, 3, 0.2, grouped=False, flush_s=0.02)
    assert load.leaves == load.commits
    assert load.seconds >= load.commits * 0.02
    assert list(tmp_path.iterdir()) == []


def test_the_audit_benchmark_says_no() -> None:
    """A full run in which one limit is not held is not ok."""
    figures = {"group_over_single": 50.0, "log_qps": {"64": 1000, "256": 2500}, "proof_us_1m": 50.0}
    assert audit.held(figures)
    for wrong in (
        {"group_over_single": 49.9}, {"log_qps": {"64": 999, "256": 2500}},
        {"log_qps": {"64": 1000, "256": 2499}}, {"proof_us_1m": 50.1},
    ):  # fmt: skip
        assert not audit.held(figures | wrong)


def test_percentiles_are_values_that_were_measured() -> None:
    """The nearest-rank percentiles of one, two and a hundred values are among them."""
    assert p50_p99([7.0]) == {"p50": 7.0, "p99": 7.0}
    assert p50_p99([2.0, 1.0]) == {"p50": 1.0, "p99": 2.0}
    assert p50_p99([float(n) for n in range(100, 0, -1)]) == {"p50": 50.0, "p99": 99.0}


@pytest.mark.parametrize(
    ("file", "name", "component"),
    [
        ("fairlead/signing.py", "verify", "signatures and keys"),
        ("fairlead/policy/points.py", "PolicyPoints._single", "policy"),
        ("fairlead/auditlog/log.py", "AuditLog.read", "audit log and receipts"),
        ("fairlead/door.py", "Door._enter", "gRPC: door"),
        ("gateway/tactical.py", "Tactical._run", "walk and fan-out"),
    ],
)
def test_a_sample_counts_for_its_component(file: str, name: str, component: str) -> None:
    """A profile's components are found by file and function, so a moved file shows up here."""
    path = ROOT / file
    assert path.is_file()
    assert sampler.component([(str(path), 1, name)]) == component

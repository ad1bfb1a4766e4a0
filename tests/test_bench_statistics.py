"""The statistics benchmark runs, and its last line is what a program can read."""

from __future__ import annotations

import json

import pytest

from bench import cube_rows, statistics


def test_the_statistics_benchmark_ends_with_its_figures(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short run adds up right and reports each figure that the full run reports."""
    monkeypatch.setattr("sys.argv", ["statistics", "--quick"])
    assert statistics.main() == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (summary["schema"], summary["bench"], summary["ok"]) == (1, "statistics", True)
    assert summary["octets_a_node"] == 16 * summary["scale"]["cells"]
    assert summary.keys() >= statistics.LIMITS.keys()


def test_the_benchmark_of_mapped_rows_counts_each_once() -> None:
    """A short run counts every generated row and says how fast and in how much memory."""
    found = cube_rows.measure(cube_rows.QUICK, lambda _: None)
    assert found.keys() == {"cube_seconds", "rss_mb", "cube_rows_per_s"}
    assert found["rss_mb"] < cube_rows.LIMITS["rss_mb"]

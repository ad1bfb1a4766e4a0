"""The statistics benchmark runs, and its last line is what a program can read."""

from __future__ import annotations

import json

import pytest

from bench import statistics


def test_the_statistics_benchmark_ends_with_its_figures(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short run adds up right and reports each figure that the full run reports."""
    monkeypatch.setattr("sys.argv", ["statistics", "--quick"])
    assert statistics.main() == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (summary["schema"], summary["bench"], summary["ok"]) == (1, "statistics", True)
    assert summary["octets_a_node"] == 16 * summary["scale"]["cells"]
    assert summary.keys() >= {*statistics.LIMITS, "cube_rows_per_s"}

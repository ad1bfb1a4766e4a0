"""The demo as a stranger runs it: one command, one JSON line, nothing left behind."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.federation import ROOT

RECORDS = "3000"
KEYS = {
    "schema", "demo", "partners", "records", "queries", "hits", "no_hits", "refused",
    "unreachable", "blind_hits", "terms_found_at_blind_owner", "receipts_verified",
    "terms_found_in_gateway_files", "figures_shown", "kpi_pack", "seconds",
}  # fmt: skip
PROCESSES = 7

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(300)]


def demo(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the demo in a folder of its own."""
    return subprocess.run(
        [sys.executable, "-m", "demo.run", "--records", RECORDS, *options],
        cwd=ROOT,
        env={**os.environ, "FAIRLEAD_DEMO_DIR": str(folder), "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def ports(folder: Path) -> list[int]:
    """Where the demo's processes listen."""
    files = sorted((folder / "config").glob("*.toml"))
    return [int(tomllib.loads(f.read_text())["listen"].rpartition(":")[2]) for f in files]


def listening(folder: Path) -> int:
    """How many of those ports somebody listens on."""
    found = 0
    for port in ports(folder):
        with socket.socket() as probe:
            found += probe.connect_ex(("127.0.0.1", port)) == 0
    return found


def running(folder: Path) -> list[int]:
    """Processes whose command line names the demo's folder."""
    own = os.getpid()
    pids = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in words and int(entry.name) != own:
            pids.append(int(entry.name))
    return pids


def test_the_demo_says_ok_and_leaves_nothing(tmp_path: Path) -> None:
    """The last line is the summary, every receipt verifies, no term is found, the figures are shown
    and packed, and nothing runs on."""
    folder = tmp_path / "demo"
    ended = demo(folder)
    assert ended.returncode == 0, ended.stderr
    summary = json.loads(ended.stdout.splitlines()[-1])
    assert set(summary) == KEYS
    assert (summary["schema"], summary["demo"], summary["partners"]) == (1, "ok", 6)
    assert summary["records"] >= int(RECORDS)
    assert summary["receipts_verified"] == summary["queries"] > 0
    for kind in ("hits", "no_hits", "refused", "unreachable"):
        assert summary[kind] > 0, kind
    assert summary["terms_found_in_gateway_files"] == 0
    assert (summary["blind_hits"], summary["terms_found_at_blind_owner"]) == (1, 0)
    assert summary["figures_shown"] >= 8
    page = Path(summary["kpi_pack"])
    assert [path.suffix for path in sorted(page.parent.iterdir())] == [".html", ".json", ".zip"]
    assert page.read_text().count("<svg") > 10
    assert 0 < summary["seconds"] < 60
    assert len(ports(folder)) == PROCESSES
    assert (running(folder), listening(folder)) == ([], 0)


def test_the_demo_stays_up_until_it_is_taken_down(tmp_path: Path) -> None:
    """--up leaves seven processes and says what to try; twice is refused; --down ends them all."""
    folder = tmp_path / "demo"
    try:
        ended = demo(folder, "--up")
        assert ended.returncode == 0, ended.stderr
        assert "make demo-down" in ended.stderr
        assert (len(running(folder)), listening(folder)) == (PROCESSES, PROCESSES)
        again = demo(folder, "--up")
        assert again.returncode == 3
        assert "DEMO_RUNNING" in again.stderr
        assert len(running(folder)) == PROCESSES
    finally:
        down = demo(folder, "--down")
    assert down.returncode == 0, down.stderr
    assert (running(folder), listening(folder)) == ([], 0)
    assert demo(folder, "--down").returncode == 0

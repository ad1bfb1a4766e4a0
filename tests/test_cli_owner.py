"""The owner's commands, as typed: on a node's files, and through the socket of one that runs."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fairlead.config import Limits, NodeConfig
from fairlead.trust import Trust
from node.cli.main import app
from node.indexing import index_keys
from tests import processes
from tests.federation import STORY, build, federation
from tests.test_exposure import MAPPING

OWNER = "terminal-north"
ROWS = f"box,direction,at,pap,plate,card\n{STORY},IN,2026-11-20T10:00:00Z,AMBER,NL-74-BXK-3,C-1\n"


def write_config(config: NodeConfig, path: Path, **changes: object) -> Path:
    """A configuration as its file."""
    return processes.write_config(path, config, **changes)


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A node at rest with one mapped source, of which nothing was accepted; its configuration."""
    made = build(
        tmp_path, partners=("customs", OWNER), records=None, local_policy=None, tick_ms=5,
        limits=Limits(), unaccepted=[OWNER],
    )  # fmt: skip
    (tmp_path / "gate.toml").write_text(MAPPING)
    (tmp_path / "gate.csv").write_text(ROWS)
    config = made.node_configs[OWNER]
    index_keys(config)
    return write_config(config, tmp_path / "node.toml", sources=["gate.toml"])


@dataclass(frozen=True, slots=True)
class Typed:
    """What a command left behind."""

    exit_code: int
    stdout: str
    stderr: str


def typed(config: Path, *words: str) -> Typed:
    """As the program's entry point runs it, which turns errors into exit codes."""
    done = CliRunner().invoke(app, [*words, "--config", str(config)], standalone_mode=False)
    code = int(done.return_value or 0)
    if done.exception is not None:
        code = getattr(done.exception, "exit_code", 1)
    return Typed(code, done.stdout, done.stderr)


def test_from_nothing_to_an_index(node: Path) -> None:
    """Unaccepted: `check` says so and `index` leaves the source out; accepted: both are content;
    an edited mapping is left out again until it was accepted."""
    found = typed(node, "check")
    assert found.exit_code == 8
    assert "EXPOSURE_NOT_ACCEPTED" in found.stdout
    skipped = typed(node, "index")
    assert "nobody has accepted its mapping" in skipped.stderr
    assert "0 records held" in skipped.stderr
    shown = json.loads(typed(node, "exposure", "--output", "json").stdout)
    assert shown["accepted"] is None
    assert shown["sources"][0]["accepted"] is False
    assert typed(node, "exposure", "accept", "--by", "u-dpo", "--digest", "0" * 64).exit_code != 0
    accepted = typed(node, "exposure", "accept", "--by", "u-dpo", "--digest", shown["digest"])
    assert json.loads(accepted.stdout)["changed"] is True
    again = typed(node, "exposure", "accept", "--by", "u-dpo")
    assert json.loads(again.stdout)["changed"] is False
    assert typed(node, "check").exit_code == 0
    assert "1 records held" in typed(node, "index").stderr
    mapping = node.with_name("gate.toml")
    mapping.write_text(mapping.read_text().replace('redact_always = ["lane"]', ""))
    assert "0 records held" in typed(node, "index").stderr
    assert typed(node, "check").exit_code == 8


def test_check_finds_everything_wrong_at_once(node: Path, tmp_path: Path) -> None:
    """An open key file, a renamed column and a missing acceptance are one report, each with its
    remedy; the first decides the exit code."""
    key = next((tmp_path / "keys").rglob(f"{OWNER}/**/signing.key"))
    key.chmod(0o644)
    (tmp_path / "gate.csv").write_text(ROWS.replace("plate", "licence"))
    found = typed(node, "check")
    assert found.exit_code == 3
    for code in ("KEY_PERMISSIONS", "COLUMN_MISSING", "EXPOSURE_NOT_ACCEPTED"):
        assert code in found.stdout
    assert f"chmod 600 {key}" in found.stderr
    key.chmod(0o600)
    assert "KEY_PERMISSIONS" not in typed(node, "check").stdout


def test_check_names_who_of_the_audit_committee_is_not_pinned(node: Path, tmp_path: Path) -> None:
    """A newcomer that has not telephoned a member cannot seal to the committee: `check` says to
    whom, and which command comes next; once pinned, all is in order."""
    typed(node, "exposure", "accept", "--by", "u-dpo")
    pins = tmp_path / "keys" / "public" / "pins.toml"
    whole = Trust.load(pins)
    fewer = {partner: root for partner, root in whole.roots.items() if partner != "customs"}
    replace(whole, roots=fewer).save(pins)
    found = typed(node, "check")
    assert found.exit_code != 0
    assert re.search(r"^audit committee: customs +ROOT_UNPINNED", found.stdout, re.MULTILINE)
    assert re.search(rf"^audit committee: {OWNER} +in order", found.stdout, re.MULTILINE)
    assert "next: fairlead-node partner pin" in found.stderr
    whole.save(pins)
    assert typed(node, "check").exit_code == 0


def test_pause_status_resume_at_rest(node: Path, tmp_path: Path) -> None:
    """Without a running node the commands work on its files, and `status` shows what holds."""
    typed(node, "exposure", "accept", "--by", "u-dpo")
    assert typed(node, "pause", "--reason", "maintenance").exit_code != 0
    assert typed(node, "pause", "--reason", "MAINTENANCE", "--for", "soon").exit_code != 0
    paused = typed(node, "pause", "--reason", "MAINTENANCE", "--for", "2h")
    assert json.loads(paused.stdout)["reason"] == "MAINTENANCE"
    status = json.loads(typed(node, "status", "--output", "json").stdout)
    assert status["state"] == "stopped"
    assert status["paused"]["reason"] == "MAINTENANCE"
    assert {"PAUSED"} <= set(status["warnings"])
    assert status["exposure"]["pending"] == 0
    assert "accepted by u-dpo" in typed(node, "status").stdout
    assert typed(node, "resume").exit_code == 0
    assert typed(node, "resume").exit_code != 0
    bundle = tmp_path / "bundle.tar.gz"
    assert typed(node, "doctor", "--bundle", str(bundle)).exit_code == 0
    assert bundle.stat().st_size > 500
    assert typed(node, "doctor", "--bundle", str(bundle)).exit_code == 2


def test_the_exposure_is_printed_three_ways(node: Path) -> None:
    """A table to read, lines for a spreadsheet, a page to sign: about the same rows."""
    table = typed(node, "exposure").stdout
    sheet = typed(node, "exposure", "--output", "csv").stdout
    page = typed(node, "exposure", "--output", "html").stdout
    for text in (table, sheet, page):
        assert "container" in text
        assert "plate" in text
    assert page.startswith("<!doctype html>")
    assert "lane" in page


async def test_through_the_socket(tmp_path: Path) -> None:
    """While the node runs, its log is locked, and the same commands reach it all the same."""
    async with federation(tmp_path, partners=("customs", OWNER)) as made:
        config = write_config(made.node_configs[OWNER], tmp_path / "node.toml")
        await made.nodes[OWNER].control.start()
        status = await asyncio.to_thread(typed, config, "status", "--output", "json")
        assert json.loads(status.stdout)["state"] == "serving"
        assert json.loads(status.stdout)["gateway"]["reachable"] is True
        await asyncio.to_thread(typed, config, "pause", "--reason", "INCIDENT")
        assert made.nodes[OWNER].steering.pause.state is not None
        words = ("preview", STORY, "--as", "customs", "--purpose", "drug-trafficking")
        shown = await asyncio.to_thread(typed, config, *words)
        assert "released" in shown.stdout
        assert "place=Gate 7" in shown.stdout
        assert "driver_name (" in shown.stdout

"""``fairlead-node reports``, ``enquiries``, ``outcomes`` as typed, and as the page shows them."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fairlead.config import Limits
from node.cli.main import app
from node.control.message import NodeRefused
from tests.federation import build, federation
from tests.test_cli_owner import typed, write_config
from tests.typist import blocks

OWNER = "terminal-north"
PAGE = "docs/statistics.md"
REPORT = (
    "reports", "add", "R-1", "--received", "2026-02-16", "--place", "NLRTM", "--event",
    "seal-broken", "--shore", "sea", "--modus", "rip-off", "--by", "u-t01",
)  # fmt: skip


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A node at rest; its configuration."""
    made = build(
        tmp_path, partners=("customs", OWNER), records=None, local_policy=None, tick_ms=5,
        limits=Limits(),
    )  # fmt: skip
    return write_config(made.node_configs[OWNER], tmp_path / "node.toml")


def test_the_page_is_typed(node: Path) -> None:
    """Every command of the page, in its order, prints what the page shows below it."""
    commands = [
        command
        for block in blocks(PAGE)
        if block.heading in {"Mapped sources", "The register"}
        for command in block.commands
    ]
    assert len(commands) > 10
    for command in commands:
        program, *words = shlex.split(command.line.replace("node.toml", str(node)))
        assert program == "fairlead-node"
        done = CliRunner().invoke(app, words, standalone_mode=False)
        reasons = getattr(done.exception, "reasons", ())
        assert ", ".join(reasons) == (command.refusal or ""), command.line
        assert (done.exception is None) == (command.refusal is None), command.line
        printed = " ".join(done.stdout.split())
        for line in command.below.splitlines():
            if line.strip() and command.refusal is None and not re.search(r"[0-9]", line):
                assert " ".join(line.split()) in printed, command.line


def test_what_is_entered_is_listed_in_every_format(node: Path) -> None:
    """The same entries as a table, as JSON and as CSV; a second time nothing changes."""
    first = typed(node, *REPORT, "--output", "json")
    assert json.loads(first.stdout) == {"id": "R-1", "changed": True}
    assert "next: fairlead-node enquiries open" in first.stderr
    again = typed(node, *REPORT)
    assert "False" in again.stdout
    assert "said so already" in again.stderr
    (row,) = json.loads(typed(node, "reports", "list", "--output", "json").stdout)
    assert (row["id"], row["kind"], row["event"], row["state"]) == (
        "R-1", "anonymous", "seal-broken", "in force",
    )  # fmt: skip
    assert row["feedback_due"] is True
    lines = typed(node, "reports", "list", "--output", "csv").stdout.splitlines()
    assert lines[0].startswith("row,id,received,kind,place")
    assert lines[1].startswith("1,R-1,2026-02-16,anonymous,NLRTM")
    assert "R-1" in typed(node, "reports", "list").stdout
    assert json.loads(typed(node, "outcomes", "list", "--output", "json").stdout) == []


def test_who_made_a_report_is_typed_and_not_an_argument(node: Path, tmp_path: Path) -> None:
    """It comes from a file or from the keyboard, and is shown to who asks for it alone."""
    (tmp_path / "who.txt").write_text("Jansen, quay 7\n")
    words = [*REPORT, "--kind", "named", "--reporter-from", str(tmp_path / "who.txt")]
    assert typed(node, *words).exit_code == 0
    assert "Jansen" not in typed(node, "reports", "list", "--output", "json").stdout
    shown = typed(node, "reports", "reporter", "R-1", "--by", "u-t01")
    assert json.loads(shown.stdout)["reporter"] == "Jansen, quay 7"
    assert typed(node, "reports", "reporter", "R-1", "--forget", "--by", "u-t01").exit_code == 0
    shown = typed(node, "reports", "reporter", "R-1", "--by", "u-t01")
    assert json.loads(shown.stdout)["reporter"] is None
    words = ["reports", "add", "R-2", *REPORT[3:], "--kind", "named", "--reporter-from", "-"]
    done = CliRunner().invoke(
        app, [*words, "--config", str(node)], input="de Vries\n", standalone_mode=False
    )
    assert done.exception is None
    shown = typed(node, "reports", "reporter", "R-2", "--by", "u-t01")
    assert json.loads(shown.stdout)["reporter"] == "de Vries"
    assert typed(node, *REPORT, "--reporter-from", str(tmp_path / "none.txt")).exit_code == 2


@pytest.mark.parametrize(
    "words",
    [
        ("reports", "add", "R-1"),
        ("reports", "add", "R-1", "--received", "2026-02-16", "--by", "u-t01"),
        ("reports", "feedback", "R-9", "--given", "2026-02-16", "--by", "u-t01"),
        ("reports", "withdraw", "R-9", "--by", "u-t01"),
        ("enquiries", "open", "E-1", "--report", "R-9", "--opened", "2026-02-16", "--by", "u-t01"),
        ("enquiries", "close", "E-9", "--closed", "2026-02-16", "--by", "u-t01"),
        ("outcomes", "add", "O-1", "--enquiry", "E-9", "--outcome", "seizure", "--kg", "-1",
         "--on", "2026-02-16", "--by", "u-t01"),
    ],
    ids=lambda words: " ".join(words[:2]),
)  # fmt: skip
def test_what_cannot_be_is_refused(node: Path, words: tuple[str, ...]) -> None:
    """Half a command, an entry that cannot be counted, and what follows nothing."""
    assert typed(node, *words).exit_code == 2


async def test_a_running_node_takes_them_over_its_socket(tmp_path: Path) -> None:
    """The commands are the same beside a node that serves, which knows the entry at once, and says
    as much of what it cannot do."""
    async with federation(tmp_path, partners=("customs", OWNER)) as made:
        app_ = made.nodes[OWNER]
        await app_.control.start()
        config = write_config(made.node_configs[OWNER], tmp_path / "node.toml")
        assert (await asyncio.to_thread(typed, config, *REPORT)).exit_code == 0
        (row,) = app_.steering.register.register.rows()
        assert row.entry.id == "R-1"
        assert "R-1" in (await asyncio.to_thread(typed, config, "reports", "list")).stdout
        asked = ("statistics", "preview", "displacement", "--level", "quarter,shore", "--period")
        shown = await asyncio.to_thread(typed, config, *asked, "2026-Q1", "--output", "json")
        (cell,) = json.loads(shown.stdout)["cells"]
        assert (cell["codes"], cell["values"]) == (["sea"], {"events": [1]})
        assert (await asyncio.to_thread(typed, config, *asked, "2099")).exit_code == 2
        with pytest.raises(NodeRefused) as caught:
            await asyncio.to_thread(
                app, ["statistics", "preview", "vulnerabilities", "--level", "quarter", "--period",
                      "2026-Q1", "--config", str(config)], standalone_mode=False,
            )  # fmt: skip
        assert caught.value.reasons == ("FIGURES_NONE",)
        assert "vulnerabilities: source: none of these" in caught.value.diagnostics()
        refused = await asyncio.to_thread(typed, config, *REPORT, "--place", "nowhere")
        assert refused.exit_code == 2

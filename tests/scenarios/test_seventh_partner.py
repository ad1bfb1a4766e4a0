"""docs/join.md, typed: a seventh partner joins the running demo and gives its first answer."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests.federation import free_ports
from tests.postgres import postgres
from tests.running_demo import running_demo
from tests.typist import Machine, Typist, blocks

PAGE = "docs/join.md"
PARTNERS = "The partner", "The owner"
"""Headings whose commands the seventh partner types."""
MOST = 12
STORY, OTHER = "MSCU6639870", "TCLU1234568"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]


def test_the_partner_types_at_most_twelve_commands() -> None:
    """The page keeps its promise: every command at the partner is counted."""
    own = [block for block in blocks(PAGE) if block.heading.startswith(PARTNERS)]
    lines = [command.line for block in own for command in block.commands]
    assert 0 < len(lines) <= MOST
    assert sum("serve" in line.split() for line in lines) == 1


def phrase(folder: Path, partner: str) -> str:
    """What a partner's people read out: the phrase of their root, from their own node's list."""
    from fairlead.phrases import check_phrase
    from fairlead.trust import Trust

    trust = Trust.load(folder / ".demo" / "public" / partner / "pins.toml")
    return check_phrase(trust.roots[partner])


def test_a_seventh_partner_joins_with_the_documented_commands(tmp_path: Path) -> None:
    """Its own CSV file and PostgreSQL table give the first answer, to whoever pinned it."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600))
    rows = [f"{STORY},{moment},IN,Gate 3", f"CSQU3054383,{moment},OUT,Gate 4"]
    (tmp_path / "trips.csv").write_text(
        "\n".join(["container_no,moved_at,direction,gate", *rows]) + "\n"
    )
    own, authority = free_ports(2)
    with postgres() as server, running_demo(tmp_path), Machine(tmp_path) as machine:
        server.run(
            "CREATE TABLE gate_moves (id bigint PRIMARY KEY, container text NOT NULL, "
            "moved_at timestamptz NOT NULL, lane text)",
            f"INSERT INTO gate_moves VALUES (1, '{STORY}', '{moment}', 'L1'), "  # noqa: S608
            f"(2, '{OTHER}', '{moment}', 'L2')",
            "CREATE ROLE reader LOGIN",
            "GRANT SELECT ON gate_moves TO reader",
        )
        typist = Typist(
            PAGE, machine, tmp_path,
            values={
                "$INVITED": lambda: machine.heard("its check phrase[^\n]*?: ([^\n]+)"),
                "$ROOT": lambda: machine.heard("your root's check phrase[^\n]*?: ([^\n]+)"),
                "$CUSTOMS": lambda: phrase(tmp_path, "customs"),
                "$INLAND": lambda: phrase(tmp_path, "inland-port"),
                "$OCEANIC": lambda: phrase(tmp_path, "oceanic-line"),
                "127.0.0.1:7591": f"127.0.0.1:{own}",
                "127.0.0.1:7590": f"127.0.0.1:{authority}",
            },
        )  # fmt: skip
        typist.block("The operators invite")
        typist.block("The partner makes its keys")
        typist.block("Two operators admit it")
        url = tmp_path / "node" / "db.url"
        url.write_text(server.url(user="reader"))
        url.chmod(0o600)
        typist.block("The partner connects its data")
        typist.block("The owner accepts what could leave, and serves")
        said = typist.block("Customs asks")
        typist.done()
    assert re.search(r"^east-quay +HIT 2-5", said, re.MULTILINE), said
    assert "Gate 3" in said

"""``fairlead-node statistics waive`` as typed, over a real line to a real gateway."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from fairlead.cubes.period import parse_unit
from fairlead.strategic.terms import version_at
from fairlead.strategic.waiver import read_waiver
from fairlead.v1 import audit_pb2
from tests.federation import federation
from tests.test_cli_owner import typed, write_config
from tests.test_cli_register import OWNER, REPORT

WAIVE = (
    "statistics", "waive", "reports-received", "--cell", "2026-Q1/NL", "--level",
    "quarter,country", "--measure", "reports", "--by", "u-t01",
)  # fmt: skip


async def test_an_owner_publishes_its_figure_at_the_gateway(tmp_path: Path) -> None:
    """Nobody is there to confirm: nothing leaves. Confirmed: the gateway has it, both logs say so,
    and the same command again changes nothing."""
    async with federation(tmp_path, partners=("customs", OWNER)) as made:
        node, log = made.nodes[OWNER], made.gateway.log
        await node.control.start()
        config = write_config(made.node_configs[OWNER], tmp_path / "node.toml")
        assert (await asyncio.to_thread(typed, config, *REPORT)).exit_code == 0
        version = version_at(parse_unit("2026-Q1"), node.taking.clock())
        words = (*WAIVE, "--version", str(version))
        shown = await asyncio.to_thread(typed, config, *words)
        assert shown.exit_code == 2
        assert "reports in 2026-Q1/NL: 1 reports, exactly" in shown.stderr
        assert log.read("SELECT waiver FROM figures_waiver") == []
        done = await asyncio.to_thread(typed, config, *words, "--yes", "--output", "json")
        assert json.loads(done.stdout)["changed"] is True
        assert "a leaf of this node's log says so" in done.stderr
        ((octets,),) = log.read("SELECT waiver FROM figures_waiver")
        assert (read_waiver(octets).partner, read_waiver(octets).value) == (OWNER, 1)
        again = await asyncio.to_thread(typed, config, *words)
        assert "nothing changed" in again.stderr
        for of in (log, node.log):
            leaves = [audit_pb2.AuditLeaf.FromString(body) for (body,) in of.read(_BODIES)]
            said = [each.subject for each in leaves if "waived" in each.subject]
            assert said == ["figures-waived" if of is log else "figure-waived"]


_BODIES = "SELECT body FROM leaf ORDER BY idx"

"""Figures from six registers to one table: typed at the nodes, summed, decided, shown, packed."""

from __future__ import annotations

import asyncio
import csv
import io
import shlex
from pathlib import Path

from fairlead.v1 import audit_pb2
from tests.commands import Ended, fairlead, profile
from tests.federation import Federation, federation
from tests.live import leaves
from tests.test_cli_owner import typed, write_config
from tests.typist import Command, blocks

PARTNERS = ("customs", "police", "terminal-north", "oceanic-line", "quayguard", "inland-port")
REPORTS = 8
"""Of each partner, from a Dutch port; and two partners have one from a Belgian port."""


def enter(made: Federation) -> int:
    """Type every report at its own node, at rest, as its clerk would; how many they are."""
    count = 0
    for place, partner in enumerate(PARTNERS):
        config = write_config(made.node_configs[partner], made.folder / f"{partner}.toml")
        for port in ["NLRTM"] * REPORTS + ["BEANR"] * (place < 2):
            count += 1
            words = (
                "reports", "add", f"R-{count}", "--received", "2026-02-16", "--place", port,
                "--event", "seal-broken", "--shore", "sea", "--modus", "rip-off", "--by", "u-desk",
            )  # fmt: skip
            done = typed(config, *words)
            assert done.exit_code == 0, done.stderr
    return count


async def ask(
    made: Federation, *words: str, partner: str = "customs", user: str = "u-c01"
) -> Ended:
    return await fairlead(
        "stats", *words, home=made.folder, profile_file=profile(made, partner, user)
    )


def figures(ended: Ended) -> dict[str, tuple[str, str]]:
    """Cells of an answer in CSV: how each is shown, and its figure."""
    rows = csv.DictReader(io.StringIO(ended.out))
    return {row["cell"]: (row["shown"], row["value"]) for row in rows}


def told(log: object) -> list[str]:
    """The subjects of a log's leaves about figures."""
    return [leaf.subject for leaf in leaves(log) if leaf.type == audit_pb2.LEAF_TYPE_FIGURES]


def typed_by_hand() -> list[Command]:
    """The refusals of the page, and the question that draws a chart."""
    found = [
        command
        for block in blocks("docs/statistics.md")
        if block.heading == "Asking"
        for command in block.commands
    ]
    return [command for command in found if command.refusal or "--chart" in command.line]


async def test_what_six_partners_reported_is_one_figure(tmp_path: Path) -> None:
    """A user asks at the command line and reads a figure near the truth where six partners have
    records, and none where two have; the second time the very same; it is on every record."""
    async with federation(tmp_path, partners=PARTNERS, records={}, start=False) as made:
        assert await asyncio.to_thread(enter, made) == len(PARTNERS) * REPORTS + 2
        await made.start_gateway()
        for partner in PARTNERS:
            await made.start_node(partner)
        await made.reconnected()

        listed = await ask(made, "list", "--output", "json")
        assert listed.code == 0, listed.err
        cubes = {cube["cube"]: cube for cube in listed.json}
        assert cubes["reports-received"]["purposes"] == ["strategic-analysis"]

        words = ("query", "reports-received", "--level", "quarter,country", "--period", "2026-Q1")
        first = await ask(made, *words, "--output", "csv")
        assert first.code == 0, first.err
        found = figures(first)
        shown, value = found["2026-Q1/NL"]
        assert shown == "value"
        assert abs(int(value) - len(PARTNERS) * REPORTS) <= 60
        assert found["2026-Q1/BE"] == ("suppressed", "")
        assert "2026-Q1: 6 of 6 partners" in first.err

        again = await ask(made, *words, "--output", "csv", partner="police", user="u-p01")
        assert again.out == first.out

        for command in typed_by_hand():
            _, _, *rest = shlex.split(command.line.replace("reports.svg", str(tmp_path / "a.svg")))
            done = await ask(made, *rest)
            assert (command.refusal or "") in done.err, command.line
            assert (done.code == 0) == (command.refusal is None), done.err
        assert "<svg" in (tmp_path / "a.svg").read_text()

        asked = ["figures-asked", "figures-received"]
        assert [word for word in told(made.nodes["customs"].log) if word in asked] == asked * 2
        assert told(made.gateway.log).count("figures-released") == 2  # type: ignore[union-attr]
        for partner in PARTNERS[2:]:
            assert told(made.nodes[partner].log) == ["figures-counted", "figures-summed"] * 2

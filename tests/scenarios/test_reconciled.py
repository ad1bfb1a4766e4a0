"""Both ends as real processes: an honest hour, and a stolen key, verified offline."""

from __future__ import annotations

import json
from pathlib import Path

from tests.attacks.crafted import OWNER, craft
from tests.attacks.evil import EvilNode
from tests.federation import Federation, federation
from tests.processes import NODE, Ended, command, gateway_process, node_process

AUDIT = "fairlead.cli.main"


async def reconcile(made: Federation, partner: str) -> Ended:
    """What ``fairlead-node reconcile`` says."""
    config = made.folder / "config" / f"{partner}.toml"
    return await command(NODE, "reconcile", "--config", config, "--output", "json")


async def verified(made: Federation, state: str) -> list[dict[str, object]]:
    """What ``fairlead audit reconciliation --incidents`` says of a log's file, without any key."""
    told = await command(
        AUDIT, "audit", "reconciliation", made.folder / "state" / state / "audit.sqlite",
        "--incidents", "--directory", made.layout.directory, "--trust", made.layout.pins,
        "--output", "json",
    )  # fmt: skip
    assert told.code == 0, told.err
    rows: list[dict[str, object]] = json.loads(told.out)
    return rows


async def test_an_honest_hour_agrees_and_a_stolen_key_is_found(tmp_path: Path) -> None:
    """What somebody asks with a copy of the node's keys is an incident at the next reconciliation,
    in both logs, and both signed statements verify with files alone."""
    async with (
        federation(tmp_path, partners=("customs", OWNER), start=False) as made,
        gateway_process(made),
        node_process(made, "customs"),
        node_process(made, OWNER),
    ):
        await made.open_case()
        await made.ask()
        for partner in ("customs", OWNER):
            told = await reconcile(made, partner)
            assert told.code == 0, told.err
            assert "both logs agree" in told.err
            assert json.loads(told.out)["listed"] == json.loads(told.out)["met"] == 1
        assert await verified(made, "gateway") == []

        async with EvilNode(made, "customs") as thief:
            await thief.ask(craft(made, asked=[OWNER]))
        told = await reconcile(made, "customs")
        assert told.code == 8
        missing = {"code": "RECONCILE_MISSING", "not_in": "node", "kind": "asked", "count": 1}
        assert json.loads(told.out)["incidents"] == [missing]
        for partner in ("customs", OWNER):  # raised once; and the owner did nothing wrong
            assert (await reconcile(made, partner)).code == 0
    for state in ("gateway", "customs"):
        (row,) = await verified(made, state)
        assert (row["reasons"], row["not_in"]) == ("RECONCILE_MISSING", "asked not in node")
        assert str(row["verified"]).startswith("signatures, and ")

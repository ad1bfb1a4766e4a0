"""``fairlead-node blind`` as typed: at rest, through the socket of a running node, and refused."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fairlead.config import Limits
from node.control.message import COMMANDS
from node.indexing import index_keys
from node.owning import at_rest
from tests.blind import require_libsodium
from tests.federation import STORY, build, federation
from tests.live import until
from tests.publications import OWNER, held, holds
from tests.test_cli_owner import typed, write_config
from tests.test_exposure import MAPPING

require_libsodium()
YESTERDAY = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
HEADING = "box,direction,at,pap,plate,card\n"


def write_rows(folder: Path, *terms: str) -> None:
    rows = [f"{term},IN,{YESTERDAY},AMBER,NL-74-BXK-3,C-1\n" for term in terms]
    (folder / "gate.csv").write_text(HEADING + "".join(rows))


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A node at rest with one mapped source; its configuration."""
    made = build(
        tmp_path, partners=("customs", OWNER), records=None, local_policy=None, tick_ms=5,
        limits=Limits(), unaccepted=[OWNER],
    )  # fmt: skip
    (tmp_path / "gate.toml").write_text(MAPPING)
    write_rows(tmp_path, STORY)
    config = made.node_configs[OWNER]
    index_keys(config)
    return write_config(config, tmp_path / "node.toml", sources=["gate.toml"])


def test_from_a_source_to_a_snapshot(node: Path) -> None:
    """Refused until somebody accepted; then a source, an index and a snapshot; a second time
    nothing is signed; what shrank is held back with the exit code of an owner's errors."""
    refused = typed(node, "blind", "publish")
    assert refused.exit_code == 3
    boxes = [f"MSCU{number:07d}" for number in range(10)]
    write_rows(node.parent, *boxes)
    typed(node, "exposure", "accept", "--by", "u-dpo")
    typed(node, "index")
    nothing = typed(node, "blind", "status")
    assert "nothing is published" in nothing.stderr
    first = typed(node, "blind", "publish", "--output", "json")
    lines = json.loads(first.stdout)
    assert first.exit_code == 0
    assert {line["state"] for line in lines} == {"published"}
    boxed = [line for line in lines if line["scheme"] == "container" and line["terms"]]
    assert {(line["terms"], line["entries"], line["serial"]) for line in boxed} == {(10, 1024, 1)}
    again = typed(node, "blind", "publish", "--output", "json")
    assert {line["state"] for line in json.loads(again.stdout)} == {"unchanged"}
    assert "0 of" in again.stderr
    write_rows(node.parent, *boxes[:5])
    typed(node, "index", "--accept-shrunk", "gate")
    held_back = typed(node, "blind", "publish")
    assert held_back.exit_code == 3
    assert "COUNT_SHRANK" in typed(node, "blind", "status").stdout
    accepted = typed(node, "blind", "publish", "--accept-shrunk", "--output", "json")
    assert {line["serial"] for line in json.loads(accepted.stdout) if line["terms"]} == {2}
    shown = json.loads(typed(node, "blind", "status", "--output", "json").stdout)
    assert shown["running"] is False
    assert {line["state"] for line in shown["published"]} == {"published"}


async def test_a_running_node_publishes_itself(tmp_path: Path) -> None:
    """The command begins the publication in the node that serves, waits for it, and prints what
    became of it; the node's own errors come back as they are."""
    async with federation(
        tmp_path, partners=("customs", OWNER), records={OWNER: [held(STORY)]}
    ) as made:
        app = made.nodes[OWNER]
        await app.control.start()
        config = write_config(made.node_configs[OWNER], tmp_path / "node.toml")
        done = await asyncio.to_thread(typed, config, "blind", "publish", "--output", "json")
        assert done.exit_code == 0
        lines = json.loads(done.stdout)
        assert {line["state"] for line in lines} == {"published"}
        assert {line["terms"] for line in lines if line["scheme"] == "container"} == {1}
        app.steering.owner.gate.accept(None)
        refused = await asyncio.to_thread(typed, config, "blind", "publish")
        assert refused.exit_code == 3
        status = await asyncio.to_thread(typed, config, "blind", "status", "--output", "json")
        assert json.loads(status.stdout)["last"]["error"]["reasons"] == ["EXPOSURE_NOT_ACCEPTED"]


async def test_what_others_published_is_shown(tmp_path: Path) -> None:
    """A node that runs says what it holds and since when it is confirmed; its files at rest say
    the same but for that."""
    async with federation(
        tmp_path, partners=("customs", OWNER), records={OWNER: [held(STORY)]}
    ) as made:
        reader, owner = made.nodes["customs"], made.nodes[OWNER]
        await reader.control.start()
        config = write_config(made.node_configs["customs"], tmp_path / "node.toml")
        empty = await asyncio.to_thread(typed, config, "snapshots")
        assert "nobody has published anything" in empty.stderr
        await owner.steering.publishing.publish()
        await owner.steering.publishing.ended()
        owner.offering.announcer.wake()
        await until(lambda: holds(reader, owner, STORY), patience_s=200.0)
        shown = await asyncio.to_thread(typed, config, "snapshots", "--output", "json")
        rows = [r for r in json.loads(shown.stdout)["snapshots"] if r["scheme"] == "container"]
        assert {(row["owner"], row["entries"], row["serial"]) for row in rows} == {(OWNER, 1024, 1)}
        assert all(row["confirmed_s"] is not None for row in rows)
        assert OWNER in (await asyncio.to_thread(typed, config, "snapshots")).stdout
        await made.stop_node("customs")
        rest = await asyncio.to_thread(typed, config, "snapshots", "--output", "json")
        kept = [r for r in json.loads(rest.stdout)["snapshots"] if r["scheme"] == "container"]
        assert [row["entries"] for row in kept] == [row["entries"] for row in rows]
        assert {row["confirmed_s"] for row in kept} == {None}


async def test_a_running_node_knows_every_act_of_its_owner(tmp_path: Path) -> None:
    """What the owner can do on a node at rest can be asked of a running one, and nothing else."""
    made = build(
        tmp_path, partners=("customs", OWNER), records=None, local_policy=None, tick_ms=5,
        limits=Limits(),
    )  # fmt: skip
    async with at_rest(made.node_configs[OWNER]) as steering:
        assert steering.handlers.keys() == COMMANDS.keys()

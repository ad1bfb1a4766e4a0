"""``fairlead-node decoys`` as typed: at rest, through the socket of a running node, and refused."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from fairlead import identifiers
from fairlead.config import Limits
from tests.blind import require_libsodium
from tests.federation import OTHER, STORY, build, federation
from tests.publications import OWNER, held
from tests.test_cli_owner import typed, write_config

require_libsodium()


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A node at rest that holds one container; its configuration."""
    made = build(
        tmp_path, partners=("customs", OWNER), records={OWNER: [held(STORY)]}, local_policy=None,
        tick_ms=5, limits=Limits(),
    )  # fmt: skip
    return write_config(made.node_configs[OWNER], tmp_path / "node.toml")


def test_decoys_are_added_listed_and_removed(node: Path) -> None:
    """Invented ones have right check digits; one that is removed is listed as such, and a second
    time refused."""
    made = json.loads(
        typed(node, "decoys", "add", "--generate", "2", "--scheme", "container",
              "--output", "json").stdout
    )  # fmt: skip
    assert [row["origin"] for row in made] == ["generated"] * 2
    for row in made:
        assert identifiers.parse("container", row["value"]).value == row["value"]
    named = typed(node, "decoys", "add", "container", OTHER)
    assert OTHER in named.stdout
    assert "blind publish" in named.stderr
    removed = typed(node, "decoys", "remove", made[0]["decoy"])
    assert removed.exit_code == 0
    assert typed(node, "decoys", "remove", made[0]["decoy"]).exit_code == 2
    listed = json.loads(typed(node, "decoys", "list", "--output", "json").stdout)
    assert {row["value"]: bool(row["removed_at"]) for row in listed} == {
        made[0]["value"]: True, made[1]["value"]: False, OTHER: False,
    }  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        ("add",),
        ("add", "container"),
        ("add", "--generate", "3"),
        ("add", "container", OTHER, "--generate", "3", "--scheme", "container"),
        ("add", "container", STORY),
        ("add", "container", "MSCU6639871"),
        ("add", "person", "Jansen, Jan|1980-02-01"),
        ("add", "--generate", "300", "--scheme", "container"),
        ("add", "--generate", "1", "--scheme", "vessel-imo"),
        ("remove", "nothing"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_is_refused(node: Path, words: tuple[str, ...]) -> None:
    """Half a command, what a record holds, a wrong check digit, a person, too many, no pattern."""
    refused = typed(node, "decoys", *words)
    assert refused.exit_code == 2
    assert json.loads(typed(node, "decoys", "list", "--output", "json").stdout) == []


async def test_a_running_node_takes_them_over_its_socket(tmp_path: Path) -> None:
    """The commands are the same beside a node that serves, which knows the decoy at once."""
    async with federation(tmp_path, partners=("customs", OWNER)) as made:
        app = made.nodes[OWNER]
        await app.control.start()
        config = write_config(made.node_configs[OWNER], tmp_path / "node.toml")
        added = await asyncio.to_thread(typed, config, "decoys", "add", "container", OTHER)
        assert added.exit_code == 0
        assert len(app.steering.decoying.book.named([("container", OTHER)])) == 1
        assert OTHER in (await asyncio.to_thread(typed, config, "decoys", "list")).stdout

"""Attack: a policy or directory that is older, expired, changed, or approved by one person only."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from fairlead import signing
from fairlead.errors import FairleadError
from fairlead.policy.manifest import DOMAIN
from fairlead.v1 import audit_pb2
from gateway.app import assemble as assemble_gateway
from node.app import assemble as assemble_node
from tests.attacks.crafted import OWNER
from tests.attacks.directory import resign
from tests.attacks.evil import leaves, refused
from tests.federation import Federation, federation, publish_policy

HOUR = 3_600.0


async def assert_nobody_starts(made: Federation, reason: str) -> None:
    """Neither gateway nor node starts, and both say why and what to do."""
    for start in (made.start_gateway(), made.start_node(OWNER)):
        with pytest.raises(FairleadError) as caught:
            await start
        assert caught.value.code == reason
        assert caught.value.remedy


async def test_an_older_policy_is_refused_after_a_restart(tmp_path: Path) -> None:
    """Serial 2 was active; serial 1, truly signed and in force, does not come back."""
    async with federation(tmp_path, start=False) as made:
        publish_policy(made.layout, tmp_path / "policy", serial=2)
        await made.start_gateway()
        await made.start_node(OWNER)
        assert made.gateway is not None
        active = leaves(made.gateway.log, audit_pb2.LEAF_TYPE_ACTIVATION)
        assert ("policy", 2) in {(leaf.subject, leaf.policy_serial) for leaf in active}
        await made.close()
        publish_policy(made.layout, tmp_path / "policy", serial=1)
        await assert_nobody_starts(made, "POLICY_OLDER")


async def test_an_expired_policy_starts_nothing(tmp_path: Path) -> None:
    """Two real signatures under a policy of yesterday decide nothing today."""
    async with federation(tmp_path, start=False) as made:
        publish_policy(made.layout, tmp_path / "policy", not_after=-1)
        await assert_nobody_starts(made, "POLICY_EXPIRED")


@pytest.mark.parametrize("who", ["one officer", "one officer twice", "officer and operator"])
async def test_an_under_signed_policy_starts_nothing(tmp_path: Path, who: str) -> None:
    """One person cannot publish: neither alone, nor twice, nor with a stranger to the office."""
    async with federation(tmp_path, start=False) as made:
        path = tmp_path / "policy" / "manifest.json"
        document = json.loads(path.read_bytes())
        first, _ = document["signatures"]
        content = json.dumps(document["manifest"], sort_keys=True, separators=(",", ":")).encode()
        operator = signing.load_signing_key(made.layout.federation / "operator-1.key")
        stranger = {
            "key": signing.digest(signing.public_bytes(operator)).hex(),
            "signature": signing.sign(operator, DOMAIN, content).hex(),
        }
        document["signatures"] = {
            "one officer": [first],
            "one officer twice": [first, first],
            "officer and operator": [first, stranger],
        }[who]
        path.write_text(json.dumps(document))
        await assert_nobody_starts(made, "POLICY_UNDERSIGNED")


async def test_a_changed_policy_file_starts_nothing(tmp_path: Path) -> None:
    """One more agreement slipped into a signed bundle's data is noticed by its digest."""
    async with federation(tmp_path, start=False) as made:
        path = tmp_path / "policy" / "data" / "demo.yaml"
        path.write_text(path.read_text().replace("max_records: 20", "max_records: 99"))
        await assert_nobody_starts(made, "POLICY_TAMPERED")


async def test_an_older_directory_is_refused_after_a_restart(tmp_path: Path) -> None:
    """Operators cannot bring a list back that this log has seen replaced."""
    async with federation(tmp_path, start=False) as made:
        first = made.layout.directory.read_bytes()
        resign(made, serial=2)
        await made.start_gateway()
        await made.start_node(OWNER)
        await made.close()
        made.layout.directory.write_bytes(first)
        await assert_nobody_starts(made, "DIRECTORY_OLDER")


async def test_a_policy_that_expires_while_its_processes_run_decides_nothing_more(
    tmp_path: Path,
) -> None:
    """Not restarting does not keep an expired policy alive."""
    now = time.time()
    later = [0.0]

    def clock() -> float:
        return time.time() + later[0]

    async with federation(tmp_path, start=False) as made:
        publish_policy(made.layout, tmp_path / "policy", not_after=HOUR)
        made.gateway = await assemble_gateway(made.gateway_config, clock=clock)
        await made.gateway.server.start()
        for partner, config in made.node_configs.items():
            made.nodes[partner] = await assemble_node(config, clock=clock)
            await made.nodes[partner].server.start()
        await made.open_case()
        await made.ask()
        later[0] = HOUR - (time.time() - now) + 60
        with refused("POLICY_EXPIRED", "POLICY_UNAVAILABLE"):
            await made.ask()

"""A policy release while the federation runs: no decision mixes two, and no query is dropped."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from certs.dev.federation import UserSpec
from certs.dev.policies import BASELINE, DEMO, officer_keys
from fairlead import tls
from fairlead.certificates import Role, SpiffeId
from fairlead.policy.bundle import Files
from fairlead.policy.issuing import Wishes, make_release
from fairlead.policy.wire import to_wire
from fairlead.process import material_of
from fairlead.v1 import audit_pb2, federation_pb2, federation_pb2_grpc, policy_pb2, query_pb2
from tests.federation import Federation, federation, states
from tests.live import alarms, apart, leaves, load, reason_of, refusals, start, until
from tests.releases import POLICIES, files_of

pytestmark = pytest.mark.alone

OWNERS = ("oceanic-line", "terminal-north")
OFFICER = UserSpec(pseudonym="u-so1", roles=(Role.SECURITY_OFFICER,))
PEOPLE: Mapping[str, tuple[UserSpec, ...]] = {"customs": (OFFICER,)}
EFFECTIVE_S = 1.0


def follow(
    made: Federation, serial: int = 2, *, signers: int = 2, previous: str = "", **wishes: Any
) -> Files:
    """The next release of the policy in force, with the demo's agreement or without."""
    assert made.gateway is not None
    demo = wishes.pop("demo", True)
    folder = made.folder / f"release-{serial}-{signers}-{demo}-{len(wishes)}"
    now = int(time.time())
    make_release(
        POLICIES,
        folder,
        Wishes(
            serial=serial,
            previous=previous or made.gateway.releases.bundle.identity,
            issued_at=now,
            not_after=now + 86_400,
            **wishes,
        ),
        data=[BASELINE, *([DEMO] if demo else [])],
        signers=officer_keys(made.layout)[:signers],
    )
    return files_of(folder)


async def publish(made: Federation, files: Files, *, user: str = "u-so1") -> int:
    """As the officer does it: through the own node."""
    async with made.client("customs", user) as client:
        request = policy_pb2.PublishPolicyRequest(release=to_wire(files))
        return (await client.officer.PublishPolicy(request, timeout=20)).serial


def everywhere(made: Federation, serial: int) -> bool:
    """Whether gateway and nodes decide under this serial."""
    assert made.gateway is not None
    apps = [made.gateway, *made.nodes.values()]
    return all(app.releases.live.serial == serial for app in apps)


def decided(made: Federation) -> set[int]:
    """Every serial that some query was decided under at the gateway, which says one and the same
    when it lets a query in and when it closes it."""
    assert made.gateway is not None
    log = made.gateway.log
    let_in = {
        leaf.query_id: leaf.policy_serial
        for leaf in leaves(log)
        if leaf.type == audit_pb2.LEAF_TYPE_INTENT
    }
    closed = {
        bytes(query_id): query_pb2.Outcome.FromString(outcome).policy_serial
        for query_id, outcome in log.read(
            "SELECT query_id, outcome FROM queries WHERE outcome IS NOT NULL"
        )
    }
    assert {query: let_in[query] for query in closed} == closed
    return set(closed.values())


async def test_a_release_takes_effect_under_load(tmp_path: Path) -> None:
    """Analysts ask without a pause while two releases come: every decision names one serial,
    nobody is refused or left without an answer, and each is in force within a second."""
    async with federation(tmp_path, more_users=PEOPLE, start=False) as made:
        apart(made)
        await start(made)
        await made.reconnected()
        async with load(made, owners=OWNERS) as seen:
            await seen.more(5)
            for serial in (2, 3):
                files = follow(made, serial)
                began = time.monotonic()
                await publish(made, files)
                assert made.gateway is not None
                assert made.gateway.releases.live.serial == serial
                took = time.monotonic() - began
                await until(lambda at=serial: everywhere(made, at))  # type: ignore[misc]
                print(
                    f"serial {serial}: gateway {took:.2f} s, all {time.monotonic() - began:.2f} s"
                )
                await seen.more(5)
        assert not seen.failed
        assert decided(made) == {1, 2, 3}
        assert not alarms(made.gateway.log)


async def test_the_next_query_behaves_as_the_release_says(tmp_path: Path) -> None:
    """Without the demo's agreement a sealed question to a private partner is refused at once."""
    async with federation(tmp_path, more_users=PEOPLE, start=False) as made:
        apart(made)
        await start(made)
        await made.reconnected()
        await made.ask()
        await publish(made, follow(made, demo=False))
        await until(lambda: everywhere(made, 2))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await made.ask()
        assert reason_of(caught.value) == "BLIND_REQUIRED"


async def test_publishing_alone_is_impossible(tmp_path: Path) -> None:
    """One signature, another's role, and a release that follows nothing: refused on the record,
    here and at the gateway, and nothing has changed."""
    async with federation(tmp_path, more_users=PEOPLE, start=False) as made:
        apart(made)
        await start(made)
        await made.reconnected()
        assert made.gateway is not None
        for files, user, code in (
            (follow(made, signers=1), "u-so1", "POLICY_UNDERSIGNED"),
            (follow(made, previous="0" * 64), "u-so1", "POLICY_CHAIN"),
            (follow(made), "u-c01", "ROLE_NOT_ALLOWED"),
            ({"data/agreements.yaml": b""}, "u-so1", "POLICY_MALFORMED"),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await publish(made, files, user=user)
            assert reason_of(caught.value) == code
        assert everywhere(made, 1)
        assert refusals(made.gateway.log) == ["POLICY_UNDERSIGNED"]
        assert alarms(made.gateway.log) == ["POLICY_CHAIN"]
        assert refusals(made.nodes["customs"].log)[-1] == "POLICY_MALFORMED"
        by = [leaf.user for leaf in leaves(made.nodes["customs"].log)
              if leaf.subject == "policy-published"]  # fmt: skip
        assert len(by) == 2
        assert all(user.endswith("/partner/customs/user/u-so1") for user in by)


async def test_a_node_that_brings_garbage_is_on_the_gateways_record(tmp_path: Path) -> None:
    """Past its own checks a node sends no manifest, in the name of somebody else's officer."""
    async with federation(tmp_path, more_users=PEOPLE, start=False) as made:
        apart(made)
        await start(made)
        await made.reconnected()
        assert made.gateway is not None
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await garbage(made)
        assert reason_of(caught.value) == "POLICY_MALFORMED"
        (leaf,) = [
            leaf for leaf in leaves(made.gateway.log) if leaf.reasons == ["POLICY_MALFORMED"]
        ]
        assert leaf.user.endswith("/partner/customs/node/node-1")


async def garbage(made: Federation) -> None:
    """What a node's administrator can call with its keys."""
    keys = made.layout.node("customs")
    material = material_of(keys, made.nodes["customs"].member.directory)()
    gateway = SpiffeId.parse(made.nodes["customs"].member.directory.current.gateway.spiffe_id)
    channel = tls.open_channel(made.gateway_config.listen, server=gateway, material=material)
    request = federation_pb2.FederationServicePublishPolicyRequest(
        release=policy_pb2.PolicyRelease(), user="spiffe://fairlead.demo/partner/police/user/u-p01"
    )
    async with channel:
        stub = federation_pb2_grpc.FederationServiceStub(channel)
        await stub.PublishPolicy(request, timeout=20)


async def test_a_node_that_was_off_catches_up(tmp_path: Path) -> None:
    """It follows release after release to the gateway's; a restarted gateway keeps its serial."""
    async with federation(tmp_path, more_users=PEOPLE, start=False) as made:
        apart(made)
        await start(made)
        await made.reconnected()
        await made.stop_node("terminal-north")
        for serial in (2, 3):
            await publish(made, follow(made, serial, note=f"number {serial}"))
            await until(lambda at=serial: everywhere(made, at))  # type: ignore[misc]
        await made.stop_gateway()
        await made.start_gateway()
        await made.start_node("terminal-north")
        assert made.gateway is not None
        assert made.gateway.releases.live.serial == 3
        await until(lambda: everywhere(made, 3))
        await made.reconnected()
        found = states(await made.ask())
        assert found["terminal-north"].status == query_pb2.STATUS_ANSWERED
        async with made.client("customs", "u-so1") as client:
            status = policy_pb2.PolicyStatusResponse()
            while len(status.served) < 4:
                request = policy_pb2.PolicyStatusRequest()
                status = await client.officer.PolicyStatus(request, timeout=20)
            older = await client.officer.GetPolicy(policy_pb2.GetPolicyRequest(serial=2))
        assert {item.serial for item in status.served} == {3}
        assert status.gateway_reached
        assert any(item.name == "policy.wasm" for item in older.release.files)


async def test_a_gateway_that_goes_back_is_not_followed(tmp_path: Path) -> None:
    """An older policy at a gateway that lost its state: nodes raise the alarm and stay."""
    async with federation(tmp_path, more_users=PEOPLE, start=False) as made:
        apart(made)
        first = Path(shutil.copytree(made.gateway_config.policy_dir, tmp_path / "first"))
        await start(made)
        await made.reconnected()
        await publish(made, follow(made))
        await until(lambda: everywhere(made, 2))
        await made.stop_gateway()
        made.gateway_config = made.gateway_config.model_copy(
            update={"state_dir": tmp_path / "lost", "policy_dir": first}
        )
        await made.start_gateway()
        customs = made.nodes["customs"]
        await until(lambda: "POLICY_OLDER" in alarms(customs.log))
        assert customs.releases.live.serial == 2

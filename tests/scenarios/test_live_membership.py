"""Membership changes while the federation runs: nobody restarts, and nothing fails meanwhile."""

from __future__ import annotations

import time
from pathlib import Path

import grpc.aio
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import signing
from fairlead.phrases import check_phrase
from fairlead.v1 import (
    directory_pb2,
    gateway_pb2_grpc,
    query_pb2,
)
from node.certificate import OwnCertificate
from node.rotating import Kind, listed_entry, rotate, sign
from tests.attacks.crafted import changed, craft
from tests.attacks.directory import root_key
from tests.federation import Federation, federation
from tests.live import (
    alarms,
    all_on,
    apart,
    asked,
    content,
    deny_bundle,
    deny_list,
    directory,
    entries,
    leaves,
    load,
    publish,
    put,
    reason_of,
    start,
    unpin,
    until,
    without,
)
from tests.processes import command, write_config

OWNERS = ("oceanic-line", "terminal-north")
NEW = "quayguard"


async def test_a_partner_that_joins_is_ignored_until_its_root_is_pinned(tmp_path: Path) -> None:
    """A new partner reaches every node by itself; it is asked once its phrase was compared."""
    async with federation(tmp_path, partners=("customs", *OWNERS, NEW), start=False) as made:
        apart(made)
        whole = list(content(made.gateway_config.directory).partners)
        before = directory(made, partners=without(made, NEW))
        customs = made.node_configs["customs"]
        for config in (made.gateway_config, *made.node_configs.values()):
            put(config.directory, before)
        unpin(customs.pins, NEW)
        await start(made, "customs", *OWNERS)
        assert NEW not in (await asked(made))

        serial = publish(made, partners=whole)
        put(made.node_configs[NEW].directory, made.gateway_config.directory.read_bytes())
        await made.start_node(NEW)
        await until(lambda: all_on(made, serial))
        listed = await asked(made)
        assert (listed[NEW].status, listed[NEW].reason) == (
            query_pb2.STATUS_NOT_ASKED,
            "ROOT_UNPINNED",
        )
        assert {listed[owner].status for owner in OWNERS} == {query_pb2.STATUS_ANSWERED}

        config = tmp_path / "config" / "customs.toml"
        write_config(config, customs)
        phrase = check_phrase(made.trust.roots[NEW])
        wrong = await command(
            "node.cli.main", "partner", "pin", NEW, "--phrase",
            check_phrase(made.trust.roots["customs"]), "--config", config,
        )  # fmt: skip
        assert wrong.code != 0
        pinned = await command(
            "node.cli.main", "partner", "pin", NEW, "--phrase", phrase.upper(), "--config", config
        )
        assert pinned.code == 0, pinned.err
        await until(lambda: NEW in made.nodes["customs"].member.directory.current.partners)
        assert (await asked(made))[NEW].status == query_pb2.STATUS_ANSWERED


async def test_keys_and_certificates_rotate_under_load_without_a_failed_query(
    tmp_path: Path,
) -> None:
    """TLS, signing and sealing keys of asker, owner and gateway change; every query is answered."""
    async with federation(tmp_path, start=False) as made:
        apart(made)
        await start(made)
        async with load(made, owners=OWNERS) as seen:
            await seen.more(3)
            before = {p: made.nodes[p].following for p in made.nodes}
            assert all(following.connected.is_set() for following in before.values())
            # Every node's TLS key and certificate
            for partner, app in made.nodes.items():
                config = made.node_configs[partner]
                node = made.directory.partners[partner].nodes[0].spiffe_id
                own = OwnCertificate(config.keys_dir, node, app.line, clock=time.time)
                old = (config.keys_dir / "tls.pem").read_bytes()
                assert await own.look(force=True)
                assert (config.keys_dir / "tls.pem").read_bytes() != old
                await seen.more(3)
            # Signing and sealing keys of an owner and of the asker
            for partner in ("terminal-north", "customs"):
                config = made.node_configs[partner]
                for kind in Kind:
                    listed = listed_entry(config.directory.read_bytes(), partner)
                    fresh = rotate(config.keys_dir, listed, kind)
                    signed = directory_pb2.SignedPartnerEntry.FromString(
                        sign(fresh.entry, root_key(made, partner))
                    )
                    serial = publish(made, partners=entries(made, signed))
                    await until(lambda serial=serial: all_on(made, serial))
                    await seen.more(3)
            # The gateway's signing key
            key = rotate_gateway(made)
            serial = publish(made, gateways=[key])
            await until(lambda: all_on(made, serial))
            await seen.more(3)
        assert not seen.failed
        for app in made.nodes.values():
            assert not {"OWN_ENTRY_CHANGED", "DIRECTORY_FORK"} & set(alarms(app.log))
        issued = [leaf for leaf in leaves(made.gateway.log) if leaf.subject == "certificate"]
        assert len(issued) == len(made.nodes)
        for partner in list(made.nodes):  # and a restart finds its own log and its new keys
            await made.stop_node(partner)
            await made.start_node(partner)
        assert {(await asked(made))[owner].status for owner in OWNERS} == {
            query_pb2.STATUS_ANSWERED
        }


def rotate_gateway(made: Federation) -> directory_pb2.GatewayEntry:
    """A second signing key in the gateway's folder, and the entry that names it."""
    key = Ed25519PrivateKey.generate()
    signing.save_key(made.gateway_config.keys_dir / "signing-2.key", key)
    (entry,) = content(made.gateway_config.directory).gateways
    return changed(entry, signing_key=signing.public_bytes(key))


async def test_suspension_reaches_every_open_stream(tmp_path: Path) -> None:
    """A node on the operators' new list loses its stream, and nobody asks or answers it."""
    async with federation(tmp_path, start=False) as made:
        apart(made)
        await start(made)
        await until(made.nodes["terminal-north"].following.connected.is_set)
        node = made.directory.partners["terminal-north"].nodes[0].spiffe_id
        bundle = deny_bundle(made, node, serial=2)
        put(made.gateway_config.deny_lists, signing.canonical(bundle))
        customs = made.nodes["customs"].member.deny_lists
        await until(lambda: customs.serials().get("operators") == 2)
        await until(lambda: not made.nodes["terminal-north"].following.connected.is_set())
        assert (await asked(made))["terminal-north"].reason == "SUSPENDED"
        assert (await asked(made))["oceanic-line"].status == query_pb2.STATUS_ANSWERED
        stored = directory_pb2.DenyListBundle.FromString(
            made.node_configs["customs"].deny_lists.read_bytes()
        )
        assert {bytes(item.deny_list) for item in stored.lists} == {
            bytes(item.deny_list) for item in bundle.lists
        }


async def test_a_user_suspended_at_home_is_refused_everywhere(tmp_path: Path) -> None:
    """The authority's list goes from its file through the own node and the gateway to everybody."""
    async with federation(tmp_path, start=False) as made:
        apart(made)
        await start(made)
        await until(made.nodes["customs"].following.connected.is_set)
        user = "spiffe://fairlead.demo/partner/customs/user/u-c01"
        crafted = craft(made)
        signed = deny_list(made, "customs", user, serial=2)
        put(made.node_configs["customs"].user_deny_list, signing.canonical(signed))
        everybody = [made.gateway, *made.nodes.values()]
        await until(
            lambda: all(app.member.deny_lists.serials()["customs"] == 2 for app in everybody)
        )
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await made.ask()
        assert reason_of(refused.value) == "DENIED"
        # His node helps him: the gateway refuses all the same.
        stub = gateway_pb2_grpc.GatewayServiceStub(made.nodes["customs"].line.channel())
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            async for _ in stub.Query(crafted.request(), timeout=20):
                pass
        assert reason_of(refused.value) == "DENIED"


async def test_without_a_gateway_the_cached_lists_serve_until_they_expire(tmp_path: Path) -> None:
    """What was followed is in the node's own files: it restarts without a gateway and drafts."""
    async with federation(tmp_path, start=False) as made:
        apart(made)
        await start(made)
        serial = publish(made)
        await until(lambda: all_on(made, serial))
        await made.stop_gateway()
        await made.stop_node("customs")
        app = await made.start_node("customs")
        assert app.member.directory.current.serial == serial
        async with made.client() as client:
            assert (await made.draft(client)).exposures
        await made.start_gateway()
        await until(app.following.connected.is_set)
        assert (await asked(made))["terminal-north"].status == query_pb2.STATUS_ANSWERED


async def test_a_clock_that_is_off_by_minutes_is_named(tmp_path: Path) -> None:
    """A node that is more than two minutes off says so, and how to correct it; nothing is sent."""
    async with federation(tmp_path, start=False) as made:
        apart(made)
        await start(made)
        following = made.nodes["customs"].following
        await until(following.connected.is_set)
        following.skew_s = 121.0
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await made.ask()
        told = dict(refused.value.trailing_metadata())
        assert told["fairlead-reason"] == "CLOCK_SKEW"
        assert "timedatectl" in told["fairlead-remedy"]

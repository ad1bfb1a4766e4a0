"""Membership changes while the federation runs: nobody restarts, and nothing fails meanwhile."""

from __future__ import annotations

import time
from pathlib import Path

import grpc.aio
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from certs.dev.lists import sign_entry
from fairlead import renewal, signing
from fairlead.certificates import SpiffeId
from fairlead.phrases import check_phrase
from fairlead.v1 import (
    audit_pb2,
    directory_pb2,
    federation_pb2,
    federation_pb2_grpc,
    gateway_pb2_grpc,
    query_pb2,
)
from node.following import OwnCertificate
from node.rotating import Kind, listed_entry, rotate, sign
from tests.attacks.crafted import changed, craft
from tests.attacks.directory import root_key
from tests.federation import Federation, federation, states
from tests.live import (
    alarms,
    apart,
    content,
    deny_bundle,
    deny_list,
    directory,
    entries,
    leaves,
    load,
    publish,
    put,
    unpin,
    until,
    without,
)
from tests.processes import command, write_config

OWNERS = ("oceanic-line", "terminal-north")
NEW = "quayguard"


async def start(made: Federation, *partners: str) -> None:
    """Start the gateway and these nodes (all of them by default), and open the usual case."""
    await made.start_gateway()
    for partner in partners or tuple(made.node_configs):
        await made.start_node(partner)
    await made.open_case()


def all_on(made: Federation, serial: int) -> bool:
    """Whether every running process asks and answers under this directory."""
    return all(app.member.directory.asking.serial == serial for app in made.nodes.values())


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
        assert NEW not in states(await made.ask())

        serial = publish(made, partners=whole)
        put(made.node_configs[NEW].directory, made.gateway_config.directory.read_bytes())
        await made.start_node(NEW)
        await until(lambda: all_on(made, serial))
        listed = states(await made.ask())
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
        assert states(await made.ask())[NEW].status == query_pb2.STATUS_ANSWERED


async def test_keys_and_certificates_rotate_under_load_without_a_failed_query(
    tmp_path: Path,
) -> None:
    """TLS, signing and sealing keys of asker, owner and gateway change; every query is answered."""
    async with federation(tmp_path, start=False) as made:
        apart(made)
        for name in ("ca.pem", "ca.key"):
            source = made.layout.federation / name
            put(made.gateway_config.keys_dir / name, source.read_bytes())
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
        assert not any(alarms(app.log) for app in made.nodes.values())
        issued = [leaf for leaf in leaves(made.gateway.log) if leaf.subject == "certificate"]
        assert len(issued) == len(made.nodes)
        for partner in list(made.nodes):  # and a restart finds its own log and its new keys
            await made.stop_node(partner)
            await made.start_node(partner)
        assert {states(await made.ask())[owner].status for owner in OWNERS} == {
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
        assert states(await made.ask())["terminal-north"].reason == "SUSPENDED"
        assert states(await made.ask())["oceanic-line"].status == query_pb2.STATUS_ANSWERED
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
        assert states(await made.ask())["terminal-north"].status == query_pb2.STATUS_ANSWERED


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


# ── Attacks ──────────────────────────────────────────────────────────────────────────────────


async def test_an_older_directory_offered_again_changes_nothing(tmp_path: Path) -> None:
    """A truly signed directory of last week is not taken back, not even by a restart."""
    async with federation(tmp_path, start=False) as made:
        apart(made)
        old = made.gateway_config.directory.read_bytes()
        await start(made)
        serial = publish(made)
        await until(lambda: all_on(made, serial))
        customs = made.nodes["customs"]
        put(made.node_configs["customs"].directory, old)
        await until(lambda: "DIRECTORY_OLDER" in refusals(customs.log))
        assert customs.member.directory.current.serial == serial


async def test_a_swapped_root_is_refused_as_a_whole(tmp_path: Path) -> None:
    """Two bought operators replace an owner's entry under their own root: alarm, no swap."""
    async with federation(tmp_path, start=False) as made:
        apart(made)
        await start(made)
        theirs = Ed25519PrivateKey.generate()
        listed = listed_entry(made.gateway_config.directory.read_bytes(), "terminal-north")
        entry = changed(
            directory_pb2.PartnerEntry.FromString(listed),
            root_key=signing.public_bytes(theirs),
            sequence=2,
            previous_digest=signing.digest(listed),
        )
        evil = directory(made, partners=entries(made, sign_entry(entry, theirs)))
        put(made.node_configs["customs"].directory, evil)
        customs = made.nodes["customs"]
        await until(lambda: "ROOT_PIN" in alarms(customs.log))
        assert customs.member.directory.current.serial == 1
        assert states(await made.ask())["terminal-north"].status == query_pb2.STATUS_ANSWERED


async def test_an_own_entry_changed_behind_its_back_raises_the_alarm(tmp_path: Path) -> None:
    """Whoever holds a stolen root key and two operators is seen by the node itself."""
    async with federation(tmp_path, start=False) as made:
        apart(made)
        await start(made)
        owner = "terminal-north"
        listed = listed_entry(made.gateway_config.directory.read_bytes(), owner)
        entry = changed(
            directory_pb2.PartnerEntry.FromString(listed),
            contact_desk="somebody-else@example",
            sequence=2,
            previous_digest=signing.digest(listed),
        )
        publish(made, partners=entries(made, sign_entry(entry, root_key(made, owner))))
        await until(lambda: "OWN_ENTRY_CHANGED" in alarms(made.nodes[owner].log))
        assert not alarms(made.nodes["customs"].log)


@pytest.mark.parametrize("attack", ["other-partner", "other-users", "fork"])
async def test_a_forged_deny_list_goes_nowhere(tmp_path: Path, attack: str) -> None:
    """A node cannot publish another partner's list, about others' users, or two of one serial."""
    async with federation(tmp_path, start=False) as made:
        apart(made)
        await start(made, "customs")
        theirs = deny_list(made, "oceanic-line", serial=2)
        mine = deny_list(made, "customs", serial=2)
        about = directory_pb2.DenyList.FromString(mine.deny_list)
        about.spiffe_ids.append("spiffe://fairlead.demo/partner/police/user/u-p01")
        sent, reason = {
            "other-partner": (theirs, "OTHER_PARTNER"),
            "other-users": (changed(mine, deny_list=signing.canonical(about)), "SCOPE"),
            "fork": (
                deny_list(
                    made, "customs", "spiffe://fairlead.demo/partner/customs/user/u-c03", serial=2
                ),
                "DENY_LIST_FORK",
            ),
        }[attack]
        stub = federation_pb2_grpc.FederationServiceStub(made.nodes["customs"].line.channel())
        if attack == "fork":
            request = federation_pb2.PublishDenyListRequest(deny_list=mine)
            assert (await stub.PublishDenyList(request, timeout=20)).serial == 2
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.PublishDenyList(
                federation_pb2.PublishDenyListRequest(deny_list=sent), timeout=20
            )
        assert reason_of(refused.value) == reason
        assert made.gateway is not None
        found = alarms(made.gateway.log) if attack == "fork" else refusals(made.gateway.log)
        assert reason in found
        assert made.gateway.member.deny_lists.serials()["oceanic-line"] == 1


@pytest.mark.parametrize("attack", ["other-id", "no-issuer", "suspended"])
async def test_a_certificate_is_renewed_for_its_holder_only(tmp_path: Path, attack: str) -> None:
    """Renewal for somebody else's id, without the CA, or while suspended is refused."""
    async with federation(tmp_path, start=False) as made:
        apart(made)
        if attack != "no-issuer":
            for name in ("ca.pem", "ca.key"):
                source = made.layout.federation / name
                put(made.gateway_config.keys_dir / name, source.read_bytes())
        await start(made, "customs")
        line = made.nodes["customs"].line
        own = SpiffeId.parse(made.directory.partners["customs"].nodes[0].spiffe_id)
        other = SpiffeId.parse(made.directory.partners["oceanic-line"].nodes[0].spiffe_id)
        if attack == "suspended":
            assert made.gateway is not None
            made.gateway.member.take_deny_lists(
                signing.canonical(deny_bundle(made, str(own), serial=2))
            )
        request = renewal.Request.make(other if attack == "other-id" else own)
        stub = federation_pb2_grpc.FederationServiceStub(line.channel())
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Renew(federation_pb2.RenewRequest(request=request.pem), timeout=20)
        reason = {"other-id": "RENEW_OTHER", "no-issuer": "NO_ISSUER", "suspended": "DENIED"}
        assert reason_of(refused.value) == reason[attack]
        assert made.gateway is not None
        assert not [leaf for leaf in leaves(made.gateway.log) if leaf.subject == "certificate"]


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """The first reason code of a refused call."""
    return str(dict(error.trailing_metadata())["fairlead-reason"])


def refusals(log: object) -> list[str]:
    """The reasons of every refusal in a log."""
    return [
        reason
        for leaf in leaves(log)
        if leaf.type == audit_pb2.LEAF_TYPE_REFUSAL
        for reason in leaf.reasons
    ]

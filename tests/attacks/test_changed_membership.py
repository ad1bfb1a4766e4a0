"""Attack: membership changed while the federation runs, by whoever holds some of the keys."""

from __future__ import annotations

from pathlib import Path

import grpc.aio
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from certs.dev.lists import sign_entry
from fairlead import renewal, signing
from fairlead.certificates import SpiffeId
from fairlead.v1 import (
    directory_pb2,
    federation_pb2,
    federation_pb2_grpc,
    query_pb2,
)
from node.rotating import listed_entry
from tests.attacks.crafted import changed
from tests.attacks.directory import root_key
from tests.federation import federation
from tests.live import (
    alarms,
    all_on,
    apart,
    asked,
    deny_bundle,
    deny_list,
    directory,
    entries,
    leaves,
    publish,
    put,
    reason_of,
    refusals,
    start,
    until,
    without,
)


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
        assert (await asked(made))["terminal-north"].status == query_pb2.STATUS_ANSWERED


@pytest.mark.parametrize("meanwhile", ["running", "stopped"])
async def test_an_own_entry_changed_behind_its_back_raises_the_alarm(
    tmp_path: Path, meanwhile: str
) -> None:
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
        if meanwhile == "stopped":
            await made.stop_node(owner)
        publish(made, partners=entries(made, sign_entry(entry, root_key(made, owner))))
        if meanwhile == "stopped":
            put(made.node_configs[owner].directory, made.gateway_config.directory.read_bytes())
            await made.start_node(owner)
        await until(lambda: "OWN_ENTRY_CHANGED" in alarms(made.nodes[owner].log))
        assert not alarms(made.nodes["customs"].log)


async def test_a_gateway_that_sends_forged_lists_does_not_silence_the_alarm(
    tmp_path: Path,
) -> None:
    """The gateway's operator helps the thief of a root key: the node still raises its alarm."""
    async with federation(tmp_path, start=False) as made:
        apart(made)
        await start(made, "customs", "terminal-north")
        owner = "terminal-north"
        assert made.gateway is not None
        content = directory_pb2.DenyList.FromString(deny_list(made, owner, serial=2).deny_list)
        content.spiffe_ids.append("spiffe://fairlead.demo/partner/police/user/u-p01")
        forged = directory_pb2.SignedDenyList(deny_list=signing.canonical(content))
        evil = signing.canonical(directory_pb2.DenyListBundle(lists=[forged]))
        made.gateway.member.deny_lists.bundle = lambda: evil  # type: ignore[method-assign]
        log = made.nodes[owner].log
        await until(lambda: "SCOPE" in refusals(log))
        listed = listed_entry(made.gateway_config.directory.read_bytes(), owner)
        entry = changed(
            directory_pb2.PartnerEntry.FromString(listed),
            contact_desk="somebody-else@example",
            sequence=2,
            previous_digest=signing.digest(listed),
        )
        serial = publish(made, partners=entries(made, sign_entry(entry, root_key(made, owner))))
        await until(lambda: made.nodes[owner].member.directory.current.serial == serial)
        await until(lambda: "OWN_ENTRY_CHANGED" in alarms(log), patience_s=15)


@pytest.mark.parametrize("asker", ["suspended", "removed"])
async def test_the_grace_of_a_directory_is_not_for_a_suspended_asker(
    tmp_path: Path, asker: str
) -> None:
    """A gateway that still lets a suspended or removed partner ask gets it no answer."""
    async with federation(tmp_path, start=False) as made:
        apart(made)
        await start(made, "customs", "terminal-north")
        owner = made.nodes["terminal-north"]
        if asker == "suspended":
            node = made.directory.partners["customs"].nodes[0].spiffe_id
            owner.member.take_deny_lists(signing.canonical(deny_bundle(made, node, serial=2)))
        else:
            await owner.member.take(directory(made, partners=without(made, "customs")))
        line = (await asked(made))["terminal-north"]
        assert line.status == query_pb2.STATUS_INVALID
        assert {"suspended": "DENIED", "removed": "UNKNOWN_PARTNER"}[asker] in refusals(owner.log)


@pytest.mark.parametrize("attack", ["other-partner", "other-users", "fork", "serial", "size"])
async def test_a_forged_deny_list_goes_nowhere(tmp_path: Path, attack: str) -> None:
    """A node cannot publish another partner's list, about others' users, two of one serial, one
    that no log could count, or one so large that the gateway could no longer send any."""
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
            "serial": (deny_list(made, "customs", serial=2**63), "LIMIT"),
            "size": (
                deny_list(
                    made,
                    "customs",
                    *(f"spiffe://fairlead.demo/partner/customs/user/u-{n}" for n in range(40_000)),
                    serial=2,
                ),
                "TOO_LARGE",
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
        if attack == "no-issuer":
            (made.gateway_config.keys_dir / "ca.key").unlink()
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

"""Attack: a real member of the federation at a door that is not theirs."""

from __future__ import annotations

from pathlib import Path

import grpc
import grpc.aio
import pytest

from fairlead import tls
from fairlead.certificates import SpiffeId, identity_from_certificate
from fairlead.client import NodeClient
from fairlead.door import _identity
from fairlead.errors import Refused
from fairlead.v1 import asking_pb2_grpc, gateway_pb2_grpc, owner_pb2_grpc
from node.service import AskingServicer
from tests.attacks.crafted import OWNER, craft, user_certificate
from tests.attacks.evil import EvilGateway, EvilNode, intents, refusals, refused, tap
from tests.federation import ANALYST, federation, one, request

TURNED_AWAY = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED}
"""By TLS itself, or by the identity check behind it."""


async def test_a_user_of_another_partner_does_not_get_into_this_node(tmp_path: Path) -> None:
    """A police analyst's certificate opens police's node, not customs'."""
    async with federation(tmp_path, partners=("customs", "police")) as made:
        prepared = tap(made.nodes["customs"].asking, "prepare")
        keys = made.layout.user("police", "u-p01")
        own = made.profile(*ANALYST)
        stranger = own.model_copy(
            update={"certificate": keys / "user.pem", "key": keys / "user.key"}
        )
        async with NodeClient(stranger, made.directory) as client:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await client.stub.Prepare(iter([request()]), timeout=5)
        assert caught.value.code() in TURNED_AWAY
        assert not prepared


async def test_the_service_behind_the_door_refuses_another_partners_user_too(
    tmp_path: Path,
) -> None:
    """Should such a certificate ever pass TLS and the identity check, nothing is drafted."""
    async with federation(tmp_path, partners=("customs", "police")) as made:
        app = made.nodes["customs"]
        prepared = tap(app.asking, "prepare")
        stranger = identity_from_certificate(
            user_certificate(made, "police", "u-p01"),
            directory=made.directory,
            now=made.directory.issued_at + 1,
        )
        servicer = AskingServicer(
            "customs",
            app.asking,
            None,  # type: ignore[arg-type]  # not reached
            app.watches,
            None,  # type: ignore[arg-type]  # not reached
            app.cases,
            None,  # type: ignore[arg-type]  # not reached
            None,  # type: ignore[arg-type]  # not reached
            made.directory,
        )
        token = _identity.set(stranger)
        try:
            with pytest.raises(Refused) as caught:
                await servicer.Prepare(one(request()), None)  # type: ignore[arg-type]
        finally:
            _identity.reset(token)
        assert caught.value.code == "OTHER_PARTNER"
        assert not prepared


async def test_a_user_does_not_ask_the_gateway_directly(tmp_path: Path) -> None:
    """People are known to their own node only; the gateway does not even trust their issuer."""
    async with federation(tmp_path) as made:
        assert made.gateway is not None
        keys, entry = made.layout.user(*ANALYST), made.directory.gateway
        material = tls.KeyMaterial.load(
            keys / "user.pem", keys / "user.key", [made.directory.federation_ca]
        )
        server = SpiffeId.parse(entry.spiffe_id)
        async with tls.open_channel(entry.endpoint, server=server, material=material) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                call = gateway_pb2_grpc.GatewayServiceStub(channel).Query(craft(made).request())
                async for _ in call:
                    pass
        assert caught.value.code() in TURNED_AWAY
        assert intents(made.gateway.log) == 0


async def test_a_node_does_not_ask_an_owner_past_the_gateway(tmp_path: Path) -> None:
    """No INTENT in the gateway's log, no answer: an owner is called by the gateway alone."""
    async with federation(tmp_path) as made, EvilNode(made) as node, EvilGateway(made) as gateway:
        asked = tap(made.nodes[OWNER].answering, "answer")
        entry = made.directory.partner(OWNER).nodes[0]
        stub = owner_pb2_grpc.OwnerServiceStub(node.dial(entry.endpoint, entry.spiffe_id))
        with refused("KIND_NOT_ALLOWED") as told:
            await stub.Answer(await gateway.request(craft(made)), timeout=5)
        assert refusals(made.nodes[OWNER].log) == told.reasons[:1]
        assert not asked


async def test_the_gateway_does_not_use_a_partners_node(tmp_path: Path) -> None:
    """Neither drafting nor the case register is the gateway's business."""
    async with federation(tmp_path) as made:
        keys = made.layout.gateway("gw-1")
        material = tls.KeyMaterial.load(
            keys / "tls.pem", keys / "tls.key", [made.directory.federation_ca]
        )
        entry = made.directory.partner("customs").nodes[0]
        server = SpiffeId.parse(entry.spiffe_id)
        async with tls.open_channel(entry.endpoint, server=server, material=material) as channel:
            stub = asking_pb2_grpc.AskingServiceStub(channel)
            with refused() as told:
                await stub.Prepare(iter([request()]), timeout=5)
        assert refusals(made.nodes["customs"].log) == told.reasons[:1]

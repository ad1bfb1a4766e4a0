"""Attack: a program, or the node that runs it, asks about more than its authority allowed."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from fairlead import authority, signing
from fairlead.authority import Issuer
from fairlead.certificates import Role
from fairlead.client import NodeClient
from tests.attacks.crafted import OWNER, craft
from tests.attacks.evil import EvilGateway, EvilNode, intents, refused
from tests.federation import ANALYST, Federation, federation, request

Service = tuple[bytes, bytes, ec.EllipticCurvePrivateKey]


def service(made: Federation, *schemes: str) -> Service:
    """A service user of customs as its real authority certifies it: PEM, DER, key."""
    folder = made.layout.authority("customs")
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = authority.issue_user(
        Issuer.load(folder / "authority.pem", folder / "authority.key"),
        federation=made.directory.federation,
        partner_id="customs",
        pseudonym="svc-risk",
        roles=(Role.ANALYST,),
        public_key=key.public_key(),
        now=time.time(),
        lifetime=timedelta(days=1),
        responsible="u-c01",
        schemes=schemes,
    )
    return certificate.public_bytes(Encoding.PEM), certificate.public_bytes(Encoding.DER), key


async def test_its_own_node_drafts_nothing_beyond_its_schemes(tmp_path: Path) -> None:
    """A service user for vessels asks about a container and gets no draft, whatever its case."""
    async with federation(tmp_path, partners=("customs", OWNER)) as made:
        await made.open_case()
        pem, _, key = service(made, "vessel-imo")
        folder = made.layout.user(*ANALYST)
        (folder / "user.pem").write_bytes(pem)
        signing.save_key(folder / "user.key", key)
        async with NodeClient(made.profile(*ANALYST), made.directory) as client:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await client.stub.Prepare(iter([request()]), timeout=5)
        metadata = dict(caught.value.trailing_metadata())
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert metadata["fairlead-reason"] == "SCHEME_NOT_ALLOWED"


async def test_gateway_and_owner_hold_it_to_its_schemes_too(tmp_path: Path) -> None:
    """With its own node's help the gateway refuses it, and with the gateway's the owner."""
    async with federation(tmp_path, partners=("customs", OWNER, "oceanic-line")) as made:
        assert made.gateway is not None
        async with EvilNode(made) as evil, EvilGateway(made) as gateway:
            template = await gateway.request(craft(made))
            _, certificate, key = service(made, "vessel-imo", "vehicle-plate")
            beyond = craft(made, certificate=certificate, person=key)
            with refused("SCHEME_NOT_ALLOWED", code=grpc.StatusCode.PERMISSION_DENIED):
                await evil.ask(beyond)
            template.query.CopyFrom(beyond.signed)
            with refused("SCHEME_NOT_ALLOWED", code=grpc.StatusCode.PERMISSION_DENIED):
                await gateway.send(template)
            assert intents(made.gateway.log) == intents(made.nodes[OWNER].log) == 0
            _, certificate, key = service(made, "container")
            await evil.ask(craft(made, certificate=certificate, person=key))
            assert intents(made.gateway.log) == 1

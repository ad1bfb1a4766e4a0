"""Attack: a node's administrator, or the federation's CA, makes an analyst that nobody hired."""

from __future__ import annotations

import time
from collections.abc import Callable
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
from tests.attacks.evil import EvilGateway, EvilNode, intents, refusals, refused
from tests.federation import ANALYST, Federation, federation, request

Mint = Callable[[Federation], Issuer]


def federation_ca(made: Federation) -> Issuer:
    """What two bought operators hold."""
    return Issuer.load(made.layout.federation / "ca.pem", made.layout.federation / "ca.key")


def node(made: Federation) -> Issuer:
    """What the node's administrator holds: the node's certificate and key, used as an authority."""
    keys = made.layout.node("customs")
    return Issuer.load(keys / "tls.pem", keys / "tls.key")


def imitation(made: Federation) -> Issuer:
    """An authority of the same name as the real one, under a key of one's own."""
    return authority.create_ca(
        common_name="customs user authority (development)",
        now=time.time(),
        lifetime=timedelta(days=30),
    )


def other_partner(made: Federation) -> Issuer:
    """Another partner's real user authority, speaking about customs' people."""
    folder = made.layout.authority("police")
    return Issuer.load(folder / "authority.pem", folder / "authority.key")


ISSUERS: dict[str, Mint] = {
    "the federation CA": federation_ca,
    "the node's own key": node,
    "an imitation of the authority": imitation,
    "another partner's authority": other_partner,
}


def mint(made: Federation, issuer: Issuer) -> tuple[bytes, bytes, ec.EllipticCurvePrivateKey]:
    """A certificate (PEM and DER) for an analyst of customs who does not exist, and the key."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = authority.issue_user(
        issuer,
        federation=made.directory.federation,
        partner_id="customs",
        pseudonym="u-ghost",
        roles=(Role.ANALYST,),
        public_key=key.public_key(),
        now=time.time(),
        lifetime=timedelta(days=1),
    )
    return certificate.public_bytes(Encoding.PEM), certificate.public_bytes(Encoding.DER), key


async def test_a_minted_analyst_is_refused_by_the_gateway_and_by_the_owner(tmp_path: Path) -> None:
    """A person not certified by the partner's own user authority signs nothing anybody accepts."""
    async with federation(tmp_path, partners=("customs", "police", OWNER, "oceanic-line")) as made:
        assert made.gateway is not None
        async with EvilNode(made) as evil, EvilGateway(made) as gateway:
            template = await gateway.request(craft(made))
            for name, issuer in ISSUERS.items():
                _, certificate, key = mint(made, issuer(made))
                ghost = craft(made, certificate=certificate, person=key)
                with refused("ISSUER", code=grpc.StatusCode.UNAUTHENTICATED) as told:
                    await evil.ask(ghost)
                assert told.reasons, name
                template.query.CopyFrom(ghost.signed)
                with refused("ISSUER", code=grpc.StatusCode.UNAUTHENTICATED):
                    await gateway.send(template)
            assert intents(made.gateway.log) == intents(made.nodes[OWNER].log) == 0
            assert len(refusals(made.gateway.log)) == len(ISSUERS)


@pytest.mark.parametrize("issuer", [federation_ca, node, imitation, other_partner])
async def test_a_minted_analyst_does_not_get_into_the_own_node(
    tmp_path: Path, issuer: Mint
) -> None:
    """The node's door wants its user authority's certificate, which no other key can make."""
    async with federation(tmp_path, partners=("customs", "police")) as made:
        pem, _, key = mint(made, issuer(made))
        folder = made.layout.user(*ANALYST)
        (folder / "user.pem").write_bytes(pem)
        signing.save_key(folder / "user.key", key)
        async with NodeClient(made.profile(*ANALYST), made.directory) as client:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await client.stub.Prepare(iter([request()]), timeout=5)
        # TLS itself turns away strangers; the federation CA gets as far as the identity check.
        codes = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNAVAILABLE}
        assert caught.value.code() in codes
        assert refusals(made.nodes["customs"].log) == (
            ["ISSUER"] if issuer is federation_ca else []
        )

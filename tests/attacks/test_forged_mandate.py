"""Attack: a query nobody with the right to ask has signed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from fairlead import sealing, signing
from fairlead.envelope.query import Scope
from fairlead.v1 import query_pb2
from tests.attacks.crafted import (
    OTHER_OWNER,
    OWNER,
    changed,
    craft,
    node_key,
    user_certificate,
    user_key,
)
from tests.attacks.evil import EvilGateway, EvilNode, intents, refusals, refused
from tests.federation import OTHER, STORY, Federation, federation

STRANGER = Ed25519PrivateKey.generate()

FORGERIES: dict[str, tuple[str, Callable[[Federation], dict[str, Any]]]] = {
    "signed by a key that is not the user's": (
        "SIGNATURE",
        lambda made: {"person": ec.generate_private_key(ec.SECP256R1())},
    ),
    "signed by a colleague in the user's name": (
        "SIGNATURE",
        lambda made: {"person": user_key(made, "customs", "u-c03")},
    ),
    "another purpose after signing": (
        "SIGNATURE",
        lambda made: {"mandate_after": {"purpose": "infiltration"}},
    ),
    "a longer life after signing": (
        "SIGNATURE",
        lambda made: {"mandate_after": {"expires_at": 2**33}},
    ),
    "another session key after signing": (
        "SIGNATURE",
        lambda made: {
            "mandate_after": {"session_key": signing.public_bytes(STRANGER)},
            "header_session": STRANGER,
        },
    ),
    "a header by a session key that is not the mandate's": (
        "SIGNATURE",
        lambda made: {"header_session": STRANGER},
    ),
    "a user of another partner": (
        "USER",
        lambda made: {
            "certificate": user_certificate(made, "police", "u-p01"),
            "person": user_key(made, "police", "u-p01"),
        },
    ),
    "another partner's name over one's own user": (
        "USER",
        lambda made: {"partner": "police", "signs": node_key(made, "customs")},
    ),
    "a statement by another partner's node": (
        "SIGNATURE",
        lambda made: {"signs": node_key(made, "police")},
    ),
    "no open case": ("CASE", lambda made: {"statement_before": {"case_open": False}}),
    "no guard": ("GUARD", lambda made: {"statement_before": {"guard_passed": False}}),
    "an open case, but not the user's": (
        "CASE",
        lambda made: {"statement_before": {"user_assigned": False}},
    ),
    "a statement about another case": (
        "STATEMENT",
        lambda made: {"statement_before": {"case_commitment": bytes(32)}},
    ),
    "a mandate of another federation": (
        "FEDERATION",
        lambda made: {"mandate_before": {"federation": "elsewhere.example"}},
    ),
}
PARTNERS = ("customs", "police", "terminal-north", "oceanic-line")


async def test_a_forged_query_is_refused_by_the_gateway_and_by_the_owner(tmp_path: Path) -> None:
    """Whoever forges any signature or binding is refused twice, on the record, asking nobody."""
    async with federation(tmp_path, partners=PARTNERS) as made:
        assert made.gateway is not None
        async with EvilNode(made) as node, EvilGateway(made) as gateway:
            honest = craft(made)
            template = await gateway.request(honest)
            for name, (reason, settings) in FORGERIES.items():
                forged = craft(made, **settings(made))
                with refused() as told:
                    await node.ask(forged)
                assert reason in told.reasons, (name, told)
                # The gateway's operator passes it on all the same, with a real grant's shape.
                template.query.CopyFrom(forged.signed)
                template.part = forged.parts[OWNER]
                with refused() as told:
                    await gateway.send(template)
                assert reason in told.reasons, (name, told)
            assert intents(made.gateway.log) == intents(made.nodes[OWNER].log) == 0
            expected = [reason for reason, _ in FORGERIES.values()]
            assert refusals(made.gateway.log) == refusals(made.nodes[OWNER].log) == expected


async def test_a_signed_mandate_does_not_live_longer_than_a_day(tmp_path: Path) -> None:
    """A user talked into signing for a year has signed nothing."""
    async with federation(tmp_path) as made, EvilNode(made) as node:
        long = craft(made, mandate_before={"expires_at": 2**33})
        with refused("MANDATE_LIFETIME", code=grpc.StatusCode.INVALID_ARGUMENT):
            await node.ask(long)


async def test_a_node_cannot_ask_other_terms_than_its_user_signed_for(tmp_path: Path) -> None:
    """The gateway cannot see the swap; the owner opens its part, refuses, and looks up nothing."""
    async with federation(tmp_path) as made, EvilNode(made) as node:
        crafted = craft(made, terms=[("container", OTHER)], sent_terms=[("container", STORY)])
        events = await node.ask(crafted)
        lines = [line for event in events for line in event.partners]
        assert {line.partner_id: line.status for line in lines} == {
            OWNER: query_pb2.STATUS_INVALID,
            OTHER_OWNER: query_pb2.STATUS_INVALID,
        }
        assert not any(line.HasField("answer") for line in lines)
        assert refusals(made.nodes[OWNER].log) == ["TERMS_ROOT"]
        assert intents(made.nodes[OWNER].log) == 0


async def test_a_node_cannot_ask_about_another_time_than_its_user_signed_for(
    tmp_path: Path,
) -> None:
    """A month signed for, two years asked, or one kind of event: the owner refuses."""
    async with federation(tmp_path) as made, EvilNode(made) as node:
        wider = int(time.time()) - 700 * 86_400
        for scope in (Scope(since=wider), Scope(), Scope(since=wider, events=("gate-in",))):
            events = await node.ask(craft(made, sent_scope=scope, asked=[OWNER]))
            (line,) = (line for event in events for line in event.partners)
            assert line.status == query_pb2.STATUS_INVALID
        assert refusals(made.nodes[OWNER].log) == ["TERMS_ROOT"] * 3


async def test_the_gateway_cannot_ask_in_its_own_name(tmp_path: Path) -> None:
    """Without a user the gateway asks nobody: its own certificate is no person's."""
    async with federation(tmp_path) as made, EvilGateway(made) as gateway:
        template = await gateway.request(craft(made))
        keys = made.layout.gateway("gw-1")
        certificate = x509.load_pem_x509_certificate((keys / "tls.pem").read_bytes())
        forged = craft(
            made,
            certificate=certificate.public_bytes(Encoding.DER),
            person=signing.load_user_key(keys / "tls.key"),
            signs=gateway.key,
        )
        template.query.CopyFrom(forged.signed)
        template.part = forged.parts[OWNER]
        with refused("USER"):
            await gateway.send(template)
        assert intents(made.nodes[OWNER].log) == 0


async def test_the_gateway_cannot_put_its_own_reply_key_into_a_users_query(tmp_path: Path) -> None:
    """A real mandate under a header of the gateway's own making is refused: no session key."""
    async with federation(tmp_path) as made, EvilGateway(made) as gateway:
        honest = craft(made)
        request = await gateway.request(honest)
        header = query_pb2.QueryHeader.FromString(honest.signed.header)
        mine = sealing.SealingKey.generate().public_bytes()
        request.query.header = signing.canonical(changed(header, reply_key=mine))
        with refused("SIGNATURE"):
            await gateway.send(request)
        request.query.session_signature = signing.sign(gateway.key, "header", request.query.header)
        with refused("SIGNATURE"):
            await gateway.send(request)


async def test_a_query_is_brought_by_its_own_partners_node_only(tmp_path: Path) -> None:
    """An owner that received a customs query cannot bring it to the gateway as its own."""
    async with federation(tmp_path) as made, EvilNode(made, OWNER) as thief:
        assert made.gateway is not None
        with refused("WRONG_PEER"):
            await thief.ask(craft(made))
        assert refusals(made.gateway.log) == ["WRONG_PEER"]
        assert intents(made.gateway.log) == 0

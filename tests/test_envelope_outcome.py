"""The outcome: who was asked and who answered, in the gateway's own words."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead import signing
from fairlead.envelope.outcome import (
    Outcome,
    PartnerState,
    check_outcome_leaf,
    make_outcome,
    verify_outcome,
)
from fairlead.errors import FairleadError, Forged
from fairlead.v1 import audit_pb2
from fairlead.v1 import query_pb2 as pb
from tests.walks import NOW, World, make_world

QUERY, HEADER, LEAF = bytes(range(16)), bytes(32), b"\x01" * 32


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("outcome"), partners=("customs", "police"))


def states(*names: str) -> dict[str, PartnerState]:
    return {
        name: PartnerState(partner_id=name, status=pb.STATUS_ANSWERED, answer_digest=b"\x02" * 32)
        for name in names
    }


def outcome(world: World, given_states: dict[str, PartnerState]) -> bytes:
    return make_outcome(
        query_id=QUERY,
        header_digest=HEADER,
        states=given_states,
        intent_leaf_hash=LEAF,
        gateway=world.gateway.spiffe_id,
        policy_serial=1,
        now=NOW,
    )


def verify(world: World, data: bytes, signature: bytes | None = None) -> Outcome:
    signed = signing.sign(world.gateway_key(), "outcome", data) if signature is None else signature
    return verify_outcome(data, signed, query_id=QUERY, header_digest=HEADER, gateway=world.gateway)


@settings(max_examples=30)
@given(
    st.dictionaries(
        st.sampled_from(["customs", "police", "terminal-north", "a", "b"]),
        st.tuples(st.sampled_from([3, 4, 5, 6, 7]), st.sampled_from(["", "DEADLINE"]), st.just(b""))
        | st.tuples(st.integers(1, 7), st.just(""), st.binary(min_size=32, max_size=32)),
    )
)
def test_what_is_stated_is_read(world: World, said: dict[str, tuple[int, str, bytes]]) -> None:
    """Every partner's state comes back, in the order of ids, from any order of arrival."""
    wanted = {
        name: PartnerState(partner_id=name, status=status, reason=reason, answer_digest=digest)
        for name, (status, reason, digest) in said.items()
    }
    found = verify(world, outcome(world, wanted))
    assert dict(found.states) == wanted
    assert list(found.states) == sorted(wanted)
    assert (found.intent_leaf_hash, found.closed_at) == (LEAF, int(NOW))


def test_only_the_gateways_signature_closes_a_query(world: World) -> None:
    """Missing, foreign or other-domain signatures are Forged."""
    data = outcome(world, states("police"))
    for signature in (
        b"",
        bytes(64),
        signing.sign(world.signing_key("police"), "outcome", data),
        signing.sign(world.gateway_key(), "grant", data),
        signing.sign(world.gateway_key("log"), "outcome", data),
    ):
        with pytest.raises(Forged):
            verify(world, data, signature)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda o: setattr(o, "query_id", bytes(16)), id="another query"),
        pytest.param(lambda o: setattr(o, "header_digest", b"\x01" * 32), id="another header"),
        pytest.param(lambda o: setattr(o, "gateway", "spiffe://x/gateway/y"), id="gateway"),
        pytest.param(lambda o: o.partners.append(o.partners[0]), id="a partner twice"),
        pytest.param(lambda o: o.partners.add(partner_id="a"), id="out of order"),
    ],
)
def test_a_signed_outcome_must_still_be_of_this_query(
    world: World, change: Callable[[pb.Outcome], object]
) -> None:
    """The gateway's signature over another query, or over a list with doubles, is refused."""
    content = pb.Outcome.FromString(outcome(world, states("customs", "police")))
    change(content)
    with pytest.raises(Forged):
        verify(world, signing.canonical(content))


@pytest.mark.parametrize("status", [0, pb.STATUS_ANSWERED, pb.STATUS_REFUSED, 99])
def test_a_gateway_cannot_speak_in_an_owners_name(world: World, status: int) -> None:
    """Without an owner's signed answer nobody answered, refused, or is in an unknown state."""
    said = {"police": PartnerState(partner_id="police", status=status, reason="NO_AGREEMENT")}
    with pytest.raises(Forged) as caught:
        verify(world, outcome(world, said))
    assert caught.value.code == "ANSWER_MISSING"


@pytest.mark.parametrize(
    "change",
    [
        lambda leaf: setattr(leaf, "type", audit_pb2.LEAF_TYPE_INTENT),
        lambda leaf: setattr(leaf, "query_id", bytes(16)),
        lambda leaf: leaf.partners.pop(),
        lambda leaf: setattr(leaf.partners[0], "status", pb.STATUS_TIMEOUT),
        lambda leaf: setattr(leaf.partners[0], "reason", "DEADLINE"),
        lambda leaf: setattr(leaf.partners[0], "answer_digest", bytes(32)),
    ],
)
def test_the_logged_outcome_says_the_same(
    world: World, change: Callable[[audit_pb2.AuditLeaf], object]
) -> None:
    """The OUTCOME leaf names the same partners, states, reasons and answers as the statement."""
    said = states("customs", "police")
    stated = verify(world, outcome(world, said))
    leaf = audit_pb2.AuditLeaf(
        type=audit_pb2.LEAF_TYPE_OUTCOME,
        query_id=QUERY,
        partners=[said[name].to_wire() for name in sorted(said)],
    )
    check_outcome_leaf(signing.canonical(leaf), stated)
    change(leaf)
    with pytest.raises(Forged):
        check_outcome_leaf(signing.canonical(leaf), stated)


@given(st.binary(max_size=80))
def test_any_signed_octets_are_refused_not_crashed(world: World, data: bytes) -> None:
    """Garbage under the gateway's good signature is a refusal of our own."""
    with pytest.raises(FairleadError):
        verify(world, data)

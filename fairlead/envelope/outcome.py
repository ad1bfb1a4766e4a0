"""The outcome: the gateway's signed statement of who was asked and who answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from google.protobuf.message import DecodeError

from fairlead import signing
from fairlead.errors import Forged
from fairlead.partners import Directory, Gateway
from fairlead.v1 import audit_pb2
from fairlead.v1 import query_pb2 as pb


@dataclass(frozen=True, slots=True, kw_only=True)
class PartnerState:
    """One partner's final state in one query."""

    partner_id: str
    status: int
    reason: str = ""
    answer_digest: bytes = b""

    def to_wire(self) -> pb.PartnerOutcome:
        """Wire form."""
        return pb.PartnerOutcome(
            partner_id=self.partner_id,
            status=self.status,  # type: ignore[arg-type]
            reason=self.reason,
            answer_digest=self.answer_digest,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A verified outcome: partner id → state, in the order of ids."""

    query_id: bytes
    states: Mapping[str, PartnerState]
    intent_leaf_hash: bytes
    closed_at: int


WITHOUT_ANSWER = frozenset(
    {
        pb.STATUS_NOT_ASKED,
        pb.STATUS_UNREACHABLE,
        pb.STATUS_TIMEOUT,
        pb.STATUS_OVERLOADED,
        pb.STATUS_INVALID,
    }
)
"""What a gateway may say of a partner in its own name; any other status needs the owner's
signed answer."""


def make_outcome(
    *,
    query_id: bytes,
    header_digest: bytes,
    states: Mapping[str, PartnerState],
    intent_leaf_hash: bytes,
    gateway: str,
    policy_serial: int,
    now: float,
) -> bytes:
    """The octets the gateway signs at the end, domain ``outcome``."""
    outcome = pb.Outcome(
        query_id=query_id,
        header_digest=header_digest,
        partners=[states[p].to_wire() for p in sorted(states)],
        intent_leaf_hash=intent_leaf_hash,
        closed_at=int(now),
        gateway=gateway,
        policy_serial=policy_serial,
    )
    return signing.canonical(outcome)


def gateway_of(outcome: bytes, directory: Directory) -> Gateway:
    """The gateway that an outcome says it is of; whether it is, :func:`verify_outcome` finds out.

    :raises Forged: the directory lists no such gateway.
    """
    try:
        named = pb.Outcome.FromString(outcome).gateway
    except DecodeError:
        named = ""
    gateway = directory.gateways.get(named)
    if gateway is None:
        raise Forged("an outcome is of no gateway", reasons=("OUTCOME_BINDING",))
    return gateway


def verify_outcome(
    outcome: bytes, signature: bytes, *, query_id: bytes, header_digest: bytes, gateway: Gateway
) -> Outcome:
    """Verify the gateway's closing statement about one query.

    :raises Forged: not this gateway's, or of another query, or a partner listed twice.
    :raises InvalidInput: malformed.
    """
    signing.verify(gateway.signing_key, "outcome", outcome, signature)
    content = signing.parse_canonical(pb.Outcome, outcome)
    if (content.query_id, content.header_digest) != (query_id, header_digest):
        raise Forged("an outcome is of another query", reasons=("OUTCOME_BINDING",))
    names = [item.partner_id for item in content.partners]
    if names != sorted(set(names)) or content.gateway != gateway.spiffe_id:
        raise Forged("an outcome is not well formed", reasons=("OUTCOME_BINDING",))
    for item in content.partners:
        if not item.answer_digest and item.status not in WITHOUT_ANSWER:
            raise Forged("an outcome speaks in an owner's name", reasons=("ANSWER_MISSING",))
    states = {
        item.partner_id: PartnerState(
            partner_id=item.partner_id,
            status=item.status,
            reason=item.reason,
            answer_digest=item.answer_digest,
        )
        for item in content.partners
    }
    return Outcome(
        query_id=content.query_id,
        states=MappingProxyType(states),
        intent_leaf_hash=content.intent_leaf_hash,
        closed_at=content.closed_at,
    )


def check_outcome_leaf(leaf: bytes, outcome: Outcome) -> None:
    """:raises Forged: ``leaf`` is not the OUTCOME leaf of exactly this outcome."""
    content = signing.parse_canonical(audit_pb2.AuditLeaf, leaf, limit=64 * 1024)
    logged = [(p.partner_id, p.status, p.reason, p.answer_digest) for p in content.partners]
    stated = [
        (p, state.status, state.reason, state.answer_digest) for p, state in outcome.states.items()
    ]
    closes = content.type == audit_pb2.LEAF_TYPE_OUTCOME and content.query_id == outcome.query_id
    if not closes or logged != stated:
        raise Forged("the logged outcome is another", reasons=("OUTCOME_BINDING",))

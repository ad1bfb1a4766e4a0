"""The outcome: the gateway's signed statement of who was asked and who answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fairlead import signing
from fairlead.errors import Forged
from fairlead.partners import Gateway
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

"""Grants: what the gateway's policy permits each owner to answer (PROTOCOL §2).

One gateway signature per query covers the digests of all owners' grants and the INTENT leaf.
An owner sees its own grant only, and the digests of the others hide behind random nonces.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from fairlead import merkle, quorum, signing
from fairlead.cosigning import cosigners
from fairlead.envelope.query import Query, Random
from fairlead.errors import Forged, Stale
from fairlead.partners import Directory, Gateway
from fairlead.policy.decision import Decision, Obligations, Onward
from fairlead.receipts import Head, parse_proof, verify_receipt
from fairlead.v1 import audit_pb2, owner_pb2
from fairlead.v1 import query_pb2 as pb


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One owner's verified grant; the owner's own decision may narrow it, never widen.

    ``issued_at``: unix seconds on the gateway's clock.
    """

    mode: int
    facets: frozenset[str]
    obligations: Obligations
    decision_id: bytes
    policy_serial: int
    expires_at: int
    intent_leaf_hash: bytes
    head: Head
    issued_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantSheet:
    """All grants of one query as the gateway sends them."""

    grants: Mapping[str, bytes]
    statement: bytes
    signature: bytes


def make_grant(
    query: Query,
    owner: str,
    decision: Decision,
    *,
    expires_at: int,
    decision_id: bytes = b"",
    random: Random = os.urandom,
) -> bytes:
    """The canonical octets of one owner's grant.

    :param decision_id: of the record of the gateway's routing; all owners of a query see the same.
    """
    limits = decision.obligations
    grant = pb.OwnerGrant(
        query_id=query.query_id,
        partner_id=owner,
        nonce=random(32),
        mode=query.mode,  # type: ignore[arg-type]
        facets=sorted(decision.facets),
        obligations=obligations_to_wire(limits),
        decision_id=decision_id or random(16),
        policy_serial=decision.policy_serial,
        expires_at=expires_at,
    )
    return signing.canonical(grant)


def grant_statement(
    query: Query,
    grants: Mapping[str, bytes],
    *,
    directory: Directory,
    gateway: str,
    intent_leaf_hash: bytes,
    now: float,
    random: Random = os.urandom,
) -> bytes:
    """The octets the gateway signs once per query, domain ``grant``."""
    statement = pb.GrantStatement(
        query_id=query.query_id,
        grant_digests=[
            signing.digest(grants[p]) if p in grants else random(32) for p in directory.listed
        ],
        intent_leaf_hash=intent_leaf_hash,
        gateway=gateway,
        issued_at=int(now),
    )
    return signing.canonical(statement)


def verify_grant(
    request: owner_pb2.AnswerRequest,
    query: Query,
    *,
    owner: str,
    directory: Directory,
    gateway: Gateway,
    head: Head | None,
    now: float,
    witnessed: bool = False,
) -> Grant:
    """Verify grant and receipt as the owner.

    1. This gateway signed the statement, which is of this query.
    2. The statement covers exactly this grant at this owner's place.
    3. The grant is for this owner, this query and this mode, and in force.
    4. The receipt proves the INTENT leaf the statement names, consistent with the last head.
    5. That leaf records this query and nothing else.
    6. Where the purpose is highly sensitive, a quorum of the directory's witnesses has cosigned the
       checkpoint that proves it.

    :param head: the head of the gateway's log this owner last accepted.
    :param witnessed: whether step 6 is needed.
    :raises Forged: any binding is wrong. :raises Stale: the grant expired, or CHECKPOINT_STALE.
    :raises NoQuorum: QUORUM_MISSING.
    :raises Forked: the receipt contradicts ``head``.
    """
    # 1
    signing.verify(gateway.signing_key, "grant", request.grant_statement, request.grant_signature)
    statement = signing.parse_canonical(pb.GrantStatement, request.grant_statement)
    if statement.query_id != query.query_id or statement.gateway != gateway.spiffe_id:
        raise Forged("a grant statement is of another query", reasons=("GRANT_BINDING",))
    # 2
    place = directory.place(owner)
    digests = statement.grant_digests
    if len(digests) != len(directory.listed) or digests[place] != signing.digest(request.grant):
        raise Forged("a grant is not the one its statement covers", reasons=("GRANT_DIGEST",))
    # 3
    grant = signing.parse_canonical(pb.OwnerGrant, request.grant)
    if (grant.query_id, grant.partner_id, grant.mode) != (query.query_id, owner, query.mode):
        raise Forged("a grant is for another query, owner or mode", reasons=("GRANT_BINDING",))
    if now >= grant.expires_at:
        raise Stale("a grant has expired", reasons=("GRANT_EXPIRED",))
    # 4
    if merkle.leaf_hash(request.receipt.leaf) != statement.intent_leaf_hash:
        raise Forged("a receipt proves another leaf", reasons=("RECEIPT_BINDING",))
    accepted = verify_receipt(
        request.receipt, origin=gateway.log_origin, public_key=gateway.log_key, head=head
    )
    # 5
    check_intent(request.receipt.leaf, query)
    # 6
    if witnessed:
        checkpoint = parse_proof(request.receipt.tlog_proof).checkpoint
        quorum.require(cosigners(checkpoint, directory), directory)
    return Grant(
        mode=grant.mode,
        facets=frozenset(grant.facets),
        obligations=obligations_from_wire(grant.obligations),
        decision_id=grant.decision_id,
        policy_serial=grant.policy_serial,
        expires_at=grant.expires_at,
        intent_leaf_hash=statement.intent_leaf_hash,
        head=accepted,
        issued_at=statement.issued_at,
    )


def check_intent(leaf: bytes, query: Query) -> None:
    """:raises Forged: ``leaf`` is not an INTENT leaf of exactly this query."""
    content = signing.parse_canonical(audit_pb2.AuditLeaf, leaf, limit=64 * 1024)
    bound = (
        content.type == audit_pb2.LEAF_TYPE_INTENT
        and content.query_id == query.query_id
        and content.header_digest == query.header_digest
        and content.mandate_digest == query.mandate_digest
        and content.partner_id == query.asker.partner_id
        and content.user == query.user.spiffe_id
        and (content.purpose, content.legal_basis) == (query.purpose, query.legal_basis)
        and content.mode == query.mode
        and content.term_count == query.term_count
        and tuple(content.schemes) == query.schemes
        and list(content.signatures) == query.signatures
        and tuple(content.approvers) == query.approvers
        and content.detail_digest == query.detail_digest
    )
    if not bound:
        raise Forged("the logged intent is of another query", reasons=("INTENT_BINDING",))


def obligations_to_wire(value: Obligations) -> pb.Obligations:
    """Wire form; a limit travels as itself plus one, 0 meaning none."""
    return pb.Obligations(
        redact=sorted(value.redact),
        max_records=_limit_to_wire(value.max_records),
        approvals=value.approvals,
        notice_delay_s=value.notice_delay_s,
        retention_days=_limit_to_wire(value.retention_days),
        notify=sorted(value.notify),
        onward=value.onward or "",
        second_approvers=value.second_approvers,
    )


def obligations_from_wire(value: pb.Obligations) -> Obligations:
    """Domain form of :func:`obligations_to_wire`; a word nobody knows is the strictest."""
    return Obligations(
        redact=frozenset(value.redact),
        max_records=_limit_from_wire(value.max_records),
        approvals=value.approvals,
        notice_delay_s=value.notice_delay_s,
        retention_days=_limit_from_wire(value.retention_days),
        notify=frozenset(value.notify),
        onward=_onward(value.onward),
        second_approvers=value.second_approvers,
    )


def _onward(word: str) -> Onward | None:
    if not word:
        return None
    return Onward(word) if word in {known.value for known in Onward} else Onward.NONE


def _limit_to_wire(limit: int | None) -> int:
    return 0 if limit is None else limit + 1


def _limit_from_wire(value: int) -> int | None:
    return None if value == 0 else value - 1

"""Verifying a receipt file offline: no service, only the directory and the trust anchors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.json_format import ParseDict, ParseError

from fairlead import merkle, signing
from fairlead.envelope.answer import verify_answer
from fairlead.envelope.grant import check_intent
from fairlead.envelope.outcome import check_outcome_leaf, verify_outcome
from fairlead.envelope.query import Query, verify_query
from fairlead.errors import Forged, InvalidInput, NotFound
from fairlead.partners import Directory
from fairlead.receipts import CheckpointFork, Head, verify_receipt
from fairlead.trust import Trust, former_path
from fairlead.v1 import asking_pb2, audit_pb2, query_pb2

MAX_FILE = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a receipt proves, once everything in it verified."""

    query: Query
    partners: dict[str, int]
    answers: int
    log_size: int


def load_evidence(path: Path) -> asking_pb2.Evidence:
    """Read a receipt file.

    :raises InvalidInput: missing, too large, or not one.
    """
    if not path.exists():
        raise NotFound("there is no such receipt file", reasons=("RECEIPT_FILE",))
    try:
        data = path.read_bytes()
        document = json.loads(data) if len(data) <= MAX_FILE else None
        if not isinstance(document, dict) or document.pop("fairlead_receipt", None) != 1:
            raise ValueError
        return ParseDict(document, asking_pb2.Evidence())
    except (OSError, ValueError, ParseError, RecursionError, TypeError):
        raise InvalidInput(
            "this is not a receipt file",
            reasons=("RECEIPT_FILE",),
            remedy="fairlead ask … prints where it keeps the receipt",
        ) from None


def asked_at(evidence: asking_pb2.Evidence) -> int:
    """When the asker says the query was made, unix seconds; not verified.

    :raises InvalidInput: malformed.
    """
    header = signing.parse_canonical(query_pb2.QueryHeader, evidence.query.header)
    return header.issued_at


def verify_evidence(evidence: asking_pb2.Evidence, directory: Directory) -> Verified:
    """Verify everything a receipt claims.

    1. The query: user, session and node signed it, at the time it was made; a sealed detail beside
       it is the one that its header names.
    2. The INTENT leaf is of this query and in the gateway's log.
    3. The gateway's outcome is of this query and names that leaf.
    4. The OUTCOME leaf says the same, in a later state of the same log.
    5. Every answer is signed by its owner and is the one the outcome names; none is missing.

    :raises Forged: any of it is wrong. :raises CheckpointFork: two histories.
    """
    # 1
    header = signing.parse_canonical(query_pb2.QueryHeader, evidence.query.header)
    query = verify_query(evidence.query, directory=directory, deny_lists=None, now=header.issued_at)
    if evidence.detail and signing.digest(evidence.detail) != query.detail_digest:
        raise Forged("a detail is not the one the header names", reasons=("DETAIL_DIGEST",))
    gateway = directory.gateway
    # 2
    check_intent(evidence.intent.leaf, query)
    intent = _head(evidence.intent, directory)
    # 3
    outcome = verify_outcome(
        evidence.outcome,
        evidence.outcome_signature,
        query_id=query.query_id,
        header_digest=query.header_digest,
        gateway=gateway,
    )
    if outcome.intent_leaf_hash != merkle.leaf_hash(evidence.intent.leaf):
        raise Forged("the outcome names another intent", reasons=("OUTCOME_BINDING",))
    # 4
    closing = _head(evidence.closing, directory)
    check_outcome_leaf(evidence.closing.leaf, outcome)
    if closing.size < intent.size:
        raise Forged("the logged outcome is another", reasons=("OUTCOME_BINDING",))
    if closing.size == intent.size and closing.root != intent.root:
        raise CheckpointFork(accepted=intent.checkpoint, offered=closing.checkpoint)
    # 5
    seen = {}
    for signed in evidence.answers:
        name = signing.parse_canonical(query_pb2.AnswerHeader, signed.header).partner_id
        answer = verify_answer(
            signed,
            query_id=query.query_id,
            header_digest=query.header_digest,
            terms=query.term_count,
            elements=query.element_count,
            owner=directory.partner(name),
        )
        seen[name] = (answer.digest, answer.status, answer.reason)
    states = outcome.states.items()
    named = {p: (s.answer_digest, s.status, s.reason) for p, s in states if s.answer_digest}
    if seen != named:
        raise Forged("the answers are not those of the outcome", reasons=("ANSWERS",))
    return Verified(
        query=query,
        partners={p: s.status for p, s in outcome.states.items()},
        answers=len(seen),
        log_size=closing.size,
    )


def directory_of(
    evidence: asking_pb2.Evidence, anchors: Trust, path: Path, *, now: float
) -> Directory:
    """The directory the query was asked under: the one in ``path``, or one kept beside it.

    :param now: when the query was asked, Unix seconds.
    :raises FairleadError: the one to use does not verify.
    """
    header = signing.parse_canonical(query_pb2.QueryHeader, evidence.query.header)
    kept = former_path(path, header.directory_serial)
    return anchors.directory(kept if kept.exists() else path, now=now)


def heads(evidence: asking_pb2.Evidence, directory: Directory) -> list[Head]:
    """The heads of the gateway's log a receipt proves; a log that does not extend them lies.

    :raises Forged: they do not verify.
    """
    return [_head(evidence.intent, directory), _head(evidence.closing, directory)]


def _head(receipt: audit_pb2.Receipt, directory: Directory) -> Head:
    """Inclusion under a signed head; consistency was checked when the receipt arrived."""
    bare = audit_pb2.Receipt(leaf=receipt.leaf, tlog_proof=receipt.tlog_proof)
    gateway = directory.gateway
    return verify_receipt(bare, origin=gateway.log_origin, public_key=gateway.log_key, head=None)

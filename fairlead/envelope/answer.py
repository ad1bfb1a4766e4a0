"""Answers: a clear header that no record influences, and a body sealed at a fixed size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import sealing, signing
from fairlead.envelope.query import Query
from fairlead.errors import Forged, InvalidInput
from fairlead.partners import Partner
from fairlead.policy.decision import Onward
from fairlead.v1 import query_pb2 as pb

SEAL_OVERHEAD = 1088 + 32 + 16
"""Octets HPKE adds: ML-KEM-768 ciphertext, X25519 share, AES-GCM tag."""
OWNER_REASONS = frozenset(
    [
        "ASKER_UNKNOWN",
        "BLIND_CLASS",
        "BLIND_REQUIRED",
        "BUDGET_EXHAUSTED",
        "CLASS_OVER",
        "COUNTRY_NOT_COVERED",
        "EPOCH_OVER",
        "GRANT_EXPIRED",
        "GRANT_MISMATCH",
        "INPUT_INVALID",
        "INSTRUMENT_EXPIRED",
        "INSTRUMENT_NOT_ACCEPTED",
        "INSTRUMENT_REQUIRED",
        "JURISDICTION_UNKNOWN",
        "LEGAL_BASIS",
        "MODE_NOT_COVERED",
        "NOTHING_GRANTED",
        "NO_AGREEMENT",
        "OPTED_OUT",
        "OWNER_NOT_READY",
        "OWNER_PAUSED",
        "PARTNER_JURISDICTION_UNKNOWN",
        "PARTNER_UNKNOWN",
        "POLICY",
        "POLICY_INCOMPLETE",
        "POLICY_UNAVAILABLE",
        "PURPOSE_NOT_COVERED",
        "PURPOSE_UNKNOWN",
        "QUERY_LIMITS",
        "ROLE_NOT_COVERED",
        "SAME_PARTNER",
        "SCHEME_NOT_ANSWERED",
        "SCHEME_NOT_COVERED",
        "SECOND_APPROVER_REQUIRED",
        "TOO_MANY_TERMS",
        "TRANSFER_GROUND_MISSING",
        "WINDOW_TOO_LONG",
    ]
)
"""Why an owner may refuse, in clear; a closed list, so that nothing else can be written there."""
PAUSED = "OWNER_PAUSED"
"""The reason that comes with ``paused_since``."""
OWNER_STATUSES = (pb.STATUS_ANSWERED, pb.STATUS_REFUSED, pb.STATUS_OVERLOADED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an owner's signed header says; ages in seconds, ``paused_since`` in unix seconds."""

    partner_id: str
    status: int
    reason: str
    policy_serial: int
    index_age_s: int
    index_root: bytes
    digest: bytes
    paused_since: int = 0


def answer_info(query_id: bytes, owner: str) -> bytes:
    """HPKE info binding an answer to its query and its owner."""
    return b"fairlead/v1/answer\x00" + query_id + owner.encode()


RECORD_FRAME = 4 + 4
"""Octets one more record adds beside itself, at most: its tag and length, and the growth of the
lengths around it."""


DUTIES_FRAME = 1 + 5 + 2 + 12
"""Octets an answer's retention and onward word take at most; who fills one leaves them free."""


def room_left(query_id: bytes, owner: str, answers: Sequence[pb.TermAnswer], terms: int) -> int:
    """Octets of the fixed size for ``terms`` terms that these answers leave free."""
    body = pb.AnswerBody(query_id=query_id, partner_id=owner, answers=answers)
    return sealing.answer_size(terms) - 4 - body.ByteSize()


def sign_answer(
    query: Query,
    owner: str,
    *,
    key: Ed25519PrivateKey,
    status: int,
    reason: str = "",
    answers: Sequence[pb.TermAnswer] = (),
    policy_serial: int,
    index_age_s: int,
    index_root: bytes,
    paused_since: int = 0,
    retention_days: int | None = None,
    onward: Onward | None = None,
) -> pb.SignedAnswer:
    """Seal and sign one owner's answer; a refusal has no body.

    :param paused_since: unix seconds, said beside the reason ``OWNER_PAUSED`` alone.
    :param retention_days: how long the asker may keep it; None sets no limit.
    :param onward: to whom the asker may pass it on.
    :raises InvalidInput: the answers do not fit the fixed size.
    """
    body = b""
    if status == pb.STATUS_ANSWERED:
        content = pb.AnswerBody(
            query_id=query.query_id,
            partner_id=owner,
            answers=answers,
            retention_days=0 if retention_days is None else min(retention_days, 36_500) + 1,
            onward=onward or "",
        )
        padded = sealing.pad(signing.canonical(content), sealing.answer_size(query.term_count))
        body = sealing.seal(padded, query.reply_key, info=answer_info(query.query_id, owner))
    header = header_of(
        query,
        owner,
        body,
        status=status,
        reason=reason,
        policy_serial=policy_serial,
        index_age_s=index_age_s,
        index_root=index_root,
        paused_since=paused_since,
    )
    return pb.SignedAnswer(header=header, signature=signing.sign(key, "answer", header), body=body)


def header_of(
    query: Query,
    owner: str,
    body: bytes,
    *,
    status: int,
    reason: str = "",
    policy_serial: int,
    index_age_s: int,
    index_root: bytes,
    paused_since: int = 0,
) -> bytes:
    """The clear header over a sealed body, to be signed in the domain "answer"."""
    header = pb.AnswerHeader(
        query_id=query.query_id,
        partner_id=owner,
        status=status,  # type: ignore[arg-type]
        reason=reason if not reason or reason in OWNER_REASONS else "POLICY",
        policy_serial=policy_serial,
        index_age_s=index_age_s,
        index_root=index_root,
        body_digest=signing.digest(body),
        header_digest=query.header_digest,
        paused_since=paused_since if reason == PAUSED else 0,
    )
    return signing.canonical(header)


def body_size(terms: int, elements: int = 0) -> int:
    """Octets of the padded body of an answer to so many terms, or to blinded elements."""
    return sealing.blind_answer_size(elements) if elements else sealing.answer_size(terms)


def verify_answer(
    signed: pb.SignedAnswer,
    *,
    query_id: bytes,
    header_digest: bytes,
    terms: int,
    owner: Partner,
    elements: int = 0,
) -> Answer:
    """Verify one answer without opening it; the gateway does this, and so does the asker.

    1. The owner signed this header.
    2. It is this owner's, about this query.
    3. Its status is one an owner may give, and a reason, which is a code, stands only with
       a refusal; since when an owner pauses stands only where it says that it does.
    4. The body is the signed one, of exactly the agreed size, empty unless answered.

    :param elements: blinded elements asked; 0 in sealed mode.
    :raises Forged: any of it is wrong. :raises InvalidInput: malformed.
    """
    # 1
    signing.verify(owner.signing_key, "answer", signed.header, signed.signature)
    header = signing.parse_canonical(pb.AnswerHeader, signed.header, limit=4096)
    # 2
    if (header.query_id, header.header_digest) != (query_id, header_digest):
        raise Forged("an answer is to another query", reasons=("ANSWER_BINDING",))
    if header.partner_id != owner.partner_id:
        raise Forged("an answer speaks for another partner", reasons=("ANSWER_BINDING",))
    # 3
    refused = header.status == pb.STATUS_REFUSED
    coded = not header.reason or header.reason in OWNER_REASONS
    if header.status not in OWNER_STATUSES or refused != bool(header.reason) or not coded:
        raise InvalidInput("an answer's status is not an owner's to give", reasons=("STATUS",))
    if header.paused_since < 0 or (header.paused_since and header.reason != PAUSED):
        raise InvalidInput("an answer says since when its owner pauses", reasons=("STATUS",))
    # 4
    answered = header.status == pb.STATUS_ANSWERED
    size = body_size(terms, elements) + SEAL_OVERHEAD if answered else 0
    if len(signed.body) != size or signing.digest(signed.body) != header.body_digest:
        raise Forged("an answer's body is not the signed one", reasons=("ANSWER_BODY",))
    return Answer(
        partner_id=header.partner_id,
        status=header.status,
        reason=header.reason,
        policy_serial=header.policy_serial,
        index_age_s=header.index_age_s,
        index_root=header.index_root,
        digest=signing.digest(signed.header),
        paused_since=header.paused_since,
    )


def open_answer(
    signed: pb.SignedAnswer, *, query_id: bytes, owner: str, terms: int, key: sealing.SealingKey
) -> tuple[pb.TermAnswer, ...]:
    """Open a verified answer with the query's reply key, as the asker.

    :returns: one entry per term, in order.
    :raises Forged: not sealed to this query, wrongly framed, or not one entry per term.
    """
    return tuple(open_body(signed, query_id=query_id, owner=owner, terms=terms, key=key).answers)


def open_body(
    signed: pb.SignedAnswer, *, query_id: bytes, owner: str, terms: int, key: sealing.SealingKey
) -> pb.AnswerBody:
    """The same with what the owner says about keeping it."""
    size = sealing.answer_size(terms)
    body = open_framed(signed, query_id=query_id, owner=owner, size=size, key=key)
    if [item.index for item in body.answers] != list(range(terms)) or body.evaluated:
        raise Forged("an answer does not cover every term", reasons=("ANSWER_TERMS",))
    return body


def open_framed(
    signed: pb.SignedAnswer, *, query_id: bytes, owner: str, size: int, key: sealing.SealingKey
) -> pb.AnswerBody:
    """A body of ``size`` padded octets as its owner sealed it, whatever it holds.

    :raises Forged: not sealed to this query, or wrongly framed.
    """
    padded = key.open(signed.body, info=answer_info(query_id, owner))
    body = signing.parse_canonical(pb.AnswerBody, sealing.unpad(padded, size))
    if (body.query_id, body.partner_id) != (query_id, owner):
        raise Forged("an answer's body is of another query", reasons=("ANSWER_BINDING",))
    return body

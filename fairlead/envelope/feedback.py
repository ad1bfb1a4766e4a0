"""Feedback on an answer: signed by the asker's node, sealed to the owner at one fixed size."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import sealing, signing
from fairlead.envelope.query import WINDOW_S, check_id
from fairlead.errors import Forged, InvalidInput, Stale
from fairlead.partners import Directory, Partner
from fairlead.v1 import query_pb2 as pb

SIZE = 1024
"""Octets of padded feedback before sealing, whatever it says."""
SEALED_SIZE = SIZE + 1088 + 32 + 16
PER_QUERY = 64
"""Pieces of feedback on one query, at most."""
MAX_TEXT = 64


def feedback_info(query_id: bytes, owner: str) -> bytes:
    """HPKE info binding feedback to its query and its owner."""
    return b"fairlead/v1/feedback\x00" + query_id + owner.encode()


def seal_feedback(
    body: pb.FeedbackBody, *, asker: str, owner: Partner, key: Ed25519PrivateKey, now: float
) -> pb.SignedFeedback:
    """Seal ``body`` to ``owner`` and sign it as the asker's node."""
    padded = sealing.pad(signing.canonical(body), SIZE)
    info = feedback_info(body.query_id, owner.partner_id)
    sealed = sealing.seal(padded, owner.sealing_key, info=info)
    header = signing.canonical(
        pb.FeedbackHeader(
            feedback_id=body.feedback_id,
            query_id=body.query_id,
            partner_id=asker,
            owner_id=owner.partner_id,
            body_digest=signing.digest(sealed),
            issued_at=int(now),
        )
    )
    return pb.SignedFeedback(
        header=header, signature=signing.sign(key, "feedback", header), body=sealed
    )


def verify_feedback(
    signed: pb.SignedFeedback, *, directory: Directory, now: float
) -> pb.FeedbackHeader:
    """Verify feedback without opening it; the gateway does this, and so does the owner.

    1. Its header is canonical and names two partners of the directory.
    2. The asker's node signed it.
    3. It is fresh, and its body is the signed one, of exactly the agreed size.

    :raises Forged: a signature or binding is wrong. :raises Stale: outside its window.
    :raises InvalidInput: malformed. :raises NotFound: UNKNOWN_PARTNER.
    """
    # 1
    header = signing.parse_canonical(pb.FeedbackHeader, signed.header, limit=4096)
    check_id(header.feedback_id)
    check_id(header.query_id)
    asker = directory.partner(header.partner_id)
    directory.partner(header.owner_id)
    # 2
    signing.verify(asker.signing_key, "feedback", signed.header, signed.signature)
    # 3
    if abs(now - header.issued_at) > WINDOW_S:
        raise Stale("feedback is outside its time window", reasons=("FEEDBACK_WINDOW",))
    if len(signed.body) != SEALED_SIZE or signing.digest(signed.body) != header.body_digest:
        raise Forged("a feedback's body is not the signed one", reasons=("FEEDBACK_BODY",))
    return header


def open_feedback(
    signed: pb.SignedFeedback, header: pb.FeedbackHeader, *, key: sealing.SealingKey
) -> pb.FeedbackBody:
    """Open verified feedback as its owner.

    :raises Forged: not sealed to this owner for this query. :raises InvalidInput: malformed.
    """
    padded = key.open(signed.body, info=feedback_info(header.query_id, header.owner_id))
    body = signing.parse_canonical(pb.FeedbackBody, sealing.unpad(padded, SIZE))
    if (body.feedback_id, body.query_id) != (header.feedback_id, header.query_id):
        raise Forged("a feedback's body is of another query", reasons=("FEEDBACK_BINDING",))
    known = body.outcome != pb.FEEDBACK_OUTCOME_UNSPECIFIED and (
        body.outcome in pb.FeedbackOutcome.values()
    )
    if not known or max(len(body.scheme), len(body.value)) > MAX_TEXT:
        raise InvalidInput("feedback is not well formed", reasons=("FEEDBACK",))
    return body

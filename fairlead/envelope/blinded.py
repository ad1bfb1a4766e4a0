"""The parts and bodies of a blind query: elements there, evaluations back (PROTOCOL §3, ADR 19).

They travel as those of a sealed query do, to the same readers under the same signatures; nothing
in them tells a term. Their sizes follow from the number of elements that the signed header states.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import ristretto, sealing, signing
from fairlead.blinding import Evaluation, check_audience, check_epoch
from fairlead.envelope.answer import answer_info, header_of, open_framed
from fairlead.envelope.part import part_secret
from fairlead.envelope.query import MAX_SCHEMES, Query, partner_digest
from fairlead.envelope.question import part_info, unsealed
from fairlead.errors import Forged, InvalidInput
from fairlead.identifiers.matching import keys_per_term
from fairlead.partners import Directory, Partner
from fairlead.policy.decision import Onward
from fairlead.v1 import query_pb2 as pb


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindedTerms:
    """The blinded elements of one scheme (rows of 32 octets) for one owner, and the class (32
    octets) and epoch of the snapshot they will be looked up in."""

    scheme: str
    audience: bytes
    epoch: int
    elements: bytes

    @property
    def terms(self) -> int:
        """How many terms they are of."""
        return len(self.elements) // ristretto.SIZE // keys_per_term(self.scheme)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedTerms:
    """An owner's answer to one :class:`BlindedTerms`; ``manifest`` is the digest of its newest
    manifest of that class, epoch and scheme."""

    evaluation: Evaluation
    manifest: bytes


def seal_blind_part(
    *,
    query_id: bytes,
    owner: Partner,
    salt: bytes,
    blinded: Sequence[BlindedTerms],
    seed: bytes | None = None,
) -> bytes:
    """Seal one owner's elements; the size depends on their number alone.

    :param seed: of the query's content keys; None draws one that nobody can make again.
    """
    owner_id = owner.partner_id
    wrapped, ciphertext = sealing.wrap(
        padded_blind(query_id=query_id, owner=owner_id, salt=salt, blinded=blinded),
        owner.sealing_key,
        info=part_info(query_id, owner_id),
        secret=None if seed is None else part_secret(seed, owner_id),
    )
    return signing.canonical(pb.SealedPart(wrapped_key=wrapped, ciphertext=ciphertext))


def padded_blind(
    *, query_id: bytes, owner: str, salt: bytes, blinded: Sequence[BlindedTerms]
) -> bytes:
    """What is sealed to an owner, framed to its fixed size. So many zeroes end it that no other
    key opens the same octets as another list of elements."""
    count = sum(len(item.elements) for item in blinded) // ristretto.SIZE
    question = pb.Question(
        query_id=query_id,
        partner_id=owner,
        partner_salt=salt,
        blinded=[
            pb.BlindedTerms(
                scheme=item.scheme,
                audience=item.audience,
                epoch=item.epoch,
                elements=item.elements,
            )
            for item in blinded
        ],
    )
    return sealing.pad(signing.canonical(question), sealing.blind_question_size(count))


def open_blind_part(
    part: bytes, query: Query, *, owner: str, key: sealing.SealingKey, directory: Directory
) -> tuple[BlindedTerms, ...]:
    """Open and verify a blind part as its owner.

    1. The header commits to exactly this part at this owner's place, and it opens with this
       owner's key, for this query, at the size of the header's number of elements.
    2. The mandate names this owner: the user wanted it asked.
    3. It holds elements and nothing of a sealed question: no term, no period, no handling.
    4. Their schemes are the mandate's, sorted, each once; their rows are exactly as many as the
       chunk's terms cost, and as the header says.

    Whether a row is a point is for the evaluation to find out.

    :raises Forged: any binding is wrong. :raises InvalidInput: malformed or beyond a limit.
    """
    # 1
    content = unsealed(
        part,
        query,
        owner=owner,
        key=key,
        directory=directory,
        size=sealing.blind_question_size(query.element_count),
    )
    question = signing.parse_canonical(pb.Question, content)
    if question.query_id != query.query_id or question.partner_id != owner:
        raise Forged("a part is for another query or owner", reasons=("PART_BINDING",))
    # 2
    salted = partner_digest(question.partner_salt, owner, query.mandate_id, asked=True)
    if salted != query.partner_digests[directory.place(owner)]:
        raise Forged("the user's mandate does not name this owner", reasons=("NOT_WANTED",))
    # 3
    bare = pb.Question(
        query_id=question.query_id,
        partner_id=question.partner_id,
        partner_salt=question.partner_salt,
        blinded=question.blinded,
    )
    if signing.canonical(bare) != content:
        raise InvalidInput("a blind part tells more than elements", reasons=("BLIND_PART",))
    # 4
    schemes = [item.scheme for item in question.blinded]
    if not 0 < len(schemes) <= MAX_SCHEMES or schemes != sorted(set(schemes)):
        raise InvalidInput("a blind part's schemes are not a sorted set", reasons=("SCHEMES",))
    if not set(schemes) <= set(query.schemes):
        raise InvalidInput("a term's scheme is not in the mandate", reasons=("SCHEMES",))
    found = tuple(_blinded(item) for item in question.blinded)
    rows = sum(len(item.elements) for item in found) // ristretto.SIZE
    if (rows, sum(item.terms for item in found)) != (query.element_count, query.term_count):
        raise Forged("the elements are not as many as the header says", reasons=("ELEMENTS",))
    return found


def _blinded(item: pb.BlindedTerms) -> BlindedTerms:
    check_audience(item.audience)
    check_epoch(item.epoch)
    rows = ristretto.check_rows(item.elements)
    if rows % keys_per_term(item.scheme):
        raise InvalidInput("a term has too few or too many elements", reasons=("ELEMENTS",))
    return BlindedTerms(
        scheme=item.scheme, audience=item.audience, epoch=item.epoch, elements=item.elements
    )


def sign_blind_answer(
    query: Query,
    owner: str,
    evaluated: Sequence[EvaluatedTerms],
    *,
    key: Ed25519PrivateKey,
    policy_serial: int,
    index_age_s: int,
    index_root: bytes,
    retention_days: int | None = None,
    onward: Onward | None = None,
) -> pb.SignedAnswer:
    """Seal and sign one owner's evaluations; a refusal is :func:`sign_answer`'s.

    :param retention_days: how long the asker may keep what it finds; None sets no limit.
    :param onward: to whom the asker may pass it on.
    """
    content = pb.AnswerBody(
        query_id=query.query_id,
        partner_id=owner,
        retention_days=0 if retention_days is None else min(retention_days, 36_500) + 1,
        onward=onward or "",
        evaluated=[
            pb.EvaluatedTerms(
                elements=item.evaluation.elements,
                proofs=item.evaluation.proofs,
                manifest=item.manifest,
            )
            for item in evaluated
        ],
    )
    padded = sealing.pad(signing.canonical(content), sealing.blind_answer_size(query.element_count))
    body = sealing.seal(padded, query.reply_key, info=answer_info(query.query_id, owner))
    header = header_of(
        query,
        owner,
        body,
        status=pb.STATUS_ANSWERED,
        policy_serial=policy_serial,
        index_age_s=index_age_s,
        index_root=index_root,
    )
    return pb.SignedAnswer(header=header, signature=signing.sign(key, "answer", header), body=body)


def open_blind_body(
    signed: pb.SignedAnswer,
    *,
    query_id: bytes,
    owner: str,
    asked: Sequence[BlindedTerms],
    key: sealing.SealingKey,
) -> tuple[tuple[EvaluatedTerms, ...], pb.AnswerBody]:
    """Open a verified blind answer with the query's reply key, as the asker.

    Nothing is proved here: :func:`fairlead.blinding.finalise` does that before it unblinds.

    :returns: one evaluation for each item of ``asked``, and the body, which says the duties.
    :raises Forged: not sealed to this query, wrongly framed, or not one evaluation an item.
    """
    count = sum(len(item.elements) for item in asked) // ristretto.SIZE
    body = open_framed(
        signed, query_id=query_id, owner=owner, size=sealing.blind_answer_size(count), key=key
    )
    sizes = [(len(item.elements), len(item.manifest)) for item in body.evaluated]
    if sizes != [(len(item.elements), 32) for item in asked] or body.answers:
        raise Forged("a blind answer does not cover what was asked", reasons=("ANSWER_TERMS",))
    evaluated = tuple(
        EvaluatedTerms(
            evaluation=Evaluation(elements=item.elements, proofs=item.proofs),
            manifest=item.manifest,
        )
        for item in body.evaluated
    )
    return evaluated, body

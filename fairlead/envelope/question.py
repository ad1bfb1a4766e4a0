"""The sealed part: what one owner is asked, readable by that owner alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fairlead import identifiers, sealing, signing
from fairlead.envelope.part import part_digest, part_secret
from fairlead.envelope.query import (
    ANY,
    Query,
    Scope,
    partner_digest,
    term_leaf,
    terms_root,
)
from fairlead.errors import Forged, InvalidInput
from fairlead.names import check_code
from fairlead.partners import Directory, Partner
from fairlead.v1 import query_pb2 as pb

MAX_EVENTS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What an owner is asked: terms in order, and the scope of all of them."""

    terms: tuple[identifiers.Identifier, ...]
    scope: Scope
    salt: bytes = field(default=b"", repr=False, compare=False)
    """Opens this owner's place in the mandate."""
    nonces: tuple[bytes, ...] = field(default=(), repr=False, compare=False)
    """Open the terms' leaves under the mandate's root, in order."""


def part_info(query_id: bytes, owner: str) -> bytes:
    """HPKE info binding a part to its query and its owner."""
    return b"fairlead/v1/question\x00" + query_id + owner.encode()


def seal_part(
    *,
    query_id: bytes,
    owner: Partner,
    salt: bytes,
    terms: Sequence[tuple[str, str]],
    nonces: Sequence[bytes],
    scope: Scope = ANY,
    seed: bytes | None = None,
) -> bytes:
    """Seal one owner's question; the size depends on the number of terms alone.

    :param seed: of the query's content keys; None draws one that nobody can make again.
    """
    owner_id = owner.partner_id
    padded = padded_question(
        query_id=query_id, owner=owner_id, salt=salt, terms=terms, nonces=nonces, scope=scope
    )
    wrapped, ciphertext = sealing.wrap(
        padded,
        owner.sealing_key,
        info=part_info(query_id, owner_id),
        secret=None if seed is None else part_secret(seed, owner_id),
    )
    return signing.canonical(pb.SealedPart(wrapped_key=wrapped, ciphertext=ciphertext))


def padded_question(
    *,
    query_id: bytes,
    owner: str,
    salt: bytes,
    terms: Sequence[tuple[str, str]],
    nonces: Sequence[bytes],
    scope: Scope,
) -> bytes:
    """What is sealed to an owner, framed to its fixed size."""
    question = pb.Question(
        query_id=query_id,
        partner_id=owner,
        partner_salt=salt,
        terms=[
            pb.QuestionTerm(scheme=s, value=v, nonce=n)
            for (s, v), n in zip(terms, nonces, strict=True)
        ],
        since=scope.since,
        until=scope.until,
        events=scope.events,
        tlp=scope.tlp,  # type: ignore[arg-type]
        pap=scope.pap,  # type: ignore[arg-type]
    )
    return sealing.pad(signing.canonical(question), sealing.question_size(len(terms)))


def open_part(
    part: bytes, query: Query, *, owner: str, key: sealing.SealingKey, directory: Directory
) -> Question:
    """Open and verify a part as its owner.

    1. The header commits to exactly this part at this owner's place.
    2. It opens with this owner's key, for this query, at the agreed size.
    3. The mandate names this owner: the user wanted it asked.
    4. The terms and their scope are exactly those the user signed for at this chunk's place.
    5. Every term is in its scheme's canonical form and in a scheme of the mandate.

    :raises Forged: any binding is wrong. :raises InvalidInput: malformed or beyond a limit.
    """
    # 1 and 2
    size = sealing.question_size(query.term_count)
    content = unsealed(part, query, owner=owner, key=key, directory=directory, size=size)
    question = signing.parse_canonical(pb.Question, content)
    if question.query_id != query.query_id or question.partner_id != owner:
        raise Forged("a part is for another query or owner", reasons=("PART_BINDING",))
    if question.blinded:
        raise InvalidInput("a sealed part holds blinded elements", reasons=("BLIND_PART",))
    # 3
    salted = partner_digest(question.partner_salt, owner, query.mandate_id, asked=True)
    if salted != query.partner_digests[directory.place(owner)]:
        raise Forged("the user's mandate does not name this owner", reasons=("NOT_WANTED",))
    # 4
    scope = Scope(
        since=question.since,
        until=question.until,
        events=_events(question.events),
        tlp=question.tlp,
        pap=question.pap,
    )
    leaves = [term_leaf(term.scheme, term.value, term.nonce, scope) for term in question.terms]
    if len(leaves) != query.term_count or terms_root(leaves) != query.chunk_root:
        raise Forged("the terms are not those the user signed for", reasons=("TERMS_ROOT",))
    # 5
    return Question(
        terms=tuple(_term(term, query.schemes) for term in question.terms),
        scope=scope,
        salt=question.partner_salt,
        nonces=tuple(term.nonce for term in question.terms),
    )


def unsealed(
    part: bytes,
    query: Query,
    *,
    owner: str,
    key: sealing.SealingKey,
    directory: Directory,
    size: int,
) -> bytes:
    """The content of a part that the header commits to at its owner's place.

    :param size: octets of the padded content.
    :raises Forged: another part, not this owner's, or of another size.
    """
    if part_digest(part) != query.part_digests[directory.place(owner)]:
        raise Forged("a part is not the one the header names", reasons=("PART_DIGEST",))
    sealed = signing.parse_canonical(pb.SealedPart, part)
    info = part_info(query.query_id, owner)
    return sealing.unpad(
        sealing.unwrap(sealed.wrapped_key, sealed.ciphertext, key, info=info), size
    )


def _term(leaf: pb.QuestionTerm, schemes: tuple[str, ...]) -> identifiers.Identifier:
    if leaf.scheme not in schemes:
        raise InvalidInput("a term's scheme is not in the mandate", reasons=("SCHEMES",))
    term = identifiers.parse(leaf.scheme, leaf.value)
    if term.value != leaf.value:
        raise InvalidInput("a term is not in canonical form", reasons=("NOT_CANONICAL",))
    return term


def _events(events: Sequence[str]) -> tuple[str, ...]:
    if len(events) > MAX_EVENTS or list(events) != sorted(set(events)):
        raise InvalidInput("a question's events are not a sorted set", reasons=("EVENTS",))
    return tuple(check_code(event) for event in events)

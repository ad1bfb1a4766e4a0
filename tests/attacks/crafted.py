"""Making queries from any keys one has got hold of, right or wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from google.protobuf.message import Message

from fairlead import sealing, signing
from fairlead.envelope.answer import open_answer
from fairlead.envelope.query import (
    Instrument,
    Scope,
    commit_terms,
    draft_mandate,
    sign_query,
    uuid7,
)
from fairlead.envelope.question import seal_part
from fairlead.v1 import gateway_pb2, query_pb2
from tests.details import naming, some_detail
from tests.federation import CASE, PURPOSE, STORY, Federation

OWNER, OTHER_OWNER = "terminal-north", "oceanic-line"
Terms = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crafted:
    """A query as an attacker, or an honest node, holds it before sending."""

    signed: query_pb2.SignedQuery
    parts: Mapping[str, bytes]
    session: Ed25519PrivateKey
    reply_key: sealing.SealingKey
    query_id: bytes
    detail: bytes = b""

    def request(self, **changes: object) -> gateway_pb2.QueryRequest:
        """What goes to the gateway."""
        parts = [query_pb2.AddressedPart(partner_id=p, part=b) for p, b in self.parts.items()]
        settings: dict[str, Any] = {"query": self.signed, "parts": parts, "detail": self.detail}
        settings |= changes
        return gateway_pb2.QueryRequest(**settings)

    def open(self, answer: query_pb2.SignedAnswer, owner: str) -> Sequence[query_pb2.TermAnswer]:
        """One owner's answer, opened by whoever asked."""
        terms = query_pb2.Mandate.FromString(self.signed.mandate).term_count
        return open_answer(
            answer, query_id=self.query_id, owner=owner, terms=terms, key=self.reply_key
        )


def user_certificate(made: Federation, partner: str, user: str) -> bytes:
    """A person's certificate (DER), which everybody they ask gets to see."""
    pem = (made.layout.user(partner, user) / "user.pem").read_bytes()
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


def user_key(made: Federation, partner: str, user: str) -> ec.EllipticCurvePrivateKey:
    """A person's own key."""
    return signing.load_user_key(made.layout.user(partner, user) / "user.key")


def node_key(made: Federation, partner: str) -> Ed25519PrivateKey:
    """A node's signing key."""
    return signing.load_signing_key(made.layout.node(partner) / "signing.key")


def sealing_key(made: Federation, partner: str) -> sealing.SealingKey:
    """An owner's sealing key."""
    return sealing.SealingKey.load(made.layout.node(partner) / "sealing.seed")


def changed(message: Message, **changes: object) -> Any:
    """A copy of ``message`` with some fields replaced."""
    copy = type(message)()
    copy.CopyFrom(message)
    for name, value in changes.items():
        copy.ClearField(name)
        if isinstance(value, Message):
            getattr(copy, name).CopyFrom(value)
        elif isinstance(value, list | tuple):
            getattr(copy, name).extend(value)
        else:
            setattr(copy, name, value)
    return copy


def _rewritten(mandate: bytes, changes: Mapping[str, object] | None) -> bytes:
    content = query_pb2.Mandate.FromString(mandate)
    return signing.canonical(changed(content, **changes)) if changes else mandate


def craft(
    made: Federation,
    *,
    partner: str = "customs",
    certificate: bytes | None = None,
    person: ec.EllipticCurvePrivateKey | None = None,
    signs: Ed25519PrivateKey | None = None,
    session: Ed25519PrivateKey | None = None,
    header_session: Ed25519PrivateKey | None = None,
    query_id: bytes | None = None,
    terms: Terms = (("container", STORY),),
    sent_terms: Terms | None = None,
    sent_scope: Scope | None = None,
    asked: Sequence[str] = (OWNER, OTHER_OWNER),
    sent_to: Sequence[str] | None = None,
    purpose: str = PURPOSE,
    mandate_before: Mapping[str, object] | None = None,
    mandate_after: Mapping[str, object] | None = None,
    statement_before: Mapping[str, object] | None = None,
    parts: Mapping[str, bytes] | None = None,
    approve: Callable[[bytes], Sequence[query_pb2.SignedApproval]] = lambda _: (),
    instrument: Instrument | None = None,
    now: float | None = None,
) -> Crafted:
    """A query by ``u-c01`` of customs, honest unless told otherwise.

    :param person: signs the mandate; :param certificate: names the person.
    :param header_session: signs the header in place of the mandate's session key.
    :param sent_terms: what the parts ask, when not the terms signed for; :param sent_scope: when.
    :param asked: whom the mandate names; :param sent_to: whom the parts go to.
    :param mandate_before: changes to the mandate before it is signed; :param mandate_after: after.
    :param statement_before: changes to the node's statement before it is signed.
    :param parts: replaces the sealed parts. :param approve: the approvals of a mandate's octets.
    :param instrument: the legal instrument that the node vouches for.
    """
    now = time.time() if now is None else now
    scope = Scope(since=int(now) - 30 * 86_400)
    certificate = certificate or user_certificate(made, "customs", "u-c01")
    person = person or user_key(made, "customs", "u-c01")
    session = session or Ed25519PrivateKey.generate()
    query_id, reply_key = query_id or uuid7(now), sealing.SealingKey.generate()
    nonces = [signing.digest(b"nonce" + bytes([i]) + query_id) for i in range(len(terms))]
    salts = {p: signing.digest(p.encode() + query_id) for p in made.directory.partners}
    mandate = draft_mandate(
        directory=made.directory,
        partner_id=partner,
        user_certificate=certificate,
        purpose=purpose,
        legal_basis="eu-ucc-art-46",
        case_commitment=signing.commit(bytes(32), CASE.encode()),
        mode=query_pb2.MODE_SEALED,
        committed=commit_terms(terms, nonces, scope),
        salts=salts,
        asked=set(asked),
        session_key=signing.public_bytes(session),
        now=now,
    )
    mandate = _rewritten(mandate, mandate_before)
    signature = signing.sign_as_user(person, "mandate", mandate)
    mandate = _rewritten(mandate, mandate_after)
    if parts is None:
        parts = {
            p: seal_part(
                query_id=query_id,
                owner=made.directory.partner(p),
                salt=salts[p],
                terms=sent_terms or terms,
                nonces=nonces,
                scope=sent_scope or scope,
            )
            for p in (asked if sent_to is None else sent_to)
        }
    node = signs or node_key(made, partner)
    detail = some_detail(made.directory, partner, query_id)
    signed = sign_query(
        mandate=mandate,
        mandate_signature=signature,
        user_certificate=certificate,
        session=header_session or session,
        node_key=node,
        query_id=query_id,
        parts=parts,
        part_seed=bytes(32),
        reply_key=reply_key.public_bytes(),
        directory=made.directory,
        policy_serial=1,
        approvals=approve(mandate),
        instrument=instrument,
        now=now,
        detail=naming(detail),
    )
    if statement_before:
        content = query_pb2.NodeStatement.FromString(signed.statement)
        signed.statement = signing.canonical(changed(content, **statement_before))
        signed.statement_signature = signing.sign(node, "statement", signed.statement)
    return Crafted(
        signed=signed, parts=parts, session=session, reply_key=reply_key, query_id=query_id,
        detail=detail,
    )  # fmt: skip

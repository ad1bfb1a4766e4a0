"""Prepared queries: signed as an asker's node signs them, so that a gateway accepts each once."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from bench.federation import ANALYST, ASKER, LEGAL_BASIS, PURPOSE, SCHEME, Federation
from fairlead import sealing, signing
from fairlead.detail import Bound, seal_detail
from fairlead.envelope.query import commit_terms, draft_mandate, sign_query, uuid7
from fairlead.envelope.question import seal_part
from fairlead.v1 import gateway_pb2, query_pb2

TERM = "MSCU6639870"
DETAIL_SIZE = 3 * 1024
"""Octets that an asker seals of one term, or so."""


@dataclass(frozen=True, slots=True)
class Question:
    """One query as it goes over the wire (``QueryRequest``), and what its answers must bind."""

    asker: str
    octets: bytes
    query_id: bytes
    header_digest: bytes


class _User:
    """An analyst's certificate (DER) and key."""

    def __init__(self, folder: Path) -> None:
        pem = (folder / "user.pem").read_bytes()
        self.certificate = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
        self.key = signing.load_user_key(folder / "user.key")


class Questions:
    """Makes queries about one term, for the analysts of one asker, each under its own mandate."""

    def __init__(
        self, federation: Federation, asker: str = ASKER, analysts: Sequence[str] = (ANALYST,)
    ) -> None:
        layout = federation.layout
        self._asker = asker
        self._users = cycle([_User(layout.user(asker, name)) for name in analysts])
        self._node_key = signing.load_signing_key(layout.node(asker) / "signing.key")
        self._reply_key = sealing.SealingKey.generate().public_bytes()
        self._directory = federation.directory()
        self._federation = federation

    def prepare(self, owners: int, count: int) -> list[Question]:
        """``count`` different queries to the first ``owners`` owners.

        They share their sealed parts, their sealed detail and their reply key: no gateway opens
        any of them.
        """
        asked = self._federation.owners(owners)
        nonce = os.urandom(32)
        salts = {p: os.urandom(32) for p in self._directory.partners}
        parts = {p: self._part(p, salts[p], nonce) for p in asked}
        addressed = [query_pb2.AddressedPart(partner_id=p, part=part) for p, part in parts.items()]
        bound = Bound(query_id=uuid7(time.time()), maker=self._asker)
        detail = seal_detail(self._directory, bound, bytes(DETAIL_SIZE))
        tail = gateway_pb2.QueryRequest(parts=addressed, detail=detail).SerializeToString()
        named = signing.digest(detail)
        return [self._question(nonce, salts, parts, named, tail) for _ in range(count)]

    def _part(self, owner: str, salt: bytes, nonce: bytes) -> bytes:
        return seal_part(
            query_id=uuid7(time.time()),
            owner=self._directory.partners[owner],
            salt=salt,
            terms=[(SCHEME, TERM)],
            nonces=[nonce],
        )

    def _question(
        self,
        nonce: bytes,
        salts: dict[str, bytes],
        parts: dict[str, bytes],
        detail: bytes,
        tail: bytes,
    ) -> Question:
        """Two encodings of one message type, one behind the other, are the merged message;
        ``detail`` is a digest."""
        now, session, user = time.time(), Ed25519PrivateKey.generate(), next(self._users)
        mandate = draft_mandate(
            directory=self._directory,
            partner_id=self._asker,
            user_certificate=user.certificate,
            purpose=PURPOSE,
            legal_basis=LEGAL_BASIS,
            case_commitment=os.urandom(32),
            mode=query_pb2.MODE_SEALED,
            committed=commit_terms([(SCHEME, TERM)], [nonce]),
            salts=salts,
            asked=parts.keys(),
            session_key=signing.public_bytes(session),
            now=now,
        )
        query_id = uuid7(now)
        signed = sign_query(
            mandate=mandate,
            mandate_signature=signing.sign_as_user(user.key, "mandate", mandate),
            user_certificate=user.certificate,
            session=session,
            node_key=self._node_key,
            query_id=query_id,
            parts=parts,
            part_seed=bytes(32),
            reply_key=self._reply_key,
            directory=self._directory,
            policy_serial=1,
            now=now,
            detail=lambda _header: detail,
        )
        head = gateway_pb2.QueryRequest(query=signed).SerializeToString()
        return Question(
            asker=self._asker,
            octets=head + tail,
            query_id=query_id,
            header_digest=signing.digest(signed.header),
        )

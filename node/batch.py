"""One signed query at home: everything needed to send its chunks, and to send them again."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead.envelope.chunk import Chunk, Cutter, chunk_count, chunk_size, chunks_under
from fairlead.envelope.query import Instrument, Scope, term_leaf, term_nonce
from fairlead.merkle import HASH_SIZE
from fairlead.v1 import asking_pb2 as pb
from fairlead.v1 import query_pb2
from node.termlist import Term, TermList


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A mandate its user signed, and what it commits to. ``batch_id`` is the id its first chunk
    was first sent under; ``salts`` are of the partners asked; times are unix seconds."""

    batch_id: bytes
    user: str
    """The user's SPIFFE id."""
    user_name: str
    case_id: str
    mandate: bytes
    signature: bytes
    certificate: bytes
    session: Ed25519PrivateKey
    terms: TermList
    nonce_seed: bytes
    roots: tuple[bytes, ...]
    """Of its chunks, see :func:`roots_of`."""
    salts: Mapping[str, bytes]
    scope: Scope
    not_asked: Mapping[str, str]
    asked_at: int
    case_retention_days: int
    policy_serial: int = 0
    """Of the policy under which this node decided that it may be asked."""
    approvals: tuple[bytes, ...] = ()
    """Signed approvals so far, each as transmitted."""
    watch: bytes = b""
    """A ``pb.WatchOrder``, when it stands; with its user's signature."""
    watch_signature: bytes = b""
    instrument: Instrument | None = None
    """The legal instrument of its case, as the node vouches for it."""
    reference: str = ""
    """Under which whoever issued the instrument knows it."""
    case_nonce: bytes = b""
    """Keys what the mandate commits to of its case."""

    @property
    def chunks(self) -> int:
        """How many chunks its terms make."""
        return chunk_count(len(self.terms), self.mode)

    @property
    def mode(self) -> int:
        """``MODE_SEALED`` or ``MODE_BLIND``."""
        return self.content.mode

    @property
    def content(self) -> query_pb2.Mandate:
        """The mandate, read."""
        return query_pb2.Mandate.FromString(self.mandate)

    def signed_approvals(self) -> list[query_pb2.SignedApproval]:
        """The approvals, read."""
        return [query_pb2.SignedApproval.FromString(item) for item in self.approvals]

    def of_chunk(self, number: int) -> tuple[Sequence[Term], Sequence[bytes]]:
        """The terms of one chunk and their nonces."""
        first = number * chunk_size(self.mode)
        terms = self.terms.part(first, first + chunk_size(self.mode))
        return terms, [term_nonce(self.nonce_seed, first + at) for at in range(len(terms))]

    def cut(self) -> tuple[Chunk, ...]:
        """Where each chunk stands under the mandate's root."""
        return chunks_under(self.roots, len(self.terms), self.mode)

    def summary(self) -> pb.QuerySummary:
        """What anybody may know of it who may know that it was asked."""
        return pb.QuerySummary(
            query_id=self.batch_id,
            user=self.user_name,
            case_id=self.case_id,
            purpose=self.content.purpose,
            asked_at=self.asked_at,
            terms=len(self.terms),
            chunks=self.chunks,
            tlp=self.scope.tlp,  # type: ignore[arg-type]
            pap=self.scope.pap,  # type: ignore[arg-type]
            partners=sorted(self.salts),
            mode=self.content.mode,
        )

    def opened(self) -> pb.AskResponse.Batch:
        """The first event its user sees."""
        return pb.AskResponse.Batch(summary=self.summary())

    # ── At rest ──────────────────────────────────────────────────────────────────────────────

    def to_bytes(self) -> bytes:
        """Everything but its terms, to be encrypted before it is written anywhere."""
        return orjson.dumps(
            {
                "batch_id": _text(self.batch_id),
                "user": self.user,
                "user_name": self.user_name,
                "case_id": self.case_id,
                "mandate": _text(self.mandate),
                "signature": _text(self.signature),
                "certificate": _text(self.certificate),
                "session": _text(self.session.private_bytes_raw()),
                "nonce_seed": _text(self.nonce_seed),
                "roots": _text(b"".join(self.roots)),
                "salts": {partner: _text(salt) for partner, salt in self.salts.items()},
                "scope": [
                    self.scope.since,
                    self.scope.until,
                    self.scope.events,
                    self.scope.tlp,
                    self.scope.pap,
                ],
                "not_asked": dict(self.not_asked),
                "asked_at": self.asked_at,
                "case_retention_days": self.case_retention_days,
                "policy_serial": self.policy_serial,
                "approvals": [_text(item) for item in self.approvals],
                "watch": _text(self.watch),
                "watch_signature": _text(self.watch_signature),
                "instrument": _instrument(self.instrument),
                "reference": self.reference,
                "case_nonce": _text(self.case_nonce),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes, terms: TermList) -> Batch:
        """Undo :meth:`to_bytes`; the octets were authenticated when they were decrypted."""
        kept = orjson.loads(data)
        roots = _octets(kept["roots"])
        since, until, events, tlp, pap = kept["scope"]
        return cls(
            batch_id=_octets(kept["batch_id"]),
            user=kept["user"],
            user_name=kept["user_name"],
            case_id=kept["case_id"],
            mandate=_octets(kept["mandate"]),
            signature=_octets(kept["signature"]),
            certificate=_octets(kept["certificate"]),
            session=Ed25519PrivateKey.from_private_bytes(_octets(kept["session"])),
            terms=terms,
            nonce_seed=_octets(kept["nonce_seed"]),
            roots=tuple(roots[at : at + HASH_SIZE] for at in range(0, len(roots), HASH_SIZE)),
            salts={partner: _octets(salt) for partner, salt in kept["salts"].items()},
            scope=Scope(since=since, until=until, events=tuple(events), tlp=tlp, pap=pap),
            not_asked=kept["not_asked"],
            asked_at=kept["asked_at"],
            case_retention_days=kept["case_retention_days"],
            policy_serial=kept.get("policy_serial", 0),
            approvals=tuple(_octets(item) for item in kept.get("approvals", ())),
            watch=_octets(kept.get("watch", "")),
            watch_signature=_octets(kept.get("watch_signature", "")),
            instrument=_instrument_of(kept.get("instrument")),
            reference=kept.get("reference", ""),
            case_nonce=_octets(kept.get("case_nonce", "")),
        )


def _instrument(value: Instrument | None) -> list[object] | None:
    if value is None:
        return None
    return [value.kind, value.authority, value.valid_until, _text(value.commitment)]


def _instrument_of(kept: list[Any] | None) -> Instrument | None:
    if kept is None:
        return None
    kind, authority, valid_until, commitment = kept
    return Instrument(
        kind=kind, authority=authority, valid_until=valid_until, commitment=_octets(commitment)
    )


def roots_of(terms: TermList, nonce_seed: bytes, scope: Scope, mode: int) -> tuple[bytes, ...]:
    """The roots of the chunks that the terms make; some 5 µs a term."""
    cutter = Cutter(mode)
    for place, (scheme, value) in enumerate(terms):
        cutter.add(term_leaf(scheme, value, term_nonce(nonce_seed, place), scope))
    return cutter.roots()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _octets(text: str) -> bytes:
    return base64.b64decode(text)

"""One signed query and the keys behind it, without a network: for the tests of the kernel.

Everything is made by the product's own functions from keys the development recipe made. A test
changes one message through :meth:`Walk.resigned`, which signs the change with the right keys,
so that what is refused is the change and not a broken signature.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from certs.dev.federation import PartnerSpec, UserSpec, demo_partners
from certs.dev.layout import Layout
from certs.dev.make import make
from certs.dev.opened import Opened, open_federation
from fairlead import merkle, receipts, sealing, signing
from fairlead.certificates import Identity, identity_from_certificate
from fairlead.detail import Bound, seal_detail
from fairlead.envelope.asked import AskedParts, CaseWords, asked_detail
from fairlead.envelope.blinded import BlindedTerms, seal_blind_part
from fairlead.envelope.elements import Place
from fairlead.envelope.query import (
    ANY,
    Query,
    Scope,
    commit_terms,
    draft_mandate,
    sign_query,
    uuid7,
    verify_query,
)
from fairlead.envelope.question import seal_part
from fairlead.partners import Directory, Gateway
from fairlead.v1 import audit_pb2, opening_pb2
from fairlead.v1 import query_pb2 as pb

NOW = 1_795_000_000.0
PARTNERS = ("customs", "oceanic-line", "police", "terminal-north")
ASKER, OWNER, OTHER_OWNER = "customs", "terminal-north", "oceanic-line"
TERM = ("container", "MSCU6639870")
CASE = "CASE-1"


@dataclass(slots=True, repr=False)
class World:
    """The keys of a small federation and its verified directory."""

    opened: Opened
    now: float = NOW

    @property
    def directory(self) -> Directory:
        """The verified directory."""
        return self.opened.directory

    @property
    def gateway(self) -> Gateway:
        """The federation's gateway."""
        return self.directory.gateway

    def signing_key(self, partner: str) -> Ed25519PrivateKey:
        """A node's signing key."""
        return signing.load_signing_key(self.opened.layout.node(partner) / "signing.key")

    def gateway_key(self, name: str = "signing") -> Ed25519PrivateKey:
        """The gateway's key ``signing`` or ``log``."""
        return signing.load_signing_key(self.opened.layout.gateway("gw-1") / f"{name}.key")

    def sealing_key(self, partner: str) -> sealing.SealingKey:
        """A node's sealing key."""
        return sealing.SealingKey.load(self.opened.layout.node(partner) / "sealing.seed")

    def certificate(self, partner: str = ASKER, user: str = "u-c01") -> bytes:
        """A user's certificate, DER."""
        pem = (self.opened.layout.user(partner, user) / "user.pem").read_bytes()
        return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)

    def user(self, partner: str = ASKER, user: str = "u-c01") -> Identity:
        """A user's verified identity."""
        der = self.certificate(partner, user)
        return identity_from_certificate(der, directory=self.directory, now=self.now)

    def peer(self, name: str) -> Identity:
        """The identity of a partner's node, or of the gateway ``gw-1``."""
        layout = self.opened.layout
        folder = layout.gateway(name) if name == "gw-1" else layout.node(name)
        pem = (folder / "tls.pem").read_bytes()
        der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
        return identity_from_certificate(der, directory=self.directory, now=self.now)

    def walk(
        self,
        *terms: tuple[str, str],
        asked: Sequence[str] = (OWNER,),
        purpose: str = "drug-trafficking",
        now: float | None = None,
        scope: Scope = ANY,
        blinded: Sequence[BlindedTerms] | None = None,
        blind_seed: bytes = b"",
        change: Callable[[opening_pb2.AskedDetail], object] = lambda _: None,
    ) -> Walk:
        """Draft, sign and seal one query of customs' analyst; ``change`` makes its detail lie."""
        return make_walk(
            self,
            terms or (TERM,),
            asked=asked,
            purpose=purpose,
            now=self.now if now is None else now,
            scope=scope,
            blinded=blinded,
            blind_seed=blind_seed,
            change=change,
        )


@dataclass(slots=True, kw_only=True, repr=False)
class Walk:
    """One signed query with its parts and one-time keys."""

    world: World
    signed: pb.SignedQuery
    parts: dict[str, bytes]
    session: Ed25519PrivateKey
    reply_key: sealing.SealingKey
    salts: dict[str, bytes]
    nonces: list[bytes]
    terms: tuple[tuple[str, str], ...]
    now: float
    query_id: bytes = field(default=b"")
    detail: bytes = field(default=b"")
    """The sealed detail that the header names."""

    def verify(self, now: float | None = None) -> Query:
        """Verify the query as a stranger would."""
        return verify_query(
            self.signed,
            directory=self.world.directory,
            deny_lists=self.world.opened.deny_lists,
            now=self.now if now is None else now,
        )

    def resigned(
        self,
        *,
        mandate: Callable[[pb.Mandate], object] = lambda _: None,
        header: Callable[[pb.QueryHeader], object] = lambda _: None,
        statement: Callable[[pb.NodeStatement], object] = lambda _: None,
        user: tuple[str, str] = (ASKER, "u-c01"),
    ) -> Walk:
        """The same query with changed messages, bound to each other and signed again."""
        m = pb.Mandate.FromString(self.signed.mandate)
        m.user_certificate_digest = signing.digest(self.world.certificate(*user))
        mandate(m)
        h = pb.QueryHeader.FromString(self.signed.header)
        h.mandate_digest = signing.digest(signing.canonical(m))
        header(h)
        s = pb.NodeStatement.FromString(self.signed.statement)
        s.query_id, s.mandate_digest = h.query_id, h.mandate_digest
        s.header_digest = signing.digest(signing.canonical(h))
        s.case_commitment = m.case_commitment
        statement(s)
        key = signing.load_user_key(self.world.opened.layout.user(*user) / "user.key")
        data, head, said = (signing.canonical(item) for item in (m, h, s))
        signed = pb.SignedQuery(
            mandate=data,
            mandate_signature=signing.sign_as_user(key, "mandate", data),
            user_certificate=self.world.certificate(*user),
            header=head,
            session_signature=signing.sign(self.session, "header", head),
            statement=said,
            statement_signature=signing.sign(self.world.signing_key(ASKER), "statement", said),
        )
        return Walk(
            world=self.world,
            signed=signed,
            parts=self.parts,
            session=self.session,
            reply_key=self.reply_key,
            salts=self.salts,
            nonces=self.nonces,
            terms=self.terms,
            now=self.now,
            query_id=h.query_id,
            detail=self.detail,
        )


@dataclass(slots=True, kw_only=True)
class Detail:
    """What an honest asker's node seals, once the header is drafted. ``change`` makes it lie."""

    world: World
    bound: Bound
    terms: Sequence[tuple[str, str]]
    nonces: Sequence[bytes]
    parts: AskedParts
    case: CaseWords
    mandate: bytes
    scope: Scope
    change: Callable[[opening_pb2.AskedDetail], object] = lambda _: None
    octets: bytes = b""

    def __call__(self, header: bytes) -> bytes:
        """The digest of the detail of a header."""
        content, slack = asked_detail(
            header=header,
            mandate=self.mandate,
            user_certificate=self.world.certificate(),
            policy_serial=1,
            case=self.case,
            terms=self.terms,
            nonces=self.nonces,
            scope=self.scope,
            parts=self.parts,
        )
        wire = opening_pb2.AskedDetail.FromString(content)
        self.change(wire)
        content = signing.canonical(wire)
        self.octets = seal_detail(self.world.directory, self.bound, content, slack=slack)
        return signing.digest(self.octets)


def make_walk(
    world: World,
    terms: Sequence[tuple[str, str]],
    *,
    asked: Sequence[str],
    purpose: str,
    now: float,
    scope: Scope,
    blinded: Sequence[BlindedTerms] | None = None,
    blind_seed: bytes = b"",
    change: Callable[[opening_pb2.AskedDetail], object] = lambda _: None,
) -> Walk:
    """See :meth:`World.walk`; with ``blinded`` elements it is a blind query."""
    session, reply = Ed25519PrivateKey.generate(), sealing.SealingKey.generate()
    salts = {p: os.urandom(32) for p in world.directory.partners}
    nonces = [os.urandom(32) for _ in terms]
    case = CaseWords(case_id=CASE, nonce=os.urandom(32))
    mandate = draft_mandate(
        directory=world.directory,
        partner_id=ASKER,
        user_certificate=world.certificate(),
        purpose=purpose,
        legal_basis="eu-ucc-art-46",
        case_commitment=signing.commit(case.nonce, case.case_id.encode()),
        mode=pb.MODE_SEALED if blinded is None else pb.MODE_BLIND,
        committed=commit_terms(terms, nonces, scope),
        salts=salts,
        asked=asked,
        session_key=signing.public_bytes(session),
        now=now,
    )
    query_id = uuid7(now)
    parts, elements, seed = {}, 0, os.urandom(32)
    for p in asked:
        owner, salt = world.directory.partner(p), salts[p]
        if blinded is not None:
            elements = sum(len(item.elements) for item in blinded) // 32
            parts[p] = seal_blind_part(
                query_id=query_id, owner=owner, salt=salt, blinded=blinded, seed=seed
            )
            continue
        parts[p] = seal_part(
            query_id=query_id, owner=owner, salt=salt, terms=terms, nonces=nonces, scope=scope,
            seed=seed,
        )  # fmt: skip
    detail = Detail(
        world=world,
        bound=Bound(query_id=query_id, maker=ASKER),
        terms=terms,
        nonces=nonces,
        parts=AskedParts(
            seed=seed,
            salts=salts,
            parts=parts,
            blind_seed=blind_seed,
            places={p: [_place(item) for item in blinded or ()] for p in asked},
        ),
        case=case,
        mandate=mandate,
        scope=scope,
        change=change,
    )
    key = signing.load_user_key(world.opened.layout.user(ASKER, "u-c01") / "user.key")
    signed = sign_query(
        mandate=mandate,
        mandate_signature=signing.sign_as_user(key, "mandate", mandate),
        user_certificate=world.certificate(),
        session=session,
        node_key=world.signing_key(ASKER),
        query_id=query_id,
        parts=parts,
        part_seed=seed,
        reply_key=reply.public_bytes(),
        directory=world.directory,
        policy_serial=1,
        element_count=elements,
        now=now,
        detail=detail,
    )
    return Walk(
        world=world,
        signed=signed,
        parts=parts,
        session=session,
        reply_key=reply,
        salts=salts,
        nonces=nonces,
        terms=tuple(terms),
        now=now,
        query_id=query_id,
        detail=detail.octets,
    )


def _place(item: BlindedTerms) -> Place:
    return Place(scheme=item.scheme, audience=item.audience, epoch=item.epoch)


def world_of(layout: Layout, *, now: float) -> World:
    """The same for keys that are already made."""
    return World(open_federation(layout, now=now), now=now)


def make_world(
    folder: Path,
    *,
    now: float = NOW,
    partners: Sequence[str] = PARTNERS,
    more_users: Mapping[str, Sequence[UserSpec]] | None = None,
) -> World:
    """Keys and lists in ``folder``, verified at ``now``; ``more_users`` than the demo's."""
    wanted = with_users(
        [spec for spec in demo_partners() if spec.partner_id in partners], more_users or {}
    )
    layout = make(folder / "keys", partners=wanted, now=now)
    return world_of(layout, now=now)


def with_users(
    specs: Sequence[PartnerSpec], more: Mapping[str, Sequence[UserSpec]]
) -> list[PartnerSpec]:
    """The same partners with more people."""
    return [replace(spec, users=(*spec.users, *more.get(spec.partner_id, ()))) for spec in specs]


class PaperLog:
    """A log without a disk, under the gateway's log key; two of them can tell two histories."""

    def __init__(self, world: World, leaves: Sequence[bytes] = ()) -> None:
        self._key = world.gateway_key("log")
        self._origin = world.gateway.log_origin
        self._tree = merkle.Tree()
        self._leaves: list[bytes] = []
        for leaf in leaves:
            self.append(leaf)

    @property
    def size(self) -> int:
        """How many leaves there are."""
        return self._tree.size

    @property
    def leaves(self) -> list[bytes]:
        """All of them, to begin another history with."""
        return list(self._leaves)

    def append(self, leaf: bytes) -> int:
        """Add a leaf; its index."""
        self._leaves.append(leaf)
        return self._tree.append(merkle.leaf_hash(leaf))

    def head(self, size: int) -> receipts.Head:
        """The signed head of a size."""
        root = self._tree.root(size)
        note = receipts.sign_checkpoint(
            receipts.Checkpoint(origin=self._origin, size=size, root=root), self._key
        )
        return receipts.Head(origin=self._origin, size=size, root=root, checkpoint=note)

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Proof from one size to a later one; none from nothing."""
        return self._tree.consistency(old, new) if old else []

    def receipt(self, index: int, size: int | None = None, known: int = 0) -> audit_pb2.Receipt:
        """Leaf ``index`` under the head of ``size``, consistent with the head of ``known``."""
        at = self.size if size is None else size
        return receipts.make_receipt(
            leaf=self._leaves[index],
            index=index,
            inclusion=self._tree.inclusion(index, at),
            checkpoint=self.head(at).checkpoint,
            consistency_from=known,
            consistency=self._tree.consistency(known, at) if known else (),
        )

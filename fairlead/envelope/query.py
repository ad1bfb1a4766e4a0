"""Mandate, header and statement: the signed front of a query (PROTOCOL §2).

The user signs the mandate, the mandate's session key signs each query's header, and the
asker's node signs that the case is open, the user assigned to it, and the guard passed. Gateway
and owner run the same :func:`verify_query`; neither believes the other's verification.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import merkle, sealing, signing
from fairlead.certificates import Identity, IdentityKind, identity_from_certificate
from fairlead.envelope.approval import MAX_APPROVALS, Approved, verify_approvals
from fairlead.envelope.chunk import Chunk, check_chunk, max_terms, root_of
from fairlead.envelope.part import part_digest, unsent_digest
from fairlead.errors import Forged, InvalidInput, Refused, Stale, Unauthenticated
from fairlead.names import check_code
from fairlead.partners import DenyLists, Directories, Directory, Partner
from fairlead.v1 import query_pb2 as pb

WINDOW_S = 120
"""A header is accepted this many seconds around its issue."""
CLOCK_REMEDY = "the two clocks differ by more than 2 minutes: timedatectl status, on both sides"
MANDATE_LIFETIME_S = 24 * 3600
MAX_SCHEMES = 16
NONCE_SEED = 32
"""Octets from which the nonces of a mandate's terms follow."""
_HASH = 32
_ID = 16
_LIMIT = 64 * 1024

Random = Callable[[int], bytes]


class Identify(Protocol):
    """Certificate (DER octets) → identity; see :func:`identity_from_certificate`."""

    def __call__(self, der: bytes, *, directory: Directory, now: float) -> Identity:
        """:raises Unauthenticated: the certificate is not acceptable."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """The legal instrument of a case as its node vouches for it: words of the registry, until when
    it is valid (unix seconds, exclusive), and the commitment to the reference that stays there."""

    kind: str
    authority: str
    valid_until: int
    commitment: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A query whose every signature and binding verified."""

    query_id: bytes
    chunk: int
    directory: Directory = field(repr=False)
    """The one the query was made and verified under; everything about it is judged by this one."""
    asker: Partner
    user: Identity
    mode: int
    purpose: str
    legal_basis: str
    schemes: tuple[str, ...]
    term_count: int
    mandate_terms: int
    element_count: int
    """Blinded elements each owner is sent; 0 unless the mode is blind."""
    chunk_root: bytes
    case_commitment: bytes
    mandate_id: bytes
    partner_digests: tuple[bytes, ...]
    part_digests: tuple[bytes, ...]
    detail_digest: bytes
    """SHA-256 of the asker's sealed detail, which lies with the asker and the gateway."""
    reply_key: bytes
    session_key: bytes
    required_approvals: int
    approvers: tuple[str, ...]
    """SPIFFE ids of the people at the asker who approved the mandate, the requester not among
    them, in the order of their approvals."""
    urgent: bool
    """One of them lets it exceed budgets."""
    mandate_digest: bytes
    header_digest: bytes
    mandate_signature: bytes
    statement_signature: bytes
    approval_signatures: tuple[bytes, ...]
    policy_serial: int
    asked_at: int
    """When its user signed the mandate: a question that waited, for a second person or behind other
    chunks, reaches as far back as it did then."""
    expires_at: int
    instrument: Instrument | None = None

    @property
    def approvals(self) -> int:
        """How many second persons let it go."""
        return len(self.approvers)

    @property
    def signatures(self) -> list[bytes]:
        """What makes its INTENT leaf evidence: of the mandate, the statement, the approvals."""
        return [self.mandate_signature, self.statement_signature, *self.approval_signatures]

    @property
    def mode_name(self) -> str:
        """``sealed`` or ``blind``."""
        return mode_name(self.mode)


def mode_name(mode: int) -> str:
    """The word for a wire mode.

    :raises InvalidInput: unspecified or unknown.
    """
    names: Mapping[int, str] = {pb.MODE_SEALED: "sealed", pb.MODE_BLIND: "blind"}
    if mode not in names:
        raise InvalidInput("a query's mode is unspecified", reasons=("MODE",))
    return names[mode]


def uuid7(now: float, random: Random = os.urandom) -> bytes:
    """A UUID of version 7 (RFC 9562 §5.7) for ``now`` in unix seconds: 16 octets."""
    value = int(now * 1000).to_bytes(6, "big") + random(10)
    bits = int.from_bytes(value, "big")
    bits &= ~(0xF << 76) & ~(0x3 << 62)
    bits |= (7 << 76) | (2 << 62)
    return bits.to_bytes(_ID, "big")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """When and what a question reaches, and how it may be used: half-open range in unix seconds
    (0 = unbounded), events (empty = any), sorted, and TLP and PAP as wire numbers."""

    since: int = 0
    until: int = 0
    events: tuple[str, ...] = ()
    tlp: int = 0
    pap: int = 0


ANY = Scope()


def term_leaf(scheme: str, value: str, nonce: bytes, scope: Scope = ANY) -> bytes:
    """RFC 6962 leaf hash of one term in its scope; the 32-octet nonce defeats guessing."""
    leaf = pb.TermLeaf(
        scheme=scheme,
        value=value,
        nonce=nonce,
        since=scope.since,
        until=scope.until,
        events=scope.events,
        tlp=scope.tlp,  # type: ignore[arg-type]
        pap=scope.pap,  # type: ignore[arg-type]
    )
    return merkle.leaf_hash(signing.canonical(leaf))


def term_nonce(seed: bytes, place: int) -> bytes:
    """The nonce of a mandate's term at ``place``: BLAKE2b (RFC 7693) keyed with the mandate's
    random seed of 32 octets, so that neither side keeps a nonce for each of a million terms.

    :raises ValueError: no such place.
    """
    data = place.to_bytes(4, "big")
    return hashlib.blake2b(data, key=seed, digest_size=_HASH, person=b"fairlead/nonce").digest()


def terms_root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 root over leaf hashes in the order of the terms."""
    return root_of(leaves)


def partner_digest(salt: bytes, partner_id: str, mandate_id: bytes, *, asked: bool) -> bytes:
    """The salted digest by which a mandate says that a partner is, or is not, to be asked.

    Both look alike; the user's client opens all of them before signing, so that a node cannot
    ask somebody behind its user's back, and an owner opens its own.
    """
    verdict = b"asked" if asked else b"not asked"
    return signing.commit(salt, b"\x00".join((verdict, partner_id.encode(), mandate_id)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """What a mandate says of its terms: their schemes, their number, and the root over them."""

    schemes: Collection[str]
    count: int
    root: bytes


def draft_mandate(
    *,
    directory: Directory,
    partner_id: str,
    user_certificate: bytes,
    purpose: str,
    legal_basis: str,
    case_commitment: bytes,
    mode: int,
    committed: Committed,
    salts: Mapping[str, bytes],
    asked: Collection[str],
    session_key: bytes,
    now: float,
    lifetime_s: int = 3600,
    required_approvals: int = 0,
    random: Random = os.urandom,
) -> bytes:
    """Draft the canonical octets a user signs.

    :param committed: to the terms; see :func:`commit_terms`.
    :param salts: one 32-octet salt for every partner the directory lists, by id.
    :param asked: ids of the partners to be asked.
    """
    mandate_id = uuid7(now, random)
    mandate = pb.Mandate(
        federation=directory.federation,
        mandate_id=mandate_id,
        partner_id=partner_id,
        user_certificate_digest=signing.digest(user_certificate),
        purpose=purpose,
        legal_basis=legal_basis,
        case_commitment=case_commitment,
        mode=mode,  # type: ignore[arg-type]
        schemes=sorted(set(committed.schemes)),
        term_count=committed.count,
        terms_root=committed.root,
        partner_digests=[
            partner_digest(salts[p], p, mandate_id, asked=p in asked) for p in directory.listed
        ],
        issued_at=int(now),
        expires_at=int(now) + lifetime_s,
        session_key=session_key,
        required_approvals=required_approvals,
    )
    return signing.canonical(mandate)


def commit_terms(
    terms: Sequence[tuple[str, str]], nonces: Sequence[bytes], scope: Scope = ANY
) -> Committed:
    """Commit to (scheme, canonical value) in order, with one nonce each."""
    leaves = [term_leaf(s, v, n, scope) for (s, v), n in zip(terms, nonces, strict=True)]
    return Committed(
        schemes={scheme for scheme, _ in terms}, count=len(terms), root=terms_root(leaves)
    )


def sign_query(
    *,
    mandate: bytes,
    mandate_signature: bytes,
    user_certificate: bytes,
    session: Ed25519PrivateKey,
    node_key: Ed25519PrivateKey,
    query_id: bytes,
    parts: Mapping[str, bytes],
    part_seed: bytes,
    reply_key: bytes,
    directory: Directory,
    policy_serial: int,
    now: float,
    detail: Callable[[bytes], bytes],
    chunk: Chunk | None = None,
    element_count: int = 0,
    approvals: Sequence[pb.SignedApproval] = (),
    instrument: Instrument | None = None,
) -> pb.SignedQuery:
    """Make the signed front of one query over its sealed ``parts`` (partner id → octets).

    :param part_seed: of the parts, for the places of those who are sent none.
    :param detail: the octets of a header that does not name its sealed detail yet, which holds
        them → SHA-256 of that detail.
    :param chunk: which of the mandate's terms; None when one chunk holds them all.
    :param element_count: blinded elements in each part; 0 in sealed mode.
    :param instrument: that of the case, where it has one.
    """
    content = signing.parse_canonical(pb.Mandate, mandate)
    if chunk is None:
        chunk = Chunk(number=0, term_count=content.term_count, root=content.terms_root, path=())
    drafted = pb.QueryHeader(
        query_id=query_id,
        mandate_digest=signing.digest(mandate),
        chunk=chunk.number,
        term_count=chunk.term_count,
        chunk_root=chunk.root,
        chunk_path=chunk.path,
        element_count=element_count,
        issued_at=int(now),
        reply_key=reply_key,
        part_digests=[
            part_digest(parts[p]) if p in parts else unsent_digest(part_seed, p)
            for p in directory.listed
        ],
        directory_serial=directory.serial,
    )
    drafted.detail_digest = detail(signing.canonical(drafted))
    header = signing.canonical(drafted)
    statement = node_statement(header, content, policy_serial=policy_serial, instrument=instrument)
    return pb.SignedQuery(
        mandate=mandate,
        mandate_signature=mandate_signature,
        user_certificate=user_certificate,
        header=header,
        session_signature=signing.sign(session, "header", header),
        statement=statement,
        statement_signature=signing.sign(node_key, "statement", statement),
        approvals=approvals,
    )


def node_statement(
    header: bytes, mandate: pb.Mandate, *, policy_serial: int, instrument: Instrument | None
) -> bytes:
    """The octets by which an asker's node vouches for a query, made when its header was."""
    content = pb.QueryHeader.FromString(header)
    return signing.canonical(
        pb.NodeStatement(
            query_id=content.query_id,
            header_digest=signing.digest(header),
            mandate_digest=content.mandate_digest,
            partner_id=mandate.partner_id,
            case_commitment=mandate.case_commitment,
            case_open=True,
            user_assigned=True,
            guard_passed=True,
            policy_serial=policy_serial,
            issued_at=content.issued_at,
            instrument=instrument_to_wire(instrument),
        )
    )


def verify_query(
    signed: pb.SignedQuery,
    *,
    directory: Directories,
    deny_lists: DenyLists | None,
    now: float,
    identify: Identify = identity_from_certificate,
) -> Query:
    """Verify the front of a query. The numbers are those of ``docs/protocol.md``.

    1. The three signed messages are canonical and name this federation and a directory that is
       in force, or was until a short while ago; everything below is verified under that one.
    2. The user's certificate is the mandate's, in force, issued by the asker's user authority,
       and not denied; and the asker is still a member, with a node that is not denied: the grace
       of a directory is for keys, not for whoever was suspended or left.
    3. The user signed the mandate.
    4. The mandate is in force and within its limits.
    5. The mandate's session key signed the header, which is fresh and of this mandate: a chunk
       of exactly the terms that stand at its place under the mandate's root, and of as many
       blinded elements as its mode allows; and it commits to a sealed detail.
    6. The asker's node signed that the case is open and the user assigned to it, and, where the
       case has a legal instrument, which; policy says whether it has to have one.
    7. It signed as well that its guard against enumeration let the mandate's terms pass.
    8. Every approval verifies (:func:`verify_approvals`), and there are as many as the mandate
       demands.

    :param deny_lists: None only when verifying old evidence offline.
    :param identify: a server's memory of certificates that verified, in front of step 2.
    :raises Forged: a signature or binding is wrong.
    :raises InvalidInput: malformed or beyond a limit.
    :raises Stale: outside its window, or another directory.
    :raises Refused: the statement does not claim an open case, an assigned user and the guard, or
        a second person is missing or is none.
    :raises Unauthenticated: the user's certificate is not acceptable.
    """
    # 1
    mandate = signing.parse_canonical(pb.Mandate, signed.mandate, limit=_LIMIT)
    header = signing.parse_canonical(pb.QueryHeader, signed.header, limit=_LIMIT)
    statement = signing.parse_canonical(pb.NodeStatement, signed.statement, limit=_LIMIT)
    if mandate.federation != directory.current.federation:
        raise Forged("a mandate is for another federation", reasons=("FEDERATION",))
    listed = directory.at(header.directory_serial)
    asker = listed.partner(mandate.partner_id)
    # 2
    user = _verify_user(signed, mandate, listed, now, identify)
    if deny_lists is not None:
        deny_lists.check(user.spiffe_id, now)
        check_member(directory.current.partner(mandate.partner_id), deny_lists, now)
    # 3
    signing.verify_as_user(user.public_key, "mandate", signed.mandate, signed.mandate_signature)
    # 4
    _check_mandate(mandate, listed, now)
    # 5
    signing.verify(mandate.session_key, "header", signed.header, signed.session_signature)
    _check_header(header, mandate, signing.digest(signed.mandate), listed, now)
    # 6
    signing.verify(asker.signing_key, "statement", signed.statement, signed.statement_signature)
    _check_statement(statement, header, mandate, signed, now)
    instrument = _instrument(statement)
    # 7
    _check_guard(statement)
    # 8
    approved = verify_approvals(
        signed.approvals,
        mandate=mandate,
        mandate_digest=signing.digest(signed.mandate),
        requester=user,
        directory=listed,
        deny_lists=deny_lists,
        now=now,
        identify=identify,
    )
    _check_approved(mandate, approved)
    return Query(
        query_id=header.query_id,
        chunk=header.chunk,
        directory=listed,
        asker=asker,
        user=user,
        mode=mandate.mode,
        purpose=mandate.purpose,
        legal_basis=mandate.legal_basis,
        schemes=tuple(mandate.schemes),
        term_count=header.term_count,
        mandate_terms=mandate.term_count,
        element_count=header.element_count,
        chunk_root=header.chunk_root,
        case_commitment=mandate.case_commitment,
        mandate_id=mandate.mandate_id,
        partner_digests=tuple(mandate.partner_digests),
        part_digests=tuple(header.part_digests),
        detail_digest=header.detail_digest,
        reply_key=header.reply_key,
        session_key=mandate.session_key,
        required_approvals=mandate.required_approvals,
        approvers=tuple(person.spiffe_id for person in approved.people),
        urgent=approved.urgent,
        mandate_digest=signing.digest(signed.mandate),
        header_digest=signing.digest(signed.header),
        mandate_signature=signed.mandate_signature,
        statement_signature=signed.statement_signature,
        approval_signatures=tuple(item.signature for item in signed.approvals),
        policy_serial=statement.policy_serial,
        asked_at=mandate.issued_at,
        expires_at=mandate.expires_at,
        instrument=instrument,
    )


def check_member(asker: Partner, deny_lists: DenyLists, now: float) -> None:
    """:raises Unauthenticated: every node of the asker is denied."""
    for node in asker.nodes[1:]:
        try:
            deny_lists.check(node.spiffe_id, now)
        except Unauthenticated:
            continue
        return
    deny_lists.check(asker.nodes[0].spiffe_id, now)


def _verify_user(
    signed: pb.SignedQuery,
    mandate: pb.Mandate,
    directory: Directory,
    now: float,
    identify: Identify,
) -> Identity:
    if signing.digest(signed.user_certificate) != mandate.user_certificate_digest:
        raise Forged("a mandate names another certificate", reasons=("USER_CERTIFICATE",))
    user = identify(signed.user_certificate, directory=directory, now=now)
    if user.kind is not IdentityKind.USER or user.partner_id != mandate.partner_id:
        raise Forged("a mandate's certificate is not a user of the asker", reasons=("USER",))
    user.check_schemes(mandate.schemes)
    return user


def check_id(value: bytes) -> None:
    """:raises InvalidInput: ``value`` is not the octets of a UUID of version 7."""
    if len(value) != _ID or UUID(bytes=value).version != 7:
        raise InvalidInput("an id is not a UUID of version 7", reasons=("ID",))


def _check_hashes(values: Sequence[bytes], count: int) -> None:
    if len(values) != count or any(len(value) != _HASH for value in values):
        raise InvalidInput("a list of digests has the wrong shape", reasons=("DIGESTS",))


def _check_mandate(mandate: pb.Mandate, directory: Directory, now: float) -> None:
    check_id(mandate.mandate_id)
    mode_name(mandate.mode)
    check_code(mandate.purpose)
    check_code(mandate.legal_basis)
    schemes = list(mandate.schemes)
    if not 0 < len(schemes) <= MAX_SCHEMES or schemes != sorted(set(schemes)):
        raise InvalidInput("a mandate's schemes are not a sorted set", reasons=("SCHEMES",))
    for scheme in schemes:
        check_code(scheme)
    _check_hashes(mandate.partner_digests, len(directory.listed))
    _check_hashes([mandate.terms_root, mandate.case_commitment, mandate.session_key], 3)
    if not 0 < mandate.term_count <= max_terms(mandate.mode):
        raise InvalidInput("a mandate has too few or too many terms", reasons=("TERM_COUNT",))
    if not 0 < mandate.expires_at - mandate.issued_at <= MANDATE_LIFETIME_S:
        raise InvalidInput("a mandate lives longer than allowed", reasons=("MANDATE_LIFETIME",))
    if not mandate.issued_at - WINDOW_S <= now < mandate.expires_at:
        raise Stale("a mandate is not in force", reasons=("MANDATE_EXPIRED",))
    if mandate.required_approvals > MAX_APPROVALS:
        raise InvalidInput("a mandate demands too many approvals", reasons=("APPROVALS",))


def _check_header(
    header: pb.QueryHeader,
    mandate: pb.Mandate,
    mandate_digest: bytes,
    directory: Directory,
    now: float,
) -> None:
    check_id(header.query_id)
    if header.mandate_digest != mandate_digest:
        raise Forged("a header is of another mandate", reasons=("MANDATE_DIGEST",))
    if abs(now - header.issued_at) > WINDOW_S:
        raise Stale(
            "a query is outside its time window",
            reasons=("QUERY_WINDOW",),
            remedy=CLOCK_REMEDY,
        )
    check_chunk(header, mandate)
    _check_elements(header, mandate.mode)
    _check_hashes(header.part_digests, len(directory.listed))
    _check_hashes([header.detail_digest], 1)
    sealing.check_public_key(header.reply_key)


def _check_elements(header: pb.QueryHeader, mode: int) -> None:
    """A blind chunk has one element or more for each of its terms, a sealed one has none."""
    count, least = header.element_count, header.term_count if mode == pb.MODE_BLIND else 0
    most = sealing.MAX_ELEMENTS if least else 0
    if not least <= count <= most:
        raise InvalidInput("a header's elements do not fit its mode", reasons=("ELEMENTS",))


def _check_statement(
    statement: pb.NodeStatement,
    header: pb.QueryHeader,
    mandate: pb.Mandate,
    signed: pb.SignedQuery,
    now: float,
) -> None:
    bound = (
        statement.query_id == header.query_id
        and statement.header_digest == signing.digest(signed.header)
        and statement.mandate_digest == header.mandate_digest
        and statement.partner_id == mandate.partner_id
        and statement.case_commitment == mandate.case_commitment
    )
    if not bound:
        raise Forged("a node's statement is about another query", reasons=("STATEMENT",))
    if abs(now - statement.issued_at) > WINDOW_S:
        raise Stale(
            "a node's statement is outside its time window",
            reasons=("QUERY_WINDOW",),
            remedy=CLOCK_REMEDY,
        )
    if not (statement.case_open and statement.user_assigned):
        raise Refused(
            "the asker's node does not vouch for an open case with this user assigned",
            reasons=("CASE",),
            remedy="fairlead cases list",
        )


def instrument_to_wire(instrument: Instrument | None) -> pb.Instrument | None:
    if instrument is None:
        return None
    return pb.Instrument(
        kind=instrument.kind,
        authority=instrument.authority,
        valid_until=instrument.valid_until,
        commitment=instrument.commitment,
    )


def _instrument(statement: pb.NodeStatement) -> Instrument | None:
    """:raises InvalidInput: misspelt, or without a commitment."""
    if not statement.HasField("instrument"):
        return None
    wire = statement.instrument
    _check_hashes([wire.commitment], 1)
    return Instrument(
        kind=check_code(wire.kind),
        authority=check_code(wire.authority),
        valid_until=wire.valid_until,
        commitment=wire.commitment,
    )


def _check_guard(statement: pb.NodeStatement) -> None:
    if not statement.guard_passed:
        raise Refused(
            "the asker's node does not vouch that its guard against enumeration saw these terms",
            reasons=("GUARD",),
            remedy="the asker's node must run a version that has the guard",
        )


def _check_approved(mandate: pb.Mandate, approved: Approved) -> None:
    if len(approved.people) < mandate.required_approvals:
        raise Refused(
            "a second person must approve this query",
            reasons=("APPROVAL_REQUIRED",),
            remedy="an approver: fairlead approvals list",
        )

"""An auditor's request to a committee: made, signed, and verified by whoever decides about it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec

from fairlead import quorum, sealing, signing
from fairlead.certificates import Identity, IdentityKind, Role, identity_from_certificate
from fairlead.envelope.query import Random, check_id, uuid7
from fairlead.errors import Forged, InvalidInput, Refused, Stale
from fairlead.names import check_code
from fairlead.opening.sought import MAX_SOUGHT, Sought
from fairlead.partners import DenyLists, Directory
from fairlead.v1 import opening_pb2 as pb

DOMAIN = "opening-request"
MAX_REQUEST = 128 * 1024 * 1024
"""Octets of a signed request."""
LIFETIME_S = 7 * 86_400
SKEW_S = 120
MAX_REFERENCE = 200
MAX_READERS = 64
"""Partners that hold shares of what one request asks for: a committee, and those before it."""
SECRET_SIZE = 32
SUBJECT_SIZE = 512
"""Octets of a subject as it is framed, so that nobody sees how long a name is searched for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a search is for: a scheme and a canonical value."""

    scheme: str
    value: str = field(repr=False)

    def to_bytes(self) -> bytes:
        """What a request commits to."""
        return f"{self.scheme}\x00{self.value}".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that verified. ``since`` and ``until`` are 0 unless it is a search; then
    ``searcher`` is the partner whose oversight filters. ``reader`` is the key that members'
    shares are sealed to: the answer key, or that oversight's. ``unwitnessed``: a head of the
    gateway's log that proves its leaves was cosigned by no quorum, though there can be one."""

    signed: bytes = field(repr=False)
    digest: bytes
    request_id: bytes
    auditor: Identity
    ground: str
    reference: str
    issued_at: int
    expires_at: int
    answer_key: bytes = field(repr=False)
    reader: bytes = field(repr=False)
    since: int
    until: int
    subject_commitment: bytes = field(repr=False)
    searcher: str
    sealed_subject: bytes = field(repr=False)
    sought: tuple[Sought, ...] = field(repr=False)
    challenges: tuple[tuple[str, bytes], ...] = field(repr=False)
    unwitnessed: bool

    @property
    def search(self) -> bool:
        """Whether it asks for all leaves of a period."""
        return bool(self.until)

    def challenge(self, partner_id: str) -> bytes:
        """The sealed secret of a partner.

        :raises Refused: NO_SHARE: the partner holds a share of nothing that is asked for.
        """
        for partner, sealed in self.challenges:
            if partner == partner_id:
                return sealed
        raise Refused(
            "your oversight holds no share of what is asked for",
            reasons=("NO_SHARE",),
            remedy="send the request to the members it names: fairlead audit open … says whom",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Auditor:
    """Who makes a request: a user with the role auditor, by certificate (DER) and key."""

    certificate: bytes
    key: ec.EllipticCurvePrivateKey = field(repr=False)


def make_request(
    found: Sequence[tuple[pb.Sought, bytes]],
    *,
    auditor: Auditor,
    directories: Sequence[Directory],
    ground: str,
    reference: str,
    now: float,
    since: int = 0,
    until: int = 0,
    subject: Subject | None = None,
    searcher: str = "",
    random: Random = os.urandom,
) -> tuple[bytes, bytes]:
    """Ask for leaves found, with their details.

    :param since: of a search, with ``until``: its half-open period in unix seconds.
    :param searcher: of a search, the partner whose oversight is to filter; else the first that
        holds a share and is not the auditor's own, if there is one.
    :returns: the signed request for the members, which the auditor had better verify before
        anybody else does, and what the auditor keeps to itself.
    :raises FairleadError: the certificate is not acceptable.
    """
    directory = directories[0]
    keys = _oversights(found, directories)
    seed, request_id, nonce = random(sealing.SEED_SIZE), uuid7(now, random), random(32)
    secrets = [random(SECRET_SIZE) for _ in keys]
    identity = identity_from_certificate(auditor.certificate, directory=directory, now=now)
    if subject and not searcher:
        here = [reader for reader, _ in keys if reader in directory.partners]
        others = [reader for reader in here if reader != identity.partner_id]
        searcher = (others or here or [""])[0]
    content = pb.OpeningRequest(
        federation=directory.federation,
        request_id=request_id,
        partner_id=identity.partner_id or "",
        auditor_certificate_digest=signing.digest(auditor.certificate),
        ground=ground,
        reference=reference,
        issued_at=int(now),
        expires_at=int(now) + LIFETIME_S,
        answer_key=sealing.SealingKey(seed).public_bytes(),
        since=since,
        until=until,
        subject_commitment=signing.commit(nonce, subject.to_bytes()) if subject else b"",
        sought=[item for item, _ in found],
        challenges=[
            pb.Challenge(
                partner_id=reader,
                sealed=sealing.seal(secret, public, info=challenge_info(request_id, reader)),
            )
            for (reader, public), secret in zip(keys, secrets, strict=True)
        ],
        searcher=searcher,
        sealed_subject=_sealed_subject(subject, nonce, request_id, searcher, directory),
    )
    data = signing.canonical(content)
    signed = signing.canonical(
        pb.SignedOpeningRequest(
            request=data,
            signature=signing.sign_as_user(auditor.key, DOMAIN, data),
            certificate=auditor.certificate,
        )
    )
    kept = pb.OpeningKey(
        request_digest=signing.digest(data),
        seed=seed,
        details=[detail for _, detail in found],
        secrets=secrets,
        scheme=subject.scheme if subject else "",
        value=subject.value if subject else "",
        subject_nonce=nonce if subject else b"",
    )
    return signed, signing.canonical(kept)


def _oversights(
    found: Sequence[tuple[pb.Sought, bytes]], directories: Sequence[Directory]
) -> list[tuple[str, bytes]]:
    """Whoever holds a share, with the newest key of its oversight; a partner that no directory
    here knows is left out: the others may suffice."""
    keys: dict[str, bytes] = {}
    readers = {share.partner_id for item, _ in found for share in item.shares}
    for directory in reversed(directories):
        known = directory.partners
        keys |= {reader: known[reader].oversight_key for reader in readers if reader in known}
    return sorted(keys.items())


def _sealed_subject(
    subject: Subject | None, nonce: bytes, request_id: bytes, searcher: str, directory: Directory
) -> bytes:
    if subject is None:
        return b""
    wire = pb.SearchSubject(scheme=subject.scheme, value=subject.value, nonce=nonce)
    return sealing.seal(
        sealing.pad(signing.canonical(wire), SUBJECT_SIZE),
        directory.partner(searcher).oversight_key,
        info=subject_info(request_id, searcher),
    )


def subject_info(request_id: bytes, searcher: str) -> bytes:
    """HPKE info binding a search's subject to its request and to whoever filters."""
    return b"fairlead/v1/opening-subject\x00" + request_id + searcher.encode()


def challenge_info(request_id: bytes, reader: str) -> bytes:
    """HPKE info binding a challenge to its request and its reader."""
    return b"fairlead/v1/opening-challenge\x00" + request_id + reader.encode()


def verify_request(
    data: bytes,
    *,
    directories: Sequence[Directory],
    now: float,
    deny_lists: DenyLists | None = None,
) -> Request:
    """Verify a request as somebody who decides about it.

    1. It is canonical, of this federation, and in force.
    2. A user with the role auditor signed it, whose certificate its partner's user authority
       issued, is in force, and was not withdrawn.
    3. It has a ground, a reference that can be read, and a key to answer to.
    4. What it asks for is one leaf, or all of a search's period; each leaf is proved under the key
       of its log, none is asked for twice.
    5. Whoever is challenged holds a share of it. A search names one of them to filter, and not the
       auditor's own oversight where there is another: nobody alone sees what is not let out.

    :param directories: the current one first, then those before it, whose keys signed old logs.
    :param deny_lists: None where the auditor reads its own request: it decides about nothing.
    :raises Forged: a signature, proof or binding is wrong. :raises InvalidInput: malformed.
    :raises Stale: OPENING_EXPIRED, or a deny list is. :raises Refused: AUDITOR_ROLE.
    :raises Unauthenticated: the certificate is not acceptable, or was withdrawn.
    """
    directory = directories[0]
    # 1
    signed = signing.parse_canonical(pb.SignedOpeningRequest, data, limit=MAX_REQUEST)
    content = signing.parse_canonical(pb.OpeningRequest, signed.request, limit=MAX_REQUEST)
    if content.federation != directory.federation:
        raise Forged("a request is for another federation", reasons=("FEDERATION",))
    check_id(content.request_id)
    _check_times(content, now)
    # 2
    auditor = _auditor(signed, content, directory, now)
    if deny_lists is not None:
        deny_lists.check(auditor.spiffe_id, now)
    # 3
    _check_words(content)
    sealing.check_public_key(content.answer_key)
    # 4
    if not 0 < len(content.sought) <= MAX_SOUGHT:
        raise _malformed("a request asks for no leaf, or for too many")
    heads: dict[str, bool] = {}
    sought = tuple(Sought.from_wire(item, directories, heads) for item in content.sought)
    _check_period(content, sought)
    # 5
    challenges = tuple((item.partner_id, item.sealed) for item in content.challenges)
    readers = {share.partner_id for item in sought for share in item.shares}
    names = [partner for partner, _ in challenges]
    if names != sorted(readers.intersection(names)) or not 0 < len(names) <= MAX_READERS:
        raise _malformed("a request challenges others than those who hold its shares")
    reader = _reader(content, names, directory)
    return Request(
        signed=data,
        digest=signing.digest(signed.request),
        request_id=content.request_id,
        auditor=auditor,
        ground=content.ground,
        reference=content.reference,
        issued_at=content.issued_at,
        expires_at=content.expires_at,
        answer_key=content.answer_key,
        reader=reader,
        since=content.since,
        until=content.until,
        subject_commitment=content.subject_commitment,
        searcher=content.searcher,
        sealed_subject=content.sealed_subject,
        sought=sought,
        challenges=challenges,
        unwitnessed=quorum.possible(directory)
        and any(item.of_gateway and not item.witnessed for item in sought),
    )


def _check_times(content: pb.OpeningRequest, now: float) -> None:
    if not 0 < content.expires_at - content.issued_at <= LIFETIME_S:
        raise _malformed("a request is in force longer than allowed")
    if not content.issued_at - SKEW_S <= now < content.expires_at:
        raise Stale(
            "a request is not in force",
            reasons=("OPENING_EXPIRED",),
            remedy="the auditor makes a new one: fairlead audit open …, fairlead audit search …",
        )


def _auditor(
    signed: pb.SignedOpeningRequest, content: pb.OpeningRequest, directory: Directory, now: float
) -> Identity:
    if signing.digest(signed.certificate) != content.auditor_certificate_digest:
        raise Forged("a request names another certificate", reasons=("USER_CERTIFICATE",))
    found = identity_from_certificate(signed.certificate, directory=directory, now=now)
    if found.kind is not IdentityKind.USER or found.partner_id != content.partner_id:
        raise Forged("a request's certificate is not a user of its partner", reasons=("USER",))
    if Role.AUDITOR not in found.roles:
        raise Refused(
            "only an auditor may ask for sealed detail",
            reasons=("AUDITOR_ROLE",),
            remedy="ask your user authority for the role auditor",
        )
    signing.verify_as_user(found.public_key, DOMAIN, signed.request, signed.signature)
    return found


def _reader(content: pb.OpeningRequest, names: Sequence[str], directory: Directory) -> bytes:
    """Whose key shares are sealed to. Of a search it comes from the directory: one out of the
    request would be the auditor's."""
    if not content.until:
        return content.answer_key
    alone = [*names] == [content.searcher]
    if content.searcher not in names or (content.searcher == content.partner_id and not alone):
        raise _malformed("a search names nobody who may filter it")
    return directory.partner(content.searcher).oversight_key


def _check_words(content: pb.OpeningRequest) -> None:
    check_code(content.ground)
    text = content.reference
    if not 0 < len(text.strip()) <= MAX_REFERENCE or not text.isprintable():
        raise InvalidInput(
            "a request has a reference of 1 to 200 characters",
            reasons=("OPENING_REFERENCE",),
            remedy="--reference: the order or letter that it rests on",
        )


def _check_period(content: pb.OpeningRequest, sought: Sequence[Sought]) -> None:
    if len({item.leaf_digest for item in sought}) != len(sought):
        raise _malformed("a request asks for a leaf twice")
    if content.until:
        within = all(content.since <= item.at < content.until for item in sought)
        shaped = len(content.subject_commitment) == 32 and content.since >= 0
        shaped = shaped and len(content.sealed_subject) == _SEALED_SUBJECT
    else:
        within = len(sought) == 1
        shaped = not content.subject_commitment and not content.since
        shaped = shaped and not content.searcher and not content.sealed_subject
    if not within or not shaped:
        raise _malformed("a request asks for other leaves than it says")


_SEALED_SUBJECT = 1088 + 32 + 16 + SUBJECT_SIZE


def _malformed(fault: str) -> InvalidInput:
    return InvalidInput(fault, reasons=("OPENING_REQUEST",))

"""What one oversight releases for a request, and how whoever it is for takes it."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import sealing, shamir, signing
from fairlead.detail import open_share
from fairlead.errors import FairleadError, Forged, InvalidInput, Refused
from fairlead.names import check_partner_id
from fairlead.opening.request import SECRET_SIZE, Request, challenge_info
from fairlead.opening.sought import MAX_SOUGHT
from fairlead.receipts import MAX_LEAF
from fairlead.v1 import opening_pb2 as pb

MAX_SHARES = MAX_SOUGHT * 160 + MAX_LEAF + 4096
"""Octets of a file of shares."""
DOMAIN = "opening-share"


@dataclass(frozen=True, slots=True, kw_only=True)
class Oversight:
    """Who releases: a partner's oversight with its keys, and the key of its own audit log, by which
    it stands for what it released."""

    partner_id: str
    keys: Sequence[sealing.SealingKey] = field(repr=False)
    log_key: Ed25519PrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """What one partner's oversight released: in the order of what was sought, a share, or nothing
    where it held none or where what was sealed to it is ``spoilt``; and its OPENING leaf.
    ``signatures`` are its own over each of them."""

    partner_id: str
    shares: tuple[bytes, ...] = field(repr=False)
    spoilt: frozenset[int]
    leaf: bytes
    signatures: tuple[bytes, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, partner_id: str, items: Sequence[pb.ReleasedShare], leaf: bytes) -> Released:
        """From the wire."""
        return cls(
            partner_id=partner_id,
            shares=tuple(item.share for item in items),
            spoilt=frozenset(place for place, item in enumerate(items) if item.spoilt),
            leaf=leaf,
            signatures=tuple(item.signature for item in items),
        )


def release(request: Request, *, by: Oversight, leaf: bytes) -> bytes:
    """Release a partner's shares for this request alone: to the auditor who asked for one leaf; of
    a search to the oversight that filters, never to the auditor.

    1. The challenge opens: the request is meant for this oversight, and it is not the one that
       filters, whose shares stay with it.
    2. Each share opens for the query and maker of its leaf, and is what was committed to; one that
       does not is said to be spoilt, and stays here. Each is signed with the log's key.
    3. All are sealed to their reader's key, bound to the request's digest, and proved by the
       challenge.

    :param leaf: the OPENING leaf, which is durable in the oversight's log already.
    :raises Refused: NO_SHARE, or OPENING_SEARCHER. :raises Forged: the challenge is for another.
    """
    # 1
    secret = challenged(request, by)
    check_role(request, by.partner_id, filters=False)
    # 2
    content = pb.ReleasedShares(leaf=leaf, shares=own_shares(request, by))
    # 3
    return enclosed(request, by, secret, content, request.reader)


def check_role(request: Request, partner_id: str, *, filters: bool) -> None:
    """Whether an oversight is the one that filters a search, as a command takes it to be.

    :raises Refused: OPENING_SEARCHER.
    """
    if filters and partner_id != request.searcher:
        raise Refused(
            "this request does not name your oversight to filter it",
            reasons=("OPENING_SEARCHER",),
            remedy="fairlead-oversight share REQUEST --by USER",
        )
    if not filters and partner_id == request.searcher:
        raise Refused(
            "your oversight is to filter this search: it releases no shares of it",
            reasons=("OPENING_SEARCHER",),
            remedy="fairlead-oversight search REQUEST --details FILE --share FILE … --by USER",
        )


def own_shares(request: Request, by: Oversight) -> list[pb.ReleasedShare]:
    """A partner's shares in the order of what was sought, each signed."""
    found = []
    for place, item in enumerate(request.sought):
        released = pb.ReleasedShare()
        for share in item.shares:
            if share.partner_id == by.partner_id:
                try:
                    released.share = open_share(by.keys, item.bound, share)
                except Forged:
                    released.spoilt = True
                said = _said(request, place, by.partner_id, released)
                released.signature = signing.sign(by.log_key, DOMAIN, said)
        found.append(released)
    return found


def enclosed(
    request: Request,
    by: Oversight,
    secret: bytes,
    content: pb.ReleasedShares | pb.SearchFound,
    reader: bytes,
) -> bytes:
    """Seal what an oversight releases to its reader; the challenge's secret proves whose it is."""
    info = shares_info(request, by.partner_id)
    shares = pb.OpeningShares(
        request_digest=request.digest,
        partner_id=by.partner_id,
        sealed=sealing.seal(signing.canonical(content), reader, info=info),
        log_key=signing.public_bytes(by.log_key),
    )
    shares.proof = _proof(secret, shares)
    return signing.canonical(shares)


def challenged(request: Request, by: Oversight) -> bytes:
    """The secret by which an oversight shows the auditor who it is.

    :raises Refused: NO_SHARE. :raises Forged: the challenge is for another oversight.
    """
    partner_id, keys = by.partner_id, by.keys
    sealed, info = request.challenge(partner_id), challenge_info(request.request_id, partner_id)
    for key in keys:
        try:
            secret = key.open(sealed, info=info)
        except Forged:
            continue
        if len(secret) == SECRET_SIZE:
            return secret
    raise Forged("a request is not meant for this oversight", reasons=("OPENING_CHALLENGE",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What an auditor kept of a request: the key that answers come to, the details, and by which
    secrets the members answer."""

    seed: bytes = field(repr=False)
    details: tuple[bytes, ...] = field(repr=False)
    secrets: tuple[bytes, ...] = field(repr=False)
    scheme: str
    value: str = field(repr=False)

    @classmethod
    def parse(cls, data: bytes, request: Request) -> Kept:
        """Read what was kept of ``request``.

        :raises InvalidInput: OPENING_KEY: of another request, or damaged.
        """
        wire = signing.parse_canonical(pb.OpeningKey, data, limit=MAX_KEPT)
        subject = f"{wire.scheme}\x00{wire.value}".encode()
        fits = (
            wire.request_digest == request.digest
            and len(wire.seed) == sealing.SEED_SIZE
            and len(wire.secrets) == len(request.challenges)
            and {len(secret) for secret in wire.secrets} == {SECRET_SIZE}
            and [signing.digest(detail) for detail in wire.details]
            == [item.leaf.detail_digest for item in request.sought]
            and (
                not request.search
                or signing.commit(wire.subject_nonce, subject) == request.subject_commitment
            )
        )
        if not fits:
            raise InvalidInput(
                "what was kept of a request is of another one",
                reasons=("OPENING_KEY",),
                remedy="keep the .key file beside the request that it was made with",
            )
        return cls(
            seed=wire.seed,
            details=tuple(wire.details),
            secrets=tuple(wire.secrets),
            scheme=wire.scheme,
            value=wire.value,
        )


MAX_KEPT = 256 * 1024 * 1024
"""Octets of what an auditor keeps of a request."""


def take(data: bytes, request: Request, kept: Kept) -> Released:
    """Take what an oversight released for one leaf.

    1. It is canonical, and an answer to this request.
    2. Whoever made it holds the oversight key of the partner it names: it opened the challenge.
    3. It opens with the request's key, and has one place for each leaf.
    4. Each share is signed with the log's key that it names, so that whoever released it cannot say
       later that the auditor made it up.

    :raises Forged: SHARE_FORGED: any binding is wrong: nobody is accused by it.
    :raises InvalidInput: malformed.
    """
    # 1 and 2
    wire = proved(data, request, kept)
    # 3 and 4
    return opened_shares(wire, request, [sealing.SealingKey(kept.seed)])


def proved(
    data: bytes, request: Request, kept: Kept, *, limit: int = MAX_SHARES
) -> pb.OpeningShares:
    """Steps 1 and 2 of :func:`take`."""
    wire = signing.parse_canonical(pb.OpeningShares, data, limit=limit)
    partner = check_partner_id(wire.partner_id)
    secrets = dict(zip((p for p, _ in request.challenges), kept.secrets, strict=True))
    if wire.request_digest != request.digest or partner not in secrets:
        raise forged("a file of shares answers another request")
    if not hmac.compare_digest(_proof(secrets[partner], wire), wire.proof):
        raise forged("a file of shares does not come from the oversight it names")
    return wire


def opened_shares(
    wire: pb.OpeningShares, request: Request, keys: Sequence[sealing.SealingKey]
) -> Released:
    """Steps 3 and 4 of :func:`take`, for whoever holds the key that they are sealed to.

    :raises Forged: SHARE_FORGED. :raises InvalidInput: malformed.
    """
    content = opened_with(keys, wire, request)
    released = signing.parse_canonical(pb.ReleasedShares, content, limit=MAX_SHARES)
    if len(released.shares) != len(request.sought):
        raise forged("a file of shares is not about the leaves asked for")
    for place, item in enumerate(released.shares):
        check_share(item, place, wire, request)
    return Released.of(wire.partner_id, released.shares, released.leaf)


def opened_with(
    keys: Sequence[sealing.SealingKey], wire: pb.OpeningShares, request: Request
) -> bytes:
    """What a file of shares holds. :raises Forged: none of the keys opens it for this request."""
    for key in keys:
        try:
            return key.open(wire.sealed, info=shares_info(request, wire.partner_id))
        except Forged:
            continue
    raise forged("a file of shares is sealed to somebody else")


def check_share(
    item: pb.ReleasedShare, place: int, wire: pb.OpeningShares, request: Request
) -> None:
    """:raises Forged: SHARE_FORGED: too long, or not signed with the log's key of its file.

    :param wire: the file of shares that it came in.
    """
    if len(item.share) > shamir.SHARE_SIZE or (item.share and item.spoilt):
        raise forged("a share is none")
    if not item.share and not item.spoilt:
        return
    try:
        said = _said(request, place, wire.partner_id, item)
        signing.verify(wire.log_key, DOMAIN, said, item.signature)
    except FairleadError:
        raise forged("a share is not signed by the oversight that it is said to be of") from None


def _said(request: Request, place: int, partner_id: str, item: pb.ReleasedShare) -> bytes:
    """The octets that an oversight signs of one share."""
    bound = request.digest + place.to_bytes(4, "big") + partner_id.encode()
    return bound + b"\x00" + bytes([item.spoilt]) + item.share


def shares_info(request: Request, partner_id: str) -> bytes:
    """HPKE info binding shares to their request and to who released them."""
    return b"fairlead/v1/opening-shares\x00" + request.digest + partner_id.encode()


def _proof(secret: bytes, shares: pb.OpeningShares) -> bytes:
    bare = pb.OpeningShares()
    bare.CopyFrom(shares)
    bare.ClearField("proof")
    return signing.commit(secret, signing.canonical(bare))


def forged(fault: str) -> Forged:
    """The error of what nobody is accused by."""
    return Forged(
        fault,
        reasons=("SHARE_FORGED",),
        remedy="ask that oversight for its file again: fairlead-oversight share REQUEST …",
    )

"""What one oversight releases for a request, and how the auditor takes it."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

from fairlead import sealing, shamir, signing
from fairlead.detail import open_share
from fairlead.errors import Forged, InvalidInput
from fairlead.names import check_partner_id
from fairlead.opening.request import SECRET_SIZE, Request, challenge_info
from fairlead.opening.sought import MAX_SOUGHT
from fairlead.receipts import MAX_LEAF
from fairlead.v1 import opening_pb2 as pb

MAX_SHARES = MAX_SOUGHT * 64 + MAX_LEAF + 4096
"""Octets of a file of shares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """What one partner's oversight released: in the order of what was sought, a share, or nothing
    where it held none or where what was sealed to it is ``spoilt``; and its OPENING leaf."""

    partner_id: str
    shares: tuple[bytes, ...] = field(repr=False)
    spoilt: frozenset[int]
    leaf: bytes


def release(
    request: Request, *, partner_id: str, keys: Sequence[sealing.SealingKey], leaf: bytes
) -> bytes:
    """Release a partner's shares to the auditor who asked, for this request alone.

    1. The challenge opens: the request is meant for this oversight.
    2. Each share opens for the query and maker of its leaf, and is what was committed to; one that
       does not is said to be spoilt, and stays here.
    3. All are sealed to the request's key, bound to its digest, and proved by the challenge.

    :param leaf: the OPENING leaf, which is durable in the oversight's log already.
    :raises Refused: NO_SHARE. :raises Forged: the challenge is for another oversight.
    """
    # 1
    secret = _challenged(request, partner_id, keys)
    # 2
    content = pb.ReleasedShares(leaf=leaf)
    for item in request.sought:
        mine = [share for share in item.shares if share.partner_id == partner_id]
        released = content.shares.add()
        for share in mine:
            try:
                released.share = open_share(keys, item.bound, share)
            except Forged:
                released.spoilt = True
    # 3
    shares = pb.OpeningShares(
        request_digest=request.digest,
        partner_id=partner_id,
        sealed=sealing.seal(
            signing.canonical(content), request.answer_key, info=_info(request, partner_id)
        ),
    )
    shares.proof = _proof(secret, shares)
    return signing.canonical(shares)


def _challenged(request: Request, partner_id: str, keys: Sequence[sealing.SealingKey]) -> bytes:
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
    """Take what an oversight released.

    1. It is canonical, and an answer to this request.
    2. Whoever made it holds the oversight key of the partner it names: it opened the challenge.
    3. It opens with the request's key, and has one place for each leaf.

    :raises Forged: SHARE_FORGED: any binding is wrong: nobody is accused by it.
    :raises InvalidInput: malformed.
    """
    # 1
    wire = signing.parse_canonical(pb.OpeningShares, data, limit=MAX_SHARES)
    partner = check_partner_id(wire.partner_id)
    secrets = dict(zip((p for p, _ in request.challenges), kept.secrets, strict=True))
    if wire.request_digest != request.digest or partner not in secrets:
        raise _forged("a file of shares answers another request")
    # 2
    if not hmac.compare_digest(_proof(secrets[partner], wire), wire.proof):
        raise _forged("a file of shares does not come from the oversight it names")
    # 3
    content = sealing.SealingKey(kept.seed).open(wire.sealed, info=_info(request, partner))
    released = signing.parse_canonical(pb.ReleasedShares, content, limit=MAX_SHARES)
    if len(released.shares) != len(request.sought):
        raise _forged("a file of shares is not about the leaves asked for")
    return Released(
        partner_id=partner,
        shares=tuple(item.share[: shamir.SHARE_SIZE + 1] for item in released.shares),
        spoilt=frozenset(i for i, item in enumerate(released.shares) if item.spoilt),
        leaf=released.leaf,
    )


def _info(request: Request, partner_id: str) -> bytes:
    return b"fairlead/v1/opening-shares\x00" + request.digest + partner_id.encode()


def _proof(secret: bytes, shares: pb.OpeningShares) -> bytes:
    bare = pb.OpeningShares(
        request_digest=shares.request_digest, partner_id=shares.partner_id, sealed=shares.sealed
    )
    return signing.commit(secret, signing.canonical(bare))


def _forged(fault: str) -> Forged:
    return Forged(
        fault,
        reasons=("SHARE_FORGED",),
        remedy="ask that oversight for its file again: fairlead-oversight share REQUEST …",
    )

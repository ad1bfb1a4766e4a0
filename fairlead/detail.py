"""The sealed detail of a leaf: closed to whoever keeps the log, open to an audit committee.

One random key for each detail. It is shared over the committee that the directory appoints
(:mod:`fairlead.shamir`), each share sealed to one member's oversight key for this query and this
maker alone, so that ``threshold`` members open it and fewer learn nothing. A federation without a
committee seals the key as a whole to the oversight of the one partner whose detail it is.

Maker and query are bound into everything (:class:`Bound`): a share of one query opens no other,
and the asker's detail of a query is not taken for an owner's. The maker commits to every share and
to the key, so that a wrong share shows whose doing it is (:func:`open_detail`).
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fairlead import sealing, shamir, signing
from fairlead.appointed import MAX_COMMITTEE, MIN_COMMITTEE, Appointed
from fairlead.errors import FairleadError, Forged, InvalidInput
from fairlead.names import check_partner_id
from fairlead.partners import Directory
from fairlead.v1 import opening_pb2 as pb

BLOCK = 1024
"""Contents are padded to multiples of this many octets."""
MAX_DETAIL = 1024 * 1024
"""Octets of a detail of any kind."""
_SEALED_SHARE = 1088 + 32 + 16
"""What HPKE adds: two encapsulations and a tag."""
_DIGEST = 32
_TAG = 16
QUERY_ID = 16
"""Octets of a query's id."""
_NONCE = bytes(12)
"""A key seals one content, so its only nonce may be a fixed one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What a detail is of: a query, and the partner whose node made it (the asker, or an owner)."""

    query_id: bytes
    maker: str

    def __post_init__(self) -> None:
        """:raises InvalidInput: QUERY_ID or PARTNER_ID: together they would not say where one ends
        and the other begins."""
        if len(self.query_id) != QUERY_ID:
            raise InvalidInput("a query id has not 16 octets", reasons=("QUERY_ID",))
        check_partner_id(self.maker)

    def info(self, domain: str, *more: str) -> bytes:
        """Octets that bind something to both."""
        named = "\x00".join((self.maker, *more)).encode()
        return f"fairlead/v1/detail-{domain}".encode() + b"\x00" + self.query_id + named


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedShare:
    """A share, or the whole key, for one partner's oversight, and what its maker committed to."""

    partner_id: str
    sealed: bytes
    commitment: bytes

    def to_wire(self) -> pb.SealedShare:
        """Wire form."""
        return pb.SealedShare(
            partner_id=self.partner_id, sealed=self.sealed, commitment=self.commitment
        )

    @classmethod
    def from_wire(cls, item: pb.SealedShare, size: int) -> SealedShare:
        """:raises InvalidInput: DETAIL_SHAPE, or PARTNER_ID.

        :param size: octets of what was sealed.
        """
        if (len(item.sealed), len(item.commitment)) != (_SEALED_SHARE + size, _DIGEST):
            raise _shape()
        return cls(
            partner_id=check_partner_id(item.partner_id),
            sealed=item.sealed,
            commitment=item.commitment,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedDetail:
    """A detail that was read, not yet opened. ``threshold`` is 0 without a committee; then the only
    share is the key as a whole."""

    threshold: int
    shares: tuple[SealedShare, ...]
    key_commitment: bytes
    ciphertext: bytes

    @classmethod
    def parse(cls, data: bytes, *, limit: int = MAX_DETAIL) -> SealedDetail:
        """Read a detail as it lies beside its leaf.

        :raises InvalidInput: too large, not canonical, or DETAIL_SHAPE: not one of either kind.
        """
        wire = signing.parse_canonical(pb.SealedDetail, data, limit=limit)
        blocks, left = divmod(len(wire.ciphertext) - _TAG, BLOCK)
        if blocks < 1 or left or len(wire.key_commitment) != _DIGEST:
            raise _shape()
        return cls(
            threshold=wire.threshold,
            shares=read_shares(wire.threshold, wire.shares, wire.whole),
            key_commitment=wire.key_commitment,
            ciphertext=wire.ciphertext,
        )

    def check_readers(self, appointed: Appointed, maker: str) -> None:
        """Whether it is shared among whom the directory appoints, or, where it appoints nobody,
        sealed to its maker's own oversight.

        :raises Forged: DETAIL_READERS.
        """
        readers = tuple(share.partner_id for share in self.shares)
        wanted = appointed.committee or (maker,)
        if (readers, self.threshold) != (wanted, appointed.threshold):
            raise Forged(
                "a sealed detail is not for whom the directory appoints",
                reasons=("DETAIL_READERS",),
                remedy="ask again: the directory may just have changed",
            )


def read_shares(
    threshold: int, shares: Sequence[pb.SealedShare], whole: pb.SealedShare
) -> tuple[SealedShare, ...]:
    """The shares of a committee, or the whole key of nobody's.

    :raises InvalidInput: DETAIL_SHAPE: neither, both, not in order, too many or too few.
    """
    alone = bool(whole.partner_id)
    if alone:
        if threshold or shares:
            raise _shape()
        return (SealedShare.from_wire(whole, shamir.KEY_SIZE),)
    if not MIN_COMMITTEE <= threshold <= len(shares) <= MAX_COMMITTEE:
        raise _shape()
    found = tuple(SealedShare.from_wire(item, shamir.SHARE_SIZE) for item in shares)
    names = [share.partner_id for share in found]
    if names != sorted({*names}):
        raise _shape()
    return found


def seal_detail(
    directory: Directory,
    bound: Bound,
    content: bytes,
    *,
    slack: int = 0,
    random: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """Seal ``content`` for the directory's audit committee, or without one for the maker's own
    oversight alone; about 130 µs a member.

    :param slack: octets that a longer content of the same shape may have had: the size then does
        not depend on how long its words are.
    :raises NotFound: ROOT_UNPINNED: a member's keys are not known here.
    :raises InvalidInput: TOO_LARGE.
    """
    key, appointed = random(shamir.KEY_SIZE), directory.appointed
    size = (len(content) + slack + 4 + BLOCK - 1) // BLOCK * BLOCK
    cipher = AESGCM(_content_key(key, bound))
    wire = pb.SealedDetail(
        threshold=appointed.threshold,
        key_commitment=_committed_key(key, bound),
        ciphertext=cipher.encrypt(_NONCE, sealing.pad(content, size), bound.info("content")),
    )
    if appointed.committee:
        parts = shamir.split(
            key,
            threshold=appointed.threshold,
            shares=len(appointed.committee),
            random=random,
        )
        for member, part in zip(appointed.committee, parts, strict=True):
            wire.shares.append(_seal(directory, bound, member, part.to_bytes()))
    else:
        wire.whole.CopyFrom(_seal(directory, bound, bound.maker, key))
    data = signing.canonical(wire)
    if len(data) > MAX_DETAIL:
        raise InvalidInput("a detail is larger than allowed", reasons=("TOO_LARGE",))
    return data


def _seal(directory: Directory, bound: Bound, reader: str, share: bytes) -> pb.SealedShare:
    public = directory.partner(reader).oversight_key
    return pb.SealedShare(
        partner_id=reader,
        sealed=sealing.seal(share, public, info=bound.info("share", reader)),
        commitment=commit_share(bound, reader, share),
    )


def commit_share(bound: Bound, reader: str, share: bytes) -> bytes:
    """What a maker says of a share: its digest, which tells nothing of 32 random octets."""
    return signing.digest(bound.info("commitment", reader) + b"\x00" + share)


def open_share(keys: Sequence[sealing.SealingKey], bound: Bound, share: SealedShare) -> bytes:
    """What was sealed to a member's oversight, as it is.

    :param keys: the oversight's; more than one while they are exchanged.
    :raises Forged: it opens with none of them for this query and maker, or is not what the maker
        committed to: SHARE_SPOILT.
    """
    for key in keys:
        try:
            found = key.open(share.sealed, info=bound.info("share", share.partner_id))
        except FairleadError:
            continue
        if hmac.compare_digest(commit_share(bound, share.partner_id, found), share.commitment):
            return found
        break
    raise Forged(
        "a share is not what the maker of the detail committed to", reasons=("SHARE_SPOILT",)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A detail's content, and who spoilt what: ``liars`` released a share that is not the one they
    were given, and of ``spoilt`` members the maker's own share does not fit its commitment or the
    other shares. Both are evidence; the content is the one that the key's commitment names."""

    content: bytes
    liars: tuple[str, ...]
    spoilt: tuple[str, ...]


class SharesWrong(Forged):
    """What was released does not open the detail. ``liars`` are named by the maker's commitments;
    without any it is the maker who cheats."""

    default_code = "SHARES_WRONG"

    def __init__(self, message: str, *, reasons: tuple[str, ...], liars: Sequence[str]) -> None:
        super().__init__(message, reasons=reasons)
        self.liars = tuple(liars)


def open_detail(detail: SealedDetail, bound: Bound, released: Mapping[str, bytes]) -> Opened:
    """Open a detail with what members released (partner id → octets as they were sealed).

    1. Each share is one of the detail's readers', with that reader's index.
    2. Some ``threshold`` of them give the key that the maker committed to: every choice is tried.
    3. A share on the same polynomial is right. One that is not, and that the maker did not commit
       to, is its member's lie; where the maker's commitments and the polynomial contradict each
       other, the maker spoilt it.
    4. The content opens under the key, for this query and maker, and is framed as agreed.

    :raises SharesWrong: no choice of them is right.
    :raises Forged: DETAIL_UNREADABLE: the key is right and the content is not: the maker's doing.
    """
    # 1
    known = {share.partner_id: share for share in detail.shares}
    given = {partner: data for partner, data in released.items() if partner in known}
    committed = {
        partner
        for partner, data in given.items()
        if hmac.compare_digest(commit_share(bound, partner, data), known[partner].commitment)
    }
    # 2
    key, right = _key(detail, bound, given, committed)
    # 3
    wrong = given.keys() - right
    liars = wrong - committed
    spoilt = (wrong & committed) | (right - committed)
    # 4
    try:
        padded = AESGCM(_content_key(key, bound)).decrypt(
            _NONCE, detail.ciphertext, bound.info("content")
        )
        content = sealing.unpad(padded, len(padded))
    except (InvalidTag, Forged):
        raise Forged(
            "the key of a detail is right and its content is not", reasons=("DETAIL_UNREADABLE",)
        ) from None
    return Opened(content=content, liars=tuple(sorted(liars)), spoilt=tuple(sorted(spoilt)))


def _key(
    detail: SealedDetail, bound: Bound, given: Mapping[str, bytes], committed: set[str]
) -> tuple[bytes, set[str]]:
    """The key, and whose shares are right."""
    if not detail.threshold:
        for partner, data in given.items():
            if hmac.compare_digest(_committed_key(data, bound), detail.key_commitment):
                return data, {partner}
        raise _wrong(given, committed)
    places = {share.partner_id: place for place, share in enumerate(detail.shares, start=1)}
    shares: dict[str, shamir.Share] = {}
    for partner, data in given.items():
        try:
            share = shamir.Share.from_bytes(data)
        except InvalidInput:
            continue
        if share.index == places[partner]:
            shares[partner] = share
    for chosen in combinations(sorted(shares), detail.threshold):
        key = shamir.combine([shares[partner] for partner in chosen])
        if hmac.compare_digest(_committed_key(key, bound), detail.key_commitment):
            beside = [shares[partner] for partner in chosen[1:]]
            fits = {
                partner
                for partner in shares.keys() - {*chosen}
                if shamir.combine([*beside, shares[partner]]) == key
            }
            return key, {*chosen} | fits
    raise _wrong(given, committed)


def _wrong(given: Mapping[str, bytes], committed: set[str]) -> SharesWrong:
    liars = sorted(given.keys() - committed)
    reasons = ("SHARES_WRONG",) if liars else ("DETAIL_UNEVEN",)
    return SharesWrong("the shares do not open the detail", reasons=reasons, liars=liars)


def _content_key(key: bytes, bound: Bound) -> bytes:
    return signing.commit(key, bound.info("encrypt"))


def _committed_key(key: bytes, bound: Bound) -> bytes:
    """The maker's commitment to the key: with it no two keys open one ciphertext."""
    return signing.commit(key, bound.info("key"))


def _shape() -> InvalidInput:
    return InvalidInput("a sealed detail has the wrong shape", reasons=("DETAIL_SHAPE",))

"""What came out of a search: the shares of the leaves about its subject, as the auditor takes them
from the oversight that filtered."""

from __future__ import annotations

from dataclasses import dataclass, field

from fairlead import merkle, sealing, signing
from fairlead.names import check_partner_id
from fairlead.opening.filtering import DOUBTS, Doubt
from fairlead.opening.request import Request
from fairlead.opening.share import (
    MAX_SHARES,
    Kept,
    Released,
    check_share,
    forged,
    opened_with,
    proved,
)
from fairlead.opening.sought import MAX_SOUGHT
from fairlead.shamir import MAX_SHARES as MEMBERS
from fairlead.v1 import opening_pb2 as pb

MAX_FOUND = 64 * MAX_SHARES
"""Octets of what an oversight found: members' files, and once more each share of them. Without a
committee there are as many members as partners."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """What a search found: the places of the leaves about its subject, whatever members released
    for these, and the oversight's word on leaves that it could not open, or that are wrong, and on
    how many were asked blind and hold no terms."""

    places: tuple[int, ...]
    released: tuple[Released, ...] = field(repr=False)
    doubts: tuple[Doubt, ...]
    without_terms: int


def take_matches(data: bytes, request: Request, kept: Kept) -> Matches:
    """Take what the oversight that filtered let out.

    1. It is canonical, answers this search, and comes from the oversight that it names.
    2. It opens with the request's key.
    3. Each file of shares in it comes from the member it names: that member opened the challenge.
    4. Each share is signed with the log's key that its member's file names.

    :raises Forged: SHARE_FORGED: any binding is wrong: nobody is accused by it.
    :raises InvalidInput: malformed.
    """
    # 1
    wire = proved(data, request, kept, limit=MAX_FOUND)
    if wire.partner_id != request.searcher:
        raise forged("this is not from the oversight that was to filter")
    # 2
    content = opened_with([sealing.SealingKey(kept.seed)], wire, request)
    found = signing.parse_canonical(pb.SearchFound, content, limit=MAX_FOUND)
    # 3
    members = {wire.partner_id: wire}
    for file in found.released:
        member = proved(file, request, kept)
        if member.partner_id in members:
            raise forged("a member's shares are there twice")
        members[member.partner_id] = member
    # 4
    size = len(request.sought)
    shares = {member: [pb.ReleasedShare() for _ in range(size)] for member in members}
    places = tuple(item.place for item in found.found)
    if list(places) != sorted({*places}) or any(place >= size for place in places):
        raise forged("what was found is not in order")
    if found.without_terms + len(places) > size:
        raise forged("more leaves are without terms than there are")
    for item in found.found:
        for share in item.shares[: MEMBERS + 1]:
            if share.partner_id not in members:
                raise forged("a share is of nobody who released any")
            check_share(share.released, item.place, members[share.partner_id], request)
            shares[share.partner_id][item.place] = share.released
    return Matches(
        places=places,
        released=tuple(Released.of(p, items, found.leaf) for p, items in shares.items()),
        doubts=tuple(_doubt(item, size) for item in found.doubted[: MAX_SOUGHT * MEMBERS]),
        without_terms=found.without_terms,
    )


def _doubt(item: pb.DoubtedLeaf, size: int) -> Doubt:
    shaped = len(item.file_digest) in {0, merkle.HASH_SIZE}
    if item.reason not in DOUBTS or item.place >= size or not shaped:
        raise forged("a doubt is none")
    named = check_partner_id(item.partner_id) if item.partner_id else ""
    return Doubt(place=item.place, reason=item.reason, partner_id=named, digest=item.file_digest)

"""The oversight that filters a search: it opens all of it, and lets out what is about the subject.

The members' shares come together here and not at the auditor, who learns of every other leaf
nothing but whether something is wrong with it. So a search is no way to open a leaf of which one
does not know already whom it is about.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fairlead import sealing, signing
from fairlead.detail import SealedDetail, SharesWrong
from fairlead.errors import FairleadError, Forged, InvalidInput, Refused
from fairlead.opening.opened import SAID, Opened, open_leaf, refusing
from fairlead.opening.record import LIED, MISMATCH, SPOILT
from fairlead.opening.request import SUBJECT_SIZE, Request, Subject, subject_info
from fairlead.opening.share import (
    MAX_KEPT,
    MAX_SHARES,
    Oversight,
    Released,
    challenged,
    check_role,
    enclosed,
    forged,
    opened_shares,
    own_shares,
)
from fairlead.opening.sought import MAX_SOUGHT
from fairlead.partners import Directory
from fairlead.v1 import opening_pb2 as pb

TOO_FEW, UNEVEN, UNKNOWN_DIRECTORY = "SHARES_TOO_FEW", "DETAIL_UNEVEN", "DIRECTORY_MISMATCH"
DOUBTS = frozenset({TOO_FEW, UNEVEN, UNKNOWN_DIRECTORY, LIED, MISMATCH, SPOILT, SAID})
"""Why a leaf that did not come out may still be about the subject."""
MAX_DETAILS = MAX_KEPT


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A leaf that could not be opened, or of which something signed is another; ``partner_id`` is
    who is to blame, empty where nobody is.

    Of :data:`SAID` it is the member who says so, which proves nothing: ``digest`` is of the file
    that says it, empty where the oversight that filters does itself.
    """

    place: int
    reason: str
    partner_id: str
    digest: bytes = b""

    @property
    def blamed(self) -> str:
        """Of whom it is an incident."""
        return "" if self.reason == SAID else self.partner_id

    def to_wire(self) -> pb.DoubtedLeaf:
        """Wire form."""
        return pb.DoubtedLeaf(
            place=self.place,
            reason=self.reason,
            partner_id=self.partner_id,
            file_digest=self.digest,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What an oversight that filters was given: the details, and the other members' files of
    shares as they came, with what they hold."""

    details: tuple[bytes, ...] = field(repr=False)
    files: tuple[tuple[bytes, Released], ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filtered:
    """What goes to the auditor, and what the oversight's own log has to say: of every leaf, also of
    those that came out, or it would say which these are."""

    octets: bytes = field(repr=False)
    doubts: tuple[Doubt, ...]


def read_details(data: bytes, request: Request) -> tuple[bytes, ...]:
    """The sealed details of a search.

    :raises InvalidInput: OPENING_DETAILS: they are not those that the request's leaves commit to.
    """
    wire = signing.parse_canonical(pb.OpeningDetails, data, limit=MAX_DETAILS)
    named = [item.leaf.detail_digest for item in request.sought]
    if len(wire.details) > MAX_SOUGHT or [signing.digest(d) for d in wire.details] != named:
        raise InvalidInput(
            "the details are not those of this request",
            reasons=("OPENING_DETAILS",),
            remedy="ask the auditor for the file beside the request: request.details",
        )
    return tuple(wire.details)


def read_shares(data: bytes, request: Request, by: Oversight) -> Released:
    """What another member released to this oversight.

    :raises Forged: SHARE_FORGED: for another request or oversight, or not signed.
    :raises InvalidInput: malformed.
    """
    wire = signing.parse_canonical(pb.OpeningShares, data, limit=MAX_SHARES)
    members = {partner for partner, _ in request.challenges} - {by.partner_id}
    if wire.request_digest != request.digest or wire.partner_id not in members:
        raise forged("a file of shares answers another request")
    return opened_shares(wire, request, by.keys)


def sift(
    request: Request,
    *,
    by: Oversight,
    given: Given,
    directories: Sequence[Directory],
    leaf: bytes,
) -> Filtered:
    """Open every leaf of a search, and let out the shares of those about its subject.

    1. The challenge opens, this oversight is the one named to filter, and the subject sealed to it
       is the one that the request commits to.
    2. Each leaf opens with this oversight's shares and the others', and its signed parts are made
       again. One that does not, or of which a part is another, is a doubt: it may be about the
       subject, and hide it.
    3. A leaf of which a term is the subject goes to the auditor, with the shares that open it and
       their members' signatures. Of every other leaf only a doubt does, and how many of them hold
       no terms to compare.
    4. It is sealed to the request's answer key, and proved by the challenge.

    :param leaf: the OPENING leaf, which is durable in the oversight's log already.
    :raises Refused: NO_SHARE, or OPENING_SEARCHER. :raises Forged: OPENING_SUBJECT, or the
        challenge is for another oversight.
    """
    # 1
    secret = challenged(request, by)
    subject = _subject(request, by)
    # 2
    own = Released.of(by.partner_id, own_shares(request, by), leaf)
    released = [own, *(found for _, found in given.files)]
    files = {found.partner_id: signing.digest(data) for data, found in given.files}
    content = pb.SearchFound(leaf=leaf, released=[data for data, _ in given.files])
    doubts: list[Doubt] = []
    for place, detail in enumerate(given.details):
        opened, wrong = _opened(place, request, detail, released, directories)
        wrong += _said(place, detail, released, files)
        doubts += wrong
        # 3
        if opened is not None and opened.find(subject):
            shares = _shares(place, detail, released)
            content.found.append(pb.FoundLeaf(place=place, shares=shares))
            continue
        content.doubted.extend(doubt.to_wire() for doubt in wrong)
        content.without_terms += opened is not None and opened.blind
    # 4
    octets = enclosed(request, by, secret, content, request.answer_key)
    return Filtered(octets=octets, doubts=tuple(doubts))


def _subject(request: Request, by: Oversight) -> Subject:
    check_role(request, by.partner_id, filters=True)
    info = subject_info(request.request_id, by.partner_id)
    for key in by.keys:
        try:
            framed = key.open(request.sealed_subject, info=info)
        except Forged:
            continue
        wire = signing.parse_canonical(pb.SearchSubject, sealing.unpad(framed, SUBJECT_SIZE))
        subject = Subject(scheme=wire.scheme, value=wire.value)
        committed = signing.commit(wire.nonce, subject.to_bytes())
        if hmac.compare_digest(committed, request.subject_commitment):
            return subject
    raise Forged(
        "a search's subject is not the one that its request commits to",
        reasons=("OPENING_SUBJECT",),
        remedy="the auditor makes a new request: fairlead audit search …",
    )


def _opened(
    place: int,
    request: Request,
    detail: bytes,
    released: Sequence[Released],
    directories: Sequence[Directory],
) -> tuple[Opened | None, list[Doubt]]:
    """A leaf, if it opens, and what is wrong with it."""
    item = request.sought[place]
    maker = item.bound.maker
    try:
        opened = open_leaf(place, item, detail, released, directories)
    except SharesWrong as error:
        blamed = [(LIED, liar) for liar in error.liars] or [(UNEVEN, maker)]
        return None, [Doubt(place=place, reason=r, partner_id=p) for r, p in blamed]
    except Refused:
        return None, [Doubt(place=place, reason=TOO_FEW, partner_id="")]
    except FairleadError:
        return None, [Doubt(place=place, reason=MISMATCH, partner_id=maker)]
    blamed = [(LIED, liar) for liar in opened.liars]
    faults = {part.fault for part in opened.faults}
    if faults == {UNKNOWN_DIRECTORY}:
        blamed.append((UNKNOWN_DIRECTORY, ""))
    elif faults:
        blamed.append((MISMATCH, maker))
    blamed += [(SPOILT, maker)] if opened.spoilt else []
    return opened, [Doubt(place=place, reason=r, partner_id=p) for r, p in blamed]


def _said(
    place: int, detail: bytes, released: Sequence[Released], files: Mapping[str, bytes]
) -> list[Doubt]:
    """Whose word it is that a leaf's maker spoilt a share, by the file that says so."""
    try:
        readers = refusing(place, SealedDetail.parse(detail), released)
    except FairleadError:  # nobody's share: the detail itself is wrong
        return []
    return [
        Doubt(place=place, reason=SAID, partner_id=reader, digest=files.get(reader, b""))
        for reader in readers
    ]


def _shares(place: int, detail: bytes, released: Sequence[Released]) -> list[pb.MemberShare]:
    """What the detail's readers released of a leaf, and nobody else."""
    readers = {share.partner_id for share in SealedDetail.parse(detail).shares}
    return [
        pb.MemberShare(
            partner_id=one.partner_id,
            released=pb.ReleasedShare(
                share=one.shares[place],
                spoilt=place in one.spoilt,
                signature=one.signatures[place],
            ),
        )
        for one in sorted(released, key=lambda one: one.partner_id)
        if one.signatures[place] and one.partner_id in readers
    ]

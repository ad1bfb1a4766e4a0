"""An opened detail: what it says, whose fault it is where something does not fit, and a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fairlead.detail import SealedDetail, SharesWrong, open_detail
from fairlead.errors import FairleadError, Refused
from fairlead.identifiers.matching import asked_keys, held_keys
from fairlead.opening.remaking import Remade, read_asked, read_owned, remake_asked, remake_owned
from fairlead.opening.request import Subject
from fairlead.opening.share import Released
from fairlead.opening.sought import Sought
from fairlead.partners import Directory
from fairlead.v1 import opening_pb2 as pb

UNREADABLE = "content"
"""The name of what cannot even be read, among the parts that are made again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One term of a detail that a search found, and how well it matches."""

    scheme: str
    value: str = field(repr=False)
    grade: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """One leaf whose detail was opened, or could not be.

    ``remade`` are its signed parts; ``liars`` are members who released a share that is not the one
    they were given; of ``spoilt`` members the maker of the detail spoilt the share.
    """

    item: Sought
    asked: pb.AskedDetail | None = field(default=None, repr=False)
    owned: pb.OwnedDetail | None = field(default=None, repr=False)
    remade: tuple[Remade, ...] = ()
    liars: tuple[str, ...] = ()
    spoilt: tuple[str, ...] = ()

    @property
    def faults(self) -> tuple[Remade, ...]:
        """Signed parts that are others than the detail says: incidents of its maker."""
        return tuple(part for part in self.remade if part.fault)

    @property
    def terms(self) -> list[tuple[str, str]]:
        """The terms, as far as it could be read."""
        detail = self.asked or self.owned
        return [(term.scheme, term.value) for term in detail.terms] if detail else []

    def find(self, subject: Subject) -> list[Found]:
        """Its terms that are the subject: the same canonical value, or, of a person, one that
        shares a match key with it."""
        return [
            Found(scheme=scheme, value=value, grade=grade)
            for scheme, value in self.terms
            if scheme == subject.scheme and (grade := _grade(scheme, value, subject.value))
        ]

    @property
    def notice_from(self) -> int | None:
        """From when on the subject may be told, in unix seconds, as the owner's policy delays it;
        0 when it does not, None where the detail does not say: an asker's."""
        if self.owned is None:
            return None
        delay = self.owned.notice_delay_s
        return self.item.at + delay if delay else 0


def _grade(scheme: str, value: str, wanted: str) -> str:
    if value == wanted:
        return "same"
    held = {key.value for key in held_keys(scheme, value)}
    return next((key.grade for key in asked_keys(scheme, wanted) if key.value in held), "")


def open_leaf(
    place: int,
    item: Sought,
    detail: bytes,
    released: Sequence[Released],
    directories: Sequence[Directory],
) -> Opened:
    """Open one leaf's detail and make its signed parts again.

    1. As many shares are there as open it.
    2. They open it; whoever spoilt one is named, and the others suffice.
    3. Its content can be read, and each signed part follows from it.

    :param place: of the leaf among those asked for. :param detail: the leaf's own.
    :raises Refused: SHARES_TOO_FEW.
    :raises SharesWrong: they do not open it; it names whose are wrong.
    """
    # 1
    sealed = SealedDetail.parse(detail)
    shares = {r.partner_id: r.shares[place] for r in released if r.shares[place]}
    refused = {r.partner_id for r in released if place in r.spoilt}
    if len(shares) < max(1, sealed.threshold):
        raise Refused(
            "too few members of the committee released a share",
            reasons=("SHARES_TOO_FEW", *(["SHARE_SPOILT"] if refused else [])),
            remedy="ask another member: fairlead-oversight share REQUEST --by USER",
        )
    # 2
    try:
        opened = open_detail(sealed, item.bound, shares)
    except SharesWrong:
        raise
    except FairleadError as error:
        return _unread(item, error, refused)
    spoilt = tuple(sorted(refused.union(opened.spoilt)))
    # 3
    asked = owned = None
    try:
        if item.bound.maker == item.leaf.partner_id:
            asked = read_asked(opened.content)
            remade = remake_asked(asked, item, directories)
        else:
            owned = read_owned(opened.content)
            remade = remake_owned(owned, item, directories)
    except FairleadError as error:
        return _unread(item, error, refused.union(opened.spoilt), opened.liars)
    return Opened(
        item=item,
        asked=asked,
        owned=owned,
        remade=tuple(remade),
        liars=opened.liars,
        spoilt=spoilt,
    )


def _unread(
    item: Sought, error: FairleadError, spoilt: set[str], liars: tuple[str, ...] = ()
) -> Opened:
    fault = Remade(part=UNREADABLE, fault=error.code)
    return Opened(item=item, remade=(fault,), liars=liars, spoilt=tuple(sorted(spoilt)))

"""An opened detail: what it says, whose fault it is where something does not fit, and a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

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
SAID = "SPOILT_SAID"
"""A member says that its share was spoilt, and shows none: nothing proves it."""


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
    they were given; of ``spoilt`` members the shares prove that the maker of the detail spoilt one;
    ``refused`` members only say so of theirs.
    """

    item: Sought
    asked: pb.AskedDetail | None = field(default=None, repr=False)
    owned: pb.OwnedDetail | None = field(default=None, repr=False)
    remade: tuple[Remade, ...] = ()
    liars: tuple[str, ...] = ()
    spoilt: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    @property
    def blind(self) -> bool:
        """Whether it is an owner's of a query that was asked blind: no term of it is there."""
        return self.owned is not None and bool(self.owned.blinded)

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


def refusing(place: int, sealed: SealedDetail, released: Sequence[Released]) -> tuple[str, ...]:
    """Which of a detail's readers say, in place of a share, that theirs was spoilt."""
    readers = {share.partner_id for share in sealed.shares}
    said = {one.partner_id for one in released if place in one.spoilt}
    return tuple(sorted(said & readers))


def open_leaf(
    place: int,
    item: Sought,
    detail: bytes,
    released: Sequence[Released],
    directories: Sequence[Directory],
) -> Opened:
    """Open one leaf's detail and make its signed parts again.

    1. As many shares are there as open it: of the detail's own readers, for anybody else's is made
       up and would only be counted.
    2. They open it; whoever spoilt one is named, and the others suffice.
    3. Its content can be read, and each signed part follows from it.

    :param place: of the leaf among those asked for. :param detail: the leaf's own.
    :raises Refused: SHARES_TOO_FEW.
    :raises SharesWrong: they do not open it; it names whose are wrong.
    """
    # 1
    sealed = SealedDetail.parse(detail)
    readers = {share.partner_id for share in sealed.shares}
    shares = {
        r.partner_id: r.shares[place]
        for r in released
        if r.partner_id in readers and r.shares[place]
    }
    refused = refusing(place, sealed, released)
    if len(shares) < max(1, sealed.threshold):
        raise Refused(
            "too few members of the committee released a share",
            reasons=("SHARES_TOO_FEW", *([SAID] if refused else [])),
            remedy="ask another member: fairlead-oversight share REQUEST --by USER",
        )
    # 2
    try:
        opened = open_detail(sealed, item.bound, shares)
    except SharesWrong:
        raise
    except FairleadError as error:
        return _unread(item, error, refused)
    # 3
    found = replace(_read(item, opened.content, directories), refused=refused)
    return replace(found, liars=opened.liars, spoilt=opened.spoilt)


def _read(item: Sought, content: bytes, directories: Sequence[Directory]) -> Opened:
    """Step 3 of :func:`open_leaf`."""
    try:
        if item.bound.maker == item.leaf.partner_id:
            asked = read_asked(content)
            remade = remake_asked(asked, item, directories)
            return Opened(item=item, asked=asked, remade=tuple(remade))
        owned = read_owned(content)
        remade = remake_owned(owned, item, directories)
        return Opened(item=item, owned=owned, remade=tuple(remade))
    except FairleadError as error:
        return _unread(item, error)


def _unread(item: Sought, error: FairleadError, refused: tuple[str, ...] = ()) -> Opened:
    fault = Remade(part=UNREADABLE, fault=error.code)
    return Opened(item=item, remade=(fault,), refused=refused)

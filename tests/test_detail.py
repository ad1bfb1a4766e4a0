"""The sealed detail: whole blocks, shared over a committee, bound to a query and to who made it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead import sealing, signing
from fairlead.appointed import Appointed
from fairlead.detail import (
    BLOCK,
    Bound,
    SealedDetail,
    SharesWrong,
    commit_share,
    open_detail,
    open_share,
    seal_detail,
)
from fairlead.errors import FairleadError, Forged, InvalidInput
from fairlead.opening.remaking import read_asked
from fairlead.partners import Directory
from fairlead.v1 import opening_pb2 as pb
from tests.hostile import edits
from tests.oversights import seed_of
from tests.walks import ASKER, OWNER, World, make_world

BOUND = Bound(query_id=bytes(range(16)), maker=ASKER)
CONTENT = b"MSCU6639870"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("detail"))


def alone(world: World) -> Directory:
    """The same directory, appointing nobody."""
    return replace(world.directory, appointed=Appointed())


def released(
    world: World, detail: SealedDetail, bound: Bound = BOUND, *, only: int = 99
) -> dict[str, bytes]:
    """What the first ``only`` oversights hold, as honest ones open it."""
    return {
        share.partner_id: open_share([seed_of(world.opened.layout, share.partner_id)], bound, share)
        for share in detail.shares[:only]
    }


@settings(max_examples=25, deadline=None)
@given(content=st.binary(max_size=4000), slack=st.integers(0, 2000))
def test_any_threshold_of_the_committee_opens_a_detail(
    world: World, content: bytes, slack: int
) -> None:
    """Its content comes back, from every choice of members, and its size is of whole blocks."""
    detail = SealedDetail.parse(seal_detail(world.directory, BOUND, content, slack=slack))
    assert (len(detail.ciphertext) - 16) % BLOCK == 0
    everybody = released(world, detail)
    assert len(everybody) == len(world.directory.appointed.committee)
    for chosen in combinations(sorted(everybody), detail.threshold):
        opened = open_detail(detail, BOUND, {name: everybody[name] for name in chosen})
        assert (opened.content, opened.liars, opened.spoilt) == (content, (), ())


def test_the_length_of_words_does_not_show(world: World) -> None:
    """With the slack of its shape a short content is as large as the longest."""
    sizes = {
        len(seal_detail(world.directory, BOUND, bytes(size), slack=4096 - size))
        for size in (0, 1, 1000, 1024, 4096)
    }
    assert len(sizes) == 1


def test_without_a_committee_its_makers_oversight_opens_it_alone(world: World) -> None:
    """It says so: no threshold, one whole key, and nobody else's."""
    detail = SealedDetail.parse(seal_detail(alone(world), BOUND, CONTENT))
    assert detail.threshold == 0
    assert [share.partner_id for share in detail.shares] == [ASKER]
    assert open_detail(detail, BOUND, released(world, detail)).content == CONTENT
    detail.check_readers(Appointed(), ASKER)
    for appointed, maker in ((world.directory.appointed, ASKER), (Appointed(), OWNER)):
        with pytest.raises(Forged) as refused:
            detail.check_readers(appointed, maker)
        assert refused.value.code == "DETAIL_READERS"


def test_a_detail_for_others_than_the_committee_is_told_from_one_for_it(world: World) -> None:
    """Another committee or threshold is not what the directory appoints."""
    detail = SealedDetail.parse(seal_detail(world.directory, BOUND, CONTENT))
    appointed = world.directory.appointed
    detail.check_readers(appointed, ASKER)
    for other in (
        replace(appointed, threshold=3),
        replace(appointed, committee=appointed.committee[:2]),
        Appointed(),
    ):
        with pytest.raises(Forged):
            detail.check_readers(other, ASKER)


def test_a_share_is_of_one_query_one_maker_and_one_member(world: World) -> None:
    """Neither another oversight's key opens it, nor its own for another query or maker."""
    detail = SealedDetail.parse(seal_detail(world.directory, BOUND, CONTENT))
    first, second, *_ = detail.shares
    layout = world.opened.layout
    own, other = seed_of(layout, first.partner_id), seed_of(layout, second.partner_id)
    for key, bound, share in (
        (other, BOUND, first),
        (own, replace(BOUND, query_id=bytes(16)), first),
        (own, replace(BOUND, maker=OWNER), first),
        (own, BOUND, replace(first, partner_id=second.partner_id)),
        (world.sealing_key(first.partner_id), BOUND, first),
    ):
        with pytest.raises(Forged):
            open_share([key], bound, share)
    spare = sealing.SealingKey.generate()
    assert (
        open_share([spare, own], BOUND, first) == released(world, detail, only=1)[first.partner_id]
    )


def test_shares_of_one_query_do_not_open_another(world: World) -> None:
    """Not even all of them, and not a mixture."""
    one = SealedDetail.parse(seal_detail(world.directory, BOUND, CONTENT))
    bound = replace(BOUND, query_id=bytes(16))
    two = SealedDetail.parse(seal_detail(world.directory, bound, b"another"))
    shares, others = released(world, one), released(world, two, bound)
    first, *rest = sorted(shares)
    mixture = {first: shares[first], rest[0]: others[rest[0]]}
    for wrong in (shares, mixture):
        with pytest.raises(SharesWrong) as stopped:
            open_detail(two, bound, wrong)
        assert first in stopped.value.liars


def test_a_member_that_lies_is_named_and_the_others_suffice(world: World) -> None:
    """Whatever it gives in place of its share: noise, another's share, another key's."""
    detail = SealedDetail.parse(seal_detail(world.directory, BOUND, CONTENT))
    shares = released(world, detail)
    liar, honest, *_ = sorted(shares)
    again = released(world, SealedDetail.parse(seal_detail(world.directory, BOUND, b"x")))
    for lie in (b"", bytes(33), b"\x01" + bytes(32), shares[honest], again[liar], bytes(32)):
        opened = open_detail(detail, BOUND, {**shares, liar: lie})
        assert (opened.content, opened.liars, opened.spoilt) == (CONTENT, (liar,), ())
        with pytest.raises(SharesWrong) as stopped:
            open_detail(detail, BOUND, {honest: shares[honest], liar: lie})
        assert stopped.value.liars == (liar,)


Spoil = Callable[[pb.SealedDetail, World], None]


def _other_commitment(wire: pb.SealedDetail, _world: World) -> None:
    wire.shares[0].commitment = bytes(32)


def _other_share(wire: pb.SealedDetail, world: World) -> None:
    reader = wire.shares[0].partner_id
    share = b"\x01" + bytes(32)
    wire.shares[0].sealed = sealing.seal(
        share,
        world.directory.partner(reader).oversight_key,
        info=BOUND.info("share", reader),
    )
    wire.shares[0].commitment = commit_share(BOUND, reader, share)


@pytest.mark.parametrize("spoil", [_other_commitment, _other_share])
def test_a_maker_that_spoils_a_share_is_told_from_a_member_that_lies(
    world: World, spoil: Spoil
) -> None:
    """A false commitment to a right share, or a wrong share rightly committed to: no member's."""
    wire = pb.SealedDetail.FromString(seal_detail(world.directory, BOUND, CONTENT))
    right = released(world, SealedDetail.parse(signing.canonical(wire)))
    spoil(wire, world)
    detail = SealedDetail.parse(signing.canonical(wire))
    first = detail.shares[0].partner_id
    if spoil is _other_share:
        right[first] = b"\x01" + bytes(32)
    else:
        with pytest.raises(Forged) as said:  # an honest member finds it out, and says so
            released(world, detail)
        assert said.value.code == "SHARE_SPOILT"
    opened = open_detail(detail, BOUND, right)
    assert (opened.content, opened.liars, opened.spoilt) == (CONTENT, (), (first,))


def test_altered_octets_open_nothing(world: World) -> None:
    """Whichever part of the ciphertext, or of the key's commitment, is another."""
    detail = SealedDetail.parse(seal_detail(world.directory, BOUND, CONTENT))
    shares = released(world, detail)
    for place in (0, 100, len(detail.ciphertext) - 1):
        altered = bytearray(detail.ciphertext)
        altered[place] ^= 1
        with pytest.raises(Forged) as refused:
            open_detail(replace(detail, ciphertext=bytes(altered)), BOUND, shares)
        assert refused.value.code == "DETAIL_UNREADABLE"
    with pytest.raises(SharesWrong) as stopped:
        open_detail(replace(detail, key_commitment=bytes(32)), BOUND, shares)
    assert stopped.value.liars == ()
    assert stopped.value.code == "DETAIL_UNEVEN"


def test_no_detail_is_sealed_for_a_member_whose_keys_are_not_known(world: World) -> None:
    """A committee with an unpinned member is refused, never sealed to fewer."""
    member = world.directory.appointed.committee[0]
    partners = {p: value for p, value in world.directory.partners.items() if p != member}
    directory = replace(
        world.directory,
        partners=MappingProxyType(partners),
        unpinned=MappingProxyType({member: bytes(32)}),
    )
    with pytest.raises(FairleadError) as refused:
        seal_detail(directory, BOUND, CONTENT)
    assert refused.value.code == "ROOT_UNPINNED"


@pytest.mark.parametrize(
    ("query_id", "maker", "code"),
    [
        (bytes(15), ASKER, "QUERY_ID"),
        (bytes(17), ASKER, "QUERY_ID"),
        (bytes(16), "", "PARTNER_ID"),
        (bytes(16), f"{ASKER}\x00{OWNER}", "PARTNER_ID"),
    ],
)
def test_a_detail_is_of_one_query_and_one_maker(query_id: bytes, maker: str, code: str) -> None:
    """Octets that do not say where one ends and the other begins bind nothing, and are refused."""
    with pytest.raises(InvalidInput) as refused:
        Bound(query_id=query_id, maker=maker)
    assert refused.value.code == code


@pytest.mark.parametrize("name", ["", "terminal\x00north", "Terminal", "../north", "n" * 200])
def test_a_detail_names_as_asked_whom_a_directory_can_list(name: str) -> None:
    """The name of an owner goes into digests and onto an auditor's screen: of another shape than a
    partner's it is refused before anything is made of it."""
    owners = [pb.AskedOwner(partner_id=OWNER), pb.AskedOwner(partner_id=name)]
    read_asked(signing.canonical(pb.AskedDetail(owners=owners[:1])))
    with pytest.raises(InvalidInput) as refused:
        read_asked(signing.canonical(pb.AskedDetail(owners=owners)))
    assert refused.value.code == "PARTNER_ID"


SHAPES: dict[str, Callable[[pb.SealedDetail], object]] = {
    "no share": lambda d: d.ClearField("shares"),
    "one share": lambda d: d.shares.__delitem__(slice(1, None)),
    "threshold of one": lambda d: setattr(d, "threshold", 1),
    "threshold of all and one": lambda d: setattr(d, "threshold", 4),
    "both kinds": lambda d: d.whole.CopyFrom(d.shares[0]),
    "not in order": lambda d: d.shares.append(d.shares[0]),
    "a short share": lambda d: setattr(d.shares[0], "sealed", d.shares[0].sealed[:-1]),
    "a short commitment": lambda d: setattr(d.shares[0], "commitment", bytes(31)),
    "no commitment to the key": lambda d: d.ClearField("key_commitment"),
    "half a block": lambda d: setattr(d, "ciphertext", d.ciphertext[: BLOCK // 2 + 16]),
    "no block": lambda d: setattr(d, "ciphertext", bytes(16)),
    "nothing": lambda d: d.Clear(),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_detail_of_another_shape_is_refused(world: World, shape: str) -> None:
    """Exactly one of both kinds, a threshold that fits, and sizes that the shape demands."""
    wire = pb.SealedDetail.FromString(seal_detail(world.directory, BOUND, CONTENT))
    SHAPES[shape](wire)
    with pytest.raises(InvalidInput):
        SealedDetail.parse(signing.canonical(wire))


def test_a_detail_beyond_its_limit_is_refused(world: World) -> None:
    """The limit is the caller's, and there is one for everybody."""
    data = seal_detail(world.directory, BOUND, CONTENT)
    SealedDetail.parse(data, limit=len(data))
    with pytest.raises(InvalidInput):
        SealedDetail.parse(data, limit=len(data) - 1)
    with pytest.raises(InvalidInput):
        seal_detail(world.directory, BOUND, bytes(1024 * 1024))


@settings(max_examples=60, deadline=None)
@given(changes=st.lists(edits(), max_size=3), junk=st.none() | st.binary(max_size=200))
def test_any_octets_are_a_detail_or_are_refused(
    world: World, changes: list[Callable[[bytes], bytes]], junk: bytes | None
) -> None:
    """Reading and opening raise our errors alone, and what is read is written the same again."""
    data = seal_detail(world.directory, BOUND, CONTENT) if junk is None else junk
    shares = released(world, SealedDetail.parse(seal_detail(world.directory, BOUND, CONTENT)))
    for change in changes:
        data = change(data)
    try:
        open_detail(SealedDetail.parse(data), BOUND, shares)
    except FairleadError:
        return

"""Notices and lists of decoys: opened by one oversight, from one node, at fixed sizes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead import sealing, signing
from fairlead.decoys import MAX_DECOYS, DecoyList, open_decoys, seal_decoys
from fairlead.errors import FairleadError, Forged, InvalidInput
from fairlead.notice import (
    MAX_FOLLOW_UPS,
    MAX_HITS,
    MAX_NOTICE,
    RUNGS,
    Content,
    Delivered,
    FollowUp,
    FollowUps,
    Hit,
    Hits,
    Notice,
    open_notice,
    seal_notice,
)
from tests.oversights import MANIFEST, OWNER, READER, asked, seed_of
from tests.walks import World, make_world

OVERHEAD = 1136


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("notice"))


def notice(content: Content, number: int = 1) -> Notice:
    return Notice(series=bytes(16), number=number, at=7, content=content)


def sealed(world: World, made: Notice, signer: str = READER) -> bytes:
    return seal_notice(made, world.directory.partner(READER), world.signing_key(signer))


def opened(world: World, data: bytes, *, reader: str = READER, key: str = READER) -> Notice:
    signers = [world.directory.partner(READER).signing_key]
    keys = [seed_of(world.opened.layout, key)]
    return open_notice(data, partner_id=reader, keys=keys, signers=signers)


def hit(number: int) -> Hit:
    return Hit(owner=OWNER, manifest=MANIFEST, ref=number.to_bytes(16, "big"))


OCTETS = st.binary(min_size=16, max_size=16)
CONTENTS: st.SearchStrategy[Content] = st.one_of(
    st.builds(
        lambda refs: Hits(
            asked=asked(3),
            hits=tuple(Hit(owner=OWNER, manifest=m + m, ref=r) for m, r in refs),
        ),
        st.lists(st.tuples(OCTETS, OCTETS), max_size=20),
    ),
    st.builds(
        lambda ids: FollowUps(found=tuple(FollowUp(asked=asked(n), decoys=(i[:8],))
                                          for n, i in enumerate(ids))),
        st.lists(OCTETS, max_size=20),
    ),
    st.builds(
        lambda data: Delivered(owner=OWNER, manifest=MANIFEST, sealed=data),
        st.binary(max_size=20_000),
    ),
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(content=CONTENTS)
def test_oversight_reads_what_the_node_told(world: World, content: Content) -> None:
    """Every kind of notice comes back as it was, at the size of a rung."""
    data = sealed(world, notice(content))
    assert len(data) - OVERHEAD in RUNGS
    assert opened(world, data) == notice(content)


@pytest.mark.parametrize("count", [0, 1, 20])
def test_a_notice_of_no_hit_looks_like_one_of_some(world: World, count: int) -> None:
    """The file says neither how many hits a query had nor whether it had one."""
    data = sealed(world, notice(Hits(asked=asked(), hits=tuple(map(hit, range(count))))))
    assert len(data) == RUNGS[0] + OVERHEAD


def test_what_an_owner_sends_takes_the_middle_size(world: World) -> None:
    """A node carries one for each manifest: at the largest size they would fill its disk."""
    content = Delivered(owner="p" * 32, manifest=MANIFEST, sealed=a_list(world, MAX_DECOYS))
    assert len(sealed(world, notice(content))) == RUNGS[1] + OVERHEAD


def test_the_largest_notices_fit(world: World) -> None:
    """As many hits, each in a snapshot of its own, and as many follow-ups as one may hold."""
    hits = tuple(
        replace(hit(n), manifest=n.to_bytes(32, "big"), owner="p" * 32) for n in range(MAX_HITS)
    )
    ups = tuple(FollowUp(asked=asked(n), decoys=(bytes(8),) * 64) for n in range(MAX_FOLLOW_UPS))
    for content in (Hits(asked=asked(), hits=hits), FollowUps(found=ups)):
        data = sealed(world, notice(content))
        assert len(data) <= MAX_NOTICE
        assert opened(world, data).content == content


def test_nobody_else_opens_a_notice(world: World) -> None:
    """Neither the node that wrote it with its own sealing key, nor another partner's oversight."""
    data = sealed(world, notice(Hits(asked=asked(), hits=(hit(1),))))
    signers = [world.directory.partner(READER).signing_key]
    for key in (world.sealing_key(READER), seed_of(world.opened.layout, OWNER)):
        with pytest.raises(Forged):
            open_notice(data, partner_id=READER, keys=[key], signers=signers)
    with pytest.raises(Forged):
        opened(world, data, reader=OWNER)


def test_a_notice_of_another_signer_is_forged(world: World) -> None:
    """An attack: anybody can seal to a public key; only the node's signature makes it a notice."""
    data = sealed(world, notice(Hits(asked=asked(), hits=())), signer=OWNER)
    with pytest.raises(Forged) as caught:
        opened(world, data)
    assert caught.value.code == "SIGNATURE"


@settings(max_examples=60, deadline=None)
@given(body=st.binary(max_size=300) | st.sampled_from([
    b"{}", b"[]", b"null", b'{"kind":"hits"}', b'{"kind":[],"series":"","number":1,"at":1}',
    b'{"kind":"follow-ups","series":"' + b"00" * 16 + b'","number":true,"at":1,"follow-ups":{}}',
]))  # fmt: skip
def test_whatever_a_node_signs_is_a_notice_or_refused(world: World, body: bytes) -> None:
    """A node that was taken over cannot make its oversight fall over."""
    framed = signing.sign(world.signing_key(READER), "oversight-notice", body) + body
    partner = world.directory.partner(READER)
    info = b"fairlead/v1/oversight-notice\x00" + READER.encode()
    data = sealing.seal(sealing.pad(framed, RUNGS[0]), partner.oversight_key, info=info)
    with pytest.raises(Forged):
        opened(world, data)


# ── Lists of decoys ──────────────────────────────────────────────────────────────────────────


def a_list(world: World, count: int, signer: str = OWNER) -> bytes:
    refs = frozenset(n.to_bytes(16, "big") for n in range(count))
    return seal_decoys(
        DecoyList(refs=refs, until=99), owner=OWNER, manifest=MANIFEST,
        reader=world.directory.partner(READER), key=world.signing_key(signer),
    )  # fmt: skip


def read_list(world: World, data: bytes, **changes: object) -> DecoyList:
    settings = {
        "owner": OWNER, "manifest": MANIFEST, "reader": READER,
        "keys": [seed_of(world.opened.layout, READER)],
        "signers": [world.directory.partner(OWNER).signing_key],
    }  # fmt: skip
    return open_decoys(data, **{**settings, **changes})  # type: ignore[arg-type]


def test_nobody_can_tell_who_has_decoys(world: World) -> None:
    """The list of no decoy is as long as that of a thousand, and both are read."""
    sizes = set()
    for count in (0, 1, MAX_DECOYS):
        data = a_list(world, count)
        sizes.add(len(data))
        found = read_list(world, data)
        assert (len(found.refs), found.until) == (count, 99)
    assert len(sizes) == 1
    with pytest.raises(InvalidInput):
        a_list(world, MAX_DECOYS + 1)


def test_a_list_speaks_for_one_owner_manifest_and_reader(world: World) -> None:
    """Attacks: the list of another manifest, of another owner, for another reader, signed by
    somebody else, or opened by the reader's own node."""
    data = a_list(world, 3)
    for changes in (
        {"manifest": b"o" * 32}, {"owner": "police"}, {"reader": "police"},
        {"keys": [world.sealing_key(READER)]}, {"signers": []},
    ):  # fmt: skip
        with pytest.raises(Forged):
            read_list(world, data, **changes)
    with pytest.raises(Forged) as caught:
        read_list(world, a_list(world, 3, signer=READER))
    assert caught.value.code == "SIGNATURE"


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 20_000), change=st.integers(1, 255))
def test_a_changed_list_is_refused(world: World, place: int, change: int) -> None:
    """Any octet of the sealed list matters."""
    data = bytearray(a_list(world, 3))
    data[place % len(data)] ^= change
    with pytest.raises(FairleadError):
        read_list(world, bytes(data))

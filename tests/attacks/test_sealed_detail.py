"""Attack: somebody reads the sealed detail who may not, or seals what was not asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import grpc
import pytest

from fairlead import sealing, shamir, signing
from fairlead.appointed import Appointed
from fairlead.cli.output import Exit
from fairlead.detail import Bound, SealedDetail, SharesWrong, open_detail, open_share, seal_detail
from fairlead.errors import FairleadError, Forged, InvalidInput, Refused
from fairlead.opening.filtering import Given, read_shares, sift
from fairlead.opening.matches import take_matches
from fairlead.opening.request import SUBJECT_SIZE, Subject, subject_info, verify_request
from fairlead.opening.share import own_shares, release, shares_info, take
from fairlead.opening.sought import in_log, sought
from fairlead.partners import Directory
from fairlead.server import REASON_KEY
from fairlead.v1 import audit_pb2, opening_pb2, query_pb2
from node import sealer
from tests.attacks.crafted import OTHER_OWNER, OWNER, Crafted, craft, node_key
from tests.attacks.evil import EvilNode, intents
from tests.attacks.test_terms_in_gateway_files import spellings
from tests.desks import PARTNERS, WHY, Desks, asked_twice, leaves_of
from tests.details import some_detail
from tests.federation import STORY, Federation, federation
from tests.openings import (
    AUDITOR,
    Asked,
    Logged,
    auditors_world,
    owners_leaf,
    owners_receipt,
    resigned,
)
from tests.oversights import seed_of
from tests.walks import ASKER, NOW, TERM, World

ONE, TWO, THREE = "customs", "oceanic-line", "police"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return auditors_world(tmp_path_factory.mktemp("sealed"))


# ── Reading ──────────────────────────────────────────────────────────────────────────────────


def keys_below(folder: Path, *, spare: str = "") -> list[sealing.SealingKey]:
    """Every sealing key in a folder, and every 96 octets of any private file taken for one."""
    found = []
    for path in folder.rglob("*"):
        if not path.is_file() or (spare and spare in path.parts):
            continue
        data = path.read_bytes()
        if path.suffix in {".seed", ".key", ".secret"} and len(data) >= sealing.SEED_SIZE:
            found.append(sealing.SealingKey(data[: sealing.SEED_SIZE]))
    return found


async def test_the_gateways_operator_reads_no_term_with_all_its_keys_and_files(
    tmp_path: Path,
) -> None:
    """Details lie in its log; neither its keys nor any node's open a share, and no octets of the
    log spell a term."""
    async with federation(tmp_path, partners=PARTNERS) as made:
        await made.open_case()
        await made.ask(STORY)
        await made.close()
        log = tmp_path / "state" / "gateway" / "audit.sqlite"
        ((item, detail),) = in_log(log, until=2**40)
        leaf = audit_pb2.AuditLeaf.FromString(item.receipt.leaf)
        assert signing.digest(detail) == leaf.detail_digest
        bound = Bound(query_id=leaf.query_id, maker=leaf.partner_id)
        keys = keys_below(made.layout.root, spare="oversight")
        assert len(keys) > len(PARTNERS)
        sealed = SealedDetail.parse(detail)
        for share in sealed.shares:
            with pytest.raises(Forged):
                open_share(keys, bound, share)
        files = b"".join(p.read_bytes() for p in log.parent.rglob("*") if p.is_file())
        assert not [form for form in spellings(STORY) if form in files]
        # The control: the committee's own keys do open it.
        shares = {
            share.partner_id: open_share([seed_of(made.layout, share.partner_id)], bound, share)
            for share in sealed.shares
        }
        opened = open_detail(sealed, bound, shares)
        assert STORY.encode() in opened.content


def test_fewer_members_than_the_threshold_read_nothing(world: World) -> None:
    """Each member alone, with everything that lies in any log and any share it may invent."""
    walk = world.walk(TERM)
    bound = Bound(query_id=walk.query_id, maker=ASKER)
    detail = SealedDetail.parse(walk.detail)
    layout = world.opened.layout
    for share in detail.shares:
        own = open_share([seed_of(layout, share.partner_id)], bound, share)
        for other in detail.shares:
            if other is share:
                continue
            with pytest.raises(Forged):
                open_share([seed_of(layout, share.partner_id)], bound, other)
            index = 1 + detail.shares.index(other)
            for invented in (bytes(32), own[1:], signing.digest(own), other.commitment):
                lie = bytes([index]) + invented
                with pytest.raises(SharesWrong):
                    open_detail(detail, bound, {share.partner_id: own, other.partner_id: lie})
        with pytest.raises(SharesWrong):
            open_detail(detail, bound, {share.partner_id: own})
        # One share fits a key of any value: it says nothing of this one.
        held = shamir.Share.from_bytes(own)
        beside = 1 + held.index % 3
        guesses = {
            shamir.combine([held, shamir.Share(index=beside, value=bytes([v]) * 32)])[0]
            for v in range(256)
        }
        assert len(guesses) == 256


def test_no_partners_node_opens_what_lies_in_its_own_log(world: World) -> None:
    """An owner's administrators hold its node's keys, its asker's detail's digest, and no share."""
    leaf, detail = owners_leaf(world.walk(TERM))
    bound = Bound(query_id=audit_pb2.AuditLeaf.FromString(leaf).query_id, maker=OWNER)
    sealed = SealedDetail.parse(detail)
    assert OWNER not in {share.partner_id for share in sealed.shares}
    keys = [world.sealing_key(OWNER), seed_of(world.opened.layout, OWNER)]
    for share in sealed.shares:
        with pytest.raises(Forged):
            open_share(keys, bound, share)


# ── A bought auditor, or a bought member ─────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def two(world: World) -> Asked:
    """A request for two leaves of different queries."""
    walks = world.walk(TERM), world.walk(("vessel-imo", "9074729"))
    return Logged.at_gateway(*walks).search(SUBJECT)


SUBJECT = Subject(scheme=TERM[0], value=TERM[1])


def test_shares_of_another_query_are_not_released_under_a_harmless_leaf(two: Asked) -> None:
    """An auditor shows members one leaf and gives them the shares of another: nothing opens."""

    def swap(request: opening_pb2.OpeningRequest) -> None:
        first, second = request.sought
        one, other = list(first.shares), list(second.shares)
        del first.shares[:], second.shares[:]
        first.shares.extend(other)
        second.shares.extend(one)

    request = verify_request(resigned(two, swap), directories=[two.world.directory], now=NOW)
    released = own_shares(request, two.oversight(ONE))
    assert [item.share for item in released] == [b"", b""]
    assert all(item.spoilt for item in released)


def released_to(answer: bytes, key: sealing.SealingKey) -> opening_pb2.ReleasedShares:
    """What a file of shares holds, if this key opens it."""
    return opening_pb2.ReleasedShares.FromString(_content(answer, key))


def _content(answer: bytes, key: sealing.SealingKey) -> bytes:
    wire = opening_pb2.OpeningShares.FromString(answer)
    info = b"fairlead/v1/opening-shares\x00" + wire.request_digest + wire.partner_id.encode()
    return key.open(wire.sealed, info=info)


def test_an_owners_share_is_not_taken_for_the_askers_of_the_same_query(world: World) -> None:
    """Both are of one query: whose detail it is, is bound into every share."""
    walk = world.walk(TERM)
    leaf, detail = owners_leaf(walk)
    owners = Logged(world=world).with_receipts([owners_receipt(world, leaf)], [detail])
    askers = Logged.at_gateway(walk)
    (mine, _), (theirs, _) = askers.found[0], owners.found[0]
    asked = askers.ask()

    def swap(request: opening_pb2.OpeningRequest) -> None:
        del request.sought[0].shares[:]
        request.sought[0].shares.extend(theirs.shares)

    assert list(mine.shares) != list(theirs.shares)
    request = verify_request(resigned(asked, swap), directories=[world.directory], now=NOW)
    answer = release(request, by=asked.oversight(ONE), leaf=b"")
    released = released_to(answer, sealing.SealingKey(asked.kept.seed))
    assert [(item.share, item.spoilt) for item in released.shares] == [(b"", True)]


def test_a_leaf_that_no_log_holds_is_notreleased_to(two: Asked) -> None:
    """An auditor cannot show a leaf with another purpose, time or asker than was logged."""

    def alter(request: opening_pb2.OpeningRequest) -> None:
        leaf = audit_pb2.AuditLeaf.FromString(request.sought[0].receipt.leaf)
        leaf.purpose = "theft"
        request.sought[0].receipt.leaf = signing.canonical(leaf)

    with pytest.raises(FairleadError):
        verify_request(resigned(two, alter), directories=[two.world.directory], now=NOW)


def test_shares_are_of_use_to_nobody_but_the_auditor_who_asked(world: World) -> None:
    """Other members, the auditor's own other request, and whoever carries the file read nothing."""
    logged = Logged.at_gateway(world.walk(TERM))
    asked, other = logged.ask(), logged.ask()
    answer = asked.file(ONE)
    with pytest.raises(Forged):
        take(answer, other.request, other.kept)
    for member in asked.committee:
        with pytest.raises(Forged):
            released_to(answer, seed_of(world.opened.layout, member))


def test_the_shares_of_a_search_are_of_use_to_the_oversight_that_filters_alone(two: Asked) -> None:
    """The auditor opens no member's file, nor does another member; a file for another search is not
    taken."""
    answer, searcher = two.file(TWO), two.request.searcher
    assert searcher == ONE
    with pytest.raises(Forged):
        take(answer, two.request, two.kept)
    readers = [seed_of(two.world.opened.layout, member) for member in (TWO, THREE)]
    for reader in [*readers, sealing.SealingKey(two.kept.seed)]:
        with pytest.raises(Forged):
            released_to(answer, reader)
    assert released_to(answer, seed_of(two.world.opened.layout, searcher)).shares  # the control
    again = Logged(world=two.world, found=[(i.wire, b"") for i in two.request.sought])
    other = again.search(SUBJECT)
    with pytest.raises(Forged):
        read_shares(answer, other.request, other.oversight(searcher))
    with pytest.raises(Refused):
        two.file(searcher)


def test_a_search_opens_no_leaf_that_is_not_about_its_subject(two: Asked) -> None:
    """The auditor gets the shares of one leaf; of the other not one, and no word."""
    filtered = two.filtered(TWO)
    matches = take_matches(filtered.octets, two.request, two.kept)
    assert (matches.places, matches.doubts) == ((0,), ())
    assert [bool(one.shares[0]) for one in matches.released] == [True, True]
    assert {one.shares[1] for one in matches.released} == {b""}
    assert {one.signatures[1] for one in matches.released} == {b""}
    content = _content(filtered.octets, sealing.SealingKey(two.kept.seed))
    spelt = opening_pb2.SearchFound.FromString(content)
    assert [item.place for item in spelt.found] == [0]
    for share in own_shares(two.request, two.oversight(ONE))[1:]:
        assert share.share not in content
    # Who knows no subject learns of a leaf alone in its period that it is not about a wrong one.
    for subject, places in ((SUBJECT, (0,)), (Subject(scheme=TERM[0], value="MSCU1234566"), ())):
        alone = Logged(world=two.world, found=[(two.request.sought[0].wire, two.kept.details[0])])
        assert alone.search(subject).matches(TWO).places == places


def test_a_search_for_one_is_not_filtered_for_another(two: Asked) -> None:
    """The subject sealed to the oversight is the one that members were shown a commitment to; and
    the auditor's own oversight filters nothing while another can."""
    directory = two.world.directory
    subject = opening_pb2.SearchSubject(scheme=TERM[0], value="MSCU1234566", nonce=bytes(32))

    def swapped(request: opening_pb2.OpeningRequest) -> None:
        framed = sealing.pad(signing.canonical(subject), SUBJECT_SIZE)
        key, info = directory.partner(ONE).oversight_key, subject_info(request.request_id, ONE)
        request.sealed_subject = sealing.seal(framed, key, info=info)

    request = replace(two, signed=resigned(two, swapped)).request
    given = Given(details=two.kept.details, files=())
    with pytest.raises(Forged) as refused:
        sift(request, by=two.oversight(ONE), given=given, directories=[directory], leaf=b"")
    assert refused.value.code == "OPENING_SUBJECT"
    for searcher in (AUDITOR[0], OWNER, ""):
        signed = resigned(two, lambda r, who=searcher: setattr(r, "searcher", who))
        with pytest.raises(InvalidInput):
            verify_request(signed, directories=[directory], now=NOW)


def test_a_detail_that_hides_from_a_search_is_said(world: World) -> None:
    """An asker seals other terms than it asked, or spoils a share: the leaf does not come out, and
    the auditor is told which and whose doing it is."""

    def hide(detail: opening_pb2.AskedDetail) -> None:
        detail.terms[0].value = "MSCU1234566"

    asked = Logged.at_gateway(world.walk(TERM, change=hide), world.walk(TERM)).search(SUBJECT)
    matches = asked.matches(TWO)
    assert matches.places == (1,)
    assert [(d.place, d.reason, d.partner_id) for d in matches.doubts] == [
        (0, "DETAIL_MISMATCH", ASKER)
    ]
    assert [(d.place, d.reason) for d in asked.matches().doubts] == [
        (0, "SHARES_TOO_FEW"), (1, "SHARES_TOO_FEW"),
    ]  # fmt: skip


def test_an_auditor_cannot_make_up_what_a_member_released(world: World) -> None:
    """It knows the challenge's secret, and could seal and prove a file of its own; what it cannot
    is sign a share with the key of the member's log."""
    asked = Logged.at_gateway(world.walk(TERM)).ask()
    wire = opening_pb2.OpeningShares.FromString(asked.file(ONE))
    content = released_to(asked.file(ONE), sealing.SealingKey(asked.kept.seed))
    content.shares[0].share = b"\x01" + bytes(32)
    info = shares_info(asked.request, ONE)
    wire.sealed = sealing.seal(signing.canonical(content), asked.request.answer_key, info=info)
    wire.ClearField("proof")
    secret = dict(zip(asked.committee, asked.kept.secrets, strict=True))[ONE]
    wire.proof = signing.commit(secret, signing.canonical(wire))
    with pytest.raises(Forged) as refused:
        take(signing.canonical(wire), asked.request, asked.kept)
    assert refused.value.code == "SHARE_FORGED"


def test_the_oversight_that_filters_cannot_make_up_what_a_member_released(two: Asked) -> None:
    """It passes a member's share on, and the member's signature with it."""
    octets = two.filtered(TWO).octets
    wire = opening_pb2.OpeningShares.FromString(octets)
    auditor = sealing.SealingKey(two.kept.seed)
    found = opening_pb2.SearchFound.FromString(_content(octets, auditor))
    (theirs,) = [s for s in found.found[0].shares if s.partner_id == TWO]
    theirs.released.share = b"\x02" + bytes(32)
    info = shares_info(two.request, ONE)
    wire.sealed = sealing.seal(signing.canonical(found), two.request.answer_key, info=info)
    wire.ClearField("proof")
    secret = dict(zip(two.committee, two.kept.secrets, strict=True))[ONE]
    wire.proof = signing.commit(secret, signing.canonical(wire))
    with pytest.raises(Forged) as refused:
        take_matches(signing.canonical(wire), two.request, two.kept)
    assert refused.value.code == "SHARE_FORGED"


def test_altered_ciphertexts_and_shares_are_refused(world: World) -> None:
    """One octet anywhere in a detail: its leaf does not name it, and nobody is asked."""
    walk = world.walk(TERM)
    logged = Logged.at_gateway(walk)
    (item, detail) = logged.found[0]
    for place in range(0, len(detail), 97):
        altered = bytearray(detail)
        altered[place] ^= 1
        with pytest.raises(Forged):
            sought(item.receipt, bytes(altered))


def test_a_member_that_lies_in_a_search_is_named_leaf_by_leaf(two: Asked) -> None:
    """Its other shares may be right; the others suffice for those that are not."""
    for place in range(2):
        opened = two.open(*two.committee, place=place, lies={THREE: b"\x03" + bytes(32)})
        assert opened.liars == (THREE,)
        assert opened.faults == ()
    for pair in combinations(two.committee, 2):
        assert two.open(*pair).faults == ()


# ── An asker that seals what it did not ask ──────────────────────────────────────────────────


def lying(change: Callable[[opening_pb2.AskedDetail], object]) -> Callable[..., bytes]:
    """An asker's node whose sealed details say something else than it asks."""

    def sealed(directory: Directory, bound: Bound, content: bytes, **settings: object) -> bytes:
        wire = opening_pb2.AskedDetail.FromString(content)
        change(wire)
        return seal_detail(directory, bound, signing.canonical(wire), **settings)  # type: ignore[arg-type]

    return sealed


async def test_an_asker_whose_detail_lies_is_answered_and_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can see it while it asks; an opening shows it, with an ALARM and an exit code."""
    change = lying(lambda wire: setattr(wire.terms[0], "value", "MSCU1234566"))
    monkeypatch.setattr(sealer, "seal_detail", change)
    desks = await asked_twice(tmp_path)
    ended = await asyncio.to_thread(_opened, desks, tmp_path / "to")
    assert ended == (Exit.CHECK_FAILED, "TERMS_ROOT", "PART_REMADE")


def _opened(desks: Desks, to: Path) -> tuple[int, str, str]:
    log = ("--log", str(desks.gateway_log))
    desks.audit("open", desks.query, *log, *WHY, "--to", str(to))
    request = to / "request.opening"
    options = desks.shares(request, "customs", "police")
    ended = desks.audit("open", str(request), *options, "--output", "json")
    results = {part["part"]: part["result"] for part in ended.json["parts"]}
    folder = desks.made.folder / "profiles" / AUDITOR[1] / "openings"
    alarms = leaves_of(folder / "audit.sqlite", audit_pb2.LEAF_TYPE_ALARM)
    assert [(a.partner_id, list(a.reasons)) for a in alarms] == [("customs", ["DETAIL_MISMATCH"])]
    assert "INCIDENT" in ended.err
    return ended.code, results["terms"], results[f"part/{OWNER}"]


Detail = Callable[[Federation, bytes], bytes]


def _among_friends(made: Federation, query_id: bytes) -> bytes:
    friends = Appointed(committee=(ASKER, OWNER), threshold=2)
    return some_detail(replace(made.directory, appointed=friends), ASKER, query_id)


def _to_itself(made: Federation, query_id: bytes) -> bytes:
    return some_detail(replace(made.directory, appointed=Appointed()), ASKER, query_id)


def _huge(made: Federation, query_id: bytes) -> bytes:
    bound = Bound(query_id=query_id, maker=ASKER)
    return seal_detail(made.directory, bound, bytes(200 * 1024))


OFFERED: dict[str, tuple[Detail, str]] = {
    "shared among others than the directory appoints": (_among_friends, "DETAIL_READERS"),
    "sealed to the asker's own oversight": (_to_itself, "DETAIL_READERS"),
    "larger than any honest one": (_huge, "TOO_LARGE"),
    "none": (lambda _made, _query: b"", "DETAIL_SHAPE"),
    "noise": (lambda _made, _query: b"\xff" * 99, "MALFORMED"),
}


async def test_the_gateway_takes_no_detail_that_the_committee_could_not_open(
    tmp_path: Path,
) -> None:
    """Of other readers, sizes or shapes, or another one than the header names: refused, and nobody
    is asked; a header that names none is refused by everybody."""
    async with (
        federation(tmp_path, partners=("customs", OWNER, OTHER_OWNER)) as made,
        EvilNode(made) as node,
    ):
        told = {name: await said(node, detailed(made, of)) for name, (of, _) in OFFERED.items()}
        assert told == {name: reason for name, (_, reason) in OFFERED.items()}
        crafted = craft(made)
        for other in (b"", some_detail(made.directory, ASKER, crafted.query_id)):
            assert await said(node, replace(crafted, detail=other)) == "DETAIL_DIGEST"
        assert await said(node, resealed(made, crafted, b"")) == "DIGESTS"
        assert intents(made.nodes[OWNER].log) == 0
        assert len(await node.ask(crafted)) > 2  # the control: as it was made, it is answered


async def said(node: EvilNode, crafted: Crafted) -> str:
    """The code by which the gateway refuses a query."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await node.ask(crafted)
    reasons = [str(v) for k, v in caught.value.trailing_metadata() or () if k == REASON_KEY]
    return reasons[0]


def detailed(made: Federation, of: Detail) -> Crafted:
    """A query that honestly names a detail of this kind."""
    crafted = craft(made)
    detail = of(made, crafted.query_id)
    return replace(resealed(made, crafted, signing.digest(detail)), detail=detail)


def resealed(made: Federation, crafted: Crafted, digest: bytes) -> Crafted:
    """The same query, signed anew, naming another detail."""
    signed = query_pb2.SignedQuery()
    signed.CopyFrom(crafted.signed)
    header = query_pb2.QueryHeader.FromString(signed.header)
    header.detail_digest = digest
    signed.header = signing.canonical(header)
    signed.session_signature = signing.sign(crafted.session, "header", signed.header)
    statement = query_pb2.NodeStatement.FromString(signed.statement)
    statement.header_digest = signing.digest(signed.header)
    signed.statement = signing.canonical(statement)
    key = node_key(made, ASKER)
    signed.statement_signature = signing.sign(key, "statement", signed.statement)
    return replace(crafted, signed=signed)

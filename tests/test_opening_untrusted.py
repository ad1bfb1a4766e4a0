"""What an opening or a search takes on nobody's word: heads, shares of strangers, spoilt shares."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import receipts, sealing, signing
from fairlead.appointed import Appointed
from fairlead.cosigning import cosign, with_lines, witness_name
from fairlead.detail import Bound, seal_detail
from fairlead.envelope.blinded import BlindedTerms, open_blind_part
from fairlead.envelope.owned import owned_detail
from fairlead.envelope.query import ANY
from fairlead.envelope.question import Question
from fairlead.errors import FairleadError, Refused
from fairlead.leaves import LeafWriter
from fairlead.opening.filtering import Filtered
from fairlead.opening.matches import Matches, take_matches
from fairlead.opening.opened import open_leaf
from fairlead.opening.request import Request, Subject, verify_request
from fairlead.opening.share import Released, shares_info
from fairlead.v1 import opening_pb2 as pb
from fairlead.v1 import query_pb2
from tests.openings import Asked, Logged, auditors_world, blind_walk, owners_receipt
from tests.walks import ASKER, NOW, OWNER, TERM, World

ONE, TWO, THREE = "customs", "oceanic-line", "police"
SUBJECT = Subject(scheme=TERM[0], value=TERM[1])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return auditors_world(tmp_path_factory.mktemp("untrusted"))


# ── Whose head proves a leaf ─────────────────────────────────────────────────────────────────


def cosigned(world: World, logged: Logged) -> None:
    """Have every witness of the directory cosign the head that proves the leaf."""
    (item, _) = logged.found[0]
    proof = receipts.parse_proof(item.receipt.tlog_proof)
    names = {p: witness_name("fairlead.demo", p) for p in world.directory.partners}
    keys = {p: world.opened.layout.node(p) / "witness.key" for p in names}
    lines = [
        cosign(proof.checkpoint, names[p], signing.load_signing_key(keys[p]), NOW) for p in names
    ]
    note = with_lines(proof.checkpoint, lines)
    made = receipts.make_receipt(leaf=item.receipt.leaf, index=0, inclusion=(), checkpoint=note)
    item.receipt.CopyFrom(made)


def test_a_head_that_replaced_witness_keys_cosigned_is_unwitnessed(world: World) -> None:
    """Whoever has the keys of a former directory's witnesses vouches for nothing any more."""
    logged = Logged.at_gateway(world.walk(TERM))
    cosigned(world, logged)
    now = world.directory
    rekeyed = {
        p: replace(partner, witness_key=signing.public_bytes(Ed25519PrivateKey.generate()))
        for p, partner in now.partners.items()
    }
    later = replace(now, serial=now.serial + 1, partners=rekeyed)
    signed = logged.ask().signed
    before = verify_request(signed, directories=[now], now=NOW)
    after = verify_request(signed, directories=[later, now], now=NOW)
    assert (before.unwitnessed, before.sought[0].witnessed) == (False, True)  # the control
    assert (after.unwitnessed, after.sought[0].witnessed) == (True, False)


# ── Strangers' shares, and members' words ────────────────────────────────────────────────────


def made_up(
    request: Request, partner: str, *, share: bytes = b"", spoilt: bool = False
) -> Released:
    """What somebody says that a partner released: of every leaf the same."""
    item = pb.ReleasedShare(share=share, spoilt=spoilt, signature=bytes(64))
    return Released.of(partner, [item] * len(request.sought), b"leaf")


def test_a_strangers_share_is_not_counted(world: World) -> None:
    """With one member's and one of nobody's the truth is that there are too few, and the maker is
    not accused of an uneven detail."""
    asked = Logged.at_gateway(world.walk(TERM)).ask()
    request = asked.request
    released = [*asked.answers(ONE), made_up(request, OWNER, share=b"\x02" + bytes(32))]
    with pytest.raises(Refused) as refused:
        open_leaf(0, request.sought[0], asked.kept.details[0], released, [world.directory])
    assert refused.value.reasons == ("SHARES_TOO_FEW",)


def claiming(asked: Asked, member: str, *, share: bytes = b"") -> bytes:
    """A file in which a member says of every leaf that this is its share; without one, that its
    share was spoilt."""
    request, by = asked.request, asked.oversight(member)
    wire = pb.OpeningShares.FromString(asked.file(member))
    shares = []
    for place, _ in enumerate(request.sought):
        bound = request.digest + place.to_bytes(4, "big") + member.encode()
        said = signing.sign(
            by.log_key, "opening-share", bound + (b"\x00\x00" + share if share else b"\x00\x01")
        )
        shares.append(pb.ReleasedShare(share=share, spoilt=not share, signature=said))
    content = signing.canonical(pb.ReleasedShares(leaf=b"leaf", shares=shares))
    wire.sealed = sealing.seal(content, request.reader, info=shares_info(request, member))
    return signing.canonical(wire)


def test_what_a_member_only_says_is_spoilt_is_its_word_and_no_incident(world: World) -> None:
    """Each leaf is a doubt with the member's name and its file's digest; its maker is blamed for
    nothing, whether the others' shares suffice or not."""
    walks = world.walk(("vessel-imo", "9074729")), world.walk(TERM)
    asked = Logged.at_gateway(*walks).search(SUBJECT)
    file = claiming(asked, TWO)
    word = ("SPOILT_SAID", TWO, signing.digest(file))
    for files, places, more in (
        ([file, asked.file(THREE)], (1,), []),
        ([file], (), [("SHARES_TOO_FEW", "", b"")]),
    ):
        filtered = asked.filtered(files=files)
        told = [(d.reason, d.partner_id, d.digest) for d in filtered.doubts if d.place == 0]
        assert (told, {d.blamed for d in filtered.doubts}) == ([*more, word], {""})
        assert content(asked, filtered).found == [] or places == (1,)


def test_whoever_holds_no_share_of_a_leaf_says_nothing_of_it_in_a_search(world: World) -> None:
    """A member of another committee, whose leaf is in the same search, gives a share of this one,
    or says that it was spoilt: neither is counted, told or passed on."""
    former = replace(world.directory, appointed=Appointed(committee=(THREE, OWNER), threshold=2))
    theirs = world.walk(("vessel-imo", "9074729"))
    bound = Bound(query_id=theirs.query_id, maker=ASKER)
    theirs.detail = seal_detail(former, bound, b"content")

    def named(header: query_pb2.QueryHeader) -> None:
        header.detail_digest = signing.digest(theirs.detail)

    asked = Logged.at_gateway(world.walk(TERM), theirs.resigned(header=named)).search(SUBJECT)
    for file in (claiming(asked, OWNER), claiming(asked, OWNER, share=b"\x02" + bytes(32))):
        told = asked.filtered(files=[file]).doubts
        assert [(d.reason, d.partner_id) for d in told if d.place == 0] == [("SHARES_TOO_FEW", "")]
        (found,) = content(asked, asked.filtered(files=[file, asked.file(TWO)])).found
        assert [share.partner_id for share in found.shares] == [ONE, TWO]


def content(asked: Asked, filtered: Filtered) -> pb.SearchFound:
    """What the oversight that filtered let out, as the auditor's key opens it."""
    wire = pb.OpeningShares.FromString(filtered.octets)
    info = shares_info(asked.request, wire.partner_id)
    return pb.SearchFound.FromString(
        sealing.SealingKey(asked.kept.seed).open(wire.sealed, info=info)
    )


def test_who_lied_about_a_leaf_that_came_out_is_on_the_filters_record(world: World) -> None:
    """The oversight has to raise an alarm for it; the auditor, who opens the leaf anew, is told no
    doubt of it."""

    def hide(detail: pb.AskedDetail) -> None:
        detail.case_id = "CASE-2"

    walks = world.walk(TERM, change=hide), world.walk(("vessel-imo", "9074729"), change=hide)
    asked = Logged.at_gateway(*walks).search(SUBJECT)
    filtered = asked.filtered(TWO)
    assert [(d.place, d.reason, d.blamed) for d in filtered.doubts] == [
        (place, "DETAIL_MISMATCH", ASKER) for place in range(2)
    ]
    found = content(asked, filtered)
    assert [item.place for item in found.found] == [0]
    assert [item.place for item in found.doubted] == [1]


# ── A log without terms ──────────────────────────────────────────────────────────────────────


def blind_owners(world: World) -> Logged:
    """An owner's log with a query that it was asked blind."""
    walk = blind_walk(world, TERM)
    query = walk.verify()
    blinded: tuple[BlindedTerms, ...] = open_blind_part(
        walk.parts[OWNER], query, owner=OWNER, key=world.sealing_key(OWNER),
        directory=world.directory,
    )  # fmt: skip
    question = Question(terms=(), scope=ANY)
    said, slack = owned_detail(walk.signed, question, blinded, notice_delay_s=0)
    detail = seal_detail(
        world.directory, Bound(query_id=query.query_id, maker=OWNER), said, slack=slack
    )
    writer = LeafWriter(log=f"partner/{OWNER}", clock=lambda: NOW)
    leaf, _ = writer.intent(
        query, rules=(), policy_serial=1, commits_to=b"", detail_digest=signing.digest(detail)
    )
    return Logged(world=world).with_receipts([owners_receipt(world, leaf)], [detail])


def test_a_search_counts_leaves_that_hold_no_terms(world: World) -> None:
    """Of an owner's log that was asked blind it is not the answer that nobody asked."""
    matches: Matches = blind_owners(world).search(SUBJECT).matches(TWO)
    assert (matches.places, matches.doubts, matches.without_terms) == ((), (), 1)
    sealed: Matches = Logged.at_gateway(world.walk(TERM)).search(SUBJECT).matches(TWO)
    assert sealed.without_terms == 0  # the control


def test_more_leaves_without_terms_than_there_are_is_forged(world: World) -> None:
    """The oversight that filters cannot say any number to the auditor."""
    asked = blind_owners(world).search(SUBJECT)
    filtered = asked.filtered(TWO)
    found = content(asked, filtered)
    found.without_terms = 2
    wire = pb.OpeningShares.FromString(filtered.octets)
    info = shares_info(asked.request, wire.partner_id)
    wire.sealed = sealing.seal(signing.canonical(found), asked.request.answer_key, info=info)
    wire.ClearField("proof")
    secret = dict(zip(asked.committee, asked.kept.secrets, strict=True))[wire.partner_id]
    wire.proof = signing.commit(secret, signing.canonical(wire))
    with pytest.raises(FairleadError):
        take_matches(signing.canonical(wire), asked.request, asked.kept)

"""Opening sealed detail: a request, shares of a committee, and every signed part made again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead import signing
from fairlead.appointed import Appointed
from fairlead.auditlog import verify_log
from fairlead.detail import Bound, SealedDetail, open_detail, open_share, seal_detail
from fairlead.envelope.asked import AskedParts, CaseWords, asked_detail
from fairlead.envelope.elements import Place, blind_for
from fairlead.envelope.query import Scope
from fairlead.errors import FairleadError, Forged, InvalidInput, Refused, Stale
from fairlead.opening.filtering import read_details, read_shares
from fairlead.opening.matches import take_matches
from fairlead.opening.opened import open_leaf
from fairlead.opening.record import ASKED, OPENED, record
from fairlead.opening.request import LIFETIME_S, Request, Subject, verify_request
from fairlead.opening.share import Kept, Oversight, take
from fairlead.opening.sought import bound_of, sought
from fairlead.v1 import audit_pb2, query_pb2
from fairlead.v1 import opening_pb2 as pb
from tests.hostile import edits
from tests.openings import (
    AUDIENCE,
    GROUND,
    REFERENCE,
    SEED,
    Asked,
    Change,
    Logged,
    auditor,
    auditors_world,
    blind_walk,
    owners_leaf,
    owners_receipt,
    resigned,
)
from tests.oversights import seed_of
from tests.walks import ASKER, CASE, NOW, OTHER_OWNER, OWNER, TERM, World

ONE, TWO = "customs", "oceanic-line"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return auditors_world(tmp_path_factory.mktemp("opening"))


@pytest.fixture(scope="module")
def asked(world: World) -> Asked:
    """One sealed query in the gateway's log, and a request for it."""
    scope = Scope(since=int(NOW) - 100, until=int(NOW), events=("gate-in",), tlp=3, pap=2)
    walk = world.walk(TERM, ("vessel-imo", "9074729"), asked=(OWNER, OTHER_OWNER), scope=scope)
    return Logged.at_gateway(walk).ask()


# ── Opening ──────────────────────────────────────────────────────────────────────────────────


def test_an_opened_query_is_made_again_part_by_part(asked: Asked) -> None:
    """Two of three members suffice; terms and case come out, and every signed part follows."""
    opened = asked.open(ONE, TWO)
    assert opened.terms == [TERM, ("vessel-imo", "9074729")]
    assert opened.asked is not None
    assert opened.asked.case_id == CASE
    assert [part.part for part in opened.remade] == [
        "mandate", "header", "user", "terms", "case", "statement", "partners",
        f"part/{OTHER_OWNER}", f"part/{OWNER}", "unasked",
    ]  # fmt: skip
    assert (opened.faults, opened.liars, opened.spoilt) == ((), (), ())


def test_a_blind_querys_elements_are_made_again_from_its_seed(world: World) -> None:
    """Terms of two schemes, one of which costs several elements."""
    walk = blind_walk(
        world, TERM, ("person", "JANSEN JAN|1980-02-01"), ("container", "MSCU1234566")
    )
    opened = Logged.at_gateway(walk).ask().open(ONE, TWO)
    assert opened.faults == ()
    assert f"part/{OWNER}" in {part.part for part in opened.remade}


def test_an_owners_detail_is_opened_beside_what_the_user_signed(world: World) -> None:
    """An owner's log shows which terms it was asked, and that a user signed for them."""
    walk = world.walk(TERM)
    leaf, detail = owners_leaf(walk, notice_delay_s=60)
    found = owners_receipt(world, leaf)
    asked = Logged(world=world).with_receipts([found], [detail]).ask()
    opened = asked.open(ONE, "police")
    assert opened.terms == [TERM]
    assert [part.part for part in opened.remade] == ["mandate", "user", "terms", "partners"]
    assert opened.faults == ()
    assert opened.notice_from == int(NOW) + 60


def test_one_member_is_too_few(asked: Asked) -> None:
    """The committee's threshold is two."""
    with pytest.raises(Refused) as refused:
        asked.open(ONE)
    assert refused.value.code == "SHARES_TOO_FEW"


def test_a_lying_member_is_named_and_the_others_suffice(asked: Asked) -> None:
    """Three released a share, one of them another than it was given."""
    opened = asked.open(*asked.committee, lies={TWO: b"\x02" + bytes(32)})
    assert (opened.liars, opened.faults) == ((TWO,), ())
    assert opened.terms


LIES: dict[str, tuple[Change, str]] = {
    "another term": (lambda d: setattr(d.terms[0], "value", "MSCU1234566"), "terms"),
    "another nonce": (lambda d: setattr(d.terms[0], "nonce", bytes(32)), "terms"),
    "a term less": (lambda d: d.ClearField("terms"), "terms"),
    "another period": (lambda d: setattr(d, "since", 1), "terms"),
    "another case": (lambda d: setattr(d, "case_id", "CASE-2"), "case"),
    "another mandate": (lambda d: setattr(d, "mandate", b""), "mandate"),
    "another person": (lambda d: setattr(d, "user_certificate", b""), "user"),
    "another header": (lambda d: setattr(d, "header", b""), "header"),
    "another policy": (lambda d: setattr(d, "policy_serial", 9), "statement"),
    "an instrument there was none of": (
        lambda d: d.instrument.MergeFrom(_instrument()),
        "instrument",
    ),
    "another owner": (lambda d: setattr(d.owners[0], "partner_id", "police"), "partners"),
    "another salt": (lambda d: setattr(d.owners[0], "salt", bytes(32)), "partners"),
    "nobody asked": (lambda d: d.ClearField("owners"), "partners"),
    "another content key": (lambda d: setattr(d, "part_seed", bytes(32)), f"part/{OWNER}"),
    "another wrapped key": (
        lambda d: setattr(d.owners[0], "wrapped_digest", bytes(32)),
        f"part/{OWNER}",
    ),
    "an absurd seed": (lambda d: setattr(d, "part_seed", bytes(200)), f"part/{OWNER}"),
}


def _instrument() -> object:

    return query_pb2.Instrument(kind="court-order", authority="court", commitment=bytes(32))


@pytest.mark.parametrize("lie", LIES)
def test_a_detail_that_says_otherwise_is_found_out(world: World, lie: str) -> None:
    """Whatever the asker's node seals in place of what it asks, some signed part differs."""
    change, part = LIES[lie]
    opened = Logged.at_gateway(world.walk(TERM, change=change)).ask().open(ONE, TWO)
    assert part in {fault.part for fault in opened.faults}


def test_an_owner_left_out_of_a_detail_is_found_out(world: World) -> None:
    """An asker sends a part to two owners and seals that it asked one: the header has a place for
    everybody, and what stands there follows from the seed unless a part was sent."""
    walk = world.walk(
        TERM, asked=(OWNER, OTHER_OWNER), change=lambda d: d.owners.__delitem__(0)
    )  # fmt: skip
    opened = Logged.at_gateway(walk).ask().open(ONE, TWO)
    assert [fault.part for fault in opened.faults] == ["unasked"]


BLIND_LIES: dict[str, Change] = {
    "another seed": lambda d: setattr(d, "blind_seed", bytes(32)),
    "no seed": lambda d: d.ClearField("blind_seed"),
    "another class": lambda d: setattr(d.owners[0].places[0], "audience", b"b" * 32),
    "another epoch": lambda d: setattr(d.owners[0].places[0], "epoch", 8),
    "no class": lambda d: d.owners[0].ClearField("places"),
    "an absurd class": lambda d: setattr(d.owners[0].places[0], "audience", b""),
    "another version": lambda d: setattr(d, "norm_version", 99),
}


@pytest.mark.parametrize("lie", BLIND_LIES)
def test_elements_of_another_plan_are_found_out(world: World, lie: str) -> None:
    """The part with the elements cannot be made again from what was sealed."""
    walk = blind_walk(world, TERM, change=BLIND_LIES[lie])
    opened = Logged.at_gateway(walk).ask().open(ONE, TWO)
    assert [fault.part for fault in opened.faults] == [f"part/{OWNER}"]


def test_elements_of_other_terms_are_found_out(world: World) -> None:
    """An asker that signs for one term, seals that term, and sends the elements of another."""
    other = blind_walk(world, ("container", "MSCU1234566"))

    place = Place(scheme="container", audience=AUDIENCE, epoch=7)
    made = blind_for(OWNER, seed=SEED, chunk=0, terms=other.terms, places=[place])
    walk = world.walk(TERM, blinded=[asked for asked, _ in made], blind_seed=SEED)
    opened = Logged.at_gateway(walk).ask().open(ONE, TWO)
    assert [fault.part for fault in opened.faults] == [f"part/{OWNER}"]


def test_without_the_querys_directory_nothing_is_taken_for_granted(asked: Asked) -> None:
    """What needs the keys and places of its time is a fault, not a pass."""

    later = replace(asked.world.directory, serial=asked.world.directory.serial + 1)
    request, kept = asked.request, asked.kept
    opened = open_leaf(0, request.sought[0], kept.details[0], asked.answers(ONE, TWO), [later])
    assert {fault.fault for fault in opened.faults} == {"DIRECTORY_MISMATCH"}
    assert "terms" not in {fault.part for fault in opened.faults}


def test_without_a_committee_the_makers_oversight_opens_alone(world: World) -> None:
    """The same commands, one file: the asker's partner decides about its own detail."""
    walk = world.walk(TERM)
    bound = Bound(query_id=walk.query_id, maker=ASKER)
    detail = SealedDetail.parse(walk.detail)
    layout = world.opened.layout
    shares = {
        share.partner_id: open_share([seed_of(layout, share.partner_id)], bound, share)
        for share in detail.shares
    }
    content = open_detail(detail, bound, shares).content
    walk.detail = seal_detail(replace(world.directory, appointed=Appointed()), bound, content)

    def named(header: query_pb2.QueryHeader) -> None:
        header.detail_digest = signing.digest(walk.detail)

    asked = Logged.at_gateway(walk.resigned(header=named)).ask()
    assert asked.committee == (ASKER,)
    opened = asked.open(ASKER)
    assert (opened.terms, opened.faults) == ([TERM], ())


def test_a_member_that_left_does_not_keep_the_others_from_opening(world: World) -> None:
    """Whom no directory knows any more cannot be asked, and two of three suffice."""
    logged = Logged.at_gateway(world.walk(TERM))
    rest = {p: partner for p, partner in world.directory.partners.items() if p != ONE}
    later = replace(world.directory, partners=rest)
    asked = logged.ask(directories=[later])
    assert asked.committee == (TWO, "police")
    assert asked.open(TWO, "police").faults == ()


def test_the_size_of_a_detail_does_not_show_its_words(world: World) -> None:
    """Terms of any length, and any case, under one number of terms."""
    values = ["9", "x" * 127, "x" * 128, "é" * 60, "x" * 192]
    sizes = {
        len(content) + slack
        for value in values
        for content, slack in [_content(value, "CASE-1"), _content(value, "C" * 64)]
    }
    assert len(sizes) == 1


def _content(value: str, case_id: str) -> tuple[bytes, int]:
    return asked_detail(
        header=b"header", mandate=b"mandate", user_certificate=b"certificate", policy_serial=1,
        case=CaseWords(case_id=case_id, nonce=bytes(32)), terms=[("scheme", value)],
        nonces=[bytes(32)], scope=Scope(), parts=AskedParts(seed=bytes(32), salts={}, parts={}),
    )  # fmt: skip


# ── Searching ────────────────────────────────────────────────────────────────────────────────


def test_a_search_finds_the_leaves_about_its_subject(world: World) -> None:
    """By canonical value, and a person by a shared match key; other leaves are not about it."""
    walks = [
        world.walk(TERM),
        world.walk(("container", "MSCU1234566"), ("vessel-imo", "9074729")),
        world.walk(("person", "JANSEN JAN|1980-02-01")),
    ]
    logged = Logged.at_gateway(*walks)
    for subject, expected in (
        (Subject(scheme="container", value=TERM[1]), [["same"], [], []]),
        (Subject(scheme="vessel-imo", value="9074729"), [[], ["same"], []]),
        (Subject(scheme="person", value="JANSEN JAN|1980-02-01"), [[], [], ["same"]]),
        (Subject(scheme="person", value="JANSSEN JAN|1980-02-01"), [[], [], ["medium"]]),
        (Subject(scheme="person", value="JANSEN JAN|1981-02-01"), [[], [], []]),
        (Subject(scheme="container", value="9074729"), [[], [], []]),
    ):
        asked = logged.search(subject)
        matches = asked.matches(TWO)
        assert matches.places == tuple(place for place in range(3) if expected[place])
        for place in matches.places:
            opened = open_leaf(
                place, asked.request.sought[place], asked.kept.details[place], matches.released,
                [world.directory],
            )  # fmt: skip
            assert [found.grade for found in opened.find(subject)] == expected[place]


def test_a_search_shows_its_members_no_subject(world: World) -> None:
    """The request commits to it, and the auditor cannot search for somebody else afterwards."""
    subject = Subject(scheme="container", value=TERM[1])
    asked = Logged.at_gateway(world.walk(TERM)).search(subject)
    assert TERM[1].encode() not in asked.signed
    assert asked.request.search
    assert (asked.kept.scheme, asked.kept.value) == TERM
    other = pb.OpeningKey.FromString(asked.secret)
    other.value = "MSCU1234566"
    with pytest.raises(InvalidInput):
        Kept.parse(signing.canonical(other), asked.request)


def test_leaves_outside_the_period_are_not_released(world: World) -> None:
    """A member sees the period, and everything asked for lies within it."""
    subject = Subject(scheme="container", value=TERM[1])
    logged = Logged.at_gateway(world.walk(TERM))
    for period in ({"since": 1, "until": int(NOW)}, {"since": int(NOW) + 1, "until": 2**40}):
        signed = logged.ask(subject=subject, **period).signed
        with pytest.raises(InvalidInput):
            verify_request(signed, directories=[world.directory], now=NOW)


# ── Requests ─────────────────────────────────────────────────────────────────────────────────


def test_a_request_says_who_asks_why_and_for_what(asked: Asked) -> None:
    """Everything that an officer decides about verified."""
    request = asked.request
    assert request.auditor.spiffe_id.endswith("/partner/police/user/u-p09")
    assert (request.ground, request.reference, request.search) == (GROUND, REFERENCE, False)
    assert request.sought[0].bound == Bound(query_id=request.sought[0].leaf.query_id, maker=ASKER)
    assert asked.committee == asked.world.directory.appointed.committee


@pytest.mark.parametrize("who", [("customs", "u-c01"), ("police", "u-p02")])
def test_only_an_auditor_asks(world: World, who: tuple[str, str]) -> None:
    """An analyst or an approver with the same key files is refused by every member."""
    asked = Logged.at_gateway(world.walk(TERM)).ask(auditor=auditor(world, who))
    with pytest.raises(Refused) as refused:
        _ = asked.request
    assert refused.value.code == "AUDITOR_ROLE"


Forging = Callable[[pb.OpeningRequest], object]
FORGED: dict[str, tuple[Forging, type[FairleadError]]] = {
    "another federation": (lambda r: setattr(r, "federation", "x.example"), Forged),
    "for ever": (lambda r: setattr(r, "expires_at", int(NOW) + LIFETIME_S + 1), InvalidInput),
    "expired": (
        lambda r: [setattr(r, "issued_at", int(NOW) - 99), setattr(r, "expires_at", int(NOW))],
        Stale,
    ),
    "not yet": (
        lambda r: [
            setattr(r, "issued_at", 2 * int(NOW)),
            setattr(r, "expires_at", 2 * int(NOW) + 9),
        ],
        Stale,
    ),
    "another partner's": (lambda r: setattr(r, "partner_id", "customs"), Forged),
    "no ground": (lambda r: setattr(r, "ground", ""), InvalidInput),
    "no reference": (lambda r: setattr(r, "reference", " "), InvalidInput),
    "a reference that obeys a terminal": (
        lambda r: setattr(r, "reference", "\x1b[2J"),
        InvalidInput,
    ),
    "no key to answer to": (lambda r: r.ClearField("answer_key"), InvalidInput),
    "no leaf": (lambda r: r.ClearField("sought"), InvalidInput),
    "a leaf twice": (lambda r: r.sought.append(r.sought[0]), InvalidInput),
    "a leaf of no log": (
        lambda r: setattr(r.sought[0].receipt, "leaf", _changed_leaf(r.sought[0].receipt.leaf)),
        FairleadError,
    ),
    "a period without a search": (lambda r: setattr(r, "since", 1), InvalidInput),
    "shares of nobody": (lambda r: r.sought[0].ClearField("shares"), InvalidInput),
    "a share less": (lambda r: r.sought[0].shares.__delitem__(slice(2, None)), InvalidInput),
    "no challenge": (lambda r: r.ClearField("challenges"), InvalidInput),
    "a challenge of somebody else": (
        lambda r: setattr(r.challenges[2], "partner_id", "terminal-north"),
        InvalidInput,
    ),
    "a challenge twice": (lambda r: r.challenges.append(r.challenges[0]), InvalidInput),
}


def _changed_leaf(data: bytes) -> bytes:
    leaf = audit_pb2.AuditLeaf.FromString(data)
    leaf.purpose = "theft"
    return signing.canonical(leaf)


@pytest.mark.parametrize("forging", FORGED)
def test_a_request_that_is_wrong_is_refused(asked: Asked, forging: str) -> None:
    """Even with its auditor's signature: each rule for itself."""
    change, error = FORGED[forging]
    with pytest.raises(error):
        verify_request(resigned(asked, change), directories=[asked.world.directory], now=NOW)


def test_a_request_that_nobody_signed_is_refused(asked: Asked) -> None:
    """One octet in the request, or another one's signature."""
    signed = pb.SignedOpeningRequest.FromString(asked.signed)
    signed.signature = signed.signature[:-1] + bytes([signed.signature[-1] ^ 1])
    with pytest.raises(Forged):
        verify_request(signing.canonical(signed), directories=[asked.world.directory], now=NOW)


# ── Shares ───────────────────────────────────────────────────────────────────────────────────


def test_shares_answer_one_request(asked: Asked) -> None:
    """What was released for one request is of no use for another, not even of the same leaf."""
    again = Logged.at_gateway(asked.world.walk(TERM)).ask()
    with pytest.raises(Forged) as refused:
        take(asked.file(ONE), again.request, again.kept)
    assert refused.value.code == "SHARE_FORGED"


def test_nobody_answers_in_a_members_name(asked: Asked) -> None:
    """Whoever cannot open the challenge is not taken for the member, and accuses nobody."""
    one = pb.OpeningShares.FromString(asked.file(ONE))
    one.partner_id = TWO
    with pytest.raises(Forged) as refused:
        take(signing.canonical(one), asked.request, asked.kept)
    assert refused.value.code == "SHARE_FORGED"
    stranger = pb.OpeningShares.FromString(asked.file(ONE))
    stranger.partner_id = OWNER
    with pytest.raises(Forged):
        take(signing.canonical(stranger), asked.request, asked.kept)


def test_an_oversight_without_a_share_has_nothing_to_release(asked: Asked) -> None:
    """A partner outside the committee is told so."""
    with pytest.raises(Refused) as refused:
        asked.file(OWNER)
    assert refused.value.code == "NO_SHARE"


def test_a_spoilt_share_is_said_and_not_released(world: World) -> None:
    """An honest member to whom the asker sealed something else says so, and the others suffice; its
    word alone proves nothing against the asker."""
    walk = world.walk(TERM)
    sealed = pb.SealedDetail.FromString(walk.detail)
    sealed.shares[0].commitment = bytes(32)
    walk.detail = signing.canonical(sealed)

    def named(header: object) -> None:
        header.detail_digest = signing.digest(walk.detail)  # type: ignore[attr-defined]

    changed = walk.resigned(header=named)
    opened = Logged.at_gateway(changed).ask().open(*world.directory.appointed.committee)
    assert (opened.refused, opened.spoilt, opened.liars) == ((ONE,), (), ())
    assert opened.terms == [TERM]


def test_a_detail_of_another_leaf_is_not_asked_for(world: World) -> None:
    """A leaf and a detail that it does not commit to, and a leaf without any."""
    logged = Logged.at_gateway(world.walk(TERM), world.walk(TERM))
    (first, _), (_, other) = logged.found
    with pytest.raises(Forged):
        sought(first.receipt, other)
    with pytest.raises(InvalidInput):
        bound_of(audit_pb2.AuditLeaf(type=audit_pb2.LEAF_TYPE_INTENT, log="gateway/gw-1"))


# ── Any octets ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """See the fixture."""

    request: Request
    kept: Kept
    by: Oversight
    octets: dict[str, bytes]

    def read(self, of: str, data: bytes) -> object:
        """As whoever it is for."""
        if of == "details":
            return read_details(data, self.request)
        if of == "given":
            return read_shares(data, self.request, self.by)
        return take_matches(data, self.request, self.kept)


@pytest.fixture(scope="module")
def searched(world: World) -> Searched:
    """A search with everything that goes from desk to desk for it."""
    asked = Logged.at_gateway(world.walk(TERM)).search(Subject(scheme=TERM[0], value=TERM[1]))
    request, kept = asked.request, asked.kept
    details = signing.canonical(pb.OpeningDetails(details=kept.details))
    octets = {"details": details, "given": asked.file(TWO), "found": asked.filtered(TWO).octets}
    return Searched(request=request, kept=kept, by=asked.oversight(ONE), octets=octets)


@settings(max_examples=60, deadline=None)
@given(
    changes=st.lists(edits(), min_size=1, max_size=3),
    junk=st.none() | st.binary(max_size=200),
    of=st.sampled_from(["details", "given", "found"]),
)
def test_any_octets_of_a_search_are_read_or_refused(
    searched: Searched, changes: list[Callable[[bytes], bytes]], junk: bytes | None, of: str
) -> None:
    """Details, shares for the oversight that filters, and what it found raise our errors alone."""
    data = searched.octets[of] if junk is None else junk
    searched.read(of, searched.octets[of])  # the control
    for change in changes:
        data = change(data)
    with contextlib.suppress(FairleadError):
        searched.read(of, data)


@settings(max_examples=80, deadline=None)
@given(
    changes=st.lists(edits(), max_size=3),
    junk=st.none() | st.binary(max_size=200),
    of=st.sampled_from(["request", "kept", "shares"]),
)
def test_any_octets_are_read_or_refused(
    asked: Asked, changes: list[Callable[[bytes], bytes]], junk: bytes | None, of: str
) -> None:
    """Requests, what is kept of them, and answers raise our errors alone."""
    request: Request = asked.request
    data = {"request": asked.signed, "kept": asked.secret, "shares": asked.file(ONE)}[of]
    data = data if junk is None else junk
    for change in changes:
        data = change(data)
    try:
        if of == "request":
            verify_request(data, directories=[asked.world.directory], now=NOW)
        elif of == "kept":
            Kept.parse(data, request)
        else:
            take(data, request, asked.kept)
    except FairleadError:
        return


def test_the_auditors_log_is_durable_and_its_own(world: World, tmp_path: Path) -> None:
    """What was asked, opened and found wrong stands there, with its ground and without a term."""

    asked = Logged.at_gateway(world.walk(TERM, change=LIES["another term"][0])).ask()
    folder = tmp_path / "openings"
    with record(folder, "fairlead.demo", "police", clock=lambda: NOW) as log:
        log.put(asked.request, ASKED)
        opened = asked.open(ONE, TWO)
        log.put(asked.request, OPENED)
        log.alarms(opened)
    key = signing.load_signing_key(folder / "log.key")
    report = verify_log(
        folder / "audit.sqlite", origin="fairlead.demo/partner/police/auditor",
        public_key=signing.public_bytes(key),
    )  # fmt: skip
    assert dict(report.leaves) == {"OPENING": 2, "ALARM": 1}
    assert TERM[1].encode() not in (folder / "audit.sqlite").read_bytes()

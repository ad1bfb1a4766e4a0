"""What each event looks like in the log: enough to prove it, and no term."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead import signing
from fairlead.auditlog.leaves import parse_leaf
from fairlead.envelope.outcome import PartnerState
from fairlead.errors import Forged, Refused
from fairlead.leaves import LeafWriter
from fairlead.v1 import audit_pb2 as pb
from fairlead.v1 import query_pb2
from tests.walks import CASE, NOW, TERM, World, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("leaves"))


def writer(nonce: bytes = b"\x01" * 32) -> LeafWriter:
    return LeafWriter(log="gateway/gw-1", clock=lambda: NOW + 0.25, random=lambda n: nonce[:n])


def read(leaf: bytes, detail: bytes = b"") -> pb.AuditLeaf:
    """As the log would: canonical and typed, with its detail."""
    return parse_leaf(leaf, detail)


def test_an_intent_records_the_query_and_commits_to_who_is_asked(world: World) -> None:
    """Everything that was signed is in the leaf; who is asked is only committed to."""
    walk = world.walk()
    query = walk.verify()
    leaf, nonce = writer().intent(
        query, rules=["b", "a", "b"], policy_serial=3, commits_to=b"police,terminal-north"
    )
    found = read(leaf, walk.detail)
    assert (found.type, found.log) == (pb.LEAF_TYPE_INTENT, "gateway/gw-1")
    assert found.detail_digest == query.detail_digest
    assert found.time_ms == int(NOW * 1000) + 250
    assert (found.query_id, found.header_digest) == (query.query_id, query.header_digest)
    assert list(found.rules) == ["a", "b"]
    assert list(found.signatures) == [query.mandate_signature, query.statement_signature]
    assert found.commitment == signing.commit(nonce, b"police,terminal-north")
    assert not found.partners
    assert b"terminal-north" not in leaf


def test_no_leaf_of_a_query_holds_its_term_or_case(world: World) -> None:
    """The term and the case reference are in no leaf the walk writes."""
    query = world.walk(TERM).verify()
    made = writer()
    states = {"police": PartnerState(partner_id="police", status=query_pb2.STATUS_ANSWERED)}
    leaves = [
        made.intent(query, rules=[], policy_serial=1, commits_to=b"x")[0],
        made.release([pb.ReleasedAnswer(query_id=query.query_id, partner_id="police")]),
        made.outcome(query, states),
        made.case(subject="case-opened", user="u", purpose="p", commits_to=CASE.encode()),
    ]
    for leaf in leaves:
        assert TERM[1].encode() not in leaf
        assert CASE.encode() not in leaf


def test_the_same_commitment_under_two_nonces_looks_different(world: World) -> None:
    """Two intents of the same decision do not show that they asked the same partners."""
    walk = world.walk()
    one, two = (
        read(
            writer(bytes([n]) * 32).intent(
                walk.verify(), rules=[], policy_serial=1, commits_to=b"x"
            )[0],
            walk.detail,
        )
        for n in (1, 2)
    )
    assert one.commitment != two.commitment


@given(query_id=st.binary(max_size=40), purpose=st.text(max_size=200), user=st.text(max_size=40))
def test_a_refusal_keeps_claims_short(query_id: bytes, purpose: str, user: str) -> None:
    """Whatever a refused caller claims, the leaf is well formed and bounded."""
    error = Refused("no", reasons=("A", "B"))
    leaf = writer().refusal(
        error, subject="X.Y", partner_id="p", user=user, query_id=query_id, purpose=purpose
    )
    found = read(leaf)
    assert (found.type, list(found.reasons)) == (pb.LEAF_TYPE_REFUSAL, ["A", "B"])
    assert found.query_id == query_id[:16]
    assert found.purpose == purpose[:64]


def test_a_refusal_does_not_repeat_the_errors_words() -> None:
    """Codes enter the log; message and remedy do not."""
    leaf = writer().refusal(Forged("words of a message", remedy="words of a remedy"), subject="s")
    assert b"words" not in leaf


def test_release_outcome_alarm_case_and_activation_are_typed(world: World) -> None:
    """Every other leaf parses as its own type, with what it is about."""
    query, made = world.walk().verify(), writer()
    released = pb.ReleasedAnswer(query_id=bytes(16), partner_id="police", answer_digest=bytes(32))
    assert list(read(made.release([released, released])).released) == [released, released]
    states = {
        name: PartnerState(partner_id=name, status=query_pb2.STATUS_TIMEOUT, reason="DEADLINE")
        for name in ("terminal-north", "police")
    }
    outcome = read(made.outcome(query, states))
    assert outcome.type == pb.LEAF_TYPE_OUTCOME
    assert [item.partner_id for item in outcome.partners] == ["police", "terminal-north"]
    alarm = read(made.alarm(["CHECKPOINT_FORK"], subject="s", checkpoints=["one", "two"]))
    assert (alarm.type, list(alarm.checkpoints)) == (pb.LEAF_TYPE_ALARM, ["one", "two"])
    active = read(made.activation("policy", serial=7, digest=bytes(32)))
    assert (active.type, active.policy_serial) == (pb.LEAF_TYPE_ACTIVATION, 7)
    case = read(made.case(subject="case-opened", user="u", purpose="p", commits_to=b"c"))
    assert (case.type, len(case.commitment)) == (pb.LEAF_TYPE_CASE, 32)


def test_an_opening_says_who_asked_and_why_and_not_about_whom() -> None:
    """The auditor, the ground, the request and how many leaves; of a search its period."""
    leaf = writer().opening(
        "details-searched",
        user="spiffe://fairlead.demo/partner/police/user/u-p09",
        partner_id="police",
        ground="data-subject-request",
        request_digest=bytes(32),
        count=7,
        since=1,
        until=2,
    )
    found = read(leaf)
    assert (found.type, found.subject) == (pb.LEAF_TYPE_OPENING, "details-searched")
    assert (found.legal_basis, found.opened_count) == ("data-subject-request", 7)
    assert (found.opened_since, found.opened_until, found.query_id) == (1, 2, b"")


def test_a_leaf_of_figures_says_which_and_none_of_them() -> None:
    """Cube, level, unit, version and digests; no partner but who asks, and no number of a cell."""
    about = pb.FiguresLeaf(
        cube="displacement", cube_version=2, level="quarter,shore", period="2026-Q1", version=1,
        list_digest=bytes(32), participants=7, statement_digest=b"\x07" * 32,
    )  # fmt: skip
    found = read(writer().figures("figures-counted", about))
    assert (found.type, found.subject) == (pb.LEAF_TYPE_FIGURES, "figures-counted")
    assert (found.figures, found.partner_id, found.user) == (about, "", "")
    asked = read(
        writer().figures(
            "figures-asked", about, query_id=bytes(16), partner_id="police", user="u",
            purpose="strategic-analysis", policy_serial=3, rules=["b", "a", "a"],
            signatures=[b"1", b"2"],
        )
    )  # fmt: skip
    assert (asked.rules, asked.signatures) == (["a", "b"], [b"1", b"2"])
    assert (asked.partner_id, asked.policy_serial, asked.query_id) == ("police", 3, bytes(16))

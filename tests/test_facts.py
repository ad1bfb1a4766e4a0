"""What policy is told: attributes from the directory, time as whole days, reasons by audience."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.envelope.query import Instrument
from fairlead.facts import (
    at_home,
    instrument_facts,
    party_facts,
    query_facts,
    refusal_of,
    requester_code,
    user_facts,
    window_days,
)
from fairlead.policy.decision import Audience, Decision, Effect, Reason, denial
from fairlead.policy.inputs import InstrumentFacts, RecordFacts
from tests.walks import ASKER, NOW, OWNER, World, make_world

DAY = 86_400
RECORD = RecordFacts(
    record_type="movement", event="gate-in", tlp="AMBER", pap="AMBER", europol="H0",
    source_grade="A", information_grade="1", purposes=("drug-trafficking",), expires_at=2,
    active_target=False, personal=False, fields=("plate",),
)  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("facts"))


def reason(code: str, audience: Audience, remedy: str = "") -> Reason:
    return Reason(code=code, audience=audience, text=f"text of {code}", remedy=remedy)


def denied(*reasons: Reason) -> Decision:
    made = denial(reasons[0]) if reasons else denial(reason("X", Audience.AUDITOR))
    return Decision(
        effect=Effect.DENY,
        checks={},
        facets=frozenset(),
        obligations=made.obligations,
        reasons=reasons,
    )


def test_an_organisation_is_what_the_directory_says(world: World) -> None:
    """Kind, sector, country and schemes are the entry's; nothing comes from a request."""
    facts = party_facts(world.directory.partner(OWNER))
    assert (facts.kind, facts.sector, facts.country) == ("terminal", "private", "NL")
    assert facts.schemes == ("container", "vehicle-plate", "vessel-imo")
    assert party_facts(world.directory.partner(ASKER)).sector == "public"


def test_a_person_is_a_pseudonym_with_roles(world: World) -> None:
    """No name, no certificate: a pseudonym and sorted roles."""
    facts = user_facts(world.user())
    assert (facts.pseudonym, facts.roles) == ("u-c01", ("analyst",))


def test_the_gateway_is_told_neither_window_nor_events(world: World) -> None:
    """Only who opened the sealed part knows them; None means not known, not unbounded."""
    query = world.walk().verify()
    closed = query_facts(query)
    assert (closed.mode, closed.window_days, closed.events) == ("sealed", None, None)
    opened = query_facts(query, window_days=3, events=("gate-in",))
    assert (opened.window_days, opened.events) == (3, ("gate-in",))


def test_policy_is_not_told_an_instruments_commitment() -> None:
    """Kind, authority and end; what commits to the reference is for whoever opens it."""
    instrument = Instrument(
        kind="court-order", authority="court", valid_until=9, commitment=bytes(32)
    )
    facts = instrument_facts(instrument)
    assert facts == InstrumentFacts(kind="court-order", authority="court", valid_until=9)
    assert instrument_facts(None) is None


def test_a_record_without_a_country_is_kept_where_its_owner_is(world: World) -> None:
    """What its source says counts, and else the directory; nobody guesses."""
    owner = world.directory.partner(OWNER)
    assert at_home(RECORD, owner).country == "NL"
    abroad = replace(RECORD, country="BE")
    assert at_home(abroad, owner) == abroad


@pytest.mark.parametrize(
    ("since", "until", "days"),
    [
        (0, 0, None),
        (0, int(NOW), None),
        (int(NOW) - 1, 0, 1),
        (int(NOW) - DAY, 0, 1),
        (int(NOW) - DAY - 1, 0, 2),
        (int(NOW) - 10 * DAY, int(NOW) - 8 * DAY, 2),
        (int(NOW) + DAY, 0, 1),
        (int(NOW), int(NOW) + 3 * DAY, 3),
        (-DAY, int(NOW), int(NOW) // DAY + 2),
    ],
)
def test_a_window_is_counted_in_whole_days(since: int, until: int, days: int | None) -> None:
    """A begun day counts whole, an empty window as one, and no beginning is unbounded."""
    assert window_days(since, until, NOW) == days


@given(st.integers(1, 2**40), st.integers(0, 2**40))
def test_a_window_never_counts_less_than_it_reaches(since: int, until: int) -> None:
    """Rounding is upwards, so no agreement's limit is undercut."""
    days = window_days(since, until, NOW)
    assert days is not None
    assert days * DAY >= (until or int(NOW)) - since
    assert days >= 1


def test_a_requester_hears_its_own_reasons_only() -> None:
    """Reasons for owner and auditor stay behind; with none left the code is POLICY."""
    hidden = reason("TARGET_ACTIVE", Audience.OWNER)
    secret = reason("WATCHED", Audience.AUDITOR)
    shown = reason("CASE_REQUIRED", Audience.REQUESTER, "fairlead cases list")
    error = refusal_of(denied(hidden, shown, secret))
    assert (error.reasons, error.remedy) == (("CASE_REQUIRED",), "fairlead cases list")
    assert requester_code(denied(hidden, shown)) == "CASE_REQUIRED"
    assert requester_code(denied(hidden)) == "POLICY"
    assert refusal_of(denied(hidden, secret)).reasons == ("POLICY",)
    assert "TARGET" not in refusal_of(denied(hidden, shown)).diagnostics()

"""Whether a policy only tightens: no widening is ever missed, and none is made up."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.policy.agreements import federation_data
from fairlead.policy.compiling import layer_data
from fairlead.policy.inputs import InstrumentFacts, PartyFacts, QueryFacts
from fairlead.policy.narrowing import ROW_KEYS, widenings
from fairlead.policy.widened import Widening
from tests import random_policies as random
from tests.policy_cases import BASELINE, DEMO
from tests.random_policies import asked, inquiry, near, points, policies, within

LENGTH = settings(deadline=None, max_examples=60)
"""Of a test in the suite; 900 pairs of policies were run once."""


@LENGTH
@given(policies(), st.data())
def test_no_widening_is_missed(two: Any, data: st.DataObject) -> None:
    """Whatever is asked that the new policy answers more of, some widening was told."""
    old, new = two
    before, after = points(old), points(new)
    questions = data.draw(st.lists(near(two), min_size=15, max_size=15))
    wider = [q for q in questions if not within(asked(after, q), asked(before, q))]
    assert not wider or widenings(old, new)


@LENGTH
@given(policies())
def test_a_widening_that_is_told_is_one(two: Any) -> None:
    """Each question that a widening describes is answered more of under the new policy."""
    old, new = two
    before, after = points(old), points(new)
    for widening in widenings(old, new)[:5]:
        question = example(widening)
        assert not within(asked(after, question), asked(before, question))


def example(widening: Widening) -> Any:
    """One of the questions that a widening is about."""
    (kind, name), (owner_kind, owner) = (
        party(min(found)) for found in (widening.askers, widening.owners)
    )
    purpose, basis = min(widening.grounds)
    demanded = min(widening.instruments, key=lambda i: i is not None)
    query = QueryFacts(
        mode=min(widening.modes), purpose=purpose, legal_basis=basis,
        instrument=demanded
        and InstrumentFacts(kind=demanded[0], authority=demanded[1], valid_until=2**31),
        schemes=min(widening.schemes), term_count=max(widening.sizes),
        window_days=min(widening.windows, key=lambda days: days is None), events=(),
    )  # fmt: skip
    asker, other = (
        PartyFacts(partner_id=n, kind=k, sector=random.registry()["kinds"][k], country=min(c),
                   schemes=query.schemes)
        for n, k, c in (
            (name or "other-asker", kind, widening.asker_countries),
            (owner or "other-owner", owner_kind, widening.owner_countries),
        )
    )  # fmt: skip
    return inquiry(
        query,
        asker,
        other,
        now=min(widening.at),
        roles=min(widening.roles),
        country=place(widening),
    )


def place(widening: Widening) -> str:
    """Where the record lies that shows it."""
    told = next((g for g in widening.grown if g.startswith("also of records from ")), "")
    named = told.removeprefix("also of records from ").split(", ")[0]
    return named or min(widening.record_countries)


def party(text: str) -> tuple[str, str]:
    """Kind and name of a party as it is written."""
    name, _, kind = text.partition(" (")
    return (kind.rstrip(")"), name) if kind else (name, "")


@given(policies())
@settings(deadline=None, max_examples=50)
def test_a_policy_is_not_wider_than_itself(two: Any) -> None:
    """Nothing is told of no change."""
    assert widenings(two[0], copy.deepcopy(two[0])) == []


NARROWER: dict[str, Any] = {
    "from": {"kinds": {"police": True}, "partners": {}},
    "to": {"kinds": {"police": True}, "partners": {}},
    "asker_countries": {"NL": True}, "owner_countries": {"NL": True},
    "record_countries": {"NL": True}, "transfer_ground": "",
    "instrument": {"kinds": {"court-order": True}, "authorities": {"court": True}},
    "opted_out": {"north": True}, "purposes": {"infiltration": True},
    "legal_bases": {"gdpr-art-6-1-e": True}, "modes": {"blind": True}, "schemes": {"seal": True},
    "roles": {"senior": True}, "facets": ["existence"], "redact": ["plate"], "max_records": 1,
    "approvals": 1, "second_approvers": 1, "onward": "none", "notice_delay_s": 60,
    "retention_days": 30, "max_terms": 5, "max_window_days": 10,
    "valid_from": random.NOW, "valid_until": random.NOW + 10,
}  # fmt: skip


@pytest.mark.parametrize("key", sorted(NARROWER))
def test_every_field_has_its_direction(key: str) -> None:
    """Narrowing any one field of an agreement tightens, and the way back is told as a widening."""
    wide = layer_data(random.registry(), {"a": random.WIDE})
    narrow = layer_data(random.registry(), {"a": {**random.WIDE, key: NARROWER[key]}})
    assert NARROWER.keys() == ROW_KEYS
    assert widenings(wide, narrow) == []
    assert widenings(narrow, wide) != []


def test_schemes_asked_together_are_compared_too() -> None:
    """Two schemes that could each be asked, and now can be asked in one question."""
    each = {n: {**random.WIDE, "schemes": {n: True}} for n in ("container", "seal")}
    both = {**random.WIDE, "facets": ["existence"], "schemes": {"container": True, "seal": True}}
    old = layer_data(random.registry(), each)
    new = layer_data(random.registry(), {**each, "both": both})
    (told, *_) = widenings(old, new)
    assert told.schemes == {("container", "seal")}
    assert "container together with seal" in told.sentence()


def test_taking_an_agreement_away_may_widen() -> None:
    """Where two cover a question the narrower holds, so without it the wider one does."""
    data = federation_data(BASELINE)["federation"]
    rows = {n: copy.deepcopy(data["agreements"][n]) for n in ("police-asks-police",)}
    rows["narrow"] = {**rows["police-asks-police"], "facets": ["existence"]}
    words = {k: v for k, v in data.items() if k not in {"agreements", "sizes"}}
    both, alone = (
        layer_data(words, rows),
        layer_data(words, {"police-asks-police": rows["police-asks-police"]}),
    )
    assert widenings(alone, both) == []
    (wider,) = widenings(both, alone)
    assert wider.agreements == ("police-asks-police",)
    assert "discloses also the record" in wider.sentence()


def test_a_widening_is_told_in_plain_words() -> None:
    """An officer reads who may ask whom about what for which purpose, and what they then learn."""
    told = [w.sentence() for w in widenings(federation_data(BASELINE), federation_data(DEMO))]
    assert any(
        t.startswith("customs asking every private partner about container, vehicle-plate, ves")
        and "sealed: is permitted (the record;" in t
        and "under demo-sealed-trafficking" in t
        for t in told
    )
    assert widenings(federation_data(DEMO), federation_data(BASELINE)) == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda f: f.update(unheard={}), "the registry has a part"),
        (lambda f: f["agreements"]["police-asks-police"].update(more=1), "an agreement has a term"),
        (lambda f: f["kinds"].update(bank="private"), "the kinds of organisations"),
        (lambda f: f["handling"]["tlp"].update(PINK=True), "released under tlp PINK"),
        (lambda f: f["handling"].update(active_target="tell"), "active target"),
        (lambda f: f["fields"]["plate"].update(facet="existence"), "another facet"),
        (lambda f: f["agreements"]["police-asks-police"]["redact"].append("x"), "compiled"),
    ],
)
def test_what_is_not_understood_counts_as_wider(change: Any, what: str) -> None:
    """A part, a term or a change whose direction nobody here knows is never called a tightening."""
    old = federation_data(BASELINE)
    new = copy.deepcopy(old)
    change(new["federation"])
    assert any(what in widening.sentence() for widening in widenings(old, new))


def test_dropping_a_handling_code_is_a_tightening() -> None:
    """A code that the registry no longer knows releases nothing."""
    old = federation_data(BASELINE)
    new = copy.deepcopy(old)
    new["federation"]["handling"]["tlp"].pop("AMBER_STRICT")
    assert widenings(old, new) == []
    assert widenings(new, old) != []

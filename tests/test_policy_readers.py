"""Who may ask for which figures, as officers' tools say it: compared, explained and replayed."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.errors import InvalidInput
from fairlead.policy.agreements import federation_data
from fairlead.policy.asked import Filters
from fairlead.policy.conflicts import conflicts
from fairlead.policy.difference import compare
from fairlead.policy.figures.changes import ChangedFigures
from fairlead.policy.figures.explaining import explain
from fairlead.policy.figures.inquiry import FigureInquiry, decide
from fairlead.policy.figures.matrix import figure_matrix
from fairlead.policy.figures.sides import failed, figures_of
from fairlead.policy.narrowing import is_wider, widenings
from fairlead.policy.recorded import OVERALL, Outcome, Recorded
from fairlead.policy.replay import replay
from fairlead.policy.told import figures as told
from tests import opas
from tests.policy_cases import (
    BASELINE,
    CUBES,
    CUSTOMS,
    DEMO,
    NOW,
    points,
)
from tests.random_policies import points as points_of
from tests.readers import KINDS, NAME, policy_of, question, questions, two_policies, words, written

LENGTH = settings(deadline=None, max_examples=60, derandomize=True, database=None)


# ── Compared ─────────────────────────────────────────────────────────────────────────────────


@LENGTH
@given(two_policies(), st.lists(questions(), min_size=12, max_size=12))
def test_no_widening_is_missed(two: Any, asked: list[FigureInquiry]) -> None:
    """Whatever may be asked for under the new policy alone, some widening was told of it."""
    old, new = two
    before, after = points_of(old), points_of(new)
    wider = [
        q
        for q in asked
        if decide(after, q).decision.permit and not decide(before, q).decision.permit
    ]
    told = widenings(old, new)
    assert is_wider(old, new) is bool(told)
    for q in wider:
        assert any(_about(change, q) for change in told)


def _about(change: Any, q: FigureInquiry) -> bool:
    assert isinstance(change, ChangedFigures)
    party = q.question.asker
    return bool(
        {str(party), party.kind} & change.askers
        and q.cube in change.cubes
        and q.purpose in change.purposes
        and set(q.user.roles) & change.roles
        and q.asker.country in change.countries
    )


@LENGTH
@given(two_policies())
def test_what_is_told_is_so(two: Any) -> None:
    """Each widening's question is permitted by the new policy alone, each narrowing's by the old,
    and a policy is neither to itself."""
    old, new = two
    before, after = points_of(old), points_of(new)
    found = compare(old, new)
    for changes, yes, no in ((found.widening, after, before), (found.narrowing, before, after)):
        for change in changes[:4]:
            q = _example(change)
            assert decide(yes, q).decision.permit
            assert not decide(no, q).decision.permit
    assert not is_wider(old, old)
    assert compare(new, new).narrowing == ()


def _example(change: Any) -> FigureInquiry:
    name, _, kind = min(change.askers).partition(" (")
    return question(
        kind.rstrip(")") or name, name if kind else "other", min(change.countries),
        cube=min(change.cubes), purpose=min(change.purposes), roles=(min(change.roles),),
        now=min(change.at),
    )  # fmt: skip


@LENGTH
@given(two_policies(), questions())
def test_the_sides_are_the_kernels(two: Any, q: FigureInquiry) -> None:
    """What the tools say of each agreement is what the engine makes of it."""
    policy = two[1]["federation"]
    rows = figures_of(policy)
    covering = {name for name, row in rows.items() if not failed(row, q.question)}
    found = decide(points_of(two[1]), q).decision
    known = set(q.user.roles) & policy["figure_roles"].keys()
    assert found.permit is bool(covering and known)
    assert set(found.rules) == (covering if found.permit else set())


def test_a_widened_agreement_is_told_in_plain_words() -> None:
    """An officer reads who may now ask for what, for which purpose and in which role."""
    data, _ = written(cubes=["seizures"], roles=["auditor"])
    old = federation_data({NAME: data}, CUBES)
    new = federation_data(BASELINE, CUBES)
    sentences = [w.sentence(new["federation"]) for w in widenings(old, new)]
    assert any("every public partner" in s and "may ask for figures of" in s for s in sentences)
    assert any("as analyst, approver, security-officer" in s for s in sentences)
    assert widenings(new, old) == []
    assert "may no longer ask" in compare(new, old).narrowing[0].sentence()
    assert compare(new, old).changed == {"figures-for-all": ("cubes", "roles")}
    assert {"may ask for figures of"} == {w.record()["what"][0] for w in widenings(old, new)}


def test_a_new_cube_under_all_is_a_widening() -> None:
    """Nobody's agreement grows unseen with the registry of cubes."""
    document = yaml.safe_load(CUBES)
    gone = document["cubes"].pop()["id"]
    fewer = yaml.safe_dump(document, sort_keys=False).encode()
    old, new = (federation_data(BASELINE, cubes) for cubes in (fewer, CUBES))
    (told,) = widenings(old, new)
    assert isinstance(told, ChangedFigures)
    assert told.cubes == {gone}
    assert is_wider(old, new)
    assert not is_wider(new, old)


def test_a_term_that_is_not_understood_counts_as_wider() -> None:
    """A field of an agreement on figures whose direction nobody here knows."""
    old = federation_data(BASELINE, CUBES)
    new = federation_data(BASELINE, CUBES)
    new["federation"]["statistics"]["figures-for-all"]["more"] = True
    assert any("agreement on figures has a term" in w.sentence() for w in widenings(old, new))


# ── Tools ────────────────────────────────────────────────────────────────────────────────────


def row(**changed: Any) -> dict[str, Any]:
    """A compiled agreement on figures."""
    usual = words_row()
    return {**usual, **changed}


def words_row() -> dict[str, Any]:
    """One that lets customs' auditors ask for seizures."""
    return {
        "from": {"kinds": {"customs": True}, "partners": {}}, "countries": {"NL": True},
        "cubes": {"seizures": True}, "purposes": {"strategic-analysis": True},
        "roles": {"auditor": True}, "valid_from": NOW - 10, "valid_until": NOW + 10,
    }  # fmt: skip


def test_idle_agreements_are_named() -> None:
    """One that others say all of, one that reaches no question, and one that is over."""
    data = policy_of(
        {
            "small": row(),
            "large": row(roles={"auditor": True, "analyst": True}),
            "gone": row(valid_until=NOW),
            "empty": row(cubes={}),
        }
    )
    found = {c.agreements: c.code for c in conflicts(data, now=NOW)}
    assert found == {
        ("small",): "SHADOWED", ("empty",): "UNREACHABLE", ("gone",): "EXPIRED",
    }  # fmt: skip


def test_the_matrix_is_the_engines_word() -> None:
    """Similar rows are one; filters leave the rest out; what is over is not there."""
    data = policy_of(
        {
            "ours": row(),
            "north": row(**{"from": {"kinds": {}, "partners": {"north": True}}},
                         cubes={"queries": True}),
            "gone": row(valid_until=NOW, cubes={"displacement": True}),
        }
    )  # fmt: skip
    policy = data["federation"]
    found = figure_matrix(points_of(data), policy, now=NOW)
    assert {(r.agreements, tuple(r.cubes)) for r in found} >= {
        (("ours",), ("seizures",)), (("north",), ("queries",)),
    }  # fmt: skip
    assert all("displacement" not in r.cubes for r in found)
    assert any("north (police)" in r.askers for r in found)
    only = figure_matrix(points_of(data), policy, now=NOW, filters=Filters(askers=("customs",)))
    assert [r.words(policy)["askers"] for r in only] == ["customs"]
    (whole,) = figure_matrix(points(), federation_data(DEMO, CUBES)["federation"], now=NOW)
    assert whole.words(words())["cubes"] == "every cube"
    assert whole.words(words())["countries"] == "EU"


def test_an_explanation_names_the_side_and_what_would_help() -> None:
    """The agreement, the first side on which it fails, and a change that was tried."""
    policy = federation_data(DEMO, CUBES)["federation"]
    asked = FigureInquiry.of(
        {"asker": "terminal:north", "cube": "seizures", "purpose": "customs-risk"}, policy, now=NOW
    )
    found = explain(points(), policy, asked)
    assert found.verdict.decided_by == "statistics"
    (considered,) = found.considered
    assert (considered.side, considered.failed) == ("purposes", 1)
    assert [c.text for way in found.ways for c in way.changes] == [
        "ask for strategic-analysis, if that is what it is for"
    ]
    assert found.record()["would_permit"][0]["facets"] == ["figures"]


def test_what_the_point_was_told_is_read_back() -> None:
    """An input of a record becomes the question it was; anything else is none."""
    asked = FigureInquiry.of(
        {"asker": "customs", "cube": "queries", "purpose": "strategic-analysis"}, words(), now=NOW
    )
    spy = Spy()
    decide(points().recorded_by(spy), asked)
    assert told(orjson.loads(orjson.dumps(spy.document))) == asked
    policy = federation_data(DEMO, CUBES)["federation"]
    for vector in (opas.vector("statistics"), opas.vector("statistics-refused")):
        found = explain(points(), policy, told(vector["input"])).record()
        assert found["effect"] == vector["expect"]["effect"]
        assert found["points"][0]["checks"] == vector["expect"]["checks"]
    for broken in ({}, {**spy.document, "question": {}}, {**spy.document, "point": "asking"}):
        with pytest.raises(InvalidInput):
            told(broken)


@pytest.mark.parametrize(
    "said",
    [
        {"asker": "customs", "cube": "queries"},
        {"asker": "nobody", "cube": "queries", "purpose": "strategic-analysis"},
        {"asker": "customs", "cube": "queries", "purpose": "x", "owner": "police"},
    ],
)
def test_words_that_are_no_question_are_refused(said: dict[str, str]) -> None:
    """A column that questions for figures do not have, or one that is missing."""
    with pytest.raises(InvalidInput) as caught:
        FigureInquiry.of(said, words(), now=NOW)
    assert caught.value.code == "QUESTION_WORDS"


# ── Records ──────────────────────────────────────────────────────────────────────────────────


class Spy:
    """A recorder that keeps what it was given."""

    def __init__(self) -> None:
        self.point, self.document, self.decisions = "", {}, {}

    def record(self, point: str, document: Any, decisions: Any, **_: Any) -> bytes:
        """Keep it."""
        self.point, self.document, self.decisions = point, document, decisions
        return bytes(16)


def test_a_decision_is_recorded_and_replayed() -> None:
    """A draft that lets more ask is a widening by name, also where the record alone is compared."""
    narrow = points_of(policy_of({"ours": row()}))
    wide = points_of(policy_of({"ours": row(), "more": row(roles={"analyst": True})}))
    spy = Spy()
    decision = decide(
        narrow.recorded_by(spy), question("customs", roles=("analyst",))
    ).decision  # fmt: skip
    assert (spy.point, decision.permit) == ("statistics", False)
    assert spy.decisions == decision
    outcome = Outcome.from_json(orjson.loads(orjson.dumps(Outcome.of(decision).to_json())))
    recorded = Recorded(
        decision_id=bytes(16), point=spy.point, engine="wasm", policy_serial=1, time_ms=NOW * 1000,
        query_id=b"", digest=b"", document=orjson.loads(orjson.dumps(spy.document)),
        outcomes={OVERALL: outcome},
    )  # fmt: skip
    for current in (narrow, None):
        report = replay([recorded], draft=wide, current=current, at=[NOW]).to_json()
        (widening,) = report["widenings"]
        assert (report["newly_allowed"], report["unlike"]) == (1, 0)
        assert widening["gained"] == ["figures"]
        assert (widening["mode"], widening["schemes"]) == ("figures", ["seizures"])
        assert (widening["asker_kind"], widening["agreements"]) == ("customs", ["more"])
    same = replay([recorded], draft=narrow, current=narrow, at=[NOW]).to_json()
    assert (same["same"], same["widenings"]) == (1, [])


def test_the_kinds_of_these_tests_are_the_directorys() -> None:
    """Else an asker of theirs would be unknown, and every question refused."""
    assert {kind: words()["kinds"][kind] for kind in KINDS} == KINDS
    assert CUSTOMS.kind in KINDS

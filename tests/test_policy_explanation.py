"""An explanation names the first side that fails, and every change it tells really permits more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.errors import InvalidInput
from fairlead.policy.draft import Draft
from fairlead.policy.explanation import Explanation, explain
from fairlead.policy.inquiry import Inquiry, decide
from fairlead.policy.reading import read_candidates, read_decision, read_records
from fairlead.policy.sides import failed
from fairlead.policy.told import inquiries
from tests.policy_cases import NOW
from tests.random_policies import near, points, policies

ROOT = Path(__file__).resolve().parents[1]
DRAFT = Draft.read(ROOT / "policies")
VECTORS = sorted((ROOT / "tests" / "vectors" / "policy").rglob("*.json"))


def why(**words: str) -> Explanation:
    """The explanation of a question in words."""
    said = {"asker": "customs", "owner": "terminal", "purpose": "infiltration",
            "scheme": "container", **words}  # fmt: skip
    return explain(DRAFT.points, DRAFT.policy, Inquiry.of(said, DRAFT.policy, now=NOW))


def ways(found: Explanation) -> list[str]:
    """The single changes told."""
    return [way.changes[0].text for way in found.ways if len(way.changes) == 1]


@settings(deadline=None, max_examples=40)
@given(policies(), st.data())
def test_the_sides_are_the_kernels(two: Any, data: st.DataObject) -> None:
    """Some agreement fails on no side exactly where the kernel says that one covers."""
    policy = two[0]["federation"]
    question = data.draw(near((two[0], two[0])))
    covering = [n for n, row in policy["agreements"].items()
                if not failed(policy, row, question.question)]  # fmt: skip
    step = decide(points(two[0]), question, only="asking").decision
    assert step.checks["agreement_covers"] is bool(covering)


def test_blind_required_says_so_and_that_blind_would_do() -> None:
    """The nearest agreement comes first, with the side it fails on."""
    found = why()
    assert found.verdict.decided_by == "asking"
    assert found.verdict.reason is not None
    assert found.verdict.reason.code == "BLIND_REQUIRED"
    nearest = {c.agreement: c for c in found.considered if c.failed == 1}
    assert (nearest["public-asks-private"].side, nearest["public-asks-private"].agreed) == (
        "modes", "blind"
    )  # fmt: skip
    assert ways(found)[0] == "ask blind"


@pytest.mark.parametrize(
    ("words", "change"),
    [
        ({"mode": "blind", "window_days": "any"}, "ask about at most 730 days"),
        ({"mode": "blind", "window_days": "900"}, "ask about at most 730 days"),
        ({"asker": "terminal", "owner": "police", "terms": "17"},
         "ask for at most 16 terms at once"),
        ({"mode": "blind", "role": "approver"}, "give the person the role analyst"),
        ({"mode": "blind", "case": "closed"}, "open a case for this question, and assign"),
        ({"mode": "blind", "case": "none"}, "open a case for this question, and assign"),
        ({"mode": "blind", "terms": "2000", "approvals": "0"}, "let 1 other person agree"),
        ({"mode": "blind", "tlp": "RED"}, "review the record's TLP"),
        ({"mode": "blind", "europol": ""}, ""),
        ({"mode": "blind", "active_target": "yes"}, "end what makes the record"),
        ({"owner": "police", "pap": "RED"}, "ask blind"),
        ({"asker": "terminal", "owner": "police", "personal": "yes"}, "review the mapping"),
        ({"mode": "blind", "record_purposes": "customs-risk"}, "hold the record for this"),
        ({"mode": "blind", "event": "unspecified"}, "give the record its event"),
        ({"mode": "blind", "grade": "--"}, "give the record a 4x4 grade"),
    ],
)  # fmt: skip
def test_what_would_have_to_change_is_told(words: dict[str, str], change: str) -> None:
    """One change of one side, by whoever can make it."""
    found = why(**words)
    if not change:
        assert found.verdict.decision.permit
        return
    assert not found.verdict.decision.permit
    assert any(text.startswith(change) for text in ways(found))


def test_two_changes_are_told_where_one_does_not_help() -> None:
    """Too many terms and too long: neither alone."""
    found = why(asker="terminal", owner="police", terms="100", window_days="any")
    (way,) = found.ways
    assert [c.text for c in way.changes] == [
        "ask for at most 16 terms at once", "ask about at most 90 days",
    ]  # fmt: skip


def test_what_nothing_helps_against_is_told_as_nothing() -> None:
    """A name alone is asked of no private partner, whatever is changed."""
    assert why(scheme="person-name", mode="blind").ways == ()


@settings(deadline=None, max_examples=25)
@given(policies(), st.data())
def test_every_change_told_permits_more(two: Any, data: st.DataObject) -> None:
    """Whatever is told was tried: making the changes gives a facet that was refused."""
    question = data.draw(near(two))
    found = explain(points(two[0]), two[0]["federation"], question)
    for way in found.ways:
        changed = question
        for change in way.changes:
            changed = change.edit(changed)
        after = decide(points(two[0]), changed).decision
        assert after.permit
        assert after.facets - found.verdict.decision.facets


QUESTIONS = [p for p in VECTORS if not p.stem.endswith("empty") and "statistics" not in p.stem]
"""All but an input that is none, and those about figures (tests/test_policy_readers.py)."""


@pytest.mark.parametrize("path", QUESTIONS, ids=lambda p: p.stem)
def test_an_input_is_explained_as_it_was_decided(path: Path) -> None:
    """Read back from what a point was told, the point decides the same again."""
    vector = json.loads(path.read_bytes())
    draft = DRAFT if len(vector["data"]) > 1 else _baseline()
    point, questions = inquiries(vector["input"], draft.policy)
    expected = read(point, vector["expect"], len(questions))
    for place, (name, question) in enumerate(questions.items()):
        found = explain(draft.points, draft.policy, question, only=point)
        decision = expected[name if name in expected else str(place)]
        assert found.verdict.decision.effect is decision.effect
        assert found.record()["points"][0]["checks"] == dict(decision.checks)


def read(point: str, expect: dict[str, Any], count: int) -> dict[str, Any]:
    """The decisions of an expectation, by candidate or by place."""
    octets, by = orjson.dumps(expect), {"policy_serial": 1, "policy_id": expect["policy"]}
    if point == "release":
        return {str(i): d for i, d in enumerate(read_records(octets, count, **by))}
    if point in {"asking", "routing"}:
        return dict(read_candidates(octets, kind=point, **by)[1])
    return {"0": read_decision(octets, kind=point, **by)}


_FOUND: list[Draft] = []


def _baseline() -> Draft:
    """The committed policy without the demo's own agreement."""
    if not _FOUND:
        data = {"data/agreements.yaml": DRAFT.data["data/agreements.yaml"]}
        _FOUND.append(Draft(**{**vars_of(DRAFT), "data": data}))
    return _FOUND[0]


def vars_of(draft: Draft) -> dict[str, Any]:
    """The fields of a draft."""
    return {name: getattr(draft, name) for name in draft.__dataclass_fields__}


@pytest.mark.parametrize(
    "document",
    [{}, {"point": "x"}, {"point": "routing"}, {"point": "admission", "now": 1, "query": 3}],
)
def test_what_is_no_input_is_refused(document: dict[str, Any]) -> None:
    """A document of another form is an error for its caller, not a traceback."""
    with pytest.raises(InvalidInput):
        inquiries(document, DRAFT.policy)

"""The decision points over the committed policy: who may ask whom what, and failing closed."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from policy_cases import (
    ANALYST,
    BASELINE,
    BLIND,
    CANDIDATES,
    CASE,
    CUSTOMS,
    DEMO,
    EXAMPLE,
    FIELDS,
    GRANT,
    GUARD,
    LINE,
    NOW,
    POLICE,
    POLICY,
    QUERY,
    RECORD,
    TERMINAL,
    engine,
    engine_of,
    layered,
    party,
    points,
)

from fairlead.errors import Misconfigured, PolicyUnavailable
from fairlead.policy.agreements import federation_data, local_data
from fairlead.policy.decision import Decision, disclosed
from fairlead.policy.engine import PolicyEngine, WasmEngine
from fairlead.policy.points import Layer, PolicyPoints

POINTS = ("asking", "admission", "routing", "sovereignty", "release", "statistics")


def ask(policy: PolicyPoints, **changed: Any) -> tuple[Decision, dict[str, Decision]]:
    """Customs asks everybody."""
    return policy.asking(
        **{
            "now": NOW,
            "query": QUERY,
            "asker": CUSTOMS,
            "user": ANALYST,
            "case": CASE,
            "approvals": 0,
            "candidates": CANDIDATES,
            **changed,
        }
    )


def admit(policy: PolicyPoints, **changed: Any) -> Decision:
    """Customs' question reaches the gateway."""
    return policy.admission(
        **{
            "now": NOW,
            "query": QUERY,
            "asker": CUSTOMS,
            "user": ANALYST,
            "case_open": True,
            "user_assigned": True,
            "approvals": 0,
            **changed,
        }
    )


def route(policy: PolicyPoints, **changed: Any) -> dict[str, Decision]:
    """The gateway looks for owners."""
    return policy.routing(
        **{
            "now": NOW,
            "query": QUERY,
            "asker": CUSTOMS,
            "approvals": 0,
            "candidates": CANDIDATES,
            **changed,
        }
    )


def own(policy: PolicyPoints, **changed: Any) -> Decision:
    """The terminal decides whether it answers."""
    return policy.sovereignty(
        **{
            "now": NOW,
            "query": QUERY,
            "asker": CUSTOMS,
            "approvals": 0,
            "owner": TERMINAL,
            "grant": GRANT,
            **changed,
        }
    )


def release(policy: PolicyPoints, **changed: Any) -> list[Decision]:
    """The terminal decides on a record."""
    return policy.release(
        **{
            "now": NOW,
            "query": QUERY,
            "asker": CUSTOMS,
            "owner": TERMINAL,
            "facets": GRANT.facets,
            "records": [RECORD],
            **changed,
        }
    )


def figures(policy: PolicyPoints, **changed: Any) -> Decision:
    """Customs' analyst asks for figures."""
    return policy.statistics(
        **{
            "now": NOW,
            "cube": "seizures",
            "level": "quarter",
            "purpose": "strategic-analysis",
            "asker": CUSTOMS,
            "user": ANALYST,
            **changed,
        }
    )


def codes(decision: Decision) -> list[str]:
    """The reason codes, most important first."""
    return [reason.code for reason in decision.reasons]


def every(policy: PolicyPoints, point: str) -> list[Decision]:
    """All decisions of one point over the good question."""
    if point == "asking":
        overall, each = ask(policy)
        return [overall, *each.values()]
    if point == "routing":
        return list(route(policy).values())
    if point == "release":
        return release(policy)
    single = {"admission": admit, "sovereignty": own, "statistics": figures}
    return [single[point](policy)]


# ── Who may ask whom what ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("point", POINTS)
def test_the_good_question_is_permitted_at_every_point(point: str) -> None:
    """Under the demo's agreement every point permits, for every partner: the story can run."""
    assert all(decision.permit for decision in every(points(), point))


def test_sealed_is_refused_where_the_baseline_requires_blind() -> None:
    """Public asking private sealed is BLIND_REQUIRED without the demo's agreement."""
    overall, each = ask(points(demo=False))
    assert overall.permit
    assert each["police"].permit
    for partner in ("terminal-north", "oceanic-line", "quayguard"):
        assert codes(each[partner]) == ["BLIND_REQUIRED"]
    assert all(d.permit for d in ask(points(demo=False), query=BLIND)[1].values())


def test_nobody_to_ask_gives_the_partners_reasons_first() -> None:
    """When every wanted partner requires blind, the refusal's first code says so."""
    overall, _ = ask(points(demo=False), candidates={"terminal-north": TERMINAL})
    assert codes(overall) == ["BLIND_REQUIRED", "NO_PARTNER"]
    assert codes(ask(points(), candidates={})[0]) == ["NO_PARTNER"]


def test_a_bought_analyst_without_a_case_is_refused() -> None:
    """No case, no question: and nothing is said of what a case would need."""
    overall, each = ask(points(), case=None)
    assert codes(overall)[0] == "CASE_MISSING"
    assert not any(decision.permit for decision in each.values())


def test_the_mode_decides_per_partner_and_never_widens() -> None:
    """The demo's agreement opens sealed for its one purpose only."""
    other = replace(QUERY, purpose="customs-risk")
    case = replace(CASE, purpose="customs-risk")
    _, each = ask(points(), query=other, case=case)
    assert codes(each["terminal-north"]) == ["BLIND_REQUIRED"]


def test_a_private_partner_gets_at_most_the_desk_from_a_public_one() -> None:
    """Public to private: existence and contact desk, after an approval at the owner."""
    query = replace(QUERY, purpose="security-incident", legal_basis="gdpr-art-6-1-f")
    decision = route(points(), query=query, asker=GUARD)["police"]
    assert decision.facets == {"existence", "contact_desk"}
    assert decision.obligations.approvals == 1


def test_private_partners_exchange_business_identifiers_only() -> None:
    """Between private partners no person's name, account or card ever leaves."""
    query = replace(QUERY, purpose="security-incident", legal_basis="gdpr-art-6-1-f")
    record = replace(RECORD, purposes=("security-incident",))
    (decision,) = release(points(), query=query, asker=LINE, records=[record])
    assert disclosed(decision, FIELDS) == {
        "existence",
        "contact_desk",
        "field:event",
        "field:plate",
    }


def test_names_of_persons_pass_between_police_only() -> None:
    """Even customs, in full, gets a record without the names in it; police from police do."""
    (decision,) = release(points())
    assert "field:account" in disclosed(decision, FIELDS)
    assert not {"field:driver_name", "field:operator_name"} & disclosed(decision, FIELDS)
    other = party("police-de", "police", "public", "DE")
    query = replace(QUERY, legal_basis="national-criminal-procedure")
    (decision,) = release(points(), query=query, asker=other, owner=POLICE)
    assert "field:driver_name" in disclosed(decision, FIELDS)


def test_an_agreement_cannot_release_names() -> None:
    """An officer who forgets to redact names, or tries not to, is overruled by the kernel."""
    wide = {n: raw.replace(b"redact: [operator_name, driver_name]", b"redact: []")
            for n, raw in DEMO.items()}  # fmt: skip
    assert wide != DEMO
    policy = layered(engine_of(federation_data(wide)))
    assert not {"field:driver_name", "field:operator_name"} & disclosed(release(policy)[0], FIELDS)


def test_an_active_target_is_a_denial_that_tells_the_desk() -> None:
    """The requester cannot see why; the owner's desk is told."""
    (decision,) = release(points(), records=[replace(RECORD, active_target=True)])
    assert codes(decision) == ["ACTIVE_TARGET"]
    assert decision.obligations.notify == {"owner_desk"}
    assert {reason.audience for reason in decision.reasons} == {"owner"}


def test_records_are_decided_in_their_order() -> None:
    """Each record's decision stands at the record's place."""
    bad = replace(RECORD, tlp="RED")
    records = [RECORD, bad, RECORD, bad, bad]
    assert [d.permit for d in release(points(), records=records)] == [
        record is RECORD for record in records
    ]
    assert release(points(), records=[]) == []
    many = [RECORD if n % 3 else bad for n in range(200)]
    assert [d.permit for d in release(points(), records=many)] == [r is RECORD for r in many]


def test_a_pointer_discloses_no_field() -> None:
    """H2: that something exists, and whom to call."""
    (decision,) = release(points(), records=[replace(RECORD, europol="H2")])
    assert disclosed(decision, FIELDS) == {"existence", "contact_desk"}


# ── Every field counts ───────────────────────────────────────────────────────────────────────


class Edited:
    """An engine behind which the input is changed, as a careless or bought caller might."""

    def __init__(self, inner: PolicyEngine, edit: Callable[[dict[str, Any]], None]) -> None:
        self._inner = inner
        self._edit = edit
        self.seen: dict[str, Any] = {}

    def evaluate(self, point: str, document: Mapping[str, object]) -> bytes:
        """Evaluate the edited input."""
        self.seen = copy.deepcopy(dict(document))
        edited = copy.deepcopy(self.seen)
        self._edit(edited)
        return self._inner.evaluate(point, edited)


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every field of every object, however deep."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key)
            yield from paths(item, (*path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from paths(item, (*path, i))


def edit_at(path: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Callable[[Any], None]:
    """An edit of the one field at ``path``."""

    def edit(document: Any) -> None:
        for key in path[:-1]:
            document = document[key]
        change(document, path[-1])

    return edit


def nullify(container: Any, key: Any) -> None:
    """Say null instead."""
    container[key] = None


def input_of(point: str) -> dict[str, Any]:
    """The whole input of the good question."""
    spy = Edited(engine(), lambda _: None)
    every(layered(spy), point)
    return spy.seen


@pytest.mark.parametrize("point", POINTS)
def test_deleting_any_field_denies(point: str) -> None:
    """Whatever field of whatever depth is missing, nobody gets anything from this point."""
    document = input_of(point)
    found = list(paths(document))
    assert len(found) > 15
    for path in found:
        policy = layered(Edited(engine(), edit_at(path, lambda c, k: c.pop(k))))
        if path[0] == "candidates" and len(path) == 2:
            decisions = [(ask(policy)[1] if point == "asking" else route(policy))[path[1]]]
        else:
            decisions = every(policy, point)
        assert decisions
        assert not any(decision.permit for decision in decisions), path


@pytest.mark.parametrize("point", POINTS)
def test_null_for_any_field_denies(point: str) -> None:
    """null is smaller than every number in Rego; it must not slip below a limit."""
    document = input_of(point)
    for path in paths(document):
        none = path == ("query", "instrument")
        hidden = point in ("admission", "routing") and path in (
            ("query", "window_days"),
            ("query", "events"),
        )
        if not hidden and not none:
            policy = layered(Edited(engine(), edit_at(path, nullify)))
            assert not any(decision.permit for decision in every(policy, point)), path


@pytest.mark.parametrize("point", POINTS)
def test_an_unknown_field_in_any_object_denies(point: str) -> None:
    """The input is closed all the way down: a field nobody defined is not ignored."""

    def put_into(container: Any, key: Any) -> None:
        container[key]["extra"] = True

    document = input_of(point)
    edits = [lambda d: d.update(extra=True)]
    for path in paths(document):
        value = document
        for key in path:
            value = value[key]
        edits += [edit_at(path, put_into)] if isinstance(value, dict) else []
    if point == "release":
        edits.append(lambda d: d["records"][0].update(extra=True))
    assert len(edits) > 2
    for edit in edits:
        policy = layered(Edited(engine(), edit))
        assert not any(decision.permit for decision in every(policy, point))


@pytest.mark.parametrize("point", ["admission", "routing"])
def test_the_gateway_is_not_told_window_and_events(point: str) -> None:
    """The builders drop what is in the sealed part, whatever the caller knows."""
    query = input_of(point)["query"]
    assert query["window_days"] is None
    assert query["events"] is None


# ── Failing closed ───────────────────────────────────────────────────────────────────────────


class Rewritten:
    """An engine whose output is changed on its way."""

    def __init__(self, change: Callable[[dict[str, Any]], None]) -> None:
        self._change = change

    def evaluate(self, point: str, document: Mapping[str, object]) -> bytes:
        """Evaluate and rewrite every decision in the output."""
        output: Any = json.loads(engine().evaluate(point, document))
        inner = [] if "records" in output else [output]
        for decision in [*inner, *output.get("decisions", {}).values()]:
            self._change(decision)
        return json.dumps(output).encode()


class Broken:
    """An engine that fails in some way of its own."""

    def __init__(self, failure: BaseException | object) -> None:
        self._failure = failure

    def evaluate(self, point: str, document: Mapping[str, object]) -> bytes:
        """Fail."""
        if isinstance(self._failure, BaseException):
            raise self._failure
        if isinstance(self._failure, bytes):
            return self._failure
        return json.dumps(self._failure).encode()


def assert_closed(layer: PolicyEngine) -> None:
    """Every point denies with POLICY_UNAVAILABLE and raises an alarm of fixed names."""
    alarms: list[tuple[str, str]] = []
    for layers in ([layer], [engine(), layer], [layer, engine()]):
        policy = PolicyPoints(
            [Layer(engine, POLICY) for engine in layers], 1, alarm=lambda *a: alarms.append(a)
        )
        for point in POINTS:
            alarms.clear()
            for decision in every(policy, point):
                assert not decision.permit
                assert "POLICY_UNAVAILABLE" in codes(decision)
            assert alarms
            assert {name for name, _ in alarms} == {point}


def test_an_unknown_obligation_denies() -> None:
    """What is not understood cannot be obeyed."""
    assert_closed(Rewritten(lambda d: d["obligations"].update(shred_after_reading=True)))


def test_a_stripped_obligation_denies() -> None:
    """An obligation that is gone is not an obligation of zero."""
    for name in ("redact", "max_records", "approvals", "notice_delay_s", "retention_days"):
        assert_closed(Rewritten(lambda d, name=name: d["obligations"].pop(name)))


def test_a_missing_check_denies() -> None:
    """A permit that does not say what it checked is not one."""
    for name in ("input_valid", "asker_known", "legal_basis_fits"):
        assert_closed(Rewritten(lambda d, name=name: d["checks"].pop(name)))


def test_a_check_that_is_false_or_not_a_boolean_denies() -> None:
    """A permit on a failed check is a contradiction, and 1 is not true."""
    for value in (False, 1, "true", None):
        assert_closed(Rewritten(lambda d, v=value: d["checks"].update(input_valid=v)))


def test_a_check_nobody_asked_for_denies() -> None:
    """The checks are exactly the required ones: another kernel is another policy."""
    assert_closed(Rewritten(lambda d: d["checks"].update(operator_says_so=True)))


def test_malformed_output_denies() -> None:
    """Unknown facets, recipients, keys, types: nothing of such a decision is used."""
    for change in (
        lambda d: d.update(facets=["everything"]),
        lambda d: d.update(facets=[]),
        lambda d: d.update(facets="full_record"),
        lambda d: d.update(effect="maybe"),
        lambda d: d.update(extra=1),
        lambda d: d.pop("rules"),
        lambda d: d.update(reasons=[{"code": "X"}]),
        lambda d: d["obligations"].update(notify=["press"]),
        lambda d: d["obligations"].update(max_records=-1),
        lambda d: d["obligations"].update(max_records=1.5),
        lambda d: d["obligations"].update(approvals=True),
    ):
        assert_closed(Rewritten(change))


def test_an_engine_that_fails_in_any_way_denies() -> None:
    """No exception and no nonsense of an engine gets past a decision point."""
    for failure in (
        PolicyUnavailable("no"),
        RuntimeError("MSCU6639870"),
        TimeoutError(),
        None,
        [],
        {},
        "permit",
        {"records": []},
        {"records": ["a"], "decisions": {"a": {}}, "policy": POLICY},
        {"records": ["a"], "decisions": {}, "policy": POLICY},
        {"records": [["a"]], "decisions": {}, "policy": POLICY},
        {"records": None, "decisions": None, "policy": POLICY},
        b"",
        b"\xff",
        b'{"effect":"permit"}},{"result":{}',
        {"records": [], "candidates": {"police": "permit"}, "decisions": {}, "policy": POLICY},
    ):
        assert_closed(Broken(failure))


def test_decisions_of_which_no_record_is_deny_all() -> None:
    """An engine that decides more kinds than there are, or fewer, decides over something else."""
    output: Any = json.loads(engine().evaluate("release", input_of("release")))
    (name,) = output["records"]
    more = {**output["decisions"], "another": output["decisions"][name]}
    for wrong in (
        {**output, "decisions": more},
        {**output, "decisions": {}},
        {**output, "records": [name, name]},
        {**output, "records": []},
    ):
        assert not any(decision.permit for decision in release(layered(Broken(wrong))))


def test_an_engine_with_another_policy_is_not_believed() -> None:
    """It has last month's still, or next month's already: its decision is none, and it is told."""
    alarms: list[tuple[str, str]] = []
    other = Layer(engine(), "last month's")
    policy = PolicyPoints([other], 1, alarm=lambda *a: alarms.append(a))
    for point in POINTS:
        assert not any(decision.permit for decision in every(policy, point))
    assert {code for _, code in alarms} == {"DECISION_OTHER_POLICY"}
    assert_closed(Anonymous())


class Anonymous:
    """An engine that does not say which policy it has."""

    def evaluate(self, point: str, document: Mapping[str, object]) -> bytes:
        """Evaluate, and leave the policy's name out."""
        output: Any = json.loads(engine().evaluate(point, document))
        del output["policy"]
        return json.dumps(output).encode()


def test_a_failure_over_records_is_not_for_the_requester() -> None:
    """What goes wrong over a record may depend on it, so only the owner hears of it."""
    (decision,) = release(layered(Broken(None)))
    assert {reason.audience for reason in decision.reasons} == {"owner"}


def test_a_policy_without_layers_is_refused() -> None:
    """The meet of nothing would permit everything; there is no such policy."""
    with pytest.raises(Misconfigured):
        PolicyPoints([], 1)


# ── A partner's own layer ────────────────────────────────────────────────────────────────────


def local(data: bytes) -> WasmEngine:
    """A second layer from a partner's own file."""
    federation = federation_data(DEMO)
    document = local_data(federation, DEMO, "local.yaml", data)
    return engine_of(document)


WIDE = b"""
schema: 2
agreements:
  - id: we-give-all
    from: ["sector:public", "sector:private"]
    to: ["sector:public", "sector:private"]
    purposes: [drug-trafficking, infiltration, security-incident, customs-risk]
    legal_bases: [eu-ucc-art-46, national-criminal-procedure, gdpr-art-6-1-e, gdpr-art-6-1-f]
    modes: [sealed, blind]
    schemes: [container, vehicle-plate, vessel-imo]
    roles: [analyst]
    facets: [existence, count_band, contact_desk, full_record]
    redact: []
    max_records: 100
    onward: same-sector
    notice_delay_s: 0
    retention_days: 365
    max_terms: 4096
    max_window_days: null
    valid_from: 2020-01-01
    valid_until: 2040-01-01
"""


def test_a_local_policy_that_tries_to_widen_changes_nothing() -> None:
    """An owner's own agreement to give all gives no more than the federation's agreements."""
    private = replace(QUERY, purpose="security-incident", legal_basis="gdpr-art-6-1-f")
    record = replace(RECORD, purposes=("drug-trafficking", "security-incident"))
    for demo in (True, False):
        alone = points(demo=demo)
        both = layered(engine(demo=demo), local(WIDE))
        for query, asker in ((QUERY, CUSTOMS), (private, LINE), (private, GUARD)):
            for owner in CANDIDATES.values():
                changed = {"query": query, "asker": asker, "owner": owner}
                a, b = own(alone, **changed), own(both, **changed)
                assert (b.permit, b.facets) == (a.permit, a.facets)
                ra = release(alone, **changed, records=[record])[0]
                rb = release(both, **changed, records=[record])[0]
                assert disclosed(rb, FIELDS) == disclosed(ra, FIELDS)
                assert not ra.permit or rb.obligations == ra.obligations


def test_the_example_of_a_local_policy_tightens() -> None:
    """The security company of the example refuses trafficking, and gives customs its desk."""
    both = layered(engine(), local(EXAMPLE))
    assert codes(own(both, owner=GUARD)) == ["PURPOSE_NOT_COVERED", "NOTHING_GRANTED"]
    query = replace(BLIND, purpose="infiltration")
    grant = replace(GRANT, mode="blind")
    narrow = own(both, owner=GUARD, query=query, grant=grant)
    wide = own(points(), owner=GUARD, query=query, grant=grant)
    assert narrow.facets == {"existence", "contact_desk"}
    assert narrow.facets < wide.facets
    assert narrow.rules == ("public-asks-private", "we-answer-customs")


def test_baseline_is_what_the_demo_adds_to() -> None:
    """The demo adds exactly one agreement and changes no other."""
    base = federation_data(BASELINE)["federation"]["agreements"]
    demo = federation_data(DEMO)["federation"]["agreements"]
    assert demo.keys() - base.keys() == {"demo-sealed-trafficking"}
    assert all(demo[name] == row for name, row in base.items())

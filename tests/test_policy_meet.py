"""The meet: what several decisions permit together, measured by what is disclosed."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fairlead.policy.decision import (
    Audience,
    Decision,
    Effect,
    Obligations,
    Onward,
    Reason,
    capped,
    denial,
    disclosed,
    explain,
    meet,
)

FIELDS = ("plate", "seal", "account", "driver_name", "event")
FACETS = ("existence", "count_band", "contact_desk", "full_record", *(f"field:{f}" for f in FIELDS))
REASON = Reason(code="NO_AGREEMENT", audience=Audience.REQUESTER, text="No.", remedy="ask")

limits = st.none() | st.integers(0, 50)
obligations = st.builds(
    Obligations,
    redact=st.frozensets(st.sampled_from(FIELDS)),
    max_records=limits,
    approvals=st.integers(0, 3),
    second_approvers=st.integers(0, 2),
    notice_delay_s=st.integers(0, 100),
    retention_days=limits,
    onward=st.none() | st.sampled_from(Onward),
    notify=st.frozensets(st.just("owner_desk")),
)
permits = st.builds(
    Decision,
    effect=st.just(Effect.PERMIT),
    checks=st.just({"input_valid": True}),
    facets=st.frozensets(st.sampled_from(FACETS), min_size=1),
    obligations=obligations,
    rules=st.just(("a",)),
    policy_serial=st.just(1),
)
decisions = permits | st.just(denial(REASON, checks=("input_valid",), policy_serial=1))
records = st.frozensets(st.sampled_from(FIELDS))


def same(a: Decision, b: Decision) -> bool:
    """Equal but for the order of reasons."""
    return replace(a, reasons=()) == replace(b, reasons=()) and set(a.reasons) == set(b.reasons)


@given(decisions, decisions, records)
def test_meet_discloses_exactly_what_both_disclose(a: Decision, b: Decision, fields) -> None:
    """Of any record leaves what both decisions let leave, nothing more and nothing less."""
    both = disclosed(a, fields) & disclosed(b, fields)
    met = meet(a, b)
    # Facets the record happens not to have, or that are redacted, disclose nothing of it.
    assert disclosed(met, fields) == both


@given(decisions, decisions)
def test_meet_never_loosens_a_duty(a: Decision, b: Decision) -> None:
    """Limits take the minimum, duties the maximum, redactions the union, notices the common."""
    met, one, two = meet(a, b).obligations, a.obligations, b.obligations
    for limit in ("max_records", "retention_days"):
        set_limits = [v for v in (getattr(one, limit), getattr(two, limit)) if v is not None]
        assert getattr(met, limit) == (min(set_limits) if set_limits else None)
    assert met.approvals == max(one.approvals, two.approvals)
    assert met.second_approvers == max(one.second_approvers, two.second_approvers)
    words = [word for word in (one.onward, two.onward) if word is not None]
    assert met.onward == (min(words, key=list(Onward).index) if words else None)
    assert met.notice_delay_s == max(one.notice_delay_s, two.notice_delay_s)
    assert met.redact == one.redact | two.redact
    assert met.notify == one.notify & two.notify


@given(decisions, decisions, decisions)
def test_meet_is_a_meet(a: Decision, b: Decision, c: Decision) -> None:
    """The order of layers and their grouping do not matter, and a layer twice counts once."""
    assert same(meet(a, b), meet(b, a))
    assert disclosed(meet(a, meet(b, c)), FIELDS) == disclosed(meet(meet(a, b), c), FIELDS)
    assert meet(a, b, c).obligations == meet(a, meet(b, c)).obligations
    assert meet(a, b, c).permit == meet(a, meet(b, c)).permit
    assert disclosed(meet(a, a), FIELDS) == disclosed(a, FIELDS)


@given(decisions)
def test_deny_wins(a: Decision) -> None:
    """A denial met with anything is a denial with its reason, and rests on no agreement."""
    met = meet(a, denial(REASON, checks=("input_valid",)))
    assert not met.permit
    assert met.facets == frozenset()
    assert REASON in met.reasons
    assert met.rules == ()


def test_a_full_record_met_with_fields_is_those_fields() -> None:
    """A full record is all its fields, so one layer's field survives the other's full record."""
    whole = Decision.of_grant(
        facets={"full_record", "existence"}, obligations=Obligations(), policy_serial=1
    )
    part = Decision.of_grant(
        facets={"field:plate", "count_band"}, obligations=Obligations(), policy_serial=1
    )
    assert meet(whole, part).facets == {"field:plate"}


def test_a_permission_of_nothing_is_a_denial() -> None:
    """Layers that permit nothing in common deny, with a reason; so does an empty grant."""
    one, two = (
        Decision.of_grant(facets={facet}, obligations=Obligations(), policy_serial=1)
        for facet in ("field:plate", "field:seal")
    )
    assert [r.code for r in meet(one, two).reasons] == ["NOTHING_GRANTED"]
    assert not meet(one, two).permit
    assert not Decision.of_grant(
        facets={"everything"}, obligations=Obligations(), policy_serial=1
    ).permit


def test_explain_keeps_each_reason_to_its_audience() -> None:
    """What only the owner may read is not in the requester's explanation."""
    secret = Reason(code="ACTIVE_TARGET", audience=Audience.OWNER, text="Target.", remedy="")
    decision = replace(denial(REASON), reasons=(REASON, secret))
    assert "ACTIVE_TARGET" not in explain(decision, Audience.REQUESTER)
    assert "NO_AGREEMENT" in explain(decision, Audience.REQUESTER)
    assert "next: ask" in explain(decision, Audience.REQUESTER)
    assert "ACTIVE_TARGET" in explain(decision, Audience.OWNER)
    assert "ACTIVE_TARGET" in explain(decision, Audience.AUDITOR)


@given(decisions, st.frozensets(st.sampled_from(FACETS)), records)
def test_a_ceiling_only_ever_takes_away(decision: Decision, ceiling, fields) -> None:
    """What leaves under a ceiling would have left without it, and is within the ceiling."""
    met = capped(decision, ceiling)
    left = disclosed(met, fields)
    assert left <= disclosed(decision, fields)
    if "full_record" not in ceiling:
        assert left <= ceiling
    assert met.obligations.notify == decision.obligations.notify
    assert capped(decision, None) is decision
    if met.permit and not any(f == "full_record" or f.startswith("field:") for f in ceiling):
        assert met.obligations.max_records == 0

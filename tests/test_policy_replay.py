"""Replay: past decisions under a draft, compared as what leaves, at the widest moment."""

from __future__ import annotations

import datetime as dt
import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from fairlead import signing
from fairlead.cli.policy.replay import _begun
from fairlead.errors import InvalidInput, NotFound
from fairlead.policy import inputs, report
from fairlead.policy.agreements import federation_data
from fairlead.policy.compiling import identified
from fairlead.policy.decision import Decision, Effect, Obligations
from fairlead.policy.engine import WasmEngine
from fairlead.policy.points import Layer, PolicyPoints
from fairlead.policy.recorded import Outcome, Recorded
from fairlead.policy.replay import WHOLE, Replay, granted, rebased, replay
from fairlead.policy.unsigned import UnsignedPolicy
from fairlead.policy.widening import OTHERS, Kind, Widening, compare
from tests.policy_cases import (
    ANALYST,
    BASELINE,
    CANDIDATES,
    CASE,
    CUSTOMS,
    DEMO,
    GRANT,
    LINE,
    NOW,
    POLICE,
    POLICIES,
    POLICY,
    QUERY,
    RECORD,
    TERMINAL,
    WASM,
    points,
)

FIELDS = ("plate", "account", "seal", "event")
FACETS = ("existence", "count_band", "contact_desk", "full_record", "field:plate", "field:account")


# ── One decision ─────────────────────────────────────────────────────────────────────────────

obligations = st.builds(
    Obligations,
    redact=st.frozensets(st.sampled_from(FIELDS)),
    max_records=st.none() | st.integers(0, 3),
    approvals=st.integers(0, 2),
    notice_delay_s=st.integers(0, 2),
    retention_days=st.none() | st.integers(0, 3),
    notify=st.frozensets(st.just("owner_desk")),
)
decisions = st.builds(
    lambda facets, limits: Decision(
        effect=Effect.PERMIT if facets else Effect.DENY,
        checks=MappingProxyType({}),
        facets=facets,
        obligations=limits,
    ),
    st.frozensets(st.sampled_from(FACETS)),
    obligations,
)


def leaves(decision: Decision) -> set[str]:
    """What leaves, one by one, told in another way than the product tells it."""
    found = set()
    for facet in decision.facets:
        names = FIELDS if facet == "full_record" else [facet.removeprefix("field:")]
        if facet == "full_record" or facet.startswith("field:"):
            found |= {f"field:{name}" for name in names if name not in decision.obligations.redact}
        else:
            found.add(facet)
    return found


def duties(before: Obligations, after: Obligations) -> set[str]:
    """The duties that are looser afterwards."""
    infinite = 10**9

    def limit(value: int | None) -> int:
        return infinite if value is None else value

    looser = {
        "max_records": limit(after.max_records) > limit(before.max_records),
        "retention_days": limit(after.retention_days) > limit(before.retention_days),
        "approvals": after.approvals < before.approvals,
        "notice_delay_s": after.notice_delay_s < before.notice_delay_s,
        "notify": bool(after.notify - before.notify),
    }
    return {name for name, is_looser in looser.items() if is_looser}


@given(decisions, decisions)
def test_a_change_is_what_a_brute_force_comparison_finds(before: Decision, after: Decision) -> None:
    """Kind and gain are those of the two sets of what leaves, and of every duty by itself."""
    change = compare(before, after, FIELDS)
    gained = leaves(after) - leaves(before)
    loose = duties(before.obligations, after.obligations)
    if not (before.permit and after.permit):
        loose &= {"notify"}
    assert set(change.gained) == gained | {f"duty:{name}" for name in loose}
    same = (
        before.permit == after.permit
        and leaves(before) == leaves(after)
        and before.obligations == after.obligations
    )
    assert (change.kind is Kind.SAME) == same
    assert (change.kind is Kind.NEWLY_ALLOWED) == (after.permit and not before.permit)
    assert (change.kind is Kind.NEWLY_REFUSED) == (before.permit and not after.permit)


@given(decisions)
def test_nothing_changes_where_nothing_changed(decision: Decision) -> None:
    """A draft that says the same is the same."""
    assert compare(decision, decision, FIELDS).kind is Kind.SAME


@given(decisions, decisions)
def test_no_tightening_is_called_a_widening(before: Decision, other: Decision) -> None:
    """Whatever is met with something more gains nothing."""
    from fairlead.policy.decision import meet

    assert compare(before, meet(before, other), FIELDS).gained == ()


# ── Many ─────────────────────────────────────────────────────────────────────────────────────


def recorded(point: str, document: dict[str, Any], policy: PolicyPoints) -> Recorded:
    """As the node of the time wrote it down."""
    plain = orjson.loads(orjson.dumps(document))
    outcomes = {p: Outcome.of(d) for p, d in policy.decide(point, plain).items()}
    return Recorded(
        decision_id=bytes(16), point=point, engine="wasm", policy_serial=policy.serial,
        time_ms=NOW * 1000, query_id=b"", digest=b"", outcomes=outcomes, document=plain,
    )  # fmt: skip


def story(policy: PolicyPoints, *, count: int = 60, seed: int = 7) -> Iterator[Recorded]:
    """Decisions at every point, about many questions."""
    draw = random.Random(seed)
    parties = {"customs": CUSTOMS, **CANDIDATES}
    for number in range(count):
        asker = draw.choice(("customs", "customs", *sorted(parties)))
        owner = draw.choice([name for name in sorted(parties) if name != asker])
        query = replace(
            QUERY,
            mode=draw.choice(("sealed", "sealed", "blind")),
            purpose=draw.choice(("drug-trafficking", "drug-trafficking", "security-incident")),
            legal_basis=draw.choice(("eu-ucc-art-46", "eu-ucc-art-46", "gdpr-art-6-1-f")),
            schemes=draw.choice((("container",), ("container", "vehicle-plate"))),
        )
        case = replace(CASE, purpose=query.purpose, legal_basis=query.legal_basis)
        others = {n: p for n, p in parties.items() if n != asker}
        record = replace(
            RECORD,
            tlp=draw.choice(("GREEN", "AMBER", "AMBER+STRICT")),
            purposes=("drug-trafficking", "security-incident"),
            active_target=draw.random() < 0.1,
        )
        now = NOW - draw.randrange(86_400)
        kinds: dict[str, dict[str, Any]] = {
            "asking": inputs.asking_input(
                now=now, query=query, asker=parties[asker], user=ANALYST, case=case, approvals=0,
                candidates=others,
            ),
            "admission": inputs.admission_input(
                now=now, query=query, asker=parties[asker], user=ANALYST, case_open=True,
                user_assigned=True, approvals=0,
            ),
            "routing": inputs.routing_input(
                now=now, query=query, asker=parties[asker], approvals=0, candidates=others
            ),
            "sovereignty": inputs.sovereignty_input(
                now=now, query=query, asker=parties[asker], approvals=0, owner=parties[owner],
                grant=replace(GRANT, mode=query.mode),
            ),
            "release": inputs.release_input(
                now=now, query=query, asker=parties[asker], owner=parties[owner],
                facets=GRANT.facets, records=[record, replace(record, tlp="RED")],
            ),
        }  # fmt: skip
        point = sorted(kinds)[number % len(kinds)]
        yield recorded(point, kinds[point], policy)


def brute(
    records: list[Recorded], draft: PolicyPoints, current: PolicyPoints, at: int
) -> tuple[dict[str, int], int]:
    """How many decisions are of each kind, and how many are widened, one by one."""
    kinds = dict.fromkeys(("same", "newly allowed", "newly refused", "changed"), 0)
    widened = 0
    for item in records:
        document = granted(rebased(item.document or {}, at))
        before, after = current.decide(item.point, document), draft.decide(item.point, document)
        for place in [p for p in item.outcomes if p or len(item.outcomes) == 1]:
            a, b = before[place], after[place]
            gain = bool(leaves_of(b) - leaves_of(a))
            loose = duties(a.obligations, b.obligations)
            gain = gain or bool(loose if a.permit and b.permit else loose & {"notify"})
            widened += gain
            if a.permit != b.permit:
                kinds["newly allowed" if b.permit else "newly refused"] += 1
            else:
                alike = leaves_of(a) == leaves_of(b) and a.obligations == b.obligations
                kinds["same" if alike else "changed"] += 1
    return kinds, widened


def leaves_of(decision: Decision) -> set[str]:
    """What leaves of a record that could have any field of the registry."""
    names = federation_data(BASELINE)["federation"]["fields"]
    found = set()
    for facet in decision.facets:
        if facet == "full_record":
            found |= {f"field:{n}" for n in names if n not in decision.obligations.redact}
        elif facet.removeprefix("field:") not in decision.obligations.redact:
            found.add(facet)
    return found


REGISTRY = tuple(federation_data(BASELINE)["federation"]["fields"])


def changed_demo(old: bytes, new: bytes) -> PolicyPoints:
    """The demo's policy with one thing changed in every file."""
    files = {name: raw.replace(old, new) for name, raw in DEMO.items()}
    assert files != DEMO
    data = identified(federation_data(files), POLICY)
    return PolicyPoints([Layer(WasmEngine(WASM, data, deadline_s=10), POLICY)], 2)


@pytest.fixture(scope="module")
def past() -> list[Recorded]:
    """What was decided under the baseline."""
    return list(story(points(demo=False)))


DRAFTS = {
    "the demo's agreement": lambda: points(demo=True),
    "no approval": lambda: changed_demo(b"approvals: 1", b"approvals: 0"),
    "more redacted": lambda: changed_demo(
        b"redact: [operator_name, driver_name]", b"redact: [operator_name, driver_name, account]"
    ),
    "less kept": lambda: changed_demo(b"retention_days: 90", b"retention_days: 30"),
}


@pytest.mark.parametrize("name", DRAFTS)
def test_a_replay_counts_what_a_brute_force_comparison_counts(
    past: list[Recorded], name: str
) -> None:
    """Every kind's count, and the number of widened decisions, of real decisions of every point."""
    draft, current = DRAFTS[name](), points(demo=False)
    found = replay(past, draft=draft, current=current, at=[NOW], fields=REGISTRY)
    kinds, widened = brute(past, draft, current, NOW)
    assert {str(kind): found.kinds[kind] for kind in Kind} == kinds
    assert sum(found.widenings.values()) == widened
    assert found.unlike == 0
    assert found.records == len(past)


def test_the_demos_agreement_is_a_widening_by_name(past: list[Recorded]) -> None:
    """Its class says who could learn what, under which agreement, and its id is stable."""
    current = points(demo=False)
    first = replay(past, draft=points(), current=current, at=[NOW], fields=REGISTRY).to_json()
    again = replay(
        reversed(past), draft=points(), current=current, at=[NOW], fields=REGISTRY
    ).to_json()
    assert first == again
    assert first["widenings"]
    assert all("demo-sealed-trafficking" in w["agreements"] for w in first["widenings"])
    for widening in first["widenings"]:
        assert widening["mode"] == "sealed"
        assert widening["purpose"] == "drug-trafficking"
        assert widening["gained"]
        assert len(widening["id"]) == 12


def test_the_same_policy_changes_nothing(past: list[Recorded]) -> None:
    """A draft that is the policy in force has nothing to justify."""
    same = points(demo=False)
    found = replay(past, draft=same, current=same, at=[NOW], fields=REGISTRY)
    assert found.kinds.keys() == {Kind.SAME}
    assert not found.widenings


def test_an_agreement_that_begins_later_is_seen(past: list[Recorded], tmp_path: Path) -> None:
    """A draft that opens a door next week is replayed as of next week."""
    (tmp_path / "data").mkdir()
    (tmp_path / "policy.wasm").write_bytes(WASM)
    for name, raw in DEMO.items():
        (tmp_path / name).write_bytes(raw)
    demo = tmp_path / "data" / "demo.yaml"
    later = re.sub(rb"\n    valid_from: .*", b"", demo.read_bytes()).rstrip()
    later += b"\n    valid_from: 2027-01-01\n"  # its one agreement stands last
    demo.write_bytes(later)
    policy = UnsignedPolicy.load(tmp_path)
    moments = policy.moments(NOW)
    assert moments[0] == NOW < moments[1]
    current, draft = points(demo=False), policy.points(0)
    assert not replay(past, draft=draft, current=current, at=[NOW], fields=REGISTRY).widenings
    found = replay(past, draft=draft, current=current, at=moments, fields=REGISTRY)
    assert found.widenings
    assert found.decisions == replay(past, draft=draft, current=current, at=[NOW]).decisions


LIMIT = b"""
  - id: demo-limited
    extends: public-asks-public
    from: ["sector:public"]
    to: ["sector:private"]
    purposes: [drug-trafficking]
    legal_bases: [eu-ucc-art-46, national-criminal-procedure]
    modes: [sealed]
    schemes: [container, vehicle-plate, vessel-imo]
    max_records: 5
    retention_days: 90
"""


def test_an_agreement_that_ends_early_and_so_widens_is_seen(
    past: list[Recorded], tmp_path: Path
) -> None:
    """A draft that lets a limit end next week is replayed as of next week."""

    def written(name: str, more: bytes) -> UnsignedPolicy:
        folder = tmp_path / name
        (folder / "data").mkdir(parents=True)
        (folder / "policy.wasm").write_bytes(WASM)
        for path, raw in DEMO.items():
            (folder / path).write_bytes(raw)
        demo = folder / "data" / "demo.yaml"
        demo.write_bytes(demo.read_bytes().rstrip() + more)
        return UnsignedPolicy.load(folder)

    before = written("before", LIMIT)
    draft = written("draft", LIMIT + b"    valid_until: 2027-01-01\n")
    end = int(dt.datetime(2027, 1, 1, tzinfo=dt.UTC).timestamp())
    assert draft.moments(NOW)[:2] == (NOW, end)
    assert end not in before.moments(NOW)
    for one, other in ((draft, before), (before, draft)):
        assert {NOW, end} <= set(_begun(one, other, NOW).at)
    only_now = replay(
        past, draft=draft.points(0), current=before.points(0), at=[NOW], fields=REGISTRY
    )
    assert not only_now.widenings
    under_way = _begun(draft, before, NOW)
    for item in past:
        under_way.take(item)
    assert under_way.report.widenings


def test_what_was_granted_does_not_hide_what_a_draft_would_grant() -> None:
    """An owner that was granted its existence alone is replayed as if granted everything."""
    policy = points(demo=False)
    query = replace(QUERY, mode="blind")
    document = inputs.sovereignty_input(
        now=NOW, query=query, asker=CUSTOMS, approvals=0, owner=TERMINAL,
        grant=replace(GRANT, mode="blind", facets=("existence",)),
    )  # fmt: skip
    item = recorded("sovereignty", document, policy)
    narrow = changed_demo(b"full_record", b"existence")
    found = replay([item], draft=policy, current=narrow, at=[NOW], fields=REGISTRY)
    assert found.widenings
    assert granted(document)["grant"] == {**document["grant"], "facets": list(WHOLE)}  # type: ignore[dict-item]


def test_times_of_an_input_move_along() -> None:
    """A record that had a day left has a day left whenever it is replayed."""
    (item,) = [r for r in story(points(), count=5) if r.point == "asking"]
    moved = rebased(item.document or {}, NOW + 1000)
    assert item.document is not None
    assert moved["now"] == NOW + 1000
    delta = NOW + 1000 - item.document["now"]
    assert moved["case"]["expires_at"] == item.document["case"]["expires_at"] + delta
    assert rebased(moved, item.document["now"]) == item.document


def test_probes_are_no_decisions() -> None:
    """What an owner's node asks about before every answer is not counted."""
    probe = replace(RECORD, expires_at=7)
    document = inputs.release_input(
        now=NOW, query=QUERY, asker=CUSTOMS, owner=TERMINAL, facets=WHOLE, records=[probe]
    )
    item = recorded("release", document, points())
    found = replay([item], draft=points(), current=points(), at=[NOW])
    assert (found.records, found.decisions) == (1, 0)


def test_a_record_without_input_is_said_to_have_none(past: list[Recorded]) -> None:
    """It is counted apart: nothing can be said of it."""
    found = replay(
        [replace(past[0], document=None), past[1]], draft=points(), current=points(), at=[NOW]
    )
    assert (found.without_input, found.records) == (1, 2)


def test_a_record_that_its_own_policy_does_not_make_is_an_alarm(past: list[Recorded]) -> None:
    """A decision that the policy of its serial would not have made is counted by itself."""
    lied = [
        replace(item, outcomes={p: replace(o, permit=not o.permit) for p, o in
                                item.outcomes.items()})
        for item in past[:3]
    ]  # fmt: skip
    same = points(demo=False)
    found = replay([*lied, *past[3:]], draft=same, current=same, at=[NOW])
    assert found.unlike >= 3


def test_without_the_policy_in_force_records_are_compared_with(past: list[Recorded]) -> None:
    """The demo's agreement is a widening of what was recorded as well."""
    found = replay(past, draft=points(), current=None, at=[NOW], fields=REGISTRY)
    assert found.widenings
    assert found.unlike == 0


@pytest.mark.parametrize("document", [{}, {"now": "x"}, {"now": 1, "query": None}, {"now": 1}])
def test_an_input_that_is_none_is_refused(past: list[Recorded], document: dict[str, Any]) -> None:
    """Nothing is counted of what no decision point wrote."""
    with pytest.raises(InvalidInput):
        replay([replace(past[0], document=document)], draft=points(), current=points(), at=[NOW])


def test_the_number_of_classes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond so many classes further ones are one, which has to be justified as well."""
    monkeypatch.setattr("fairlead.policy.replay.MAX_CLASSES", 2)
    past = list(story(points(demo=False), count=200))
    found = replay(past, draft=points(), current=points(demo=False), at=[NOW], fields=REGISTRY)
    assert len(found.widenings) == 3
    assert OTHERS in found.widenings


def test_records_are_taken_one_by_one(past: list[Recorded]) -> None:
    """Nothing but counts is kept of a record."""
    under_way = Replay(draft=points(), current=points(demo=False), at=[NOW], fields=REGISTRY)
    for item in past:
        under_way.take(item)
    assert under_way.report == replay(
        past, draft=points(), current=points(demo=False), at=[NOW], fields=REGISTRY
    )


# ── The report ───────────────────────────────────────────────────────────────────────────────

OFFICER = Ed25519PrivateKey.from_private_bytes(bytes(32))


def said(
    widening: str, *, text: str = "for the trial", key: Ed25519PrivateKey = OFFICER
) -> Callable[[str], dict[str, Any]]:
    """What an officer says of a class, for the draft that a report is about."""
    return lambda draft: report.justification(widening, text, key, draft=draft, person="", now=NOW)


def written(folder: Path, past: list[Recorded]) -> dict[str, Any]:
    """A report in a draft's folder."""
    found = replay(past, draft=points(), current=points(demo=False), at=[NOW], fields=REGISTRY)
    made = report.document(
        found, log="partner/customs", draft="00", current="11", since=NOW, made_at=NOW
    )
    report.write_report(report.report_path(folder, "partner/customs"), made)
    return made


def test_a_report_holds_counts_and_no_pseudonym(tmp_path: Path, past: list[Recorded]) -> None:
    """Nobody's pseudonym, partner or time of a question is in what partners exchange."""
    written(tmp_path, past)
    text = (tmp_path / "reports" / "replay-customs.json").read_text()
    for secret in (ANALYST.pseudonym, *CANDIDATES, LINE.partner_id, POLICE.partner_id, "expires"):
        assert secret not in text.replace("partner/customs", "")
    rows = json.loads(text)["widenings"]
    assert {w["justification"] for w in rows} == {None}


def test_a_justification_is_by_name_and_stays(tmp_path: Path, past: list[Recorded]) -> None:
    """It is signed by who says it, stands in every report, and survives the next replay of this
    draft, of no other."""
    made = written(tmp_path, past)
    first, *rest = report.unjustified(made)
    (path,) = report.justify(tmp_path, first, said(first, text=" for the trial "))
    found = report.read_report(path)
    assert report.unjustified(found) == rest
    again = report.keep(made, found)
    assert again["widenings"][0]["justification"]["text"] == "for the trial"
    assert again["widenings"][0]["justification"]["by"]
    other = report.keep({**made, "draft": "22"}, found)
    assert report.unjustified(other) == [first, *rest]


@pytest.mark.parametrize("name", ["text", "by", "at", "key", "public", "signature"])
def test_a_changed_justification_is_not_read(
    tmp_path: Path, past: list[Recorded], name: str
) -> None:
    """Nobody puts words into another officer's mouth."""
    made = written(tmp_path, past)
    first = made["widenings"][0]["id"]
    forged = {**said(first)("00"), name: 7 if name == "at" else "00" * 32}
    (path,) = report.justify(tmp_path, first, lambda _: forged)
    with pytest.raises(InvalidInput):
        report.read_report(path)


def test_a_justification_in_another_officers_name_is_not_read(
    tmp_path: Path, past: list[Recorded]
) -> None:
    """Who signs with an own key cannot say that it was somebody else's."""
    made = written(tmp_path, past)
    first = made["widenings"][0]["id"]
    own = Ed25519PrivateKey.from_private_bytes(b"x" * 32)
    theirs = said(first)("00")
    forged = {**said(first, key=own)("00"), "key": theirs["key"], "by": theirs["by"]}
    words = {n: forged[n] for n in ("by", "key", "text", "at")}
    content = {"widening": first, "draft": "00", **words}
    octets = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    forged["signature"] = signing.sign(own, report.DOMAIN, octets).hex()
    (path,) = report.justify(tmp_path, first, lambda _: forged)
    with pytest.raises(InvalidInput):
        report.read_report(path)


def test_a_justification_is_of_one_class(tmp_path: Path, past: list[Recorded]) -> None:
    """Moved to another class it is none."""
    made = written(tmp_path, past)
    (path,) = report.justify(tmp_path, made["widenings"][0]["id"], said("0" * 12))
    with pytest.raises(InvalidInput):
        report.read_report(path)


def test_a_justification_is_of_one_draft(tmp_path: Path, past: list[Recorded]) -> None:
    """A class says which duty is looser, not by how much: another draft asks its officer anew."""
    first = written(tmp_path, past)["widenings"][0]["id"]
    (path,) = report.justify(tmp_path, first, lambda _: said(first)("22"))
    with pytest.raises(InvalidInput):
        report.read_report(path)


@pytest.mark.parametrize("text", ["", "  ", "x" * 501, "two\nlines", "\x1b[31m"])
def test_a_justification_says_something(text: str) -> None:
    """One line that somebody can read, and not a novel."""
    with pytest.raises(InvalidInput):
        said("0" * 12, text=text)("00")


def test_a_widening_that_no_report_has_is_refused(tmp_path: Path, past: list[Recorded]) -> None:
    """A typing error justifies nothing."""
    written(tmp_path, past)
    with pytest.raises(NotFound):
        report.justify(tmp_path, "0" * 12, said("0" * 12))


def test_the_id_of_a_widening_depends_on_all_of_it() -> None:
    """Another agreement, asker, owner, purpose, scheme, mode or gain is another class."""
    one = Widening(
        agreements=("a",), asker_kind="police", owner_kind="terminal", purpose="p",
        schemes=("container",), mode="blind", gained=("existence",),
    )  # fmt: skip
    others = [
        replace(one, agreements=("b",)), replace(one, asker_kind="customs"),
        replace(one, owner_kind="police"), replace(one, purpose="q"),
        replace(one, schemes=("seal",)), replace(one, mode="sealed"),
        replace(one, gained=("field:plate",)),
    ]  # fmt: skip
    assert len({w.widening_id for w in (one, *others)}) == 8
    assert one.widening_id == replace(one).widening_id


def test_the_repositorys_policy_is_a_draft() -> None:
    """The sources' own folder can be replayed, without its example of a partner's agreements."""
    policy = UnsignedPolicy.load(POLICIES)
    assert policy.draft.data.keys() == {"data/agreements.yaml", "data/demo.yaml"}
    assert policy.serial == 0
    assert len(policy.digest) == 64

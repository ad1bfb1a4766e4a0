"""What could leave is measured, contained and held back exactly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.errors import Misconfigured
from fairlead.partners import Partner
from fairlead.policy.decision import Decision, Effect, Obligations, disclosed
from fairlead.policy.inputs import RecordFacts
from node.exposure.acceptance import Acceptance, widened
from node.exposure.gate import EXPOSURE_NOT_ACCEPTED, OWNER_NOT_READY, ExposureGate, channels_of
from node.exposure.matrix import UNLIMITED, Channel, Exposure, Row, facets_of
from node.exposure.source import mapping_digest, source_facts
from node.sources.mapping import SourceMapping, load_mapping

FIELDS = ("plate", "seal", "place", "event", "occurred_at")
FACETS = ("contact_desk", "count_band", "existence", *(f"field:{name}" for name in FIELDS))
CHANNEL = Channel(
    partner="customs", purpose="drug-trafficking", legal_basis="law", mode="sealed",
    scheme="container",
)  # fmt: skip
RECORD = RecordFacts(
    record_type="movement", event="gate-in", tlp="AMBER", pap="AMBER", europol="H0",
    source_grade="A", information_grade="1", purposes=("drug-trafficking",), expires_at=2,
    active_target=False, personal=False, fields=("place", "plate", "seal"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as the gate sees it."""

    schemes: tuple[str, ...] = ("container",)
    purpose: str = "drug-trafficking"
    legal_basis: str = "law"
    mode_name: str = "sealed"

    @property
    def asker(self) -> Partner:
        """The gate reads its id alone."""
        return cast("Partner", SimpleNamespace(partner_id="customs"))


def row(**changes: object) -> Row:
    values: dict[str, object] = {
        "channel": CHANNEL, "record_type": "movement", "facets": FACETS,
        "max_records": 20, "retention_days": 90,
    }  # fmt: skip
    return Row(**{**values, **changes})  # type: ignore[arg-type]


def exposure(*rows: Row) -> Exposure:
    channels = {r.channel: Row(channel=r.channel) for r in rows}
    every = tuple(sorted({*rows, *channels.values()}))
    return Exposure(partner="terminal", rows=every, sources=(), policy_serial=1, directory_serial=1)


def accepted(*rows: Row) -> Acceptance:
    return Acceptance.of(exposure(*rows), by="u-dpo", now=1.0)


def gate(*rows: Row) -> ExposureGate:
    found = ExposureGate()
    found.accept(accepted(*rows))
    return found


def permit(*facets: str, **limits: object) -> Decision:
    return Decision(
        effect=Effect.PERMIT,
        checks=MappingProxyType({}),
        facets=frozenset(facets),
        obligations=Obligations(**limits),  # type: ignore[arg-type]
    )


facet_sets = st.sets(st.sampled_from(FACETS)).map(lambda s: tuple(sorted(s)))
row_sets = st.lists(
    st.builds(
        row,
        channel=st.builds(
            replace, st.just(CHANNEL), scheme=st.sampled_from(["container", "vessel-imo"])
        ),
        personal=st.booleans(),
        approvals=st.integers(0, 2),
        facets=facet_sets,
        max_records=st.sampled_from([1, 5, UNLIMITED]),
        retention_days=st.sampled_from([1, 30, UNLIMITED]),
    ),
    max_size=6,
)
decisions = st.builds(
    lambda facets, redact, approvals, limit: permit(
        *facets, redact=frozenset(redact), approvals=approvals, max_records=limit
    ),
    st.sets(st.sampled_from([*FACETS, "full_record"]), min_size=1),
    st.sets(st.sampled_from(FIELDS)),
    st.integers(0, 2),
    st.sampled_from([None, 1, 50]),
)


# ── Containment ──────────────────────────────────────────────────────────────────────────────


@settings(deadline=None)
@given(row_sets)
def test_an_accepted_exposure_holds_nothing_beyond_itself(rows: list[Row]) -> None:
    """Whatever was accepted as a whole is contained in itself, and survives being kept."""
    found = exposure(*rows)
    kept = Acceptance.of(found, by="u-dpo", now=1.0)
    assert widened(found, kept) == ()
    assert Acceptance.parse(kept.document()) == kept


@pytest.mark.parametrize(
    "wider",
    [
        row(facets=(*FACETS, "field:driver_name")),
        row(max_records=21),
        row(retention_days=91),
        row(personal=True),
        row(record_type="access"),
        row(channel=replace(CHANNEL, partner="police")),
        row(channel=replace(CHANNEL, purpose="customs-risk")),
        row(channel=replace(CHANNEL, legal_basis="another")),
        row(channel=replace(CHANNEL, mode="blind")),
        row(channel=replace(CHANNEL, scheme="vessel-imo")),
    ],
)
def test_every_way_to_widen_is_seen(wider: Row) -> None:
    """A facet, a limit, a kind of record, a recipient, a purpose, a ground, a mode, a scheme."""
    assert widened(exposure(row()), accepted(row())) == ()
    assert widened(exposure(row(), wider), accepted(row()))


def test_an_approval_less_is_more() -> None:
    """What was accepted with an approval of one's own people is not accepted without."""
    assert widened(exposure(row(approvals=0)), accepted(row(approvals=1)))
    assert widened(exposure(row(approvals=1)), accepted(row(approvals=0))) == ()


def test_narrower_is_contained() -> None:
    """Fewer facets and lower limits need nobody's signature."""
    narrow = row(facets=("existence",), max_records=1, retention_days=1)
    assert widened(exposure(narrow), accepted(row())) == ()
    assert widened(exposure(), accepted(row())) == ()


@settings(deadline=None)
@given(
    st.binary()
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(str).map(str.encode)
)
def test_a_damaged_acceptance_is_none(octets: bytes) -> None:
    """What cannot be read back is an error, never an acceptance, and never another exception."""
    with pytest.raises(Misconfigured):
        Acceptance.parse(octets)


# ── The gate ─────────────────────────────────────────────────────────────────────────────────


@settings(deadline=None)
@given(row_sets, decisions, st.booleans())
def test_no_record_discloses_more_than_was_accepted(
    rows: list[Row], decision: Decision, personal: bool
) -> None:
    """Whatever policy says, what leaves of a record is in policy and in the acceptance."""
    record = replace(RECORD, personal=personal)
    query = Asked()
    shown = gate(*rows).record(decision, query, record)
    fields = FIELDS
    fitting = [
        r for r in rows
        if r.channel == CHANNEL and r.personal is personal
        and r.approvals <= decision.obligations.approvals
    ]  # fmt: skip
    allowed = {f for r in fitting for f in r.facets}
    assert facets_of(shown, fields) <= allowed & facets_of(decision, fields)
    if shown.permit:
        assert shown.obligations.max_records is not None
        assert shown.obligations.max_records <= max(r.max_records for r in fitting)
        assert shown.obligations.approvals == decision.obligations.approvals


@settings(deadline=None)
@given(decisions)
def test_the_whole_accepted_changes_nothing(decision: Decision) -> None:
    """With everything accepted, exactly what policy permits leaves."""
    wide = row(max_records=UNLIMITED, retention_days=UNLIMITED)
    shown = gate(wide).record(decision, Asked(), RECORD)
    assert disclosed(shown, FIELDS) == facets_of(decision, FIELDS)


def test_a_channel_nobody_accepted_is_refused() -> None:
    """The refusal depends on no record; the requester reads one code, the owner both."""
    asked = Asked(purpose="customs-risk")
    for found in (ExposureGate(), gate(row())):
        ruled = found.rule(permit("full_record"), asked)
        assert not ruled.permit
        assert [r.code for r in ruled.reasons if r.audience == "requester"] == ["OWNER_NOT_READY"]
        assert EXPOSURE_NOT_ACCEPTED in ruled.reasons
        assert OWNER_NOT_READY in ruled.reasons


def test_every_scheme_of_a_question_was_accepted() -> None:
    """A question of two schemes gets what both bring, and nothing when one was not accepted."""
    other = row(channel=replace(CHANNEL, scheme="vessel-imo"), facets=("existence", "field:seal"))
    both = Asked(schemes=("container", "vessel-imo"))
    assert not gate(row()).rule(permit("full_record"), both).permit
    shown = gate(row(), other).record(permit("full_record"), both, RECORD)
    assert disclosed(shown, FIELDS) == {"existence", "field:seal"}
    assert channels_of(both)[1].scheme == "vessel-imo"


def test_an_accepted_no_hit_is_answered() -> None:
    """A channel accepted without any record is answered, and no record passes."""
    empty = ExposureGate()
    empty.accept(
        Acceptance(
            digest="",
            by="u",
            accepted_at=0.0,
            rows=(Row(channel=CHANNEL),),
            sources=MappingProxyType({}),
        )
    )
    assert empty.rule(permit("existence"), Asked()).permit
    assert not empty.record(permit("existence"), Asked(), RECORD).permit


def test_a_filter_on_a_time_nobody_accepted_is_none() -> None:
    """A time that may not be disclosed must not be searched by either: its facet is gone."""
    timeless = tuple(f for f in FACETS if f != "field:occurred_at")
    ruled = gate(row(facets=timeless)).rule(permit("full_record"), Asked())
    assert "field:occurred_at" not in ruled.facets
    assert "full_record" not in ruled.facets
    mixed = gate(row(), row(personal=True, facets=timeless))
    assert "field:occurred_at" not in mixed.rule(permit("full_record"), Asked()).facets


# ── Mappings ─────────────────────────────────────────────────────────────────────────────────

MAPPING = """
source = "gate"
files = ["gate.csv"]
record_type = "movement"
event = { column = "direction", map = { IN = "gate-in" } }
purposes = ["drug-trafficking"]
retention_days = 365
active_target = false
personal = false
redact_always = ["lane"]

[[identifiers]]
scheme = "container"
column = "box"

[time]
column = "at"

[handling]
tlp = "AMBER"
pap = { column = "pap" }
europol = "H0"
source_grade = "A"
information_grade = "1"

[fields]
plate = "plate"
lane = "card"
"""


def mapping(folder: Path, text: str = MAPPING) -> SourceMapping:
    path = folder / "gate.toml"
    path.write_text(text)
    return load_mapping(path)


def test_an_edited_mapping_is_another_one(tmp_path: Path) -> None:
    """One more field, another column, another retention: not the accepted source any more."""
    original = mapping(tmp_path)
    found = gate(row())
    assert not found.source(original)
    found.accept(
        replace(accepted(row()), sources=MappingProxyType({"gate": mapping_digest(original)}))
    )
    assert found.source(original)
    assert found.source(mapping(tmp_path, "# a comment says nothing\n" + MAPPING))
    for edit in (
        ('plate = "plate"', 'plate = "plate"\nseal = "seal"'),
        ('column = "box"', 'column = "box2"'),
        ("retention_days = 365", "retention_days = 3650"),
        ('redact_always = ["lane"]', ""),
        ('["drug-trafficking"]', '["drug-trafficking", "infiltration"]'),
        ("retention_days = 365", 'retention_days = 365\ncountry = "BE"'),
    ):
        assert edit[0] in MAPPING
        assert not found.source(mapping(tmp_path, MAPPING.replace(*edit)))


def test_a_source_is_described_by_its_mapping(tmp_path: Path) -> None:
    """A column of handling may hold any word; what is always redacted is no releasable field."""
    facts = source_facts(mapping(tmp_path))
    assert facts.fields == ("plate",)
    assert facts.withheld == ("lane",)
    assert {h[1] for h in facts.handlings} == {"CLEAR", "GREEN", "AMBER", "RED"}
    assert {h[0] for h in facts.handlings} == {"AMBER"}
    assert all(not record.active_target for record in facts.record_facts(1))
    assert {record.country for record in facts.record_facts(1)} == {""}
    abroad = MAPPING.replace("retention_days", 'country = "BE"\nretention_days')
    records = source_facts(mapping(tmp_path, abroad)).record_facts(1)
    assert {record.country for record in records} == {"BE"}

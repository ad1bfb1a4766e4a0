"""Who shares a class, and which kinds of record its members may all learn of until the end."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from fairlead.facts import party_facts
from fairlead.policy.decision import Decision, Obligations
from fairlead.policy.inputs import GrantFacts, RecordFacts
from node.exposure.acceptance import Acceptance
from node.exposure.matrix import Channel, Exposure, Row, one_term
from node.owning import at_rest
from node.publication.classes import AudienceClass, classes_of
from node.publication.decision import PublicationPoint, Telling, moments, telling
from node.publication.kind import AGES, DAY_S, Kind, kind_of
from node.steering import Steering
from tests.publications import EVERY_PURPOSE, OWNER, owner_of
from tests.test_node_disclosing import indexed

NOW = 1_795_000_000
FACTS = RecordFacts(
    record_type="movement", event="gate-in", tlp="AMBER", pap="AMBER", europol="H0",
    source_grade="A", information_grade="1", purposes=EVERY_PURPOSE, expires_at=0,
    active_target=False, personal=False, fields=("place", "plate"),
)  # fmt: skip
KIND = Kind(facts=FACTS, window_days=30)
CHANNEL = Channel(
    partner="customs", purpose="drug-trafficking", legal_basis="eu-ucc-art-46", mode="blind",
    scheme="container",
)  # fmt: skip
EVERYTHING = Telling(record=True, event=True, date=True, desk=True)


# ── Classes ──────────────────────────────────────────────────────────────────────────────────


def rows(
    partner: str, purpose: str, *, sources: tuple[str, ...] = ("gate",), mode: str = "blind",
    scheme: str = "container", facets: tuple[str, ...] = ("existence",),
) -> list[Row]:  # fmt: skip
    channel = Channel(partner=partner, purpose=purpose, legal_basis="law", mode=mode, scheme=scheme)
    kind = Row(channel=channel, record_type="movement", facets=facets, sources=sources)
    return [Row(channel=channel), kind]


def classes(*found: list[Row], accepted: list[Row] | None = None) -> list[tuple[str, str, str]]:
    """Partners, purposes and schemes of each class."""
    everything = tuple(row for part in found for row in part)
    exposure = Exposure(
        partner=OWNER, rows=everything, sources=(), policy_serial=3, directory_serial=1
    )
    acceptance = Acceptance.of(exposure, by="u-dpo", now=0)
    if accepted is not None:
        acceptance = replace(acceptance, rows=tuple(accepted))
    return [
        (" ".join(c.audience.partners), " ".join(c.audience.purposes), " ".join(c.schemes))
        for c in classes_of(exposure, acceptance)
    ]


def test_who_is_treated_alike_shares_a_class() -> None:
    """Two partners with the same outcome for two purposes are one class of both by both."""
    parts = [rows(partner, purpose) for partner in ("customs", "police") for purpose in ("a", "b")]
    assert classes(*parts) == [("customs police", "a b", "container")]


@pytest.mark.parametrize(
    "difference",
    [{"sources": ("gate", "yard")}, {"scheme": "seal"}, {"facets": ("contact_desk", "existence")}],
)
def test_who_is_treated_otherwise_does_not(difference: dict[str, object]) -> None:
    """Another source, scheme or facet: together, one of the two would keep something back."""
    other = rows("police", "a", **difference)  # type: ignore[arg-type]
    assert len(classes(rows("customs", "a"), other)) == 2


def test_only_blind_and_accepted_channels_count() -> None:
    """Sealed questions make no class, nor does what nobody accepted, nor policy that is no more."""
    assert classes(rows("customs", "a", mode="sealed")) == []
    assert classes(rows("customs", "a"), accepted=[]) == []
    assert classes([], accepted=rows("customs", "a")) == []
    exposure = Exposure(
        partner=OWNER, rows=tuple(rows("customs", "a")), sources=(), policy_serial=3,
        directory_serial=1,
    )  # fmt: skip
    assert classes_of(exposure, None) == ()


def test_a_name_alone_is_never_published() -> None:
    """A scheme with a ceiling is in no class, whatever an agreement says."""
    found = classes(rows("customs", "a"), rows("customs", "a", scheme="person-name"))
    assert found == [("customs", "a", "container")]
    assert classes(rows("customs", "a", scheme="person-name")) == []


# ── Kinds ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("expires_in", "published"), [(0, True), (1, True), (-1, False), (-DAY_S, False)]
)
def test_retention_reaches_the_end_or_a_record_stays_out(expires_in: int, published: bool) -> None:
    """One second short of the end of the overlap is too short."""
    found = kind_of(indexed(expires_at=NOW + expires_in, occurred_at=NOW - 10), NOW)
    assert (found is not None) is published


@pytest.mark.parametrize("days", [*AGES, 2, 400, 2_000])
def test_an_age_is_rounded_up(days: int) -> None:
    """No record is taken for younger than it will be at the end."""
    found = kind_of(indexed(expires_at=NOW + 1, occurred_at=NOW - days * DAY_S), NOW)
    assert found is not None
    assert found.window_days is None or found.window_days >= days
    older = kind_of(indexed(expires_at=NOW + 1, occurred_at=NOW - days * DAY_S - 1), NOW)
    assert older is not None
    assert older.window_days is None or older.window_days > days


def test_a_kind_survives_its_way_to_another_process() -> None:
    """What one process decides, another finds again."""
    assert Kind.from_document(KIND.to_document()) == KIND
    assert hash(Kind.from_document(KIND.to_document())) == hash(KIND)


def test_values_make_no_kind() -> None:
    """Two records that differ in values alone are one kind."""
    first, second = (
        kind_of(indexed(expires_at=NOW + 5, occurred_at=NOW - 9, fields={"place": value}), NOW)
        for value in ("Gate 1", "Gate 2")
    )
    assert first == second


def test_every_midnight_is_asked_about() -> None:
    """Now, each midnight at which an agreement may end, and the last second; nothing after it."""
    found = moments(NOW, NOW + 8 * DAY_S)
    assert (found[0], found[-1]) == (NOW, NOW + 8 * DAY_S - 1)
    assert [moment % DAY_S for moment in found[1:-1]] == [0] * 8
    assert moments(NOW + 0.5, NOW + 1) == (NOW,)


# ── What an entry may say ────────────────────────────────────────────────────────────────────


def granted(*facets: str, **limits: object) -> Decision:
    return Decision.of_grant(facets=set(facets), obligations=Obligations(**limits), policy_serial=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("decision", "said"),
    [
        (granted("full_record", "contact_desk"), EVERYTHING),
        (granted("existence"), Telling(record=False, event=False, date=False, desk=False)),
        (granted("existence", "contact_desk"),
         Telling(record=False, event=False, date=False, desk=True)),
        (granted("existence", "field:event"),
         Telling(record=True, event=True, date=False, desk=False)),
        (granted("existence", "field:plate"),
         Telling(record=True, event=False, date=False, desk=False)),
        (granted("full_record", redact=frozenset({"event", "occurred_at"})),
         Telling(record=True, event=False, date=False, desk=False)),
        (granted("full_record", max_records=0),
         Telling(record=False, event=False, date=False, desk=False)),
        (granted("full_record", approvals=1), None),
        (granted("contact_desk"), None),
        (granted("field:event"), None),
    ],
)  # fmt: skip
def test_an_entry_says_what_a_sealed_answer_would(decision: Decision, said: Telling | None) -> None:
    """Existence first, then each part by its own facet; what waits for approval looks absent."""
    assert telling(KIND, decision, "container") == said


# ── The real policy ──────────────────────────────────────────────────────────────────────────

LOCAL = """\
schema: 2
agreements:
  - id: mine
    from: ["partner:customs", "partner:police"]
    to: ["kind:terminal"]
    purposes: [drug-trafficking]
    legal_bases: [eu-ucc-art-46, national-criminal-procedure]
    modes: [blind]
    schemes: [container]
    roles: [analyst]
    facets: [existence, contact_desk]
    redact: []
    max_records: 1
    notice_delay_s: 0
    retention_days: 30
    max_terms: 16
    max_window_days: 60
    valid_from: 2026-01-01
    valid_until: {until}
"""


@asynccontextmanager
async def deciding(
    folder: Path, until: str | None = None, more: str = ""
) -> AsyncIterator[tuple[Steering, PublicationPoint, AudienceClass]]:
    """The owner's decision point, and the class in which customs asks about trafficking."""
    local = {}
    if until is not None:
        folder.mkdir(exist_ok=True)
        (folder / "local.yaml").write_text(LOCAL.format(until=until) + more)
        local = {OWNER: folder / "local.yaml"}
    made = owner_of(folder, [], local_policy=local)
    async with at_rest(made.node_configs[OWNER]) as steering:
        owner = steering.owner
        found = classes_of(await owner.measure(), owner.gate.acceptance)
        (audience,) = (
            c for c in found
            if "customs" in c.audience.partners and "drug-trafficking" in c.audience.purposes
        )  # fmt: skip
        point = PublicationPoint(
            owner=owner.directory().partner(OWNER), directory=owner.directory(),
            policy=owner.policy(), gate=owner.gate,
        )  # fmt: skip
        yield steering, point, audience


async def decided(
    point: PublicationPoint, audience: AudienceClass, *kinds: Kind, days: float = 8
) -> dict[Kind, Telling]:
    now = time.time()
    return await point.decide(audience, "container", kinds, now=now, until=int(now + days * DAY_S))


async def test_policy_decides_by_kind(tmp_path: Path) -> None:
    """The baseline lets a movement through and keeps back RED, other purposes, active targets, what
    lies beyond a question's reach, and what was not accepted."""
    out = [
        replace(KIND, facts=replace(FACTS, tlp="RED")),
        replace(KIND, facts=replace(FACTS, tlp="")),
        replace(KIND, facts=replace(FACTS, purposes=("drug-trafficking",))),
        replace(KIND, facts=replace(FACTS, active_target=True)),
        replace(KIND, facts=replace(FACTS, record_type="sighting")),
        replace(KIND, facts=replace(FACTS, event="unspecified")),
        replace(KIND, window_days=1_825),
        replace(KIND, window_days=None),
    ]
    pointer = replace(KIND, facts=replace(FACTS, europol="H2"))
    covert = replace(KIND, facts=replace(FACTS, pap="RED"))
    async with deciding(tmp_path) as (_, point, audience):
        found = await decided(point, audience, KIND, pointer, covert, *out)
        desk = Telling(record=False, event=False, date=False, desk=True)
        assert found == {KIND: EVERYTHING, covert: EVERYTHING, pointer: desk}
        assert (
            await point.decide(
                audience, "seal", [KIND], now=time.time(), until=int(time.time()) + DAY_S
            )
            == {}
        )


async def test_what_demands_a_legal_instrument_is_published_for_who_has_one(
    tmp_path: Path,
) -> None:
    """Whoever looks it up has to show the instrument before a question is answered; without one
    that anybody issues nothing is published."""
    demanded = "    instrument: {kinds: [court-order], authorities: [court, investigating-judge]}\n"
    desk = Telling(record=False, event=False, date=False, desk=True)
    async with deciding(tmp_path, "2031-01-01", demanded) as (steering, point, audience):
        assert await decided(point, audience, KIND) == {KIND: desk}
        owner = steering.owner.policy()
        asker = party_facts(point.directory.partner("customs"))
        bare = owner.sovereignty(
            now=int(time.time()),
            query=one_term(CHANNEL),
            asker=asker,
            approvals=0,
            owner=party_facts(point.owner),
            grant=GrantFacts(
                mode="blind", facets=("existence",), policy_serial=1, expires_at=2**40
            ),
        )
        assert [reason.code for reason in bare.reasons][:1] == ["INSTRUMENT_REQUIRED"]


async def test_an_agreement_that_ends_within_the_epoch_publishes_nothing(tmp_path: Path) -> None:
    """A local agreement that ends at midnight permits now, and is too short for an epoch."""
    ends = time.strftime("%Y-%m-%d", time.gmtime(time.time() + DAY_S))
    async with deciding(tmp_path, until=ends) as (_, point, audience):
        assert await decided(point, audience, KIND, days=1e-5)
        assert await decided(point, audience, KIND) == {}


async def test_the_narrowest_layer_counts(tmp_path: Path) -> None:
    """What the owner's own agreement narrows is narrowed in every entry: a desk, and 60 days."""
    async with deciding(tmp_path, until="2031-01-01") as (_, point, audience):
        older = replace(KIND, window_days=90)
        assert await decided(point, audience, KIND, older) == {
            KIND: Telling(record=False, event=False, date=False, desk=True)
        }


async def test_nothing_accepted_is_nothing_published(tmp_path: Path) -> None:
    """When the acceptance is gone between the classes and the decision, every kind stays out."""
    async with deciding(tmp_path) as (steering, point, audience):
        steering.owner.gate.accept(None)
        assert await decided(point, audience, KIND) == {}

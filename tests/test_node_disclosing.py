"""What leaves of an owner's records: nothing that was not permitted, within one fixed size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fairlead import sealing
from fairlead.envelope.answer import room_left
from fairlead.envelope.query import Query, Scope
from fairlead.envelope.question import Question
from fairlead.errors import PolicyUnavailable
from fairlead.identifiers import parse
from fairlead.policy.decision import Decision, Effect, Obligations
from fairlead.policy.engine import PolicyEngine
from fairlead.policy.points import PolicyPoints
from fairlead.v1 import query_pb2 as pb
from fairlead.vocabulary import Event, Handling
from node.disclosing import (
    MAX_VISIBLE,
    Disclosed,
    Disclosure,
    Ruling,
    band,
    fill,
    narrowed,
    record_facts,
    to_wire,
    within,
)
from node.index import Index, IndexedRecord
from node.sources.record import SourceRecord
from tests.accepted import gate_for
from tests.federation import record
from tests.policy_cases import NOW, QUERY, points
from tests.walks import OWNER, World, make_world

CONTAINER = parse("container", "MSCU6639870")
FULL = frozenset({"existence", "count_band", "contact_desk", "full_record"})
EXISTENCE = frozenset({"existence"})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("disclosing"), now=float(NOW))


@pytest.fixture(scope="module")
def query(world: World) -> Query:
    return world.walk(now=float(NOW)).verify(float(NOW))


def ruling(facets: frozenset[str] = FULL, scope: Scope | None = None, **limits: Any) -> Ruling:
    """This owner permits ``facets`` with these obligations."""
    decision = Decision(
        effect=Effect.PERMIT, checks={}, facets=facets, obligations=Obligations(**limits)
    )
    reach = scope or Scope(since=NOW - 90 * 86_400)
    question = Question(terms=(CONTAINER,), scope=reach)
    return Ruling(question=question, decision=decision, facts=QUERY)


def held(number: int, **changes: Any) -> SourceRecord:
    """The owner's record number ``number``, the newest being 0."""
    settings: dict[str, Any] = {"occurred_at": NOW - 3600 - 60 * number, "origin": f"row {number}"}
    return record(now=NOW, **{**settings, **changes})


async def answer(
    world: World,
    query: Query,
    folder: Path,
    records: Sequence[SourceRecord],
    ruled: Ruling | None = None,
    policy: PolicyPoints | None = None,
) -> pb.TermAnswer:
    return (await disclosed(world, query, folder, records, ruled, policy)).answers[0]


async def disclosed(
    world: World,
    query: Query,
    folder: Path,
    records: Sequence[SourceRecord],
    ruled: Ruling | None = None,
    policy: PolicyPoints | None = None,
) -> Disclosed:
    keys = {"token_key": bytes(32), "field_key": b"\x01" * 32, "clock": lambda: float(NOW)}
    Index.build(folder / "index", records, **keys)  # type: ignore[arg-type]
    index = Index.open(folder / "index", **keys)  # type: ignore[arg-type]
    try:
        disclosure = Disclosure(
            owner=world.directory.partner(OWNER),
            index=index,
            policy=policy or points(),
            gate=gate_for(query),
            clock=lambda: float(NOW),
        )
        return await disclosure.answer(query, ruled or ruling())
    finally:
        index.close()


# ── Whole answers ────────────────────────────────────────────────────────────────────────────


async def test_a_record_is_disclosed_with_its_fields_and_without_names(
    world: World, query: Query, tmp_path: Path
) -> None:
    """Fields leave, names of persons are redacted and named as withheld, with the handling."""
    found = await answer(world, query, tmp_path, [held(0)])
    assert (found.hit, found.count_band, found.more) == (True, "1", False)
    assert found.contact_desk == world.directory.partner(OWNER).contact_desk
    (shown,) = found.records
    assert {item.name: item.value for item in shown.fields} == {"place": "Gate 7"}
    assert list(shown.withheld) == ["driver_name"]
    assert (shown.event, shown.occurred_at) == ("gate-in", NOW - 3600)
    assert (shown.handling.europol, len(shown.ref)) == ("H0", 16)


async def test_nothing_held_and_nothing_permitted_say_the_same(
    world: World, query: Query, tmp_path: Path
) -> None:
    """Absent, hidden by handling, of another purpose, and waiting for approval: one no hit."""
    red = Handling(tlp="RED", pap="RED", europol="H0", source_grade="A", information_grade="1")
    cases: list[tuple[list[SourceRecord], Ruling]] = [
        ([], ruling()),
        ([held(0, handling=red)], ruling()),
        ([held(0, purposes=("customs-risk",))], ruling()),
        ([held(0, active_target=True)], ruling()),
        ([held(0)], ruling(approvals=1)),
        ([held(0)], ruling(frozenset({"contact_desk"}))),
        ([held(0, expires_at=NOW - 1)], ruling()),
        ([held(0)], ruling(scope=Scope(since=NOW - 60))),
        ([held(0)], ruling(scope=Scope(since=NOW - 86_400, events=("seizure",)))),
    ]
    for place, (records, ruled) in enumerate(cases):
        folder = tmp_path / str(place)
        folder.mkdir()
        assert await answer(world, query, folder, records, ruled) == pb.TermAnswer(index=0)


async def test_an_active_target_is_no_hit_and_its_desk_is_told(
    world: World, query: Query, tmp_path: Path
) -> None:
    """The asker learns nothing; the owner's desk hears of the question."""
    found = await disclosed(world, query, tmp_path, [held(0, active_target=True)])
    assert found.answers == [pb.TermAnswer(index=0)]
    assert set(found.desks) == {"owner_desk"}


@pytest.mark.parametrize(
    ("facets", "expected"),
    [
        (EXISTENCE, pb.TermAnswer(index=0, hit=True)),
        (EXISTENCE | {"count_band"}, pb.TermAnswer(index=0, hit=True, count_band="2-5")),
        (EXISTENCE | {"contact_desk"}, pb.TermAnswer(index=0, hit=True, contact_desk="?")),
    ],
)
async def test_only_the_granted_facets_are_in_the_answer(
    world: World, query: Query, tmp_path: Path, facets: frozenset[str], expected: pb.TermAnswer
) -> None:
    """Existence alone is a bare hit; each facet adds its own field and no other."""
    if expected.contact_desk:
        expected.contact_desk = world.directory.partner(OWNER).contact_desk
    found = await answer(world, query, tmp_path, [held(0), held(1)], ruling(facets))
    assert found == expected


async def test_event_and_time_are_fields_like_others(
    world: World, query: Query, tmp_path: Path
) -> None:
    """Without their own facets neither event nor time of a disclosed record is shown."""
    plain = ruling(EXISTENCE | {"field:place"})
    (shown,) = (await answer(world, query, tmp_path, [held(0)], plain)).records
    assert (shown.event, shown.occurred_at) == ("", 0)
    assert [item.name for item in shown.fields] == ["place"]
    assert list(shown.withheld) == ["driver_name"]
    both = ruling(EXISTENCE | {"field:place", "field:event", "field:occurred_at"})
    (shown,) = (await answer(world, query, tmp_path, [held(0)], both)).records
    assert (shown.event, shown.occurred_at) == ("gate-in", NOW - 3600)


@pytest.mark.parametrize(("limit", "kept"), [(0, 0), (1, 1), (2, 2), (3, 3), (None, 3)])
async def test_the_limit_of_records_is_kept_and_zero_means_none(
    world: World, query: Query, tmp_path: Path, limit: int | None, kept: int
) -> None:
    """At most the permitted number leaves, the newest first; ``more`` says there are others."""
    records = [held(n, fields={"place": f"Gate {n}"}) for n in range(3)]
    found = await answer(world, query, tmp_path, records, ruling(max_records=limit))
    assert [r.fields[0].value for r in found.records] == [f"Gate {n}" for n in range(kept)]
    assert found.more == (kept < 3)
    assert found.count_band == "2-5"


async def test_hidden_records_leave_no_trace_beside_visible_ones(
    world: World, query: Query, tmp_path: Path
) -> None:
    """However many records are hidden, before or behind the visible one, nothing counts them."""
    hidden = [held(n, active_target=True) for n in range(1, 150)]
    found = await answer(world, query, tmp_path, [*hidden, held(0), held(300)])
    assert (found.count_band, len(found.records), found.more) == ("2-5", 2, False)
    newer = [held(-n, active_target=True) for n in range(1, 150)]
    (tmp_path / "newer").mkdir()
    found = await answer(world, query, tmp_path / "newer", [*newer, held(0)])
    assert (found.hit, found.count_band, found.more) == (True, "1", False)


async def test_more_than_the_widest_band_is_said_as_such(
    world: World, query: Query, tmp_path: Path
) -> None:
    """Beyond a hundred, records are not counted further."""
    found = await answer(world, query, tmp_path, [held(n) for n in range(MAX_VISIBLE + 60)])
    assert (found.count_band, found.more) == (">100", True)


class Failing(PolicyEngine):
    """An engine that is broken; the port's third implementation, for what must not happen."""

    def evaluate(self, point: str, document: Mapping[str, object]) -> bytes:
        raise RuntimeError(point)


@pytest.mark.parametrize("count", [0, 1])
async def test_a_broken_policy_fails_for_hits_and_misses_alike(
    world: World, query: Query, tmp_path: Path, count: int
) -> None:
    """Without a decision the query fails; it never says no hit, and never only for a hit."""
    broken = PolicyPoints([Failing()], 1)
    with pytest.raises(PolicyUnavailable):
        await answer(world, query, tmp_path, [held(n) for n in range(count)], policy=broken)


# ── Fitting ──────────────────────────────────────────────────────────────────────────────────


def row(size: int, number: int = 0) -> pb.Record:
    return pb.Record(ref=number.to_bytes(16, "big"), fields=[pb.Field(name="f", value="x" * size)])


@settings(max_examples=120, deadline=None)
@given(
    sizes=st.lists(st.lists(st.integers(0, 700), max_size=12), min_size=1, max_size=6),
    desk=st.integers(0, 60),
    more=st.lists(st.booleans(), min_size=6, max_size=6),
)
@example(sizes=[[4009], [1]], desk=0, more=[False] * 6)
@example(sizes=[[4570], [1]], desk=0, more=[False] * 6)
def test_what_is_filled_in_always_fits(
    query: Query, sizes: list[list[int]], desk: int, more: list[bool]
) -> None:
    """Whatever is pending, the size holds, order is kept, and ``more`` is said where it is so."""
    terms = len(sizes)
    asked = replace(query, term_count=terms)
    answers = [
        pb.TermAnswer(index=n, hit=bool(sizes[n]), contact_desk="d" * desk, more=more[n])
        for n in range(terms)
    ]
    pending = [[row(size, n) for n, size in enumerate(list_)] for list_ in sizes]
    fill(asked, OWNER, answers, pending)
    assert room_left(asked.query_id, OWNER, answers, terms) >= 0
    for answer, records, said in zip(answers, pending, more, strict=False):
        assert list(answer.records) == records[: len(answer.records)]
        assert answer.more == (said or len(answer.records) < len(records))
    taken = [len(answer.records) for answer in answers]
    open_ = [n for n, records in enumerate(pending) if taken[n] < len(records)]
    for n in open_:  # nobody is starved: each has at most one record less than any other
        assert taken[n] + 1 >= max(min(len(pending[m]), taken[m]) for m in range(terms))


@settings(max_examples=40, deadline=None)
@given(st.integers(3_700, 4_080), st.integers(0, 3))
def test_a_brimful_answer_still_says_more(query: Query, size: int, second: int) -> None:
    """Around the very last octet, saying ``more`` never bursts the fixed size."""
    for terms in (1, 2):
        room = sealing.answer_size(terms) - 4096
        answers = [pb.TermAnswer(index=n, hit=True) for n in range(terms)]
        pending = [[row(size + room), row(0)], [row(second)]][:terms]
        asked = replace(query, term_count=terms)
        fill(asked, OWNER, answers, pending)
        assert room_left(asked.query_id, OWNER, answers, terms) >= 0


# ── Pieces ───────────────────────────────────────────────────────────────────────────────────


@given(st.integers(1, 10_000))
def test_bands_are_wide_and_cover_everything(count: int) -> None:
    """Every count has exactly one of five words, and the words grow with the count."""
    bands = {"1": (1, 1), "2-5": (2, 5), "6-20": (6, 20), "21-100": (21, 100), ">100": (101, 10**9)}
    low, high = bands[band(count)]
    assert low <= count <= high


def indexed(**changes: Any) -> IndexedRecord:
    fields: dict[str, Any] = {
        "ref": bytes(16),
        "record_type": "movement",
        "event": "gate-in",
        "occurred_at": 1000,
        "expires_at": 5000,
        "tlp": "AMBER",
        "pap": "GREEN",
        "europol": "H1",
        "source_grade": "B",
        "information_grade": "2",
        "purposes": ("drug-trafficking",),
        "active_target": False,
        "personal": False,
        "fields": {"plate": "1-ABC-234", "driver_name": "N", "event": "gate-in"},
        "withheld": ("iban",),
        "doubtful": (),
    }
    return IndexedRecord(**{**fields, **changes})


@pytest.mark.parametrize(
    ("scope", "inside"),
    [
        (Scope(), True),
        (Scope(since=1000), True),
        (Scope(since=1001), False),
        (Scope(until=1000), False),
        (Scope(until=1001), True),
        (Scope(since=1000, until=1001), True),
        (Scope(events=("gate-in", "seizure")), True),
        (Scope(events=("seizure",)), False),
    ],
)
def test_a_scope_is_half_open_and_no_event_means_any(scope: Scope, inside: bool) -> None:
    """The first second counts, the last does not."""
    assert within(indexed(), scope) is inside


facets = st.frozensets(
    st.sampled_from(
        ["existence", "full_record", "field:plate", "field:driver_name", "field:event", "field:x"]
    )
)


@given(facets, st.frozensets(st.sampled_from(["plate", "driver_name", "event"])))
def test_no_field_leaves_that_is_redacted_or_not_granted(
    granted: frozenset[str], redact: frozenset[str]
) -> None:
    """A shown field is granted and not redacted; every other one is at most named."""
    decision = Decision(
        effect=Effect.PERMIT,
        checks={},
        facets=granted,
        obligations=Obligations(redact=redact),
    )
    held_ = indexed()
    wire = to_wire(held_, decision)
    shown = {item.name for item in wire.fields}
    for name in held_.fields:
        permitted = bool({"full_record", f"field:{name}"} & granted) and name not in redact
        assert (name in shown) == permitted
    assert shown.isdisjoint(wire.withheld)
    if shown or wire.event or wire.occurred_at:
        assert shown | set(wire.withheld) == {*held_.fields, "iban"}
    else:
        assert not wire.withheld
    assert "iban" not in shown
    if "event" in redact or not {"full_record", "field:event"} & granted:
        assert wire.event == ""


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda r: replace(r, expires_at=9999), True),
        (lambda r: replace(r, ref=b"\x01" * 16), True),
        (lambda r: replace(r, occurred_at=1), True),
        (lambda r: replace(r, fields={**r.fields, "plate": "other"}), True),
        (lambda r: replace(r, active_target=True), False),
        (lambda r: replace(r, tlp="RED"), False),
        (lambda r: replace(r, country="BE"), False),
        (lambda r: replace(r, expires_at=50), False),
    ],
)
def test_policy_sees_kinds_of_records_and_no_values(
    change: Callable[[IndexedRecord], IndexedRecord], same: bool
) -> None:
    """Records that differ in values alone are one kind; any attribute makes another."""
    one, other = record_facts(indexed(), 100), record_facts(change(indexed()), 100)
    assert (one == other) is same
    assert one.fields == ("driver_name", "event", "plate")
    assert one.event == Event.GATE_IN


def test_a_filter_on_what_may_not_be_disclosed_filters_nothing() -> None:
    """An asker who may learn existence alone cannot find out event or hour by asking again."""
    asked = Scope(since=90_000, until=95_000, events=("gate-in",))
    bare = Decision.of_grant(facets={"existence"}, obligations=Obligations(), policy_serial=1)
    full = Decision.of_grant(
        facets={"existence", "full_record"}, obligations=Obligations(), policy_serial=1
    )
    redacted = Decision.of_grant(
        facets={"existence", "full_record"},
        obligations=Obligations(redact=frozenset({"event"})),
        policy_serial=1,
    )
    assert narrowed(asked, bare) == Scope(since=86_400, until=0, events=())
    assert narrowed(asked, full) == asked
    assert narrowed(asked, redacted) == Scope(since=90_000, until=95_000, events=())


# ── A name alone ─────────────────────────────────────────────────────────────────────────────

NAME = parse("person-name", "Jansen, Jan")


def named(number: int, **changes: Any) -> SourceRecord:
    """A record that is found by a name, and by a name with a date of birth."""
    both = (NAME, parse("person", "Jansen, Jan|1980-02-01"))
    return held(number, identifiers=both, **changes)


@pytest.mark.parametrize("count", [1, 3, MAX_VISIBLE + 5])
async def test_a_name_alone_yields_the_pointer_under_a_full_agreement(
    world: World, query: Query, tmp_path: Path, count: int
) -> None:
    """Whatever policy permits, a name alone says that something is held and whom to ask."""
    ruled = replace(ruling(), question=Question(terms=(NAME,), scope=Scope()))
    found = await answer(world, query, tmp_path, [named(n) for n in range(count)], ruled)
    desk = world.directory.partner(OWNER).contact_desk
    assert found == pb.TermAnswer(index=0, hit=True, contact_desk=desk)


async def test_the_same_record_by_name_and_date_of_birth_is_a_hit(
    world: World, query: Query, tmp_path: Path
) -> None:
    """The ceiling is the scheme's: with the date of birth the agreement decides."""
    born = parse("person", "Jan Jansen, 1 Feb 1980")
    ruled = replace(ruling(), question=Question(terms=(born,), scope=Scope()))
    found = await answer(world, query, tmp_path, [named(0)], ruled)
    assert (found.count_band, len(found.records)) == ("1", 1)


async def test_a_name_alone_is_not_asked_piece_by_piece(
    world: World, query: Query, tmp_path: Path
) -> None:
    """Neither events nor times of day filter what a name alone may not disclose."""
    for place, scope in enumerate((Scope(events=("seizure",)), Scope(until=NOW - 30 * 86_400))):
        folder = tmp_path / str(place)
        folder.mkdir()
        ruled = replace(ruling(), question=Question(terms=(NAME,), scope=scope))
        assert (await answer(world, query, folder, [named(0)], ruled)).hit


async def test_existence_alone_never_tells_a_count_by_more(
    world: World, query: Query, tmp_path: Path
) -> None:
    """Where no record may follow, ``more`` is not said, however many there are."""
    many = [held(n) for n in range(MAX_VISIBLE + 5)]
    found = await answer(world, query, tmp_path, many, ruling(EXISTENCE))
    assert found == pb.TermAnswer(index=0, hit=True)

"""What of an owner's records leaves in one answer: found, decided, redacted, fitted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from fairlead.envelope.answer import DUTIES_FRAME, RECORD_FRAME, room_left
from fairlead.envelope.query import Scope
from fairlead.envelope.question import Question
from fairlead.errors import PolicyUnavailable
from fairlead.facts import at_home, party_facts
from fairlead.identifiers import Identifier, ceiling
from fairlead.partners import Partner
from fairlead.policy.decision import Decision, capped, meet
from fairlead.policy.inputs import QueryFacts, RecordFacts
from fairlead.policy.points import UNAVAILABLE, PolicyPoints
from fairlead.v1 import handling_pb2, query_pb2
from node.evaluation import Keyed
from node.exposure.gate import Asked, ExposureGate
from node.index import Index, IndexedRecord

DAY_S = 86_400
MAX_VISIBLE = 101
"""Records of one term that are counted: one more than the widest band has."""
PROBES = 16
"""Decoys that policy judges before anything is looked up, so that an engine that fails or is
too slow does so for hits and misses alike."""

DECOY = RecordFacts(
    record_type="alert",
    event="alert",
    tlp="RED",
    pap="RED",
    europol="H3",
    source_grade="X",
    information_grade="4",
    purposes=(),
    expires_at=0,
    active_target=False,
    personal=False,
    fields=(),
)


class Sized(Asked, Protocol):
    """What of a query an answer needs."""

    @property
    def query_id(self) -> bytes: ...
    @property
    def term_count(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What this owner decided before looking at any record; ``keyed`` is what a blind query, whose
    question is empty, is answered with."""

    question: Question
    decision: Decision
    facts: QueryFacts
    keyed: tuple[Keyed, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Disclosed:
    """One answer per term, and the owner's desks that a record's handling wants told."""

    answers: list[query_pb2.TermAnswer]
    desks: Collection[str]


@dataclass(slots=True)
class Judge:
    """Release decisions of one query: one for each kind of record, however many there are.

    ``known`` is what counts; ``before`` is what policy alone said, for who explains it.
    """

    policy: PolicyPoints
    gate: ExposureGate
    query: Sized
    ruling: Ruling
    owner: Partner
    now: int
    known: dict[RecordFacts, Decision]
    before: dict[RecordFacts, Decision]
    desks: set[str]

    def learn(self, facts: Collection[RecordFacts]) -> None:
        """Decide the kinds not known yet.

        :raises PolicyUnavailable: no decision; the query fails rather than say "no hit".
        """
        fresh = [item for item in dict.fromkeys(facts) if item not in self.known]
        if not fresh:
            return
        decisions = self.policy.release(
            now=self.now,
            query=self.ruling.facts,
            asker=party_facts(self.query.asker),
            owner=party_facts(self.owner),
            facets=self.ruling.decision.facets,
            records=[at_home(item, self.owner) for item in fresh],
        )
        if any(reason.code == UNAVAILABLE.code for d in decisions for reason in d.reasons):
            raise PolicyUnavailable("no release decision could be made")
        for item, decision in zip(fresh, decisions, strict=True):
            self.desks.update(decision.obligations.notify)
            met = meet(decision, self.ruling.decision)
            self.before[item] = met
            self.known[item] = self.gate.record(met, self.query, item)

    def visible(self, record: IndexedRecord, scheme: str) -> Decision | None:
        """The decision on a record that may be disclosed, None for any other.

        Whatever policy permits, no more leaves than the ceiling of the term's scheme: a name
        alone is a lead, never a hit. Waiting for the owner's approval looks like absence;
        approvals come with disclosures.
        """
        decision = capped(self.known[record_facts(record, self.now)], ceiling(scheme))
        exists = decision.facets & {"existence", "full_record"}
        shown = decision.permit and exists and decision.obligations.approvals == 0
        return decision if shown else None


class Disclosure:
    """Answers questions from the index, within what was ruled."""

    def __init__(
        self,
        *,
        owner: Partner,
        index: Index,
        policy: PolicyPoints,
        gate: ExposureGate,
        clock: Callable[[], float],
    ) -> None:
        self._owner = owner
        self._index = index
        self._policy = policy
        self._gate = gate
        self._clock = clock

    def judge(self, query: Sized, ruling: Ruling) -> Judge:
        """Who decides over the records of one query; probed, so that it is able to.

        :raises PolicyUnavailable: no decision.
        """
        judge = Judge(
            self._policy,
            self._gate,
            query,
            ruling,
            self._owner,
            int(self._clock()),
            known={},
            before={},
            desks=set(),
        )
        judge.learn([replace(DECOY, expires_at=number) for number in range(PROBES)])
        return judge

    async def answer(
        self, query: Sized, ruling: Ruling, *, judge: Judge | None = None
    ) -> Disclosed:
        """Answer every term, in order.

        :param judge: of this very query, for who asks it afterwards why.

        1. Policy is probed with decoys.
        2. Each term's records are looked up, newest first, and judged.
        3. The records are fitted into the fixed size.

        :raises PolicyUnavailable: no decision. :raises SourceUnusable: the index is damaged.
        """
        # 1
        judge = judge or self.judge(query, ruling)
        # 2
        answers, pending = [], []
        for index, term in enumerate(ruling.question.terms):
            limited = capped(ruling.decision, ceiling(term.scheme))
            scope = narrowed(ruling.question.scope, limited)
            answer = query_pb2.TermAnswer(index=index)
            visible = await self._find(term, scope, judge)
            pending.append(_disclose(answer, visible, self._owner.contact_desk))
            answers.append(answer)
        # 3
        fill(query, self._owner.partner_id, answers, pending)
        return Disclosed(answers=answers, desks=frozenset(judge.desks))

    async def _find(
        self, term: Identifier, scope: Scope, judge: Judge
    ) -> list[tuple[IndexedRecord, Decision]]:
        """Up to :data:`MAX_VISIBLE` records that may be disclosed, newest first."""
        visible: list[tuple[IndexedRecord, Decision]] = []
        for page in self._index.pages(term):
            # Every record is judged, those out of scope too: an active target alerts its desk.
            judge.learn([record_facts(record, judge.now) for record in page])
            for record in page:
                decision = judge.visible(record, term.scheme) if within(record, scope) else None
                if decision is not None:
                    visible.append((record, decision))
            await asyncio.sleep(0)  # other queries get their turn
            past = scope.since and page and page[-1].occurred_at < scope.since
            if past or len(visible) >= MAX_VISIBLE:
                break
        return visible[:MAX_VISIBLE]


def _disclose(
    answer: query_pb2.TermAnswer,
    visible: Sequence[tuple[IndexedRecord, Decision]],
    contact_desk: str,
) -> list[query_pb2.Record]:
    """Say what may be said of a term; returns the records that may follow."""
    if not visible:
        return []
    answer.hit = True
    facets = frozenset[str]().union(*(decision.facets for _, decision in visible))
    if "contact_desk" in facets:
        answer.contact_desk = contact_desk
    if "count_band" in facets:
        answer.count_band = band(len(visible))
    limits = [decision.obligations.max_records for _, decision in visible]
    limit = min((value for value in limits if value is not None), default=MAX_VISIBLE)
    records = [to_wire(record, decision) for record, decision in visible]
    records = [r for r in records if r.fields or r.event or r.occurred_at]
    # Where no record may follow, ``more`` would tell a count that was not granted.
    counted = bool(records) or "count_band" in facets
    answer.more = len(records) > limit or (counted and len(visible) == MAX_VISIBLE)
    return records[:limit]


def fill(
    query: Sized,
    owner: str,
    answers: Sequence[query_pb2.TermAnswer],
    pending: Sequence[Sequence[query_pb2.Record]],
) -> None:
    """Take one record per term in turn, newest first, while the fixed size holds them.

    The room for ``more`` is taken first, so that saying it never bursts the size.
    """
    said = [answer.more for answer in answers]
    for answer, records in zip(answers, pending, strict=True):
        answer.more = answer.more or bool(records)
    room = room_left(query.query_id, owner, answers, query.term_count) - DUTIES_FRAME
    turn, full = 0, False
    while not full and any(turn < len(records) for records in pending):
        for answer, records in zip(answers, pending, strict=True):
            if turn >= len(records):
                continue
            room -= records[turn].ByteSize() + RECORD_FRAME
            if room < 0:
                full = True
                break
            answer.records.append(records[turn])
        turn += 1
    for answer, records, more in zip(answers, pending, said, strict=True):
        if len(answer.records) == len(records):
            answer.more = more


def narrowed(scope: Scope, decision: Decision) -> Scope:
    """The scope a question may use: a filter on what may not be disclosed would disclose it.

    Without the event's facet events do not filter; without the time's, a range ends never and
    begins at midnight (UTC), so that nobody learns a time by asking again and again.
    """

    def granted(name: str) -> bool:
        redacted = name in decision.obligations.redact
        return not redacted and bool({"full_record", f"field:{name}"} & decision.facets)

    timed = granted("occurred_at")
    return Scope(
        since=scope.since if timed else scope.since - scope.since % DAY_S,
        until=scope.until if timed else 0,
        events=scope.events if granted("event") else (),
    )


def within(record: IndexedRecord, scope: Scope) -> bool:
    """Whether a record is in the scope of a question."""
    if scope.since and record.occurred_at < scope.since:
        return False
    if scope.until and record.occurred_at >= scope.until:
        return False
    return not scope.events or record.event in scope.events


def band(count: int) -> str:
    """The band a count is disclosed as."""
    for limit, text in ((1, "1"), (5, "2-5"), (20, "6-20"), (100, "21-100")):
        if count <= limit:
            return text
    return ">100"


def record_facts(record: IndexedRecord, now: int) -> RecordFacts:
    """What policy knows of a record. Those the index still returns have not expired; policy
    sees that much and not when they will, so that equal records are judged once."""
    return RecordFacts(
        record_type=record.record_type,
        event=record.event,
        tlp=record.tlp,
        pap=record.pap,
        europol=record.europol,
        source_grade=record.source_grade,
        information_grade=record.information_grade,
        purposes=record.purposes,
        expires_at=now + 1 if record.expires_at > now else record.expires_at,
        active_target=record.active_target,
        personal=record.personal,
        fields=tuple(sorted(record.fields)),
        country=record.country,
    )


def to_wire(record: IndexedRecord, decision: Decision) -> query_pb2.Record:
    """The record with the fields this decision discloses; redacted ones are named, not shown."""

    def allowed(name: str) -> bool:
        if name in decision.obligations.redact:
            return False
        return bool({"full_record", f"field:{name}"} & decision.facets)

    shown = {name: value for name, value in sorted(record.fields.items()) if allowed(name)}
    any_shown = shown or allowed("event") or allowed("occurred_at")
    withheld = sorted({*record.fields, *record.withheld} - set(shown)) if any_shown else []
    return query_pb2.Record(
        record_type=record.record_type,
        event=record.event if allowed("event") else "",
        occurred_at=record.occurred_at if allowed("occurred_at") else 0,
        fields=[query_pb2.Field(name=name, value=value) for name, value in shown.items()],
        handling=handling_pb2.Handling(
            tlp=handling_pb2.Tlp.Value(f"TLP_{record.tlp}"),
            pap=handling_pb2.Pap.Value(f"PAP_{record.pap}"),
            europol=record.europol,
            source_grade=record.source_grade,
            information_grade=record.information_grade,
        ),
        ref=record.ref,
        withheld=withheld,
    )

"""The owner's side: verify everything oneself, decide oneself, answer at one fixed size."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import sealing, signing
from fairlead.admission import Admission, Intent, Replayed
from fairlead.auditlog import AuditLog
from fairlead.certificates import Identity
from fairlead.detail import seal_detail
from fairlead.envelope.answer import fits, sign_answer
from fairlead.envelope.grant import Grant, verify_grant
from fairlead.envelope.query import Query, Scope
from fairlead.envelope.question import Question, open_part
from fairlead.errors import Conflict, Forged, PolicyUnavailable
from fairlead.facts import party_facts, query_facts, requester_code, window_days
from fairlead.leaves import LeafWriter
from fairlead.partners import Directory, Partner
from fairlead.policy.decision import Decision, meet
from fairlead.policy.inputs import GrantFacts, QueryFacts, RecordFacts
from fairlead.policy.points import UNAVAILABLE, PolicyPoints
from fairlead.receipts import CheckpointStale
from fairlead.release import ReleaseDesk
from fairlead.telemetry import Event, get_logger
from fairlead.v1 import audit_pb2, handling_pb2, owner_pb2, query_pb2
from node.heads import HeadKeeper
from node.index import Index, IndexedRecord

SUBJECT = "OwnerService.Answer"
REMEMBERED = 1024
MAX_EXAMINED = 100
"""Newest matching records a release decision looks at, per term; about 8 ms of policy."""
ALLOWANCE_S, ALLOWANCE_PER_TERM_S = 0.020, 0.004
"""Every answer is held at least this long after its arrival, whatever was found: more than the
work for one term, and for each further one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What this owner decided before looking at any record."""

    grant: Grant
    question: Question
    decision: Decision
    facts: QueryFacts
    notify: set[str] = field(default_factory=set)
    """Desks that a record's handling wants told, found while answering; the asker never knows."""


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
"""No record: what policy is asked about when nothing was found."""


class Answering:
    """Answers for one owner from its index; the source database never sees a query."""

    def __init__(
        self,
        *,
        partner_id: str,
        key: Ed25519PrivateKey,
        sealing_key: sealing.SealingKey,
        log: AuditLog,
        leaves: LeafWriter,
        admission: Admission,
        desk: ReleaseDesk,
        directory: Directory,
        policy: PolicyPoints,
        heads: HeadKeeper,
        index: Index,
        clock: Callable[[], float],
    ) -> None:
        self._partner: Partner = directory.partner(partner_id)
        self._key = key
        self._sealing_key = sealing_key
        self._log = log
        self._leaves = leaves
        self._admission = admission
        self._desk = desk
        self._directory = directory
        self._policy = policy
        self._heads = heads
        self._index = index
        self._clock = clock
        self._answers: OrderedDict[tuple[bytes, bytes], query_pb2.SignedAnswer] = OrderedDict()

    async def answer(
        self, request: owner_pb2.AnswerRequest, peer: Identity
    ) -> owner_pb2.AnswerResponse:
        """Answer one ``OwnerService.Answer``.

        :returns: the signed answer, or the size the receipt must be consistent with.
        :raises FairleadError: not verifiable; refused, with the refusal on the record.
        """
        arrived = asyncio.get_running_loop().time()
        try:
            admitted = await self._admission.admit(
                request.query,
                peer=peer,
                subject=SUBJECT,
                decide=lambda query: self._decide(query, request, peer),
            )
        except CheckpointStale as stale:
            return owner_pb2.AnswerResponse(stale=owner_pb2.CheckpointStale(size=stale.size))
        except Replayed:
            return self._replay(request)
        try:
            answer = await self._compose(admitted.query, admitted.decision)
            header = query_pb2.AnswerHeader.FromString(answer.header)
            released = audit_pb2.ReleasedAnswer(
                query_id=admitted.query.query_id,
                partner_id=self._partner.partner_id,
                status=header.status,
                answer_digest=signing.digest(answer.header),
            )
            allowance = ALLOWANCE_S + ALLOWANCE_PER_TERM_S * (admitted.query.term_count - 1)
            if admitted.decision.notify:
                await self._alert(admitted.query, admitted.decision.notify)
            await self._desk.release(released, not_before=arrived + allowance)
            get_logger().info(
                Event.QUERY_ANSWERED,
                query_id=admitted.query.query_id,
                partner=admitted.query.asker.partner_id,
                purpose=admitted.query.purpose,
            )
        finally:
            self._admission.leave()
        self._answers[admitted.query.session_key, admitted.query.query_id] = answer
        while len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)
        return owner_pb2.AnswerResponse(answer=answer)

    def _replay(self, request: owner_pb2.AnswerRequest) -> owner_pb2.AnswerResponse:
        """The stored answer; nothing is looked up again.

        :raises Conflict: answered before a restart; the answer is not kept that long.
        """
        header = query_pb2.QueryHeader.FromString(request.query.header)
        mandate = query_pb2.Mandate.FromString(request.query.mandate)
        stored = self._answers.get((mandate.session_key, header.query_id))
        if stored is None:
            raise Conflict("this query was answered before", reasons=("REPLAYED",))
        return owner_pb2.AnswerResponse(answer=stored)

    async def _decide(
        self, query: Query, request: owner_pb2.AnswerRequest, peer: Identity
    ) -> tuple[Ruling, Intent]:
        """Verify grant and receipt, open the part, decide, and write the intent down.

        Nothing is awaited between verifying the receipt and advancing the accepted head.
        """
        owner = self._partner.partner_id
        if query.asker.partner_id == owner:
            raise Forged("an owner is asked in its own name", reasons=("ASKS_ITSELF",))
        gateway = self._directory.gateways.get(peer.spiffe_id)
        if gateway is None:
            raise Forged("a query is brought by no gateway", reasons=("WRONG_PEER",))
        now = self._clock()
        grant = verify_grant(
            request,
            query,
            owner=owner,
            directory=self._directory,
            gateway=gateway,
            head=self._heads.head,
            now=now,
        )
        self._heads.advance(grant.head)
        question = open_part(
            request.part, query, owner=owner, key=self._sealing_key, directory=self._directory
        )
        facts = query_facts(
            query,
            window_days=window_days(question.scope.since, question.scope.until, now),
            events=question.scope.events,
        )
        decision = self._rule(query, facts, grant, int(now))
        detail = seal_detail(
            self._partner,
            query.query_id,
            {"terms": [(term.scheme, term.value) for term in question.terms]},
        )
        leaf, _ = self._leaves.intent(
            query,
            rules=decision.rules,
            policy_serial=decision.policy_serial,
            commits_to=grant.decision_id,
            detail_digest=signing.digest(detail),
            intent_leaf_hash=grant.intent_leaf_hash,
        )
        ruling = Ruling(grant=grant, question=question, decision=decision, facts=facts)
        persist: Callable[[sqlite3.Connection], None] = self._heads.persist(grant.head)
        return ruling, Intent(leaf=leaf, detail=detail, also=persist)

    def _rule(self, query: Query, facts: QueryFacts, grant: Grant, now: int) -> Decision:
        """This owner's decision met with the gateway's grant: either may only narrow."""
        own = self._policy.sovereignty(
            now=now,
            query=facts,
            asker=party_facts(query.asker),
            owner=party_facts(self._partner),
            grant=GrantFacts(
                mode=query.mode_name,
                facets=tuple(sorted(grant.facets)),
                policy_serial=grant.policy_serial,
                expires_at=grant.expires_at,
            ),
        )
        granted = Decision.of_grant(
            facets=grant.facets,
            obligations=grant.obligations,
            policy_serial=own.policy_serial,
        )
        return meet(own, granted)

    async def _alert(self, query: Query, recipients: set[str]) -> None:
        """Tell the owner's desk, in its own log, that somebody asks about an active target."""
        await self._log.append(self._leaves.alert(query, recipients))
        get_logger().warning(
            Event.ACTIVE_TARGET_ALERT,
            partner=query.asker.partner_id,
            user=query.user.name,
            purpose=query.purpose,
            case_commitment=query.case_commitment,
        )

    # ── Compose ──────────────────────────────────────────────────────────────────────────────

    async def _compose(self, query: Query, ruling: Ruling) -> query_pb2.SignedAnswer:
        decision = ruling.decision
        status, reason = query_pb2.STATUS_ANSWERED, ""
        answers: Sequence[query_pb2.TermAnswer] = ()
        if not decision.permit:
            status, reason = query_pb2.STATUS_REFUSED, requester_code(decision)
        else:
            try:
                answers = await self._answer_terms(query, ruling)
            except PolicyUnavailable as error:
                status, reason = query_pb2.STATUS_REFUSED, error.code
        return sign_answer(
            query,
            self._partner.partner_id,
            key=self._key,
            status=status,
            reason=reason,
            answers=answers,
            policy_serial=decision.policy_serial,
            index_age_s=int(self._index.age_s(self._clock())),
            index_root=self._index.root,
        )

    async def _answer_terms(self, query: Query, ruling: Ruling) -> list[query_pb2.TermAnswer]:
        answers = [query_pb2.TermAnswer(index=i) for i in range(query.term_count)]
        pending: list[list[query_pb2.Record]] = []
        for answer, term in zip(answers, ruling.question.terms, strict=True):
            found = [
                record
                for record in self._index.lookup(term)
                if _within(record, ruling.question.scope)
            ]
            pending.append(self._release(answer, found, query, ruling))
            await asyncio.sleep(0)  # other queries get their turn
        self._fill(query, answers, pending)
        return answers

    def _release(
        self,
        answer: query_pb2.TermAnswer,
        found: Sequence[IndexedRecord],
        query: Query,
        ruling: Ruling,
    ) -> list[query_pb2.Record]:
        """Decide each record; what may not be disclosed leaves no trace in the answer.

        Policy is always asked about something, a decoy if nothing was found, so that a policy
        that fails does so for hits and misses alike.

        :raises PolicyUnavailable: no decision; the query fails rather than say "no hit".
        """
        examined = found[:MAX_EXAMINED]
        decisions = self._policy.release(
            now=int(self._clock()),
            query=ruling.facts,
            asker=party_facts(query.asker),
            owner=party_facts(self._partner),
            facets=ruling.decision.facets,
            records=[_record_facts(record) for record in examined] or [DECOY],
        )
        if any(reason.code == UNAVAILABLE.code for d in decisions for reason in d.reasons):
            raise PolicyUnavailable("no release decision could be made")
        for decision in decisions[: len(examined)]:
            ruling.notify.update(decision.obligations.notify)
        visible = [
            (record, meet(decision, ruling.decision))
            for record, decision in zip(examined, decisions, strict=False)
            if decision.permit
        ]
        # Waiting for the owner's approval looks like absence; approvals come with disclosures.
        visible = [(r, d) for r, d in visible if _exists(d) and d.obligations.approvals == 0]
        if not visible:
            return []
        answer.hit = True
        answer.more = len(found) > len(examined)
        allowed = frozenset[str]().union(*(d.facets for _, d in visible))
        if "contact_desk" in allowed:
            answer.contact_desk = self._partner.contact_desk
        if "count_band" in allowed or "full_record" in allowed:
            answer.count_band = band(len(visible))
        limits = [d.obligations.max_records for _, d in visible]
        limit = min((n for n in limits if n is not None), default=MAX_EXAMINED)
        records = [_to_wire(record, decision) for record, decision in visible]
        records = [record for record in records if record.fields]
        answer.more = answer.more or len(records) > limit
        return records[:limit]

    def _fill(
        self,
        query: Query,
        answers: list[query_pb2.TermAnswer],
        pending: list[list[query_pb2.Record]],
    ) -> None:
        """Take one record per term in turn, newest first, while the fixed size holds them.

        Room for every "more" is kept from the start, so that none overflows at the end.
        """
        more = [answer.more for answer in answers]
        for answer, records in zip(answers, pending, strict=True):
            answer.more = answer.more or bool(records)
        turn = 0
        full = False
        while any(turn < len(records) for records in pending) and not full:
            for answer, records in zip(answers, pending, strict=True):
                if turn >= len(records):
                    continue
                answer.records.append(records[turn])
                if not fits(query.query_id, self._partner.partner_id, answers, query.term_count):
                    del answer.records[-1]
                    full = True
                    break
            turn += 1
        for answer, records, further in zip(answers, pending, more, strict=True):
            answer.more = further or len(answer.records) < len(records)


def _exists(decision: Decision) -> bool:
    return bool(decision.facets & {"existence", "full_record"})


def _within(record: IndexedRecord, scope: Scope) -> bool:
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


def _record_facts(record: IndexedRecord) -> RecordFacts:
    return RecordFacts(
        record_type=record.record_type,
        event=record.event,
        tlp=record.tlp,
        pap=record.pap,
        europol=record.europol,
        source_grade=record.source_grade,
        information_grade=record.information_grade,
        purposes=tuple(record.purposes),
        expires_at=record.expires_at,
        active_target=record.active_target,
        personal=record.personal,
        fields=tuple(sorted(record.fields)),
    )


def _to_wire(record: IndexedRecord, decision: Decision) -> query_pb2.Record:
    """The record with the fields this decision discloses; redacted ones are named, not shown."""

    def allowed(name: str) -> bool:
        if name in decision.obligations.redact:
            return False
        return bool({"full_record", f"field:{name}"} & decision.facets)

    shown = {name: value for name, value in sorted(record.fields.items()) if allowed(name)}
    withheld = sorted({*record.fields, *record.withheld} - set(shown)) if shown else []
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

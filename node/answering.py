"""The owner's side: verify everything oneself, decide oneself, answer at one fixed size."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.message import DecodeError

from fairlead import decisions, ristretto, signing
from fairlead.admission import Admission, Intent, Replayed
from fairlead.auditlog import AuditLog
from fairlead.budgets import BudgetExhausted, Charge
from fairlead.certificates import Identity
from fairlead.detail import Bound, seal_detail
from fairlead.envelope.answer import sign_answer
from fairlead.envelope.blinded import BlindedTerms, open_blind_part, sign_blind_answer
from fairlead.envelope.grant import Grant, verify_grant
from fairlead.envelope.owned import owned_detail
from fairlead.envelope.query import ANY, Query, Scope
from fairlead.envelope.question import Question, open_part
from fairlead.errors import Conflict, FairleadError, Forged, InvalidInput, Refused, Stale
from fairlead.facts import party_facts, query_facts, requester_code, window_days
from fairlead.keyring import KeyRing
from fairlead.leaves import LeafWriter
from fairlead.membership import LiveDirectory
from fairlead.partners import directory_mismatch
from fairlead.policy.decision import Decision, denial, meet
from fairlead.policy.inputs import GrantFacts, QueryFacts
from fairlead.policy.live import LivePolicy
from fairlead.policy.points import PolicyPoints
from fairlead.receipts import CheckpointStale
from fairlead.release import ReleaseDesk
from fairlead.telemetry import Event, get_logger
from fairlead.v1 import audit_pb2, owner_pb2, query_pb2
from node.decoys import DecoyBook
from node.disclosing import Disclosed, Disclosure, Ruling
from node.evaluation import Evaluation, Keyed, evaluate, reason_of
from node.exposure.gate import ExposureGate
from node.heads import HeadKeeper
from node.index import Index
from node.oversight import Outbox
from node.pausing import OWNER_PAUSED, Pause
from node.spending import BUDGET_EXHAUSTED, OwnerBudgets

SUBJECT = "OwnerService.Answer"
REMEMBERED = 1024
EARLY_S = 0.1
"""So long an early receipt waits for the one that it builds on."""
ALLOWANCE_S, ALLOWANCE_PER_TERM_S = 0.030, 0.006
"""Every answer is held this long after its arrival, whatever was found: more than the work for
one term, and for each further one, usually takes. Late answers wait for the next multiple."""
ALLOWANCE_PER_ELEMENT_S = 0.000_2
"""The same of a blinded element, whose evaluation depends on nothing that is held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruled(Ruling):
    """A ruling with the decision points it was made at: the records of one query are judged under
    the same serial, whatever has come into force since."""

    policy: PolicyPoints


class Answering:
    """Answers for one owner from its index; the source database never sees a query."""

    def __init__(
        self,
        *,
        partner_id: str,
        keys: KeyRing,
        log: AuditLog,
        leaves: LeafWriter,
        admission: Admission,
        desk: ReleaseDesk,
        directory: LiveDirectory,
        policy: LivePolicy,
        gate: ExposureGate,
        pause: Pause,
        heads: HeadKeeper,
        budgets: OwnerBudgets,
        evaluation: Evaluation,
        decoys: DecoyBook,
        outbox: Outbox,
        index: Index,
        clock: Callable[[], float],
    ) -> None:
        self._partner_id = partner_id
        self._keys = keys
        self._log = log
        self._leaves = leaves
        self._admission = admission
        self._desk = desk
        self._directory = directory
        self._policy = policy
        self._gate = gate
        self._pause = pause
        self._heads = heads
        self._budgets = budgets
        self._evaluation = evaluation
        self._decoys = decoys
        self._outbox = outbox
        self._index = index
        self._clock = clock
        self.skew_s: float | None = None
        """Seconds by which the gateway's clock was ahead at the last question, to the second."""
        self._answers: OrderedDict[tuple[bytes, bytes], query_pb2.SignedAnswer] = OrderedDict()

    async def answer(
        self, request: owner_pb2.AnswerRequest, peer: Identity
    ) -> owner_pb2.AnswerResponse:
        """Answer one ``OwnerService.Answer``.

        :returns: the signed answer, or the size the receipt must be consistent with.
        :raises FairleadError: not verifiable; refused, with the refusal on the record.
        """
        arrived = asyncio.get_running_loop().time()
        await self._directory.wait_for(_claimed_serial(request))
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
            return await self._replay(request, peer)
        try:
            # However often records were judged, it is written at once, directly before RELEASE.
            with decisions.holding(admitted.query.query_id):
                answer, found = await self._compose(admitted.query, admitted.decision)
                self._look(admitted.query, admitted.decision, found)
            try:
                await self._release(admitted.query, answer, arrived, found.desks)
            except Refused:  # the owner paused while this was composed: it stays here
                answer = self._paused(admitted.query, admitted.decision)
                await self._release(admitted.query, answer, arrived, ())
            get_logger().info(
                Event.QUERY_ANSWERED,
                query_id=admitted.query.query_id,
                partner=admitted.query.asker.partner_id,
                purpose=admitted.query.purpose,
            )
        finally:
            self._admission.leave(admitted.query)
        self._answers[admitted.query.session_key, admitted.query.query_id] = answer
        while len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)
        return owner_pb2.AnswerResponse(answer=answer)

    def forget(self) -> None:
        """Drop the keys of epochs that are over, though nobody asks."""
        self._evaluation.forget()

    async def _release(
        self,
        query: Query,
        answer: query_pb2.SignedAnswer,
        arrived: float,
        desks: Collection[str],
    ) -> None:
        """Return when the answer may leave.

        :raises Refused: ``OWNER_PAUSED``; it may not.
        """
        header = query_pb2.AnswerHeader.FromString(answer.header)
        released = audit_pb2.ReleasedAnswer(
            query_id=query.query_id,
            partner_id=self._partner_id,
            status=header.status,
            answer_digest=signing.digest(answer.header),
        )
        allowance = _allowance_s(query)
        told = asyncio.ensure_future(self._alert(query, desks))
        try:
            # Together, so that telling a desk costs the answer no commit of its own.
            await self._desk.release(released, arrived=arrived, allowance_s=allowance)
        finally:
            await told
        if self._pause.state is not None and header.status == query_pb2.STATUS_ANSWERED:
            raise Refused("the owner lets out no answer", reasons=("OWNER_PAUSED",))

    def _paused(self, query: Query, ruling: Ruling) -> query_pb2.SignedAnswer:
        """The signed refusal of an owner that pauses."""
        return self._sign(
            query, ruling, query_pb2.STATUS_REFUSED, reason=OWNER_PAUSED.code, answers=()
        )

    async def _replay(
        self, request: owner_pb2.AnswerRequest, peer: Identity
    ) -> owner_pb2.AnswerResponse:
        """The stored answer; nothing is looked up again.

        :raises Conflict: answered before a restart; the answer is not kept that long.
        """
        header = query_pb2.QueryHeader.FromString(request.query.header)
        mandate = query_pb2.Mandate.FromString(request.query.mandate)
        stored = self._answers.get((mandate.session_key, header.query_id))
        if stored is None or self._pause.state is not None:
            error: FairleadError = Conflict("this query was answered before", reasons=("REPLAYED",))
            if stored is not None:
                error = Refused("the owner answers nobody now", reasons=(OWNER_PAUSED.code,))
            leaf = self._leaves.refusal(
                error, subject=SUBJECT, user=peer.spiffe_id, query_id=header.query_id
            )
            await self._log.append(leaf)
            raise error
        return owner_pb2.AnswerResponse(answer=stored)

    async def _decide(
        self, query: Query, request: owner_pb2.AnswerRequest, peer: Identity
    ) -> tuple[Ruled, Intent]:
        """Verify grant and receipt, open the part, decide, and write the intent down.

        Nothing is awaited between verifying the receipt and advancing the accepted head.
        """
        owner, directory = self._partner_id, query.directory
        if query.asker.partner_id == owner:
            raise Forged("an owner is asked in its own name", reasons=("ASKS_ITSELF",))
        gateway = directory.gateways.get(peer.spiffe_id)
        if gateway is None:
            raise Forged("a query is brought by no gateway", reasons=("WRONG_PEER",))
        if gateway.log_origin != self._heads.origin:  # a log that ended: its heads bind nobody now
            raise directory_mismatch()
        await self._heads.reach(request.receipt.consistency_from, within_s=EARLY_S)
        now, policy = self._clock(), self._policy.current
        grant = verify_grant(
            request,
            query,
            owner=owner,
            directory=directory,
            gateway=gateway,
            head=self._heads.head,
            now=now,
            witnessed=policy.highly_sensitive(query.purpose),
        )
        self.skew_s = grant.issued_at - now
        self._heads.advance(grant.head)
        decisions.about(query.query_id)
        question, blinded = self._open(request.part, query)
        facts = _facts(query, question.scope, now)
        decision = self._rule(policy, query, facts, grant, int(now))
        decision, keyed = self._keyed(decision, query, blinded)
        decision, charges = self._afford(decision, query, question, blinded)
        content, slack = owned_detail(
            request.query,
            question,
            blinded,
            notice_delay_s=decision.obligations.notice_delay_s,
        )
        bound = Bound(query_id=query.query_id, maker=owner)
        detail = seal_detail(directory, bound, content, slack=slack)
        leaf, nonce = self._leaves.intent(
            query,
            rules=decision.rules,
            policy_serial=decision.policy_serial,
            commits_to=grant.decision_id,
            detail_digest=signing.digest(detail),
            intent_leaf_hash=grant.intent_leaf_hash,
        )
        ruling = Ruled(
            question=question, decision=decision, facts=facts, keyed=keyed, policy=policy
        )
        persist = self._heads.persist()
        pay = self._budgets.payment(query, charges)

        def also(connection: sqlite3.Connection) -> None:
            pay(connection)
            persist(connection)  # last: a payment that is refused undoes the row

        return ruling, Intent(leaf=leaf, nonce=nonce, detail=detail, also=also)

    def _open(self, part: bytes, query: Query) -> tuple[Question, tuple[BlindedTerms, ...]]:
        """The part's terms and scope, or nothing of both and its blinded elements."""
        owner, directory = self._partner_id, query.directory
        key = self._keys.sealing(directory.partner(owner).sealing_key)
        if query.mode == query_pb2.MODE_BLIND:
            blinded = open_blind_part(part, query, owner=owner, key=key, directory=directory)
            return Question(terms=(), scope=ANY), blinded
        return open_part(part, query, owner=owner, key=key, directory=directory), ()

    def _keyed(
        self, decision: Decision, query: Query, blinded: Sequence[BlindedTerms]
    ) -> tuple[Decision, tuple[Keyed, ...]]:
        """What is permitted, with the keys that answer it; without one it is a refusal."""
        if not decision.permit or not blinded:
            return decision, ()
        try:
            return decision, self._evaluation.keyed(query, blinded)
        except (Refused, Stale) as error:
            serial = decision.policy_serial
            return denial(reason_of(error), checks=decision.checks, policy_serial=serial), ()

    def _rule(
        self, policy: PolicyPoints, query: Query, facts: QueryFacts, grant: Grant, now: int
    ) -> Decision:
        """This owner's decision met with the gateway's grant: either may only narrow."""
        own = policy.sovereignty(
            now=now,
            query=facts,
            asker=party_facts(query.asker),
            approvals=query.approvals,
            owner=party_facts(query.directory.partner(self._partner_id)),
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
        return self._pause.rule(self._gate.rule(meet(own, granted), query))

    def _afford(
        self,
        decision: Decision,
        query: Query,
        question: Question,
        blinded: Sequence[BlindedTerms],
    ) -> tuple[Decision, list[Charge]]:
        """What is permitted, and paid for; beyond a budget it is a refusal that depends on no
        record. What is refused costs nothing."""
        if not decision.permit:
            return decision, []
        schemes = [term.scheme for term in question.terms]
        for item in blinded:
            schemes += [item.scheme] * (len(item.elements) // ristretto.SIZE)
        charges = self._budgets.charges(query, schemes)
        try:
            self._budgets.check(charges)
        except BudgetExhausted:
            serial = decision.policy_serial
            return denial(BUDGET_EXHAUSTED, checks=decision.checks, policy_serial=serial), []
        return decision, charges

    async def _alert(self, query: Query, desks: Collection[str]) -> None:
        """Tell the owner's desk, in its own log, that somebody asks about an active target."""
        if not desks:
            return
        await self._log.append(self._leaves.alert(query, desks))
        get_logger().warning(
            Event.ACTIVE_TARGET_ALERT,
            partner=query.asker.partner_id,
            user=query.user.name,
            purpose=query.purpose,
            case_commitment=query.case_commitment,
        )

    async def _compose(
        self, query: Query, ruling: Ruled
    ) -> tuple[query_pb2.SignedAnswer, Disclosed]:
        """The signed answer, and what was found for it.

        What fails after the records were looked up may depend on them, so it fails without a
        reason in clear: OVERLOADED, with an ALARM leaf that says why.
        """
        decision = ruling.decision
        status, reason = query_pb2.STATUS_ANSWERED, ""
        found = Disclosed(answers=[], desks=frozenset())
        if not decision.permit:
            status, reason = query_pb2.STATUS_REFUSED, requester_code(decision)
            if reason == BUDGET_EXHAUSTED.code:
                await self._log.append(self._spent(query))
        elif ruling.keyed:
            return await self._evaluated(query, ruling), found
        else:
            try:
                found = await self._disclosure(query, ruling).answer(query, ruling)
            except FairleadError as error:
                status = query_pb2.STATUS_OVERLOADED
                await self._log.append(self._leaves.alarm(error.reasons, subject=SUBJECT))
                get_logger().error(Event.QUERY_REFUSED, error=error)
        answer = self._sign(query, ruling, status, reason=reason, answers=found.answers)
        return answer, found

    def _look(self, query: Query, ruling: Ruling, found: Disclosed) -> None:
        """Tell the own oversight, later, of decoys that were asked about. A term that a record has
        come to hold since is none; the asker's answer is made, and the same either way."""
        terms = [(term.scheme, term.value) for term in ruling.question.terms]
        held = {t for t, a in zip(terms, found.answers, strict=False) if a.hit}
        named = self._decoys.named(term for term in terms if term not in held)
        self._outbox.looked(query, named)

    async def _evaluated(self, query: Query, ruling: Ruling) -> query_pb2.SignedAnswer:
        """The signed evaluations; what is no point is refused, whatever else was asked."""
        try:
            evaluated = await asyncio.to_thread(evaluate, ruling.keyed)
        except InvalidInput as error:
            await self._log.append(
                self._leaves.refusal(
                    error,
                    subject=SUBJECT,
                    partner_id=query.asker.partner_id,
                    user=query.user.spiffe_id,
                    query_id=query.query_id,
                )
            )
            refused = query_pb2.STATUS_REFUSED
            return self._sign(query, ruling, refused, reason="INPUT_INVALID", answers=())
        return sign_blind_answer(
            query,
            self._partner_id,
            evaluated,
            key=self._signing_key(query),
            policy_serial=ruling.decision.policy_serial,
            index_age_s=int(self._index.age_s(self._clock())),
            index_root=self._index.root,
            retention_days=ruling.decision.obligations.retention_days,
            onward=ruling.decision.obligations.onward,
        )

    def _signing_key(self, query: Query) -> Ed25519PrivateKey:
        return self._keys.signing(query.directory.partner(self._partner_id).signing_key)

    def _spent(self, query: Query) -> bytes:
        """The REFUSAL leaf of a query beyond a budget, beside its INTENT."""
        return self._leaves.refusal(
            BudgetExhausted("a budget of an asker is used up"),
            subject=SUBJECT,
            partner_id=query.asker.partner_id,
            user=query.user.spiffe_id,
            query_id=query.query_id,
            purpose=query.purpose,
        )

    def _disclosure(self, query: Query, ruling: Ruled) -> Disclosure:
        """Of this owner as the directory of the query describes it."""
        return Disclosure(
            owner=query.directory.partner(self._partner_id),
            index=self._index,
            policy=ruling.policy,
            gate=self._gate,
            clock=self._clock,
        )

    def _sign(
        self,
        query: Query,
        ruling: Ruling,
        status: int,
        *,
        reason: str,
        answers: Sequence[query_pb2.TermAnswer],
    ) -> query_pb2.SignedAnswer:
        return sign_answer(
            query,
            self._partner_id,
            key=self._signing_key(query),
            status=status,
            reason=reason,
            answers=answers,
            policy_serial=ruling.decision.policy_serial,
            index_age_s=int(self._index.age_s(self._clock())),
            index_root=self._index.root,
            paused_since=self._pause.since or int(self._clock()),
            retention_days=ruling.decision.obligations.retention_days,
            onward=ruling.decision.obligations.onward,
        )


def _allowance_s(query: Query) -> float:
    if query.element_count:
        return ALLOWANCE_S + ALLOWANCE_PER_ELEMENT_S * query.element_count
    return ALLOWANCE_S + ALLOWANCE_PER_TERM_S * (query.term_count - 1)


def _facts(query: Query, scope: Scope, now: float) -> QueryFacts:
    """What policy may know. A blind query's period stays with its asker; how far back its class
    may reach was decided when it was published, so here the shortest question is judged. The period
    of a sealed one is judged as of its mandate, which is a day old at most."""
    days = window_days(scope.since, scope.until, min(now, query.asked_at))
    return query_facts(query, window_days=1 if query.element_count else days, events=scope.events)


def _claimed_serial(request: owner_pb2.AnswerRequest) -> int:
    """The directory serial a query claims; what cannot be read is refused by the envelope."""
    try:
        return int(query_pb2.QueryHeader.FromString(request.query.header).directory_serial)
    except DecodeError:
        return 0

"""The gateway's walk of one tactical query: admit, decide, log, fan out, release, close."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import signing
from fairlead.admission import Admission, Admitted, Intent, Replayed
from fairlead.auditlog import AuditLog
from fairlead.certificates import Identity
from fairlead.envelope.answer import verify_answer
from fairlead.envelope.grant import grant_statement, make_grant
from fairlead.envelope.outcome import PartnerState, make_outcome
from fairlead.envelope.query import Query
from fairlead.errors import FairleadError, Forged, Stale
from fairlead.facts import party_facts, query_facts, refusal_of, requester_code, user_facts
from fairlead.leaves import LeafWriter
from fairlead.partners import Directory
from fairlead.policy.decision import Decision
from fairlead.policy.points import PolicyPoints
from fairlead.release import ReleaseDesk
from fairlead.telemetry import Event, get_logger
from fairlead.v1 import audit_pb2, gateway_pb2, owner_pb2, query_pb2
from gateway.fanout import Leg, ask_one, fan_out
from gateway.members import Transport
from gateway.runs import Run, Runs

SUBJECT = "GatewayService.Query"
GRANT_LIFETIME_S = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """What the gateway decided: a decision per partner, and the parts that will be sent."""

    decisions: Mapping[str, Decision]
    parts: Mapping[str, bytes]


class Tactical:
    """Routes tactical queries; never sees a term or an answer in clear."""

    def __init__(
        self,
        *,
        gateway: str,
        key: Ed25519PrivateKey,
        log: AuditLog,
        leaves: LeafWriter,
        admission: Admission,
        desk: ReleaseDesk,
        directory: Directory,
        policy: PolicyPoints,
        transport: Transport,
        clock: Callable[[], float],
        deadline_s: float,
    ) -> None:
        self._gateway = gateway
        self._key = key
        self._log = log
        self._leaves = leaves
        self._admission = admission
        self._desk = desk
        self._directory = directory
        self._policy = policy
        self._transport = transport
        self._clock = clock
        self._deadline_s = deadline_s
        self._known_heads: dict[str, int] = {}
        self._runs = Runs()
        self._tasks: set[asyncio.Task[None]] = set()

    async def query(
        self, request: gateway_pb2.QueryRequest, peer: Identity
    ) -> AsyncGenerator[gateway_pb2.QueryResponse, None]:
        """Answer one ``GatewayService.Query``.

        A repetition is shown the stored events and asks nobody. When the asker goes away, the
        outstanding calls are cancelled and the outcome is closed all the same.

        :raises FairleadError: refused, with the refusal on the record.
        """
        try:
            admitted = await self._admission.admit(
                request.query,
                peer=peer,
                subject=SUBJECT,
                decide=lambda query: self._decide(query, request, peer),
            )
        except Replayed:
            async for event in self._replay(request):
                yield event
            return
        run = self._runs.start(_key(admitted.query), 2 + len(admitted.decision.decisions))
        task = asyncio.create_task(self._run(run, admitted, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            async for event in run.read():
                yield event
        finally:
            if not run.finished:
                task.cancel()

    async def drain(self) -> None:
        """Cancel what runs and wait until every outcome is closed."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _decide(
        self, query: Query, request: gateway_pb2.QueryRequest, peer: Identity
    ) -> tuple[Routing, Intent]:
        """Decide admission, then routing; write down who will be asked as a commitment."""
        if query.asker.partner_id != peer.partner_id:
            raise Forged("a query is brought by another partner's node", reasons=("WRONG_PEER",))
        now = int(self._clock())
        facts, asker, user = query_facts(query), party_facts(query.asker), user_facts(query.user)
        decision = self._policy.admission(
            now=now,
            query=facts,
            asker=asker,
            user=user,
            case_open=True,
            user_assigned=True,
            approvals=0,
        )
        if not decision.permit:
            raise refusal_of(decision)
        parts = self._parts(request, query)
        candidates = {p: party_facts(self._directory.partners[p]) for p in parts}
        decisions = self._policy.routing(now=now, query=facts, asker=asker, candidates=candidates)
        permitted = {p: parts[p] for p in parts if decisions[p].permit}
        leaf, _ = self._leaves.intent(
            query,
            rules=decision.rules,
            policy_serial=decision.policy_serial,
            commits_to=",".join(sorted(permitted)).encode(),
        )
        return Routing(decisions=decisions, parts=permitted), Intent(leaf=leaf)

    def _parts(self, request: gateway_pb2.QueryRequest, query: Query) -> dict[str, bytes]:
        """The parts by partner, each the one its header names.

        :raises Forged: a part for a stranger, for the asker itself, twice, or not the named one.
        """
        places = {p: i for i, p in enumerate(self._directory.partners)}
        parts: dict[str, bytes] = {}
        for item in request.parts[: len(places) + 1]:
            place = places.get(item.partner_id)
            known = place is not None and item.partner_id not in parts
            if not known or item.partner_id == query.asker.partner_id:
                raise Forged("a part is addressed to nobody", reasons=("PART_ADDRESS",))
            if place is None or signing.digest(item.part) != query.part_digests[place]:
                raise Forged("a part is not the one the header names", reasons=("PART_DIGEST",))
            parts[item.partner_id] = item.part
        if not parts:
            raise Forged("a query asks nobody", reasons=("PART_ADDRESS",))
        return parts

    async def _run(
        self, run: Run, admitted: Admitted[Routing], request: gateway_pb2.QueryRequest
    ) -> None:
        """Fan out and close; whatever happens, an OUTCOME leaf is attempted."""
        states = {
            p: PartnerState(
                partner_id=p, status=query_pb2.STATUS_NOT_ASKED, reason=requester_code(d)
            )
            for p, d in admitted.decision.decisions.items()
            if not d.permit
        }
        try:
            await self._ask_owners(run, admitted, request, states)
        except asyncio.CancelledError:
            await asyncio.shield(self._close(run, admitted, request, states, interrupted=True))
            raise
        except FairleadError as error:
            run.failure = error
            run.wake()
        else:
            await self._close(run, admitted, request, states, interrupted=False)
        finally:
            run.finished = True
            run.wake()
            self._admission.leave()

    async def _ask_owners(
        self,
        run: Run,
        admitted: Admitted[Routing],
        request: gateway_pb2.QueryRequest,
        states: dict[str, PartnerState],
    ) -> None:
        query, routing, index = admitted.query, admitted.decision, admitted.intent.index
        accepted = gateway_pb2.Accepted(intent=self._receipt(index, request))
        run.add(gateway_pb2.QueryResponse(accepted=accepted))
        for state in states.values():
            run.add(_event(state, None))
        issue = self._issuer(admitted, request)
        deadline = asyncio.get_running_loop().time() + self._deadline_s

        async def ask(partner_id: str) -> Leg:
            return await ask_one(self._transport, partner_id, issue, deadline=deadline)

        async for leg in fan_out(routing.parts.keys(), ask):
            state, answer = self._judge(leg, query)
            released = audit_pb2.ReleasedAnswer(
                query_id=query.query_id,
                partner_id=state.partner_id,
                status=state.status,  # type: ignore[arg-type]
                answer_digest=state.answer_digest,
            )
            await self._desk.release(released)
            states[leg.partner_id] = state
            run.add(_event(state, answer))

    def _receipt(self, index: int, request: gateway_pb2.QueryRequest) -> audit_pb2.Receipt:
        """For the asker: consistent with the head it holds; a head ahead of this log is cut."""
        return self._log.receipt(index, min(request.head_size, self._log.head.size))

    def _issuer(
        self, admitted: Admitted[Routing], request: gateway_pb2.QueryRequest
    ) -> Callable[[str, int | None], owner_pb2.AnswerRequest]:
        """Sign the grants once; build each owner's request with a receipt it can check."""
        query, routing = admitted.query, admitted.decision
        now = self._clock()
        grants = {
            p: make_grant(query, p, routing.decisions[p], expires_at=int(now) + GRANT_LIFETIME_S)
            for p in routing.parts
        }
        statement = grant_statement(
            query,
            grants,
            directory=self._directory,
            gateway=self._gateway,
            intent_leaf_hash=admitted.intent.leaf_hash,
            now=now,
        )
        signature = signing.sign(self._key, "grant", statement)

        def issue(partner_id: str, stale: int | None) -> owner_pb2.AnswerRequest:
            size = self._log.head.size
            known = self._known_heads.get(partner_id, 0) if stale is None else stale
            receipt = self._log.receipt(admitted.intent.index, min(known, size))
            # Optimistic: legs on one connection arrive in order, so the next one may build on
            # this one's checkpoint; when they do not, the owner says STALE and we build again.
            self._known_heads[partner_id] = size
            return owner_pb2.AnswerRequest(
                query=request.query,
                part=routing.parts[partner_id],
                grant=grants[partner_id],
                grant_statement=statement,
                grant_signature=signature,
                receipt=receipt,
            )

        return issue

    def _judge(self, leg: Leg, query: Query) -> tuple[PartnerState, query_pb2.SignedAnswer | None]:
        """Verify an answer unread; garbage becomes INVALID and is not passed on."""
        if leg.answer is None:
            return (
                PartnerState(partner_id=leg.partner_id, status=leg.status, reason=leg.reason),
                None,
            )
        try:
            answer = verify_answer(
                leg.answer,
                query_id=query.query_id,
                header_digest=query.header_digest,
                terms=query.term_count,
                owner=self._directory.partners[leg.partner_id],
            )
        except FairleadError as error:
            state = PartnerState(
                partner_id=leg.partner_id, status=query_pb2.STATUS_INVALID, reason=error.code
            )
            return state, None
        state = PartnerState(
            partner_id=leg.partner_id,
            status=answer.status,
            reason=answer.reason,
            answer_digest=answer.digest,
        )
        return state, leg.answer

    async def _close(
        self,
        run: Run,
        admitted: Admitted[Routing],
        request: gateway_pb2.QueryRequest,
        states: dict[str, PartnerState],
        *,
        interrupted: bool,
    ) -> None:
        query = admitted.query
        for partner_id in admitted.decision.parts:
            if partner_id not in states:
                states[partner_id] = PartnerState(
                    partner_id=partner_id,
                    status=query_pb2.STATUS_TIMEOUT,
                    reason="ASKER_GONE" if interrupted else "DEADLINE",
                )
        outcome = make_outcome(
            query_id=query.query_id,
            header_digest=query.header_digest,
            states=states,
            intent_leaf_hash=admitted.intent.leaf_hash,
            gateway=self._gateway,
            policy_serial=self._policy.serial,
            now=self._clock(),
        )
        signature = signing.sign(self._key, "outcome", outcome)
        try:
            appended = await self._log.append(
                self._leaves.outcome(query, states),
                also=lambda connection: _store(connection, query, outcome, signature),
            )
        except FairleadError as error:
            run.failure = error
            return
        receipt = self._receipt(appended.index, request)
        closed = gateway_pb2.Closed(outcome=outcome, signature=signature, receipt=receipt)
        get_logger().info(
            Event.QUERY_CLOSED,
            query_id=query.query_id,
            partner=query.asker.partner_id,
            purpose=query.purpose,
            owners=len(states),
        )
        run.add(gateway_pb2.QueryResponse(closed=closed))

    async def _replay(
        self, request: gateway_pb2.QueryRequest
    ) -> AsyncGenerator[gateway_pb2.QueryResponse, None]:
        """Show what is stored of a query asked before.

        :raises Stale: this gateway restarted before the query was closed.
        """
        header = signing.parse_canonical(query_pb2.QueryHeader, request.query.header)
        mandate = signing.parse_canonical(query_pb2.Mandate, request.query.mandate)
        run = self._runs.get((mandate.session_key, header.query_id))
        if run is not None:
            async for event in run.read():
                yield event
            return
        rows = self._log.read(
            "SELECT outcome, signature FROM queries WHERE session_key = ? AND query_id = ?",
            (mandate.session_key, header.query_id),
        )
        for outcome, signature in rows:
            if outcome is not None:
                closed = gateway_pb2.Closed(outcome=outcome, signature=signature)
                yield gateway_pb2.QueryResponse(closed=closed)
                return
        raise Stale(
            "this query was interrupted and will not be continued",
            reasons=("QUERY_INTERRUPTED",),
            remedy="ask again: a new query gets a new id",
        )


def _key(query: Query) -> tuple[bytes, bytes]:
    return query.session_key, query.query_id


def _store(connection: object, query: Query, outcome: bytes, signature: bytes) -> None:
    connection.execute(  # type: ignore[attr-defined]
        "UPDATE queries SET outcome = ?, signature = ? WHERE session_key = ? AND query_id = ?",
        (outcome, signature, query.session_key, query.query_id),
    )


def _event(state: PartnerState, answer: query_pb2.SignedAnswer | None) -> gateway_pb2.QueryResponse:
    event = gateway_pb2.PartnerEvent(
        partner_id=state.partner_id,
        status=state.status,  # type: ignore[arg-type]
        reason=state.reason,
        answer=answer,
    )
    return gateway_pb2.QueryResponse(partner=event)

"""One admitted query on its way: asked, judged, released, closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import signing
from fairlead.admission import Admitted
from fairlead.auditlog import AuditLog
from fairlead.envelope.answer import verify_answer
from fairlead.envelope.grant import grant_statement, make_grant
from fairlead.envelope.outcome import PartnerState, make_outcome
from fairlead.envelope.query import Query
from fairlead.errors import FairleadError
from fairlead.facts import requester_code
from fairlead.keyring import KeyRing
from fairlead.leaves import LeafWriter
from fairlead.partners import DenyLists
from fairlead.policy.decision import Decision
from fairlead.quorum import NoQuorum
from fairlead.receipts import Head
from fairlead.release import ReleaseDesk
from fairlead.telemetry import Event, get_logger
from fairlead.v1 import audit_pb2, gateway_pb2, owner_pb2, query_pb2
from gateway.fanout import Leg, ask_one, fan_out
from gateway.members import LegFailed, Transport
from gateway.runs import Run
from gateway.witnesses import Witnesses

GRANT_LIFETIME_S = 120
QUORUM_SHARE = 0.5
"""Of a query's deadline, what it waits for the witnesses at most: owners need the rest."""
QUORUM_MISSING = "QUORUM_MISSING"


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """What the gateway decided: a decision per partner, and the parts that will be sent."""

    decisions: Mapping[str, Decision]
    parts: Mapping[str, bytes]
    policy_serial: int
    decision_id: bytes
    witnessed: bool = False
    """Whether a quorum of witnesses cosigns the INTENT before anybody is asked."""
    unpinned: frozenset[str] = frozenset()
    """Partners asked for whose root key this gateway has not pinned; they are told apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What every walk of one gateway shares. ``known_heads`` is the size of the head of this
    log that each owner is believed to hold."""

    gateway: str
    keys: KeyRing
    log: AuditLog
    leaves: LeafWriter
    desk: ReleaseDesk
    deny_lists: DenyLists
    transport: Transport
    witnesses: Witnesses
    clock: Callable[[], float]
    deadline_s: float
    known_heads: dict[str, int] = field(default_factory=dict)


class Walk:
    """Asks the owners of one admitted query and closes it; never reads what it carries."""

    def __init__(
        self, exchange: Exchange, admitted: Admitted[Routing], request: gateway_pb2.QueryRequest
    ) -> None:
        self._exchange = exchange
        self._query = admitted.query
        self._routing = admitted.decision
        self._intent = admitted.intent
        self._request = request
        self._accepted_size = 0
        self._cosigned: Head | None = None
        self.reason = "DEADLINE"
        """Why partners without a state have none."""
        self._states = {
            p: PartnerState(
                partner_id=p, status=query_pb2.STATUS_NOT_ASKED, reason=requester_code(decision)
            )
            for p, decision in self._routing.decisions.items()
            if not decision.permit
        }
        for partner_id in self._routing.unpinned:
            self._states[partner_id] = PartnerState(
                partner_id=partner_id, status=query_pb2.STATUS_NOT_ASKED, reason="ROOT_UNPINNED"
            )

    async def go(self, run: Run) -> None:
        """Fan out and release each answer; the caller closes, once, whatever this came to.

        Only a log that cannot be written leaves a query open: then :attr:`reason` is empty.
        """
        try:
            await self._ask_owners(run)
        except FairleadError as error:  # the log: nothing more may leave
            self.reason = ""
            run.fail(error)
        except Exception as error:  # noqa: BLE001  a defect must not leave the query open
            get_logger().error(Event.RPC_FAILED, error=error)
            self.reason = "INTERNAL"

    async def _ask_owners(self, run: Run) -> None:
        exchange = self._exchange
        deadline = asyncio.get_running_loop().time() + exchange.deadline_s
        asked = await self._witnessed()
        self._accept(run)
        for state in self._states.values():
            run.add(_event(state, None))
        if not asked:
            return
        issue = self._issuer()

        async def ask(partner_id: str) -> None:
            try:
                node = self._query.directory.partners[partner_id].nodes[0].spiffe_id
                exchange.deny_lists.check(node, exchange.clock())
            except FairleadError:
                leg = Leg(
                    partner_id=partner_id,
                    status=query_pb2.STATUS_UNREACHABLE,
                    reason="SUSPENDED",
                )
            else:
                leg = await ask_one(exchange.transport, partner_id, issue, deadline=deadline)
            state, answer = self._judge(leg)
            released = audit_pb2.ReleasedAnswer(
                query_id=self._query.query_id,
                partner_id=state.partner_id,
                status=state.status,  # type: ignore[arg-type]
                answer_digest=state.answer_digest,
            )
            await exchange.desk.release(released)
            self._states[state.partner_id] = state
            run.add(_event(state, answer))

        await fan_out(self._routing.parts.keys(), ask)

    def _accept(self, run: Run) -> None:
        """Show the asker its INTENT, under the cosigned checkpoint if there had to be one."""
        log = self._exchange.log
        head = self._cosigned or log.head
        self._accepted_size = head.size
        known = min(self._request.head_size, self._accepted_size)
        receipt = log.receipt(self._intent.index, known, under=head)
        run.add(gateway_pb2.QueryResponse(accepted=gateway_pb2.Accepted(intent=receipt)))

    async def _witnessed(self) -> bool:
        """Whether anybody may be asked: for a highly sensitive purpose, once a quorum has cosigned
        a checkpoint with the INTENT in it; else nobody is, and every partner's line says why."""
        if not self._routing.witnessed:
            return True
        exchange = self._exchange
        try:
            self._cosigned = await exchange.witnesses.covering(
                self._intent.index,
                self._query.directory,
                within_s=exchange.deadline_s * QUORUM_SHARE,
            )
        except NoQuorum as error:
            get_logger().warning(
                Event.QUERY_REFUSED, error=error, partner=self._query.asker.partner_id
            )
            self._states |= {
                p: PartnerState(
                    partner_id=p, status=query_pb2.STATUS_NOT_ASKED, reason=QUORUM_MISSING
                )
                for p in self._routing.parts
            }
            return False
        return True

    def _key(self) -> Ed25519PrivateKey:
        """The key that the directory of this query's serial names for this gateway."""
        gateways = self._query.directory.gateways
        return self._exchange.keys.signing(gateways[self._exchange.gateway].signing_key)

    def _issuer(self) -> Callable[[str, int | None], owner_pb2.AnswerRequest]:
        """Sign the grants once; build each owner's request with a receipt it can check."""
        exchange, routing = self._exchange, self._routing
        now = exchange.clock()
        expires_at = int(now) + GRANT_LIFETIME_S
        grants = {
            p: make_grant(
                self._query,
                p,
                routing.decisions[p],
                expires_at=expires_at,
                decision_id=routing.decision_id,
            )
            for p in routing.parts
        }
        statement = grant_statement(
            self._query,
            grants,
            directory=self._query.directory,
            gateway=exchange.gateway,
            intent_leaf_hash=self._intent.leaf_hash,
            now=now,
        )
        signature = signing.sign(self._key(), "grant", statement)

        def issue(partner_id: str, stale: int | None) -> owner_pb2.AnswerRequest:
            size = exchange.log.head.size
            if stale is not None and stale > size:  # this log lost its tail, or the owner lies
                get_logger().error(Event.LOG_BEHIND, partner=partner_id, size=size)
                raise LegFailed(query_pb2.STATUS_INVALID, "LOG_BEHIND")
            known = exchange.known_heads.get(partner_id, 0) if stale is None else stale
            receipt = exchange.log.receipt(
                self._intent.index, min(known, size), under=self._cosigned
            )
            # Optimistic: legs on one connection arrive in order, so the next one may build on
            # this one's checkpoint; when they do not, the owner says STALE and we build again.
            if self._cosigned is None:
                exchange.known_heads[partner_id] = size
            return owner_pb2.AnswerRequest(
                query=self._request.query,
                part=routing.parts[partner_id],
                grant=grants[partner_id],
                grant_statement=statement,
                grant_signature=signature,
                receipt=receipt,
            )

        return issue

    def _judge(self, leg: Leg) -> tuple[PartnerState, query_pb2.SignedAnswer | None]:
        """Verify an answer unread; garbage becomes INVALID and is not passed on."""
        if leg.answer is None:
            state = PartnerState(partner_id=leg.partner_id, status=leg.status, reason=leg.reason)
            return state, None
        try:
            answer = verify_answer(
                leg.answer,
                query_id=self._query.query_id,
                header_digest=self._query.header_digest,
                terms=self._query.term_count,
                elements=self._query.element_count,
                owner=self._query.directory.partners[leg.partner_id],
            )
        except FairleadError as error:
            get_logger().warning(Event.PARTNER_INVALID, error=error, partner=leg.partner_id)
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

    async def close(self, run: Run, *, reason: str) -> None:
        """Write the OUTCOME; partners without a state are TIMEOUT, or NOT_ASKED, for ``reason``."""
        exchange, states = self._exchange, self._states
        asked = bool(self._accepted_size)
        status = query_pb2.STATUS_TIMEOUT if asked else query_pb2.STATUS_NOT_ASKED
        for partner_id in self._routing.parts:
            if partner_id not in states:
                states[partner_id] = PartnerState(
                    partner_id=partner_id, status=status, reason=reason
                )
        outcome = make_outcome(
            query_id=self._query.query_id,
            header_digest=self._query.header_digest,
            states=states,
            intent_leaf_hash=self._intent.leaf_hash,
            gateway=exchange.gateway,
            policy_serial=self._routing.policy_serial,
            now=exchange.clock(),
        )
        signature = signing.sign(self._key(), "outcome", outcome)
        try:
            if not asked:  # the gateway stops while this one waits: the asker hears all of it
                self._accept(run)
                for state in states.values():
                    run.add(_event(state, None))
            appended = await exchange.log.append(
                exchange.leaves.outcome(self._query, states),
                also=lambda connection: _store(connection, self._query, outcome, signature),
            )
        except FairleadError as error:
            run.fail(error)
            return
        closed = gateway_pb2.Closed(
            outcome=outcome,
            signature=signature,
            receipt=exchange.log.receipt(appended.index, self._accepted_size),
        )
        get_logger().info(
            Event.QUERY_CLOSED,
            query_id=self._query.query_id,
            partner=self._query.asker.partner_id,
            purpose=self._query.purpose,
            owners=len(states),
        )
        run.add(gateway_pb2.QueryResponse(closed=closed))
        run.finish()


def _store(connection: object, query: Query, outcome: bytes, signature: bytes) -> None:
    connection.execute(  # type: ignore[attr-defined]
        "UPDATE queries SET outcome = ?, signature = ? WHERE query_id = ?",
        (outcome, signature, query.query_id),
    )


def _event(state: PartnerState, answer: query_pb2.SignedAnswer | None) -> gateway_pb2.QueryResponse:
    response = gateway_pb2.QueryResponse()
    event = response.partners.add()
    event.partner_id = state.partner_id
    event.status = state.status  # type: ignore[assignment]
    event.reason = state.reason
    if answer is not None:
        event.answer.CopyFrom(answer)
    return response

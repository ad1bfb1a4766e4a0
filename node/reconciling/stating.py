"""What a node says of its own log, from where the gateway knows it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from fairlead import receipts, signing
from fairlead.errors import Forged
from fairlead.partners import Gateway, Partner
from fairlead.receipts import Head
from fairlead.reconciling import (
    ENTRY_OCTETS,
    MAX_ENTRIES,
    Ledger,
    Pair,
    Statement,
    sign_statement,
)
from fairlead.v1 import reconcile_pb2 as pb
from node.parts import Parts
from node.reconciling.awaited import Awaited
from node.reconciling.calling import Calling
from node.reconciling.standing import State, state_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Who reconciles with whom, and from where. ``due``: the head that a quorum must have cosigned;
    None while there is none."""

    pair: Pair
    partner: Partner
    gateway: Gateway
    state: State
    due: Head | None
    lost: str = ""


@dataclass(slots=True, kw_only=True)
class Said:
    """What was said so far in one round. ``believed`` is the head of the gateway's log; None when
    ``reasons`` say why not, and ``accepted`` shows it."""

    statement: Statement
    listed: pb.Reconciliation
    request: pb.ReconcileRequest
    more: bool
    countered: pb.Countered = field(default_factory=pb.Countered)
    believed: Head | None = None
    reasons: tuple[str, ...] = ()
    accepted: str = ""


class Stating:
    """Makes one node's statements, and brings them to the gateway."""

    def __init__(
        self, parts: Parts, calling: Calling, ledger: Ledger, *, node: str, awaited: Awaited
    ) -> None:
        self._awaited = awaited
        self._parts = parts
        self._calling = calling
        self._ledger = ledger
        self._node = node
        self._limit = min(MAX_ENTRIES, parts.config.limits.max_message_bytes // ENTRY_OCTETS)

    def begin(self) -> Round:
        """Where the next statement starts from."""
        directory = self._parts.directory.current
        partner = directory.partner(self._parts.config.partner)
        pair = Pair(federation=directory.federation, partner_id=partner.partner_id, node=self._node)
        gateway = directory.gateway_at(self._parts.config.gateway)
        state = state_of(self._parts.log, gateway.log_origin)
        due = self._awaited.due(state.settled, state.settled_ms, gateway.log_origin)
        self._awaited.look()
        return Round(pair=pair, partner=partner, gateway=gateway, state=state, due=due)

    async def stated(self, at: Round) -> Said:
        """Make a statement, and get the gateway's; once more from where the gateway wants it.

        :raises Forged: it does not take that either. :raises FairleadError: it is silent, refuses.
        """
        start = at
        for _ in range(2):
            said = await asyncio.to_thread(self._statement, start)
            response = await self._calling.reconcile(said.request)
            if response.HasField("countered"):
                said.countered = response.countered
                return said
            start = self._restarted(at, response.known)
        raise Forged(
            "the gateway does not take a statement from where it wants one",
            reasons=("RECONCILE_BINDING",),
            remedy="tell the gateway's operator",
        )

    def _statement(self, at: Round) -> Said:
        parts, state = self._parts, at.state
        size = self._ledger.catch_up()
        head = parts.log.head
        entries, end, more = self._ledger.of_node(
            at.pair.partner_id, first=state.next, size=size, limit=self._limit
        )
        statement = Statement(
            pair=at.pair,
            gateway_origin=at.gateway.log_origin,
            time_ms=int(parts.clock() * 1000),
            first=state.next,
            next=end,
            checkpoint=head.checkpoint,
            resumed=self._ledger.resumed(at.gateway.former_checkpoint),
            gateway_next=state.gateway_next,
            lost=at.lost,
            entries=entries,
        )
        octets, signature = sign_statement(statement, parts.keys.signing(at.partner.signing_key))
        request = pb.ReconcileRequest(
            statement=octets,
            signature=signature,
            consistency_from=state.size,
            consistency=parts.log.consistency(state.size, head.size),
            head_size=parts.heads.size,
            settled_size=at.due.size if at.due else 0,
        )
        return Said(
            statement=replace(statement, digest=signing.digest(octets)),
            listed=pb.Reconciliation(statement=octets, statement_signature=signature),
            request=request,
            more=more,
        )

    def _restarted(self, at: Round, known: pb.Known) -> Round:
        """Where the gateway wants the statement to start from.

        :raises Forged: what it says it was shown is not of this node's keys.
        """
        first = min(at.state.next, known.next)
        if not known.checkpoint:
            return replace(at, state=replace(at.state, next=first, size=0))
        log, keys = self._parts.log, [at.partner.signing_key, *self._parts.keys.signing_keys()]
        opened = receipts.open_checkpoint_of(known.checkpoint, log.origin, keys)
        if opened.size <= log.head.size and log.root(opened.size) == opened.root:
            return replace(at, state=replace(at.state, next=first, size=opened.size))
        return replace(at, state=replace(at.state, next=first, size=0), lost=known.checkpoint)

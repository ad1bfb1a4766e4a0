"""The gateway's door for tactical queries: admit, decide, start the walk, show repetitions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import dataclass

from fairlead import decisions, signing
from fairlead.admission import Admission, Intent, Replayed
from fairlead.certificates import Identity
from fairlead.detail import SealedDetail
from fairlead.envelope.answer import body_size
from fairlead.envelope.asked import detail_limit
from fairlead.envelope.part import part_digest
from fairlead.envelope.query import Query
from fairlead.errors import Forged, Stale
from fairlead.facts import party_facts, query_facts, refusal_of, user_facts
from fairlead.partners import directory_mismatch
from fairlead.policy.live import LivePolicy
from fairlead.v1 import gateway_pb2, query_pb2
from gateway.runs import ANSWER_OVERHEAD, Run, Runs
from gateway.walk import Exchange, Routing, Walk

SUBJECT = "GatewayService.Query"


@dataclass(slots=True)
class _Entry:
    """A call whose query is being admitted."""

    opened: asyncio.Future[Run]
    query_id: bytes = b""


class Tactical:
    """Routes tactical queries; never sees a term or an answer in clear."""

    def __init__(self, exchange: Exchange, admission: Admission, policy: LivePolicy) -> None:
        self._exchange = exchange
        self._admission = admission
        self._policy = policy
        self._runs = Runs()
        self._entering: dict[bytes, asyncio.Future[Run]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def query(
        self, request: gateway_pb2.QueryRequest, peer: Identity
    ) -> AsyncGenerator[gateway_pb2.QueryResponse, None]:
        """Answer one ``GatewayService.Query``.

        A repetition is shown the stored events and asks nobody. When the asker goes away, the
        walk goes on to its end, bounded by its deadline: the owners were asked, and an asker
        that comes back with the same octets gets what they said.

        :raises FairleadError: refused, with the refusal on the record.
        """
        entry = _Entry(asyncio.get_running_loop().create_future())
        entry.opened.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._own(self._enter(entry, request, peer))
        try:
            run = await asyncio.shield(entry.opened)
        except Replayed:
            async for event in self._replay(request):
                yield event
            return
        async for event in run.read():
            yield event

    async def finish(self, within_s: float) -> None:
        """Admit nothing new, and wait until what runs has ended, so many seconds at most."""
        self._admission.shut()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)

    async def drain(self) -> None:
        """Abandon what runs and wait until every outcome is closed."""
        self._runs.abandon_all()
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _own(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _enter(
        self, entry: _Entry, request: gateway_pb2.QueryRequest, peer: Identity
    ) -> None:
        """Admit, then walk to the end; nobody cancels this, so an INTENT always gets its OUTCOME.

        A gateway that stops cancels the fan-out alone.
        """
        try:
            admitted = await self._admission.admit(
                request.query,
                peer=peer,
                subject=SUBJECT,
                decide=lambda query: self._decide(entry, query, request),
            )
        except Exception as error:  # noqa: BLE001  it is the reader's to raise
            entry.opened.set_exception(error)
            if not isinstance(error, Replayed) and entry.query_id:
                self._entering.pop(entry.query_id, entry.opened).cancel()
            return
        try:
            parts = admitted.decision.parts
            query = admitted.query
            each = body_size(query.term_count, query.element_count) + ANSWER_OVERHEAD
            octets = len(parts) * each
            run = self._runs.start(admitted.query.query_id, octets)
            entry.opened.set_result(run)
            waited_for = self._entering.pop(entry.query_id, None)
            if waited_for is not None:
                waited_for.set_result(run)
            walk = Walk(self._exchange, admitted, request)
            going = run.own(walk.go(run))
            await asyncio.wait([going])
            reason = "GATEWAY_STOPPED" if going.cancelled() else walk.reason
            if reason:
                await walk.close(run, reason=reason)
        finally:
            self._admission.leave(admitted.query)

    async def _decide(
        self, entry: _Entry, query: Query, request: gateway_pb2.QueryRequest
    ) -> tuple[Routing, Intent]:
        """Decide admission, then routing; write down who will be asked as a commitment."""
        entry.query_id = query.query_id
        occasion = decisions.about(query.query_id)
        # A repetition that meets the INTENT before the run has begun waits for it here.
        self._entering.setdefault(query.query_id, asyncio.get_running_loop().create_future())
        now = int(self._exchange.clock())
        facts, asker, user = query_facts(query), party_facts(query.asker), user_facts(query.user)
        policy = self._policy.current
        self._check_log(query)
        sensitive = policy.highly_sensitive(query.purpose)
        self._exchange.witnesses.check(sensitive=sensitive)
        decision = policy.admission(
            now=now,
            query=facts,
            asker=asker,
            user=user,
            case_open=True,
            user_assigned=True,
            approvals=query.approvals,
        )
        if not decision.permit:
            raise refusal_of(decision)
        parts = self._parts(request, query)
        _check_detail(request.detail, query, owners=len(parts))
        known = query.directory.partners
        candidates = {p: party_facts(known[p]) for p in parts if p in known}
        routed = policy.routing(
            now=now,
            query=facts,
            asker=asker,
            approvals=query.approvals,
            candidates=candidates,
        )
        permitted = {p: parts[p] for p in candidates if routed[p].permit}
        leaf, nonce = self._exchange.leaves.intent(
            query,
            rules=decision.rules,
            policy_serial=decision.policy_serial,
            commits_to=",".join(sorted(permitted)).encode(),
        )
        unpinned = parts.keys() - candidates.keys()
        routing = Routing(
            decisions=routed,
            parts=permitted,
            decision_id=occasion.ids.get("routing", b""),
            unpinned=frozenset(unpinned),
            policy_serial=policy.serial,
            witnessed=sensitive,
        )
        return routing, Intent(leaf=leaf, nonce=nonce, detail=request.detail)

    def _check_log(self, query: Query) -> None:
        """:raises Stale: DIRECTORY_MISMATCH: its directory names another log of this gateway, whose
        receipts its asker and owners wait for."""
        listed = query.directory.gateways.get(self._exchange.gateway)
        if listed is None or listed.log_origin != self._exchange.log.origin:
            raise directory_mismatch()

    def _parts(self, request: gateway_pb2.QueryRequest, query: Query) -> dict[str, bytes]:
        """The parts by partner, each the one its header names.

        :raises Forged: a part for a stranger, for the asker itself, twice, or not the named one.
        """
        places = {p: i for i, p in enumerate(query.directory.listed)}
        parts: dict[str, bytes] = {}
        for item in request.parts[: len(places) + 1]:
            place = places.get(item.partner_id)
            known = place is not None and item.partner_id not in parts
            if not known or item.partner_id == query.asker.partner_id:
                raise Forged("a part is addressed to nobody", reasons=("PART_ADDRESS",))
            if place is None or part_digest(item.part) != query.part_digests[place]:
                raise Forged("a part is not the one the header names", reasons=("PART_DIGEST",))
            parts[item.partner_id] = item.part
        if not parts:
            raise Forged("a query asks nobody", reasons=("PART_ADDRESS",))
        return parts

    async def _replay(
        self, request: gateway_pb2.QueryRequest
    ) -> AsyncGenerator[gateway_pb2.QueryResponse, None]:
        """Show what is stored of a query asked before.

        :raises Stale: this gateway restarted before the query was closed.
        """
        header = signing.parse_canonical(query_pb2.QueryHeader, request.query.header)
        run = self._runs.get(header.query_id)
        entering = self._entering.get(header.query_id)
        if run is None and entering is not None:
            await asyncio.wait([entering])
            run = None if entering.cancelled() else entering.result()
        if run is not None:
            async for event in run.read():
                yield event
            return
        rows = self._exchange.log.read(
            "SELECT outcome, signature FROM queries WHERE query_id = ?", (header.query_id,)
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


def _check_detail(detail: bytes, query: Query, *, owners: int) -> None:
    """What the asker sealed is what its header names, no larger than honest, and for the audit
    committee of its directory. Whether it says the truth, only an opening shows.

    :raises Forged: DETAIL_DIGEST or DETAIL_READERS. :raises InvalidInput: TOO_LARGE …
    """
    if signing.digest(detail) != query.detail_digest:
        raise Forged("a detail is not the one the header names", reasons=("DETAIL_DIGEST",))
    partners = len(query.directory.listed)
    limit = detail_limit(terms=query.term_count, owners=owners, partners=partners)
    read = SealedDetail.parse(detail, limit=limit)
    read.check_readers(query.directory.appointed, query.asker.partner_id)

"""The asker's side: draft, sign, send chunk by chunk, and take up again what was interrupted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from typing import TypeVar

from fairlead import signing
from fairlead.auditlog import AuditLog
from fairlead.certificates import Identity, Role
from fairlead.envelope.query import uuid7
from fairlead.errors import FairleadError, Unreachable
from fairlead.leaves import LeafWriter
from fairlead.release import due
from fairlead.telemetry import Event, get_logger
from fairlead.v1 import asking_pb2 as pb
from fairlead.v1 import query_pb2
from node.batch import Batch
from node.blinded import pace_s
from node.cases import CaseRegister
from node.drafting import Drafter, Preparation
from node.guard import Enumeration
from node.held import APPROVED, Held, Hold, refusal
from node.history import History, unknown_query
from node.intake import Intake
from node.outage import Outages
from node.sealer import Sealed, Sealer
from node.sending import Sending
from node.spending import AskerBudgets
from node.termlist import TermList
from node.watches import Watches

REFUSAL = "AskingService"

T = TypeVar("T")
Events = AsyncGenerator[pb.AskResponse, None]


class Asking:
    """Asks on behalf of the partner's own users; the gateway sees no term.

    A chunk under way is finished when its user goes away, because its owners are being asked;
    the next one waits until the user resumes.
    """

    def __init__(
        self,
        *,
        partner_id: str,
        log: AuditLog,
        leaves: LeafWriter,
        drafter: Drafter,
        cases: CaseRegister,
        sealer: Sealer,
        sending: Sending,
        history: History,
        held: Held,
        budgets: AskerBudgets,
        watches: Watches,
        clock: Callable[[], float],
    ) -> None:
        self._partner_id = partner_id
        self._log = log
        self._leaves = leaves
        self._drafter = drafter
        self._intake = Intake(history.lists)
        self._cases = cases
        self._sealer = sealer
        self._sending = sending
        self._history = history
        self._held = held
        self._budgets = budgets
        self._watches = watches
        self._clock = clock
        self._under_way: dict[bytes, asyncio.Task[None]] = {}

    # ── Prepare ──────────────────────────────────────────────────────────────────────────────

    async def prepare(
        self, requests: AsyncIterator[pb.PrepareRequest], user: Identity, certificate: bytes
    ) -> pb.PrepareResponse:
        """Check and draft one query; a refusal is on the record before the user hears of it.

        :param certificate: the user's certificate as TLS presented it (DER).
        :raises FairleadError: misspelt, without a case, or refused by the node's own policy.
        """
        try:
            request, terms = await self._intake.take(requests, user.name)
            try:
                return await self._drafter.draft(request, terms, user, certificate)
            except BaseException:
                await asyncio.shield(self._history.lists.drop([terms]))
                raise
        except FairleadError as error:
            await self._refuse(error, "Prepare", user)
            raise

    # ── Ask ──────────────────────────────────────────────────────────────────────────────────

    async def ask(self, request: pb.AskRequest, user: Identity, certificate: bytes) -> Events:
        """Send a drafted query under its user's signature and yield what comes back.

        Before sending: 1. the preparation is this user's and fresh, 2. the signature is over
        exactly the drafted mandate, 3. the case is still open and assigned, the budgets have
        room, and the guard sees no sweep and remembers the terms, and what is to stand may, 4. a
        query that needs a second person is durable here and goes no further until it is approved
        and resumed; of any other the whole verifies as a stranger would verify it, the gateway is
        not suspended, and it is durable here, so that it can be taken up again, 5. INTENT is
        durable in this node's own log, chunk by chunk, the first one with what the query spends.

        :raises FairleadError: refused at home, by the gateway, or evidence does not verify.
        """
        made: list[TermList] = []
        try:
            # 1 to 3
            preparation, signature = await self._drafter.take(request, user)
            made.append(preparation.terms)
            batch = self._batch(preparation, signature, certificate, request)
            # 4
            if batch.watch:
                self._watches.check(batch)
            if batch.content.required_approvals:
                hold = await self._hold(batch, user, urgent=preparation.urgent)
                yield pb.AskResponse(batch=self._opened(batch.batch_id))
                yield _pending(hold)
                return
            sealed = await self._sealer.seal(batch, 0, query_id=batch.batch_id)
            await asyncio.shield(self._begin(batch, sealed))
        except BaseException as error:  # its user may have gone: nothing keeps the terms then
            await asyncio.shield(self._history.lists.drop(made))
            if isinstance(error, FairleadError):
                await self._refuse(error, "Ask", user)
            raise
        # 5
        async for event in self._send(batch, user, fresh=sealed):
            yield event

    async def _begin(self, batch: Batch, sealed: Sealed) -> None:
        """Keep a query, and what is to stand with it: a resumed one would not begin its watch."""
        await self._history.begin(batch, batch.batch_id, sealed.to_bytes())
        if batch.watch:
            await self._watches.begin(batch)

    async def _hold(self, batch: Batch, user: Identity, *, urgent: bool) -> Hold:
        """Keep a query for a second person; nothing of it is sent.

        :raises Forged: its user did not sign it. :raises Refused: too many of theirs wait.
        """
        self._held.check_room(user.name)
        signing.verify_as_user(user.public_key, "mandate", batch.mandate, batch.signature)
        leaf = self._leaves.approval(
            subject="approval-asked",
            user=user.spiffe_id,
            query_id=batch.batch_id,
            mandate_digest=signing.digest(batch.mandate),
            reasons=("URGENT",) if urgent else (),
        )
        await self._log.append(leaf)
        return await self._held.begin(batch, urgent=urgent)

    def _opened(self, batch_id: bytes) -> pb.AskResponse.Batch:
        """A batch as its user sees it, with how it stands."""
        opened = self._history.opened(batch_id)
        opened.summary.CopyFrom(self._marked(opened.summary))
        return opened

    def _marked(self, summary: pb.QuerySummary) -> pb.QuerySummary:
        summary.approval = self._held.state(summary.query_id)  # type: ignore[assignment]
        return summary

    def _batch(
        self, made: Preparation, signature: bytes, certificate: bytes, request: pb.AskRequest
    ) -> Batch:
        now = self._clock()
        return Batch(
            batch_id=uuid7(now),
            user=made.user.spiffe_id,
            user_name=made.user.name,
            case_id=made.case.case_id,
            mandate=made.mandate,
            signature=signature,
            certificate=certificate,
            session=made.session,
            terms=made.terms,
            nonce_seed=made.nonce_seed,
            roots=made.roots,
            salts=made.salts,
            scope=made.scope,
            not_asked=made.not_asked,
            asked_at=int(now),
            case_retention_days=made.case.retention_days,
            policy_serial=made.policy_serial,
            watch=request.watch,
            watch_signature=request.watch_signature,
            instrument=made.case.vouched(),
            reference=made.case.instrument.reference if made.case.instrument else "",
            case_nonce=made.case.nonce,
        )

    async def resume(self, query_id: bytes, user: Identity) -> Events:
        """Show what is kept of an own query, and finish it when it was interrupted.

        :raises NotFound: not kept, or somebody else's. :raises Refused: its case is closed, or
            no longer the user's, or a second person has not approved it.
        """
        try:
            batch_id = self._own(query_id, user)
            batch = self._history.batch(batch_id)
            await self._check_hold(batch_id, batch, user)
            if batch is not None:
                self._cases.assigned(batch.case_id, user)
        except FairleadError as error:
            await self._refuse(error, "Resume", user)
            raise
        if batch is None:
            async for event in self._shown(batch_id, user):
                yield event
            return
        async for event in self._send(batch, user):
            yield event

    async def _check_hold(self, batch_id: bytes, batch: Batch | None, user: Identity) -> None:
        """Whether a query may go, if it was held: approved, and all that was true when it was
        asked is true still when it is first sent.

        :raises FairleadError: it waits, was denied or has expired, or something changed.
        """
        hold = self._held.get(batch_id)
        if hold is None:
            return
        if hold.state != APPROVED:
            raise refusal(hold.state)
        if batch is not None and not self._history.chunk_ids(batch_id):
            await self._drafter.admit(
                batch.case_id, user, batch.terms, mode=batch.mode, urgent=hold.urgent
            )
            if batch.watch:
                self._watches.check(batch)
                await self._watches.begin(batch)

    async def _send(self, batch: Batch, user: Identity, *, fresh: Sealed | None = None) -> Events:
        """Every chunk in turn: what is done from what is kept, the rest from its owners.

        When a blind chunk follows another does not depend on how many terms of that one hit.
        """
        for event in self._first(batch.batch_id, paged=fresh is None):
            yield event
        try:
            async for event in self._every_chunk(batch, user, fresh):
                yield event
        finally:
            self._sealer.leave(batch)

    async def _every_chunk(self, batch: Batch, user: Identity, fresh: Sealed | None) -> Events:
        outages, loop = Outages(), asyncio.get_running_loop()
        for number in range(batch.chunks):
            await asyncio.sleep(outages.pause_s())
            # An earlier call's chunk is finished first, and that of whoever waited for it too.
            # Nothing is awaited between looking and beginning.
            while (running := self._under_way.get(batch.batch_id)) is not None:
                await asyncio.wait([running])
            kept = self._history.chunk(batch.batch_id, number)
            if kept is not None and kept.done:
                for event in self._of_chunk(batch.batch_id, number):
                    outages.note(event)
                    yield event
                continue
            if number or fresh is None:
                await self._still_assigned(batch, user)
            begun = loop.time()
            work = self._sending.chunk(batch, number, fresh=fresh if number == 0 else None)
            self._sealer.begin(batch, number + 1)
            async for event in self._to_its_end(batch.batch_id, work):
                outages.note(event)
                yield event
            if batch.mode == query_pb2.MODE_BLIND and number + 1 < batch.chunks:
                pace = pace_s(batch.of_chunk(number)[0], len(batch.salts))
                await asyncio.sleep(due(begun, loop.time(), pace) - loop.time())

    async def _still_assigned(self, batch: Batch, user: Identity) -> None:
        try:
            self._cases.assigned(batch.case_id, user)
        except FairleadError as error:
            await self._refuse(error, "Resume", user)
            raise

    async def _to_its_end(self, batch_id: bytes, work: Events) -> Events:
        """Yield what ``work`` yields; when the reader leaves, the work is finished all the same."""
        events: asyncio.Queue[pb.AskResponse | Exception | None] = asyncio.Queue()

        async def pump() -> None:
            try:
                async for event in work:
                    events.put_nowait(event)
                events.put_nowait(None)
            except Exception as error:  # noqa: BLE001  it is the reader's to raise
                events.put_nowait(error)
            except asyncio.CancelledError:
                events.put_nowait(_stopping())
                raise
            finally:
                await work.aclose()

        task = self._under_way[batch_id] = asyncio.create_task(pump())
        task.add_done_callback(lambda _: self._under_way.pop(batch_id, None))
        while (event := await events.get()) is not None:
            if isinstance(event, Exception):
                raise event
            yield event

    async def drain(self) -> None:
        """Stop what is under way; each chunk closes its part of the log."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def budgets(self, user: Identity) -> list[pb.BudgetAccount]:
        """What is left of every budget the user may ask on."""
        return self._budgets.listed(user.name, self._cases.visible_to(user))

    # ── History ──────────────────────────────────────────────────────────────────────────────

    def listed(self, user: Identity) -> list[pb.QuerySummary]:
        """The user's own queries; those of the whole partner for an auditor."""
        listed = self._history.listed(None if _auditor(user) else user.name)
        return [self._marked(summary) for summary in listed]

    async def show(self, query_id: bytes, user: Identity) -> Events:
        """What is kept of a query; the reading is on the record. An auditor sees its metadata.

        :raises NotFound: not kept, or somebody else's.
        """
        try:
            batch_id = self._own(query_id, user, auditor=True)
        except FairleadError as error:
            await self._refuse(error, "ShowQuery", user)
            raise
        async for event in self._shown(batch_id, user):
            yield event

    async def _shown(self, batch_id: bytes, user: Identity) -> Events:
        leaf = self._leaves.history(subject="history-read", user=user.spiffe_id, query_id=batch_id)
        await self._log.append(leaf)
        if self._history.owner(batch_id) != user.name:
            summary = self._marked(self._history.summary(batch_id))
            yield pb.AskResponse(batch=pb.AskResponse.Batch(summary=summary))
            return
        for event in self._first(batch_id, paged=True):
            yield event
        hold = self._held.get(batch_id)
        if hold is not None and not self._history.chunk_ids(batch_id):
            yield _pending(hold)
            return
        for number in range(self._history.summary(batch_id).chunks):
            for event in self._of_chunk(batch_id, number):
                yield event

    def _first(self, batch_id: bytes, *, paged: bool) -> Iterator[pb.AskResponse]:
        """What comes before the chunks: the batch, and its pages for whoever does not have them."""
        opened = self._opened(batch_id)
        opened.paged = paged
        yield pb.AskResponse(batch=opened)
        for page in self._history.pages(batch_id) if paged else ():
            yield pb.AskResponse(page=page)

    def _of_chunk(self, batch_id: bytes, number: int) -> list[pb.AskResponse]:
        lines = self._history.lines(batch_id, number, self._clock())
        kept = self._history.chunk(batch_id, number)
        done = kept is not None and kept.done
        if done:
            lines += _expired(self._history.summary(batch_id), lines, number)
        events = [pb.AskResponse(partner=line) for line in lines]
        evidence = self._history.evidence(batch_id, number)
        if evidence is not None:
            events.append(pb.AskResponse(evidence=evidence))
        if done:
            events.append(pb.AskResponse(done=pb.AskResponse.ChunkDone(chunk=number)))
        return events

    def _own(self, query_id: bytes, user: Identity, *, auditor: bool = False) -> bytes:
        """The batch of a query id, which must be the user's own.

        :raises NotFound: it is not kept, or not for this user to see: the same words.
        """
        batch_id = self._history.find(query_id)
        if self._history.owner(batch_id) != user.name and not (auditor and _auditor(user)):
            raise unknown_query()
        return batch_id

    async def expire(self) -> None:
        """Delete answers whose time is over, on the record when there were any, and the terms of
        drafts that nobody signed."""
        await self._drafter.expire()
        await self._history.lists.sweep()
        if await self._history.expire(self._clock()):
            await self._log.append(self._leaves.history(subject="history-expired"))

    async def _refuse(self, error: FairleadError, rpc: str, user: Identity) -> None:
        leaf = self._leaves.refusal(
            error,
            subject=f"{REFUSAL}.{rpc}",
            partner_id=self._partner_id,
            user=user.spiffe_id,
        )
        await self._log.append(leaf)
        if isinstance(error, Enumeration):
            await self._alarm(error, user)

    async def _alarm(self, sweep: Enumeration, user: Identity) -> None:
        """Somebody sweeps: what gave it away, for those who look; no term."""
        reasons = (str(sweep.sign),)
        leaf = self._leaves.alarm(reasons, subject="enumeration", user=user.spiffe_id)
        await self._log.append(leaf)
        get_logger().error(Event.ENUMERATION_STOPPED, code=sweep.sign, user=user.name)


def _pending(hold: Hold) -> pb.AskResponse:
    return pb.AskResponse(
        pending=pb.AskResponse.Pending(
            approvals=hold.required, expires_at=hold.expires_at, urgent=hold.urgent
        )
    )


def _stopping() -> Unreachable:
    return Unreachable(
        "this node is stopping",
        reasons=("NODE_STOPPING",),
        remedy="fairlead queries list, then: fairlead queries resume QUERY",
    )


def _expired(
    summary: pb.QuerySummary, lines: list[pb.OpenedAnswer], number: int
) -> list[pb.OpenedAnswer]:
    """A line for each partner asked whose answer may be kept no longer: what is not here any
    more must not look like no hit."""
    kept = {line.partner_id for line in lines}
    return [
        pb.OpenedAnswer(
            partner_id=partner,
            status=query_pb2.STATUS_LOST,
            reason="ANSWER_EXPIRED",
            chunk=number,
        )
        for partner in summary.partners
        if partner not in kept
    ]


def _auditor(user: Identity) -> bool:
    return Role.AUDITOR in user.roles

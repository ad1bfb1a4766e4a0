"""One chunk on its way: sealed, kept, sent, and sent again in the same octets if need be."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc

from fairlead import merkle
from fairlead.admission import remember
from fairlead.auditlog import AuditLog
from fairlead.budgets import BudgetExhausted
from fairlead.envelope.answer import open_body, verify_answer
from fairlead.envelope.blinded import open_blind_body
from fairlead.envelope.grant import check_intent
from fairlead.envelope.outcome import (
    WITHOUT_ANSWER,
    Outcome,
    PartnerState,
    check_outcome_leaf,
    gateway_of,
    verify_outcome,
)
from fairlead.envelope.query import CLOCK_REMEDY, Query, uuid7
from fairlead.errors import FairleadError, Forged, LogUnavailable, Refused, Unreachable
from fairlead.leaves import LeafWriter
from fairlead.names import reason_code
from fairlead.policy.decision import Onward
from fairlead.receipts import CheckpointFork
from fairlead.release import ReleaseDesk
from fairlead.server import REASON_KEY
from fairlead.v1 import asking_pb2 as pb
from fairlead.v1 import audit_pb2, gateway_pb2, query_pb2
from node.batch import Batch
from node.blinded import SNAPSHOT_BEHIND, AskedBlind, BlindChunk, Library, find
from node.heads import HeadKeeper
from node.history import History, KeptChunk
from node.kept import KeptAnswer, Opening
from node.reviews import Kind, Reviews
from node.sealer import Sealed, Sealer
from node.snapshots import HeldShelf
from node.spending import AskerBudgets
from node.watches import Watches

Events = AsyncGenerator[pb.AskResponse, None]
GatewayQuery = Callable[[gateway_pb2.QueryRequest], AsyncIterator[gateway_pb2.QueryResponse]]

SUBJECT = "AskingService.Ask"
NEVER_SEEN = frozenset({"QUERY_WINDOW", "DIRECTORY_MISMATCH"})
"""What the gateway says of octets that came too late and that it has never seen."""
LOST = frozenset({"QUERY_INTERRUPTED", "MANDATE_USED", "QUERY_ID_REUSED"})
"""What it says of a chunk that it has seen, and whose answers it does not have."""


@dataclass(slots=True, kw_only=True)
class _Opened:
    """What one chunk under way has collected."""

    batch: Batch
    sealed: Sealed
    states: dict[str, PartnerState] = field(default_factory=dict)
    evidence: pb.Evidence
    asked: frozenset[str]
    asked_from: int
    again: bool
    shown: frozenset[str]
    """Partners whose line is kept from an earlier attempt."""

    @property
    def query(self) -> Query:
        return self.sealed.query

    @property
    def number(self) -> int:
        return self.sealed.query.chunk


class Sending:
    """Sends chunks for the partner's own users; the gateway sees no term."""

    def __init__(
        self,
        *,
        partner_id: str,
        log: AuditLog,
        leaves: LeafWriter,
        desk: ReleaseDesk,
        heads: HeadKeeper,
        history: History,
        sealer: Sealer,
        library: Library,
        budgets: AskerBudgets,
        reviews: Reviews,
        watches: Watches,
        send: GatewayQuery,
        clock: Callable[[], float],
    ) -> None:
        self._partner_id = partner_id
        self._log = log
        self._leaves = leaves
        self._desk = desk
        self._heads = heads
        self._history = history
        self._sealer = sealer
        self._library = library
        self._budgets = budgets
        self._reviews = reviews
        self._watches = watches
        self._send = send
        self._clock = clock
        self._shelf = HeldShelf(log)

    # ── Sending ──────────────────────────────────────────────────────────────────────────────

    async def chunk(self, batch: Batch, number: int, *, fresh: Sealed | None = None) -> Events:
        """Send one chunk that is not done, or send it again, and yield its lines.

        1. What was kept is sent again in the same octets: whoever has seen them asks nobody.
        2. What the gateway never saw is made anew, while the mandate is in force.
        3. What it saw and cannot answer any more is LOST, and never asked again.

        :param fresh: the chunk as it was just made and kept, when it was never sent.
        :raises FairleadError: refused, unreachable, or evidence does not verify; the chunk is
            then not done and may be sent again.
        """
        for partner_id, reason in batch.not_asked.items():
            line = _line(number, partner_id, query_pb2.STATUS_NOT_ASKED, reason)
            await self._keep(batch, number, line)
            yield pb.AskResponse(partner=line)
        kept = self._history.chunk(batch.batch_id, number)
        if fresh is not None:
            events = self._sent(batch, fresh, again=False)
        elif kept is not None:
            events = self._again(batch, number, kept)
        else:
            events = self._anew(batch, number, again=False)
        async for event in events:
            yield event

    async def _again(self, batch: Batch, number: int, kept: KeptChunk) -> Events:
        # 1
        try:
            async for event in self._sent(batch, self._sealer.read(kept.request), again=True):
                yield event
        except FairleadError as error:
            async for event in self._after(error, batch, number, kept.query_id):
                yield event

    def _after(self, error: FairleadError, batch: Batch, number: int, query_id: bytes) -> Events:
        """What follows when octets sent again are not taken.

        :raises FairleadError: ``error``, unless it says what became of them.
        """
        if set(error.reasons) & LOST:
            return self._give_up(batch, number, query_id, query_pb2.STATUS_LOST, error.code)
        if set(error.reasons) & NEVER_SEEN:
            return self._anew(batch, number, again=True)
        raise error

    async def _anew(self, batch: Batch, number: int, *, again: bool) -> Events:
        """Make a chunk and send it; ``again`` when octets made earlier were never seen."""
        # 2
        if self._clock() >= batch.content.expires_at:
            status, query_id = query_pb2.STATUS_NOT_ASKED, uuid7(self._clock())
            async for event in self._give_up(batch, number, query_id, status, "MANDATE_EXPIRED"):
                yield event
            return
        sealed = await self._sealer.seal(batch, number)
        query_id = sealed.query.query_id
        await self._history.put_chunk(batch.batch_id, number, query_id, sealed.to_bytes())
        try:
            async for event in self._sent(batch, sealed, again=again):
                yield event
        except FairleadError as error:
            if not again or not set(error.reasons) & LOST:
                raise
            # 3
            lost = query_pb2.STATUS_LOST
            async for event in self._give_up(batch, number, query_id, lost, error.code):
                yield event

    async def _sent(self, batch: Batch, sealed: Sealed, *, again: bool) -> Events:
        await self._intent(batch, sealed)
        self._heads.recall(sealed.base)
        lines = self._history.lines(batch.batch_id, sealed.query.chunk, self._clock())
        opened = _Opened(
            batch=batch,
            sealed=sealed,
            evidence=pb.Evidence(query=sealed.request.query, detail=sealed.request.detail),
            asked=sealed.asked,
            asked_from=sealed.request.head_size,
            again=again,
            shown=frozenset(line.partner_id for line in lines),
        )
        try:
            for event in await self._left_out(opened):
                yield event
            async for event in self._collect(opened):
                yield event
        finally:
            leaf = self._leaves.outcome(opened.query, opened.states)
            persist = self._heads.persist()
            await asyncio.shield(self._log.append(leaf, also=persist))

    async def _left_out(self, opened: _Opened) -> list[pb.AskResponse]:
        """Partners of the mandate whom this chunk does not ask, because their snapshot cannot be
        used."""
        plan, lines = opened.sealed.plan, []
        for partner_id, reason in plan.left_out.items() if plan else ():
            line = _line(opened.number, partner_id, query_pb2.STATUS_NOT_ASKED, reason)
            await self._keep(opened.batch, opened.number, line)
            lines.append(pb.AskResponse(partner=line))
        return lines

    async def _intent(self, batch: Batch, sealed: Sealed) -> None:
        """Write the INTENT leaf, once, with the sealed detail that its header commits to.

        A chunk made anew takes the place of octets that the gateway said it never saw; owners
        hold every (session, chunk) to one query, whatever the gateway says. The first INTENT of
        a mandate pays for all of it, in its own transaction, where it is also drawn, or not, for a
        supervisor: the leaf's commitment covers which.

        :raises BudgetExhausted: another query took what was left; the refusal is on the record.
        """
        query = sealed.query
        if self._log.read("SELECT 1 FROM queries WHERE query_id = ?", (query.query_id,)):
            return
        drawn = not self._budgets.paid(batch) and self._reviews.draw()
        leaf, nonce = self._leaves.intent(
            query,
            rules=(),
            policy_serial=query.policy_serial,
            commits_to=",".join(sorted(sealed.asked)).encode() + (b"\x00sample" if drawn else b""),
        )
        record = remember(query, nonce, self._first(batch, query, drawn=drawn))
        place = query.session_key, query.chunk

        def replace_record(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM queries WHERE session_key = ? AND chunk = ?", place)
            record(connection)

        try:
            detail = sealed.request.detail
            await self._log.append(leaf, detail=detail, also=replace_record)
        except BudgetExhausted as error:
            refusal = self._leaves.refusal(
                error,
                subject=SUBJECT,
                partner_id=self._partner_id,
                user=batch.user,
                query_id=query.query_id,
            )
            await self._log.append(refusal)
            raise

    def _first(
        self, batch: Batch, query: Query, *, drawn: bool
    ) -> Callable[[sqlite3.Connection], None]:
        """What a mandate's first INTENT brings with it: it is paid for, and perhaps reviewed."""
        pay = self._budgets.payment(batch, beyond=query.urgent)
        if not drawn:
            return pay
        review = self._reviews.opening(
            Kind.SAMPLE,
            query_id=batch.batch_id,
            user=batch.user,
            responsible=query.user.responsible,
            mandate_digest=query.mandate_digest,
        )

        def both(connection: sqlite3.Connection) -> None:
            pay(connection)
            review(connection)

        return both

    async def _collect(self, opened: _Opened) -> Events:
        try:
            async for response in self._send(opened.sealed.request):
                if response.HasField("accepted"):
                    yield await self._accepted(opened, response.accepted.intent)
                elif not opened.evidence.HasField("intent"):
                    if not (opened.again and response.HasField("closed")):
                        raise Forged(
                            "the gateway answers before its intent", reasons=("INTENT_MISSING",)
                        )
                    # The gateway started anew since: it has its outcome, and no answer.
                    async for event in self._closed_alone(opened, response.closed):
                        yield event
                    return
                for answered in response.partners:
                    line = await self._open(opened, answered)
                    yield pb.AskResponse(partner=line)
                if response.HasField("closed"):
                    await self._accept(opened, response.closed.receipt)
                    evidence = self._closed(opened, response.closed)
                    await self._finish(opened, evidence)
                    yield pb.AskResponse(evidence=evidence)
                    yield _done(opened.number)
        except grpc.aio.AioRpcError as error:
            raise gateway_error(error, asked=opened.evidence.HasField("intent")) from None
        if not opened.evidence.outcome:
            raise Forged(
                "the gateway ended without its outcome",
                reasons=("OUTCOME_MISSING",),
                remedy="what is missing is not known; ask again, and tell your security officer",
            )

    async def _accepted(self, opened: _Opened, intent: audit_pb2.Receipt) -> pb.AskResponse:
        opened.asked_from = await self._accept(opened, intent)
        check_intent(intent.leaf, opened.query)
        opened.evidence.intent.CopyFrom(intent)
        return pb.AskResponse(
            accepted=pb.AskResponse.Accepted(
                query_id=opened.query.query_id, asked=len(opened.asked), chunk=opened.number
            )
        )

    async def _accept(self, opened: _Opened, receipt: audit_pb2.Receipt) -> int:
        """A receipt proves its leaf in the same history that was seen before, or an alarm is.

        :returns: the size of the head it proves.
        """
        try:
            return self._heads.accept(receipt, asked_from=opened.asked_from).size
        except CheckpointFork as fork:
            leaf = self._leaves.alarm(
                fork.reasons,
                subject="gateway-log",
                checkpoints=fork.checkpoints,
            )
            await self._log.append(leaf)
            raise

    async def _open(self, opened: _Opened, event: gateway_pb2.PartnerEvent) -> pb.OpenedAnswer:
        """Verify one partner's answer, open it, record it, keep it, and only then show it."""
        query = opened.query
        owner = query.directory.partner(event.partner_id)
        if event.partner_id in opened.states or event.partner_id not in opened.asked:
            raise Forged("a partner answered twice or unasked", reasons=("ANSWER_UNASKED",))
        if not event.HasField("answer"):
            state = PartnerState(
                partner_id=event.partner_id, status=event.status, reason=reason_code(event.reason)
            )
            if state.status not in WITHOUT_ANSWER:
                raise Forged("an answer is claimed but missing", reasons=("ANSWER_MISSING",))
            opened.states[event.partner_id] = state
            line = _line(opened.number, event.partner_id, state.status, state.reason)
            await self._keep(opened.batch, opened.number, line)
            return line
        answer = verify_answer(
            event.answer,
            query_id=query.query_id,
            header_digest=query.header_digest,
            terms=query.term_count,
            elements=query.element_count,
            owner=owner,
        )
        opened.states[event.partner_id] = PartnerState(
            partner_id=event.partner_id,
            status=answer.status,
            reason=answer.reason,
            answer_digest=answer.digest,
        )
        opened.evidence.answers.append(event.answer)
        released = audit_pb2.ReleasedAnswer(
            query_id=query.query_id,
            partner_id=event.partner_id,
            status=answer.status,  # type: ignore[arg-type]
            answer_digest=answer.digest,
        )
        line = _line(opened.number, event.partner_id, answer.status, answer.reason)
        looked: Sequence[Mapping[str, Any]] = ()
        limit: int | None = None
        line.index_age_s = answer.index_age_s
        line.paused_since = answer.paused_since
        if answer.status == query_pb2.STATUS_ANSWERED:
            try:
                limit, looked = await self._read(opened, event, line)
            except (LogUnavailable, Unreachable):  # this node's own: nobody's line
                raise
            except FairleadError as error:  # the owner's doing: it spoils its own line only
                line = _line(opened.number, event.partner_id, query_pb2.STATUS_INVALID, error.code)
                await self._tell_of(error)
        await self._desk.release(released)
        kept = KeptAnswer(body=event.answer.body, looked=looked) if event.answer.body else None
        await self._keep(opened.batch, opened.number, line, retention_days=limit, answer=kept)
        return line

    async def _read(
        self, opened: _Opened, event: gateway_pb2.PartnerEvent, line: pb.OpenedAnswer
    ) -> tuple[int | None, Sequence[Mapping[str, Any]]]:
        """Put what an answer says into its line; how many days it may be kept, and what proves to
        others what a blind one found.

        :raises FairleadError: it does not open, or not as it should.
        """
        query, sealed, owner = opened.query, opened.sealed, event.partner_id
        if sealed.plan is None:
            body = open_body(
                event.answer,
                query_id=query.query_id,
                owner=owner,
                terms=query.term_count,
                key=sealed.reply_key,
            )
            line.answers.extend(body.answers)
            return _duties(body, line), ()
        terms = opened.batch.of_chunk(opened.number)[0]
        chunk = BlindChunk(sealed.plan, opened.number, terms)
        asked = sealed.blinded.get(owner)
        if asked is None:
            asked = await asyncio.to_thread(chunk.for_owner, owner)
        evaluated, body = open_blind_body(
            event.answer,
            query_id=query.query_id,
            owner=owner,
            asked=[item for item, _ in asked],
            key=sealed.reply_key,
        )
        days = _duties(body, line)
        found = await asyncio.to_thread(
            find, self._library, owner, terms, asked, evaluated, opened.batch.scope, self._clock()
        )
        await self._watches.on_hits(
            AskedBlind(
                query_id=query.query_id,
                user=query.user.spiffe_id,
                purpose=query.purpose,
                case_commitment=query.case_commitment,
            ),
            [(owner, manifest, ref) for manifest, ref in found.refs],
        )
        if opened.batch.watch:
            await self._watches.keep(opened.batch, found, days)
        line.answers.extend(found.answers)
        line.index_age_s += found.age_s
        line.reason = SNAPSHOT_BEHIND if found.behind else ""
        held = [(seen, self._shelf.signed(seen.manifest)) for _, seen in found.looked]
        return days, [seen.to_document(*signed) for seen, signed in held if signed is not None]

    async def _tell_of(self, error: FairleadError) -> None:
        """A proof that does not hold, or an entry that does not open, is its owner's doing."""
        if {"BLIND_PROOF", "ENTRY", "ENTRY_LAYOUT"} & set(error.reasons):
            await self._log.append(self._leaves.alarm(error.reasons, subject=SUBJECT))

    def _closed(self, opened: _Opened, closed: gateway_pb2.Closed) -> pb.Evidence:
        """The gateway's statement covers everybody asked and agrees with what arrived here."""
        outcome = self._outcome(opened, closed)
        check_outcome_leaf(closed.receipt.leaf, outcome)
        if dict(outcome.states) != opened.states or opened.states.keys() != opened.asked:
            raise Forged("the outcome differs from the answers seen", reasons=("OUTCOME",))
        if merkle.leaf_hash(opened.evidence.intent.leaf) != outcome.intent_leaf_hash:
            raise Forged("the outcome names another intent", reasons=("OUTCOME",))
        opened.evidence.outcome = closed.outcome
        opened.evidence.outcome_signature = closed.signature
        opened.evidence.closing.CopyFrom(closed.receipt)
        return opened.evidence

    def _outcome(self, opened: _Opened, closed: gateway_pb2.Closed) -> Outcome:
        return verify_outcome(
            closed.outcome,
            closed.signature,
            query_id=opened.query.query_id,
            header_digest=opened.query.header_digest,
            gateway=gateway_of(closed.outcome, opened.query.directory),
        )

    # ── Endings ──────────────────────────────────────────────────────────────────────────────

    async def _closed_alone(self, opened: _Opened, closed: gateway_pb2.Closed) -> Events:
        """An outcome without its answers: who answered and is not kept here is LOST."""
        outcome = self._outcome(opened, closed)
        opened.states = dict(outcome.states)
        for partner_id in sorted(opened.asked - opened.shown):
            state = outcome.states.get(partner_id)
            status, reason = int(query_pb2.STATUS_LOST), "ANSWER_LOST"
            if state is not None and state.status != query_pb2.STATUS_ANSWERED:
                status, reason = state.status, reason_code(state.reason)
            line = _line(opened.number, partner_id, status, reason)
            await self._keep(opened.batch, opened.number, line)
        opened.evidence.outcome = closed.outcome
        async for event in self._end(opened.batch, opened.number, opened.query.query_id):
            yield event

    async def _give_up(
        self, batch: Batch, number: int, query_id: bytes, status: int, reason: str
    ) -> Events:
        """Nobody will be asked (again): whoever has no line kept here gets this one."""
        kept = {line.partner_id for line in self._lines(batch, number)}
        for partner_id in sorted(batch.salts.keys() - kept):
            await self._keep(batch, number, _line(number, partner_id, status, reason))
        async for event in self._end(batch, number, query_id):
            yield event

    async def _end(self, batch: Batch, number: int, query_id: bytes) -> Events:
        """Show every line as it is kept now; there is no evidence of a chunk that ends so."""
        await self._history.finish_chunk(batch, number, None, query_id)
        for line in self._lines(batch, number):
            yield pb.AskResponse(partner=line)
        yield _done(number)

    async def _finish(self, opened: _Opened, evidence: pb.Evidence) -> None:
        batch, plan = opened.batch, opened.sealed.plan
        opening = Opening(
            asked=batch.asked_document() | {"plan": plan and plan.to_document()},
            reply=opened.sealed.reply_key.to_seed(),
        )
        await self._history.finish_chunk(
            batch, opened.number, evidence, opened.query.query_id, opening=opening
        )

    def _lines(self, batch: Batch, number: int) -> list[pb.OpenedAnswer]:
        return self._history.lines(batch.batch_id, number, self._clock())

    async def _keep(
        self,
        batch: Batch,
        number: int,
        line: pb.OpenedAnswer,
        *,
        retention_days: int | None = None,
        answer: KeptAnswer | None = None,
    ) -> None:
        days = batch.case_retention_days if retention_days is None else retention_days
        answered = query_pb2.STATUS_ANSWERED
        if line.status != answered:  # what was answered once stays, whatever is said later
            kept = {item.partner_id: item.status for item in self._lines(batch, number)}
            if kept.get(line.partner_id) == answered:
                return
        await self._history.put_line(batch, number, line, days, self._clock(), answer=answer)


def _line(number: int, partner_id: str, status: int, reason: str) -> pb.OpenedAnswer:
    return pb.OpenedAnswer(
        partner_id=partner_id,
        status=status,  # type: ignore[arg-type]
        reason=reason,
        chunk=number,
    )


def _duties(body: query_pb2.AnswerBody, line: pb.OpenedAnswer) -> int | None:
    """Put into a line to whom it may be passed on; how many days it may be kept."""
    line.onward = body.onward if body.onward in _ONWARD else Onward.NONE
    return body.retention_days - 1 if body.retention_days else None


_ONWARD = {word.value for word in Onward}


def _done(number: int) -> pb.AskResponse:
    return pb.AskResponse(done=pb.AskResponse.ChunkDone(chunk=number))


_REMEDIES = {
    "DENIED": "this node is suspended: ask the operators why",
    "DIRECTORY_EXPIRED": "the operators must publish a current directory",
    "DIRECTORY_MISMATCH": "ask again: the directory has just changed",
    "NOT_YET_VALID": CLOCK_REMEDY,
    "QUERY_WINDOW": CLOCK_REMEDY,
    "QUORUM_IMPOSSIBLE": "tell the operators: the directory's witnesses cannot be a quorum",
    "QUORUM_MISSING": "too few witnesses have cosigned the gateway's log: ask again in minutes",
    "QUORUM_OVERDUE": "the operators see which witness is missing: fairlead-gateway status",
    "ROOT_UNPINNED": "the gateway's operator must pin this partner's root: "
    "read your check phrase to them",
}
"""What to do about the gateway's refusals that an asker's node can do something about."""


def gateway_error(error: grpc.aio.AioRpcError, *, asked: bool) -> FairleadError:
    """What the gateway said, as an error of our own; its free text is not repeated.

    :param asked: whether its INTENT was seen, so that owners may have been asked.
    """
    told = [str(v) for k, v in (error.trailing_metadata() or ()) if k == REASON_KEY]
    reasons = tuple(reason_code(code) for code in told[:16] if code)
    silent = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
    if error.code() in silent or error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
        what = "some owners may have been asked; " if asked else "nothing was asked; "
        return Unreachable(
            "the gateway does not answer",
            reasons=reasons or ("GATEWAY_UNREACHABLE",),
            remedy=what + "fairlead queries list, then: fairlead queries resume QUERY",
        )
    return Refused(
        "the gateway refused this query",
        reasons=reasons or ("GATEWAY_REFUSED",),
        remedy=next((_REMEDIES[code] for code in reasons if code in _REMEDIES), ""),
    )

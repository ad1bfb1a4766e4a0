"""Reconciling: every hour this node's log and the gateway's are held against each other."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence
from typing import Any

from fairlead import signing
from fairlead.errors import FairleadError, Forged, InvalidInput
from fairlead.partners import Partner
from fairlead.receipts import CheckpointFork, CheckpointStale, Head
from fairlead.reconciling import (
    OF_LOG,
    Cosigned,
    Counterstatement,
    Exchange,
    Judgement,
    Ledger,
    Raised,
    Unwitnessed,
    Verdict,
    judge,
    lasting,
    open_counterstatement,
    put_over,
    put_raised,
    require_extension,
    require_witnessed,
    shown,
    sign_verdict,
    size_of,
    together,
)
from fairlead.telemetry import Event, get_logger
from fairlead.v1 import reconcile_pb2 as pb
from node.parts import Parts
from node.reconciling.awaited import COSIGNED_MS, LOOK_S, Awaited
from node.reconciling.calling import Calling
from node.reconciling.report import Report
from node.reconciling.standing import State, put_state, state_of
from node.reconciling.stating import Round, Said, Stating

SUBJECT = "reconciliation"
EVERY_S, RETRY_S, START_S = 3_600.0, 600.0, 300.0
"""Seconds between two reconciliations, after one that failed, and before the first, which waits for
up to twice as long so that nodes do not all begin at once."""
OVERDUE_S = 3 * 3_600.0
OVERDUE = "RECONCILE_OVERDUE"
ROUNDS = 64
"""Statements in a row, where there is much to say."""

Witnessing = Callable[[str], bool]
"""Whether a quorum of witnesses cosigned a checkpoint's note."""


class Reconciler:
    """Reconciles one node with its gateway.

    :param node: this node's SPIFFE id.
    :param witnessing: who says whether a quorum cosigned a checkpoint; None while none is possible.
    """

    def __init__(
        self,
        parts: Parts,
        calling: Calling,
        ledger: Ledger,
        *,
        node: str,
        witnessing: Callable[[], Witnessing | None] = lambda: None,
    ) -> None:
        self._parts = parts
        self._calling = calling
        self._ledger = ledger
        self._node = node
        self._witnessing = witnessing
        self._raised = Raised(parts.log)
        self._awaited = Awaited(parts.heads, parts.clock)
        self._stating = Stating(parts, calling, ledger, node=node, awaited=self._awaited)
        self._one = asyncio.Lock()
        self._since = parts.clock()
        self._refused: set[str] = set()

    # ── When ─────────────────────────────────────────────────────────────────────────────────

    async def run(self, jitter: Callable[[], float] = random.random) -> None:
        """Until cancelled: every hour; sooner after one that failed."""
        await self._pause(START_S * (1 + jitter()))
        while True:
            pause = EVERY_S
            try:
                await self.reconcile()
            except FairleadError:
                pause = RETRY_S
            with contextlib.suppress(FairleadError):  # the log's: whoever writes it says so
                await self._check_overdue()
            await self._pause(pause)

    async def _pause(self, seconds: float) -> None:
        """So long, with a look now and then at what this node accepts meanwhile."""
        while seconds > 0:
            self._awaited.look()
            await asyncio.sleep(min(seconds, LOOK_S))
            seconds -= LOOK_S

    def age_s(self) -> float:
        """Seconds since both ends had told each other all; since the start at most."""
        origin = self._parts.directory.current.gateway.log_origin
        even_ms = state_of(self._parts.log, origin).even_ms
        return max(0.0, self._parts.clock() - max(even_ms / 1000, self._since))

    async def _check_overdue(self) -> None:
        identity = lasting(OVERDUE, self._node)
        if self.age_s() <= OVERDUE_S or self._raised.known([identity]):
            return
        get_logger().error(Event.RECONCILE_OVERDUE, age_s=int(self.age_s()))
        leaf = self._parts.leaves.alarm([OVERDUE], subject=SUBJECT, user=self._gateway_id)
        put = put_raised([(identity, OVERDUE)], time_ms=self._now_ms(), last=True)
        await self._parts.log.append(leaf, also=put)

    # ── One reconciliation ───────────────────────────────────────────────────────────────────

    async def reconcile(self) -> dict[str, Any]:
        """Reconcile now, in as many rounds as there is to say.

        :returns: what came of it, for people.
        :raises FairleadError: the gateway is silent, refuses, or says what does not verify.
        """
        async with self._one:
            told = Report()
            try:
                for _ in range(ROUNDS):
                    if not await self._round(told):
                        break
            except FairleadError as error:
                await self._failed(error)
                raise
            self._refused.clear()
            get_logger().info(Event.RECONCILED, count=told.listed + told.met)
            return told.as_record()

    async def _round(self, told: Report) -> bool:
        """One statement and what comes of it; whether there is more to say.

        1. What this log records since the last time is listed and signed, under its checkpoint.
        2. Where the gateway knows another end of this log, the statement starts from there; a log
           that does not extend what the gateway was shown has lost its tail, and says so.
        3. The counterstatement is the gateway's and answers exactly this one; it leaves out nothing
           of its log that this node was not told, and excuses nothing.
        4. Its checkpoint extends the head this node had accepted, and covers each leaf that it
           names of this node's entries; where there are witnesses, a quorum cosigned one in
           between.
        5. Every entry is looked up in the whole log, and what was found is signed.
        6. One leaf, with all three statements: an alarm over what was not raised before, or that
           both logs agree; what both know moves with it, unless the gateway's log is not believed.
        7. The gateway writes down the same.
        """
        # 1 and 2
        at = self._stating.begin()
        said = await self._stating.stated(at)
        # 3
        counter = open_counterstatement(
            said.countered.counterstatement,
            said.countered.signature,
            public_key=at.gateway.signing_key,
            statement=said.statement,
        )
        _require_within(counter, said, at)
        # 4
        await self._believe(said, counter, at)
        # 5
        verdict = await asyncio.to_thread(self._verdict, said, counter)
        found = Exchange(
            statement=said.statement,
            said=counter,
            verdict=verdict,
            judgement=judge(said.statement, counter, verdict),
        )
        kept = self._kept(said, found, at.partner)
        # 6
        await self._record(found, said, kept, at, told)
        # 7
        concluded = await self._calling.conclude(kept)
        told.codes.update(concluded.incidents)
        further = counter.more and counter.next > at.state.gateway_next
        return (further or said.more) and said.believed is not None

    # ── Judging ──────────────────────────────────────────────────────────────────────────────

    async def _believe(self, said: Said, counter: Counterstatement, at: Round) -> None:
        """Step 4; what does not hold is an incident, with what shows it.

        :raises Forged: not signed by the gateway's log. :raises InvalidInput: malformed.
        """
        before = self._parts.heads.head
        try:
            head = self._parts.heads.extend(
                counter.checkpoint, said.countered.consistency, asked_from=said.request.head_size
            )
            await self._connect(said, head, at)
        except CheckpointFork as fork:
            said.reasons, said.accepted = fork.reasons, fork.checkpoints[0]
            return
        except Forged as error:
            if error.code != "LOG_BEHIND" or before is None:
                raise
            said.reasons, said.accepted = error.reasons, before.checkpoint
            return
        if head.size < max(counter.next, counter.excused, *counter.leaves):
            raise InvalidInput(
                "a statement is about more than its log", reasons=("RECONCILE_FORM",)
            )
        if not counter.more and counter.next < said.request.head_size:
            raise _left_out()
        try:
            self._require_witnessed(said, head, at)
        except CheckpointFork as fork:
            said.reasons, said.accepted = fork.reasons, said.countered.cosigned
            return
        except Unwitnessed as error:
            said.reasons = error.reasons
            return
        said.believed = head

    async def _connect(self, said: Said, head: Head, at: Round) -> None:
        """Have a head shown to be of one history with the one that this node's queries have brought
        it to while it was shown: the gateway proves that its next one extends both.

        :raises CheckpointFork: it does not. :raises CheckpointStale: it takes no statement now.
        """
        now = self._parts.heads.head
        if now is None or (now.size, now.root) == (head.size, head.root):
            return
        request = pb.ReconcileRequest()
        request.CopyFrom(said.request)
        request.head_size, request.shown_size = now.size, head.size
        countered = (await self._calling.reconcile(request)).countered
        if not countered.counterstatement:  # the two have concluded something meanwhile
            raise CheckpointStale(now.size)
        later = open_counterstatement(
            countered.counterstatement,
            countered.signature,
            public_key=at.gateway.signing_key,
            statement=said.statement,
        )
        extended = self._parts.heads.extend(
            later.checkpoint, countered.consistency, asked_from=now.size
        )
        require_extension(head, extended, countered.from_shown)

    def _require_witnessed(self, said: Said, head: Head, at: Round) -> None:
        """The one place where a quorum of witnesses is demanded: for what this node settled on or
        accepted a while ago; whoever has just begun, or reconciles again at once, does not demand
        more."""
        reached = self._witnessing()
        if reached is None or (at.due is None and not said.countered.cosigned):
            return
        require_witnessed(
            Cosigned(
                note=said.countered.cosigned,
                from_settled=said.countered.from_settled,
                to_checkpoint=said.countered.to_checkpoint,
            ),
            settled=at.due,
            present=head,
            log_key=at.gateway.log_key,
            reached=reached,
        )

    def _verdict(self, said: Said, counter: Counterstatement) -> Verdict:
        """Step 5; it runs beside the event loop."""
        self._ledger.catch_up()
        looked = [self._ledger.find(entry) for entry in counter.entries]
        return Verdict(
            pair=counter.pair,
            time_ms=self._now_ms(),
            counterstatement_digest=counter.digest,
            checkpoint=self._parts.log.checkpoint(),
            leaves=tuple(leaf for leaf, _ in looked),
            differing=tuple(place for place, (_, differs) in enumerate(looked) if differs),
            reasons=said.reasons,
            accepted=said.accepted,
        )

    # ── Recording ────────────────────────────────────────────────────────────────────────────

    def _kept(self, said: Said, found: Exchange, partner: Partner) -> pb.Reconciliation:
        octets, signature = sign_verdict(
            found.verdict, self._parts.keys.signing(partner.signing_key)
        )
        kept = said.listed
        kept.counterstatement = said.countered.counterstatement
        kept.counterstatement_signature = said.countered.signature
        kept.verdict, kept.verdict_signature = octets, signature
        return kept

    async def _record(
        self, found: Exchange, said: Said, kept: pb.Reconciliation, at: Round, told: Report
    ) -> None:
        judged = found.judgement
        if len(at.partner.nodes) > 1:  # another node may know it; the gateway hears all of them
            judged = judged.keeping(lambda item: item.absent_from == "gateway")
        once, standing = judged.once(found.statement), judged.standing(at.gateway.log_origin)
        raised = self._raised.known([*once, *standing])
        fresh = {i: code for i, code in {**once, **standing}.items() if i not in raised}
        told.add(found, judged)
        if said.reasons and not fresh:
            return  # it stands already
        codes, detail = sorted(set(fresh.values())), signing.canonical(kept)
        now_ms = max(self._now_ms(), at.state.at_ms + 1)
        puts = [put_raised(once.items(), time_ms=now_ms)]
        if said.believed is None:
            puts.append(put_raised(standing.items(), time_ms=now_ms, last=True))
        else:
            even = not (found.said.more or said.more)
            later = _later(found, at.state, said.believed, now_ms, even=even)
            puts += [put_state(later, said.believed), self._parts.heads.persist()]
            puts.append(put_over(at.gateway.log_origin, OF_LOG))
            puts.append(put_over(self._node, [OVERDUE] if even else []))
        leaf = self._leaf(found, judged, codes, detail)
        await self._parts.log.append(leaf, detail=detail, also=together(puts))
        for code in codes:
            get_logger().error(Event.RECONCILE_INCIDENT, code=code)

    def _leaf(
        self, found: Exchange, judged: Judgement, codes: Sequence[str], detail: bytes
    ) -> bytes:
        leaves, digest = self._parts.leaves, signing.digest(detail)
        if codes:
            return leaves.alarm(
                codes,
                subject=SUBJECT,
                checkpoints=shown(found),
                user=found.said.gateway,
                detail_digest=digest,
            )
        return leaves.reconciled(
            user=found.said.gateway,
            partner_id=found.statement.pair.partner_id,
            listed=len(found.statement.entries),
            met=len(found.said.entries),
            excused=judged.excused,
            detail_digest=digest,
        )

    async def _failed(self, error: FairleadError) -> None:
        """Say it; what does not verify is on the record too, once until it goes well again."""
        get_logger().warning(Event.RECONCILE_NOT_DONE, error=error)
        if isinstance(error, Forged | InvalidInput) and error.code not in self._refused:
            self._refused.add(error.code)
            leaf = self._parts.leaves.refusal(error, subject=SUBJECT, user=self._gateway_id)
            await self._parts.log.append(leaf)

    @property
    def _gateway_id(self) -> str:
        here = self._parts.config.gateway
        return self._parts.directory.current.gateway_at(here).spiffe_id

    def _now_ms(self) -> int:
        return int(self._parts.clock() * 1000)


def _require_within(counter: Counterstatement, said: Said, at: Round) -> None:
    """Step 3.

    :raises Forged: the gateway leaves something out, or excuses what nobody asked it to.
    """
    state, lost = at.state, bool(said.statement.lost)
    told = lost or (counter.first <= state.gateway_next and counter.excused <= state.excused)
    if counter.gateway != at.gateway.spiffe_id or not told:
        raise _left_out()


def _left_out() -> Forged:
    return Forged("the gateway's statement leaves something out", reasons=("RECONCILE_BINDING",))


def _later(found: Exchange, state: State, head: Head, now_ms: int, *, even: bool) -> State:
    young = state.settled is not None and now_ms - state.settled_ms < COSIGNED_MS
    return State(
        next=found.statement.next,
        size=size_of(found.statement.checkpoint),
        gateway_next=max(found.said.next, state.gateway_next),
        excused=found.said.excused,
        even_ms=now_ms if even else state.even_ms,
        settled=state.settled if young else head,
        settled_ms=state.settled_ms if young else now_ms,
        at_ms=now_ms,
    )

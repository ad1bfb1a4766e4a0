"""Reconciliation at the gateway: a node's log held against this one, and this one against it.

The node judges by its own log and signs what it found; both ends then write down the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import receipts, signing
from fairlead.auditlog import AuditLog
from fairlead.certificates import Identity
from fairlead.errors import FairleadError, Forged, InvalidInput, NotFound, Stale
from fairlead.leaves import LeafWriter
from fairlead.partners import Directories, Gateway, Partner
from fairlead.receipts import CheckpointFork, Head
from fairlead.reconciling import (
    OF_LOG,
    Counterstatement,
    Exchange,
    Judgement,
    Ledger,
    Pair,
    Raised,
    Statement,
    lasting,
    open_reconciliation,
    open_statement,
    put_over,
    put_raised,
    require_extension,
    shown,
    together,
)
from fairlead.telemetry import Event, get_logger
from fairlead.v1 import reconcile_pb2 as pb
from gateway.counterstating import Counterstating
from gateway.pace import Pace
from gateway.reconciled import Known, NodeShelf, moved, put_known, put_missed
from gateway.turns import Turn, Turns

SUBJECT = "reconciliation"
RECONCILE, CONCLUDE = "ReconcileService.Reconcile", "ReconcileService.Conclude"
AT_ONCE = 4
"""Statements that are looked up at a time, one of a partner."""
AN_HOUR = 64
"""Statements of a node that are answered in an hour, and its verdicts: as many as an honest one
gives in a row."""
FORK = "CHECKPOINT_FORK"


class Reconciliations:
    """Reconciles with nodes.

    :param gateway: this gateway's SPIFFE id. :param key: its signing key at the moment.
    :param limit: entries of one statement of its own.
    :param cosigned: the newest head of this log that a quorum cosigned, with its cosigned note;
        None while there is none.
    """

    def __init__(
        self,
        *,
        gateway: str,
        key: Callable[[], Ed25519PrivateKey],
        log: AuditLog,
        leaves: LeafWriter,
        ledger: Ledger,
        directory: Directories,
        clock: Callable[[], float],
        limit: int,
        cosigned: Callable[[], Head | None] = lambda: None,
    ) -> None:
        self._log = log
        self._leaves = leaves
        self._directory = directory
        self._clock = clock
        self.saying = Counterstating(
            gateway=gateway,
            key=key,
            log=log,
            ledger=ledger,
            clock=clock,
            limit=limit,
            cosigned=cosigned,
        )
        self.shelf = NodeShelf(log)
        self._raised = Raised(log)
        self._stating, self._judging = Turns(AT_ONCE), Turns(AT_ONCE * AT_ONCE)
        self._paces = {call: Pace(AN_HOUR, clock=clock) for call in (RECONCILE, CONCLUDE)}
        self._concluding = asyncio.Lock()

    # ── A statement ──────────────────────────────────────────────────────────────────────────

    async def reconcile(self, request: pb.ReconcileRequest, peer: Identity) -> pb.ReconcileResponse:
        """Answer a node's statement.

        1. Its partner signed it, of this node and of this log; its checkpoint is of its own log and
           covers its window.
        2. It connects to what this gateway knows of that log: it begins where the last one ended or
           before, and its checkpoint extends the one shown then. Else the node is told both; one
           that lost its tail says so, signed.
        3. Every entry is looked up in the whole log; what concerns another partner it does not
           hold. That something was asked for in vain is on the record, whether or not a verdict
           follows.
        4. This log's own entries for the partner, from where it was told last.
        5. Signed over the statement, under the last checkpoint, with the proof that this one
           extends the head the node accepted.

        :raises FairleadError: refused, with the refusal on the record.
        """
        async with self._taking(self._stating, RECONCILE, peer) as turn:
            # 1
            partner, pair = self._partner(peer)
            octets, signature, key = request.statement, request.signature, partner.signing_key
            statement = await turn.beside(
                open_statement, octets, signature, public_key=key, pair=pair
            )
            head = self._own_head(statement, partner)
            # 2
            known = self._known(pair, partner)
            if not await self._connects(statement, head, known, request):
                told = pb.Known(next=known.next, checkpoint=known.note) if known else pb.Known()
                return pb.ReconcileResponse(known=told)
            # 3 and 4
            said = await turn.beside(self.saying.said, statement, known)
            if not all(said.leaves):
                await self._refuse(_not_held(said), RECONCILE, peer)
            await self._log.follow()  # the checkpoint covers whatever was found
            # 5
            return pb.ReconcileResponse(countered=self.saying.signed(said, statement, request))

    @asynccontextmanager
    async def _taking(self, turns: Turns, subject: str, peer: Identity) -> AsyncIterator[Turn]:
        """A partner's turn at one of the two calls; what is refused in it is on the record."""
        with turns.of(peer.partner_id or "") as turn:
            self._paces[subject].step(peer.spiffe_id)
            try:
                await self._log.follow()  # other gateways write this log too
                yield turn
            except FairleadError as error:
                await self._refuse(error, subject, peer)
                raise

    def _partner(self, peer: Identity) -> tuple[Partner, Pair]:
        directory = self._directory.current
        partner = directory.partner(peer.partner_id or "")
        return partner, Pair(
            federation=directory.federation, partner_id=partner.partner_id, node=peer.spiffe_id
        )

    def _own_head(self, statement: Statement, partner: Partner) -> Head:
        """The head of the node's own log; it covers what the statement is about.

        :raises Forged: :raises InvalidInput: it is another log's, or shorter.
        """
        origin = f"{statement.pair.federation}/partner/{partner.partner_id}"
        opened = receipts.open_checkpoint(statement.checkpoint, origin, partner.signing_key)
        if statement.gateway_origin != self._log.origin:
            raise Forged("a statement is about another log", reasons=("RECONCILE_BINDING",))
        if max(statement.next, statement.resumed) > opened.size:
            raise InvalidInput(
                "a statement is about more than its log", reasons=("RECONCILE_FORM",)
            )
        return Head(
            origin=origin, size=opened.size, root=opened.root, checkpoint=statement.checkpoint
        )

    def _known(self, pair: Pair, partner: Partner) -> Known | None:
        """What this gateway knows of a node; of one in the place of another, what it knows of that
        one, as long as the partner's key still vouches for it."""
        if own := self.shelf.of(pair.node):
            return own
        former = self.shelf.replaced(partner)
        if former is None:
            return None
        origin = f"{pair.federation}/partner/{partner.partner_id}"
        try:
            receipts.open_checkpoint(former.note, origin, partner.signing_key)
        except FairleadError:
            return None
        return former

    async def _connects(
        self, statement: Statement, head: Head, known: Known | None, request: pb.ReconcileRequest
    ) -> bool:
        """Step 2.

        :raises CheckpointFork: the node's log contradicts the one it showed; that is an alarm.
        """
        if known is None:
            return statement.first == 0 and not statement.lost
        if statement.first > known.next:
            return False
        if statement.lost:
            return statement.lost == known.note
        if request.consistency_from != known.size:
            return False
        seen = Head(origin=head.origin, size=known.size, root=known.root, checkpoint=known.note)
        try:
            require_extension(seen, head, request.consistency)
        except CheckpointFork as fork:
            await self._contradicted(statement, fork)
            raise
        return True

    async def _contradicted(self, statement: Statement, fork: CheckpointFork) -> None:
        identity = lasting(FORK, statement.pair.node)
        if self._raised.known([identity]):
            return
        leaf = self._leaves.alarm(
            fork.reasons,
            subject=SUBJECT,
            checkpoints=fork.checkpoints,
            user=statement.pair.node,
            partner_id=statement.pair.partner_id,
        )
        put = put_raised([(identity, FORK)], time_ms=int(self._clock() * 1000), last=True)
        await self._log.append(leaf, also=put)
        get_logger().error(Event.RECONCILE_INCIDENT, partner=statement.pair.partner_id, code=FORK)

    # ── A verdict ────────────────────────────────────────────────────────────────────────────

    async def conclude(self, kept: pb.Reconciliation, peer: Identity) -> Sequence[str]:
        """Take a node's verdict down.

        1. All three statements verify, and are of this node and of this log; the verdict's
           checkpoint covers the leaves it names.
        2. It follows what was concluded last; the same one again changes nothing.
        3. What the node holds against this log as a whole it shows, by a checkpoint of this log
           that this log does not extend.
        4. What several nodes of a partner were told, none of them may know.
        5. One leaf, with all three statements: an alarm over what was not raised before, or that
           both logs agree. What this gateway knows of the node moves with it, unless the node does
           not believe this log.

        :returns: the codes of the incidents, sorted.
        :raises FairleadError: refused, with the refusal on the record.
        """
        async with self._taking(self._judging, CONCLUDE, peer) as turn:
            # 1
            partner, pair = self._partner(peer)
            keys = {gateway.spiffe_id: gateway.signing_key for gateway in self._gateways()}
            found = await turn.beside(
                open_reconciliation, kept, node_key=partner.signing_key, gateways=keys, pair=pair
            )
            head = self._own_head(found.statement, partner)
            _require_covered(found, head, partner)
            # 3
            self._require_shown(found)
            async with self._concluding:
                # 2
                known = self._known(pair, partner)
                if not self._follows(found, known):
                    return ()
                return await self._recorded(kept, found, head, known, partner)

    def _gateways(self) -> list[Gateway]:
        """Those that write this log."""
        known = self._directory.current.gateways.values()
        return [gateway for gateway in known if gateway.log_origin == self._log.origin]

    @staticmethod
    def _follows(found: Exchange, known: Known | None) -> bool:
        at_ms = known.at_ms if known else 0
        if found.said.previous_ms == at_ms:
            return True
        if found.said.previous_ms < at_ms:
            return False
        raise Stale("a verdict is ahead of this gateway", reasons=("RECONCILE_BINDING",))

    def _require_shown(self, found: Exchange) -> None:
        """Step 3.

        :raises Forged: :raises InvalidInput: it shows nothing, or what this log goes on from.
        """
        for code in found.verdict.reasons:
            if code not in OF_LOG:
                raise InvalidInput("a verdict is malformed", reasons=("RECONCILE_FORM",))
        reasons, accepted = set(found.verdict.reasons), found.verdict.accepted
        if not (reasons - {"RECONCILE_UNWITNESSED"} or (reasons and accepted)):
            return
        keys = [gateway.log_key for gateway in self._gateways()]
        before, now = (
            receipts.open_checkpoint_of(note, self._log.origin, keys)
            for note in (accepted, found.said.checkpoint)
        )
        if self._extends(before) and self._extends(now):  # whichever of the two is the longer
            raise Forged(
                "a verdict accuses this log of what it does not contradict",
                reasons=("RECONCILE_UNTRUE",),
                remedy="ask the node's operator: its log and the verdict show who is right",
            )

    def _accused_by(self, found: Exchange) -> str:
        """Whose accusations of this log stand together: one node's, whatever another's says."""
        return f"{self._log.origin} {found.statement.pair.node}"

    def _extends(self, shown: receipts.Checkpoint) -> bool:
        """Whether this log begins with what a checkpoint covers."""
        return shown.size <= self._log.head.size and self._log.root(shown.size) == shown.root

    async def _recorded(
        self,
        kept: pb.Reconciliation,
        found: Exchange,
        head: Head,
        known: Known | None,
        partner: Partner,
    ) -> Sequence[str]:
        # 4
        judged = self._of_all(found, partner)
        # 5
        now_ms = max(int(self._clock() * 1000), (known.at_ms if known else 0) + 1)
        once, standing = judged.once(found.statement), judged.standing(self._accused_by(found))
        raised = self._raised.known([*once, *standing])
        fresh = {identity: code for identity, code in {**once, **standing}.items()
                 if identity not in raised}  # fmt: skip
        if found.verdict.reasons and not fresh:
            return ()  # it stands already
        codes = sorted(set(fresh.values()))
        detail = signing.canonical(kept)
        puts = [put_raised(once.items(), time_ms=now_ms)]
        if found.verdict.reasons:
            puts.append(put_raised(standing.items(), time_ms=now_ms, last=True))
        else:
            puts.append(put_known(moved(found, head, known, now_ms), after=known))
            puts.append(put_over(self._accused_by(found), OF_LOG))
            puts.append(put_over(found.statement.pair.node, [FORK]))
        if len(partner.nodes) > 1:
            puts.append(put_missed(found, now_ms=now_ms))
        await self._log.append(
            self._leaf(found, judged, codes, detail), detail=detail, also=together(puts)
        )
        for code in codes:
            get_logger().error(Event.RECONCILE_INCIDENT, partner=partner.partner_id, code=code)
        return codes

    def _of_all(self, found: Exchange, partner: Partner) -> Judgement:
        """What one node of several lacks is an incident once all the others lack it too."""
        nodes = [node.spiffe_id for node in partner.nodes]
        own = found.statement.pair.node
        return found.judgement.keeping(
            lambda item: item.absent_from == "gateway" or self.shelf.everywhere(item, own, nodes)
        )

    def _leaf(
        self, found: Exchange, judged: Judgement, codes: Sequence[str], detail: bytes
    ) -> bytes:
        pair = found.statement.pair
        digest = signing.digest(detail)
        if not codes:
            return self._leaves.reconciled(
                user=pair.node,
                partner_id=pair.partner_id,
                listed=len(found.said.entries),
                met=len(found.statement.entries),
                excused=judged.excused,
                detail_digest=digest,
            )
        return self._leaves.alarm(
            codes,
            subject=SUBJECT,
            checkpoints=shown(found),
            user=pair.node,
            partner_id=pair.partner_id,
            detail_digest=digest,
        )

    async def _refuse(self, error: FairleadError, subject: str, peer: Identity) -> None:
        leaf = self._leaves.refusal(
            error, subject=subject, partner_id=peer.partner_id or "", user=peer.spiffe_id
        )
        await self._log.append(leaf)


def _not_held(said: Counterstatement) -> NotFound:
    differs = ("RECONCILE_DIFFERS",) if said.differing else ()
    missing = ("RECONCILE_MISSING",) if said.leaves.count(0) > len(said.differing) else ()
    return NotFound("a statement names what this log does not hold", reasons=differs + missing)


def _require_covered(found: Exchange, head: Head, partner: Partner) -> None:
    """:raises Forged: :raises InvalidInput: a verdict names leaves that its log has not yet."""
    noted = found.verdict.checkpoint
    size = receipts.open_checkpoint(noted, head.origin, partner.signing_key).size
    if size < max(found.verdict.leaves, default=0):
        raise InvalidInput("a verdict is about more than its log", reasons=("RECONCILE_FORM",))

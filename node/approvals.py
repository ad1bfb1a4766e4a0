"""The second person: looks at what is held, approves or denies it, and reviews afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

from fairlead import signing
from fairlead.auditlog import AuditLog
from fairlead.certificates import Identity, identity_from_certificate
from fairlead.envelope.approval import Approved, check_approver, check_second, verify_approvals
from fairlead.envelope.query import term_nonce
from fairlead.errors import FairleadError, Forged, InvalidInput, NotFound, Refused, Stale
from fairlead.leaves import LeafWriter
from fairlead.membership import LiveDirectory
from fairlead.names import reason_code
from fairlead.partners import DenyLists
from fairlead.v1 import asking_pb2 as pb
from fairlead.v1 import query_pb2
from node.batch import Batch
from node.held import PENDING, Held, refusal
from node.history import History
from node.reviews import Kind, Review, Reviews

PAGE = 1024
"""Terms in one event."""
T = TypeVar("T")


class Approvals:
    """Serves the approvers of one partner."""

    def __init__(
        self,
        *,
        partner_id: str,
        log: AuditLog,
        leaves: LeafWriter,
        directory: LiveDirectory,
        deny_lists: DenyLists,
        history: History,
        held: Held,
        reviews: Reviews,
        clock: Callable[[], float],
    ) -> None:
        self._partner_id = partner_id
        self._log = log
        self._leaves = leaves
        self._directory = directory
        self._deny_lists = deny_lists
        self._history = history
        self._held = held
        self._reviews = reviews
        self._clock = clock
        self._deciding = asyncio.Lock()

    # ── Looking ──────────────────────────────────────────────────────────────────────────────

    def listed(self, user: Identity) -> list[pb.PendingApproval]:
        """What waits and ``user`` could approve: not what they, or their service, asked."""
        found = []
        for batch_id in self._held.pending():
            try:
                found.append(self._pending(self._readable(batch_id, user)))
            except FairleadError:  # own, or decided meanwhile: not for this list
                continue
        return found

    def _pending(self, batch: Batch) -> pb.PendingApproval:
        hold = self._held.get(batch.batch_id)
        if hold is None:
            raise unknown()
        summary = batch.summary()
        summary.approval = hold.state  # type: ignore[assignment]
        return pb.PendingApproval(
            query=summary,
            mandate=batch.mandate,
            mandate_signature=batch.signature,
            certificate=batch.certificate,
            schemes=batch.terms.schemes,
            expires_at=hold.expires_at,
            urgent=hold.urgent,
            required=hold.required,
            given=len(batch.approvals),
            watch=batch.watch,
            watch_signature=batch.watch_signature,
        )

    async def show(
        self, query_id: bytes, user: Identity
    ) -> AsyncGenerator[pb.ShowApprovalResponse, None]:
        """The terms of a held query, after the reading is on the record.

        :raises NotFound: nothing of that id waits for this approver.
        """
        try:
            batch = self._readable(query_id, user)
        except FairleadError as error:
            await self._refuse(error, "ShowApproval", user)
            raise
        await self._log.append(self._leaf("approval-read", user, batch))
        scope = batch.scope
        for first in range(0, len(batch.terms), PAGE):
            terms = batch.terms.part(first, first + PAGE)
            yield pb.ShowApprovalResponse(
                terms=[pb.Term(scheme=s, value=value) for s, value in terms],
                nonces=[term_nonce(batch.nonce_seed, first + at) for at in range(len(terms))],
                scope=None
                if first
                else pb.QueryScope(
                    since=scope.since,
                    until=scope.until,
                    events=scope.events,
                    tlp=scope.tlp,  # type: ignore[arg-type]
                    pap=scope.pap,  # type: ignore[arg-type]
                ),
            )

    def _readable(self, query_id: bytes, user: Identity) -> Batch:
        """A query that waits, for somebody who could approve it.

        :raises NotFound: nothing of that id waits. :raises Refused: decided, or one's own.
        """
        batch_id = self._history.find(query_id)
        state = self._held.state(batch_id)
        if state != PENDING:
            raise refusal(state)
        batch = self._history.batch(batch_id)
        if batch is None:
            raise unknown()
        check_approver(user, self._partner_id)
        check_second(user, self._requester(batch))
        return batch

    def _requester(self, batch: Batch) -> Identity:
        directory = self._directory.asking
        return identity_from_certificate(batch.certificate, directory=directory, now=self._clock())

    # ── Deciding ─────────────────────────────────────────────────────────────────────────────

    async def decide(self, request: pb.DecideApprovalRequest, user: Identity) -> int:
        """Approve or deny one held query; the leaf comes first.

        :returns: how the query stands now.
        :raises FairleadError: not verifiable, refused, or not waiting; on the record.
        """
        async with self._deciding:
            return await self._recorded(self._decide(request, user), "DecideApproval", user)

    async def _decide(self, request: pb.DecideApprovalRequest, user: Identity) -> int:
        batch = self._readable(request.query_id, user)
        match request.WhichOneof("decision"):
            case "approve":
                return await self._approve(batch, request.approve, user)
            case "deny":
                code = reason_code(request.deny)
                if code != request.deny or not code:
                    raise InvalidInput(
                        "a reason is a code of capital letters",
                        reasons=("REASON",),
                        remedy="fairlead approvals deny QUERY --reason NOT_PROPORTIONATE",
                    )
                await self._log.append(self._leaf("approval-denied", user, batch, (code,)))
                return await self._held.deny(batch.batch_id)
        raise InvalidInput("nothing was decided", reasons=("DECISION",))

    async def _approve(self, batch: Batch, signed: query_pb2.SignedApproval, user: Identity) -> int:
        """1. the approval and those before it verify as a stranger would verify them, 2. the
        newest is the caller's own, and urgent exactly when the query is, 3. the requester's
        earlier urgent queries were reviewed, 4. the leaf, with the review an urgent one needs,
        is durable."""
        # 1
        approved = self._verified(batch, signed)
        # 2
        if approved.people[-1].spiffe_id != user.spiffe_id:
            raise Forged("an approval is brought by somebody else", reasons=("APPROVER",))
        urgent = query_pb2.Approval.FromString(signed.approval).urgent
        hold = self._held.get(batch.batch_id)
        if hold is None or hold.urgent != urgent:
            raise Refused(
                "an urgent query needs an urgent approval, and no other query takes one",
                reasons=("APPROVAL_URGENT",),
                remedy="fairlead approvals show QUERY",
            )
        # 3
        also = None
        if urgent:
            self._reviews.check_reviewed(batch.user)
            also = self._reviews.opening(
                Kind.URGENT,
                query_id=batch.batch_id,
                user=batch.user,
                responsible=self._requester(batch).responsible,
                mandate_digest=signing.digest(batch.mandate),
                approvers=[person.spiffe_id for person in approved.people],
            )
        # 4
        leaf = self._leaf("approval-given", user, batch, ("URGENT",) if urgent else ())
        await self._log.append(leaf, also=also)
        return await self._held.approve(batch, signed)

    def _verified(self, batch: Batch, signed: query_pb2.SignedApproval) -> Approved:
        return verify_approvals(
            [*batch.signed_approvals(), signed],
            mandate=batch.content,
            mandate_digest=signing.digest(batch.mandate),
            requester=self._requester(batch),
            directory=self._directory.asking,
            deny_lists=self._deny_lists,
            now=self._clock(),
        )

    # ── Reviewing ────────────────────────────────────────────────────────────────────────────

    def reviews(self, user: Identity) -> list[pb.Review]:
        """What ``user`` is to confirm."""
        check_approver(user, self._partner_id)
        return [
            pb.Review(query=self._summary(found), kind=found.kind, due_at=found.due_at)
            for found in self._reviews.open_for(user.spiffe_id)
        ]

    def _summary(self, found: Review) -> pb.QuerySummary:
        """What is still kept of a reviewed query; its id and user when nothing is."""
        try:
            summary = self._history.summary(self._history.find(found.query_id))
        except NotFound:
            name = found.user.rpartition("/")[2]
            return pb.QuerySummary(query_id=found.query_id, user=name)
        summary.approval = self._held.state(summary.query_id)  # type: ignore[assignment]
        return summary

    async def review(self, request: pb.DecideReviewRequest, user: Identity) -> None:
        """Confirm a review, or object.

        :raises NotFound: none such is open for this user; on the record.
        """
        check_approver(user, self._partner_id)
        work = self._reviews.decide(
            request.query_id, request.kind, user.spiffe_id, objects=request.objects
        )
        await self._recorded(work, "DecideReview", user)

    # ── Housekeeping ─────────────────────────────────────────────────────────────────────────

    async def expire(self) -> None:
        """Close what nobody decided in time, and raise the alarm for overdue reviews."""
        for batch_id in await self._held.expire():
            leaf = self._leaves.approval(subject="approval-expired", query_id=batch_id)
            await self._log.append(leaf)
        await self._reviews.alarm_overdue()

    def overdue(self) -> int:
        """How many reviews are overdue."""
        return len(self._reviews.overdue())

    # ── Records ──────────────────────────────────────────────────────────────────────────────

    def _leaf(
        self, subject: str, user: Identity, batch: Batch, reasons: tuple[str, ...] = ()
    ) -> bytes:
        return self._leaves.approval(
            subject=subject,
            user=user.spiffe_id,
            query_id=batch.batch_id,
            mandate_digest=signing.digest(batch.mandate),
            reasons=reasons,
        )

    async def _recorded(self, work: Awaitable[T], rpc: str, user: Identity) -> T:
        try:
            return await work
        except FairleadError as error:
            await self._refuse(error, rpc, user)
            raise

    async def _refuse(self, error: FairleadError, rpc: str, user: Identity) -> None:
        leaf = self._leaves.refusal(
            error,
            subject=f"AskingService.{rpc}",
            partner_id=self._partner_id,
            user=user.spiffe_id,
        )
        await self._log.append(leaf)


def unknown() -> Stale:
    """A query that waited a moment ago."""
    return Stale(
        "this query does not wait for a second person any more",
        reasons=("NOT_PENDING",),
        remedy="fairlead approvals list",
    )

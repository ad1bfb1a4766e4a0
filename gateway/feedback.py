"""Feedback on its way to an owner: bound to an answer that was given, passed once, never read."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from fairlead import signing
from fairlead.auditlog import AuditLog, Connection
from fairlead.certificates import Identity
from fairlead.envelope.feedback import PER_QUERY, verify_feedback
from fairlead.errors import Conflict, FairleadError, Forged, Overloaded, Refused, Unreachable
from fairlead.leaves import LeafWriter
from fairlead.partners import Directories
from fairlead.v1 import owner_pb2, query_pb2
from gateway.members import LegFailed, Transport

SUBJECT = "GatewayService.Feedback"
MIGRATIONS = (
    """
    CREATE TABLE feedback (
        feedback_id BLOB PRIMARY KEY,
        header_digest BLOB NOT NULL,
        query_id BLOB NOT NULL,
        partner_id TEXT NOT NULL,
        time_s INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX feedback_of_query ON feedback (query_id);
    CREATE INDEX feedback_of_partner ON feedback (partner_id, time_s);
    """,
)
PER_MINUTE = 60
"""Pieces of feedback one partner may send in a minute."""


class _Again(Exception):
    """The same octets were taken before: there is nothing to write down."""


class FeedbackDesk:
    """Passes sealed feedback on; learns that it was sent, on which query and to whom."""

    def __init__(
        self,
        *,
        log: AuditLog,
        leaves: LeafWriter,
        directory: Directories,
        transport: Transport,
        clock: Callable[[], float],
        deadline_s: float,
    ) -> None:
        self._log = log
        self._leaves = leaves
        self._directory = directory
        self._transport = transport
        self._clock = clock
        self._deadline_s = deadline_s

    async def passed(self, signed: query_pb2.SignedFeedback, peer: Identity) -> None:
        """Pass one piece of feedback to its owner.

        1. Its asker's node signed it, just now, and brings it itself.
        2. That asker asked this query here, and this owner answered it.
        3. It is new, and there is not too much of it; the same octets again are passed again.
        4. A leaf, in one transaction with the record of step 3; then the owner gets it.

        :raises FairleadError: refused, with the refusal on the record; or the owner is silent.
        """
        try:
            # 1
            header = verify_feedback(signed, directory=self._directory.current, now=self._clock())
            if peer.partner_id != header.partner_id:
                raise Forged("feedback is brought by another partner", reasons=("WRONG_PEER",))
            # 2
            self._check_answered(header)
            # 3 and 4
            with suppress(_Again):
                await self._record(header, signing.digest(signed.header))
        except FairleadError as error:
            leaf = self._leaves.refusal(
                error, subject=SUBJECT, partner_id=peer.partner_id or "", user=peer.spiffe_id
            )
            await self._log.append(leaf)
            raise
        await self._forward(header.owner_id, signed)

    def _check_answered(self, header: query_pb2.FeedbackHeader) -> None:
        rows = self._log.read(
            "SELECT asker, outcome FROM queries WHERE query_id = ?", (header.query_id,)
        )
        for asker, outcome in rows:
            if asker != header.partner_id or outcome is None:
                continue
            for line in query_pb2.Outcome.FromString(outcome).partners:
                answered = line.status == query_pb2.STATUS_ANSWERED and line.answer_digest
                if line.partner_id == header.owner_id and answered:
                    return
        raise Refused("this owner gave no such answer", reasons=("NOT_ANSWERED",))

    async def _record(self, header: query_pb2.FeedbackHeader, digest: bytes) -> None:
        """:raises _Again: :raises Conflict: :raises Overloaded: and then there is no leaf."""
        now = int(self._clock())

        def record(connection: Connection) -> None:
            _check_new(connection, header, digest, now)
            connection.execute(
                "INSERT INTO feedback VALUES (?, ?, ?, ?, ?)",
                (header.feedback_id, digest, header.query_id, header.partner_id, now),
            )

        leaf = self._leaves.feedback(
            subject="feedback-passed",
            query_id=header.query_id,
            partner_id=header.partner_id,
            digest=digest,
        )
        await self._log.append(leaf, also=record)

    async def _forward(self, owner: str, signed: query_pb2.SignedFeedback) -> None:
        request = owner_pb2.OwnerServiceFeedbackRequest(feedback=signed)
        try:
            await self._transport.feedback(owner, request, timeout_s=self._deadline_s)
        except LegFailed as failure:
            raise Unreachable(
                "the owner did not take the feedback",
                reasons=(failure.reason,),
                remedy="send it again later: fairlead feedback …",
            ) from None


def _check_new(
    connection: Connection, header: query_pb2.FeedbackHeader, digest: bytes, now: int
) -> None:
    """Asked in the transaction itself: the same may arrive at two gateways of one log at once."""
    known = connection.execute(
        "SELECT header_digest FROM feedback WHERE feedback_id = ?", (header.feedback_id,)
    ).fetchone()
    if known is not None:
        if known[0] != digest:
            raise Conflict("this feedback id was used before", reasons=("FEEDBACK_REUSED",))
        raise _Again
    (about,) = connection.execute(
        "SELECT count(*) FROM feedback WHERE query_id = ?", (header.query_id,)
    ).fetchone()
    (lately,) = connection.execute(
        "SELECT count(*) FROM feedback WHERE partner_id = ? AND time_s > ?",
        (header.partner_id, now - 60),
    ).fetchone()
    if about >= PER_QUERY or lately >= PER_MINUTE:
        raise Overloaded("too much feedback", reasons=("FEEDBACK_LIMIT",), remedy="send it later")

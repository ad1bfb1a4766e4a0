"""What a supervisor looks at afterwards: urgent queries, and a random share of all that is sent.

The list lives in the file of the audit log: an urgent review is opened in the transaction of the
leaf that grants it, and a sample is drawn in that of the query's first INTENT, whose commitment
covers the draw. Nothing a requester can see tells whether a query was drawn.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from fairlead.auditlog import AuditLog
from fairlead.envelope.query import Random
from fairlead.errors import Conflict, NotFound, Refused
from fairlead.leaves import LeafWriter
from fairlead.telemetry import Event, get_logger

MIGRATIONS = (
    """
    CREATE TABLE review (
        query_id BLOB NOT NULL,
        kind TEXT NOT NULL,
        user TEXT NOT NULL,
        approvers TEXT NOT NULL,
        mandate_digest BLOB NOT NULL,
        due_at INTEGER NOT NULL,
        state TEXT NOT NULL DEFAULT 'open',
        alarmed INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (query_id, kind)
    ) WITHOUT ROWID
    """,
    "ALTER TABLE review ADD COLUMN responsible TEXT NOT NULL DEFAULT ''",
)
SUBJECT = "review"
Work = Callable[[sqlite3.Connection], None]
"""For the transaction of a leaf."""


class Kind(StrEnum):
    """Why something is reviewed."""

    URGENT = "urgent"
    SAMPLE = "sample"


DUE_S = {Kind.URGENT: 72 * 3600, Kind.SAMPLE: 7 * 86_400}
"""Seconds until a review is overdue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """One open review. ``user`` is the requester's SPIFFE id, ``responsible`` the pseudonym of who
    answers for a requester that is a service, ``approvers`` are those who let the query go; times
    in unix seconds."""

    query_id: bytes
    kind: Kind
    user: str
    responsible: str
    approvers: tuple[str, ...]
    mandate_digest: bytes
    due_at: int

    def may(self, spiffe_id: str) -> bool:
        """Whether somebody may decide it: neither who asked, nor who answers for the service that
        did, nor who approved it as urgent."""
        if self.kind is Kind.URGENT and spiffe_id in self.approvers:
            return False
        return spiffe_id != self.user and spiffe_id.rpartition("/")[2] != self.responsible


class Reviews:
    """The reviews of one node.

    :param percent: of all queries sent, how many are drawn. :param random: draws.
    """

    def __init__(
        self,
        log: AuditLog,
        leaves: LeafWriter,
        *,
        percent: int,
        clock: Callable[[], float],
        random: Random = os.urandom,
    ) -> None:
        self._log = log
        self._leaves = leaves
        self._share = percent * 2**32 // 100
        self._clock = clock
        self._random = random

    # ── Opening ──────────────────────────────────────────────────────────────────────────────

    def draw(self) -> bool:
        """Whether a query that is about to be sent is drawn."""
        return int.from_bytes(self._random(4), "big") < self._share

    def opening(
        self,
        kind: Kind,
        *,
        query_id: bytes,
        user: str,
        mandate_digest: bytes,
        approvers: Iterable[str] = (),
        responsible: str = "",
    ) -> Work:
        """Open a review of a query; one that there is already gets the later approvers too, and is
        to be decided again: whoever confirmed it may be one of them.

        :param responsible: the pseudonym of who answers for a requester that is a service.
        """
        row = (query_id, kind, user, json.dumps(sorted(approvers)), mandate_digest,
               int(self._clock()) + DUE_S[kind], responsible)  # fmt: skip

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO review (query_id, kind, user, approvers, mandate_digest, due_at, "
                "responsible) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (query_id, kind) "
                "DO UPDATE SET approvers = excluded.approvers, state = 'open'",
                row,
            )

        return work

    # ── Reading ──────────────────────────────────────────────────────────────────────────────

    def open_for(self, spiffe_id: str) -> list[Review]:
        """What somebody may decide, the first due first."""
        return [found for found in self._open() if found.may(spiffe_id)]

    def overdue(self) -> list[Review]:
        """What was to be decided by now."""
        return [found for found in self._open() if self._clock() >= found.due_at]

    def check_reviewed(self, user: str) -> None:
        """Let a requester, by SPIFFE id, have another urgent query.

        :raises Refused: REVIEW_OVERDUE: the last one should have been reviewed by now.
        """
        if any(found.user == user and found.kind is Kind.URGENT for found in self.overdue()):
            raise Refused(
                "an earlier urgent query of this user has not been reviewed in time",
                reasons=("REVIEW_OVERDUE",),
                remedy="another approver: fairlead approvals reviews list",
            )

    def _open(self) -> list[Review]:
        rows = self._log.read(
            "SELECT query_id, kind, user, responsible, approvers, mandate_digest, due_at "
            "FROM review WHERE state = 'open' ORDER BY due_at, query_id",
            (),
        )
        return [
            Review(
                query_id=bytes(query_id),
                kind=Kind(kind),
                user=user,
                responsible=responsible,
                approvers=tuple(json.loads(approvers)),
                mandate_digest=bytes(mandate_digest),
                due_at=due_at,
            )
            for query_id, kind, user, responsible, approvers, mandate_digest, due_at in rows
        ]

    # ── Deciding ─────────────────────────────────────────────────────────────────────────────

    async def decide(self, query_id: bytes, kind: str, supervisor: str, *, objects: bool) -> None:
        """Confirm, or object, which is an ALARM as well.

        :raises NotFound: no such review is open, or not for this SPIFFE id to decide.
        """
        fitting = [r for r in self.open_for(supervisor) if (r.query_id, r.kind) == (query_id, kind)]
        if not fitting:
            raise NotFound(
                "no such review is open for you to decide",
                reasons=("UNKNOWN_REVIEW",),
                remedy="fairlead approvals reviews list",
            )
        review = fitting[0]
        state = "objected" if objects else "confirmed"
        leaf = self._leaves.approval(
            subject=f"{SUBJECT}-{state}",
            user=supervisor,
            query_id=query_id,
            mandate_digest=review.mandate_digest,
            reasons=(str(review.kind).upper(),),
        )
        await self._log.append(leaf, also=_becomes(review, state))
        if objects:
            await self._alarm(review, "REVIEW_OBJECTED")

    async def alarm_overdue(self) -> None:
        """Write one ALARM leaf for each review that has become overdue."""
        rows = self._log.read("SELECT query_id, kind FROM review WHERE alarmed = 1", ())
        told = {(bytes(query_id), kind) for query_id, kind in rows}
        for review in self.overdue():
            if (review.query_id, review.kind) not in told:
                await self._alarm(review, "REVIEW_OVERDUE")

    async def _alarm(self, review: Review, code: str) -> None:
        leaf = self._leaves.alarm(
            (code,), subject=SUBJECT, user=review.user, query_id=review.query_id
        )
        key = (review.query_id, review.kind)

        def told(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE review SET alarmed = 1 WHERE query_id = ? AND kind = ?", key)

        await self._log.append(leaf, also=told)
        get_logger().error(Event.REVIEW_ALARM, code=code, query_id=review.query_id)


def _becomes(review: Review, state: str) -> Work:
    row = (state, review.query_id, review.kind)

    def work(connection: sqlite3.Connection) -> None:
        changed = connection.execute(
            "UPDATE review SET state = ? WHERE query_id = ? AND kind = ? AND state = 'open'", row
        )
        if not changed.rowcount:
            raise Conflict("this review was decided meanwhile", reasons=("REVIEW_DECIDED",))

    return work

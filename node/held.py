"""Queries held at this node for a second person: pending, then approved, denied or expired.

A held query is an ordinary batch of the history of which nothing was sent. Who denies it, or lets
its time pass, erases what could send it: the session key goes with the batch's secrets.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace

from fairlead.errors import FairleadError, Refused
from fairlead.v1 import asking_pb2 as pb
from fairlead.v1 import query_pb2
from node.batch import Batch
from node.history import History
from node.vault import Vault

MIGRATIONS = (
    """
    CREATE TABLE held (
        batch_id BLOB PRIMARY KEY REFERENCES batch ON DELETE CASCADE,
        user TEXT NOT NULL,
        state INTEGER NOT NULL,
        required INTEGER NOT NULL,
        urgent INTEGER NOT NULL,
        expires_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
)
NONE = pb.APPROVAL_STATE_UNSPECIFIED
PENDING = pb.APPROVAL_STATE_PENDING
APPROVED = pb.APPROVAL_STATE_APPROVED
DENIED = pb.APPROVAL_STATE_DENIED
EXPIRED = pb.APPROVAL_STATE_EXPIRED
MAX_PENDING = 32
"""Queries of one user that wait at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """How one held query stands. ``expires_at`` in unix seconds; ``user`` is a pseudonym."""

    user: str
    state: int
    required: int
    urgent: bool
    expires_at: int


class Held:
    """The held queries of one node, durable in its vault."""

    def __init__(self, vault: Vault, history: History, *, clock: Callable[[], float]) -> None:
        self._vault = vault
        self._history = history
        self._clock = clock

    def check_room(self, user: str) -> None:
        """:raises Refused: PENDING_LIMIT: so many queries of this pseudonym wait already."""
        now = int(self._clock())
        ((count,),) = self._vault.read(
            "SELECT count(*) FROM held WHERE user = ? AND state = ? AND expires_at > ?",
            (user, PENDING, now),
        )
        if count >= MAX_PENDING:
            raise Refused(
                "too many of your queries wait for a second person; nothing was sent",
                reasons=("PENDING_LIMIT",),
                remedy="fairlead queries list, and have them approved or denied first",
            )

    async def begin(self, batch: Batch, *, urgent: bool) -> Hold:
        """Hold a batch from which nothing was sent until its mandate ends."""
        hold = Hold(
            user=batch.user_name,
            state=PENDING,
            required=batch.content.required_approvals,
            urgent=urgent,
            expires_at=batch.content.expires_at,
        )
        row = (batch.batch_id, hold.user, PENDING, hold.required, int(urgent), hold.expires_at)

        def insert(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO held VALUES (?, ?, ?, ?, ?, ?)", row)

        await self._history.begin(batch, also=insert)
        return hold

    def get(self, batch_id: bytes) -> Hold | None:
        """How a query stands now; None when nobody else need approve it."""
        rows = self._vault.read(
            "SELECT user, state, required, urgent, expires_at FROM held WHERE batch_id = ?",
            (batch_id,),
        )
        for user, state, required, urgent, expires_at in rows:
            over = state == PENDING and self._clock() >= expires_at
            return Hold(
                user=user,
                state=EXPIRED if over else state,
                required=required,
                urgent=bool(urgent),
                expires_at=expires_at,
            )
        return None

    def state(self, batch_id: bytes) -> int:
        """The state alone, as it goes over the wire."""
        hold = self.get(batch_id)
        return NONE if hold is None else hold.state

    def pending(self) -> list[bytes]:
        """What waits now, the first to expire first."""
        rows = self._vault.read(
            "SELECT batch_id FROM held WHERE state = ? AND expires_at > ? "
            "ORDER BY expires_at, batch_id",
            (PENDING, int(self._clock())),
        )
        return [bytes(batch_id) for (batch_id,) in rows]

    async def approve(self, batch: Batch, approval: query_pb2.SignedApproval) -> int:
        """Add a verified approval; with the last one needed the query may be sent.

        :returns: the state now. :raises Refused: it does not wait any more.
        """
        batch = replace(batch, approvals=(*batch.approvals, approval.SerializeToString()))
        now = self._clock()

        def work(connection: sqlite3.Connection) -> int:
            required = _waiting(connection, batch.batch_id, now)
            state = APPROVED if len(batch.approvals) >= required else PENDING
            self._history.put_secret(connection, batch)
            return _become(connection, batch.batch_id, state)

        return await self._vault.write(work)

    async def deny(self, batch_id: bytes) -> int:
        """Deny a query for good.

        :returns: the state now. :raises Refused: it does not wait any more.
        """
        now = self._clock()

        def work(connection: sqlite3.Connection) -> int:
            _waiting(connection, batch_id, now)
            self._history.erase_secret(connection, batch_id)
            return _become(connection, batch_id, DENIED)

        return await self._vault.write(work)

    async def expire(self) -> list[bytes]:
        """Erase the secrets of what nobody decided in time; returns which queries these were."""
        now = int(self._clock())

        def work(connection: sqlite3.Connection) -> list[bytes]:
            rows = connection.execute(
                "SELECT batch_id FROM held WHERE state = ? AND expires_at <= ?", (PENDING, now)
            ).fetchall()
            for (batch_id,) in rows:
                self._history.erase_secret(connection, batch_id)
                _become(connection, batch_id, EXPIRED)
            return [bytes(batch_id) for (batch_id,) in rows]

        return await self._vault.write(work)


def _waiting(connection: sqlite3.Connection, batch_id: bytes, now: float) -> int:
    """How many approvals a query needs that still waits.

    :raises Refused: it does not wait.
    """
    rows = connection.execute(
        "SELECT state, required, expires_at FROM held WHERE batch_id = ?", (batch_id,)
    )
    for state, required, expires_at in rows:
        if state != PENDING:
            raise refusal(state)
        if now >= expires_at:
            raise refusal(EXPIRED)
        return int(required)
    raise refusal(NONE)


def _become(connection: sqlite3.Connection, batch_id: bytes, state: int) -> int:
    connection.execute("UPDATE held SET state = ? WHERE batch_id = ?", (state, batch_id))
    return state


def refusal(state: int) -> FairleadError:
    """Why a query in this state cannot be sent, or decided about again."""
    if state == PENDING:
        return Refused(
            "a second person has not approved this query yet; nothing was sent",
            reasons=("APPROVAL_PENDING",),
            remedy="an approver: fairlead approvals list",
        )
    if state == DENIED:
        return Refused(
            "a second person denied this query; nothing was sent",
            reasons=("APPROVAL_DENIED",),
            remedy="talk to your approver before you ask again",
        )
    if state == EXPIRED:
        return Refused(
            "nobody approved this query in time; nothing was sent",
            reasons=("APPROVAL_EXPIRED",),
            remedy="ask again, and tell an approver: fairlead approvals list",
        )
    return Refused(
        "this query does not wait for a second person",
        reasons=("NOT_PENDING",),
        remedy="fairlead approvals list",
    )

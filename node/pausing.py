"""The owner's own stop: local, immediate, on the record, and visible to partners.

While a node pauses it answers nobody's question; its own users can still ask. The pause is kept
in the node's log file, so it survives a restart, and begins and ends with a leaf.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from fairlead.auditlog import AuditLog
from fairlead.errors import InvalidInput, Stale
from fairlead.leaves import LeafWriter
from fairlead.names import reason_code
from fairlead.policy.decision import Audience, Decision, Reason, denial
from fairlead.release import ReleaseDesk
from fairlead.telemetry import Event, get_logger

MIGRATIONS = (
    (
        "CREATE TABLE pause (id INTEGER PRIMARY KEY CHECK (id = 1), since INTEGER NOT NULL,"
        " until INTEGER NOT NULL, reason TEXT NOT NULL)"
    ),
)
MAX_S = 366 * 86_400
"""Seconds a pause may be set to end after; one without an end lasts until somebody resumes."""
OWNER_PAUSED = Reason(code="OWNER_PAUSED", audience=Audience.REQUESTER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """A pause in force: unix seconds; ``until`` 0 means until somebody resumes."""

    since: int
    until: int
    reason: str


class Pause:
    """Whether this node answers. Commands change it, and the end that a pause was given.

    :param desk: where answers wait to leave; it lets none out while the node pauses.
    """

    def __init__(
        self, log: AuditLog, leaves: LeafWriter, desk: ReleaseDesk, *, clock: Callable[[], float]
    ) -> None:
        self._log = log
        self._leaves = leaves
        self._desk = desk
        self._clock = clock
        self._changing = asyncio.Lock()
        rows = log.read("SELECT since, until, reason FROM pause")
        self._now = Paused(since=rows[0][0], until=rows[0][1], reason=rows[0][2]) if rows else None
        if self._now is not None:
            desk.stop()

    @property
    def state(self) -> Paused | None:
        """The pause in force."""
        return self._now

    @property
    def since(self) -> int:
        """Unix seconds; 0 while the node answers."""
        return self._now.since if self._now else 0

    def rule(self, decision: Decision) -> Decision:
        """While the node pauses, every permission is a refusal; the reason depends on nothing."""
        if self._now is None or not decision.permit:
            return decision
        return denial(OWNER_PAUSED, checks=decision.checks, policy_serial=decision.policy_serial)

    async def begin(self, reason: str, *, for_s: int = 0) -> Paused:
        """Stop answering: 1. no answer is let out any more, not even one already composed,
        2. the leaf and the state are durable.

        Pausing again changes reason and end, and keeps since when.

        :param reason: an upper-case code. :param for_s: seconds; 0 means until :meth:`end`.
        :raises InvalidInput: not a code, or more than :data:`MAX_S`.
        :raises LogUnavailable: not durable; this process answers nobody all the same.
        """
        if not reason or reason_code(reason) != reason:
            raise InvalidInput(
                "a pause needs a reason code",
                reasons=("REASON",),
                remedy="use upper-case words, as in --reason MAINTENANCE",
            )
        if not 0 <= for_s <= MAX_S:
            raise InvalidInput("a pause is too long", reasons=("DURATION",))
        now = int(self._clock())
        # 1
        self._desk.stop()
        since = self._now.since if self._now else now
        self._now = paused = Paused(since=since, until=now + for_s if for_s else 0, reason=reason)
        # 2
        async with self._changing:
            leaf = self._leaves.owner("paused", reasons=[reason])
            await self._log.append(leaf, also=_put(paused))
        get_logger().warning(Event.OWNER_PAUSED, code=reason)
        return paused

    async def end(self, *, reason: str = "ASKED") -> None:
        """Answer again, once the leaf is durable.

        :raises Stale: ``NOT_PAUSED``.
        """
        async with self._changing:
            ending = self._now
            if ending is None:
                raise Stale("this node does not pause", reasons=("NOT_PAUSED",))
            await self._log.append(self._leaves.owner("resumed", reasons=[reason]), also=_clear)
            if self._now is ending:  # nobody paused anew while the leaf was written
                self._now = None
                self._desk.resume()
        get_logger().warning(Event.OWNER_RESUMED, code=reason)

    async def expire(self) -> bool:
        """End a pause whose time is over; whether it was."""
        if self._now is None or not self._now.until or self._clock() < self._now.until:
            return False
        await self.end(reason="TIME_OVER")
        return True


def _put(paused: Paused) -> Callable[[sqlite3.Connection], None]:
    row = (paused.since, paused.until, paused.reason)

    def put(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT OR REPLACE INTO pause VALUES (1, ?, ?, ?)", row)

    return put


def _clear(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM pause")

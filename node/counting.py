"""How many questions this owner answered and refused today, read out of its own log."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

from fairlead.auditlog import AuditLog
from fairlead.v1 import audit_pb2, query_pb2

PAGE = 2_000
ANSWER = "OwnerService.Answer"


@dataclass(slots=True)
class Today:
    """Counts since midnight (UTC). Each call reads only the leaves that came since the last."""

    log: AuditLog
    partner: str
    clock: Callable[[], float]
    _day: str = ""
    _next: int = 0
    _answered: int = 0
    _refused: int = 0

    def count(self) -> tuple[int, int]:
        """Answered and refused."""
        now = dt.datetime.fromtimestamp(self.clock(), dt.UTC)
        if now.date().isoformat() != self._day:
            self._day, self._answered, self._refused = now.date().isoformat(), 0, 0
            midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
            self._next = self._first(int(midnight.timestamp() * 1000))
        while rows := self.log.read(
            "SELECT idx, body FROM leaf WHERE idx >= ? ORDER BY idx LIMIT ?", (self._next, PAGE)
        ):
            for index, body in rows:
                self._add(audit_pb2.AuditLeaf.FromString(body))
                self._next = index + 1
        return self._answered, self._refused

    def _add(self, leaf: audit_pb2.AuditLeaf) -> None:
        if leaf.type == audit_pb2.LEAF_TYPE_REFUSAL and leaf.subject == ANSWER:
            self._refused += 1
        for answer in leaf.released:
            if answer.partner_id == self.partner:
                self._answered += answer.status == query_pb2.STATUS_ANSWERED
                self._refused += answer.status == query_pb2.STATUS_REFUSED

    def _first(self, time_ms: int) -> int:
        """Index of the first leaf at or after a moment; leaves stand in the order of time."""
        low, high = 0, self.log.head.size
        while low < high:
            middle = (low + high) // 2
            ((body,),) = self.log.read("SELECT body FROM leaf WHERE idx = ?", (middle,))
            if audit_pb2.AuditLeaf.FromString(body).time_ms < time_ms:
                low = middle + 1
            else:
                high = middle
        return low

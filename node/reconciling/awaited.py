"""Heads of the gateway's log that this node accepted, until witnesses have had time for them.

An answer that was given on a fork a quarter of an hour before a reconciliation is proved by it: the
gateway must then show what a quorum cosigned beyond the head of that answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from fairlead.receipts import Head
from node.heads import HeadKeeper

COSIGNED_MS = 15 * 60_000
"""So long witnesses have until a head that this node accepted must have a quorum."""
LOOK_S = 300.0
"""Seconds between two looks at what was accepted."""


class Awaited:
    """Remembers the accepted head of every few minutes; a node that is restarted forgets them, and
    goes by the one it settled on."""

    def __init__(self, heads: HeadKeeper, clock: Callable[[], float]) -> None:
        self._heads = heads
        self._clock = clock
        self._seen: deque[tuple[int, Head]] = deque(maxlen=64)

    def look(self) -> None:
        """Remember the head of now; call it every :data:`LOOK_S`."""
        head = self._heads.head
        if head is not None and (not self._seen or self._seen[-1][1] != head):
            self._seen.append((self._now_ms(), head))

    def due(self, settled: Head | None, settled_ms: int, origin: str) -> Head | None:
        """The newest head that a quorum must have cosigned by now; None while there is none.

        :param settled: the one this node settled on at its last reconciliation, at ``settled_ms``.
        :param origin: of the log that is in force.
        """
        past = [(settled_ms, settled)] if settled is not None else []
        old = [
            head
            for at_ms, head in (*past, *self._seen)
            if self._now_ms() - at_ms >= COSIGNED_MS and head.origin == origin
        ]
        return max(old, key=lambda head: head.size, default=None)

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

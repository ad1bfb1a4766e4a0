"""How often something may be asked for: so many times of each caller in an hour."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from fairlead.errors import Overloaded

HOUR_S = 3_600.0


class Pace:
    """The calls of the last hour. One too many is not on the record: a leaf each time would be the
    flood that this is against.

    :param clock: unix seconds.
    """

    def __init__(self, limit: int, *, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
        self._calls: dict[str, deque[float]] = {}

    def step(self, caller: str) -> None:
        """:raises Overloaded: it has called so many times within an hour."""
        now = self._clock()
        if caller not in self._calls:  # who has been silent for as long needs no place
            self._calls = {c: at for c, at in self._calls.items() if now - at[-1] < HOUR_S}
        calls = self._calls.setdefault(caller, deque(maxlen=self._limit))
        if len(calls) == self._limit and 0 <= now - calls[0] < HOUR_S:
            raise Overloaded(
                "a node reconciles too often", remedy="it is tried again within the hour"
            )
        calls.append(now)

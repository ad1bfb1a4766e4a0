"""Queries under way and lately finished: their events, readable by any repetition."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from fairlead.errors import FairleadError
from fairlead.v1 import gateway_pb2

REMEMBERED = 16_384
"""Events kept in memory over all queries: about 100 MB of sealed answers."""

Key = tuple[bytes, bytes]
"""Session key and query id."""


@dataclass(slots=True)
class Run:
    """One query under way: its events so far, readable by any number of repetitions."""

    weight: int
    events: list[gateway_pb2.QueryResponse] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    finished: bool = False
    failure: FairleadError | None = None

    def add(self, event: gateway_pb2.QueryResponse) -> None:
        """Append an event and wake the readers."""
        self.events.append(event)
        self.wake()

    def wake(self) -> None:
        """Wake every reader."""
        self.changed.set()
        self.changed = asyncio.Event()

    async def read(self) -> AsyncGenerator[gateway_pb2.QueryResponse, None]:
        """Yield every event from the first to the last."""
        seen = 0
        while True:
            while seen < len(self.events):
                yield self.events[seen]
                seen += 1
            if self.failure is not None:
                raise self.failure
            if self.finished:
                return
            await self.changed.wait()


class Runs:
    """The runs of one gateway by key; the oldest are forgotten first."""

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._limit = limit
        self._held = 0
        self._runs: OrderedDict[Key, Run] = OrderedDict()

    def start(self, key: Key, weight: int) -> Run:
        """Begin a run of at most ``weight`` events."""
        run = self._runs[key] = Run(weight=weight)
        self._held += weight
        while self._held > self._limit and len(self._runs) > 1:
            _, oldest = self._runs.popitem(last=False)
            self._held -= oldest.weight
        return run

    def get(self, key: Key) -> Run | None:
        """The run of a query that was asked before, while it is remembered."""
        return self._runs.get(key)

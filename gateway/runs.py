"""Queries under way and lately finished: their events, readable by any repetition."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Coroutine, Sequence

from fairlead.errors import FairleadError
from fairlead.v1 import gateway_pb2

REMEMBERED = 32 * 1024 * 1024
"""Octets of sealed answers kept in memory over all queries, for repetitions."""
RESPONSE = 1024 * 1024
"""Octets of several events in one response, at most: a quarter of what gRPC takes."""
OVERHEAD = 8 * 1024
"""Octets a run takes beside its answers, about."""
ANSWER_OVERHEAD = 5 * 1024
"""Octets an answer takes in memory beside its padded content, about: seal, signature, message."""


class Run:
    """One query under way: its events so far, readable by any number of repetitions."""

    def __init__(self, weight: int) -> None:
        self.weight = weight
        self.finished = False
        self._events: list[gateway_pb2.QueryResponse] = []
        self._changed = asyncio.Event()
        self._failure: FairleadError | None = None
        self._going: asyncio.Task[None] | None = None
        self._abandoned = False

    def own(self, walk: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Start the walk; one that is abandoned already is cancelled at once."""
        self._going = asyncio.create_task(walk)
        if self._abandoned:
            self._going.cancel()
        return self._going

    def abandon(self) -> None:
        """The gateway stops: ask no further. What is finished stays as it is."""
        self._abandoned = True
        if self._going is not None and not self.finished:
            self._going.cancel()

    def add(self, event: gateway_pb2.QueryResponse) -> None:
        """Append an event and wake the readers."""
        self._events.append(event)
        self._wake()

    def finish(self) -> None:
        """There will be no further event."""
        self.finished = True
        self._wake()

    def fail(self, error: FairleadError) -> None:
        """Readers get ``error`` after the events so far."""
        self._failure = error
        self.finish()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def read(self) -> AsyncGenerator[gateway_pb2.QueryResponse, None]:
        """Yield every event from the first to the last; those that wait together, together."""
        seen = 0
        while True:
            while seen < len(self._events):
                ready = self._events[seen : seen + self._fitting(seen)]
                yield ready[0] if len(ready) == 1 else _joined(ready)
                seen += len(ready)
            if self._failure is not None:
                raise self._failure
            if self.finished:
                return
            await self._changed.wait()

    def _fitting(self, first: int) -> int:
        """How many events from ``first`` on fit into one response: one at least."""
        octets = 0
        for count, event in enumerate(self._events[first:]):
            octets += event.ByteSize()
            if count and octets > RESPONSE:
                return count
        return len(self._events) - first


def _joined(events: Sequence[gateway_pb2.QueryResponse]) -> gateway_pb2.QueryResponse:
    response = gateway_pb2.QueryResponse()
    for event in events:
        response.MergeFrom(event)
    return response


class Runs:
    """The runs of one gateway by query id; the oldest are forgotten first."""

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._limit = limit
        self._held = 0
        self._runs: OrderedDict[bytes, Run] = OrderedDict()

    def start(self, query_id: bytes, octets: int) -> Run:
        """Begin a run whose answers take at most about ``octets``."""
        run = self._runs[query_id] = Run(octets + OVERHEAD)
        self._held += run.weight
        while self._held > self._limit and len(self._runs) > 1:
            _, oldest = self._runs.popitem(last=False)
            self._held -= oldest.weight
        return run

    def get(self, query_id: bytes) -> Run | None:
        """The run of a query that was asked before, while it is remembered."""
        return self._runs.get(query_id)

    def abandon_all(self) -> None:
        """Stop every walk; each closes its query."""
        for run in self._runs.values():
            run.abandon()

"""The release desk: nothing leaves before its RELEASE leaf is durable, nor off the tick."""

from __future__ import annotations

import asyncio
import math
from collections import deque

from fairlead.auditlog import AuditLog
from fairlead.leaves import LeafWriter
from fairlead.v1 import audit_pb2 as pb

BATCH = 256


class ReleaseDesk:
    """Groups answers that wait for the log into one RELEASE leaf per commit.

    :param tick_s: answers leave on multiples of this many seconds of the loop's clock, so that
        the time an answer takes tells nothing about what was found; 0 turns the tick off.
    """

    def __init__(self, log: AuditLog, leaves: LeafWriter, *, tick_s: float) -> None:
        self._log = log
        self._leaves = leaves
        self._tick_s = tick_s
        self._waiting: deque[tuple[pb.ReleasedAnswer, asyncio.Future[None]]] = deque()
        self._flusher: asyncio.Task[None] | None = None

    async def release(
        self, answer: pb.ReleasedAnswer, *, arrived: float = 0.0, allowance_s: float = 0.0
    ) -> None:
        """Return when ``answer`` may leave.

        :param arrived: on the loop's clock, when the question came.
        :param allowance_s: more than the work for an answer of this size usually takes; the
            answer leaves on the first tick after the next multiple of it since ``arrived``, so
            that less work does not catch an earlier tick.
        :raises LogUnavailable: the leaf could not be written; the answer must not leave.
        """
        loop = asyncio.get_running_loop()
        durable: asyncio.Future[None] = loop.create_future()
        self._waiting.append((answer, durable))
        if self._flusher is None or self._flusher.done():
            self._flusher = loop.create_task(self._flush())
        await durable
        if self._tick_s > 0:
            ready = now = loop.time()
            if allowance_s > 0:
                ready = arrived + math.ceil((now - arrived) / allowance_s) * allowance_s
            await asyncio.sleep(ready - now + self._tick_s - ready % self._tick_s)

    async def _flush(self) -> None:
        while self._waiting:
            count = min(BATCH, len(self._waiting))
            batch = [self._waiting.popleft() for _ in range(count)]
            try:
                await self._log.append(self._leaves.release([answer for answer, _ in batch]))
            except BaseException as error:  # noqa: BLE001  every waiter must hear of it
                for _, durable in batch:
                    if not durable.done():
                        durable.set_exception(error)
                continue
            for _, durable in batch:
                if not durable.done():
                    durable.set_result(None)

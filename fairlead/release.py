"""The release desk: nothing leaves before its RELEASE leaf is durable, nor off the tick."""

from __future__ import annotations

import asyncio
import math
from collections import deque

from fairlead.auditlog import AuditLog
from fairlead.errors import Refused
from fairlead.leaves import LeafWriter
from fairlead.v1 import audit_pb2 as pb
from fairlead.v1 import query_pb2

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
        self._stopped = False

    def stop(self) -> None:
        """Let out no answer with content from now on, those that wait included; refusals pass."""
        self._stopped = True

    def resume(self) -> None:
        """Undo :meth:`stop`."""
        self._stopped = False

    async def release(
        self, answer: pb.ReleasedAnswer, *, arrived: float = 0.0, allowance_s: float = 0.0
    ) -> None:
        """Return when ``answer`` may leave.

        :param arrived: on the loop's clock, when the question came.
        :param allowance_s: more than the work for an answer of this size usually takes; the
            answer leaves on the first tick after the next multiple of it since ``arrived``, so
            that less work does not catch an earlier tick.
        :raises LogUnavailable: the leaf could not be written; the answer must not leave.
        :raises Refused: the desk was stopped meanwhile; the answer must not leave.
        """
        self._check(answer)
        loop = asyncio.get_running_loop()
        durable: asyncio.Future[None] = loop.create_future()
        self._waiting.append((answer, durable))
        if self._flusher is None or self._flusher.done():
            self._flusher = loop.create_task(self._flush())
        await durable
        if self._tick_s > 0:
            ready = now = loop.time()
            if allowance_s > 0:
                ready = due(arrived, now, allowance_s)
            await asyncio.sleep(ready - now + self._tick_s - ready % self._tick_s)
        self._check(answer)

    def _check(self, answer: pb.ReleasedAnswer) -> None:
        if self._stopped and answer.status == query_pb2.STATUS_ANSWERED:
            raise _stopped()

    async def _flush(self) -> None:
        while self._waiting:
            batch = self._batch()
            if not batch:
                return
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

    def _batch(self) -> list[tuple[pb.ReleasedAnswer, asyncio.Future[None]]]:
        """The next to be written down; what a stopped desk holds back gets no leaf."""
        batch: list[tuple[pb.ReleasedAnswer, asyncio.Future[None]]] = []
        while self._waiting and len(batch) < BATCH:
            answer, durable = self._waiting.popleft()
            if self._stopped and answer.status == query_pb2.STATUS_ANSWERED:
                if not durable.done():
                    durable.set_exception(_stopped())
                continue
            batch.append((answer, durable))
        return batch


def due(begun: float, now: float, allowance_s: float) -> float:
    """The next multiple of ``allowance_s`` since ``begun``, at ``now`` or later: work that was
    done sooner is not seen to have been. All in seconds, of one clock."""
    return begun + math.ceil((now - begun) / allowance_s) * allowance_s


def _stopped() -> Refused:
    return Refused("the owner lets out no answer", reasons=("OWNER_PAUSED",))

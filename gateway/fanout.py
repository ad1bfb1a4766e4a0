"""Fan-out: every owner asked at once, under one deadline, every call owned and cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine
from dataclasses import dataclass

from fairlead.v1 import owner_pb2, query_pb2
from gateway.members import LegFailed, Transport

STALE_ATTEMPTS = 8
"""Receipts issued again for one owner at most. Many queries under way move its head, and of those
that were stale at once one wins each round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """What came back from one owner: an answer, or the status that stands for its absence."""

    partner_id: str
    status: int
    reason: str = ""
    answer: query_pb2.SignedAnswer | None = None


Reissue = Callable[[str, int | None], Awaitable[owner_pb2.AnswerRequest]]
"""Builds one owner's request; given a size, with a receipt consistent with that head."""


async def ask_one(transport: Transport, partner_id: str, issue: Reissue, *, deadline: float) -> Leg:
    """Ask one owner, re-issuing the receipt when it is stale, a few times at most.

    :param deadline: on the running loop's clock.
    """
    loop = asyncio.get_running_loop()
    size: int | None = None
    try:
        for _ in range(1 + STALE_ATTEMPTS):
            left = deadline - loop.time()
            if left <= 0:
                break
            request = await issue(partner_id, size)
            response = await transport.answer(partner_id, request, timeout_s=left)
            kind = response.WhichOneof("result")
            if kind == "answer":
                return Leg(
                    partner_id=partner_id,
                    status=query_pb2.STATUS_ANSWERED,
                    answer=response.answer,
                )
            if kind != "stale":
                return Leg(partner_id=partner_id, status=query_pb2.STATUS_INVALID, reason="GARBAGE")
            size = response.stale.size
        else:
            return Leg(
                partner_id=partner_id,
                status=query_pb2.STATUS_INVALID,
                reason="CHECKPOINT_STALE",
            )
    except LegFailed as failure:
        return Leg(partner_id=partner_id, status=failure.status, reason=failure.reason)
    return Leg(partner_id=partner_id, status=query_pb2.STATUS_TIMEOUT, reason="DEADLINE")


async def fan_out(
    partners: Collection[str], ask: Callable[[str], Coroutine[None, None, None]]
) -> None:
    """Run every leg at once and return when all have ended; leaving early cancels the rest.

    The first leg that raises ends all, and what it raised is raised here.
    """
    tasks = [asyncio.ensure_future(ask(partner)) for partner in partners]
    if not tasks:
        return
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        left = [task for task in tasks if not task.done()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.gather(*left, return_exceptions=True)

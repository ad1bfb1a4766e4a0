"""Fan-out: one deadline, every call owned, every absence named."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.v1 import owner_pb2, query_pb2
from gateway.fanout import STALE_ATTEMPTS, Leg, ask_one, fan_out
from gateway.members import LegFailed

ANSWER = owner_pb2.AnswerResponse(answer=query_pb2.SignedAnswer(header=b"h"))
EMPTY = owner_pb2.AnswerResponse()


def stale(size: int) -> owner_pb2.AnswerResponse:
    return owner_pb2.AnswerResponse(stale=owner_pb2.CheckpointStale(size=size))


class Scripted:
    """A transport whose owner says what the test wrote down, one line per call."""

    def __init__(self, *script: owner_pb2.AnswerResponse | LegFailed) -> None:
        self.script = list(script)
        self.timeouts: list[float] = []

    async def answer(
        self, partner_id: str, request: owner_pb2.AnswerRequest, *, timeout_s: float
    ) -> owner_pb2.AnswerResponse:
        self.timeouts.append(timeout_s)
        said = self.script.pop(0)
        if isinstance(said, LegFailed):
            raise said
        return said

    async def close(self) -> None:
        self.script.clear()


async def one(
    *script: owner_pb2.AnswerResponse | LegFailed, within: float = 60
) -> tuple[Leg, list[int | None], Scripted]:
    """Ask one owner; also the sizes that receipts were issued for."""
    issued: list[int | None] = []

    async def issue(_partner: str, size: int | None) -> owner_pb2.AnswerRequest:
        issued.append(size)
        return owner_pb2.AnswerRequest()

    transport = Scripted(*script)
    deadline = asyncio.get_running_loop().time() + within
    return await ask_one(transport, "police", issue, deadline=deadline), issued, transport


async def test_an_answer_is_an_answer_whatever_it_says() -> None:
    """What the owner signed is passed on unread."""
    leg, issued, _ = await one(ANSWER)
    assert (leg.status, leg.reason) == (query_pb2.STATUS_ANSWERED, "")
    assert leg.answer == ANSWER.answer
    assert issued == [None]


@pytest.mark.parametrize("times", range(STALE_ATTEMPTS + 1))
async def test_a_stale_receipt_is_issued_again_a_few_times(times: int) -> None:
    """Each time from the size the owner names, under the one deadline."""
    leg, issued, transport = await one(*[stale(7 + n) for n in range(times)], ANSWER)
    assert leg.status == query_pb2.STATUS_ANSWERED
    assert issued == [None, *range(7, 7 + times)]
    assert transport.timeouts == sorted(transport.timeouts, reverse=True)


async def test_an_owner_that_is_always_stale_is_invalid() -> None:
    """One STALE too many ends the leg: it is no way to be asked for ever."""
    leg, issued, _ = await one(*[stale(2**63)] * 2 * STALE_ATTEMPTS)
    assert (leg.status, leg.reason) == (query_pb2.STATUS_INVALID, "CHECKPOINT_STALE")
    assert len(issued) == 1 + STALE_ATTEMPTS


async def test_an_empty_response_is_garbage() -> None:
    """A response that is neither answer nor stale is INVALID."""
    leg, _, _ = await one(EMPTY)
    assert (leg.status, leg.reason) == (query_pb2.STATUS_INVALID, "GARBAGE")


async def test_the_transports_failures_keep_their_names() -> None:
    """Status and reason of a failed call are the leg's, also after a stale receipt."""
    failure = LegFailed(query_pb2.STATUS_OVERLOADED, "BULKHEAD_FULL")
    for script in ((failure,), (stale(1), failure)):
        leg, _, _ = await one(*script)
        assert (leg.status, leg.reason) == (query_pb2.STATUS_OVERLOADED, "BULKHEAD_FULL")
        assert leg.answer is None


async def test_after_the_deadline_nobody_is_asked() -> None:
    """A leg whose time is over is a TIMEOUT, without a call."""
    leg, issued, _ = await one(ANSWER, within=-1)
    assert (leg.status, leg.reason) == (query_pb2.STATUS_TIMEOUT, "DEADLINE")
    assert issued == []


# ── All of them ──────────────────────────────────────────────────────────────────────────────


class Owners:
    """Legs that end when the test says so, and remember how they ended."""

    def __init__(self, names: list[str]) -> None:
        self.gates = {name: asyncio.Event() for name in names}
        self.started: set[str] = set()
        self.cancelled: set[str] = set()

    async def ask(self, name: str) -> Leg:
        self.started.add(name)
        try:
            await self.gates[name].wait()
        except asyncio.CancelledError:
            self.cancelled.add(name)
            raise
        return Leg(partner_id=name, status=1)


@settings(max_examples=25, deadline=None)
@given(st.permutations(["a", "b", "c", "d"]), st.integers(0, 4))
def test_legs_come_as_they_end_and_the_rest_is_cancelled(order: list[str], taken: int) -> None:
    """In whatever order owners answer; when the consumer leaves, every other leg is cancelled."""

    async def scenario() -> None:
        owners = Owners(order)
        seen: list[str] = []

        async def ask(name: str) -> None:
            seen.append((await owners.ask(name)).partner_id)

        fan = asyncio.ensure_future(fan_out(order, ask))
        while owners.started != set(order):
            await asyncio.sleep(0)
        for number, name in enumerate(order[:taken], start=1):
            owners.gates[name].set()
            while len(seen) < number:
                await asyncio.sleep(0)
        fan.cancel()
        await asyncio.gather(fan, return_exceptions=True)
        assert seen == order[:taken]
        assert owners.cancelled == set(order) - set(seen)

    asyncio.run(scenario())


async def test_every_leg_is_run_and_the_fan_ends() -> None:
    """With every owner done the fan ends by itself, and so does a fan without owners."""
    owners = Owners(["a", "b"])
    for gate in owners.gates.values():
        gate.set()
    ended: set[str] = set()

    async def ask(name: str) -> None:
        ended.add((await owners.ask(name)).partner_id)

    await fan_out(["a", "b"], ask)
    await fan_out([], ask)
    assert ended == {"a", "b"}
    assert owners.cancelled == set()


@pytest.mark.parametrize("end", ["cancelled", "broken"])
async def test_a_consumer_that_is_stopped_cancels_every_leg(end: str) -> None:
    """Cancellation while waiting, and a leg with a defect, leave no call running."""
    owners = Owners(["a", "b", "c"])

    async def ask(name: str) -> None:
        if end == "broken" and name == "b":
            raise RuntimeError
        await owners.ask(name)

    task = asyncio.ensure_future(fan_out(["a", "b", "c"], ask))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if end == "cancelled":
        task.cancel()
    results = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError if end == "cancelled" else RuntimeError)
    assert owners.cancelled == ({"a", "b", "c"} if end == "cancelled" else {"a", "c"})

"""Members: what a gateway makes of whatever an owner's connection does, over real gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import fairlead.tls  # noqa: F401  before grpc: it sets the TLS floor

# isort: split
import grpc
import grpc.aio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.v1 import owner_pb2, query_pb2
from fairlead.v1 import statistics_pb2 as pb
from gateway import breaker, members
from gateway.members import MAX_RESPONSE, LegFailed, UnaryTransport, _parse

GOOD = owner_pb2.AnswerResponse(answer=query_pb2.SignedAnswer(header=b"h")).SerializeToString()
Context = grpc.aio.ServicerContext[Any, Any]
Behaviour = Callable[[bytes, Context], Awaitable[bytes]]


async def good(_request: bytes, _context: Context) -> bytes:
    return GOOD


class Gate:
    """An owner that answers when the test says so."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.inside = 0
        self.cancelled = asyncio.Event()

    async def answer(self, _request: bytes, _context: Context) -> bytes:
        self.inside += 1
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return GOOD


def aborting(code: grpc.StatusCode, details: str = "words of the owner's") -> Behaviour:
    async def answer(_request: bytes, context: Context) -> bytes:
        await context.abort(code, details)
        return b""

    return answer


class Clock:
    """Monotonic seconds under the test's control."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def owner(
    behaviour: Behaviour, places: int = members.PLACES
) -> AsyncIterator[tuple[UnaryTransport, Clock]]:
    """One owner behind a loopback port, and the gateway's transport to it."""
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(behaviour)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("fairlead.v1.OwnerService", {"Answer": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    clock = Clock()
    transport = UnaryTransport(
        lambda _: grpc.aio.insecure_channel(f"127.0.0.1:{port}"), clock=clock, places=places
    )
    try:
        yield transport, clock
    finally:
        await transport.close()
        await server.stop(0)


@asynccontextmanager
async def counting(behaviour: Behaviour) -> AsyncIterator[UnaryTransport]:
    """One partner that takes part in rounds of figures, and the gateway's transport to it."""
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(behaviour)
    methods = dict.fromkeys(("GetReady", "CountContributors", "SumValues"), handler)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("fairlead.v1.FiguresService", methods),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    transport = UnaryTransport(
        lambda _: grpc.aio.insecure_channel(f"127.0.0.1:{port}"), clock=Clock()
    )
    try:
        yield transport
    finally:
        await transport.close()
        await server.stop(0)


async def ask(transport: UnaryTransport, timeout_s: float = 30) -> tuple[int, str]:
    """Status and reason of one call; an answer is (ANSWERED, "")."""
    try:
        await transport.answer("police", owner_pb2.AnswerRequest(), timeout_s=timeout_s)
    except LegFailed as failure:
        return failure.status, failure.reason
    return query_pb2.STATUS_ANSWERED, ""


async def test_an_answer_arrives_over_one_channel() -> None:
    """Repeated calls use one connection, and the answer is the owner's."""
    async with owner(good) as (transport, _):
        for _ in range(3):
            assert await ask(transport) == (query_pb2.STATUS_ANSWERED, "")
        assert len(transport._members) == 1


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, query_pb2.STATUS_UNREACHABLE, "UNREACHABLE"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, query_pb2.STATUS_TIMEOUT, "DEADLINE"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, query_pb2.STATUS_OVERLOADED, "OVERLOADED"),
        (grpc.StatusCode.PERMISSION_DENIED, query_pb2.STATUS_INVALID, "OWNER_REFUSED_CALL"),
        (grpc.StatusCode.UNIMPLEMENTED, query_pb2.STATUS_INVALID, "OWNER_REFUSED_CALL"),
        (grpc.StatusCode.INTERNAL, query_pb2.STATUS_INVALID, "OWNER_REFUSED_CALL"),
        (grpc.StatusCode.CANCELLED, query_pb2.STATUS_UNREACHABLE, "UNREACHABLE"),
        (grpc.StatusCode.ALREADY_EXISTS, query_pb2.STATUS_INVALID, "OWNER_REFUSED_CALL"),
    ],
)
async def test_an_owners_status_becomes_one_of_ours(
    code: grpc.StatusCode, status: int, reason: str
) -> None:
    """Every gRPC status has a status and a fixed reason; the owner's words are dropped."""
    async with owner(aborting(code)) as (transport, _):
        assert await ask(transport) == (status, reason)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff", "GARBAGE"),
        (GOOD[:-1], "GARBAGE"),
        (bytes(members.MAX_RESPONSE + 1), "TOO_LARGE"),
        (bytes(5 * 1024 * 1024), "TOO_LARGE"),
    ],
)
async def test_garbage_and_too_much_are_invalid(data: bytes, reason: str) -> None:
    """What cannot be an answer is not one, also when gRPC's own limit stops it."""

    async def answer(_request: bytes, _context: Context) -> bytes:
        return data

    async with owner(answer) as (transport, _):
        assert await ask(transport) == (query_pb2.STATUS_INVALID, reason)


@pytest.mark.parametrize("kind", [owner_pb2.AnswerResponse, owner_pb2.DeliverResponse])
@given(data=st.binary(max_size=60))
def test_any_octets_are_a_response_or_garbage(kind: Any, data: bytes) -> None:
    """Reading a response never fails in another way."""
    try:
        found = _parse(kind, data, MAX_RESPONSE).SerializeToString()
    except LegFailed as failure:
        found = failure.reason.encode()
    assert found == b"GARBAGE" or kind.FromString(found) is not None


async def test_a_slow_owner_is_a_timeout_and_its_call_is_cancelled() -> None:
    """At the deadline the leg ends and the owner is told to stop."""
    gate = Gate()
    async with owner(gate.answer) as (transport, _):
        assert await ask(transport, 0.2) == (query_pb2.STATUS_TIMEOUT, "DEADLINE")
        await asyncio.wait_for(gate.cancelled.wait(), 30)


async def test_a_cancelled_leg_cancels_its_call_and_frees_its_place() -> None:
    """When the asker leaves, the owner's work stops and the bulkhead has its place again."""
    gate = Gate()
    async with owner(gate.answer) as (transport, _):
        task = asyncio.ensure_future(ask(transport))
        while not gate.inside:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.wait_for(gate.cancelled.wait(), 30)
        assert transport._members["police"].in_flight == 0


async def test_a_full_bulkhead_refuses_and_recovers() -> None:
    """Beyond its places a slow owner gets no more calls; other times it does."""
    gate = Gate()
    async with owner(gate.answer, places=3) as (transport, _):
        waiting = [asyncio.ensure_future(ask(transport)) for _ in range(3)]
        while gate.inside < 3:
            await asyncio.sleep(0.01)
        assert await ask(transport) == (query_pb2.STATUS_OVERLOADED, "BULKHEAD_FULL")
        gate.open.set()
        assert set(await asyncio.gather(*waiting)) == {(query_pb2.STATUS_ANSWERED, "")}
        assert await ask(transport) == (query_pb2.STATUS_ANSWERED, "")


async def test_a_stalled_owner_holds_few_queries_and_a_busy_one_as_many_as_there_are() -> None:
    """An owner that has answered nothing for a while gets few places; one answer gives all back."""
    gate = Gate()
    async with owner(gate.answer) as (transport, clock):
        few = members.QUIET_PLACES
        waiting = [asyncio.ensure_future(ask(transport)) for _ in range(few)]
        while gate.inside < few:
            await asyncio.sleep(0.01)
        clock.now += members.QUIET_S
        assert await ask(transport) == (query_pb2.STATUS_OVERLOADED, "BULKHEAD_FULL")
        assert gate.inside == few
        gate.open.set()
        await asyncio.gather(*waiting)
        gate.open.clear()
        waiting = [asyncio.ensure_future(ask(transport)) for _ in range(few + 4)]
        while gate.inside < 2 * few + 4:
            await asyncio.sleep(0.01)
        gate.open.set()
        assert set(await asyncio.gather(*waiting)) == {(query_pb2.STATUS_ANSWERED, "")}


async def test_an_owner_that_never_answers_in_time_is_left_alone_and_tried_once() -> None:
    """After timeouts in a row queries stop waiting for it; after the pause one of many tries."""
    gate = Gate()
    async with owner(gate.answer) as (transport, clock):
        calls = [ask(transport, 0.3) for _ in range(breaker.FAILURES)]
        assert set(await asyncio.gather(*calls)) == {(query_pb2.STATUS_TIMEOUT, "DEADLINE")}
        assert await ask(transport) == (query_pb2.STATUS_TIMEOUT, "BREAKER_OPEN")
        clock.now += breaker.PAUSE_S
        trial = asyncio.ensure_future(ask(transport))
        while gate.inside == breaker.FAILURES:
            await asyncio.sleep(0.01)
        others = await asyncio.gather(*(ask(transport) for _ in range(20)))
        assert set(others) == {(query_pb2.STATUS_TIMEOUT, "BREAKER_OPEN")}
        gate.open.set()
        assert await trial == (query_pb2.STATUS_ANSWERED, "")
        assert await ask(transport) == (query_pb2.STATUS_ANSWERED, "")


async def test_a_trial_whose_asker_left_is_followed_by_another() -> None:
    """A cancelled trial says nothing about the owner, so the next call tries."""
    gate = Gate()
    async with owner(gate.answer) as (transport, clock):
        await asyncio.gather(*(ask(transport, 0.3) for _ in range(breaker.FAILURES)))
        clock.now += breaker.PAUSE_S
        trial = asyncio.ensure_future(ask(transport))
        while gate.inside == breaker.FAILURES:
            await asyncio.sleep(0.01)
        trial.cancel()
        await asyncio.gather(trial, return_exceptions=True)
        gate.open.set()
        assert await ask(transport) == (query_pb2.STATUS_ANSWERED, "")


async def test_the_breaker_opens_after_five_failures_and_closes_after_its_pause() -> None:
    """An unreachable owner is left alone for a while, then tried again."""
    calls = 0

    async def down(request: bytes, context: Context) -> bytes:
        nonlocal calls
        calls += 1
        return await aborting(grpc.StatusCode.UNAVAILABLE)(request, context)

    async with owner(down) as (transport, clock):
        for _ in range(breaker.FAILURES):
            assert await ask(transport) == (query_pb2.STATUS_UNREACHABLE, "UNREACHABLE")
        assert await ask(transport) == (query_pb2.STATUS_UNREACHABLE, "BREAKER_OPEN")
        assert calls == breaker.FAILURES
        clock.now += breaker.PAUSE_S
        assert await ask(transport) == (query_pb2.STATUS_UNREACHABLE, "UNREACHABLE")
        assert calls == breaker.FAILURES + 1


async def test_an_answer_in_between_keeps_the_breaker_closed() -> None:
    """Failures count in a row only, and only those of reachability."""
    script = [*"uuuu", "g", *"uuuu", *"rrrrrrrr", "g"]

    async def flaky(request: bytes, context: Context) -> bytes:
        said = script.pop(0)
        if said == "g":
            return GOOD
        code = {"u": grpc.StatusCode.UNAVAILABLE, "r": grpc.StatusCode.PERMISSION_DENIED}[said]
        return await aborting(code)(request, context)

    async with owner(flaky) as (transport, _):
        reasons = [(await ask(transport))[1] for _ in range(len(script))]
    assert "BREAKER_OPEN" not in reasons


async def test_nobody_there_is_unreachable() -> None:
    """A port nobody listens on is UNREACHABLE."""
    transport = UnaryTransport(lambda _: grpc.aio.insecure_channel("127.0.0.1:1"), clock=Clock())
    assert await ask(transport, 20) == (query_pb2.STATUS_UNREACHABLE, "UNREACHABLE")
    await transport.close()


# ── Rounds of figures ────────────────────────────────────────────────────────────────────────

STATED = pb.RoundStatement(partner_id="police", vector=bytes(160), signature=bytes(64))


@pytest.mark.parametrize(
    ("request_", "response"),
    [
        (pb.GetReadyRequest(), pb.GetReadyResponse(statement=STATED)),
        (pb.CountContributorsRequest(), pb.CountContributorsResponse(statement=STATED)),
        (pb.SumValuesRequest(), pb.SumValuesResponse(statement=STATED)),
    ],
)
async def test_a_partner_takes_part_in_each_round(request_: Any, response: Any) -> None:
    """What it states arrives; more octets than the round may have do not."""

    async def state(_request: bytes, _context: Context) -> bytes:
        return bytes(response.SerializeToString())

    async with counting(state) as transport:
        said = await transport.take_round("police", request_, timeout_s=30, limit=1_000)
        assert said == STATED
        with pytest.raises(LegFailed) as caught:
            await transport.take_round("police", request_, timeout_s=30, limit=100)
        assert (caught.value.status, caught.value.reason) == (query_pb2.STATUS_INVALID, "TOO_LARGE")


@pytest.mark.parametrize("data", [b"", b"\xff", b"\x12\x00"])
async def test_what_is_no_statement_is_garbage(data: bytes) -> None:
    """Nothing, no message, or one without a statement."""

    async def state(_request: bytes, _context: Context) -> bytes:
        return data

    async with counting(state) as transport:
        with pytest.raises(LegFailed) as caught:
            await transport.take_round("police", pb.GetReadyRequest(), timeout_s=30, limit=1_000)
    assert (caught.value.status, caught.value.reason) == (query_pb2.STATUS_INVALID, "GARBAGE")


async def test_why_a_partner_takes_no_part_is_passed_on() -> None:
    """A known reason reaches who asks; any other is a fixed code."""

    async def decline(request: bytes, context: Context) -> bytes:
        reason = "LIST_TOO_CLOSE" if request else "WORDS_OF_ITS_OWN"
        await context.abort(
            grpc.StatusCode.PERMISSION_DENIED, "words", ((members.REASON_KEY, reason),)
        )
        return b""

    async with counting(decline) as transport:
        for request, reason in (
            (pb.GetReadyRequest(terms=pb.RoundTerms(cube="reports")), "LIST_TOO_CLOSE"),
            (pb.GetReadyRequest(), "OWNER_REFUSED_CALL"),
        ):
            with pytest.raises(LegFailed) as caught:
                await transport.take_round("police", request, timeout_s=30, limit=1_000)
            assert caught.value.reason == reason

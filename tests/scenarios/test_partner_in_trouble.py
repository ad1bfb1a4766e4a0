"""One partner in trouble while many ask: every query completes, and only its own line says so."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import grpc.aio
import pytest

from fairlead.evidence import verify_evidence
from fairlead.v1 import asking_pb2, audit_pb2, owner_pb2, query_pb2
from gateway import breaker
from tests.federation import ANALYST, Federation, evidence, federation, free_ports, states
from tests.owners import Behaviour, answered, impostor
from tests.processes import gateway_process

pytestmark = pytest.mark.alone

BAD, GOOD = "oceanic-line", "terminal-north"
AT_ONCE, QUERIES = 24, 72
Trouble = Callable[[Federation], AbstractAsyncContextManager[None]]


async def _silence(_request: owner_pb2.AnswerRequest) -> bytes:
    await asyncio.Event().wait()
    return b""


def stalled(made: Federation) -> AbstractAsyncContextManager[None]:
    """It accepts every call and never answers one."""
    return impostor(made, BAD, _silence)


def lying(made: Federation) -> AbstractAsyncContextManager[None]:
    """In turns it signs with another's key, sends too much, and answers another query."""
    number = 0

    async def lie(request: owner_pb2.AnswerRequest) -> bytes:
        nonlocal number
        number += 1
        lies: dict[int, Callable[[], bytes]] = {
            0: lambda: answered(made, BAD, request, key_of=GOOD),
            1: lambda: bytes(300 * 1024),
            2: lambda: answered(made, BAD, request, query_id=bytes(16)),
        }
        return lies[number % 3]()

    return impostor(made, BAD, lie)


@asynccontextmanager
async def flapping(made: Federation) -> AsyncIterator[None]:
    """Its connection breaks in the middle of an answer, again and again."""
    public = made.node_configs[BAD]
    (port,) = free_ports(1)
    hidden = public.model_copy(update={"listen": f"127.0.0.1:{port}"})
    made.node_configs[BAD] = hidden

    async def answer(request: owner_pb2.AnswerRequest) -> bytes:
        return answered(made, BAD, request)

    async with impostor(made, BAD, answer), _broken_wire(public.listen, port):
        yield
    made.node_configs[BAD] = public


@asynccontextmanager
async def _broken_wire(listen: str, port: int) -> AsyncIterator[None]:
    """Pass octets on to ``port``, and hang up after so many that an answer was begun."""

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, limit: int) -> None:
        while limit > 0 and (data := await source.read(min(limit, 1024))):
            limit -= len(data)
            sink.write(data)
            await sink.drain()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", port)
        pumps = [
            asyncio.ensure_future(pump(reader, forth, 1 << 30)),
            asyncio.ensure_future(pump(back, writer, 9_000)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in pumps:
                task.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for stream in (writer, forth):
                stream.transport.abort()

    host, _, place = listen.rpartition(":")
    server = await asyncio.start_server(connected, host, int(place))
    async with server:
        yield


STATUSES: dict[str, tuple[Trouble, set[int], set[str]]] = {
    "stalled": (
        stalled,
        {query_pb2.STATUS_TIMEOUT, query_pb2.STATUS_OVERLOADED},
        {"DEADLINE", "BULKHEAD_FULL", "BREAKER_OPEN"},
    ),
    "flapping": (
        flapping,
        {query_pb2.STATUS_UNREACHABLE, query_pb2.STATUS_INVALID},
        {"UNREACHABLE", "BREAKER_OPEN", "OWNER_REFUSED_CALL"},
    ),
    "lying": (
        lying,
        {query_pb2.STATUS_INVALID},
        {"SIGNATURE", "TOO_LARGE", "ANSWER_BINDING"},
    ),
}


async def ask_many(made: Federation) -> list[list[asking_pb2.AskResponse]]:
    """``QUERIES`` queries, ``AT_ONCE`` at a time; each one's events."""
    gate = asyncio.Semaphore(AT_ONCE)

    async with made.client(*ANALYST) as client:

        async def one() -> list[asking_pb2.AskResponse]:
            async with gate:
                return await made.ask(client=client)

        return list(await asyncio.gather(*(one() for _ in range(QUERIES))))


@pytest.mark.timeout(240)
@pytest.mark.parametrize("trouble", STATUSES)
async def test_every_query_completes_and_only_the_bad_line_is_bad(
    tmp_path: Path, trouble: str
) -> None:
    """Under load a stalled, a flapping and a lying partner spoil nothing but their own line."""
    behaviour, statuses, reasons = STATUSES[trouble]
    # Only who stalls is to run into the deadline: the others are not, on however busy a machine.
    deadline_ms = 5_000 if trouble == "stalled" else 30_000
    async with federation(tmp_path, start=False, deadline_ms=deadline_ms) as made:
        gateway = await made.start_gateway()
        for partner in ("customs", GOOD):
            await made.start_node(partner)
        await made.open_case()
        async with behaviour(made):
            found = await ask_many(made)
        assert len(found) == QUERIES
        for events in found:
            lines = states(events)
            assert lines[GOOD].answers[0].hit
            assert lines[BAD].status in statuses, lines[BAD].reason
            assert lines[BAD].reason in reasons
            verify_evidence(evidence(events), made.directory)
        kinds = Counter(
            audit_pb2.AuditLeaf.FromString(body).type
            for (body,) in gateway.log.read("SELECT body FROM leaf")
        )
        assert kinds[audit_pb2.LEAF_TYPE_INTENT] == kinds[audit_pb2.LEAF_TYPE_OUTCOME] == QUERIES
        assert gateway.log.healthy


async def test_a_partner_that_comes_back_is_asked_again(tmp_path: Path) -> None:
    """After its pause the breaker lets one query try, and then everybody's answers are back."""
    async with federation(tmp_path, start=False, deadline_ms=2_000) as made:
        gateway = await made.start_gateway()
        for partner in ("customs", GOOD):
            await made.start_node(partner)
        await made.open_case()
        async with stalled(made), made.client(*ANALYST) as client:
            calls = [made.ask(client=client) for _ in range(breaker.FAILURES)]
            await asyncio.gather(*calls)
            events = await made.ask(client=client)
        assert states(events)[BAD].reason == "BREAKER_OPEN"
        await made.start_node(BAD)
        member = gateway.transport._members[BAD]  # type: ignore[attr-defined]
        await asyncio.sleep(breaker.PAUSE_S + 1)
        lines = states(await made.ask())
        assert lines[BAD].status == query_pb2.STATUS_ANSWERED
        assert member.breaker.enter(0.0) is breaker.Passage.FREE


@pytest.mark.timeout(180)
async def test_a_gateway_that_stops_finishes_what_it_began_and_refuses_the_rest(
    tmp_path: Path,
) -> None:
    """SIGTERM under load: queries under way get all their answers, later ones are told why not."""
    held, free = asyncio.Event(), asyncio.Event()

    async with federation(tmp_path, start=False) as made:
        behave: Behaviour

        async def behave(request: owner_pb2.AnswerRequest) -> bytes:
            held.set()
            await free.wait()
            return answered(made, BAD, request)

        async with gateway_process(made) as process, impostor(made, BAD, behave):
            for partner in ("customs", GOOD):
                await made.start_node(partner)
            await made.open_case()
            running = [asyncio.ensure_future(made.ask()) for _ in range(4)]
            await held.wait()
            while len(_leaves(made, audit_pb2.LEAF_TYPE_INTENT)) < len(running):
                await asyncio.sleep(0.05)
            os.kill(process.pid, signal.SIGTERM)
            while b"server-stopping" not in process.log.read_bytes():
                await asyncio.sleep(0.05)
            with pytest.raises(Exception) as refused:  # noqa: PT011  the client's own error class
                await made.ask()
            free.set()
            finished = await asyncio.gather(*running)
            assert await process.wait() == 0
    assert "DRAINING" in _reasons(refused.value)
    for events in finished:
        assert states(events)[GOOD].answers[0].hit
        assert verify_evidence(evidence(events), made.directory).answers == 2


def _leaves(made: Federation, kind: int) -> list[audit_pb2.AuditLeaf]:
    path = made.gateway_config.state_dir / "audit.sqlite"
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT body FROM leaf").fetchall()
    found = [audit_pb2.AuditLeaf.FromString(body) for (body,) in rows]
    return [leaf for leaf in found if leaf.type == kind]


def _reasons(error: BaseException) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return str(error.trailing_metadata())
    return str(getattr(error, "reasons", error))

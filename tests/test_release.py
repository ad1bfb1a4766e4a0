"""The release desk: durable first, grouped, on the tick, and every failure reaches everybody."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from fairlead.auditlog import AuditLog
from fairlead.errors import LogUnavailable
from fairlead.leaves import LeafWriter
from fairlead.release import BATCH, ReleaseDesk, due
from fairlead.v1 import audit_pb2 as pb

LEAVES = LeafWriter(log="partner/police", clock=lambda: 1.0)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[AuditLog]:
    made = AuditLog.open(
        tmp_path / "audit.sqlite",
        origin="x/y",
        key=Ed25519PrivateKey.from_private_bytes(bytes(32)),
        clock=lambda: 1.0,
    )
    yield made
    made.close()


def answer(number: int) -> pb.ReleasedAnswer:
    return pb.ReleasedAnswer(query_id=number.to_bytes(16, "big"), partner_id="police")


def released(log: AuditLog) -> list[list[int]]:
    """The numbers in each RELEASE leaf, in the order of the log."""
    rows = log.read("SELECT body FROM leaf ORDER BY idx")
    leaves = [pb.AuditLeaf.FromString(body) for (body,) in rows]
    assert all(leaf.type == pb.LEAF_TYPE_RELEASE for leaf in leaves)
    return [[int.from_bytes(item.query_id, "big") for item in leaf.released] for leaf in leaves]


async def test_nobody_returns_before_its_leaf_is_durable(log: AuditLog) -> None:
    """At the moment an answer may leave, a reader of the file finds it in a RELEASE leaf."""
    desk = ReleaseDesk(log, LEAVES, tick_s=0)

    async def one(number: int) -> None:
        await desk.release(answer(number))
        assert any(number in batch for batch in released(log))

    await asyncio.gather(*(one(number) for number in range(40)))


async def test_answers_that_wait_together_share_a_leaf(log: AuditLog) -> None:
    """A crowd is released in few leaves, each answer once, in the order of arrival."""
    desk = ReleaseDesk(log, LEAVES, tick_s=0)
    count = 2 * BATCH + 10
    await asyncio.gather(*(desk.release(answer(number)) for number in range(count)))
    batches = released(log)
    assert [number for batch in batches for number in batch] == list(range(count))
    assert max(len(batch) for batch in batches) == BATCH
    assert len(batches) <= 4


async def test_answers_of_different_moments_have_different_leaves(log: AuditLog) -> None:
    """A single answer does not wait for company, and the desk starts again after a rest."""
    desk = ReleaseDesk(log, LEAVES, tick_s=0)
    for number in range(3):
        await desk.release(answer(number))
    assert released(log) == [[0], [1], [2]]


async def test_those_who_come_during_a_commit_are_released_by_the_next(log: AuditLog) -> None:
    """Nobody is forgotten who arrives while the log is being written."""
    desk = ReleaseDesk(log, LEAVES, tick_s=0)
    first = asyncio.ensure_future(desk.release(answer(0)))
    await asyncio.sleep(0)  # its leaf is on the way
    await asyncio.gather(first, *(desk.release(answer(number)) for number in range(1, 5)))
    assert [number for batch in released(log) for number in batch] == [0, 1, 2, 3, 4]


async def test_a_failed_log_reaches_every_waiter(log: AuditLog) -> None:
    """When the leaf cannot be written, no answer leaves, whoever waits and whoever comes later."""
    desk = ReleaseDesk(log, LEAVES, tick_s=0)
    log._writer.drain()
    results = await asyncio.gather(
        *(desk.release(answer(number)) for number in range(BATCH + 5)), return_exceptions=True
    )
    assert all(isinstance(item, LogUnavailable) for item in results)
    assert len(results) == BATCH + 5
    with pytest.raises(LogUnavailable):
        await desk.release(answer(999))


async def test_a_waiter_that_gives_up_does_not_hold_the_others(log: AuditLog) -> None:
    """Cancelling one waiter leaves the leaf and its companions as they are."""
    desk = ReleaseDesk(log, LEAVES, tick_s=0)
    tasks = [asyncio.ensure_future(desk.release(answer(number))) for number in range(5)]
    await asyncio.sleep(0)
    tasks[2].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[2], asyncio.CancelledError)
    assert [item for item in results if item is not results[2]] == [None] * 4
    await desk.release(answer(9))


async def test_answers_leave_on_multiples_of_the_tick(log: AuditLog) -> None:
    """Whenever the work is done, the answer leaves behind a whole allowance and at a tick."""
    tick = 0.02
    desk = ReleaseDesk(log, LEAVES, tick_s=tick)
    loop = asyncio.get_running_loop()
    for wait in (0.0, 0.003, 0.013):
        await asyncio.sleep(wait)
        arrived = loop.time()
        await desk.release(answer(1), arrived=arrived, allowance_s=0.03)
        assert loop.time() >= arrived + 0.03
        assert int(loop.time() / tick) > int((arrived + 0.03) / tick)
        arrived = loop.time()
        await desk.release(answer(2))
        assert int(loop.time() / tick) > int(arrived / tick)


async def test_without_a_tick_nothing_waits_for_one(log: AuditLog) -> None:
    """Tick 0 is for benchmarks: only durability is waited for."""
    desk = ReleaseDesk(log, LEAVES, tick_s=0)
    now = asyncio.get_running_loop().time()
    await asyncio.wait_for(desk.release(answer(1), arrived=now, allowance_s=3600), timeout=60)


@given(st.floats(0, 1e6), st.floats(0, 1e3), st.floats(0.01, 10))
def test_what_is_due_is_due_on_a_multiple_not_before_now(
    begun: float, took: float, allowance: float
) -> None:
    """Work that took less is due together with work that took up to the next multiple."""
    at = due(begun, begun + took, allowance)
    assert -1e-6 <= at - (begun + took) <= allowance + 1e-6
    assert abs((at - begun) / allowance - round((at - begun) / allowance)) < 1e-4

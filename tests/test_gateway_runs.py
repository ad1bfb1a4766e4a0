"""Runs: what repetitions are shown, in what order, for how long."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.errors import LogUnavailable
from fairlead.v1 import gateway_pb2
from gateway.runs import OVERHEAD, Run, Runs


def event(number: int) -> gateway_pb2.QueryResponse:
    partner = gateway_pb2.PartnerEvent(partner_id=f"p{number}")
    return gateway_pb2.QueryResponse(partners=[partner])


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(st.sampled_from(["add", "reader", "pause"]), max_size=15), fails=st.booleans()
)
def test_every_reader_sees_every_event_in_order(steps: list[str], fails: bool) -> None:
    """Whenever a reader comes, it sees the run from its first event to its end."""

    async def read(run: Run) -> tuple[list[str], bool]:
        seen: list[str] = []
        try:
            async for item in run.read():
                seen += [line.partner_id for line in item.partners]
        except LogUnavailable:
            return seen, True
        return seen, False

    async def scenario() -> None:
        run, readers, added = Run(0), [], []
        for number, step in enumerate(steps):
            if step == "add":
                run.add(event(number))
                added.append(f"p{number}")
            elif step == "reader":
                readers.append(asyncio.ensure_future(read(run)))
            else:
                await asyncio.sleep(0)
        run.fail(LogUnavailable("x")) if fails else run.finish()
        readers.append(asyncio.ensure_future(read(run)))
        assert all(item == (added, fails) for item in await asyncio.gather(*readers))

    asyncio.run(scenario())


@given(sizes=st.lists(st.integers(0, 50_000), min_size=1, max_size=30))
def test_remembered_runs_stay_within_their_room(sizes: list[int]) -> None:
    """The oldest give way, the newest always stays, and the room is kept by octets."""
    limit = 100_000
    runs = Runs(limit)

    async def scenario() -> None:
        for number, size in enumerate(sizes):
            runs.start(bytes([number]), size)
            kept = [n for n in range(number + 1) if runs.get(bytes([n])) is not None]
            held = sum(sizes[n] + OVERHEAD for n in kept)
            assert kept == list(range(number + 1))[-len(kept) :]
            assert held <= limit or len(kept) == 1

    asyncio.run(scenario())


async def test_an_abandoned_run_never_starts() -> None:
    """A walk whose asker left before it began is cancelled at once."""
    begun = []

    async def walk() -> None:
        begun.append(1)

    run = Run(0)
    run.abandon()
    task = run.own(walk())
    await asyncio.wait([task])
    assert task.cancelled()
    assert begun == []

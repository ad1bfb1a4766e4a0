"""What an analyst or a stalling node can do to a gateway's figures: each test shows one way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event, Lock
from typing import Any

import pytest

from fairlead.cubes.period import parse_unit
from fairlead.errors import FairleadError, Overloaded
from fairlead.strategic.deciding import decide_unit
from fairlead.v1 import statistics_pb2 as pb
from gateway.figures import making, shelf, workshop
from gateway.figures.shelf import Attempt, FiguresShelf, Overtaken, put_attempt
from tests.tallying import LEVEL, UNIT, Town, gone, gone_in
from tests.walks import World, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("review"))


@pytest.fixture
def town(world: World, tmp_path: Path) -> Iterator[Town]:
    made = Town(world, tmp_path)
    yield made
    made.close()


async def under_way(town: Town, count: int) -> None:
    """Return when so many releases are being made."""
    while len(town.maker._workshop._works) < count:
        await asyncio.sleep(0.02)


async def test_what_is_not_reported_costs_its_asker_nothing_and_every_node_a_call(
    world: World, tmp_path: Path
) -> None:
    """One question, sent over and over, has all nodes asked for all its units each time."""
    town = Town(world, tmp_path, count=3)
    signed = town.question(period="2011-Q1..2026-Q3")
    for _ in range(3):
        await town.ask(signed)
    calls, asked = len(town.wire.seen), len(town.leaves("figures-asked"))
    ((attempts,),) = town.log.read("SELECT count(*) FROM figures_attempt")
    town.close()
    assert calls <= 9 * 63, (calls, asked, attempts)


async def test_what_is_frozen_does_not_wait_for_a_stalling_node(town: Town) -> None:
    """A release that is out is given at once, whatever else of the cube is being made."""
    await town.ask(period="2026-Q2")
    town.wire.stalled.add(town.nodes.ids[0])
    slow = asyncio.ensure_future(town.ask(period=UNIT))
    await under_way(town, 1)
    began = time.perf_counter()
    await town.ask(period="2026-Q2")
    taken = time.perf_counter() - began
    await asyncio.gather(slow, return_exceptions=True)
    assert taken < 1, taken


async def test_an_asker_that_goes_away_leaves_no_audit_running(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks, leaves and asks again has no two of them computed at once."""
    running, most, gate, free = 0, 0, Lock(), Event()
    decide = decide_unit

    def slow(*arguments: Any, **named: Any) -> Any:
        nonlocal running, most
        with gate:
            running += 1
            most = max(most, running)
        free.wait(3)
        with gate:
            running -= 1
        return decide(*arguments, **named)

    monkeypatch.setattr(making, "decide_unit", slow)
    signed = town.question()
    for _ in range(3):
        asking = asyncio.ensure_future(town.ask(signed))
        await asyncio.sleep(0.5)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    free.set()
    assert most == 1, most


async def test_who_asks_for_what_is_being_made_joins_it(town: Town) -> None:
    """Two questions, one release, each node asked once a round."""
    both = await asyncio.gather(town.ask(), town.ask())
    assert len({events[-1].released.release for events in both}) == 1
    assert len(town.leaves("figures-released")) == 1
    counted = [name for name, request in town.wire.seen if isinstance(request, pb.SumValuesRequest)]
    assert sorted(counted) == sorted(town.nodes.ids)
    for name in town.nodes.ids[3:]:
        town.wire.faults[name] = gone
    await asyncio.gather(town.ask(period="2026-Q1"), town.ask(period="2026-Q1"))
    assert town.log.read("SELECT sum(gathered) FROM figures_gathering") == [(2,)]


async def test_a_partner_that_leaves_again_and_again_has_so_much_made(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes on without it counts as its own until it has ended."""
    monkeypatch.setattr(workshop, "UNDER_WAY", 8)
    town.wire.stalled.add(town.nodes.ids[0])
    for number, unit in enumerate(("2026-Q1", "2026-Q2")):
        asking = asyncio.ensure_future(town.ask(period=unit))
        await under_way(town, number + 1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    with pytest.raises(Overloaded):
        await town.ask()
    await town.strategic.drain()


async def test_a_gateway_that_stops_abandons_what_is_being_made(town: Town) -> None:
    """It waits as long as it may; then whoever asked is told to come again, and nothing runs on."""
    town.wire.stalled.add(town.nodes.ids[0])
    asking = asyncio.ensure_future(town.ask())
    await under_way(town, 1)
    began = time.perf_counter()
    await town.strategic.finish(0.1)
    await town.strategic.drain()
    assert time.perf_counter() - began < 1
    with pytest.raises(Overloaded) as caught:
        await asking
    assert caught.value.code == "DRAINING"
    town.log.close()
    town.open()
    town.wire.stalled.clear()
    assert len(await town.released()) == 1


async def test_what_cannot_be_made_is_on_the_account_of_who_asks(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every time that the nodes are asked counts, whether a release comes of it or not."""
    monkeypatch.setattr(shelf, "NEW_A_DAY", 2)
    town.wire.faults["p03"] = gone_in(pb.SumValuesRequest)
    signed = town.question()
    for code in ("PARTICIPANT_MISSING", "PARTICIPANT_MISSING", "FIGURES_BUDGET"):
        with pytest.raises(FairleadError) as caught:
            await town.ask(signed)
        assert caught.value.code == code
    town.now += 86_400
    town.wire.faults.clear()
    assert len(await town.released()) == 1


async def test_a_gateway_goes_on_with_what_another_one_began(town: Town) -> None:
    """It did not reach one partner, and began as of another moment: what it wrote in vain stays
    unwritten, and both release the same."""
    other = town.gateway(ahead=7, wire=replace(town.wire, faults={"p07": gone}))
    first, second = await asyncio.gather(town.ask(), town.ask(of=other), return_exceptions=True)
    assert town.log.read("SELECT DISTINCT cut_off FROM figures_attempt") in (
        [(int(town.now),)],
        [(int(town.now) + 7,)],
    )
    again = await town.ask(of=town.gateway())
    whole = [each for each in (first, second, again) if not isinstance(each, BaseException)]
    assert len({events[-1].released.release for events in whole}) == 1


@pytest.mark.parametrize("lost", [0, 1])
async def test_two_gateways_begin_a_release_on_the_same_terms(town: Town, lost: int) -> None:
    """The second is told that the first one's cut-off and list count, or nodes hear two things."""
    release, _ = town.maker.due(
        making.Sought(
            registry=town.registry,
            cube=town.registry.cube("reports"),
            level=town.registry.cube("reports").level(LEVEL),
            unit=parse_unit(UNIT),
        )
    )
    first = Attempt(
        release=release, participants=town.nodes.ids, quarter="2026-Q4", cut_off=int(town.now)
    )
    second = replace(first, cut_off=first.cut_off + 1, participants=town.nodes.ids[lost:])
    await town.log.keep(put_attempt(first, seeds={"2026-Q4"}, after=0))
    with pytest.raises(Overtaken):
        await town.log.keep(put_attempt(second, seeds={"2026-Q4"}, after=0))
    assert FiguresShelf(town.log).attempts("reports") == [first]
    last = FiguresShelf(town.log).last_attempt(release)
    await town.log.keep(put_attempt(first, seeds={"2026-Q4"}, after=last))

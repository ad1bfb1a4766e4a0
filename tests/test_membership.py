"""Directories by serial: which one a query is asked and verified under, and for how long."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from fairlead.errors import Forged, Stale
from fairlead.membership import GRACE_S, SETTLE_S, VERSIONS, LiveDirectory, Membership
from fairlead.partners import Directory
from fairlead.trust import Trust
from tests.live import unpin
from tests.test_partners import changed
from tests.walks import NOW, World, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("membership"))


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


def live(world: World, clock: Clock) -> LiveDirectory:
    return LiveDirectory(world.directory, b"1", clock=clock)


def version(world: World, serial: int) -> Directory:
    return replace(world.directory, serial=serial)


def test_a_directory_alone_is_the_shortest_history(world: World) -> None:
    """A plain directory answers for its own serial and no other."""
    found = world.directory
    assert found.current is found.asking is found.at(found.serial) is found
    with pytest.raises(Stale) as refused:
        found.at(found.serial + 1)
    assert refused.value.code == "DIRECTORY_MISMATCH"


def test_a_new_directory_is_asked_under_once_confirmed_and_settled(world: World) -> None:
    """It verifies at once; queries are made under it after the gateway serves it, and a moment."""
    clock = Clock()
    directory = live(world, clock)
    directory.swap(version(world, 2), b"2")
    assert (directory.current.serial, directory.asking.serial) == (2, 1)
    clock.now += GRACE_S - 1
    assert directory.asking.serial == 1
    directory.confirm(2)
    assert directory.asking.serial == 1
    clock.now += SETTLE_S
    assert directory.asking.serial == 2


def test_an_unconfirmed_directory_is_asked_under_once_the_one_before_is_too_old(
    world: World,
) -> None:
    """A gateway that never confirms does not keep an asker sealing to keys that were replaced."""
    clock = Clock()
    directory = live(world, clock)
    directory.swap(version(world, 2), b"2")
    clock.now += GRACE_S
    assert directory.asking.serial == 2
    assert [found.serial for found in directory.recent] == [2]


async def test_a_root_unpinned_while_a_directory_is_taken_over_stays_unpinned(
    world: World, tmp_path: Path
) -> None:
    """What was verified under the pins of a moment ago does not outlive them."""
    files = {}
    for source in (
        world.opened.layout.directory,
        world.opened.layout.pins,
        world.opened.layout.deny_lists,
    ):
        files[source.name] = Path(shutil.copy(source, tmp_path))
    path, pins, deny_lists = files.values()
    member = Membership(
        trust=Trust.load(pins), path=path, pins=pins, deny_lists=deny_lists, clock=lambda: NOW
    )
    looking: list[asyncio.Task[None]] = []

    async def meanwhile(_fresh: Directory) -> None:
        unpin(pins, "police")
        looking.append(asyncio.create_task(member.look()))
        await asyncio.sleep(0)

    member.record = meanwhile
    await member.take(changed(world, lambda content: setattr(content, "serial", 2)))
    await asyncio.gather(*looking)
    assert member.directory.current.serial == 2
    assert "police" in member.directory.current.unpinned


def test_a_superseded_directory_verifies_for_its_grace_and_not_longer(world: World) -> None:
    """What is in flight when the directory changes still verifies; an old serial does not."""
    clock = Clock()
    directory = live(world, clock)
    directory.swap(version(world, 2), b"2")
    clock.now += GRACE_S - 1
    assert directory.at(1) is world.directory
    clock.now += 1
    with pytest.raises(Stale):
        directory.at(1)
    assert directory.at(2).serial == 2


async def test_a_query_may_be_ahead_of_its_directory_by_a_moment(world: World) -> None:
    """Whoever waits for a newer serial is woken by it, and is not kept for ever."""
    directory = live(world, Clock())
    asked: list[bool] = []
    directory.on_unknown = lambda: asked.append(True)
    waiting = asyncio.create_task(directory.wait_for(2, timeout_s=30))
    await asyncio.sleep(0)
    directory.swap(version(world, 2), b"2")
    await waiting
    assert asked == [True]
    await directory.wait_for(9, timeout_s=0.01)
    with pytest.raises(Stale):
        directory.at(9)


def test_other_pins_reread_every_version_or_none(world: World) -> None:
    """A superseded version that no longer verifies is dropped; the current one must verify."""
    directory = live(world, Clock())
    directory.swap(version(world, 2), b"2")

    def only(wanted: bytes) -> object:
        def verify(data: bytes) -> Directory:
            if data != wanted:
                raise Forged("no", reasons=("ROOT_PIN",))
            return version(world, int(data))

        return verify

    with pytest.raises(Forged):
        directory.reread(only(b"1"))  # type: ignore[arg-type]
    assert directory.at(1) is world.directory
    directory.reread(only(b"2"))  # type: ignore[arg-type]
    with pytest.raises(Stale):
        directory.at(1)
    assert directory.current.serial == 2


class History(RuleBasedStateMachine):
    """Any sequence of changes, confirmations and pauses."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.directory = live(self.world, self.clock)
        self.superseded: dict[int, float] = {}
        self.confirmed = {1}

    @rule()
    def change(self) -> None:
        """A newer directory comes into force."""
        serial = self.directory.current.serial
        self.superseded[serial] = self.clock.now
        self.directory.swap(version(self.world, serial + 1), b"")

    @rule()
    def confirm(self) -> None:
        """The gateway serves it."""
        self.directory.confirm(self.directory.current.serial)
        self.confirmed.add(self.directory.current.serial)

    @rule(seconds=st.sampled_from([1.0, SETTLE_S, GRACE_S / 2, GRACE_S]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.now += seconds

    @invariant()
    def verifies_exactly_what_is_in_force_or_grace(self) -> None:
        """The newest always; an older one within its grace and among the last few."""
        newest = self.directory.current.serial
        for serial in range(1, newest + 2):
            left = self.superseded.get(serial)
            fresh = left is None or self.clock.now - left < GRACE_S
            expected = serial <= newest and fresh and serial > newest - VERSIONS
            try:
                assert self.directory.at(serial).serial == serial
                found = True
            except Stale:
                found = False
            assert found == expected

    @invariant()
    def asks_under_what_the_gateway_serves(self) -> None:
        """Never under one that was not confirmed, while a confirmed one is kept."""
        kept = range(max(1, self.directory.current.serial - VERSIONS + 1), 10_000)
        if any(serial in kept for serial in self.confirmed):
            asking = self.directory.asking.serial
            settled = asking <= max(self.confirmed)
            assert settled or asking == self.directory.current.serial


def test_any_history_is_answered_for_as_promised(world: World) -> None:
    """Over any sequence of changes the right versions verify, and no others."""
    History.world = world
    run_state_machine_as_test(
        History, settings=settings(max_examples=25, stateful_step_count=25, deadline=None)
    )

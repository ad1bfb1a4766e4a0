"""What owners send for the oversight is carried on, again after a failure and after a start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from fairlead.envelope.manifest import Manifest
from fairlead.errors import Unreachable
from node.carrying import DecoyCarrier
from tests.live import until
from tests.test_envelope_manifest import manifest as a_manifest
from tests.walks import World, make_world


@dataclass(slots=True)
class Owner:
    """An owner that delivers, or does not."""

    down: int = 0
    handed: list[tuple[str, bytes, bytes]] = field(default_factory=list)

    async def fetch(self, manifest: Manifest) -> bytes:
        if self.down:
            self.down -= 1
            raise Unreachable("down", reasons=("UNREACHABLE",))
        return b"sealed" + manifest.digest

    async def hand_on(self, owner: str, manifest: bytes, sealed: bytes) -> None:
        self.handed.append((owner, manifest, sealed))


@asynccontextmanager
async def carrier(owner: Owner, *held: Manifest, now: float = 1.0) -> AsyncIterator[DecoyCarrier]:
    made = DecoyCarrier(
        held=lambda: held, fetch=owner.fetch, hand_on=owner.hand_on, clock=lambda: now, again_s=0.01
    )
    running = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("carrying"))


def held(world: World, number: int) -> Manifest:
    return replace(a_manifest(world), digest=bytes([number]) * 32)


async def test_what_is_held_is_told_at_every_start_and_what_comes_once(world: World) -> None:
    """The node does not know what it told before it was stopped."""
    owner = Owner()
    async with carrier(owner, held(world, 1)) as made:
        await until(lambda: len(owner.handed) == 1)
        made.took_over(held(world, 2))
        await until(lambda: len(owner.handed) == 2)
    assert owner.handed == [
        (held(world, n).owner, bytes([n]) * 32, b"sealed" + bytes([n]) * 32) for n in (1, 2)
    ]


async def test_an_owner_that_is_down_is_asked_again(world: World) -> None:
    """Until it delivers, while others go on."""
    owner = Owner(down=3)
    async with carrier(owner, held(world, 1), held(world, 2)):
        await until(lambda: len(owner.handed) == 2)
    assert {manifest for _, manifest, _ in owner.handed} == {bytes([n]) * 32 for n in (1, 2)}


async def test_what_no_longer_answers_is_not_fetched(world: World) -> None:
    """Its epoch is over, and nobody can ask under it."""
    owner = Owner()
    async with carrier(owner, held(world, 1), now=1e12) as made:
        made.took_over(held(world, 2))
        await asyncio.sleep(0.05)
    assert owner.handed == []


async def test_a_silent_owner_does_not_hold_up_the_others(world: World) -> None:
    """Attack: an owner that lets every fetch run into its deadline, a hundred times a round."""
    asked: list[str] = []

    class Slow(Owner):
        async def fetch(self, manifest: Manifest) -> bytes:
            asked.append(manifest.owner)
            if manifest.owner == "slow":
                raise Unreachable("silent", reasons=("GATEWAY_UNREACHABLE",))
            return b"sealed"

    owner = Slow()
    manifests = [replace(held(world, n), owner="slow") for n in range(1, 100)]
    async with carrier(owner, *manifests, held(world, 100)):
        await until(lambda: bool(owner.handed))
    assert asked[:2] == ["slow", held(world, 100).owner]

"""Carrying what owners send for this partner's oversight, unopened, into the outbox."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from fairlead.envelope.manifest import Manifest
from fairlead.errors import FairleadError, Unreachable
from fairlead.telemetry import Event, get_logger

AGAIN_S = 30.0
"""Seconds until what could not be fetched is tried again."""


class DecoyCarrier:
    """Fetches the decoys of each manifest that is held, once after it was taken over and once at
    every start: whether the node told its oversight before it was stopped, it does not know.

    :param held: the manifests of what is held. :param fetch: what an owner sends with one.
    :param hand_on: takes owner, manifest (its SHA-256) and what was sent.
    """

    def __init__(
        self,
        *,
        held: Callable[[], Iterable[Manifest]],
        fetch: Callable[[Manifest], Awaitable[bytes]],
        hand_on: Callable[[str, bytes, bytes], Awaitable[None]],
        clock: Callable[[], float],
        again_s: float = AGAIN_S,
    ) -> None:
        self._held = held
        self._fetch = fetch
        self._hand_on = hand_on
        self._clock = clock
        self._again_s = again_s
        self._waiting: dict[bytes, Manifest] = {}
        self._woken = asyncio.Event()

    def took_over(self, manifest: Manifest) -> None:
        """A newer snapshot is held."""
        self._waiting[manifest.digest] = manifest
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled."""
        for manifest in self._held():
            self._waiting.setdefault(manifest.digest, manifest)
        while True:
            self._woken.clear()
            await self._round()
            if self._waiting:
                await asyncio.sleep(self._again_s)
            else:
                await self._woken.wait()

    async def _round(self) -> None:
        """Each manifest once; an owner that does not answer is waited for once, or it would keep
        the others' decoys from arriving."""
        silent: set[str] = set()
        for digest, manifest in list(self._waiting.items()):
            if manifest.owner in silent:
                continue
            try:
                if await self._carry(manifest):
                    del self._waiting[digest]
            except Unreachable:
                silent.add(manifest.owner)

    async def _carry(self, manifest: Manifest) -> bool:
        """Whether there is nothing left to do for a manifest.

        :raises Unreachable: its owner, or the gateway, does not answer.
        """
        if self._clock() >= manifest.answers_until:
            return True
        try:
            sealed = await self._fetch(manifest)
        except (FairleadError, OSError) as error:
            get_logger().warning(Event.OVERSIGHT_NOT_TOLD, error=error, partner=manifest.owner)
            if isinstance(error, Unreachable):
                raise
            return False
        await self._hand_on(manifest.owner, manifest.digest, sealed)
        return True

"""The registry of cubes in force, parsed once for each policy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from fairlead.cubes.registry import Registry
from fairlead.policy.points import PolicyPoints


@dataclass(slots=True)
class CubesInForce:
    """Reads them beside the event loop, which takes a third of a second.

    :param parse: the registry of a policy; raises Misconfigured where it has none.
    """

    policy: Callable[[], PolicyPoints]
    parse: Callable[[PolicyPoints], Registry]
    _held: tuple[bytes, Registry] | None = None
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def __call__(self) -> Registry:
        """:raises Misconfigured: CUBES_MISSING, CUBES_INVALID."""
        points = self.policy()
        async with self._reading:
            if self._held is None or self._held[0] != points.cubes:
                self._held = points.cubes, await asyncio.to_thread(self.parse, points)
            return self._held[1]

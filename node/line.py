"""The node's line to the gateway: one channel, replaced when key, roots or target change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fairlead import tls  # before grpc: it sets the TLS floor

# isort: split
import grpc.aio

from fairlead.certificates import SpiffeId
from fairlead.partners import Directories

DRAIN_S = 60.0
"""Seconds the calls on a replaced channel may still take: longer than any query."""


class GatewayLine:
    """Opens the channel at its first use and again after a change; the old one drains.

    :param endpoint: host:port of the gateway.
    """

    def __init__(
        self, endpoint: str, directory: Directories, material: Callable[[], tls.KeyMaterial]
    ) -> None:
        self._endpoint = endpoint
        self._directory = directory
        self._material = material
        self._opened: tuple[str, tls.KeyMaterial] | None = None
        self._channel: grpc.aio.Channel | None = None
        self._draining: set[asyncio.Task[None]] = set()

    def channel(self) -> grpc.aio.Channel:
        """The channel to use for a new call; do not keep it.

        :raises Misconfigured: the node has no usable certificate.
        """
        wanted = (self._directory.current.gateway_at(self._endpoint).spiffe_id, self._material())
        if self._channel is None or wanted != self._opened:
            if self._channel is not None:
                task = asyncio.ensure_future(self._channel.close(DRAIN_S))
                self._draining.add(task)
                task.add_done_callback(self._draining.discard)
            self._channel = tls.open_channel(
                self._endpoint, server=SpiffeId.parse(wanted[0]), material=wanted[1]
            )
            self._opened = wanted
        return self._channel

    async def close(self) -> None:
        """Close what is open, at once."""
        for task in self._draining:
            task.cancel()
        await asyncio.gather(*self._draining, return_exceptions=True)
        if self._channel is not None:
            await self._channel.close()

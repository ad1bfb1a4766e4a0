"""Who listens on the wire: a relay in each connection that sees TLS records and opens none."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

Note = Callable[[str, int, float], None]
"""Direction, octets of one TLS record, monotonic seconds."""
_HEAD = 5
_READ = 1 << 16


class Relay:
    """Passes octets on between whoever connects and a port of this machine."""

    def __init__(self, name: str, target: int, note: Note) -> None:
        self._name, self._target, self._note = name, target, note
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, port: int) -> None:
        """Listen on a port of this machine."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port)

    async def close(self) -> None:
        """Stop, and cut what is open."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        pumps = [
            asyncio.ensure_future(self._pump(f"{self._name} >", reader, back)),
            asyncio.ensure_future(self._pump(f"{self._name} <", there, writer)),
        ]
        try:
            await asyncio.gather(*pumps)
        except (OSError, asyncio.CancelledError):
            for pump in pumps:
                pump.cancel()
        finally:
            for end in (back, writer):
                end.close()
                with contextlib.suppress(OSError):
                    await end.wait_closed()
            self._tasks.discard(task)

    async def _pump(
        self, direction: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Pass on at once; note every record when its last octet has come."""
        pending = bytearray()
        while octets := await reader.read(_READ):
            now = time.perf_counter()
            writer.write(octets)
            pending += octets
            while len(pending) >= _HEAD:
                size = _HEAD + int.from_bytes(pending[3:_HEAD], "big")
                if len(pending) < size:
                    break
                del pending[:size]
                self._note(direction, size, now)
            await writer.drain()
        writer.close()

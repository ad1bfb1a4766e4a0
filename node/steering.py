"""How its owner steers a node: the acts of the control socket, and what happens by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fairlead.errors import FairleadError, Unreachable
from fairlead.telemetry import Event, get_logger
from node.control.server import Handler
from node.decoys import decoy_id
from node.exposure.document import moment
from node.figures.mapped_config import MappedSources
from node.owncells import OwnCells
from node.owner import Owner
from node.pausing import Pause
from node.previewing import Previewing
from node.publication.decoying import Decoying, row_of
from node.publication.publishing import Publishing
from node.register import RegisterDesk
from node.status import Status

Json = dict[str, Any]
TICK_S = 0.5
MEASURE_S = 3_600.0
"""Seconds after which the exposure is measured again although nothing is known to have changed:
agreements begin by the calendar."""


async def not_running() -> Json:
    """:raises Unreachable: NODE_STOPPED."""
    raise Unreachable(
        "this node does not run, so it reconciles with nobody",
        reasons=("NODE_STOPPED",),
        remedy="fairlead-node serve, then: fairlead-node reconcile",
    )


async def not_waiving(**_wanted: Any) -> Json:
    """:raises Unreachable: NODE_STOPPED."""
    raise Unreachable(
        "this node does not run, so it publishes no figure",
        reasons=("NODE_STOPPED",),
        remedy="fairlead-node serve, then this command again",
    )


@dataclass(slots=True, kw_only=True)
class Steering:
    """Every act of the owner on one node; :attr:`handlers` is what the socket offers."""

    look: Callable[[], Awaitable[None]]
    """Take changed pins and lists up now: who pinned a partner and then accepts means that one."""
    owner: Owner
    pause: Pause
    previewing: Previewing
    publishing: Publishing
    decoying: Decoying
    register: RegisterDesk
    mapped: MappedSources
    own_cells: OwnCells
    status: Status
    snapshots: Callable[[], Awaitable[Json]]
    """Tells what of others' publications is held."""
    reconcile: Callable[[], Awaitable[Json]] = not_running
    """Holds this log against the gateway's now; only a running node can."""
    waive: Callable[..., Awaitable[Json]] = not_waiving
    """Publishes an own figure; only a running node can."""

    @property
    def handlers(self) -> dict[str, Handler]:
        """Command → act."""
        return {
            "status": self.status.report,
            "exposure": self._after_look(self.owner.exposure),
            "accept": self._after_look(self.owner.accept),
            "pause": self._pause,
            "resume": self._resume,
            "preview": self._after_look(self.previewing.preview),
            "bundle-made": self._bundle_made,
            "blind-publish": self._after_look(self.publishing.publish),
            "blind-status": self.publishing.status,
            "snapshots": self._snapshots,
            "reconcile": self._reconcile,
            "statistics-waive": self._waive,
            "decoys-add": self._add_decoys,
            "decoys-list": self._list_decoys,
            "decoys-remove": self._remove_decoy,
            **self.register.acts,
            **self.own_cells.acts,
        }

    def _after_look(self, act: Handler) -> Handler:
        async def looked(**fields: Any) -> Mapping[str, Any]:
            await self.look()
            return await act(**fields)

        return looked

    async def _snapshots(self) -> Json:
        return await self.snapshots()

    async def _reconcile(self) -> Json:
        return await self.reconcile()

    async def _waive(self, **wanted: Any) -> Json:
        return await self.waive(**wanted)

    async def _pause(self, *, reason: str, for_s: int = 0) -> Json:
        paused = await self.pause.begin(reason, for_s=for_s)
        return {
            "since": moment(paused.since),
            "until": moment(paused.until) if paused.until else None,
            "reason": paused.reason,
        }

    async def _resume(self) -> Json:
        since = self.pause.since
        await self.pause.end()
        return {"since": moment(since), "ended": moment(self.owner.clock())}

    async def _add_decoys(self, *, scheme: str, value: str = "", generate: int = 0) -> Json:
        if generate:
            made = await self.decoying.generate(scheme, generate)
        else:
            made = await self.decoying.add(scheme, value)
        return {"decoys": [row_of(decoy) for decoy in made]}

    async def _list_decoys(self) -> Json:
        return {"decoys": [row_of(decoy) for decoy in self.decoying.book.findable()]}

    async def _remove_decoy(self, *, decoy: str) -> Json:
        return {"decoys": [row_of(await self.decoying.book.remove(decoy_id(decoy)))]}

    async def _bundle_made(self) -> Json:
        await self.owner.log.append(self.owner.leaves.owner("bundle-made"))
        return {}

    async def watch(self, *, loop_clock: Callable[[], float]) -> None:
        """Until cancelled: end a pause whose time is over, and measure the exposure when policy
        or directory have changed, so that the operator's log says what waits."""
        seen: tuple[int, int] | None = None
        measured = 0.0
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await self.pause.expire()
                now = self.owner.policy().serial, self.owner.directory().serial
                if now != seen or loop_clock() - measured >= MEASURE_S:
                    seen, measured = now, loop_clock()
                    await self.owner.measure()
            except FairleadError as error:
                get_logger().error(Event.EXPOSURE_PENDING, error=error)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Run :meth:`watch` beside what is done inside."""
        watcher = asyncio.create_task(self.watch(loop_clock=asyncio.get_running_loop().time))
        try:
            yield
        finally:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)

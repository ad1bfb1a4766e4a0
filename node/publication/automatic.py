"""Publishing by itself: when the index, policy, acceptance, directory or epoch has changed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from fairlead.errors import FairleadError
from fairlead.telemetry import Event, get_logger
from node.publication.publisher import Publisher
from node.publication.publishing import Publishing

TICK_S = 1.0
"""Seconds between two looks at whether something changed."""
PAUSE_S, MAX_PAUSE_S = 2.0, 300.0
"""Seconds until a publication that failed is tried again, twice as many each time."""


class Automatic:
    """Begins publications of a running node; one at a time, the command's among them.

    :param on_published: called after each publication that ended well.
    """

    def __init__(self, publishing: Publishing, *, on_published: Callable[[], None]) -> None:
        self._publishing = publishing
        self._on_published = on_published
        self._changed = asyncio.Event()
        self._seen: tuple[object, ...] = ()

    def wake(self) -> None:
        """The index has changed."""
        self._changed.set()

    async def run(self) -> None:
        """Until cancelled."""
        pause = PAUSE_S
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._changed.wait()
            now = self._state()
            if not self._changed.is_set() and now == self._seen:
                continue
            self._changed.clear()
            self._seen = now
            if not wanted(self._publishing.publisher):
                continue
            with contextlib.suppress(FairleadError):
                await self._publishing.ended()  # it may have read the index before it changed
            try:
                await self._publishing.publish()
                await self._publishing.ended()
            except FairleadError as error:
                get_logger().error(Event.BLIND_NOT_PUBLISHED, error=error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, MAX_PAUSE_S)
                self._changed.set()
            else:
                pause = PAUSE_S
                self._on_published()

    def _state(self) -> tuple[object, ...]:
        """What snapshots follow from besides the index; cheap to read."""
        publisher = self._publishing.publisher
        owner = publisher.owner
        acceptance = owner.gate.acceptance
        return (
            acceptance.digest if acceptance else "",
            owner.policy().serial,
            owner.directory().serial,
            publisher.epochs.at(owner.clock()),
        )


def wanted(publisher: Publisher) -> bool:
    """Whether somebody may ask blind by what was accepted, or something published would have to
    be withdrawn. Without an acceptance nothing is published."""
    acceptance = publisher.owner.gate.acceptance
    if acceptance is None:
        return False
    if any(row.channel.mode == "blind" for row in acceptance.rows):
        return True
    return bool(publisher.shelf.answering(publisher.owner.clock()))

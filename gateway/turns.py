"""Turns at what is dear: one at a time of each partner, and so many in all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from fairlead.errors import Overloaded

P = ParamSpec("P")
T = TypeVar("T")


class Turn:
    """One of them. It lasts as long as its work beside the event loop, also where its caller is
    gone: else whoever hangs up and calls again has any number of threads at work."""

    def __init__(self) -> None:
        self._work: asyncio.Future[Any] | None = None

    async def beside(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do this in a thread."""
        task = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
        self._work = task
        return await asyncio.shield(task)

    def then(self, free: Callable[[], None]) -> None:
        """Do this as soon as no work is under way."""
        if self._work is None or self._work.done():
            free()
        else:
            self._work.add_done_callback(lambda done: _ended(done, free))


class Turns:
    """Turns of partners, however many nodes each has. Whoever is turned away is not on the record:
    nothing of it was looked at, and a leaf each time would be a flood of its own."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken: set[str] = set()

    @contextmanager
    def of(self, partner_id: str) -> Iterator[Turn]:
        """:raises Overloaded: it has its turn already, or others have all of them."""
        if partner_id in self._taken or len(self._taken) >= self._limit:
            raise Overloaded("this gateway is busy", remedy="it is tried again within the hour")
        self._taken.add(partner_id)
        turn = Turn()
        try:
            yield turn
        finally:
            turn.then(lambda: self._taken.discard(partner_id))


def _ended(done: asyncio.Future[Any], free: Callable[[], None]) -> None:
    """Whoever waited for it is gone: what went wrong with it is nobody's to hear."""
    if not done.cancelled():
        done.exception()
    free()

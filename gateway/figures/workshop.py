"""What is being made: begun once, joined by whoever asks for the same, and never left by halves
because an asker went away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from fairlead.errors import Overloaded
from fairlead.summing import Release, Round
from gateway.figures.rounds import Progress

T = TypeVar("T")
UNDER_WAY = 64
"""Releases under way at a time; on the account of each partner a quarter of them."""


@dataclass(slots=True, kw_only=True)
class _Work(Generic[T]):
    """A release under way, and who is told how far it is."""

    partner: str
    told: list[Progress] = field(default_factory=list)
    last: tuple[Round, int, int] | None = None
    task: asyncio.Task[T] = field(init=False)

    def progress(self, round_: Round, answered: int, participants: int) -> None:
        self.last = round_, answered, participants
        for tell in self.told:
            tell(*self.last)

    def join(self, progress: Progress) -> None:
        if self.last is not None:
            progress(*self.last)
        self.told.append(progress)


class Workshop(Generic[T]):
    """Owns what is being made, one piece of work for each release."""

    def __init__(self) -> None:
        self._works: dict[Release, _Work[T]] = {}
        self._closed = False

    async def made(
        self,
        release: Release,
        make: Callable[[Progress], Coroutine[Any, Any, T]],
        *,
        partner: str,
        progress: Progress,
    ) -> T:
        """What comes of making a release: joined where it is under way. Whoever waits may go away,
        and the work goes on.

        :param partner: on whose account it is begun.
        :raises Overloaded: too many are under way; or the gateway stops.
        """
        work = self._works.get(release) or self._begin(release, make, partner)
        work.join(progress)
        try:
            return await asyncio.shield(work.task)
        except asyncio.CancelledError:
            if work.task.cancelled():
                raise _stopping() from None
            raise
        finally:
            work.told.remove(progress)

    def _begin(
        self, release: Release, make: Callable[[Progress], Coroutine[Any, Any, T]], partner: str
    ) -> _Work[T]:
        if self._closed:
            raise _stopping()
        own = sum(work.partner == partner for work in self._works.values())
        if len(self._works) >= UNDER_WAY or own >= UNDER_WAY // 4:
            raise Overloaded(
                "too many figures are being made", remedy="ask again in a minute or two"
            )
        work = self._works[release] = _Work[T](partner=partner)
        work.task = asyncio.create_task(make(work.progress))
        work.task.add_done_callback(lambda task: self._ended(release, task))
        return work

    def _ended(self, release: Release, task: asyncio.Task[T]) -> None:
        del self._works[release]
        if not task.cancelled():
            task.exception()  # it is whoever waits that raises it, if anybody still does

    async def finish(self, within_s: float) -> None:
        """Wait until what is under way has ended, so many seconds at most."""
        if tasks := self._tasks():
            await asyncio.wait(tasks, timeout=within_s)

    async def drain(self) -> None:
        """Begin nothing any more, and abandon what is under way: what is durable of it lets it go
        on after a restart."""
        self._closed = True
        while tasks := self._tasks():
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _tasks(self) -> list[asyncio.Task[T]]:
        return [work.task for work in self._works.values()]


def _stopping() -> Overloaded:
    return Overloaded(
        "this server is about to stop",
        reasons=("DRAINING",),
        remedy="ask again in a minute: the server is being restarted",
    )

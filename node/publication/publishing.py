"""The commands ``blind publish`` and ``blind status`` in a node that runs: begun, then asked about.

A publication takes longer than a command waits. So the command begins it and asks how far it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fairlead.errors import FairleadError
from node.publication.outcome import Line, row_of
from node.publication.process import Progress
from node.publication.publisher import Publisher

Json = dict[str, Any]


class Publishing:
    """What the owner may do with the publications of one node."""

    def __init__(self, publisher: Publisher) -> None:
        self.publisher = publisher
        self._task: asyncio.Task[list[Line]] | None = None
        self._progress: Progress | None = None

    async def publish(self, *, accept_shrunk: bool = False) -> Json:
        """Begin a publication; one that is under way goes on instead."""
        if self._task is None or self._task.done():
            self._progress = None
            self._task = asyncio.create_task(
                self.publisher.publish(accept_shrunk=accept_shrunk, watch=self._watch)
            )
        return {"running": True}

    async def ended(self) -> None:
        """Wait for the publication under way, if there is one.

        :raises FairleadError: it failed.
        """
        if self._task is not None:
            await asyncio.shield(self._task)

    async def status(self) -> Json:
        """What is published now, how far a publication is, and how the last one ended."""
        running = self._task is not None and not self._task.done()
        progress = asdict(self._progress) if running and self._progress else None
        return {
            "running": running,
            "progress": progress,
            "last": None if running or self._task is None else self._ended(self._task),
            "published": self.publisher.report(),
        }

    async def close(self) -> None:
        """End what is under way; what was computed is kept."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _watch(self, progress: Progress) -> None:
        self._progress = progress

    def _ended(self, task: asyncio.Task[list[Line]]) -> Json:
        error = task.exception() if not task.cancelled() else asyncio.CancelledError()
        if error is None:
            return {"error": None, "lines": lines_document(task.result())}
        told = error if isinstance(error, FairleadError) else FairleadError("the node failed")
        return {
            "error": {
                "message": told.message,
                "reasons": list(told.reasons),
                "remedy": told.remedy,
                "exit": told.exit_code,
            },
            "lines": [],
        }


def lines_document(lines: Sequence[Line]) -> list[Json]:
    """What became of each line, as plain JSON."""
    return [row_of(line.manifest, line.state, line.terms) for line in lines]

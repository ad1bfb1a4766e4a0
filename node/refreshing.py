"""Keeping the index fresh while the node serves.

A process of its own reads and writes (:mod:`node.indexing`); this one starts it, listens, and
says what went wrong in the audit log. The readers of this process see each change on their next
lookup.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import orjson

from fairlead.auditlog import AuditLog
from fairlead.config import NodeConfig
from fairlead.errors import FairleadError, SourceUnusable
from fairlead.leaves import LeafWriter
from fairlead.telemetry import Event, get_logger
from node import indexing
from node.index import Index, Progress, SourceState
from node.indexing import Gate, accept_all
from node.sources.mapping import load_mapping

IN_USE = "INDEX_IN_USE"
CRASHED = "REFRESH_CRASHED"
SUBJECT = "index"
STOP_S = 10.0
_LINE = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshState:
    """What the owner may see. ``incident`` is about the index itself, empty when all is well;
    the sources have theirs. ``unreadable`` are mappings that cannot be read, with the code."""

    sources: dict[str, SourceState]
    unreadable: dict[str, str]
    progress: Progress | None
    incident: str
    refreshed_at: float


class Refresher:
    """Refreshes every ``refresh_s``, one refresh at a time, until :meth:`close`."""

    def __init__(
        self,
        config: NodeConfig,
        index: Index,
        log: AuditLog,
        leaves: LeafWriter,
        *,
        clock: Callable[[], float],
        gate: Gate = accept_all,
    ) -> None:
        self._config = config
        self._index = index
        self._log = log
        self._leaves = leaves
        self._clock = clock
        self._gate = gate
        self._incidents: dict[str, str] = {}
        self._unreadable: dict[str, str] = {}
        self._progress: Progress | None = None
        self._refreshed_at = 0.0
        self._root = index.root
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.on_change: list[Callable[[], None]] = []
        """Called after a refresh that changed the content of the index."""

    def start(self) -> None:
        """Begin, with a refresh at once. A node without sources has nothing to refresh."""
        if self._config.sources and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._loop())

    def wake(self) -> None:
        """Refresh now instead of later; a gate that has changed takes effect."""
        self._wake.set()

    def state(self) -> RefreshState:
        """What the index knows of its sources, and what is going on.

        :raises SourceUnusable: ``INDEX_CHANGED``, ``INDEX_UNREADABLE``.
        """
        return RefreshState(
            sources=self._index.sources(),
            unreadable=dict(self._unreadable),
            progress=self._progress,
            incident=self._incidents.get(SUBJECT, ""),
            refreshed_at=self._refreshed_at,
        )

    def lines(self) -> list[dict[str, object]]:
        """One line per source for who looks at the node: name, state, numbers, and since when; of
        an index that answers no more, one line with the reason."""
        try:
            found = self.state()
        except SourceUnusable as error:
            return [{"source": SUBJECT, "state": error.code}]
        known: list[dict[str, object]] = [
            {
                "source": state.name,
                "state": found.unreadable.get(state.name)
                or state.incident
                or ("reading" if self._reads(state.name) else "good"),
                "records": state.records,
                "rows": state.rows,
                "excluded": dict(state.excluded),
                "good_at": int(state.good_at),
                "incident_at": int(state.incident_at) or None,
            }
            for state in found.sources.values()
        ]
        return known + [
            {"source": name, "state": code}
            for name, code in sorted(found.unreadable.items())
            if name not in found.sources
        ]

    def _reads(self, source: str) -> bool:
        return self._progress is not None and self._progress.source == source

    async def close(self) -> None:
        """Stop; a refresh that is under way goes on at its last mark next time."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _loop(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self.refresh()
            except FairleadError as error:  # the audit log: the process is about to stop
                get_logger().error(Event.SOURCE_UNUSABLE, error=error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._config.refresh_s)

    async def refresh(self) -> None:
        """Refresh once, and record what is new: incidents, recoveries, another content.

        :raises FairleadError: the audit log cannot be written.
        """
        accepted = self._accepted()
        found = await self._child(accepted)
        self._progress = None
        code = found.get("error", "")
        if code == IN_USE:
            return  # somebody else is at it
        code = code or self._damage()
        await self._note(SUBJECT, code)
        if code:
            return
        self._refreshed_at = self._clock()
        named = {state["name"]: state["incident"] for state in found["sources"]}
        self._unreadable = {n: c for n, c in found["failures"].items() if not named.get(n)}
        for name, incident in {**named, **self._unreadable}.items():
            await self._note(f"source/{name}", incident)
        await self._record_root()

    def _damage(self) -> str:
        """What keeps the index from answering: another file in its place, or a changed one."""
        try:
            self._index.sources()
        except SourceUnusable as error:
            return error.code
        return ""

    def _accepted(self) -> Collection[str]:
        """Digests of the mappings that the gate lets through, as they are worded now."""
        found = set()
        for path in self._config.sources:
            try:
                mapping = load_mapping(path)
            except FairleadError:
                continue  # the child meets it too, and says which
            if self._gate(mapping):
                found.add(indexing.mapping_digest(mapping))
        return found

    async def _child(self, accepted: Collection[str]) -> dict[str, Any]:
        last: dict[str, Any] = {"error": CRASHED}
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "node.indexing",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_LINE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        except OSError:  # no memory or no process left; the next look at the sources tries again
            return last
        try:
            if process.stdin is None or process.stdout is None:
                return last  # both are pipes
            with contextlib.suppress(OSError):
                process.stdin.write(indexing.order(self._config, accepted))
                await process.stdin.drain()
                process.stdin.close()
            async for line in process.stdout:
                document = orjson.loads(line)
                if "progress" in document:
                    self._progress = Progress(**document["progress"])
                else:
                    last = document
            await process.wait()
        finally:
            await _end(process)
        return last

    async def _note(self, subject: str, code: str) -> None:
        """An incident that begins is an ALARM leaf; one that goes on is not another one."""
        if self._incidents.get(subject, "") == code:
            return
        name = subject.rpartition("/")[2]
        if code:
            get_logger().error(Event.SOURCE_UNUSABLE, code=code, source=name)
            await self._log.append(self._leaves.alarm([code], subject=subject))
            self._incidents[subject] = code
        else:
            get_logger().info(Event.SOURCE_RECOVERED, source=name)
            del self._incidents[subject]

    async def _record_root(self) -> None:
        if self._index.root == self._root:
            return
        self._root = self._index.root
        get_logger().info(Event.INDEX_BUILT, records=self._index.records, root=self._root)
        await record_index(self._log, self._leaves, self._index)
        for tell in self.on_change:
            tell()


async def record_index(log: AuditLog, leaves: LeafWriter, index: Index) -> None:
    """Write down which content answers from now on.

    :raises SourceUnusable: ``INDEX_OLDER``, the log has seen a later generation of it.
    """
    seen = dict(log.read("SELECT subject, serial FROM active")).get(SUBJECT, 0)
    generation, root = index.generation, index.root
    if generation < seen:
        raise SourceUnusable(
            "the index is older than one this node has answered from",
            reasons=("INDEX_OLDER",),
            remedy="find out who replaced it, then: fairlead-node index --anew --config FILE",
        )
    if generation == seen:
        return

    def put(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT OR REPLACE INTO active VALUES (?, ?)", (SUBJECT, generation))

    leaf = leaves.activation(SUBJECT, serial=generation, digest=root)
    await log.append(leaf, also=put)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()

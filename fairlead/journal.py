"""The way of leaves into an audit log from a database that several processes write.

What a command does is one transaction of its own database, and the leaf that records it is part of
that transaction. The process that holds the log moves the leaves over, each once.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead.auditlog import AuditLog
from fairlead.errors import Misconfigured

_MIGRATIONS = ("CREATE TABLE moved (number INTEGER PRIMARY KEY) STRICT",)


class Waiting(Protocol):
    """A database with leaves that wait."""

    def change(self) -> AbstractContextManager[None]:
        """One transaction."""

    def waiting(self) -> list[tuple[int, bytes]]:
        """Leaves that the audit log does not have yet, oldest first, with their numbers."""

    def moved(self, number: int) -> None:
        """Forget a leaf that the audit log has."""


class Journal:
    """The log with the database it drains. One process holds it at a time."""

    def __init__(self, log: AuditLog, source: Waiting) -> None:
        self.log = log
        self._source = source
        self._draining = asyncio.Lock()

    @classmethod
    def open(
        cls,
        path: Path,
        source: Waiting,
        *,
        origin: str,
        key: Ed25519PrivateKey,
        clock: Callable[[], float],
        on_failure: Callable[[], None] | None = None,
    ) -> Journal:
        """Open or create the log.

        :raises Misconfigured: DATABASE_IN_USE: another process serves.
        """
        log = AuditLog.open(
            path,
            origin=origin,
            key=key,
            clock=clock,
            migrations=_MIGRATIONS,
            on_failure=on_failure,
        )
        return cls(log, source)

    async def drain(self) -> None:
        """Append every waiting leaf, each once, also after a crash in between.

        :raises LogUnavailable: the log cannot be written.
        """
        async with self._draining:
            while waiting := self._source.waiting():
                for number, leaf in waiting:
                    if not self.log.read("SELECT 1 FROM moved WHERE number = ?", (number,)):
                        await self.log.append(leaf, also=_mark(number))
                    with self._source.change():
                        self._source.moved(number)

    async def close(self) -> None:
        """Release the log."""
        await asyncio.to_thread(self.log.close)


def _mark(number: int) -> Callable[[sqlite3.Connection], None]:
    def put(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO moved VALUES (?)", (number,))

    return put


async def drain_if_free(open_journal: Callable[[], Journal]) -> bool:
    """Move what waits, unless a serving process holds the log and will do so itself."""
    try:
        journal = open_journal()
    except Misconfigured as error:
        if error.code != "DATABASE_IN_USE":
            raise
        return False
    try:
        await journal.drain()
    finally:
        await journal.close()
    return True

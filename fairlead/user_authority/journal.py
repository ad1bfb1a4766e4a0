"""The authority's audit log, and the way of leaves from the register into it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable

from fairlead import signing
from fairlead.auditlog import AuditLog
from fairlead.errors import Misconfigured
from fairlead.keyfile import private_folder
from fairlead.user_authority.config import AuthorityConfig
from fairlead.user_authority.register import Register

LOG_FILE = "audit.sqlite"
_MIGRATIONS = ("CREATE TABLE moved (number INTEGER PRIMARY KEY) STRICT",)


def origin(config: AuthorityConfig) -> str:
    """Origin line of the authority's log."""
    return f"{config.federation}/partner/{config.partner}/authority"


class Journal:
    """The log with the register it drains. One process holds it at a time."""

    def __init__(self, log: AuditLog, register: Register) -> None:
        self.log = log
        self._register = register
        self._draining = asyncio.Lock()

    @classmethod
    def open(
        cls,
        config: AuthorityConfig,
        register: Register,
        *,
        clock: Callable[[], float],
        on_failure: Callable[[], None] | None = None,
    ) -> Journal:
        """Open or create the log.

        :raises Misconfigured: DATABASE_IN_USE: another process serves.
        """
        log = AuditLog.open(
            private_folder(config.state_dir) / LOG_FILE,
            origin=origin(config),
            key=signing.load_signing_key(config.keys_dir / "log.key"),
            clock=clock,
            migrations=_MIGRATIONS,
            on_failure=on_failure,
        )
        return cls(log, register)

    async def drain(self) -> None:
        """Append every waiting leaf, each once, also after a crash in between.

        :raises LogUnavailable: the log cannot be written.
        """
        async with self._draining:
            while waiting := self._register.waiting():
                for number, leaf in waiting:
                    if not self.log.read("SELECT 1 FROM moved WHERE number = ?", (number,)):
                        await self.log.append(leaf, also=_mark(number))
                    with self._register.change():
                        self._register.moved(number)

    async def close(self) -> None:
        """Release the log."""
        await asyncio.to_thread(self.log.close)


def _mark(number: int) -> Callable[[sqlite3.Connection], None]:
    def put(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO moved VALUES (?)", (number,))

    return put


async def drain_if_free(
    config: AuthorityConfig, register: Register, clock: Callable[[], float]
) -> bool:
    """Move what waits, unless a serving authority holds the log and will do so itself."""
    try:
        journal = Journal.open(config, register, clock=clock)
    except Misconfigured as error:
        if error.code != "DATABASE_IN_USE":
            raise
        return False
    try:
        await journal.drain()
    finally:
        await journal.close()
    return True

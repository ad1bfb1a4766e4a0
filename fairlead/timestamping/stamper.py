"""Gets a token an hour over the log's newest head, if the log has moved; the log never waits for
it.

The response is the detail of a TIMESTAMP leaf, which names the head and the response's digest: both
are durable in one transaction, and whoever verifies the log verifies them with it."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import Awaitable, Callable

from fairlead import metrics
from fairlead.auditlog import AuditLog
from fairlead.config import Timestamps
from fairlead.errors import FairleadError
from fairlead.leaves import LeafWriter
from fairlead.telemetry import Event, get_logger
from fairlead.timestamping.authority import fetch
from fairlead.timestamping.token import load_authorities, request, require_plausible, verify

EVERY_S = 3600.0
RETRY_S = 300.0
"""Seconds until another attempt when one failed."""
SUBJECT = "timestamp"
"""Under which the time of the last token stands in the table of what is active."""

Fetch = Callable[[str, bytes], Awaitable[bytes]]
"""Address and request → response; raises our errors alone."""


class Stamper:
    """Stamps one log. Without ``settings`` there is nothing to do, and it does that."""

    def __init__(
        self,
        settings: Timestamps | None,
        log: AuditLog,
        leaves: LeafWriter,
        *,
        clock: Callable[[], float],
        fetch: Fetch = fetch,
    ) -> None:
        """:raises Misconfigured: TIMESTAMP_CA."""
        self._settings = settings
        self._authorities = load_authorities(settings.ca) if settings else ()
        self._log = log
        self._leaves = leaves
        self._clock = clock
        self._fetch = fetch
        self._stamped = -1
        self._last = 0.0
        self.failing = False

    async def run(self) -> None:
        """Until cancelled."""
        if self._settings is None:
            await asyncio.Event().wait()
        rows = self._log.read("SELECT serial FROM active WHERE subject = ?", (SUBJECT,))
        self._last = float(rows[0][0]) if rows else 0.0
        while True:
            due = self._last + EVERY_S - self._clock()
            if due <= 0:
                await self.attempt()
            await asyncio.sleep(RETRY_S if self.failing else max(1.0, min(due, EVERY_S)))

    async def attempt(self) -> bool:
        """Stamp the newest head unless it is stamped; whether there is a new token. A failure is
        told and counted, and goes no further."""
        head = self._log.head
        if self._settings is None or head.size == self._stamped:
            self._last = self._clock()
            return False
        try:
            await self._stamp(self._settings.url)
        except FairleadError as error:
            self.failing = True
            get_logger().warning(Event.TIMESTAMP_NOT_TAKEN, error=error)
            return False
        self.failing = False
        return True

    async def _stamp(self, url: str) -> None:
        head = self._log.head
        asked = request(head.checkpoint)
        response = await self._fetch(url, asked.octets)
        token = verify(response, head.checkpoint, self._authorities, nonce=asked.nonce)
        now = self._clock()
        require_plausible(token, newest=now, stamped=now)
        leaf = self._leaves.timestamp(
            checkpoint=head.checkpoint, token_digest=hashlib.sha256(response).digest()
        )

        def remember(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO active (subject, serial) VALUES (?, ?) "
                "ON CONFLICT (subject) DO UPDATE SET serial = excluded.serial",
                (SUBJECT, int(now)),
            )

        appended = await self._log.append(leaf, detail=response, also=remember)
        # What moves the log is not its stamp: a log at rest is stamped once.
        self._stamped = appended.index + 1 if appended.index == head.size else -1
        self._last = now
        get_logger().info(Event.TIMESTAMP_TAKEN, size=head.size)

    def gauges(self) -> list[metrics.Gauge]:
        """What Prometheus may read; no age where no authority is configured."""
        failing = "1 while the configured timestamp authority gives no token."
        found = [metrics.Gauge(name="fairlead_timestamp_failing", help=failing, value=self.failing)]
        if self._settings is not None:
            age = "Seconds since the timestamp authority was last asked with success."
            since = self._clock() - self._last
            found.append(
                metrics.Gauge(name="fairlead_timestamp_age_seconds", help=age, value=since)
            )
        return found

"""What a process keeps of its decision records: read in their order, and let go in time."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fairlead.auditlog import AuditLog
from fairlead.auditlog.kept import EXPIRED
from fairlead.errors import FairleadError
from fairlead.leaves import LeafWriter
from fairlead.telemetry import Event, get_logger

DAY_S = 86_400
EXPIRE_EVERY_S = 3600.0
STEP = 10_000
"""Batches let go in one transaction."""
PAGE = 64
ALWAYS = 2**62
"""Milliseconds after all others."""
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A batch on the shelf; ``leaf`` is the index of its leaf."""

    number: int
    octets: bytes
    key_id: bytes
    leaf: int


def span(connection: sqlite3.Connection | AuditLog, since_ms: int, until_ms: int) -> range:
    """Numbers of the batches written from ``since_ms`` until before ``until_ms`` (0: unbounded)."""
    sql = "SELECT min(number), max(number) FROM decision_batch WHERE time_ms >= ? AND time_ms < ?"
    ((first, newest),) = _read(connection, sql, (since_ms, until_ms or ALWAYS))
    return range(0) if first is None else range(first, newest + 1)


def batches(connection: sqlite3.Connection | AuditLog, numbers: range) -> Iterator[Row]:
    """The batches of these numbers, oldest first, a page of them in memory at a time."""
    at = numbers.start
    while at < numbers.stop:
        rows = _read(
            connection,
            "SELECT number, body, key, leaf FROM decision_batch "
            "WHERE number >= ? AND number < ? ORDER BY number LIMIT ?",
            (at, numbers.stop, PAGE),
        )
        if not rows:
            return
        for number, body, key, leaf in rows:
            yield Row(number=number, octets=body, key_id=key, leaf=leaf)
        at = rows[-1][0] + 1


def sealed_key(connection: sqlite3.Connection | AuditLog, key_id: bytes) -> bytes:
    """A content key, sealed to the replay key; empty where it is gone."""
    rows = _read(connection, "SELECT sealed FROM decision_key WHERE id = ?", (key_id,))
    return bytes(rows[0][0]) if rows else b""


def _read(
    connection: sqlite3.Connection | AuditLog, sql: str, parameters: tuple[object, ...]
) -> list[tuple]:  # type: ignore[type-arg]
    if isinstance(connection, AuditLog):
        return connection.read(sql, parameters)
    return connection.execute(sql, parameters).fetchall()


async def expire(log: AuditLog, leaves: LeafWriter, *, before: float) -> None:
    """Delete the batches written before ``before`` (Unix seconds), under a leaf; the newest stays.

    :raises LogUnavailable: the log cannot be written.
    """
    while newest := _last_of(log, int(before * 1000)):
        await log.append(leaves.decision(EXPIRED, batch=newest), also=_letting(newest))


def _last_of(log: AuditLog, before_ms: int) -> int:
    """The last of the batches to be let go in one step; 0 for none."""
    ((number,),) = log.read(
        "SELECT max(number) FROM (SELECT number FROM decision_batch WHERE time_ms < ? AND "
        "number < (SELECT max(number) FROM decision_batch) ORDER BY number LIMIT ?)",
        (before_ms, STEP),
    )
    return int(number or 0)


def _letting(newest: int) -> Callable[[sqlite3.Connection], None]:
    def let(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM decision_batch WHERE number <= ?", (newest,))
        connection.execute(
            "DELETE FROM decision_key WHERE time_ms < "
            "(SELECT min(time_ms) FROM decision_batch) - ?",
            (2 * HOUR_MS,),
        )

    return let


async def keep_house(
    log: AuditLog, leaves: LeafWriter, *, days: int, clock: Callable[[], float]
) -> None:
    """Every hour, until cancelled, let go what is older than so many days."""
    while True:
        try:
            await expire(log, leaves, before=clock() - days * DAY_S)
        except FairleadError as error:
            get_logger().error(Event.DECISIONS_NOT_EXPIRED, error=error)
        await asyncio.sleep(EXPIRE_EVERY_S)

"""What a process keeps of its decision records: read in their order, and let go in time."""

from __future__ import annotations

import asyncio
import hashlib
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

from fairlead.auditlog import Also, AuditLog, Connection, Reading
from fairlead.auditlog.kept import EXPIRED, RECORDED, forged
from fairlead.errors import FairleadError
from fairlead.leaves import LeafWriter
from fairlead.telemetry import Event, get_logger
from fairlead.v1 import audit_pb2
from fairlead.v1 import decisions_pb2 as pb

DAY_S = 86_400
EXPIRE_EVERY_S = 3600.0
STEP = 1_000
"""Batches let go in one transaction."""
PAGE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A batch on the shelf; ``leaf`` is the index of its leaf."""

    number: int
    octets: bytes
    key_id: bytes
    leaf: int


def span(connection: Reading | AuditLog, since_ms: int, until_ms: int) -> range:
    """Numbers of the batches written from ``since_ms`` until before ``until_ms`` (0: unbounded).

    :raises Forged: DECISIONS_FORGED: a batch that was looked at is not the one of its leaf.
    """
    ((first, newest),) = _read(
        connection, "SELECT min(number), max(number) FROM decision_batch", ()
    )
    if first is None:
        return range(0)
    numbers = range(first, newest + 1)

    def time_of(number: int) -> int:
        return _bound_of(connection, number).time_ms

    def begun(moment: int) -> int:
        """The first batch of this time or later: none is earlier than the one before."""
        return numbers.start + bisect_left(numbers, moment, key=time_of)

    start = begun(since_ms) if since_ms else numbers.start
    return range(start, max(start, begun(until_ms) if until_ms else numbers.stop))


def batches(connection: Reading | AuditLog, numbers: range) -> Iterator[Row]:
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


def sealed_key(connection: Reading | AuditLog, key_id: bytes) -> bytes:
    """A content key, sealed to the replay key; empty where it is gone."""
    rows = _read(connection, "SELECT sealed FROM decision_key WHERE id = ?", (key_id,))
    return bytes(rows[0][0]) if rows else b""


def _read(connection: Reading | AuditLog, sql: str, parameters: tuple[object, ...]) -> list[tuple]:  # type: ignore[type-arg]
    if isinstance(connection, AuditLog):
        return connection.read(sql, parameters)
    return connection.execute(sql, parameters).fetchall()


BOUND = (
    "SELECT decision_batch.number, decision_batch.body, leaf.body FROM decision_batch "
    "LEFT JOIN leaf ON leaf.idx = decision_batch.leaf "
)


def _bound_of(connection: Reading | AuditLog, number: int) -> pb.DecisionBatch:
    rows = _read(connection, f"{BOUND} WHERE number = ?", (number,))
    if not rows:
        raise forged(f"the batch of decision records {number} is missing")
    return _bound(*rows[0])


def _bound(number: int, body: bytes, leaf: bytes | None) -> pb.DecisionBatch:
    """What a batch says of itself, if it is the one of its leaf; columns beside it prove nothing.

    :raises Forged: DECISIONS_FORGED.
    """
    named = audit_pb2.AuditLeaf.FromString(leaf or b"")
    digest = hashlib.sha256(body).digest()
    if (named.subject, named.decision_batch, named.detail_digest) != (RECORDED, number, digest):
        raise forged(f"the batch of decision records {number} was changed")
    return pb.DecisionBatch.FromString(body)


async def expire(log: AuditLog, leaves: LeafWriter, *, before: float) -> None:
    """Delete the batches written before ``before`` (Unix seconds), under a leaf; the newest stays.

    :raises LogUnavailable: the log cannot be written.
    :raises Forged: DECISIONS_FORGED: one is not that of its leaf; it stays, and all behind it.
    """
    while True:
        newest, keys = _old(log, int(before * 1000))
        if not newest:
            return
        with suppress(_LetGo):
            await log.append(leaves.decision(EXPIRED, batch=newest), also=_letting(newest, keys))


class _LetGo(Exception):
    """Another gateway of the same log was quicker."""


def _old(log: AuditLog, before_ms: int) -> tuple[int, set[bytes]]:
    """The last of the batches to be let go in one step, 0 for none, and the content keys that only
    these are under: the oldest ones, up to the first that is younger."""
    newest, keys, at = 0, set[bytes](), -1
    for _ in range(0, STEP, PAGE):
        rows = log.read(f"{BOUND} WHERE number > ? ORDER BY number LIMIT ?", (at, PAGE + 1))
        found = [_bound(*row) for row in rows]
        for batch, following in pairwise(found):
            if batch.time_ms >= before_ms:
                return newest, keys
            newest = batch.number
            keys = (keys | {batch.key}) - {following.key}
        if len(rows) <= PAGE:
            break
        at = newest
    return newest, keys


def _letting(newest: int, keys: set[bytes]) -> Also:
    def let(connection: Connection) -> None:
        gone = connection.execute("DELETE FROM decision_batch WHERE number <= ?", (newest,))
        if gone.rowcount == 0:
            raise _LetGo
        connection.executemany(
            "DELETE FROM decision_key WHERE id = ? AND NOT EXISTS "
            "(SELECT 1 FROM decision_batch WHERE decision_batch.key = decision_key.id)",
            [(key,) for key in keys],
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

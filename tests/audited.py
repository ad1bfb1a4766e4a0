"""Logs for tests of the audit log: the same leaves, whatever store they are kept in."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import errors, receipts, signing
from fairlead.auditlog import AuditLog, Connection, DatabaseUrl, LogReport, Place, verify_log
from fairlead.auditlog.dialect import placeholders
from fairlead.v1 import audit_pb2
from tests.postgres import Postgres, postgres

ORIGIN = "gateway.example/log"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = signing.public_bytes(KEY)
SEEN = ("CREATE TABLE seen (id INTEGER PRIMARY KEY) STRICT",)
PATIENCE_S = 5.0

INTENT = audit_pb2.LEAF_TYPE_INTENT
RELEASE = audit_pb2.LEAF_TYPE_RELEASE
OUTCOME = audit_pb2.LEAF_TYPE_OUTCOME
CASE = audit_pb2.LEAF_TYPE_CASE
_NAMES = count(1)


def now() -> float:
    return 1_760_000_000.0


def leaf(number: int, kind: audit_pb2.LeafType.ValueType = CASE, **fields: Any) -> bytes:
    """A canonical leaf of the gateway's log about query ``number``."""
    content: dict[str, Any] = {"type": kind, "query_id": number.to_bytes(16), "log": "gateway/main"}
    return signing.canonical(audit_pb2.AuditLeaf(**(content | fields)))


def release(*numbers: int) -> bytes:
    released = [audit_pb2.ReleasedAnswer(query_id=number.to_bytes(16)) for number in numbers]
    return leaf(0, RELEASE, query_id=b"", released=released)


STORY = [
    leaf(1, INTENT, time_ms=9),
    leaf(2, INTENT, time_ms=5),
    release(1, 2),
    leaf(1, OUTCOME),
    leaf(3, INTENT),
    leaf(4),
]


def open_log(place: Place, **changes: Any) -> AuditLog:
    usual: dict[str, Any] = {
        "origin": ORIGIN, "key": KEY, "clock": now, "migrations": SEEN, "patience_s": PATIENCE_S,
    }  # fmt: skip
    return AuditLog.open(place, **(usual | changes))


def verify(place: Place, known: tuple[receipts.Head, ...] = ()) -> LogReport:
    return verify_log(place, origin=ORIGIN, public_key=PUBLIC, known=known)


async def fill(place: Place, leaves: list[bytes], **changes: Any) -> receipts.Head:
    """Write leaves one commit each and close the log."""
    log = open_log(place, **changes)
    for body in leaves:
        await log.append(body)
    head = log.head
    log.close()
    return head


async def foreign(place: Place, leaves: list[bytes]) -> list[receipts.Head]:
    """The heads of another log after each leaf."""
    log = open_log(place, origin="foreign.example/log")
    heads = []
    for body in leaves:
        await log.append(body)
        heads.append(log.head)
    log.close()
    return heads


def remember(number: int) -> Callable[[Connection], None]:
    """An ``also`` that refuses a number it has seen before."""

    def also(connection: Connection) -> None:
        done = connection.execute("INSERT INTO seen VALUES (?) ON CONFLICT DO NOTHING", (number,))
        if done.rowcount == 0:
            raise errors.Conflict("seen before")

    return also


@contextlib.asynccontextmanager
async def held(log: AuditLog) -> AsyncIterator[asyncio.Task[Any]]:
    """Keep the writer thread busy with one leaf, so that all other appends pile up."""
    entered, leave = threading.Event(), threading.Event()

    def also(_: Connection) -> None:
        entered.set()
        assert leave.wait(30)

    first = asyncio.get_running_loop().create_task(log.append(leaf(0), also=also))
    await asyncio.sleep(0)
    assert entered.wait(30)
    try:
        yield first
    finally:
        leave.set()


async def piled(count: int, start: Callable[[int], Any]) -> list[asyncio.Task[Any]]:
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(start(number)) for number in range(count)]
    await asyncio.sleep(0)
    return tasks


# ── Stores ───────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True, kw_only=True)
class Shelf:
    """Places for logs in one kind of store; somebody with the right to write changes them."""

    folder: Path
    server: Postgres | None = None
    opened: list[AuditLog] = field(default_factory=list)

    def place(self) -> Place:
        """Another empty place."""
        name = f"log{next(_NAMES)}"
        if self.server is None:
            return self.folder / f"{name}.sqlite"
        self.server.run(f"CREATE SCHEMA {name}")
        return DatabaseUrl.parse(f"{self.server.url()}?options=-csearch_path%3D{name}")

    def open(self, place: Place, **changes: Any) -> AuditLog:
        """A log that is closed with the test."""
        log = open_log(place, **changes)
        self.opened.append(log)
        return log

    def change(self, place: Place, *statements: str | tuple[str, Sequence[object]]) -> None:
        """Write into the tables without the log's process."""
        for statement in statements:
            sql, values = (statement, ()) if isinstance(statement, str) else statement
            self.query(place, sql, values)

    def query(self, place: Place, sql: str, values: Sequence[object] = ()) -> list[Any]:
        """Run a statement beside whoever has the log open."""
        if isinstance(place, Path):
            with contextlib.closing(sqlite3.connect(place, isolation_level=None)) as file:
                return file.execute(sql, values).fetchall()
        import psycopg

        with psycopg.connect(place.text, autocommit=True) as session:
            found = session.execute(placeholders(sql).encode(), values)
            return found.fetchall() if found.description else []

    def refuse(self, place: Place) -> None:
        """From now on the store takes no leaf, as one that is full."""
        if self.server is None:
            self.change(
                place,
                "CREATE TRIGGER full BEFORE INSERT ON leaf BEGIN SELECT RAISE(FAIL, 'full'); END",
            )
            return
        self.change(
            place,
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN RAISE EXCEPTION USING ERRCODE = ''53100''; END'",
            "CREATE TRIGGER full_disk BEFORE INSERT ON leaf FOR EACH ROW "
            "EXECUTE FUNCTION full_disk()",
        )

    def heal(self, place: Place) -> None:
        """Undo :meth:`refuse`."""
        if self.server is None:
            self.change(place, "DROP TRIGGER full")
            return
        self.change(place, "DROP TRIGGER full_disk ON leaf", "DROP FUNCTION full_disk()")

    def spelt(self, place: Place) -> str:
        """The place for a command line."""
        return str(place) if isinstance(place, Path) else place.text

    def close(self) -> None:
        """Close every log."""
        for log in self.opened:
            log.close()


@contextlib.contextmanager
def shelf(folder: Path, server: Postgres | None = None) -> Iterator[Shelf]:
    made = Shelf(folder=folder, server=server)
    try:
        yield made
    finally:
        made.close()


@contextlib.contextmanager
def audit_server() -> Iterator[Postgres]:
    """A PostgreSQL that keeps what it acknowledges."""
    with postgres(
        settings={"log_statement": "none", "wal_level": "minimal", "max_wal_senders": "0"}
    ) as running:
        yield running

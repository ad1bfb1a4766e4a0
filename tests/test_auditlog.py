"""The audit log in a SQLite file: one process, and whatever fails is final. What holds for every
store is in conformance/test_audit_store.py."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextvars import Context
from pathlib import Path
from typing import TypeVarTuple, cast

import pytest

from fairlead import errors, receipts
from fairlead.auditlog import AuditLog
from fairlead.auditlog.sqlite_store import SqliteStore
from fairlead.v1 import audit_pb2
from tests.audited import ORIGIN, PUBLIC, held, leaf, open_log, piled, verify

Ts = TypeVarTuple("Ts")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.sqlite"


@pytest.fixture
def log(path: Path) -> Iterator[AuditLog]:
    opened = open_log(path)
    yield opened
    opened.close()


def writing(log: AuditLog) -> sqlite3.Connection:
    """The connection that the log's thread writes with."""
    return cast("SqliteStore", log._writer._store)._database


async def test_another_process_is_refused(path: Path, log: AuditLog) -> None:
    """A second writer of the same log does not start, and the first goes on."""
    with pytest.raises(errors.Misconfigured) as caught:
        open_log(path)
    assert caught.value.code == "DATABASE_IN_USE"
    await log.append(leaf(1))


def test_one_wake_up_per_batch(path: Path) -> None:
    """The writer thread wakes the event loop once a batch, however many callers wait."""

    class CountingLoop(asyncio.SelectorEventLoop):
        calls = 0

        def call_soon_threadsafe(
            self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
        ) -> asyncio.Handle:
            self.calls += 1
            return super().call_soon_threadsafe(callback, *args, context=context)

    async def run(log: AuditLog) -> None:
        async with held(log) as first:
            tasks = await piled(200, lambda number: log.append(leaf(number)))
        await asyncio.gather(first, *tasks)

    log, loop = open_log(path), CountingLoop()
    loop.run_until_complete(run(log))
    loop.close()
    log.close()
    assert loop.calls == 2


def test_a_vanished_event_loop_does_not_break_the_writer(path: Path) -> None:
    """Results for a loop that was closed meanwhile are dropped; the next loop is served."""
    log, leave, entered = open_log(path), threading.Event(), threading.Event()

    def also(_: sqlite3.Connection) -> None:
        entered.set()
        assert leave.wait(30)

    async def abandon() -> None:
        task = asyncio.get_running_loop().create_task(log.append(leaf(1), also=also))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(abandon())
    assert entered.wait(30)
    leave.set()
    assert asyncio.run(log.append(leaf(2))).index == 1
    log.close()


# Faults. -----------------------------------------------------------------------------------------


async def test_a_write_error_is_final(path: Path) -> None:
    """After a file turned read-only every pending and later append fails, and one alarm sounds."""
    alarms: list[int] = []
    log = open_log(path, on_failure=lambda: alarms.append(1))
    await log.append(leaf(0))
    head = log.head
    writing(log).execute("PRAGMA query_only=ON")
    tasks = await piled(600, lambda number: log.append(leaf(number)))
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, errors.LogUnavailable) for result in results)
    writing(log).execute("PRAGMA query_only=OFF")
    with pytest.raises(errors.LogUnavailable):
        await log.append(leaf(1))
    assert not log.healthy
    assert alarms == [1]
    assert log.head == head
    receipts.verify_receipt(log.receipt(0), origin=ORIGIN, public_key=PUBLIC, head=None)
    log.close()
    assert verify(path).size == 1


async def test_a_write_error_inside_also_is_final(log: AuditLog) -> None:
    """A file that fails under ``also`` stops the log: it is no refusal of that entry alone."""

    def also(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA query_only=ON")
        connection.execute("INSERT INTO seen VALUES (1)")

    with pytest.raises(errors.LogUnavailable):
        await log.append(leaf(1), also=also)
    assert not log.healthy


def acknowledged(lines: list[str]) -> dict[int, str]:
    found: dict[int, str] = {}
    for line in lines:
        index, digest = line.split()
        found[int(index)] = digest
    return found


def assert_kept(path: Path, promised: dict[int, str]) -> None:
    """Everything acknowledged is in the log, the log verifies, and it can go on."""
    report = verify(path)
    connection = sqlite3.connect(path)
    stored = {
        index: value.hex() for index, value in connection.execute("SELECT idx, hash FROM leaf")
    }
    connection.close()
    assert promised.items() <= stored.items()
    assert report.size == len(stored)
    log = open_log(path)
    assert asyncio.run(log.append(leaf(1))).index == report.size
    log.close()


def test_a_full_disk_loses_nothing_acknowledged(path: Path) -> None:
    """When the file may not grow, the log stops, tells everybody, and keeps what it promised."""
    output = subprocess.run(
        [sys.executable, "-m", "tests.appender", str(path), "full"],
        cwd=Path(__file__).parents[1],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    *lines, last = output.stdout.splitlines()
    assert last == "failed False 1"
    assert len(lines) > 64
    assert_kept(path, acknowledged(lines))


def test_every_event_and_field_is_classified() -> None:
    """docs/audit-events.md has a row for every leaf type, and a class for every field."""
    text = (Path(__file__).parents[1] / "docs" / "audit-events.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in text.splitlines() if line.count("|") == 5]
    events = {row[1].split("`")[1]: row[2:5] for row in rows if "`" in row[1]}
    types = {name.removeprefix("LEAF_TYPE_") for name, _ in audit_pb2.LeafType.items()}
    assert set(events) == types - {"UNSPECIFIED"}
    fields = {field.name for field in audit_pb2.AuditLeaf.DESCRIPTOR.fields}
    for event, classes in events.items():
        named = [name for cell in classes for name in cell.split("`")[1::2]]
        assert len(named) == len(set(named)), event
        assert {"type", "time_ms", "log"} <= set(named) <= fields, event
    assert fields == {
        name for row in events.values() for cell in row for name in cell.split("`")[1::2]
    }

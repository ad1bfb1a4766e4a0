"""One suite of faults over every store: an append is durable and acknowledged, or it fails."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import psycopg.errors
import pytest

from fairlead import errors, receipts
from fairlead.auditlog import AuditLog, Connection, Place
from fairlead.auditlog.store import Store
from tests.audited import ORIGIN, PUBLIC, Shelf, leaf, open_log, piled, verify

IMPATIENT = 0.2


class Faulty:
    """A store of which one act fails, before or after it was done."""

    def __init__(self, store: Store, act: str, error: Exception, *, done: bool = False) -> None:
        self._store, self._act, self._error, self._done = store, act, error, done

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        return self._failing(found) if name == self._act else found

    def _failing(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def fail(*arguments: object) -> None:
            if self._done:
                act(*arguments)
            raise self._error

        return fail


def broken(log: AuditLog, act: str, *, done: bool = False) -> None:
    """Let one act of a log's store fail as its data do."""
    error: Exception = sqlite3.OperationalError("disk I/O error")
    if log.shared:
        error = psycopg.errors.IoError("could not read block")
    faulty = Faulty(log._writer._store, act, error, done=done)
    log._writer._store = cast("Store", faulty)


@pytest.fixture
def place(logs: Shelf) -> Place:
    return logs.place()


@pytest.mark.parametrize(
    ("act", "done"),
    [("begin", False), ("insert", False), ("checkpoint", True), ("commit", False)],
)
async def test_a_fault_of_the_data_is_final(
    logs: Shelf, place: Place, act: str, done: bool
) -> None:
    """Wherever it strikes, every pending and later append fails, one alarm sounds, nothing of the
    transaction remains, and what was durable is still proved."""
    alarms: list[int] = []
    log = logs.open(place, on_failure=lambda: alarms.append(1))
    await log.append(leaf(0))
    head = log.head
    broken(log, act, done=done)
    tasks = await piled(300, lambda number: log.append(leaf(number)))
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, errors.LogUnavailable) for result in results)
    with pytest.raises(errors.LogUnavailable):
        await log.append(leaf(1))
    assert (log.healthy, alarms, log.head) == (False, [1], head)
    receipts.verify_receipt(log.receipt(0), origin=ORIGIN, public_key=PUBLIC, head=None)
    log.close()
    assert verify(place, (head,)).size == 1
    assert (await logs.open(place).append(leaf(1))).index == 1


async def test_a_commit_that_was_not_heard_of_is_not_acknowledged(
    logs: Shelf, place: Place
) -> None:
    """A transaction that is durable, though its end failed with the data in doubt, is found when
    the log is opened again, and nobody was told."""
    log = logs.open(place)
    await log.append(leaf(0))
    head = log.head
    broken(log, "commit", done=True)
    with pytest.raises(errors.LogUnavailable):
        await log.append(leaf(1))
    assert (log.head, log.healthy) == (head, False)
    log.close()
    again = logs.open(place)
    assert again.head.size == 2
    assert verify(place, (head, again.head)).size == 2


async def test_a_failing_also_of_the_store_is_final(logs: Shelf, place: Place) -> None:
    """What fails under ``also`` as the store's own data do is no refusal of that entry alone."""
    log = logs.open(place)
    error: Exception = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR  # type: ignore[attr-defined]
    if log.shared:
        error = psycopg.errors.DataCorrupted("invalid page")

    def also(connection: Connection) -> None:
        connection.execute("INSERT INTO seen VALUES (1)")
        raise error

    with pytest.raises(errors.LogUnavailable):
        await log.append(leaf(1), also=also)
    assert not log.healthy
    assert log.read("SELECT * FROM seen") == []


async def test_a_store_that_refuses_every_write_stops_the_log(logs: Shelf, place: Place) -> None:
    """A disk that stays full fails every append, one alarm sounds, and once there is space again
    the log goes on where it was."""
    alarms: list[int] = []
    log = logs.open(place, on_failure=lambda: alarms.append(1), patience_s=IMPATIENT)
    await log.append(leaf(0))
    logs.refuse(place)
    tasks = await piled(300, lambda number: log.append(leaf(number)))
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, errors.LogUnavailable) for result in results)
    assert (log.healthy, alarms) == (False, [1])
    assert log.read("SELECT count(*) FROM leaf") == [(1,)]
    log.close()
    logs.heal(place)
    assert (await logs.open(place).append(leaf(1))).index == 1
    assert verify(place).size == 2


async def test_a_failing_alarm_does_not_hang_the_callers(logs: Shelf, place: Place) -> None:
    """When the failure callback itself raises, callers still get their error."""

    def alarm() -> None:
        raise OSError

    log = logs.open(place, on_failure=alarm)
    broken(log, "insert")
    with pytest.raises(errors.LogUnavailable):
        await log.append(leaf(0))


def test_kills_under_load_lose_nothing_acknowledged(logs: Shelf, place: Place) -> None:
    """kill -9 of a process appending from 64 tasks, again and again on one log: every promise is
    kept."""
    promised: dict[int, str] = {}
    for round_number in range(10 if logs.server is None else 4):
        with subprocess.Popen(
            [sys.executable, "-m", "tests.appender", logs.spelt(place), "kill"],
            stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
        ) as process:  # fmt: skip
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(200 + 37 * round_number)]
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read()
        lines += [line for line in rest.splitlines(keepends=True) if line.endswith("\n")]
        for line in lines:
            index, digest = line.split()
            promised[int(index)] = digest
        stored = logs.query(place, "SELECT idx, hash FROM leaf")
        assert promised.items() <= {index: value.hex() for index, value in stored}.items()
        assert verify(place).size == len(stored)
        log = open_log(place)
        assert asyncio.run(log.append(leaf(1))).index == len(stored)
        log.close()

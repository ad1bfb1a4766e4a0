"""A process that serves a log, to be killed: it tells its parent what it promised, as it does.

``python -m tests.faults.appender LOG`` lets tasks write queries in the gateway's order: INTENT,
the fan-out, RELEASE, the byte out, OUTCOME. Every line it prints is one write to a pipe:

``A index hash``   this leaf was acknowledged;
``B query``        the answers to this query left;
``F code``         an append was refused because the log stopped;
``O code``         the log could not be opened;
``T thread``       the thread that writes;
``Z``              everything ended as it should.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import os
import sqlite3
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from fairlead import errors, receipts
from fairlead.auditlog import AuditLog
from fairlead.auditlog import log as log_module
from fairlead.auditlog import writer as writer_module
from fairlead.auditlog.writer import Entry, Writer
from tests.faults import subject

DETAIL = 600
"""Octets of the sealed detail beside an INTENT."""
ANY_TRACER = 0x59616D61, ctypes.c_ulong(2**64 - 1)
"""prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY): where Yama guards, let strace attach."""


def say(*words: object) -> None:
    """One line in one write, so that a kill leaves it out or leaves it whole."""
    os.write(1, " ".join(map(str, words)).encode() + b"\n")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log", type=Path)
    parser.add_argument("--tasks", type=int, default=64)
    parser.add_argument("--queries", type=int, default=0, help="of each task; 0: until killed")
    parser.add_argument("--paused", action="store_true", help="wait for a line before each part")
    parser.add_argument("--synchronous", help="NORMAL: the control of power loss")
    parser.add_argument("--autocheckpoint", type=int, help="pages; the product's if not given")
    parser.add_argument("--early", action="store_true", help="the control: promise, then commit")
    options = parser.parse_args()
    if options.paused:
        ctypes.CDLL(None).prctl(*ANY_TRACER)
        _wait()
    if options.early:
        log_module.Writer = EarlyWriter  # type: ignore[attr-defined, misc]
    try:
        log = subject.open_log(options.log)
    except errors.FairleadError as error:
        say("O", error.code)
        return 0
    try:
        database = subject.database(log)
        if options.synchronous:
            database.execute(f"PRAGMA synchronous={options.synchronous}")
        if options.autocheckpoint:
            database.execute(f"PRAGMA wal_autocheckpoint={options.autocheckpoint}")
        say("T", log._writer._thread.native_id)
        if options.paused:
            _wait()
        asyncio.run(_work(log, options.tasks, options.queries))
    finally:
        log.close()
    say("Z")
    return 0


def _wait() -> None:
    say("R")
    sys.stdin.readline()


async def _work(log: AuditLog, tasks: int, queries: int) -> None:
    await asyncio.gather(*(_ask(log, queries) for _ in range(tasks)))


async def _ask(log: AuditLog, queries: int) -> None:
    """Query after query; a log that stopped has to stay stopped."""
    count = 0
    while not queries or count < queries:
        count += 1
        try:
            await _query(log)
        except errors.LogUnavailable as error:
            say("F", error.code)
            if log.healthy:
                raise AssertionError("the log failed and says that it is healthy") from None


async def _query(log: AuditLog) -> None:
    """One query, in the order that the gateway keeps."""
    query_id, detail = os.urandom(16), os.urandom(DETAIL)
    also = partial(_remember, query_id)
    await _append(log, subject.intent(query_id, detail), detail, also)
    await asyncio.sleep(0)  # The owners are asked, and answer.
    await _append(log, subject.release(query_id))
    say("B", query_id.hex())
    await _append(log, subject.outcome(query_id))


def _remember(query_id: bytes, connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO seen VALUES (?)", (query_id,))


async def _append(
    log: AuditLog,
    leaf: bytes,
    detail: bytes = b"",
    also: Callable[[sqlite3.Connection], None] | None = None,
) -> None:
    appended = await log.append(leaf, detail=detail, also=also)
    say("A", appended.index, appended.leaf_hash.hex())


class EarlyWriter(Writer):
    """The control: it wakes its callers when all is written, and commits after that."""

    _batch: list[Entry] = []  # noqa: RUF012  the writer's thread alone reads and sets it

    def _transact(self, batch: list[Entry]) -> None:
        self._batch = batch
        super()._transact(batch)

    def _store_checkpoint(self, head: receipts.Head) -> None:
        super()._store_checkpoint(head)
        writer_module._wake(self._batch)
        time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main())

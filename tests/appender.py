"""A process that appends to an audit log without end and says what was acknowledged.

``python -m tests.appender PLACE MODE``; PLACE is a file or a ``postgresql://`` address, MODE is
``kill`` (it flushes every line) or ``full`` (its files may soon not grow any more).
"""

from __future__ import annotations

import asyncio
import resource
import sys
from pathlib import Path

from fairlead import errors, signing
from fairlead.auditlog import AuditLog, DatabaseUrl, Place
from fairlead.v1 import audit_pb2
from tests.audited import open_log

WORKERS = 64


async def work(log: AuditLog, worker: int, *, flush: bool) -> None:
    """Append, and print each acknowledged leaf's index and hash."""
    while True:
        body = signing.canonical(
            audit_pb2.AuditLeaf(
                type=audit_pb2.LEAF_TYPE_CASE, log="gateway/main", user="u" * 200,
                term_count=worker,
            )
        )  # fmt: skip
        appended = await log.append(body)
        print(appended.index, appended.leaf_hash.hex(), flush=flush)


async def run(log: AuditLog, place: Place, mode: str) -> list[BaseException | None]:
    """Append from many tasks until the log fails."""
    if mode == "full" and isinstance(place, Path):
        full = Path(f"{place}-wal").stat().st_size + 300_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (full, full))
    tasks = (work(log, number, flush=mode == "kill") for number in range(WORKERS))
    return await asyncio.gather(*tasks, return_exceptions=True)


def main(spelt: str, mode: str) -> None:
    """See the module."""
    place = DatabaseUrl.parse(spelt) if spelt.startswith("postgresql:") else Path(spelt)
    alarms: list[int] = []
    log = open_log(place, on_failure=lambda: alarms.append(1))
    results = asyncio.run(run(log, place, mode))
    assert all(isinstance(result, errors.LogUnavailable) for result in results), results
    print("failed", log.healthy, len(alarms))


if __name__ == "__main__":
    main(*sys.argv[1:])

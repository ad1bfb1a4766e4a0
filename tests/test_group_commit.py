"""How long a transaction of the audit log waits for more appends."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fairlead.auditlog import BATCH
from fairlead.v1 import audit_pb2
from tests.faults import subject

CASE = audit_pb2.LEAF_TYPE_CASE


async def test_a_full_transaction_waits_for_nobody(tmp_path: Path) -> None:
    """Once as many appends wait as a transaction can hold, the rest of the window is not waited."""
    log = subject.open_log(tmp_path / "log.sqlite")
    bodies = [subject.leaf(CASE, number.to_bytes(16)) for number in range(BATCH)]
    try:
        log._writer._window_s = 600.0
        async with asyncio.timeout(60):
            first = asyncio.create_task(log.append(bodies[0]))
            await asyncio.sleep(0)
            while log._writer._queue.qsize():
                await asyncio.sleep(0.01)
            await asyncio.gather(first, *(log.append(body) for body in bodies[1:]))
        assert log.read("SELECT size FROM checkpoint ORDER BY size") == [(0,), (BATCH,)]
    finally:
        log.close()

"""A gateway that falls behind another one of its log."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from fairlead.auditlog import AuditLog
from fairlead.errors import Stale
from fairlead.process import MIGRATIONS, _active
from gateway.abreast import keep_abreast
from tests.audited import leaf, open_log

OWN = {"directory": 4, "policy": 2, "deny-list/operators": 7}


@pytest.fixture
def log(tmp_path: Path) -> Iterator[AuditLog]:
    opened = open_log(tmp_path / "log.sqlite", migrations=MIGRATIONS)
    yield opened
    opened.close()


async def test_what_a_log_has_seen_active_never_goes_back(log: AuditLog) -> None:
    """A gateway that takes up an older list than another one's does not hide the newer."""
    for serial in (5, 4, 6, 5):
        await log.append(leaf(serial), also=_active({"directory": serial}))
    assert log.read("SELECT * FROM active") == [("directory", 6)]


@pytest.mark.parametrize("subject", sorted(OWN))
async def test_a_gateway_that_stays_behind_stops(log: AuditLog, subject: str) -> None:
    """A list or policy that is newer elsewhere for too long ends the one without it."""
    await log.append(leaf(1), also=_active({subject: OWN[subject] + 1}))
    with pytest.raises(Stale) as caught:
        async with asyncio.timeout(10):
            await keep_abreast(log, lambda: OWN, every_s=0.01, grace_s=0.05)
    assert caught.value.code == "GATEWAY_BEHIND"


async def test_a_gateway_that_catches_up_goes_on(log: AuditLog) -> None:
    """Abreast, ahead, and behind for a moment are no reason to stop."""
    own = dict(OWN)
    await log.append(leaf(1), also=_active({"directory": 4, "policy": 1, "entry/customs": 9}))
    watching = asyncio.create_task(keep_abreast(log, lambda: own, every_s=0.01, grace_s=0.2))
    for serial in range(5, 10):
        await log.append(leaf(serial), also=_active({"directory": serial}))
        await asyncio.sleep(0.05)
        own["directory"] = serial
        await asyncio.sleep(0.05)
    assert not watching.done()
    watching.cancel()

"""Ten kill -9 of the gateway under load; ``make faults`` kills it more often."""

from __future__ import annotations

from pathlib import Path

from tests.killed_gateway import kill_repeatedly

KILLS = (
    *("accepted", "asked", "partner", "closed", "answered"),
    *("accepted", "partner", "accepted", "closed", "partner"),
)


async def test_ten_kills_lose_nothing_that_anybody_was_told(tmp_path: Path) -> None:
    """Every leaf acknowledged before a kill -9 is in the log, and no byte is without its leaves."""
    survived = await kill_repeatedly(tmp_path, KILLS)
    assert survived.acked >= len(KILLS)

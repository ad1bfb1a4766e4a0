"""Which partners have not reconciled for too long: silence is said, and can be scraped.

Of a partner with several nodes the one that is silent longest counts: an entry is missing only once
all of them have said so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fairlead.errors import FairleadError
from fairlead.metrics import Gauge
from fairlead.partners import Directories
from fairlead.reconciling import Ledger
from fairlead.telemetry import Event, get_logger
from gateway.reconciled import NodeShelf

OVERDUE_S = 3 * 3_600.0
EVERY_S = 300.0


class Overdue:
    """Watches the partners of the directory. A gateway that has just started gives them time."""

    def __init__(
        self,
        shelf: NodeShelf,
        ledger: Ledger,
        directory: Directories,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._shelf = shelf
        self._ledger = ledger
        self._directory = directory
        self._clock = clock
        self._since = clock()
        self._said: frozenset[str] = frozenset()

    def ages(self) -> dict[str, float]:
        """Partner → seconds since each of its nodes has concluded, or this gateway started."""
        newest, now = self._shelf.newest(), self._clock()
        heard = {
            name: min((newest.get(node.spiffe_id, 0) for node in partner.nodes), default=0)
            for name, partner in self._directory.current.partners.items()
        }
        return {name: max(0.0, now - max(self._since, at / 1000)) for name, at in heard.items()}

    def gauges(self) -> list[Gauge]:
        """For Prometheus."""
        meaning = "Seconds since a partner's node reconciled its log with this one."
        return [
            Gauge(
                name="fairlead_reconciled_age_seconds",
                help=meaning,
                value=age,
                labels=(("partner", partner),),
            )
            for partner, age in sorted(self.ages().items())
        ]

    def look(self) -> frozenset[str]:
        """Say once of each partner that it is overdue, until it is not; returns who is."""
        ages = self.ages()
        late = frozenset(partner for partner, age in ages.items() if age > OVERDUE_S)
        for partner in sorted(late - self._said):
            get_logger().error(Event.RECONCILE_OVERDUE, partner=partner, age_s=int(ages[partner]))
        self._said = late
        return late

    async def watch(self) -> None:
        """Until cancelled; it keeps the ledger near the log's end meanwhile."""
        while True:
            try:
                await asyncio.to_thread(self._ledger.catch_up)
                self.look()
            except FairleadError as error:
                get_logger().error(Event.RECONCILE_NOT_DONE, error=error)
            await asyncio.sleep(EVERY_S)

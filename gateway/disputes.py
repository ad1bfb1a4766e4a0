"""What witnesses hold of this log, under its own signature, that the log contradicts or lacks.

A checkpoint is signed inside the transaction that makes it durable. One that a crash kept from
anybody's eyes may therefore lie on the disk, signed, beside another of its size that stands (ADR
31). So a single witness that holds such a head stops queries for as long as it says so; the log
stops for good once more witnesses hold one than may lie, for then an honest one was shown it.
"""

from __future__ import annotations

from collections.abc import Callable

from fairlead import receipts
from fairlead.auditlog import AuditLog
from fairlead.errors import LogUnavailable
from fairlead.leaves import LeafWriter
from fairlead.partners import Directories, Gateway
from fairlead.receipts import Head
from fairlead.telemetry import Event, get_logger
from gateway.standing import fact

SUBJECT = "witness"
FORKED = "LOG_FORKED"
AGAIN_S = 3_600.0


class Disputes:
    """Which witnesses hold another history of the own log.

    :param clock: unix seconds. :param on_fork: stops the process.
    """

    def __init__(
        self,
        *,
        log: AuditLog,
        leaves: LeafWriter,
        directory: Directories,
        clock: Callable[[], float],
        on_fork: Callable[[], None],
    ) -> None:
        self._log = log
        self._leaves = leaves
        self._directory = directory
        self._clock = clock
        self._on_fork = on_fork
        self._holding: set[str] = set()
        self._told: dict[str, set[tuple[int, bytes]]] = {}
        """Witness → size and root of the heads that are on the record."""
        self._renewed: dict[str, float] = {}
        self.stopped = False
        """Whether the log was proved to be forked, here: for good."""

    @property
    def holding(self) -> frozenset[str]:
        """The witnesses in force that hold another history."""
        return frozenset(self._holding & {*self._directory.current.appointed.witnesses})

    def check(self) -> None:
        """:raises LogUnavailable: LOG_FORKED: a witness says so now, or enough have said so."""
        if self.stopped:
            raise forked()
        if self.holding:
            raise LogUnavailable(
                "a witness holds a checkpoint of this log that the log contradicts or lacks",
                reasons=(FORKED,),
                remedy="compare it with the others: fairlead-node witness; if that witness lies: "
                "fairlead-gateway directory appoint --help",
            )

    def over(self, partner: str) -> None:
        """This witness cosigned the log as it is. What it holds afterwards is on the record again,
        and at most once an hour the same: one that changes its mind each time makes no flood."""
        self._holding.discard(partner)
        now = self._clock()
        if partner in self._told and now - self._renewed.get(partner, -AGAIN_S) >= AGAIN_S:
            self._renewed[partner] = now
            del self._told[partner]

    async def contradicts(self, partner: str, claimed: Head, entry: Gateway) -> bool:
        """Whether a head that a witness holds is of another history; if so, say it on the record.

        1. What stands is asked of whoever writes: a reader may be behind it, and another gateway of
           this log may have shown more than this one knows.
        2. Each such head of a witness is an ALARM leaf with both heads, once until it is over, and
           queries stop meanwhile.
        3. Once more witnesses hold one than may lie, and not one alone, the log stops for good.

        :param claimed: signed by this log. :raises LogUnavailable: it cannot be looked up.
        """
        # 1
        await self._log.follow()
        head = self._log.head
        if claimed.size <= head.size and self._log.root(claimed.size) == claimed.root:
            self.over(partner)
            return False
        # 2
        self._holding.add(partner)
        final = len(self.holding) > max(1, self._directory.current.appointed.tolerated)
        told, shown = self._told.setdefault(partner, set()), (claimed.size, claimed.root)
        if self.stopped or (shown in told and not final):
            return True
        told.add(shown)
        # 3
        self.stopped = final
        get_logger().error(Event.LOG_FORKED, size=claimed.size, partner=partner)
        bare = receipts.own_note(claimed.checkpoint, name=claimed.origin, public_key=entry.log_key)
        leaf = self._leaves.alarm(
            (FORKED,), subject=SUBJECT, checkpoints=(head.checkpoint, bare), partner_id=partner
        )
        await self._log.append(leaf, also=fact("forked", 1) if final else None)
        if final:
            self._on_fork()
        return True


def forked() -> LogUnavailable:
    """The error of a log that has stopped for good."""
    return LogUnavailable(
        "witnesses hold checkpoints of this log that the log contradicts or lacks",
        reasons=(FORKED,),
        remedy="restore the log that was cosigned: fairlead-gateway directory new-origin --help",
    )

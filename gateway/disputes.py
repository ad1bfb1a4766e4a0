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


class Disputes:
    """Which witnesses hold another history of the own log.

    :param on_fork: stops the process.
    """

    def __init__(
        self,
        *,
        log: AuditLog,
        leaves: LeafWriter,
        directory: Directories,
        on_fork: Callable[[], None],
    ) -> None:
        self._log = log
        self._leaves = leaves
        self._directory = directory
        self._on_fork = on_fork
        self._holding: set[str] = set()
        self._told: set[str] = set()
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
        """This witness cosigned the log as it is."""
        self._holding.discard(partner)

    async def contradicts(self, partner: str, claimed: Head, entry: Gateway) -> bool:
        """Whether a head that a witness holds is of another history; if so, say it on the record.

        1. What stands is asked of whoever writes: a reader may be behind it, and another gateway of
           this log may have shown more than this one knows.
        2. The first of a witness is an ALARM leaf with both heads, and queries stop meanwhile.
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
        if self.stopped or (partner in self._told and not final):
            return True
        self._told.add(partner)
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

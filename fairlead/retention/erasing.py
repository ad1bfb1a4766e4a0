"""Carrying an order out, and putting and ending holds: by the process that writes the log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fairlead import signing
from fairlead.auditlog import AuditLog, Connection
from fairlead.auditlog.erased import erase_rows
from fairlead.errors import Conflict
from fairlead.leaves import LeafWriter
from fairlead.retention import holds as held
from fairlead.retention.approving import Approval, Approved
from fairlead.retention.classes import Retention
from fairlead.retention.order import Order, read_order, require_in_force
from fairlead.retention.parts import Left, listed, look
from fairlead.retention.survey import carried_out
from fairlead.v1 import erasure_pb2 as pb


@dataclass(frozen=True, slots=True, kw_only=True)
class Eraser:
    """Erases what two people approved, and nothing else."""

    log: AuditLog
    leaves: LeafWriter
    retention: Callable[[], Retention]
    approved: Approved
    clock: Callable[[], float]
    after: Callable[[Retention], object]
    """Called in a thread once an order is carried out: what lies elsewhere goes too."""

    async def erase(self, data: bytes, first: Callable[[], Awaitable[object]] | None = None) -> int:
        """Carry an order out; one that was carried out before, wholly or in part, is ended.

        1. It is an order for this log, in force, and no younger leaf is among those it names.
        2. Two people approved it who may.
        3. Each of its leaves is the one listed, is due by this log's own reckoning, and not held.
        4. Each part in one transaction: its ERASURE leaf, and the bodies and details gone.
        5. What ``after`` looks after goes. What the database put aside goes with :meth:`scrub`.

        :param first: done before each part, as to put a hold that came meanwhile: the rest stays.
        :returns: how many leaves.
        :raises FairleadError: nothing more was erased.
        """
        order, now = await asyncio.to_thread(read_order, data), self.clock()
        await self.log.follow()
        retention = self.retention()
        done, begun = await asyncio.to_thread(self._done, order)
        if not done.issuperset(order.digests):
            # 1
            require_in_force(order, origin=self.log.origin, retention=retention, now=now)
            # 2
            approvals = self.approved(order.signed, now)
            # 3
            known = frozenset(self._references(self.log.read))
            left = await asyncio.to_thread(
                look, self.log.read, self.log.head.size, order, retention, done=done, begun=begun
            )
            # 4
            for digest, part in left.parts:
                if first:
                    await first()
                require_in_force(
                    order, origin=self.log.origin, retention=retention, now=self.clock()
                )
                await self._erase(order, left, digest, part, approvals, known)
        # 5
        await asyncio.to_thread(self.after, retention)
        return order.count

    async def scrub(self) -> bool:
        """Have the database take away what it put aside of erased leaves.

        :returns: False: somebody reads the log; try again.
        :raises LogUnavailable: LOG_UNREADABLE.
        """
        return await asyncio.to_thread(self.log.scrub)

    async def hold(self, request: pb.HoldRequest) -> None:
        """Begin a hold, or end one; on the record.

        :raises FairleadError: neither.
        """
        if request.ended:
            known = await asyncio.to_thread(held.holds, self.log.read, self.log.head.size)
            if request.ended not in {hold.hold_id for hold in known}:
                raise held.unknown()
            leaf = held.end(request, self.leaves)
            await self.log.append(leaf, also=lambda file: held.drop(file, request.ended))
            return
        leaf, row = held.begin(request, self.leaves)
        await self.log.append(leaf, also=lambda file: held.put(file, row))

    @staticmethod
    def _references(read: Callable[[str], Iterable[Any]]) -> set[bytes]:
        """Ids of the holds beside the log: others than before, and somebody put or ended one."""
        return {bytes(row[0]) for row in read("SELECT id FROM legal_hold")}

    def _done(self, order: Order) -> tuple[set[bytes], bool]:
        """What was erased of an order, and whether by this very order: the leaves say so, and not
        what lies beside them."""
        wanted, bare = set(order.digests), order.bare
        done: set[bytes] = set()
        begun = False
        for carried in carried_out(self.log.read, self.log.head.size):
            if carried.digest in wanted:
                done.add(carried.digest)
                begun = begun or carried.order(self.log.read) == bare
        return done, begun

    async def _erase(
        self,
        order: Order,
        left: Left,
        digest: bytes,
        part: pb.ErasurePart,
        approvals: Sequence[Approval],
        known: frozenset[bytes],
    ) -> None:
        """Step 4."""
        leaves = await asyncio.to_thread(listed, self.log.read, left.size, digest, part)
        detail = signing.canonical(pb.ErasedLeaves(order=order.bare, part=part))
        leaf = self.leaves.erasure(
            leaf_class=order.leaf_class.value,
            until_ms=order.until_ms,
            count=len(leaves),
            held=left.held,
            digest=digest,
            approvals=approvals,
            detail_digest=signing.digest(detail),
        )
        record = (digest, order.leaf_class.value, order.until_ms, int(self.clock() * 1000))

        def also(file: Connection) -> None:
            if self._references(file.execute) != known:
                raise Conflict(
                    "holds were put or ended meanwhile",
                    reasons=("HOLDS_CHANGED",),
                    remedy="hand the order in again",
                )
            erase_rows(file, leaves, record)

        try:
            await self.log.append(leaf, detail=detail, also=also)
        except Conflict as error:
            if error.code != "ERASED_ALREADY":  # by another gateway
                raise
        self.log.forget(index for index, _, _ in leaves)

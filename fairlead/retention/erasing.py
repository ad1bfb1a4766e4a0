"""Carrying an order out, and putting and ending holds: by the process that writes the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fairlead import signing
from fairlead.auditlog import AuditLog, Connection
from fairlead.auditlog.erased import Listed, erase_rows, indexes_of, list_digest, other
from fairlead.errors import Conflict, Refused
from fairlead.leaves import LeafWriter
from fairlead.retention import holds as held
from fairlead.retention.approving import Approval, Approved
from fairlead.retention.classes import Retention
from fairlead.retention.order import Order, read_order, require_in_force
from fairlead.retention.survey import Place, survey
from fairlead.v1 import erasure_pb2 as pb

AGAIN_S = 1.0
"""Between two attempts to scrub, while somebody reads the log."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What one transaction erases."""

    digest: bytes
    wire: pb.ErasurePart
    leaves: Sequence[Listed]


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

    async def erase(self, data: bytes) -> int:
        """Carry an order out; one that was carried out before, wholly or in part, is ended.

        1. It is an order for this log, in force, and no younger leaf is among those it names.
        2. Two people approved it who may.
        3. Each of its leaves is the one listed, is due by this log's own reckoning, and not held.
        4. Each part in one transaction: its ERASURE leaf, and the bodies and details gone.
        5. What the database put aside is taken away, and what ``after`` looks after.

        :returns: how many leaves.
        :raises FairleadError: nothing more was erased.
        """
        order, now = read_order(data), self.clock()
        retention = self.retention()
        done = {bytes(row[0]) for row in self.log.read("SELECT digest FROM erasure")}
        if not done.issuperset(order.digests):
            # 1
            require_in_force(order, origin=self.log.origin, retention=retention, now=now)
            # 2
            approvals = self.approved(order.signed, now)
            # 3
            known = frozenset(self._references(self.log.read))
            parts = await asyncio.to_thread(self._parts, order, retention, done)
            # 4
            for part in parts:
                await self._erase(order, part, approvals, known)
        # 5
        while True:
            if await asyncio.to_thread(self.log.scrub):
                break
            await asyncio.sleep(AGAIN_S)
        await asyncio.to_thread(self.after, retention)
        return order.count

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

    def _parts(self, order: Order, retention: Retention, done: set[bytes]) -> list[_Part]:
        """Step 3. An order that was begun has been looked at as a whole: of the rest it is asked
        whether somebody holds it since."""
        size = self.log.head.size
        in_force = held.holds(self.log.read, size)
        left = [
            (digest, part, indexes_of(part, size))
            for digest, part in zip(order.digests, order.signed.parts, strict=True)
            if digest not in done
        ]
        wanted = {index for _, _, indexes in left for index in indexes}
        found: dict[int, Place] = {}
        for place in survey(self.log.read, size, retention, in_force):
            if place.index in wanted:
                found[place.index] = place
        if len(found) != len(wanted):
            raise other()
        begun = len(left) < len(order.digests)
        for place in found.values():
            due = place.leaf_class is order.leaf_class and place.time_ms < order.until_ms
            if place.held:
                raise Refused(
                    "a leaf of the order is held since it was made",
                    reasons=("LEAF_HELD",),
                    remedy="propose anew, without it: fairlead-node audit propose --help, or "
                    "fairlead-gateway audit propose --help",
                )
            if not (due or begun):
                raise other()
        parts = [
            _Part(digest, part, [found[index].listed for index in indexes])
            for digest, part, indexes in left
        ]
        for one in parts:
            kinds = bytes(kind for _, _, kind in one.leaves)
            if list_digest(one.leaves) != one.digest or kinds != one.wire.types:
                raise other()
        return parts

    async def _erase(
        self,
        order: Order,
        part: _Part,
        approvals: Sequence[Approval],
        known: frozenset[bytes],
    ) -> None:
        """Step 4."""
        detail = signing.canonical(pb.ErasedLeaves(order=order.bare, part=part.wire))
        leaf = self.leaves.erasure(
            leaf_class=order.leaf_class.value,
            until_ms=order.until_ms,
            count=len(part.leaves),
            held=order.held,
            digest=part.digest,
            approvals=approvals,
            detail_digest=signing.digest(detail),
        )
        record = (part.digest, order.leaf_class.value, order.until_ms, int(self.clock() * 1000))

        def also(file: Connection) -> None:
            if self._references(file.execute) != known:
                raise Conflict(
                    "holds were put or ended meanwhile",
                    reasons=("HOLDS_CHANGED",),
                    remedy="hand the order in again",
                )
            erase_rows(file, part.leaves, record)

        try:
            await self.log.append(leaf, detail=detail, also=also)
        except Conflict as error:
            if error.code != "ERASED_ALREADY":  # by another gateway
                raise
        self.log.forget(index for index, _, _ in part.leaves)

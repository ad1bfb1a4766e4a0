"""What this node's log holds, for the partner's own auditors: nothing is shown unread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from typing import TypeVar

from fairlead.auditing import export, reading
from fairlead.auditing.selection import Selection
from fairlead.auditlog import AuditLog
from fairlead.certificates import Identity
from fairlead.errors import CallerError, InvalidInput
from fairlead.leaves import LeafWriter
from fairlead.v1 import audit_pb2
from fairlead.v1 import audit_reading_pb2 as pb

MOST = 10_000
"""Leaves of one answer."""
SCANNED = 250_000
"""Leaves looked at for one answer; its last message says where to go on."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditDesk:
    """Lets auditors read. Each reading, and each refused one, is a leaf before anything else."""

    log: AuditLog
    leaves: LeafWriter

    async def list(
        self, request: pb.ListLeavesRequest, user: Identity
    ) -> AsyncGenerator[pb.ListLeavesResponse, None]:
        """The newest leaves that match.

        :raises InvalidInput: SELECTION or LIMIT. It is on the record.
        """
        async with self._refusals("ListLeaves", user):
            selection = Selection.from_wire(request.selection)
            limit = _limit(request.limit)
        places = await self._record("audit-listed", user, selection)
        shown, next_stop = 0, 0
        steps = reading.newest_first(self.log.read, selection, places)
        scanned = places.stop
        async for rows in _stepped(steps):
            scanned = max(places.start, scanned - reading.STEP)
            page = rows[: limit - shown]
            shown += len(page)
            over = shown == limit or places.stop - scanned >= SCANNED
            if over:
                next_stop = page[-1].index if shown == limit else scanned
            yield pb.ListLeavesResponse(
                leaves=[pb.IndexedLeaf(index=row.index, leaf=row.body) for row in page],
                next=next_stop if next_stop > places.start else 0,
            )
            if over:
                return

    async def show(self, request: pb.ShowLeafRequest, user: Identity) -> pb.ShowLeafResponse:
        """One leaf and its receipt under the newest head.

        :raises NotFound: LEAF_UNKNOWN. :raises InvalidInput: SELECTION. It is on the record.
        """
        async with self._refusals("ShowLeaf", user):
            if len(request.leaf_hash) not in {0, 32} or (request.leaf_hash and request.index):
                raise InvalidInput(
                    "a leaf is named by its index or by its hash",
                    reasons=("SELECTION",),
                    remedy="fairlead audit list",
                )
            index = request.index
            if request.leaf_hash:
                index = await asyncio.to_thread(reading.find, self.log.read, request.leaf_hash)
            if index >= self.log.head.size:
                raise reading.unknown()
        await self._record("audit-shown", user, Selection(first=index, stop=index + 1))
        return pb.ShowLeafResponse(receipt=self.log.receipt(index))

    async def export(
        self, request: pb.ExportLeavesRequest, user: Identity
    ) -> AsyncGenerator[pb.ExportLeavesResponse, None]:
        """A span with everything that proves it.

        :raises InvalidInput: SELECTION. It is on the record.
        """
        async with self._refusals("ExportLeaves", user):
            selection = Selection.from_wire(request.selection)
        places = await self._record("audit-exported", user, selection)
        items = export.responses(
            self.log.read,
            selection,
            places,
            origin=self.log.origin,
            frontier=self.log.frontier(places.start),
        )
        async for item in _stepped(items):
            yield item

    async def timestamps(
        self, request: pb.ListTimestampsRequest, user: Identity
    ) -> AsyncGenerator[pb.ListTimestampsResponse, None]:
        """The newest tokens, each with its leaf.

        :raises InvalidInput: LIMIT. It is on the record.
        """
        async with self._refusals("ListTimestamps", user):
            limit = _limit(request.limit)
        selection = Selection(types=frozenset({audit_pb2.LEAF_TYPE_TIMESTAMP}))
        places = await self._record("timestamps-listed", user, selection)
        async for rows in _stepped(reading.newest_first(self.log.read, selection, places)):
            for row in rows[:limit]:
                ((token,),) = self.log.read("SELECT detail FROM leaf WHERE idx = ?", (row.index,))
                leaf = pb.IndexedLeaf(index=row.index, leaf=row.body)
                yield pb.ListTimestampsResponse(leaf=leaf, token=token)
            limit -= len(rows)
            if limit <= 0:
                return

    async def _record(self, subject: str, user: Identity, selection: Selection) -> range:
        """Write the reading down; the places that it may then see, all from before it."""
        size = self.log.head.size
        places = await asyncio.to_thread(reading.span, self.log.read, selection, size)
        wire = selection.among(places).to_wire()
        await self.log.append(self.leaves.reading(subject, user=user.spiffe_id, selection=wire))
        return places

    def _refusals(self, method: str, user: Identity) -> _Refusals:
        return _Refusals(self.log, self.leaves, f"AuditReadingService.{method}", user)


@dataclass(frozen=True, slots=True)
class _Refusals:
    """What is raised inside is a REFUSAL leaf before it is told."""

    log: AuditLog
    leaves: LeafWriter
    subject: str
    user: Identity

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, CallerError):
            leaf = self.leaves.refusal(error, subject=self.subject, user=self.user.spiffe_id)
            await self.log.append(leaf)


async def _stepped(items: Iterator[T]) -> AsyncGenerator[T, None]:
    """The items, each looked up in a thread: the log's readers must not hold up its queries."""
    end = object()
    while (item := await asyncio.to_thread(next, items, end)) is not end:
        yield item  # type: ignore[misc]


def _limit(limit: int) -> int:
    if not 1 <= limit <= MOST:
        raise InvalidInput(
            "so many leaves are not shown at once",
            reasons=("LIMIT",),
            remedy="fairlead audit list --limit 1000, or: fairlead audit export FILE",
        )
    return limit

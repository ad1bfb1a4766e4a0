"""The head of the gateway's log this partner last accepted: the node as a witness."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Sequence

from fairlead.auditlog import AuditLog, put_foreign_head
from fairlead.auditlog.heads import FOREIGN_HEAD, as_head
from fairlead.errors import Forged
from fairlead.partners import Gateway
from fairlead.receipts import CheckpointFork, Head, open_checkpoint, verify_receipt
from fairlead.reconciling import require_extension
from fairlead.v1 import audit_pb2

RECENT = 16_384
"""Heads remembered: more than arrive while one query is under way."""


class HeadKeeper:
    """Keeps one accepted chain of heads, shared by asking and answering.

    A gateway that shows one history to the owner and another to the asker of the same partner
    is caught here.
    """

    def __init__(self, log: AuditLog, gateway: Gateway) -> None:
        self._log = log
        self._begin(gateway)

    def follow(self, gateway: Gateway) -> None:
        """Keep the heads of this gateway's log from now on; those of another origin stay in the
        file, and what was asked or answered under them is not accepted any more."""
        if gateway.log_origin != self.origin:
            self._begin(gateway)
        self._gateway = gateway

    def _begin(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.head: Head | None = self._log.foreign_head(gateway.log_origin)
        self._durable = self.head
        self._recent: OrderedDict[int, Head] = OrderedDict()
        self._moved = asyncio.Event()
        if self.head is not None:
            self._recent[self.head.size] = self.head

    @property
    def origin(self) -> str:
        """Origin of the log whose heads are kept."""
        return self._gateway.log_origin

    @property
    def size(self) -> int:
        """Size of the accepted head; 0 before first contact."""
        return self.head.size if self.head else 0

    def advance(self, head: Head) -> None:
        """Take over a head verified against :attr:`head`; call before anything is awaited.

        :raises CheckpointFork: another head of its size was seen before.
        """
        self._see(head)
        if head.size >= self.size:
            self.head = head
            self._moved.set()
            self._moved = asyncio.Event()

    async def reach(self, size: int, *, within_s: float) -> None:
        """Wait until the accepted head is of ``size`` at least, so many seconds at most.

        The gateway lets each receipt build on the one it sent before; when one overtakes another
        on the way, the later one is not stale, it is early.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self.size < size:
                    await self._moved.wait()

    def _see(self, head: Head) -> None:
        same = self._recent.setdefault(head.size, head)
        if same.root != head.root:
            raise CheckpointFork(accepted=same.checkpoint, offered=head.checkpoint)
        while len(self._recent) > RECENT:
            self._recent.popitem(last=False)

    def recall(self, head: Head | None) -> None:
        """Take up a head this node accepted before it was restarted: an answer to a question
        asked then starts from it.

        :raises CheckpointFork: another head of its size was seen since.
        """
        if head is not None and head.origin == self.origin:
            self._see(head)

    def persist(self) -> Callable[[sqlite3.Connection], None]:
        """Work for the transaction of a leaf, its last step: make :attr:`head` the durable one.

        No other head ever is: each was verified against the one before it. One that was verified
        against an older head may be of a fork beside this one, and a restart would forget this one.
        Which one is durable the file says: whatever stood there may have been undone with its leaf.
        """
        head = self.head

        def put(connection: sqlite3.Connection) -> None:
            if head is None or head.origin != self.origin:
                return
            row = connection.execute(FOREIGN_HEAD, (head.origin,)).fetchone()
            stored = as_head(head.origin, row) if row is not None else None
            if stored is not None and self._accepted(stored):
                self._durable = stored
                if head.size > stored.size:
                    put_foreign_head(connection, head, after=stored)
                return
            put_foreign_head(connection, head, after=None)

        return put

    def _accepted(self, stored: Head) -> bool:
        """Whether this process verified the head that the file holds, or began with it."""
        known = self._durable, self._recent.get(stored.size)
        return any(k is not None and (k.size, k.root) == (stored.size, stored.root) for k in known)

    def accept(self, receipt: audit_pb2.Receipt, *, asked_from: int) -> Head:
        """Verify a receipt as the asker, who may hold several at once and out of order.

        1. It starts from the head it was asked to start from, which this node accepted earlier;
           0 only when this node had none at the time.
        2. It extends that head.
        3. It agrees with any head of the same size accepted meanwhile.

        It advances the accepted head only when it started from the newest one; the receipt that
        closes a query starts from the head its first receipt proved.

        :param asked_from: size of an accepted head.
        :returns: the head it proves, which later receipts may start from.
        :raises Forged: another start. :raises CheckpointFork: the gateway contradicts itself.
        """
        # 1
        base = self._recent.get(asked_from)
        if receipt.consistency_from < asked_from:
            raise Forged(
                "the gateway's log is shorter than one this node accepted",
                reasons=("LOG_BEHIND", "HEAD_UNKNOWN"),
                remedy="tell the gateway's operator: an older copy of its log is in service",
            )
        if receipt.consistency_from != asked_from or (base is None and asked_from):
            raise Forged("a receipt starts from another head", reasons=("HEAD_UNKNOWN",))
        # 2
        head = verify_receipt(
            receipt,
            origin=self._gateway.log_origin,
            public_key=self._gateway.log_key,
            head=base,
        )
        # 3
        self._see(head)
        if asked_from == self.size:
            self.advance(head)
        return head

    def extend(self, checkpoint: str, proof: Sequence[bytes], *, asked_from: int) -> Head:
        """Verify a head that is shown without a leaf; it binds as one of :meth:`accept` does.

        Where :attr:`head` has moved on from ``asked_from`` meanwhile, nothing connects the two yet.

        :param asked_from: size of the accepted head that ``proof`` starts from; 0 for none.
        :returns: the head. :raises Forged: not signed by the log, or shorter than that head.
        :raises CheckpointFork: the gateway contradicts itself.
        """
        base = self._recent.get(asked_from)
        if base is None and asked_from:
            raise Forged("a checkpoint starts from another head", reasons=("HEAD_UNKNOWN",))
        origin = self._gateway.log_origin
        opened = open_checkpoint(checkpoint, origin, self._gateway.log_key)
        head = Head(origin=origin, size=opened.size, root=opened.root, checkpoint=checkpoint)
        if base is not None:
            if head.size < base.size:
                raise Forged(
                    "the gateway's log is shorter than one this node accepted",
                    reasons=("LOG_BEHIND",),
                    remedy="tell the gateway's operator: an older copy of its log is in service",
                )
            require_extension(base, head, proof)
        self._see(head)
        if asked_from == self.size:
            self.advance(head)
        return head

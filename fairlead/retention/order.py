"""An order to erase leaves: proposed from the log, signed by two people, and carried out as it is.

What is signed are the digests of the very leaves: whoever edits the file spoils it, and what the
log took in meanwhile is not touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fairlead import signing
from fairlead.auditing.reading import Read
from fairlead.auditlog.erased import (
    LIFETIME_S,
    PART,
    SKEW_S,
    list_digest,
    malformed,
    other,
    part_of,
)
from fairlead.errors import NotFound, Refused, Stale
from fairlead.retention.classes import LeafClass, Retention
from fairlead.retention.holds import Hold
from fairlead.retention.survey import due, survey
from fairlead.v1 import erasure_pb2 as pb

DOMAIN = "erasure-order"
MAX_FILE = 16 * 1024 * 1024
MAX_PARTS = 50
"""What is left of a class is another order's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order as it was read. Nothing of it is verified but its form."""

    signed: pb.SignedErasureOrder
    origin: str
    leaf_class: LeafClass
    until_ms: int
    issued_at: int
    count: int
    held: int
    digests: tuple[bytes, ...]

    @property
    def full(self) -> bool:
        """Whether there may be more of the class than it lists."""
        return len(self.digests) == MAX_PARTS

    @property
    def bare(self) -> bytes:
        """The order with its signatures, as it lies beside each of its leaves."""
        return signing.canonical(
            pb.SignedErasureOrder(
                order=self.signed.order, operators=self.signed.operators, users=self.signed.users
            )
        )


def propose(
    read: Read,
    size: int,
    *,
    origin: str,
    retention: Retention,
    holds: Sequence[Hold],
    leaf_class: LeafClass,
    until_ms: int,
    now: float,
) -> bytes:
    """An order over everything of a class from before a moment, not signed yet; over the first
    leaves of it, where one order has no room for all.

    :raises Refused: RETENTION_RUNS: younger leaves would be among them.
    :raises NotFound: NOTHING_DUE.
    """
    require_over(leaf_class, until_ms, retention, now)
    found, held = due(survey(read, size, retention, holds), leaf_class, until_ms)
    if not found:
        raise NotFound(
            "no leaf of this class from before then is left, or all are held",
            reasons=("NOTHING_DUE",),
            remedy="audit retention, of the program that keeps this log",
        )
    found = found[: MAX_PARTS * PART]
    parts = [found[low : low + PART] for low in range(0, len(found), PART)]
    content = pb.ErasureOrder(
        origin=origin,
        leaf_class=leaf_class.value,
        until_ms=until_ms,
        issued_at=int(now),
        count=len(found),
        held=held,
        part_digests=[list_digest(part) for part in parts],
    )
    return signing.canonical(
        pb.SignedErasureOrder(
            order=signing.canonical(content), parts=[part_of(part) for part in parts]
        )
    )


def read_order(data: bytes) -> Order:
    """Read an order's file.

    :raises InvalidInput: it is none.
    """
    signed = signing.parse_canonical(pb.SignedErasureOrder, data, limit=MAX_FILE)
    content = signing.parse_canonical(pb.ErasureOrder, signed.order)
    listed = sum(len(part.types) for part in signed.parts)
    whole = 0 < len(signed.parts) == len(content.part_digests) <= MAX_PARTS
    if not whole or listed != content.count:
        raise malformed()
    return Order(
        signed=signed,
        origin=content.origin,
        leaf_class=LeafClass.parse(content.leaf_class),
        until_ms=content.until_ms,
        issued_at=content.issued_at,
        count=content.count,
        held=content.held,
        digests=tuple(content.part_digests),
    )


def require_derived(order: Order, anew: bytes) -> None:
    """Compare an order with one made of the same log just now, as somebody about to sign it.

    :raises Forged: ERASURE_OTHER: it lists other leaves.
    """
    if read_order(anew).digests != order.digests:
        raise other()


def require_in_force(order: Order, *, origin: str, retention: Retention, now: float) -> None:
    """:raises Forged: ERASURE_OTHER: of another log. :raises Stale: ERASURE_EXPIRED.
    :raises Refused: RETENTION_RUNS: also where it was too early when the order was made."""
    if order.origin != origin:
        raise other()
    if not order.issued_at - SKEW_S <= now < order.issued_at + LIFETIME_S:
        raise Stale(
            "the order is not in force",
            reasons=("ERASURE_EXPIRED",),
            remedy="fairlead-node audit propose --help, or fairlead-gateway audit propose --help",
        )
    require_over(order.leaf_class, order.until_ms, retention, min(now, order.issued_at + 1))


def require_over(leaf_class: LeafClass, until_ms: int, retention: Retention, now: float) -> None:
    """:raises Refused: RETENTION_RUNS."""
    if until_ms > retention.due_before_ms(leaf_class, now):
        raise Refused(
            "leaves of this class from before then are kept for longer",
            reasons=("RETENTION_RUNS",),
            remedy="audit retention, of the program that keeps this log, says since when; "
            "[retention] in its configuration says how long, at least 35 days",
        )

"""The parts of an order: each looked at before any is carried out, then read again one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fairlead.auditing.reading import Read, leaf_of
from fairlead.auditlog.erased import ListDigest, Listed, indexes_of, list_digest, other, spans
from fairlead.errors import Refused
from fairlead.retention.classes import Retention
from fairlead.retention.holds import holds
from fairlead.retention.order import Order
from fairlead.retention.survey import Place, survey
from fairlead.v1 import erasure_pb2 as pb


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What is left to do of an order: digest and list of each part, and how many leaves of the
    class are held and stay; in a log of ``size`` leaves."""

    size: int
    parts: Sequence[tuple[bytes, pb.ErasurePart]]
    held: int


def look(
    read: Read, size: int, order: Order, retention: Retention, *, done: set[bytes], begun: bool
) -> Left:
    """Make sure of every leaf of an order that it is the one listed, due, and not held.

    :param done: digests of parts that are erased.
    :param begun: this very order was looked at as a whole before its first part went. Of what is
        left the class may be another since: it told it by leaves that are gone.
    :raises Forged: ERASURE_OTHER. :raises Refused: LEAF_HELD. :raises InvalidInput: ERASURE_FILE.
    """
    parts = [
        (digest, part)
        for digest, part in zip(order.digests, order.signed.parts, strict=True)
        if digest not in done
    ]
    listing = bytearray(size)  # the number of each leaf's part; an order has few
    for number, (_, part) in enumerate(parts, start=1):
        for index in indexes_of(part, size):
            if listing[index]:
                raise other()
            listing[index] = number
    found = [ListDigest() for _ in parts]
    held = 0
    for place in survey(read, size, retention, holds(read, size)):
        due = place.leaf_class is order.leaf_class and place.time_ms < order.until_ms
        held += due and place.held
        if number := listing[place.index]:
            _require_due(place, order, due=due, begun=begun)
            found[number - 1].add(place.listed)
    # The digest is over the very types, too; a leaf that the survey lacks is gone or never erased.
    for (digest, part), one in zip(parts, found, strict=True):
        if one.count != len(part.types) or one.digest() != digest:
            raise other()
    return Left(size=size, parts=parts, held=held)


def listed(read: Read, size: int, digest: bytes, part: pb.ErasurePart) -> list[Listed]:
    """The leaves of a part.

    :raises Forged: ERASURE_OTHER: they have another digest.
    """
    indexes = indexes_of(part, size)
    kinds = dict(zip(indexes, part.types, strict=True))
    found: list[Listed] = []
    for low, last in spans(indexes):
        rows = read(
            "SELECT idx, hash FROM leaf WHERE idx >= ? AND idx <= ? ORDER BY idx", (low, last)
        )
        found += [(index, bytes(octets), kinds[index]) for index, octets in rows if index in kinds]
    if list_digest(found) != digest:
        raise other()
    return found


def require_listed(read: Read, size: int, order: Order) -> None:
    """Make sure that a log holds what an order lists, of the types and the age that it says; as
    somebody who is about to sign it. What is due and of which class, the log's keeper knows.

    :raises Forged: ERASURE_OTHER, LOG_CORRUPTED. :raises InvalidInput: ERASURE_FILE.
    """
    for digest, part in zip(order.digests, order.signed.parts, strict=True):
        kinds = {index: kind for index, _, kind in listed(read, size, digest, part)}
        for low, last in spans(sorted(kinds)):
            for index, body in read(
                "SELECT idx, body FROM leaf WHERE idx >= ? AND idx <= ?", (low, last)
            ):
                if index in kinds:
                    leaf = leaf_of(body) if body else None
                    if not leaf or leaf.type != kinds[index] or leaf.time_ms >= order.until_ms:
                        raise other()


def _require_due(place: Place, order: Order, *, due: bool, begun: bool) -> None:
    if place.held:
        raise Refused(
            "a leaf of the order is held since it was made",
            reasons=("LEAF_HELD",),
            remedy="propose anew, without it: fairlead-node audit propose --help, or "
            "fairlead-gateway audit propose --help",
        )
    if not (due or (begun and place.time_ms < order.until_ms)):
        raise other()

"""What a log holds of each class and month, what of it is due, and what is held."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from fairlead import signing
from fairlead.auditing.reading import Read, damaged, leaf_of, newest_first
from fairlead.auditing.selection import Selection
from fairlead.auditlog.erased import ERASED, Listed, parse_detail
from fairlead.errors import InvalidInput
from fairlead.retention.classes import LeafClass, Retention, Sorter
from fairlead.retention.holds import Hold, Keeper
from fairlead.v1 import audit_pb2

PAGE = 2_000


@dataclass(frozen=True, slots=True)
class Place:
    """A leaf that can be erased, or will be able to."""

    index: int
    leaf_hash: bytes
    kind: int
    time_ms: int
    leaf_class: LeafClass
    held: bool

    @property
    def listed(self) -> Listed:
        """As it is listed to be erased."""
        return self.index, self.leaf_hash, self.kind


def survey(read: Read, size: int, retention: Retention, holds: Sequence[Hold]) -> Iterator[Place]:
    """Every leaf of the first ``size`` that is ever erased and was not yet, in order.

    A log's first leaf says whose log it is: it stays.

    :raises Forged: LOG_CORRUPTED.
    """
    sorter, keeper = Sorter(retention), Keeper(holds)
    for low in range(0, size, PAGE):
        found = read(
            "SELECT idx, hash, body FROM leaf WHERE idx >= ? AND idx < ? ORDER BY idx",
            (low, min(low + PAGE, size)),
        )
        if len(found) != min(PAGE, size - low):
            raise damaged()
        for index, leaf_hash, body in found:
            if body == b"":
                continue
            leaf = leaf_of(body)
            leaf_class = sorter.take(leaf)
            held = keeper.takes(leaf, leaf_class) if leaf_class else False
            if leaf_class and index:
                yield Place(index, bytes(leaf_hash), leaf.type, leaf.time_ms, leaf_class, held)


def due(places: Iterable[Place], leaf_class: LeafClass, until_ms: int) -> tuple[list[Listed], int]:
    """The leaves of a class from before a moment, without those held; and how many these are."""
    found, held = [], 0
    for place in places:
        if place.leaf_class is leaf_class and place.time_ms < until_ms:
            held += place.held
            if not place.held:
                found.append(place.listed)
    return found, held


def months(places: Iterable[Place], retention: Retention, now: float) -> list[dict[str, Any]]:
    """A row for each class and month (UTC): leaves, when the whole month is over, how many are due
    already, how many are held."""
    found: dict[tuple[LeafClass, str], dict[str, Any]] = {}
    limits = {one: retention.due_before_ms(one, now) for one in LeafClass}
    for place in places:
        month, end = _month(place.time_ms)
        days = (int(now * 1000) - limits[place.leaf_class]) // 86_400_000
        row = found.setdefault(
            (place.leaf_class, month),
            {
                "class": place.leaf_class.value,
                "month": month,
                "leaves": 0,
                "over": f"{end + timedelta(days=days):%Y-%m-%d}",
                "due": 0,
                "held": 0,
            },
        )
        row["leaves"] += 1
        row["held"] += place.held
        row["due"] += place.time_ms < limits[place.leaf_class] and not place.held
    return [found[key] for key in sorted(found, key=lambda key: (key[0].value, key[1]))]


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedOut:
    """An ERASURE leaf that took leaves away: what it says."""

    index: int
    digest: bytes
    detail_digest: bytes
    leaf_class: str
    until_ms: int
    leaves: int
    time_ms: int

    def order(self, read: Read) -> bytes:
        """The order that it was part of, as two people signed it; nothing where the detail beside
        the leaf is not the leaf's."""
        ((detail,),) = read("SELECT detail FROM leaf WHERE idx = ?", (self.index,))
        if signing.digest(bytes(detail)) != self.detail_digest:
            return b""
        try:
            signed, _ = parse_detail(bytes(detail))
        except InvalidInput:
            return b""
        return signing.canonical(signed)


def carried_out(read: Read, size: int) -> Iterator[CarriedOut]:
    """What was erased of the first ``size`` leaves, the newest first; by the leaves, for the table
    beside them is whose the file is.

    :raises Forged: LOG_CORRUPTED.
    """
    selection = Selection(types=frozenset({audit_pb2.LEAF_TYPE_ERASURE}))
    for step in newest_first(read, selection, range(size)):
        for row in step:
            leaf = row.leaf
            if leaf.subject == ERASED:
                yield CarriedOut(
                    index=row.index,
                    digest=leaf.erased_digest,
                    detail_digest=leaf.detail_digest,
                    leaf_class=leaf.erased_class,
                    until_ms=leaf.erased_until_ms,
                    leaves=leaf.erased_count,
                    time_ms=leaf.time_ms,
                )


def erased(read: Read, size: int) -> list[dict[str, Any]]:
    """A row for each ERASURE leaf that took leaves away, the oldest first."""
    return [
        {
            "class": one.leaf_class,
            "before": f"{_month(one.until_ms)[0]}" if one.until_ms else "",
            "leaves": one.leaves,
            "time_ms": one.time_ms,
        }
        for one in reversed(list(carried_out(read, size)))
    ]


def _month(time_ms: int) -> tuple[str, datetime]:
    """A moment's month, and when it ends; what is no time is of the first of all months."""
    try:
        moment = datetime.fromtimestamp(time_ms / 1000, UTC)
        end = (moment.replace(day=1) + timedelta(days=32)).replace(
            day=1, hour=0, minute=0, second=0, microsecond=0
        )
    except (OverflowError, ValueError, OSError):
        return _month(0)
    return f"{moment:%Y-%m}", end

"""What a log holds of each class and month, what of it is due, and what is held."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from fairlead.auditing.reading import Read, damaged, leaf_of
from fairlead.auditlog.erased import Listed
from fairlead.retention.classes import LeafClass, Retention, Sorter
from fairlead.retention.holds import Hold, Keeper

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


def erased(read: Read) -> list[dict[str, Any]]:
    """A row for each ERASURE leaf that took leaves away, the oldest first."""
    rows = read(
        "SELECT leaf_class, until_ms, leaves, time_ms FROM erasure ORDER BY time_ms, digest", ()
    )
    return [
        {
            "class": leaf_class,
            "before": f"{_month(until_ms)[0]}" if until_ms else "",
            "leaves": leaves,
            "time_ms": time_ms,
        }
        for leaf_class, until_ms, leaves, time_ms in rows
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

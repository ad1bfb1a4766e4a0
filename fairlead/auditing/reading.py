"""Leaves as they lie in a log: of the process that serves it, or in its file at rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fairlead import signing
from fairlead.auditing.selection import Selection
from fairlead.errors import FairleadError, Forged, NotFound
from fairlead.receipts import MAX_LEAF
from fairlead.v1 import audit_pb2 as pb

STEP = 512
"""Places looked at with one statement."""
CLOCK_MS = 10 * 60 * 1000
"""A leaf is stamped before it is committed and a clock may step: so far beyond a period's ends its
leaves are looked for."""

Read = Callable[[str, Sequence[object]], Sequence[tuple[Any, ...]]]
"""Runs one statement on what is durable: ``AuditLog.read``, or a file's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A leaf in its place."""

    index: int
    body: bytes
    leaf: pb.AuditLeaf


def span(read: Read, selection: Selection, size: int) -> range:
    """The places where a selection's leaves can be, of the first ``size``; of a period one more on
    each side, which shows whoever reads them that the period ends between.

    The times beside checkpoints are for looking and prove nothing: leaves do.
    """
    first, stop = selection.first, min(selection.stop or size, size)
    if selection.since_ms:
        rows = read(
            "SELECT max(size) FROM checkpoint WHERE size < "
            "(SELECT min(size) FROM checkpoint WHERE time_ms >= ?)",
            (selection.since_ms - CLOCK_MS,),
        )
        later = read(
            "SELECT 1 FROM checkpoint WHERE time_ms >= ? LIMIT 1", (selection.since_ms - CLOCK_MS,)
        )
        first = max(first, (number_of(rows[0][0]) if later else size) - 1)
    if selection.until_ms:
        rows = read(
            "SELECT max(size) FROM checkpoint WHERE time_ms < ?", (selection.until_ms + CLOCK_MS,)
        )
        stop = min(stop, number_of(rows[0][0]) + 1)
    return range(min(first, size), max(min(first, size), stop))


def newest_first(read: Read, selection: Selection, places: range) -> Iterator[list[Row]]:
    """The selected leaves of these places, in steps, the newest first; a step may be empty."""
    for high in range(places.stop, places.start, -STEP):
        low = max(places.start, high - STEP)
        yield list(reversed(rows(read, selection, range(low, high))))


def rows(read: Read, selection: Selection, places: range) -> list[Row]:
    """The selected leaves of at most :data:`STEP` places, in their order; erased ones are none.

    :raises Forged: LOG_CORRUPTED: one of them is no leaf.
    """
    wanted = [_prefix(number) for number in sorted(selection.types)]
    only = f" AND substr(body, 1, 2) IN ({', '.join('?' * len(wanted))})" if wanted else ""
    found = read(
        f"SELECT idx, body FROM leaf WHERE idx >= ? AND idx < ?{only} ORDER BY idx",  # noqa: S608
        (places.start, places.stop, *wanted),
    )
    whole = [(index, body) for index, body in found if body != b""]
    made = [Row(index=index, leaf=leaf_of(body), body=body) for index, body in whole]
    return [row for row in made if selection.takes(row.leaf)]


def leaf_of(body: object) -> pb.AuditLeaf:
    """A leaf out of a log.

    :raises Forged: LOG_CORRUPTED.
    """
    try:
        if isinstance(body, bytes):
            return signing.parse_canonical(pb.AuditLeaf, body, limit=MAX_LEAF)
    except FairleadError:
        pass
    raise damaged()


def damaged() -> Forged:
    """The error for a log that is none, or not one any more."""
    return Forged(
        "the log cannot be read", reasons=("LOG_CORRUPTED",), remedy="fairlead audit verify FILE"
    )


def number_of(value: object) -> int:
    """A size or index out of a log; nothing is 0.

    :raises Forged: LOG_CORRUPTED: something else than a number.
    """
    if value is None or isinstance(value, int):
        return value or 0
    raise damaged()


def find(read: Read, leaf_hash: bytes) -> int:
    """The place of the leaf with this hash.

    :raises NotFound: LEAF_UNKNOWN.
    """
    found = read("SELECT idx FROM leaf WHERE hash = ?", (leaf_hash,))
    if not found:
        raise unknown()
    return number_of(found[0][0])


def unknown() -> NotFound:
    """The error for a leaf that is not there."""
    return NotFound(
        "the log has no such leaf", reasons=("LEAF_UNKNOWN",), remedy="fairlead audit list"
    )


def _prefix(number: int) -> bytes:
    """The first octets of every leaf of a type: canonical octets begin with the field of the
    lowest number, which is the type."""
    return pb.AuditLeaf(type=number).SerializeToString()  # type: ignore[arg-type]

"""The heads of other logs that this process accepted, kept in its own log's file."""

from __future__ import annotations

from typing import Any

from fairlead import receipts
from fairlead.auditlog.store import Connection

FOREIGN_HEAD = "SELECT size, root, note FROM foreign_head WHERE origin = ?"


def as_head(origin: str, row: tuple[Any, ...]) -> receipts.Head:
    """A row of :data:`FOREIGN_HEAD`."""
    size, root, note = row
    return receipts.Head(origin=origin, size=size, root=root, checkpoint=note)


def put_foreign_head(
    connection: Connection, head: receipts.Head, *, after: receipts.Head | None
) -> None:
    """Persist a newly verified head of another log; call it inside ``also``.

    Compare and set: two receipts verified at the same time against the same older head need not
    agree with each other, so the second must prove its consistency with the first.

    :param after: the head that ``head`` was verified against.
    :raises CheckpointStale: another head was accepted meanwhile.
    :raises CheckpointFork: ... of the same size, with another root.
    """
    row = connection.execute(FOREIGN_HEAD, (head.origin,)).fetchone()
    if row is not None:
        stored = as_head(head.origin, row)
        if stored.size == head.size:
            if stored.root != head.root:
                raise receipts.CheckpointFork(accepted=stored.checkpoint, offered=head.checkpoint)
            return
        moved = after is None or (stored.size, stored.root) != (after.size, after.root)
        if moved or stored.size > head.size:
            raise receipts.CheckpointStale(stored.size)
    elif after is not None:
        raise receipts.CheckpointStale(0)
    connection.execute(
        "INSERT INTO foreign_head (origin, size, root, note) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (origin) DO UPDATE "
        "SET size = excluded.size, root = excluded.root, note = excluded.note",
        (head.origin, head.size, head.root, head.checkpoint),
    )

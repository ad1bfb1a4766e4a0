"""Deleting what may no longer be held, in short transactions; the file's space is used again."""

from __future__ import annotations

from collections.abc import Callable

from node.index.source_state import PartState
from node.index.tables import Tables

SWEEP_S = 6 * 3600
"""Between two searches of one part for records whose retention is over."""
SWEEP_ROWS = 5_000
_NEVER = PartState(number=0).first_expiry


def sweep_part(tables: Tables, part: PartState, now: float, save: Callable[[], None]) -> int:
    """Delete the records of a part whose retention is over; returns how many.

    :param save: called inside each transaction, to put the part's state beside its records.
    """
    place, gone, first = b"", 0, _NEVER
    while True:
        rows = tables.connection.execute(
            "SELECT key, expires FROM record WHERE part = ? AND key > ? ORDER BY key LIMIT ?",
            (part.number, place, SWEEP_ROWS),
        ).fetchall()
        expiries = {key: tables.codec.unmask(key, masked) for key, masked in rows}
        due = [key for key, expires in expiries.items() if expires <= now]
        first = min([first, *(e for e in expiries.values() if e > now)])
        last = len(rows) < SWEEP_ROWS
        if due or last:
            with tables.transaction():
                for key in due:
                    tables.delete_record(part.number, key)
                part.records -= len(due)
                if last:
                    part.first_expiry, part.swept_at = first, now
                save()
        gone += len(due)
        if last:
            return gone
        place = rows[-1][0]


def empty_part(tables: Tables, part: PartState, save: Callable[[], None]) -> None:
    """Delete every record of a part."""
    while keys := tables.connection.execute(
        "SELECT key FROM record WHERE part = ? LIMIT ?", (part.number, SWEEP_ROWS)
    ).fetchall():
        with tables.transaction():
            for (key,) in keys:
                tables.delete_record(part.number, key)
            part.records -= len(keys)
            save()

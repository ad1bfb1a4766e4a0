"""How far a node has reconciled, in its log's own file: it moves with the leaf that says so."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fairlead.auditlog import AuditLog
from fairlead.receipts import Head
from fairlead.reconciling import Raised
from fairlead.reconciling.raised import MIGRATION

MIGRATIONS = (
    MIGRATION,
    """
    CREATE TABLE reconciling (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        next INTEGER NOT NULL,
        size INTEGER NOT NULL,
        gateway_origin TEXT NOT NULL,
        gateway_next INTEGER NOT NULL,
        excused INTEGER NOT NULL,
        even_ms INTEGER NOT NULL,
        settled_size INTEGER NOT NULL,
        settled_root BLOB NOT NULL,
        settled_note TEXT NOT NULL,
        settled_ms INTEGER NOT NULL,
        at_ms INTEGER NOT NULL
    ) STRICT
    """,
)
_COLUMNS = (
    "next, size, gateway_origin, gateway_next, excused, even_ms, settled_size, settled_root, "
    "settled_note, settled_ms, at_ms"
)
_PUT = f"""
    INSERT INTO reconciling (one, {_COLUMNS}) VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (one) DO UPDATE SET next = excluded.next, size = excluded.size,
        gateway_origin = excluded.gateway_origin, gateway_next = excluded.gateway_next,
        excused = excluded.excused, even_ms = excluded.even_ms,
        settled_size = excluded.settled_size,
        settled_root = excluded.settled_root, settled_note = excluded.settled_note,
        settled_ms = excluded.settled_ms, at_ms = excluded.at_ms
"""  # noqa: S608  only names of columns
WEEK_MS = 7 * 86_400_000
"""How long ``status`` goes on warning of an incident."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """``next``: the own leaf to list from. ``size``: of the own log when the gateway was last shown
    it. ``gateway_next``: the gateway's leaf it was told up to. ``excused``: the gateway's leaves
    that this log may lack, because it lost its tail. ``even_ms``: when both ends had told all.
    ``settled``: the gateway's head it believed at ``settled_ms``; witnesses have had time for it
    since, or get it."""

    next: int = 0
    size: int = 0
    gateway_next: int = 0
    excused: int = 0
    even_ms: int = 0
    settled: Head | None = None
    settled_ms: int = 0
    at_ms: int = 0


def state_of(log: AuditLog, gateway_origin: str) -> State:
    """How far this node has come; of another log of the gateway it was told nothing yet."""
    rows = log.read(f"SELECT {_COLUMNS} FROM reconciling")  # noqa: S608
    if not rows:
        return State()
    end, size, origin, gateway_next, excused, even_ms, *rest = rows[0]
    settled_size, root, note, settled_ms, at_ms = rest
    if origin != gateway_origin:
        return State(next=end, size=size, at_ms=at_ms, even_ms=even_ms)
    settled = Head(origin=origin, size=settled_size, root=bytes(root), checkpoint=note)
    return State(
        next=end,
        size=size,
        gateway_next=gateway_next,
        excused=excused,
        even_ms=even_ms,
        settled=settled,
        settled_ms=settled_ms,
        at_ms=at_ms,
    )


def put_state(state: State, believed: Head) -> Callable[[sqlite3.Connection], None]:
    """For the transaction of the leaf that concludes, over the gateway's head that is believed."""
    settled = state.settled or believed

    def put(connection: sqlite3.Connection) -> None:
        connection.execute(
            _PUT,
            (
                state.next, state.size, settled.origin, state.gateway_next, state.excused,
                state.even_ms, settled.size, settled.root, settled.checkpoint, state.settled_ms,
                state.at_ms,
            ),
        )  # fmt: skip

    return put


def last_told(log: AuditLog, now: float) -> Mapping[str, Any]:
    """For ``status``: when both logs agreed last, or an incident was recorded, in Unix seconds, and
    the codes of what was raised in the last week or stands."""
    rows = log.read("SELECT even_ms FROM reconciling")
    return {
        "at": rows[0][0] // 1000 or None if rows else None,
        "incidents": Raised(log).since(int(now * 1000) - WEEK_MS),
    }

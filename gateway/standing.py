"""How the gateway's log stands with its witnesses: what of it is cosigned, and since when not.

It is read from the log's own database, by the process that serves it and by ``status`` beside it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairlead import quorum
from fairlead.partners import Directory

LATE_S = 15 * 60.0
"""Seconds without a quorum after which the gateway is not quite ready any more ..."""
OVERDUE_S = 4 * 3600.0
"""... and after which it refuses new queries."""

MIGRATIONS = (
    """
    CREATE TABLE witness_head (
        partner_id TEXT PRIMARY KEY,
        size INTEGER NOT NULL,
        note TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE cosigned (
        id INTEGER PRIMARY KEY,
        size INTEGER NOT NULL,
        note TEXT NOT NULL,
        time_ms INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE witness_fact (
        name TEXT PRIMARY KEY,
        value INTEGER NOT NULL
    )
    """,
)
"""What each witness cosigned last, with its own line; the newest note with a quorum; and since when
a quorum is possible at all (``possible_since``), and whether this log was forked (``forked``)."""

Read = Callable[[str, Sequence[object]], list[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a log stands with its witnesses. ``size`` is that of the newest cosigned checkpoint,
    ``behind_since`` when the first checkpoint beyond it was signed (unix seconds, 0: none is)."""

    possible: bool
    size: int
    behind_since: float
    heads: Mapping[str, int]
    forked: bool = False

    def late_s(self, now: float) -> float:
        """Seconds without a quorum for what was written; 0 where none is possible or needed."""
        return max(0.0, now - self.behind_since) if self.possible and self.behind_since else 0.0

    def told(self, now: float) -> str:
        """How it stands, in words for an operator."""
        if self.forked:
            return "forked: the log has stopped"
        if not self.possible:
            return "no quorum is possible"
        late = self.late_s(now)
        if late >= OVERDUE_S:
            return "overdue: queries are refused"
        return "late" if late >= LATE_S else "in force"


def standing(read: Read, directory: Directory) -> Standing:
    """Read how a log stands, also beside the process that writes it.

    :param read: runs one query on what is durable.
    """
    heads: dict[str, int] = dict(read("SELECT partner_id, size FROM witness_head", ()))
    rows = read("SELECT size FROM cosigned WHERE id = 0", ())
    size = int(rows[0][0]) if rows else 0
    facts: dict[str, int] = dict(read("SELECT name, value FROM witness_fact", ()))
    beyond = read("SELECT time_ms FROM checkpoint WHERE size > ? ORDER BY size LIMIT 1", (size,))
    possible = quorum.possible(directory)
    behind = max(beyond[0][0], facts.get("possible_since", 0)) if beyond else 0
    return Standing(
        possible=possible,
        size=size,
        behind_since=behind / 1000,
        heads=heads,
        forked=bool(facts.get("forked")),
    )


def putting(
    rows: Sequence[tuple[str, int, str]], kept: tuple[int, str, int] | None
) -> Callable[[sqlite3.Connection], None]:
    """Work that keeps what witnesses cosigned last: partner, size and note with its line.

    :param kept: size, note and time (unix milliseconds) of a checkpoint that a quorum cosigned.
    """

    def put(connection: sqlite3.Connection) -> None:
        for row in rows:
            connection.execute(
                "INSERT INTO witness_head VALUES (?, ?, ?) ON CONFLICT (partner_id) DO UPDATE "
                "SET size = excluded.size, note = excluded.note "
                "WHERE excluded.size >= witness_head.size",
                row,
            )
        if kept is not None:
            connection.execute(
                "INSERT INTO cosigned VALUES (0, ?, ?, ?) ON CONFLICT (id) DO UPDATE "
                "SET size = excluded.size, note = excluded.note, time_ms = excluded.time_ms "
                "WHERE excluded.size >= cosigned.size",
                kept,
            )

    return put


def fact(name: str, value: int | None) -> Callable[[sqlite3.Connection], None]:
    """Work that keeps a fact; None forgets it."""

    def put(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM witness_fact WHERE name = ?", (name,))
        if value is not None:
            connection.execute("INSERT INTO witness_fact VALUES (?, ?)", (name, value))

    return put

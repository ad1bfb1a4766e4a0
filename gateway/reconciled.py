"""What a gateway remembers of the nodes it reconciles with, in its log's own file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from fairlead.auditlog import AuditLog
from fairlead.errors import Stale
from fairlead.reconciling import Exchange, Incident, Pair
from fairlead.reconciling.raised import MIGRATION

MIGRATIONS = (
    MIGRATION,
    """
    CREATE TABLE reconciled_node (
        node TEXT PRIMARY KEY,
        partner TEXT NOT NULL,
        next INTEGER NOT NULL,
        began_ms INTEGER NOT NULL,
        size INTEGER NOT NULL,
        root BLOB NOT NULL,
        note TEXT NOT NULL,
        gateway_next INTEGER NOT NULL,
        gateway_first INTEGER NOT NULL,
        excused INTEGER NOT NULL,
        met INTEGER NOT NULL,
        at_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE reconcile_missed (
        identity BLOB NOT NULL,
        node TEXT NOT NULL,
        time_ms INTEGER NOT NULL,
        PRIMARY KEY (identity, node)
    ) STRICT, WITHOUT ROWID
    """,
)
_COLUMNS = "next, began_ms, size, root, note, gateway_next, gateway_first, excused, met, at_ms"
_PUT = f"""
    INSERT INTO reconciled_node (node, partner, {_COLUMNS})
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (node) DO UPDATE SET partner = excluded.partner, next = excluded.next,
        began_ms = excluded.began_ms, size = excluded.size, root = excluded.root,
        note = excluded.note, gateway_next = excluded.gateway_next,
        gateway_first = excluded.gateway_first, excused = excluded.excused, met = excluded.met,
        at_ms = excluded.at_ms
"""  # noqa: S608  only names of columns
_MISSED = """
    INSERT INTO reconcile_missed (identity, node, time_ms) VALUES (?, ?, ?)
    ON CONFLICT (identity, node) DO NOTHING
"""
MISSED_MS = 30 * 86_400_000
"""How long it is remembered which node of a partner that has several does not know an entry."""
Put = Callable[[sqlite3.Connection], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One node as it was last seen: ``next`` is the leaf of its log that its next statement must
    not begin behind; ``size``, ``root`` and ``note`` the head of its log; ``gateway_next`` the leaf
    of the gateway's log from which it has not been told, ``gateway_first`` the one from which it
    may be told again: a node that lost the leaf of its last reconciliation lost nothing else."""

    next: int
    began_ms: int
    size: int
    root: bytes
    note: str
    gateway_next: int
    gateway_first: int
    excused: int
    met: int
    at_ms: int

    def told_from(self, wanted: int) -> int:
        """Where this gateway's list begins for a node that wants it from ``wanted`` on."""
        return max(min(self.gateway_next, wanted), self.gateway_first)


class NodeShelf:
    """Reads it; changes go with a leaf's transaction."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log

    def of(self, node: str) -> Known | None:
        """A node that has concluded before."""
        rows = self._log.read(
            f"SELECT {_COLUMNS} FROM reconciled_node WHERE node = ?",  # noqa: S608
            (node,),
        )
        return _known(rows[0]) if rows else None

    def newest(self) -> dict[str, int]:
        """Partner → when one of its nodes concluded last, in Unix milliseconds."""
        rows = self._log.read("SELECT partner, max(at_ms) FROM reconciled_node GROUP BY partner")
        return {str(partner): int(at_ms) for partner, at_ms in rows}

    def everywhere(self, incident: Incident, node: str, others: Collection[str]) -> bool:
        """Whether each of a partner's other nodes lacks this entry too."""
        rows = self._log.read(
            "SELECT node FROM reconcile_missed WHERE identity = ?", (incident.identity,)
        )
        return set(others) - {node} <= {str(row[0]) for row in rows}


def put_known(pair: Pair, known: Known, *, after_ms: int) -> Put:
    """For the transaction of the leaf that concludes.

    :param after_ms: when it concluded last, as this reconciliation began; 0 for never. The work
        raises Stale when another one came in between, at this gateway or at one beside it.
    """
    row = (
        pair.node, pair.partner_id, known.next, known.began_ms, known.size, known.root, known.note,
        known.gateway_next, known.gateway_first, known.excused, known.met, known.at_ms,
    )  # fmt: skip

    def put(connection: sqlite3.Connection) -> None:
        found = connection.execute(
            "SELECT at_ms FROM reconciled_node WHERE node = ?", (pair.node,)
        ).fetchone()
        if (found[0] if found else 0) != after_ms:
            raise Stale("another reconciliation came first", reasons=("RECONCILE_BINDING",))
        connection.execute(_PUT, row)

    return put


def put_missed(found: Exchange, *, now_ms: int) -> Put:
    """For the same transaction: what this node of several does not know; another may."""

    def put(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM reconcile_missed WHERE time_ms < ?", (now_ms - MISSED_MS,))
        for item in found.judgement.incidents:
            if item.absent_from == "node":
                row = (item.identity, found.statement.pair.node, now_ms)
                connection.execute(_MISSED, row)

    return put


def _known(row: tuple[Any, ...]) -> Known:
    end, began_ms, size, root, note, gateway_next, gateway_first, excused, met, at_ms = row
    return Known(
        next=end,
        began_ms=began_ms,
        size=size,
        root=bytes(root),
        note=note,
        gateway_next=gateway_next,
        gateway_first=gateway_first,
        excused=excused,
        met=met,
        at_ms=at_ms,
    )

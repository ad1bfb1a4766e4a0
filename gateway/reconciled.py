"""What a gateway remembers of the nodes it reconciles with, in its log's own file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from fairlead.auditlog import AuditLog
from fairlead.errors import Stale
from fairlead.partners import Partner
from fairlead.receipts import Head
from fairlead.reconciling import Exchange, Incident
from fairlead.reconciling.raised import MIGRATION

MIGRATIONS = (
    MIGRATION,
    """
    CREATE TABLE reconciled_node (
        node TEXT PRIMARY KEY,
        partner TEXT NOT NULL,
        next INTEGER NOT NULL,
        size INTEGER NOT NULL,
        root BLOB NOT NULL,
        note TEXT NOT NULL,
        gateway_next INTEGER NOT NULL,
        gateway_first INTEGER NOT NULL,
        excused INTEGER NOT NULL,
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
_COLUMNS = "node, partner, next, size, root, note, gateway_next, gateway_first, excused, at_ms"
_PUT = f"""
    INSERT INTO reconciled_node ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (node) DO UPDATE SET partner = excluded.partner, next = excluded.next,
        size = excluded.size, root = excluded.root, note = excluded.note,
        gateway_next = excluded.gateway_next, gateway_first = excluded.gateway_first,
        excused = excluded.excused, at_ms = excluded.at_ms
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

    node: str
    partner: str
    next: int
    size: int
    root: bytes
    note: str
    gateway_next: int
    gateway_first: int
    excused: int
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

    def replaced(self, partner: Partner) -> Known | None:
        """The last to conclude of a partner's nodes that the directory lists no more: the one that
        a node which has never concluded is in the place of. Whoever begins again under another name
        begins where that one ended."""
        listed = {node.spiffe_id for node in partner.nodes}
        rows = self._log.read(
            f"SELECT {_COLUMNS} FROM reconciled_node WHERE partner = ? ORDER BY at_ms DESC",  # noqa: S608
            (partner.partner_id,),
        )
        former = [known for known in map(_known, rows) if known.node not in listed]
        return former[0] if former else None

    def newest(self) -> dict[str, int]:
        """Node → when it concluded last, in Unix milliseconds."""
        rows = self._log.read("SELECT node, at_ms FROM reconciled_node")
        return {str(node): int(at_ms) for node, at_ms in rows}

    def everywhere(self, incident: Incident, node: str, others: Collection[str]) -> bool:
        """Whether each of a partner's other nodes lacks this entry too."""
        rows = self._log.read(
            "SELECT node FROM reconcile_missed WHERE identity = ?", (incident.identity,)
        )
        return set(others) - {node} <= {str(row[0]) for row in rows}


def moved(found: Exchange, head: Head, known: Known | None, now_ms: int) -> Known:
    """What a gateway knows now. What was told again once is not told again: a node that wants the
    same each time would never hear the rest."""
    before, pair = known.gateway_next if known else 0, found.statement.pair
    return Known(
        node=pair.node,
        partner=pair.partner_id,
        next=found.statement.next,
        size=head.size,
        root=head.root,
        note=head.checkpoint,
        gateway_next=max(found.said.next, before),
        gateway_first=before,
        excused=found.said.excused,
        at_ms=now_ms,
    )


def put_known(known: Known, *, after: Known | None) -> Put:
    """For the transaction of the leaf that concludes.

    :param after: what was known as this reconciliation began. The work raises Stale when another
        one came in between, at this gateway or at one beside it.
    """
    after_ms = after.at_ms if after is not None and after.node == known.node else 0
    row = (
        known.node, known.partner, known.next, known.size, known.root, known.note,
        known.gateway_next, known.gateway_first, known.excused, known.at_ms,
    )  # fmt: skip

    def put(connection: sqlite3.Connection) -> None:
        found = connection.execute(
            "SELECT at_ms FROM reconciled_node WHERE node = ?", (known.node,)
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
    node, partner, end, size, root, note, gateway_next, gateway_first, excused, at_ms = row
    return Known(
        node=node,
        partner=partner,
        next=end,
        size=size,
        root=bytes(root),
        note=note,
        gateway_next=gateway_next,
        gateway_first=gateway_first,
        excused=excused,
        at_ms=at_ms,
    )

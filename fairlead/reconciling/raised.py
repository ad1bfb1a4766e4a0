"""Which incidents were raised, so that none is raised every hour again."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence

from fairlead.auditlog import AuditLog
from fairlead.reconciling.judgement import lasting

MIGRATION = """
    CREATE TABLE reconcile_raised (
        identity BLOB PRIMARY KEY,
        code TEXT NOT NULL,
        time_ms INTEGER NOT NULL,
        lasting INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID
    """
"""``lasting``: it stands until a reconciliation succeeds, and may be raised again afterwards."""
_PUT = """
    INSERT INTO reconcile_raised (identity, code, time_ms, lasting) VALUES (?, ?, ?, ?)
    ON CONFLICT (identity) DO NOTHING
"""
AT_ONCE = 256
Put = Callable[[sqlite3.Connection], None]


class Raised:
    """What an open log holds of them; changes go with a leaf's transaction."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log

    def known(self, identities: Collection[bytes]) -> frozenset[bytes]:
        """Those of ``identities`` that were raised."""
        wanted, found = sorted(identities), set[bytes]()
        for at in range(0, len(wanted), AT_ONCE):
            some = wanted[at : at + AT_ONCE]
            places = ", ".join("?" * len(some))
            rows = self._log.read(
                f"SELECT identity FROM reconcile_raised WHERE identity IN ({places})",  # noqa: S608
                some,
            )
            found |= {bytes(row[0]) for row in rows}
        return frozenset(found)

    def since(self, time_ms: int) -> list[str]:
        """The codes of what was raised since, each once."""
        rows = self._log.read(
            "SELECT DISTINCT code FROM reconcile_raised WHERE time_ms >= ? OR lasting = 1 "
            "ORDER BY code",
            (time_ms,),
        )
        return [str(row[0]) for row in rows]


def put_raised(items: Iterable[tuple[bytes, str]], *, time_ms: int, last: bool = False) -> Put:
    """For the transaction of their leaf: (identity, code) of each."""
    rows: Sequence[tuple[object, ...]] = [(i, code, time_ms, int(last)) for i, code in items]

    def put(connection: sqlite3.Connection) -> None:
        for row in rows:
            connection.execute(_PUT, row)

    return put


def put_over(whose: str, codes: Iterable[str]) -> Put:
    """For the transaction of a success: what lasted is over."""
    identities = [lasting(code, whose) for code in codes]

    def put(connection: sqlite3.Connection) -> None:
        for identity in identities:
            connection.execute("DELETE FROM reconcile_raised WHERE identity = ?", (identity,))

    return put


def together(puts: Sequence[Put]) -> Put:
    """Several in one transaction."""

    def put(connection: sqlite3.Connection) -> None:
        for one in puts:
            one(connection)

    return put

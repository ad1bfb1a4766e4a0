"""The register: alerts, decoys' references and hits, and leaves on their way to the audit log.

Several processes may have it open: the one that runs and the officer's commands. It holds opaque
references and pseudonyms, and no term.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairlead import storage
from fairlead.decoys import DecoyList
from fairlead.errors import NotFound
from fairlead.notice import Asked, Hit
from fairlead.oversight.alert import Alert, Reason

MIGRATIONS = (
    """
    CREATE TABLE alert (
        number INTEGER PRIMARY KEY AUTOINCREMENT, identity BLOB NOT NULL UNIQUE,
        reason TEXT NOT NULL, at INTEGER NOT NULL, raised_at INTEGER NOT NULL,
        owner TEXT NOT NULL, partner TEXT NOT NULL, user TEXT NOT NULL, purpose TEXT NOT NULL,
        query_id BLOB NOT NULL, case_commitment BLOB NOT NULL, decoy TEXT NOT NULL,
        count INTEGER NOT NULL, acknowledged_at INTEGER NOT NULL, acknowledged_by TEXT NOT NULL
    ) STRICT;
    CREATE TABLE decoy (
        owner TEXT NOT NULL, ref BLOB NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (owner, ref)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE decoy_list (
        owner TEXT NOT NULL, manifest BLOB NOT NULL, until INTEGER NOT NULL,
        PRIMARY KEY (owner, manifest)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE hit (
        owner TEXT NOT NULL, ref BLOB NOT NULL, query_id BLOB NOT NULL, manifest BLOB NOT NULL,
        partner TEXT NOT NULL, user TEXT NOT NULL, purpose TEXT NOT NULL,
        case_commitment BLOB NOT NULL, at INTEGER NOT NULL, told_at INTEGER NOT NULL,
        PRIMARY KEY (owner, ref, query_id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE taken (
        series BLOB NOT NULL, number INTEGER NOT NULL, digest BLOB NOT NULL, at INTEGER NOT NULL,
        PRIMARY KEY (series, number)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE position (
        id INTEGER PRIMARY KEY CHECK (id = 1), series BLOB NOT NULL, number INTEGER NOT NULL,
        at INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE signer (
        partner TEXT NOT NULL, public BLOB NOT NULL, seen_at INTEGER NOT NULL,
        PRIMARY KEY (partner, public)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE leaf (number INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL) STRICT
    """,
)
REMEMBERED = 100_000
"""Notices whose digests are kept, so that one that comes again is told from another."""
DAY_S = 86_400
RETAINED_S = 30 * DAY_S
"""How long hits, and decoys after their epoch, are kept to be matched."""
SIGNED_WITHIN_S = 14 * DAY_S
"""How long a key that the directory no longer names may have signed what is still on its way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """The newest notice: its series and number, and when it was taken (unix seconds)."""

    series: bytes
    number: int
    at: int


class Register:
    """One oversight's database. Every method that changes something runs inside :meth:`change`."""

    def __init__(self, database: storage.Database) -> None:
        self._database = database

    @classmethod
    def open(cls, path: Path) -> Register:
        """Open or create the register.

        :raises Misconfigured: the file cannot be used.
        """
        return cls(storage.open_database(path, MIGRATIONS, exclusive=False, scope="oversight"))

    def close(self) -> None:
        """Release the file."""
        self._database.close()

    def change(self) -> AbstractContextManager[None]:
        """One transaction; whatever is raised inside undoes it."""
        return storage.transaction(self._database)

    def _rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        return self._database.execute(statement, values).fetchall()

    # ── Notices ──────────────────────────────────────────────────────────────────────────────

    def position(self) -> Position | None:
        """The newest notice taken; None before the first."""
        rows = self._rows("SELECT series, number, at FROM position")
        return Position(series=rows[0][0], number=rows[0][1], at=rows[0][2]) if rows else None

    def taken(self, series: bytes, number: int) -> bytes | None:
        """SHA-256 of the notice that had this number; None of one that never came."""
        statement = "SELECT digest FROM taken WHERE series = ? AND number = ?"
        rows = self._rows(statement, series, number)
        return bytes(rows[0][0]) if rows else None

    def take(self, series: bytes, number: int, digest: bytes, now: int) -> None:
        """A notice is taken."""
        self._rows("INSERT INTO taken VALUES (?, ?, ?, ?)", series, number, digest, now)
        statement = "DELETE FROM taken WHERE series = ? AND number <= ?"
        self._rows(statement, series, number - REMEMBERED)

    def advance(self, position: Position) -> None:
        """The newest notice is another."""
        values = position.series, position.number, position.at
        self._rows("INSERT OR REPLACE INTO position VALUES (1, ?, ?, ?)", *values)

    def known_series(self, series: bytes) -> bool:
        """Whether any notice of a series was taken."""
        return bool(self._rows("SELECT 1 FROM taken WHERE series = ? LIMIT 1", series))

    # ── Decoys and hits ──────────────────────────────────────────────────────────────────────

    def learn(self, owner: str, manifest: bytes, found: DecoyList) -> list[tuple[Hit, Asked]]:
        """Keep an owner's decoys; the hits of any that were told before."""
        self._rows(
            "INSERT OR REPLACE INTO decoy_list VALUES (?, ?, ?)", owner, manifest, found.until
        )
        before: list[tuple[Hit, Asked]] = []
        for ref in sorted(found.refs):
            self._rows(
                "INSERT INTO decoy VALUES (?, ?, ?) "
                "ON CONFLICT DO UPDATE SET until = max(until, excluded.until)",
                owner, ref, found.until,
            )  # fmt: skip
            before += map(
                _hit, self._rows("SELECT * FROM hit WHERE owner = ? AND ref = ?", owner, ref)
            )
        return before

    def told(self, hit: Hit, asked: Asked, now: int) -> bool:
        """Keep a hit; whether it is known to be of a decoy."""
        self._rows(
            "INSERT OR IGNORE INTO hit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            hit.owner, hit.ref, asked.query_id, hit.manifest, asked.partner, asked.user,
            asked.purpose, asked.case_commitment, asked.at, now,
        )  # fmt: skip
        statement = "SELECT 1 FROM decoy WHERE owner = ? AND ref = ?"
        return bool(self._rows(statement, hit.owner, hit.ref))

    def unmatched(self, before: int) -> list[tuple[str, bytes]]:
        """Owners and manifests with hits told before a moment, whose decoys never came."""
        return self._rows(
            "SELECT DISTINCT owner, manifest FROM hit WHERE told_at < ? AND NOT EXISTS (SELECT 1 "
            "FROM decoy_list l WHERE l.owner = hit.owner AND l.manifest = hit.manifest)",
            before,
        )

    def forget(self, now: int) -> None:
        """Delete what can be matched no longer."""
        over = now - RETAINED_S
        self._rows("DELETE FROM hit WHERE told_at < ?", over)
        self._rows("DELETE FROM decoy WHERE until < ?", over)
        self._rows("DELETE FROM decoy_list WHERE until < ?", over)

    # ── Who signs ────────────────────────────────────────────────────────────────────────────

    def sign(self, keys: Iterable[tuple[str, bytes]], now: int) -> None:
        """The directory names these keys now."""
        for partner, public in keys:
            statement = "INSERT OR REPLACE INTO signer VALUES (?, ?, ?)"
            self._rows(statement, partner, public, now)

    def signers(self, partner: str) -> Collection[bytes]:
        """The keys by which a partner may have signed, the newest first."""
        rows = self._rows(
            "SELECT public FROM signer WHERE partner = ?1 AND seen_at >= "
            "(SELECT max(seen_at) FROM signer) - ?2 ORDER BY seen_at DESC",
            partner, SIGNED_WITHIN_S,
        )  # fmt: skip
        return [bytes(row[0]) for row in rows]

    # ── Alerts and leaves ────────────────────────────────────────────────────────────────────

    def enter(self, alert: Alert, leaf: bytes, now: int) -> bool:
        """Keep an alert and its leaf; False when it was raised before."""
        try:
            self._rows(
                "INSERT INTO alert (identity, reason, at, raised_at, owner, partner, user, "
                "purpose, query_id, case_commitment, decoy, count, acknowledged_at, "
                "acknowledged_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, '')",
                alert.identity, alert.reason.value, alert.at, now, alert.owner, alert.partner,
                alert.user, alert.purpose, alert.query_id, alert.case_commitment, alert.decoy,
                alert.count,
            )  # fmt: skip
        except sqlite3.IntegrityError:
            return False
        self.record(leaf)
        return True

    def alerts(self, *, waiting: bool = False) -> list[dict[str, Any]]:
        """Alerts, the newest first; only those that nobody has acknowledged when asked so."""
        where = "WHERE acknowledged_at = 0" if waiting else ""
        cursor = self._database.execute(f"SELECT * FROM alert {where} ORDER BY number DESC")  # noqa: S608
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def acknowledge(self, number: int, by: str, now: int) -> dict[str, Any]:
        """Somebody has seen an alert; the alert. :raises NotFound: ``UNKNOWN_ALERT``."""
        found = [alert for alert in self.alerts() if alert["number"] == number]
        if not found:
            raise NotFound(
                "there is no alert of this number",
                reasons=("UNKNOWN_ALERT",),
                remedy="fairlead-oversight alerts list --config FILE",
            )
        if not found[0]["acknowledged_at"]:
            statement = "UPDATE alert SET acknowledged_at = ?, acknowledged_by = ? WHERE number = ?"
            self._rows(statement, now, by, number)
        return found[0]

    def count(self, reason: Reason) -> int:
        """How many alerts there ever were for a reason."""
        return int(self._rows("SELECT count(*) FROM alert WHERE reason = ?", reason.value)[0][0])

    def decoys(self) -> int:
        """References of decoys known now."""
        return int(self._rows("SELECT count(*) FROM decoy")[0][0])

    def record(self, leaf: bytes) -> None:
        """Keep a leaf until the audit log has it."""
        self._rows("INSERT INTO leaf (body) VALUES (?)", leaf)

    def waiting(self) -> list[tuple[int, bytes]]:
        """Leaves that the audit log does not have yet, oldest first, with their numbers."""
        rows = self._rows("SELECT number, body FROM leaf ORDER BY number LIMIT 256")
        return [(int(number), bytes(body)) for number, body in rows]

    def moved(self, number: int) -> None:
        """Forget a leaf that the audit log has."""
        self._rows("DELETE FROM leaf WHERE number = ?", number)


def _hit(row: tuple[Any, ...]) -> tuple[Hit, Asked]:
    owner, ref, query_id, manifest, partner, user, purpose, case_commitment, at, _ = row
    asked = Asked(
        query_id=query_id, partner=partner, user=user, purpose=purpose,
        case_commitment=case_commitment, at=at,
    )  # fmt: skip
    return Hit(owner=owner, manifest=manifest, ref=ref), asked

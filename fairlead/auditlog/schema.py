"""The tables of every log, as SQLite spells them; see :mod:`fairlead.auditlog.dialect`."""

from __future__ import annotations

from collections.abc import Mapping

from fairlead.auditlog import erased, kept

MIGRATIONS = (
    """
    CREATE TABLE leaf (
        idx INTEGER PRIMARY KEY,
        hash BLOB NOT NULL,
        body BLOB NOT NULL,
        detail BLOB NOT NULL
    ) STRICT;
    CREATE TABLE checkpoint (
        size INTEGER PRIMARY KEY,
        note TEXT NOT NULL,
        time_ms INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE foreign_head (
        origin TEXT PRIMARY KEY,
        size INTEGER NOT NULL,
        root BLOB NOT NULL,
        note TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
    kept.MIGRATION,
    kept.KEYS_OF_BATCHES,
    erased.MIGRATION,
)
COPIED: Mapping[str, str] = {
    "leaf": "idx, hash, body, detail",
    "checkpoint": "size, note, time_ms",
    "decision_batch": "number, digest, time_ms, leaf, key, body",
    "decision_key": "id, time_ms, sealed",
}
"""Table → columns, of what a copy of a log consists of."""

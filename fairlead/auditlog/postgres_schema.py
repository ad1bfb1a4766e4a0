"""The tables of a log in PostgreSQL: those of the SQLite file, and the head that is locked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from fairlead import errors, merkle
from fairlead.auditlog.dialect import definitions
from fairlead.auditlog.postgres_session import Session, tables

LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migration (
    scope TEXT NOT NULL,
    number BIGINT NOT NULL,
    digest BYTEA NOT NULL,
    PRIMARY KEY (scope, number)
)
"""
HEAD = """
CREATE TABLE IF NOT EXISTS log_head (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    size BIGINT NOT NULL,
    root BYTEA NOT NULL
)
"""
"""One row, which each transaction of each gateway locks first and changes last."""
_ONE_AT_A_TIME = 0x666C6564  # any number that nobody else locks


def migrate(session: Session, scopes: Sequence[tuple[str, Sequence[str]]]) -> None:
    """Bring the schema up to date; gateways that start together do so one after the other.

    :raises Misconfigured: ``DATABASE_FOREIGN``, ``DATABASE_NEWER`` or ``DATABASE_CHANGED``.
    """
    with session.transaction():
        session.execute("SET LOCAL lock_timeout = '60s'")
        session.execute("SELECT pg_advisory_xact_lock(%s)", (_ONE_AT_A_TIME,))
        found = tables(session)
        if found and "schema_migration" not in found:
            raise errors.Misconfigured(
                "the database was not made by this program",
                reasons=("DATABASE_FOREIGN",),
                remedy="name another database",
            )
        session.execute(LEDGER)
        session.execute(HEAD)
        for scope, scripts in scopes:
            _migrate(session, scope, scripts)
        session.execute(
            "INSERT INTO log_head (id, size, root) VALUES (1, 0, %s) ON CONFLICT DO NOTHING",
            (merkle.EMPTY_ROOT,),
        )


def _migrate(session: Session, scope: str, scripts: Sequence[str]) -> None:
    rows = session.execute(
        "SELECT digest FROM schema_migration WHERE scope = %s ORDER BY number", (scope,)
    ).fetchall()
    applied = [digest for (digest,) in rows]
    digests = [hashlib.sha256(script.encode()).digest() for script in scripts]
    if len(applied) > len(digests):
        raise errors.Misconfigured(
            "the database was written by a newer version",
            reasons=("DATABASE_NEWER",),
            remedy="install the version that wrote it",
        )
    if applied != digests[: len(applied)]:
        raise errors.Misconfigured(
            "the database has another schema history",
            reasons=("DATABASE_CHANGED",),
            remedy="install the version that wrote it",
        )
    for number in range(len(applied), len(digests)):
        for statement in definitions(scripts[number]):
            session.execute(statement.encode())
        session.execute(
            "INSERT INTO schema_migration VALUES (%s, %s, %s)", (scope, number, digests[number])
        )

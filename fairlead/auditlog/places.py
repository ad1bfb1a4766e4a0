"""Where a log may lie, and the store or the snapshot that goes with each place."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from fairlead.auditlog import sqlite_store
from fairlead.auditlog.database_url import Place
from fairlead.auditlog.store import Snapshot, Store


def open_store(place: Place, migrations: Sequence[str], application: Sequence[str]) -> Store:
    """The store of a log, opened for writing.

    :raises Misconfigured: it cannot be opened.
    """
    if isinstance(place, Path):
        return sqlite_store.SqliteStore.open(place, migrations, application)
    from fairlead.auditlog.postgres_store import PostgresStore

    return PostgresStore.open(place, migrations, application)


def snapshot(place: Place) -> AbstractContextManager[Snapshot]:
    """A log at one moment, read-only, also beside those who write it.

    :raises Misconfigured: it cannot be opened.
    :raises Forged: ``LOG_CORRUPTED``: what is in it cannot be read as a log.
    """
    if isinstance(place, Path):
        return sqlite_store.snapshot(place)
    from fairlead.auditlog import postgres_session

    return postgres_session.snapshot(place)

"""A log as one file, to hand it to somebody: the same octets, wherever it lies."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from fairlead import errors, storage
from fairlead.auditlog.database_url import Place
from fairlead.auditlog.places import snapshot
from fairlead.auditlog.schema import COPIED, MIGRATIONS
from fairlead.auditlog.store import Snapshot


def copy_log(place: Place, target: Path) -> int:
    """Write leaves, details, checkpoints and decision records of one moment into a new file.

    :returns: how many leaves.
    :raises Conflict: FILE_EXISTS. :raises Misconfigured: either cannot be opened.
    :raises Forged: LOG_CORRUPTED.
    """
    if target.exists():
        raise errors.Conflict(
            "the file exists already", reasons=("FILE_EXISTS",), remedy="name another file"
        )
    with snapshot(place) as source:
        try:
            return _copied(source, target)
        except BaseException as error:
            for name in (target, Path(f"{target}-wal"), Path(f"{target}-shm")):
                name.unlink(missing_ok=True)
            if isinstance(error, sqlite3.OperationalError):
                raise storage.unusable() from error
            raise


def _copied(source: Snapshot, target: Path) -> int:
    there = source.tables()
    with contextlib.closing(
        storage.open_database(target, MIGRATIONS, exclusive=False, scope="auditlog")
    ) as file:
        with storage.transaction(file):
            for table, columns in COPIED.items():
                if table in there:
                    places = ", ".join("?" for _ in columns.split(","))
                    file.executemany(
                        f"INSERT INTO {table} ({columns}) VALUES ({places})",  # noqa: S608  fixed
                        source.execute(f"SELECT {columns} FROM {table}"),  # noqa: S608
                    )
            (count,) = file.execute("SELECT count(*) FROM leaf").fetchone()
        file.execute("PRAGMA journal_mode=DELETE")  # one file, on whatever medium
    return int(count)

"""What this node said about figures, on the disk: never lost, never said otherwise.

Its own file, because all nodes of a partner may use one; a second process waits for the first.
Whatever is put into it is durable before it returns. No backup holds the file: an older copy
would have forgotten what was said, and say something else under the same masks. Each file has a
name by which that is found out (:mod:`node.statistics.taking`).
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fairlead import storage
from fairlead.errors import OperatorError
from fairlead.summing import Release, Served

FILE = "figures.sqlite"
NAME_SIZE = 16
MIGRATIONS = (
    """
    CREATE TABLE store (id INTEGER PRIMARY KEY CHECK (id = 0), name BLOB NOT NULL) STRICT;
    CREATE TABLE served (
        cube TEXT NOT NULL,
        cube_version INTEGER NOT NULL,
        level TEXT NOT NULL,
        period TEXT NOT NULL,
        version INTEGER NOT NULL,
        participants TEXT NOT NULL,
        readers TEXT NOT NULL
    ) STRICT;
    CREATE INDEX served_by_cube ON served (cube);
    CREATE TABLE kept (key BLOB NOT NULL UNIQUE, octets BLOB NOT NULL) STRICT;
    CREATE TRIGGER served_never_changes BEFORE UPDATE ON served
    BEGIN SELECT RAISE(ABORT, 'what was served stays'); END;
    CREATE TRIGGER served_never_shrinks BEFORE DELETE ON served
    BEGIN SELECT RAISE(ABORT, 'what was served stays'); END;
    CREATE TRIGGER kept_never_changes BEFORE UPDATE ON kept
    BEGIN SELECT RAISE(ABORT, 'what was said stays'); END;
    CREATE TRIGGER kept_never_shrinks BEFORE DELETE ON kept
    BEGIN SELECT RAISE(ABORT, 'what was said stays'); END;
    """,
)
_SERVED = (
    "SELECT cube, cube_version, level, period, version, participants, readers FROM served "
    "WHERE cube = ? ORDER BY rowid"
)


class NotKept(OperatorError):
    """What this node would say cannot be kept, so it says nothing."""

    status = "UNAVAILABLE"
    default_code = "FIGURES_NOT_KEPT"
    exit_code = 3


class FiguresStore:
    """A :class:`fairlead.summing.Store` in a file; any thread may use it."""

    def __init__(self, database: storage.Database, name: bytes) -> None:
        self._database = database
        self._gate = threading.RLock()
        self.name = name

    @classmethod
    def open(cls, path: Path, *, random: Callable[[int], bytes] = os.urandom) -> FiguresStore:
        """Open the file, or create it.

        :raises Misconfigured: it is damaged or foreign.
        """
        database = storage.open_database(path, MIGRATIONS, exclusive=False, scope="figures")
        try:
            database.execute("INSERT OR IGNORE INTO store VALUES (0, ?)", (random(NAME_SIZE),))
            (name,) = database.execute("SELECT name FROM store").fetchone()
        except storage.DAMAGED:
            database.close()
            raise storage.unusable() from None
        return cls(database, name)

    def close(self) -> None:
        """Release the file."""
        with self._gate:
            self._database.close()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """See :meth:`fairlead.summing.Store.exclusive`."""
        with self._gate, _kept(), storage.transaction(self._database):
            yield

    def served(self, cube: str) -> Sequence[Served]:
        """See :meth:`fairlead.summing.Store.served`."""
        with self._gate, _kept():
            rows = self._database.execute(_SERVED, (cube,)).fetchall()
        return [
            Served(
                release=Release(
                    cube=name, cube_version=cube_version, level=level, period=period,
                    version=version,
                ),
                participants=tuple(json.loads(participants)),
                readers=tuple(json.loads(readers)),
            )
            for name, cube_version, level, period, version, participants, readers in rows
        ]  # fmt: skip

    def serve(self, served: Served) -> None:
        """See :meth:`fairlead.summing.Store.serve`."""
        release = served.release
        row = (
            release.cube, release.cube_version, release.level, release.period, release.version,
            json.dumps(served.participants), json.dumps(served.readers),
        )  # fmt: skip
        with self._gate, _kept():
            self._database.execute("INSERT INTO served VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def kept(self, key: bytes) -> bytes | None:
        """See :meth:`fairlead.summing.Store.kept`."""
        with self._gate, _kept():
            row = self._database.execute("SELECT octets FROM kept WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def keep(self, key: bytes, octets: bytes) -> None:
        """See :meth:`fairlead.summing.Store.keep`."""
        with self._gate, _kept():
            self._database.execute("INSERT INTO kept VALUES (?, ?)", (key, octets))


@contextmanager
def _kept() -> Iterator[None]:
    """:raises NotKept: the file cannot be read or written, or somebody holds it for too long."""
    try:
        yield
    except sqlite3.Error:
        raise NotKept(
            "what this node says about figures cannot be kept",
            remedy="check owner, mode and free space of figures.sqlite under state_dir",
        ) from None

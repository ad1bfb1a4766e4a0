"""A log in an auditor's hands: read as it lies, also beside the process that writes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fairlead import merkle, storage
from fairlead.auditing import reading
from fairlead.auditing.selection import Selection
from fairlead.auditlog import Place, receipt_at, snapshot
from fairlead.auditlog.store import Snapshot
from fairlead.v1 import audit_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFile:
    """One snapshot of a log: what was durable when it was opened."""

    database: Snapshot
    origin: str
    size: int

    def read(self, sql: str, parameters: Sequence[object] = ()) -> Sequence[tuple[Any, ...]]:
        """See :data:`reading.Read`. :raises Forged: LOG_CORRUPTED."""
        try:
            return self.database.execute(sql, parameters).fetchall()
        except storage.DAMAGED:
            raise reading.damaged() from None

    def span(self, selection: Selection) -> range:
        """See :func:`reading.span`."""
        return reading.span(self.read, selection, self.size)

    def frontier(self, size: int) -> tuple[bytes, ...]:
        """The hashes that stand for the first ``size`` leaves: a second for a million."""
        tree = merkle.Frontier()
        for low in range(0, size, reading.STEP):
            for (leaf_hash,) in self.read(
                "SELECT hash FROM leaf WHERE idx >= ? AND idx < ? ORDER BY idx",
                (low, min(low + reading.STEP, size)),
            ):
                tree.append(leaf_hash)
        if tree.size != size:
            raise reading.damaged()
        return tree.hashes

    def receipt(self, index: int) -> audit_pb2.Receipt:
        """Prove one leaf under the newest head. :raises NotFound: LEAF_UNKNOWN."""
        if not 0 <= index < self.size:
            raise reading.unknown()
        return receipt_at(self.database, index)


@contextmanager
def open_file(place: Place) -> Iterator[LogFile]:
    """A log at one moment.

    :raises Misconfigured: it cannot be opened. :raises Forged: it holds no log.
    """
    try:
        with snapshot(place) as database:
            row = database.execute(
                "SELECT size, note FROM checkpoint ORDER BY size DESC LIMIT 1"
            ).fetchone()
            ((last,),) = database.execute("SELECT max(idx) FROM leaf").fetchall()
            last = -1 if last is None else reading.number_of(last)
            if row is None or not 0 <= reading.number_of(row[0]) <= last + 1:
                raise reading.damaged()
            origin = str(row[1]).partition("\n")[0]
            yield LogFile(database=database, origin=origin, size=row[0])
    except storage.DAMAGED:
        raise reading.damaged() from None


@contextmanager
def open_live(place: Place) -> Iterator[reading.Read]:
    """A log that goes on growing: each look sees what is durable by then.

    :raises Misconfigured: it cannot be opened.
    """

    def read(sql: str, parameters: Sequence[object] = ()) -> Sequence[tuple[Any, ...]]:
        try:
            with snapshot(place) as database:
                return database.execute(sql, parameters).fetchall()
        except storage.DAMAGED:
            raise reading.damaged() from None

    with snapshot(place):
        pass
    yield read

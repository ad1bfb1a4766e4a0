"""From a complete reading to the tables: first everything new, then what is gone.

A step handles one bucket of one phase; a transaction holds as many steps as its rows allow, so a
small reading is one transaction and a large one many short ones. In between, a lookup finds what
it found before and may find a row's old and new version side by side; it never misses a record
that the source had before and still has. Which steps are done stands in the tables, in the same
transaction, so a process that is killed is followed by one that goes on behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from node.index.codec import ORIGIN_SIZE
from node.index.stage import ENTRIES, RECORDS, PartReading, Stage
from node.index.tables import RecordRow, Tables

APPLY_ROWS = 40_000
"""Rows after which a transaction ends."""
NAME = "applying"
_LAST = b"\xff" * ORIGIN_SIZE


@dataclass(slots=True, kw_only=True)
class Applied:
    """How far a reading was applied; counts are by the number of the part."""

    reading: str
    steps: int = 0
    added: dict[int, int] = field(default_factory=dict)
    kept: dict[int, int] = field(default_factory=dict)
    removed: dict[int, int] = field(default_factory=dict)
    twice: bool = False
    """Whether an origin came with two contents: entries of the first must not be added."""

    def records(self, before: int, part: int) -> int:
        """Records of a part that had ``before`` of them."""
        return before + self.added.get(part, 0) - self.removed.get(part, 0)


_APPLIED: TypeAdapter[Applied] = TypeAdapter(Applied)


class Applying:
    """Applies one complete reading; :meth:`run` may be called again by another process."""

    def __init__(self, tables: Tables, stage: Stage) -> None:
        self._tables = tables
        self._stage = stage
        self._parts = {part.state.number: part for part in stage.reading.parts}
        self.applied = begun(tables) or Applied(reading=stage.reading.number)
        self._buckets = {kind: stage.buckets(kind) for kind in (RECORDS, ENTRIES)}

    def run(
        self, finish: Callable[[Applied], float | None], progress: Callable[[int, int], None]
    ) -> None:
        """Apply every step that is still to do.

        :param finish: called inside the last transaction; returns the index's new ``fresh_at``.
        :param progress: called after each transaction with the steps done and their number.
        """
        steps = [
            *((self._add, bucket) for bucket in self._buckets[RECORDS]),
            *((self._link, bucket) for bucket in self._buckets[ENTRIES]),
            *((self._remove, bucket) for bucket in range(256)),
        ]
        while True:
            with self._tables.transaction() as transaction:
                rows = 0
                while rows < APPLY_ROWS and self.applied.steps < len(steps):
                    step, bucket = steps[self.applied.steps]
                    rows += step(bucket)
                    self.applied.steps += 1
                done = self.applied.steps == len(steps)
                document = None if done else _APPLIED.dump_python(self.applied, mode="json")
                self._tables.put_document(NAME, document)
                if done:
                    transaction.fresh_at = finish(self.applied)
            progress(self.applied.steps, len(steps))
            if done:
                return

    def _add(self, bucket: int) -> int:
        """Insert the new records: of two versions of one origin, the one that came last."""
        latest: dict[tuple[int, bytes], RecordRow] = {}
        rows = 0
        for row in self._stage.records(bucket):
            rows += 1
            place = (row.part, row.key[:ORIGIN_SIZE])
            known = latest.get(place)
            if known is not None and known.key != row.key:
                self.applied.twice = True
            elif known is not None and known.sealed:
                continue  # the same again
            latest[place] = row
        fresh = sorted(row for row in latest.values() if row.sealed)
        self._tables.insert_records(fresh)
        for row in latest.values():
            counts = self.applied.added if row.sealed else self.applied.kept
            counts[row.part] = counts.get(row.part, 0) + 1
        return rows

    def _link(self, bucket: int) -> int:
        """Insert the entries that lead to them."""
        rows = sorted(set(self._stage.entries(bucket)))
        if self.applied.twice:
            known = "SELECT 1 FROM record WHERE part = ? AND key = ?"
            rows = [
                row for row in rows if self._tables.connection.execute(known, row[1:3]).fetchone()
            ]
        self._tables.insert_entries(rows)
        return len(rows)

    def _remove(self, bucket: int) -> int:
        """Take out what did not come again, and older versions of what came."""
        due = {number: part for number, part in self._parts.items() if self._outdated(part)}
        if not due:
            return 0
        staged: dict[int, dict[bytes, bytes]] = {number: {} for number in due}
        for row in self._stage.records(bucket):
            if row.part in staged:
                staged[row.part][row.key[:ORIGIN_SIZE]] = row.key
        rows = 0
        for number, latest in staged.items():
            find = self._unseen if due[number].whole else self._replaced
            gone = list(find(number, bucket, latest))
            for key in gone:
                self._tables.delete_record(number, key)
            self.applied.removed[number] = self.applied.removed.get(number, 0) + len(gone)
            rows += len(latest) + len(gone)
        return rows

    def _outdated(self, part: PartReading) -> bool:
        """Whether the part can hold anything that has to go."""
        before = part.state.records
        kept = self.applied.kept.get(part.state.number, 0)
        return before > (kept if part.whole else 0)

    def _unseen(self, part: int, bucket: int, latest: dict[bytes, bytes]) -> Iterator[bytes]:
        high = bytes([bucket + 1]) if bucket < 255 else b"\xff" * 25
        keys = self._tables.connection.execute(
            "SELECT key FROM record WHERE part = ? AND key >= ? AND key < ?",
            (part, bytes([bucket]), high),
        )
        return (key for (key,) in keys if latest.get(key[:ORIGIN_SIZE]) != key)

    def _replaced(self, part: int, _bucket: int, latest: dict[bytes, bytes]) -> Iterator[bytes]:
        for origin, kept in latest.items():
            keys = self._tables.connection.execute(
                "SELECT key FROM record WHERE part = ? AND key >= ? AND key <= ?",
                (part, origin, origin + _LAST),
            ).fetchall()
            yield from (key for (key,) in keys if key != kept)


def begun(tables: Tables) -> Applied | None:
    """The reading that the tables hold half of, None when they hold no half."""
    document: dict[str, Any] | None = tables.document(NAME)
    return None if document is None else _APPLIED.validate_python(document)

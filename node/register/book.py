"""The register on the disk: rows that are only ever added, each with its leaf.

A correction is a new row of the same entry; nothing is edited and nothing deleted, so what the
register said at any moment can be counted again. Rows stand in the node's log file, in the
transaction of the leaf that binds them, each encrypted under a key of the node's own. A reporter's
name stands beside the rows: no row, no leaf and no figure has it, and it alone can be deleted.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil

from fairlead import signing
from fairlead.auditlog import AuditLog
from fairlead.leaves import LeafWriter
from node.register.entry import Entry, Noun
from node.vault import Cipher

MIGRATIONS = (
    """
    CREATE TABLE register (
        number INTEGER PRIMARY KEY,
        entry BLOB NOT NULL,
        revision INTEGER NOT NULL,
        recorded_ms INTEGER NOT NULL,
        sealed BLOB NOT NULL,
        UNIQUE (entry, revision)
    ) STRICT;
    CREATE TRIGGER register_never_changes BEFORE UPDATE ON register
    BEGIN SELECT RAISE(ABORT, 'rows of the register are never changed'); END;
    CREATE TRIGGER register_never_shrinks BEFORE DELETE ON register
    BEGIN SELECT RAISE(ABORT, 'rows of the register are never deleted'); END;
    CREATE TABLE register_reporter (
        entry BLOB PRIMARY KEY,
        sealed BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
)
_ROWS = (
    "SELECT number, entry, revision, recorded_ms, sealed FROM register "
    "WHERE number > ? ORDER BY number"
)
Key = tuple[Noun, str]
PLACE = "place"
ABOVE: Mapping[Noun, Noun] = {Noun.ENQUIRY: Noun.REPORT, Noun.OUTCOME: Noun.ENQUIRY}
"""What each kind of entry follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the register. ``number`` counts all rows from 1, ``revision`` those of its entry
    from 0; ``recorded_ms`` never falls from row to row (Unix milliseconds)."""

    number: int
    revision: int
    recorded_ms: int
    entry: Entry


def placed(entry: Entry, known: Mapping[Key, Row]) -> Entry:
    """The entry with a place: its own, else that of what it follows, as that says it now."""
    found = entry
    while PLACE not in found.codes:
        above = ABOVE.get(found.noun)
        row = known.get((above, found.of)) if above else None
        if row is None:
            return entry
        found = row.entry
    return replace(entry, codes={**entry.codes, PLACE: found.codes[PLACE]})


class Register:
    """The rows in an open log.

    :param key: 32 octets; without it nobody reads a row.
    """

    def __init__(
        self, log: AuditLog, leaves: LeafWriter, *, key: bytes, clock: Callable[[], float]
    ) -> None:
        self._log = log
        self._leaves = leaves
        self._names = signing.commit(key, b"register names")
        self._cipher = Cipher(signing.commit(key, b"register"))
        self._clock = clock
        self._writing = asyncio.Lock()
        self._reading = threading.Lock()
        self._rows: list[Row] = []
        self.check_clock: Callable[[], None] = lambda: None
        """Raises where the clock is known to be wrong: one row from a clock that is ahead, and no
        row after it counts until then."""

    def rows(self) -> Sequence[Row]:
        """Every row, in the order in which they were recorded; only new ones are read.

        :raises Misconfigured: HISTORY_KEY: another key.
        """
        with self._reading:
            last = self._rows[-1].number if self._rows else 0
            for number, entry, revision, recorded_ms, sealed in self._log.read(_ROWS, (last,)):
                place = _place(entry, number, revision, recorded_ms)
                said = self._cipher.unseal(sealed, *place)
                self._rows.append(
                    Row(
                        number=number,
                        revision=revision,
                        recorded_ms=recorded_ms,
                        entry=Entry.from_octets(said),
                    )
                )
            return tuple(self._rows)

    def as_of(self, cut_off: float | None = None) -> Mapping[Key, Row]:
        """Each entry as the register said it at ``cut_off`` (Unix seconds; None: now), withdrawn
        ones among them, in the order in which they were first entered."""
        found: dict[Key, Row] = {}
        for row in self.rows():
            if cut_off is None or row.recorded_ms <= cut_off * 1000:
                found[row.entry.noun, row.entry.id] = row
        return found

    async def record(
        self,
        decide: Callable[[Mapping[Key, Row]], Sequence[Entry]],
        *,
        subject: str,
        by: str,
    ) -> Sequence[Row]:
        """Add rows, durable with one leaf; none where there is nothing to add.

        :param decide: told what the register says now, gives the entries as they are to be, and
            raises where something forbids it; it runs beside the event loop. Nobody else writes
            meanwhile.
        :raises Stale: CLOCK_SKEW. :raises LogUnavailable: not durable, and nothing was added.
        """
        self.check_clock()
        async with self._writing:
            known = await asyncio.to_thread(self.as_of)
            entries = await asyncio.to_thread(decide, known)
            if not entries:
                return ()
            rows = self._numbered(entries, known)
            sealed = [self._sealed(row) for row in rows]

            def also(connection: sqlite3.Connection) -> None:
                connection.executemany("INSERT INTO register VALUES (?, ?, ?, ?, ?)", sealed)

            digest = signing.digest(b"".join(signing.digest(row[4]) for row in sealed))
            leaf = self._leaves.owner(subject, user=by, digest=digest)
            await self._log.append(leaf, also=also)
            return rows

    def _numbered(self, entries: Sequence[Entry], known: Mapping[Key, Row]) -> list[Row]:
        last = self._rows[-1] if self._rows else None
        number = last.number if last else 0
        moment = max(ceil(self._clock() * 1000), last.recorded_ms + 1 if last else 0)
        revisions = {key: row.revision for key, row in known.items()}
        found = []
        for entry in entries:
            key = entry.noun, entry.id
            revisions[key] = revisions.get(key, -1) + 1
            number += 1
            found.append(
                Row(number=number, revision=revisions[key], recorded_ms=moment, entry=entry)
            )
        return found

    def _sealed(self, row: Row) -> tuple[int, bytes, int, int, bytes]:
        name = self._name(row.entry.noun, row.entry.id)
        place = _place(name, row.number, row.revision, row.recorded_ms)
        sealed = self._cipher.seal(row.entry.to_octets(), *place)
        return row.number, name, row.revision, row.recorded_ms, sealed

    def _name(self, noun: Noun, entry_id: str) -> bytes:
        """What an entry is found by: 16 octets that say neither noun nor id."""
        return signing.commit(self._names, f"{noun}/{entry_id}".encode())[:16]

    # ── Reporters ────────────────────────────────────────────────────────────────────────────

    async def remember(self, report_id: str, text: str, *, by: str, correct: bool) -> bool:
        """Keep who made a report beside it. Where somebody is known already, that it was held
        against what is typed is a leaf first: whoever may guess could ask.

        :returns: False: somebody else is known, and ``correct`` does not say to replace them.
        """
        if self.has_reporter(report_id):
            known = await self.reporter(report_id, by=by)
            if known == text or not correct:
                return known == text
        name = self._name(Noun.REPORT, report_id)
        row = name, self._cipher.seal(text.encode(), b"reporter", name)

        def also(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO register_reporter VALUES (?, ?)", row)

        await self._log.append(self._leaves.owner("reporter-kept", user=by), also=also)
        return True

    async def reporter(self, report_id: str, *, by: str) -> str:
        """Who made a report, empty where nobody is known; that somebody looked is a leaf first."""
        await self._log.append(self._leaves.owner("reporter-read", user=by))
        return self._reporter(report_id)

    def _reporter(self, report_id: str) -> str:
        name = self._name(Noun.REPORT, report_id)
        rows = self._log.read("SELECT sealed FROM register_reporter WHERE entry = ?", (name,))
        return self._cipher.unseal(rows[0][0], b"reporter", name).decode() if rows else ""

    def has_reporter(self, report_id: str) -> bool:
        """Whether anybody is kept beside a report; nothing is said of who."""
        name = self._name(Noun.REPORT, report_id)
        return bool(self._log.read("SELECT 1 FROM register_reporter WHERE entry = ?", (name,)))

    async def forget(self, report_id: str, *, by: str) -> None:
        """Delete who made a report; the report, and every figure, stays."""
        name = self._name(Noun.REPORT, report_id)

        def also(connection: sqlite3.Connection) -> None:  # this file overwrites what is deleted
            connection.execute("DELETE FROM register_reporter WHERE entry = ?", (name,))

        await self._log.append(self._leaves.owner("reporter-forgotten", user=by), also=also)


def _place(name: bytes, number: int, revision: int, recorded_ms: int) -> tuple[bytes, ...]:
    """Where a row belongs: none opens in another's place, nor as of another time."""
    return b"register", name, *(n.to_bytes(8, "big") for n in (number, revision, recorded_ms))

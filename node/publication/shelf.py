"""The published manifests: kept in the node's own log file, each with the leaf that says so.

A *line* is what one manifest follows another in: the same partners, purposes and scheme, through
epochs and policies. Serials count within it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fairlead import signing
from fairlead.audience import Audience
from fairlead.auditlog import AuditLog
from fairlead.envelope.manifest import Manifest, read_manifest
from fairlead.v1 import blind_pb2

MIGRATIONS = (
    """
    CREATE TABLE blind_manifest (
        line BLOB NOT NULL, serial INTEGER NOT NULL, terms INTEGER NOT NULL,
        accepted BLOB NOT NULL, answers_until INTEGER NOT NULL, manifest BLOB NOT NULL,
        signature BLOB NOT NULL, withdrawn INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (line, serial)
    ) STRICT;
    CREATE INDEX blind_manifest_answering ON blind_manifest (answers_until);
    CREATE TABLE blind_held (
        line BLOB PRIMARY KEY, code TEXT NOT NULL, snapshot BLOB NOT NULL, since REAL NOT NULL
    ) STRICT
    """,
    """
    ALTER TABLE blind_manifest ADD COLUMN receipt BLOB NOT NULL DEFAULT x'';
    CREATE TABLE blind_delivered (
        digest BLOB NOT NULL, reader TEXT NOT NULL, answers_until INTEGER NOT NULL,
        PRIMARY KEY (digest, reader)
    ) STRICT, WITHOUT ROWID
    """,
)
_COLUMNS = "manifest, signature, terms, accepted, withdrawn, receipt != x''"
_NEWEST = f"""
    SELECT {_COLUMNS} FROM blind_manifest WHERE line = ? ORDER BY serial DESC LIMIT 1
"""  # noqa: S608  only names of columns
_ANSWERING = f"""
    SELECT {_COLUMNS} FROM blind_manifest WHERE answers_until > ? ORDER BY line, serial
"""  # noqa: S608
_OF_LINE = f"SELECT {_COLUMNS} FROM blind_manifest WHERE line = ?"  # noqa: S608
_PUT = """
    INSERT INTO blind_manifest
        (line, serial, terms, accepted, answers_until, manifest, signature)
    VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_SUPERSEDED = """
    DELETE FROM blind_manifest WHERE line = ? AND answers_until = ? AND serial < ? AND serial != (
        SELECT coalesce(max(serial), 0) FROM blind_manifest AS taken
        WHERE taken.line = blind_manifest.line AND taken.receipt != x'')
"""
_SHOWN = b"shown"
"""In the place of a receipt: the gateway showed it as its own newest."""
Put = Callable[[sqlite3.Connection], None]


def line_of(audience: Audience, scheme: str) -> bytes:
    """32 octets that name a line."""
    parts = (",".join(audience.partners), ",".join(audience.purposes), scheme)
    return signing.digest(signing.preimage("blind-line", "|".join(parts).encode("ascii")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A manifest this node signed; ``terms`` is how many entries are none of its fillers, and
    ``accepted`` the digest of the exposure that was accepted then; ``announced`` says whether the
    gateway has taken it: its receipt is held, or it showed it itself."""

    signed: blind_pb2.SignedBlindManifest
    manifest: Manifest
    terms: int
    accepted: bytes
    withdrawn: bool = False
    announced: bool = False

    @property
    def line(self) -> bytes:
        """What names its line here."""
        return line_of(self.manifest.audience, self.manifest.scheme)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A snapshot that was held back: why, which one, and since when (unix seconds)."""

    code: str
    snapshot: bytes
    since: float


class Shelf:
    """What an open log holds of publications; changes go with a leaf's transaction."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log

    def newest(self, line: bytes) -> Published | None:
        """The last manifest of a line."""
        rows = self._log.read(_NEWEST, (line,))
        return _published(rows[0]) if rows else None

    def answering(self, now: float) -> list[Published]:
        """Every manifest whose key answers now: the newest of its line and epoch, unless it was
        withdrawn, or a later one of its line was made under another policy."""
        return [items[-1] for items in self._answering(now).values()]

    def delivering(self, now: float) -> list[Published]:
        """What :meth:`answering` says and, of each, the one before it: whoever has begun to fetch
        that one may end."""
        return [item for items in self._answering(now).values() for item in items[-2:]]

    def unannounced(self, now: float) -> list[Published]:
        """What answers now and the gateway has not taken, in the order of serials; nothing that
        it could not take any more, for it has a later one of the line."""
        taken: dict[bytes, int] = {}
        for items in self._answering(now).values():
            for item in items:
                if item.announced:
                    taken[item.line] = max(taken.get(item.line, 0), item.manifest.serial)
        waiting = [i for i in self.answering(now) if i.manifest.serial > taken.get(i.line, 0)]
        return sorted(waiting, key=lambda item: item.manifest.serial)

    def _answering(self, now: float) -> dict[tuple[bytes, int], list[Published]]:
        """Line and epoch → its manifests of the class that the line is published for now."""
        newest: dict[bytes, Published] = {}
        found: dict[tuple[bytes, int], list[Published]] = {}
        for item in map(_published, self._log.read(_ANSWERING, (int(now),))):
            newest[item.line] = item
            found.setdefault((item.line, item.manifest.epoch), []).append(item)
        kept = {
            place: [
                item
                for item in items
                if not item.withdrawn
                and item.manifest.audience == newest[place[0]].manifest.audience
            ]
            for place, items in found.items()
            if not newest[place[0]].withdrawn
        }
        return {
            place: items for place, items in kept.items() if items and items[-1] is found[place][-1]
        }

    def of_line(self, line: bytes) -> list[tuple[Manifest, bool]]:
        """Every manifest of a line that is kept, and whether the gateway has taken it."""
        rows = self._log.read(_OF_LINE, (line,))
        return [(item.manifest, item.announced) for item in map(_published, rows)]

    def delivers(self, manifest: Manifest, now: float) -> bool:
        """Whether a manifest that was once of :meth:`delivering` still is."""
        line = line_of(manifest.audience, manifest.scheme)
        newest = self.newest(line)
        if newest is None or newest.withdrawn or newest.manifest.audience != manifest.audience:
            return False
        last = self._log.read(
            "SELECT serial FROM blind_manifest WHERE line = ? AND answers_until = ? AND "
            "answers_until > ? ORDER BY serial DESC LIMIT 2",
            (line, manifest.answers_until, int(now)),
        )
        return (manifest.serial,) in last

    def was_delivered(self, digest: bytes, reader: str) -> bool:
        """Whether a reader was delivered a piece of it."""
        return bool(
            self._log.read(
                "SELECT 1 FROM blind_delivered WHERE digest = ? AND reader = ?", (digest, reader)
            )
        )

    def held(self, line: bytes) -> Held | None:
        """What is held back in a line."""
        rows = self._log.read(
            "SELECT code, snapshot, since FROM blind_held WHERE line = ?", (line,)
        )
        return Held(code=rows[0][0], snapshot=rows[0][1], since=rows[0][2]) if rows else None


def put_published(line: bytes, item: Published) -> Put:
    """For the transaction of its leaf: the manifest, and the line is held back no longer. Of its
    epoch it and the one before it stay, and the last one of its line that the gateway has taken:
    whatever the gateway shows later must not lie behind that."""
    row = (
        line,
        item.manifest.serial,
        item.terms,
        item.accepted,
        item.manifest.answers_until,
        item.signed.manifest,
        item.signed.signature,
    )

    def put(connection: sqlite3.Connection) -> None:
        connection.execute(_PUT, row)
        connection.execute(_SUPERSEDED, (line, item.manifest.answers_until, row[1] - 1))
        connection.execute("DELETE FROM blind_held WHERE line = ?", (line,))

    return put


def put_adopted(item: Published) -> Put:
    """For the transaction of its leaf: the newest of its line is one that this node signed and
    has forgotten; what it holds of that serial and later ones was never taken. The gateway has
    that one, so it cannot show an earlier one after it."""
    line, serial = item.line, item.manifest.serial
    published, taken = put_published(line, item), put_announced(item, _SHOWN)

    def put(connection: sqlite3.Connection) -> None:
        connection.execute(
            "DELETE FROM blind_manifest WHERE line = ? AND serial >= ?", (line, serial)
        )
        published(connection)
        taken(connection)

    return put


def put_announced(item: Published, receipt: bytes) -> Put:
    """For the transaction of its leaf: the gateway has taken it."""
    row = (receipt, item.line, item.manifest.serial)

    def put(connection: sqlite3.Connection) -> None:
        connection.execute(
            "UPDATE blind_manifest SET receipt = ? WHERE line = ? AND serial = ?", row
        )

    return put


def put_delivered(manifest: Manifest, reader: str, now: float) -> Put:
    """For the transaction of its leaf: a reader was delivered a piece; what is over goes."""
    row = (manifest.digest, reader, manifest.answers_until)

    def put(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM blind_delivered WHERE answers_until <= ?", (int(now),))
        connection.execute("INSERT OR IGNORE INTO blind_delivered VALUES (?, ?, ?)", row)

    return put


def put_held(line: bytes, held: Held) -> Put:
    """For the transaction of the alarm."""
    row = (line, held.code, held.snapshot, held.since)

    def put(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT OR REPLACE INTO blind_held VALUES (?, ?, ?, ?)", row)

    return put


def put_released(line: bytes) -> Put:
    """For the transaction of a recovery."""

    def put(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM blind_held WHERE line = ?", (line,))

    return put


def put_withdrawn(line: bytes) -> Put:
    """For the transaction of its leaf: nothing of the line answers any more."""

    def put(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE blind_manifest SET withdrawn = 1 WHERE line = ?", (line,))
        connection.execute("DELETE FROM blind_held WHERE line = ?", (line,))

    return put


def _published(row: tuple[Any, ...]) -> Published:
    signed = blind_pb2.SignedBlindManifest(manifest=row[0], signature=row[1])
    return Published(
        signed=signed,
        manifest=read_manifest(signed),
        terms=row[2],
        accepted=row[3],
        withdrawn=bool(row[4]),
        announced=bool(row[5]),
    )

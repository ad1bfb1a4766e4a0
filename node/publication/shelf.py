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
)
_NEWEST = """
    SELECT manifest, signature, terms, accepted, withdrawn FROM blind_manifest
    WHERE line = ? ORDER BY serial DESC LIMIT 1
"""
_ANSWERING = """
    SELECT manifest, signature, terms, accepted, withdrawn FROM blind_manifest
    WHERE answers_until > ? ORDER BY line, serial
"""
Put = Callable[[sqlite3.Connection], None]


def line_of(audience: Audience, scheme: str) -> bytes:
    """32 octets that name a line."""
    parts = (",".join(audience.partners), ",".join(audience.purposes), scheme)
    return signing.digest(signing.preimage("blind-line", "|".join(parts).encode("ascii")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A manifest this node signed; ``terms`` is how many entries are none of its fillers, and
    ``accepted`` the digest of the exposure that was accepted then."""

    signed: blind_pb2.SignedBlindManifest
    manifest: Manifest
    terms: int
    accepted: bytes
    withdrawn: bool = False


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
        rows = self._log.read(_ANSWERING, (int(now),))
        newest: dict[bytes, Published] = {}
        found: dict[tuple[bytes, int], Published] = {}
        for item in map(_published, rows):
            line = line_of(item.manifest.audience, item.manifest.scheme)
            newest[line] = found[line, item.manifest.epoch] = item
        return [
            item
            for (line, _), item in found.items()
            if not (item.withdrawn or newest[line].withdrawn)
            and item.manifest.audience == newest[line].manifest.audience
        ]

    def held(self, line: bytes) -> Held | None:
        """What is held back in a line."""
        rows = self._log.read(
            "SELECT code, snapshot, since FROM blind_held WHERE line = ?", (line,)
        )
        return Held(code=rows[0][0], snapshot=rows[0][1], since=rows[0][2]) if rows else None


def put_published(line: bytes, item: Published) -> Put:
    """For the transaction of its leaf: the manifest, and the line is held back no longer."""
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
        connection.execute("INSERT INTO blind_manifest VALUES (?, ?, ?, ?, ?, ?, ?, 0)", row)
        connection.execute("DELETE FROM blind_held WHERE line = ?", (line,))

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
    )

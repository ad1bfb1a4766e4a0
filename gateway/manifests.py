"""The manifests a gateway took, beside its log: each in the transaction of its leaf.

Of a line and epoch the newest two are kept, and of a line the newest even when it is over: what a
later one must follow. A reader that is one behind finds what its next delta leads from. An owner
that had very many lines is held to its last ones: nobody holds anything of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fairlead import merkle
from fairlead.auditlog import Also, AuditLog, Connection
from fairlead.envelope.manifest import Manifest, read_manifest
from fairlead.errors import NotFound
from fairlead.v1 import blind_pb2

MIGRATIONS = (
    """
    CREATE TABLE publication (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        line BLOB NOT NULL, serial INTEGER NOT NULL, owner TEXT NOT NULL, epoch INTEGER NOT NULL,
        class BLOB NOT NULL, digest BLOB NOT NULL UNIQUE, answers_until INTEGER NOT NULL,
        leaf_from INTEGER NOT NULL, leaf_hash BLOB NOT NULL,
        manifest BLOB NOT NULL, signature BLOB NOT NULL, UNIQUE (line, serial)
    ) STRICT;
    CREATE INDEX publication_of_owner ON publication (owner, epoch);
    CREATE INDEX publication_over ON publication (answers_until);
    CREATE TABLE publication_reader (
        partner TEXT NOT NULL,
        position INTEGER NOT NULL REFERENCES publication ON DELETE CASCADE,
        relayed INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (partner, position)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX publication_readers ON publication_reader (position)
    """,
)
_COLUMNS = "position, leaf_from, leaf_hash, manifest, signature"
_READABLE = f"""
    SELECT {_COLUMNS} FROM publication JOIN publication_reader USING (position)
    WHERE partner = ? AND position > ? AND answers_until > ? ORDER BY position LIMIT ?
"""  # noqa: S608  only names of columns
_INSERT = """
    INSERT INTO publication (line, serial, owner, epoch, class, digest, answers_until, leaf_from,
                             leaf_hash, manifest, signature)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING position
"""
_NEWEST = "SELECT digest FROM publication WHERE line = ? ORDER BY serial DESC LIMIT 1"
_SUPERSEDED = """
    DELETE FROM publication WHERE line = ? AND epoch = ? AND serial NOT IN (
        SELECT serial FROM publication WHERE line = ? AND epoch = ? ORDER BY serial DESC LIMIT 2)
"""
_OVER = """
    DELETE FROM publication WHERE answers_until <= ? AND serial < (
        SELECT max(serial) FROM publication AS later WHERE later.line = publication.line)
"""
FORMER = 4_096
"""Manifests of one owner that answer no more and are kept all the same, the last ones brought."""
_FORMER = """
    DELETE FROM publication WHERE owner = ? AND answers_until <= ? AND position NOT IN (
        SELECT position FROM publication WHERE owner = ? AND answers_until <= ?
        ORDER BY position DESC LIMIT ?)
"""
REMEMBERED = 65_536
"""Places of leaves that are remembered."""


class Overtaken(Exception):
    """Another gateway of the same log was quicker: there is nothing to write down yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A manifest that was taken. Its leaf is found from ``leaf_from`` on, by its hash."""

    position: int
    leaf_from: int
    leaf_hash: bytes
    signed: blind_pb2.SignedBlindManifest
    manifest: Manifest


class ManifestShelf:
    """What an open log holds of manifests; changes go with a leaf's transaction."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log
        self._leaves: dict[bytes, int] = {}

    def of_digest(self, digest: bytes) -> Kept | None:
        """The manifest of a digest, unless it was superseded and taken away."""
        return self._one("digest = ?", (digest,))

    def newest(self, line: bytes) -> Kept | None:
        """The last manifest of a line."""
        return self._one("line = ? ORDER BY serial DESC LIMIT 1", (line,))

    def is_fork(self, manifest: Manifest) -> bool:
        """Whether another one of the same node, class, epoch, scheme and serial is kept."""
        found = self._one("line = ? AND serial = ?", (manifest.line, manifest.serial))
        return (
            found is not None
            and found.manifest.digest != manifest.digest
            and (found.manifest.audience.name, found.manifest.epoch)
            == (manifest.audience.name, manifest.epoch)
        )

    def count(self, owner: str, epoch: int, now: float) -> tuple[int, int]:
        """Manifests of an owner that answer, and those of an epoch among them."""
        rows = self._log.read(
            "SELECT count(*), count(*) FILTER (WHERE epoch = ?) FROM publication "
            "WHERE owner = ? AND answers_until > ?",
            (epoch, owner, int(now)),
        )
        return int(rows[0][0]), int(rows[0][1])

    def readable(self, partner: str, *, after: int, now: float, limit: int) -> list[Kept]:
        """What is meant for a partner and still answers, oldest first."""
        return [_kept(r) for r in self._log.read(_READABLE, (partner, after, int(now), limit))]

    def was_relayed(self, position: int, partner: str) -> bool:
        """Whether a reader has begun to fetch it."""
        rows = self._log.read(
            "SELECT relayed FROM publication_reader WHERE partner = ? AND position = ?",
            (partner, position),
        )
        return bool(rows and rows[0][0])

    def leaf_of(self, kept: Kept) -> int:
        """The place of its leaf in the log."""
        digest = kept.manifest.digest
        if digest not in self._leaves:
            rows = self._log.read(
                "SELECT idx FROM leaf WHERE idx >= ? AND hash = ? LIMIT 1",
                (kept.leaf_from, kept.leaf_hash),
            )
            if not rows:
                raise NotFound("the log has no such leaf", reasons=("LEAF_UNKNOWN",))
            if len(self._leaves) >= REMEMBERED:
                self._leaves.clear()
            self._leaves[digest] = int(rows[0][0])
        return self._leaves[digest]

    def _one(self, where: str, parameters: tuple[object, ...]) -> Kept | None:
        rows = self._log.read(
            f"SELECT {_COLUMNS} FROM publication WHERE {where}",  # noqa: S608  fixed texts
            parameters,
        )
        return _kept(rows[0]) if rows else None


def put_manifest(
    signed: blind_pb2.SignedBlindManifest,
    manifest: Manifest,
    *,
    readers: Sequence[str],
    leaf: bytes,
    leaf_from: int,
    now: float,
    after: bytes,
) -> Also:
    """For the transaction of its leaf: keep it, and take away what is superseded or over.

    :param after: digest of the newest of its line, empty for none, that it was found to follow.
    """
    row = (
        manifest.line,
        manifest.serial,
        manifest.owner,
        manifest.epoch,
        manifest.audience.name,
        manifest.digest,
        manifest.answers_until,
        leaf_from,
        merkle.leaf_hash(leaf),
        signed.manifest,
        signed.signature,
    )
    place = (manifest.line, manifest.epoch)

    def put(connection: Connection) -> None:
        newest = connection.execute(_NEWEST, (manifest.line,)).fetchone()
        if (newest[0] if newest else b"") != after:
            raise Overtaken
        (position,) = connection.execute(_INSERT, row).fetchone()
        connection.executemany(
            "INSERT INTO publication_reader (partner, position) VALUES (?, ?)",
            [(partner, position) for partner in readers],
        )
        connection.execute(_SUPERSEDED, place * 2)
        connection.execute(_OVER, (int(now),))
        connection.execute(_FORMER, (manifest.owner, int(now)) * 2 + (FORMER,))

    return put


def put_relayed(position: int, partner: str) -> Also:
    """For the transaction of its leaf: a reader has begun to fetch it."""

    def put(connection: Connection) -> None:
        changed = connection.execute(
            "UPDATE publication_reader SET relayed = 1 "
            "WHERE partner = ? AND position = ? AND relayed = 0",
            (partner, position),
        )
        if changed.rowcount == 0:
            raise Overtaken

    return put


def _kept(row: tuple[Any, ...]) -> Kept:
    signed = blind_pb2.SignedBlindManifest(manifest=row[3], signature=row[4])
    return Kept(
        position=row[0],
        leaf_from=row[1],
        leaf_hash=row[2],
        signed=signed,
        manifest=read_manifest(signed),
    )

"""Which snapshots are held: rows in the node's log file, each in its leaf's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from fairlead import signing
from fairlead.auditlog import AuditLog
from fairlead.envelope.manifest import Manifest, read_manifest
from fairlead.errors import NotFound, Stale, Unreachable
from fairlead.v1 import audit_pb2, blind_pb2

MIGRATIONS = (
    """
    CREATE TABLE snapshot_held (
        line BLOB NOT NULL, epoch INTEGER NOT NULL, answers_until INTEGER NOT NULL,
        manifest BLOB NOT NULL, signature BLOB NOT NULL, receipt BLOB NOT NULL,
        PRIMARY KEY (line, epoch)
    ) STRICT
    """,
)
Put = Callable[[sqlite3.Connection], None]


class HeldShelf:
    """What an open log holds of them."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log

    def manifests(self, now: float) -> list[Manifest]:
        """Of every snapshot held whose key still answers, the manifest; each was verified."""
        rows = self._log.read(
            "SELECT manifest, signature FROM snapshot_held WHERE answers_until > ?", (int(now),)
        )
        return [
            read_manifest(blind_pb2.SignedBlindManifest(manifest=m, signature=s)) for m, s in rows
        ]

    def signed(
        self, manifest: Manifest
    ) -> tuple[blind_pb2.SignedBlindManifest, audit_pb2.Receipt] | None:
        """A held manifest as its owner signed it, and the gateway's receipt for it; None where
        another one took its place since."""
        rows = self._log.read(
            "SELECT manifest, signature, receipt FROM snapshot_held WHERE line = ? AND epoch = ?",
            (manifest.line, manifest.epoch),
        )
        for octets, signature, receipt in rows:
            if signing.digest(octets) == manifest.digest:
                signed = blind_pb2.SignedBlindManifest(manifest=octets, signature=signature)
                return signed, audit_pb2.Receipt.FromString(receipt)
        return None


def put_held(
    signed: blind_pb2.SignedBlindManifest,
    manifest: Manifest,
    receipt: audit_pb2.Receipt,
    now: float,
) -> Put:
    """For the transaction of its leaf: it is held instead of what was; what is over goes."""
    row = (
        manifest.line,
        manifest.epoch,
        manifest.answers_until,
        signed.manifest,
        signed.signature,
        receipt.SerializeToString(),
    )

    def put(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT OR REPLACE INTO snapshot_held VALUES (?, ?, ?, ?, ?, ?)", row)
        connection.execute("DELETE FROM snapshot_held WHERE answers_until <= ?", (int(now),))

    return put


def report_row(manifest: Manifest, *, now: float, confirmed_at: float | None) -> dict[str, Any]:
    """A held snapshot as plain JSON; ages in seconds."""
    return {
        "owner": manifest.owner,
        "scheme": manifest.scheme,
        "purposes": list(manifest.audience.purposes),
        "epoch": manifest.epoch,
        "serial": manifest.serial,
        "entries": manifest.entry_count,
        "age_s": max(0, int(now - manifest.made_at)),
        "confirmed_s": None if not confirmed_at else max(0, int(now - confirmed_at)),
    }


def none() -> NotFound:
    """Nothing is held."""
    return NotFound(
        "this node holds no snapshot of that owner for this purpose and scheme",
        reasons=("NO_SNAPSHOT",),
        remedy="fairlead-node snapshots",
    )


def over() -> Stale:
    """What is held answers no more."""
    return Stale(
        "the epoch of a snapshot is over",
        reasons=("EPOCH_OVER",),
        remedy="wait for the owner's next publication: fairlead-node snapshots",
    )


def other_version() -> Stale:
    """What is held would miss silently."""
    return Stale(
        "a snapshot was made with another version of canonical forms",
        reasons=("NORM_VERSION",),
        remedy="install the version of Fairlead that the owner runs, or ask it to upgrade",
    )


def opening() -> Unreachable:
    """What was held before the start is being opened."""
    return Unreachable(
        "this node has just started and opens the snapshots that it holds",
        reasons=("SNAPSHOTS_OPENING",),
        remedy="fairlead queries list, then: fairlead queries resume QUERY",
    )

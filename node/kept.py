"""What proves an answer to a court: kept with it, encrypted, and no longer than it.

For each answer its sealed body, and in blind mode the manifest and the pages it was looked up in;
for each chunk what opens the commitments of the query, and the reply key that opens the bodies.
A body goes with its line. The reply key opens whatever was sealed to it, so it goes with the last
body.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from node.vault import Vault

MIGRATIONS = (
    """
    CREATE TABLE answer_kept (
        batch_id BLOB NOT NULL REFERENCES batch ON DELETE CASCADE,
        number INTEGER NOT NULL,
        partner_id TEXT NOT NULL,
        kept_until INTEGER NOT NULL,
        body BLOB NOT NULL,
        looked BLOB NOT NULL,
        PRIMARY KEY (batch_id, number, partner_id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE opening (
        batch_id BLOB NOT NULL REFERENCES batch ON DELETE CASCADE,
        number INTEGER NOT NULL,
        asked BLOB NOT NULL,
        reply BLOB,
        PRIMARY KEY (batch_id, number)
    ) STRICT, WITHOUT ROWID;
    """,
)

Place = tuple[bytes, int, str]
"""Batch, chunk and partner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """A sealed body as it came, and plain JSON of what it was looked up in (blind mode)."""

    body: bytes
    looked: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Plain JSON of what opens a chunk's commitments, and the seed of its reply key; none once no
    answer is kept any more."""

    asked: Mapping[str, Any]
    reply: bytes


class Proofs:
    """Those of one node, in its vault."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def put_answer(
        self, connection: sqlite3.Connection, place: Place, until: int, answer: KeptAnswer
    ) -> None:
        """Keep an answer until then (unix seconds), in place of one that came before."""
        batch_id, number, partner = place
        where = batch_id, number, partner.encode()
        connection.execute(
            "INSERT INTO answer_kept VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (batch_id, number, partner_id) DO UPDATE SET "
            "kept_until = excluded.kept_until, body = excluded.body, looked = excluded.looked",
            (
                *place,
                until,
                self._vault.seal(answer.body, b"body", *where),
                self._vault.seal(orjson.dumps(answer.looked), b"looked", *where),
            ),
        )

    def put_opening(
        self, connection: sqlite3.Connection, place: tuple[bytes, int], opening: Opening
    ) -> None:
        """Keep what opens a chunk."""
        connection.execute(
            "INSERT INTO opening VALUES (?, ?, ?, ?) ON CONFLICT (batch_id, number) "
            "DO UPDATE SET asked = excluded.asked, reply = excluded.reply",
            (
                *place,
                self._vault.seal(orjson.dumps(opening.asked), b"asked", *place),
                self._vault.seal(opening.reply, b"reply", *place),
            ),
        )

    def expire(self, connection: sqlite3.Connection, now: int) -> None:
        """Delete the bodies whose time is over, and the keys that open nothing any more."""
        connection.execute("DELETE FROM answer_kept WHERE kept_until <= ?", (now,))
        connection.execute(
            "UPDATE opening SET reply = NULL WHERE reply IS NOT NULL AND NOT EXISTS ("
            "SELECT 1 FROM answer_kept WHERE answer_kept.batch_id = opening.batch_id "
            "AND answer_kept.number = opening.number)"
        )

    def answers(self, batch_id: bytes, number: int, now: float) -> dict[str, KeptAnswer]:
        """What is kept of one chunk's answers, by partner."""
        rows = self._vault.read(
            "SELECT partner_id, body, looked FROM answer_kept "
            "WHERE batch_id = ? AND number = ? AND kept_until > ? ORDER BY partner_id",
            (batch_id, number, int(now)),
        )
        found = {}
        for partner, body, looked in rows:
            where = batch_id, number, partner.encode()
            found[str(partner)] = KeptAnswer(
                body=self._vault.unseal(body, b"body", *where),
                looked=orjson.loads(self._vault.unseal(looked, b"looked", *where)),
            )
        return found

    def opening(self, batch_id: bytes, number: int) -> Opening | None:
        """What opens one chunk; None of one that an earlier version finished."""
        rows = self._vault.read(
            "SELECT asked, reply FROM opening WHERE batch_id = ? AND number = ?",
            (batch_id, number),
        )
        for asked, reply in rows:
            place = batch_id, number
            return Opening(
                asked=orjson.loads(self._vault.unseal(asked, b"asked", *place)),
                reply=self._vault.unseal(reply, b"reply", *place) if reply else b"",
            )
        return None

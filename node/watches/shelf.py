"""Watches at rest: encrypted rows in the vault, outputs under a key that no backup holds."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from fairlead.envelope.elements import Place
from fairlead.errors import Misconfigured, NotFound
from node.blinded import Outputs
from node.vault import Cipher, Vault
from node.watches.watch import Watch, Watched

MIGRATIONS = (
    """
    CREATE TABLE watch (
        watch_id BLOB PRIMARY KEY,
        user TEXT NOT NULL,
        body BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE watch_place (
        watch_id BLOB NOT NULL REFERENCES watch ON DELETE CASCADE,
        owner TEXT NOT NULL,
        scheme TEXT NOT NULL,
        body BLOB NOT NULL,
        outputs BLOB,
        PRIMARY KEY (watch_id, owner, scheme)
    ) STRICT, WITHOUT ROWID;
    """,
)
Work = Callable[[sqlite3.Connection], None]
OUTPUT = 64
"""Octets of one output."""
_PUT = """
    INSERT INTO watch VALUES (?, ?, ?)
    ON CONFLICT (watch_id) DO UPDATE SET body = excluded.body
"""
_PUT_PLACE = """
    INSERT INTO watch_place VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (watch_id, owner, scheme) DO UPDATE SET body = excluded.body
"""
_OUTPUTS = "UPDATE watch_place SET outputs = ? WHERE watch_id = ? AND owner = ? AND scheme = ?"


class WatchShelf:
    """What the vault holds of watches. Writes are durable when they return.

    :param outputs: encrypts what was evaluated.
    """

    def __init__(self, vault: Vault, outputs: Cipher) -> None:
        self._vault = vault
        self._outputs = outputs

    # ── Writing ──────────────────────────────────────────────────────────────────────────────

    async def put(self, watch: Watch, places: Sequence[Watched] = ()) -> None:
        """Keep a watch, and these places of it; outputs of places that are over are erased."""
        work = self._work(watch, places)
        if any(place.over for place in places):
            await self._vault.erase(work)
        else:
            await self._vault.write(work)

    async def put_outputs(self, watch: Watch, found: Sequence[tuple[Watched, Outputs]]) -> None:
        """Keep places with what was evaluated there, instead of what was."""
        put = self._work(watch, [place for place, _ in found])
        rows = [
            (
                self._outputs.seal(b"".join(outputs.rows), *_at(watch.watch_id, place)),
                watch.watch_id,
                place.owner,
                place.scheme,
            )
            for place, outputs in found
        ]

        def work(connection: sqlite3.Connection) -> None:
            put(connection)
            connection.executemany(_OUTPUTS, rows)

        await self._vault.erase(work)

    async def replace(self, watch: Watch, places: Sequence[Watched]) -> None:
        """Keep a watch with these places only; what was evaluated for it is erased."""
        put = self._work(watch, places)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM watch_place WHERE watch_id = ?", (watch.watch_id,))
            put(connection)

        await self._vault.erase(work)

    async def remove(self, watch_id: bytes) -> None:
        """Erase a watch and everything that was evaluated for it."""
        await self._vault.erase(
            lambda connection: connection.execute(
                "DELETE FROM watch WHERE watch_id = ?", (watch_id,)
            )
        )

    def _work(self, watch: Watch, places: Sequence[Watched]) -> Work:
        row = (
            watch.watch_id,
            watch.user_name,
            self._vault.seal(watch.to_bytes(), b"watch", watch.watch_id),
        )
        rows = [
            (
                watch.watch_id,
                place.owner,
                place.scheme,
                self._vault.seal(place.to_bytes(), *_at(watch.watch_id, place)),
                None,
            )
            for place in places
        ]
        over = [(None, watch.watch_id, p.owner, p.scheme) for p in places if p.over]

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(_PUT, row)
            connection.executemany(_PUT_PLACE, rows)
            connection.executemany(_OUTPUTS, over)

        return work

    # ── Reading ──────────────────────────────────────────────────────────────────────────────

    def watches(self, user: str | None = None) -> list[Watch]:
        """Those of one user, or everybody's for None; the newest first."""
        rows = self._vault.read(
            "SELECT watch_id, body FROM watch WHERE ? IS NULL OR user = ? ORDER BY watch_id DESC",
            (user, user),
        )
        return [Watch.from_bytes(self._vault.unseal(b, b"watch", bytes(i))) for i, b in rows]

    def watch(self, watch_id: bytes) -> Watch | None:
        """One watch, if it is kept."""
        rows = self._vault.read("SELECT body FROM watch WHERE watch_id = ?", (watch_id,))
        for (body,) in rows:
            return Watch.from_bytes(self._vault.unseal(body, b"watch", watch_id))
        return None

    def places(self, watch_id: bytes) -> list[Watched]:
        """Its places, by owner and scheme."""
        rows = self._vault.read(
            "SELECT owner, scheme, body FROM watch_place WHERE watch_id = ? ORDER BY owner, scheme",
            (watch_id,),
        )
        return [
            Watched.from_bytes(self._vault.unseal(body, *_place(watch_id, owner, scheme)))
            for owner, scheme, body in rows
        ]

    def outputs(self, watch: Watch, place: Watched) -> Outputs:
        """What was evaluated there.

        :raises NotFound: it is not kept, or came back from a backup, which has not its key.
        """
        rows = self._vault.read(
            "SELECT outputs FROM watch_place "
            "WHERE watch_id = ? AND owner = ? AND scheme = ? AND outputs IS NOT NULL",
            (watch.watch_id, place.owner, place.scheme),
        )
        at = Place(scheme=place.scheme, audience=place.audience, epoch=place.epoch)
        for (sealed,) in rows:
            try:
                data = self._outputs.unseal(sealed, *_at(watch.watch_id, place))
            except Misconfigured:
                break
            cut = range(0, len(data), OUTPUT)
            return Outputs(place=at, rows=tuple(data[i : i + OUTPUT] for i in cut))
        raise NotFound("what was evaluated is not kept any more", reasons=("OUTPUTS_LOST",))


def _at(watch_id: bytes, place: Watched) -> tuple[bytes, ...]:
    return _place(watch_id, place.owner, place.scheme)


def _place(watch_id: bytes, owner: str, scheme: str) -> tuple[bytes, ...]:
    return b"watch-place", watch_id, owner.encode(), scheme.encode()

"""What this node's users asked and were told: durable, encrypted at rest, deleted in time.

Two promises rest here. Before a chunk leaves, its exact octets and its reply key are durable, so
that after a crash the same octets are sent again and no term is asked twice. And an answer is
kept no longer than its owner and the case allow. Everything but ids, pseudonyms and times is
encrypted (see :mod:`node.vault`). With an answer stays what proves it to a court: its sealed body
and the chunk's reply key (:mod:`node.kept`); the key goes with the last body that it opens.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from fairlead.errors import NotFound
from fairlead.v1 import asking_pb2 as pb
from fairlead.v1 import query_pb2
from node.batch import Batch
from node.kept import KeptAnswer, Opening, Proofs
from node.termlist import Term, TermLists
from node.vault import Vault

MIGRATIONS = (
    """
    CREATE TABLE batch (
        batch_id BLOB PRIMARY KEY,
        user TEXT NOT NULL,
        asked_at INTEGER NOT NULL,
        kept_until INTEGER NOT NULL,
        summary BLOB NOT NULL,
        opened BLOB NOT NULL,
        secret BLOB
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE chunk (
        batch_id BLOB NOT NULL REFERENCES batch ON DELETE CASCADE,
        number INTEGER NOT NULL,
        query_id BLOB NOT NULL UNIQUE,
        request BLOB,
        evidence BLOB,
        done INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (batch_id, number)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE line (
        batch_id BLOB NOT NULL REFERENCES batch ON DELETE CASCADE,
        number INTEGER NOT NULL,
        partner_id TEXT NOT NULL,
        kept_until INTEGER NOT NULL,
        line BLOB NOT NULL,
        PRIMARY KEY (batch_id, number, partner_id)
    ) STRICT, WITHOUT ROWID;
    """,
)
DAY_S = 86_400
MAX_LISTED = 1_000
"""Queries in one list, the newest ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptChunk:
    """One chunk as it stands. ``request`` is empty once it is done."""

    query_id: bytes
    request: bytes
    done: bool


class History:
    """The queries of one node's users. Writes are durable when they return."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self.lists = TermLists(vault)
        self.proofs = Proofs(vault)

    # ── Writing ──────────────────────────────────────────────────────────────────────────────

    async def begin(
        self,
        batch: Batch,
        query_id: bytes = b"",
        request: bytes = b"",
        *,
        also: Callable[[sqlite3.Connection], None] | None = None,
    ) -> None:
        """Keep a batch and its first chunk, before anything leaves.

        :param request: the chunk's octets; none when nothing is about to leave.
        :param also: work for the same transaction.
        """
        kept_until = batch.asked_at + batch.case_retention_days * DAY_S
        summary = batch.summary().SerializeToString()
        opened = batch.opened().SerializeToString()

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    batch.batch_id,
                    batch.user_name,
                    batch.asked_at,
                    kept_until,
                    self._vault.seal(summary, b"summary", batch.batch_id),
                    self._vault.seal(opened, b"opened", batch.batch_id),
                    self._vault.seal(batch.to_bytes(), b"secret", batch.batch_id),
                ),
            )
            batch.terms.keep(connection, batch.batch_id)
            if request:
                self._put_chunk(connection, batch.batch_id, 0, query_id, request)
            if also is not None:
                also(connection)

        await self._vault.write(work)
        self.lists.settle(batch.terms)

    def put_secret(self, connection: sqlite3.Connection, batch: Batch) -> None:
        """Keep a batch's secrets as they are now."""
        secret = self._vault.seal(batch.to_bytes(), b"secret", batch.batch_id)
        connection.execute(
            "UPDATE batch SET secret = ? WHERE batch_id = ?", (secret, batch.batch_id)
        )

    def erase_secret(self, connection: sqlite3.Connection, batch_id: bytes) -> None:
        """Nothing of this batch can be sent any more."""
        connection.execute("UPDATE batch SET secret = NULL WHERE batch_id = ?", (batch_id,))

    async def put_chunk(
        self, batch_id: bytes, number: int, query_id: bytes, request: bytes
    ) -> None:
        """Keep a chunk's octets before they leave, in place of those nobody ever received."""
        await self._vault.write(
            lambda connection: self._put_chunk(connection, batch_id, number, query_id, request)
        )

    def _put_chunk(
        self,
        connection: sqlite3.Connection,
        batch_id: bytes,
        number: int,
        query_id: bytes,
        request: bytes,
    ) -> None:
        connection.execute(
            "INSERT OR REPLACE INTO chunk (batch_id, number, query_id, request) "
            "VALUES (?, ?, ?, ?)",
            (batch_id, number, query_id, self._vault.seal(request, b"request", batch_id, number)),
        )

    async def put_line(
        self,
        batch: Batch,
        number: int,
        line: pb.OpenedAnswer,
        retention_days: int,
        now: float,
        *,
        answer: KeptAnswer | None = None,
    ) -> None:
        """Keep one partner's line of one chunk, as long as owner and case allow.

        :param answer: what proves it, where there was an answer; kept as long as the line.
        """
        days = min(retention_days, batch.case_retention_days)
        sealed = self._vault.seal(
            line.SerializeToString(), b"line", batch.batch_id, number, line.partner_id.encode()
        )
        until = int(now) + days * DAY_S
        row = (batch.batch_id, number, line.partner_id, until, sealed)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO line VALUES (?, ?, ?, ?, ?)", row)
            if answer is not None:
                place = batch.batch_id, number, line.partner_id
                self.proofs.put_answer(connection, place, until, answer)

        await self._vault.write(work)

    async def finish_chunk(
        self,
        batch: Batch,
        number: int,
        evidence: pb.Evidence | None,
        query_id: bytes,
        *,
        opening: Opening | None = None,
    ) -> None:
        """A chunk has its last line: keep its evidence and erase what could send it again. With
        the last chunk the batch's own secrets go too.

        :param opening: what shows a court what was asked, and opens the answers that are kept;
            their bodies are then kept with their lines, and not in the evidence.
        """
        kept = None
        if evidence is not None:
            if opening is not None:
                evidence = without_bodies(evidence)
            data = evidence.SerializeToString()
            kept = self._vault.seal(data, b"evidence", batch.batch_id, number)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO chunk (batch_id, number, query_id, evidence, done) "
                "VALUES (?, ?, ?, ?, 1) ON CONFLICT (batch_id, number) "
                "DO UPDATE SET request = NULL, evidence = excluded.evidence, done = 1",
                (batch.batch_id, number, query_id, kept),
            )
            connection.execute(
                "UPDATE batch SET secret = NULL WHERE batch_id = ? AND ? <= "
                "(SELECT count(*) FROM chunk WHERE batch_id = ? AND done = 1)",
                (batch.batch_id, batch.chunks, batch.batch_id),
            )
            if opening is not None:
                self.proofs.put_opening(connection, (batch.batch_id, number), opening)

        await self._vault.write(work)

    async def expire(self, now: float) -> int:
        """Delete what may be kept no longer; returns how many answers and queries went."""

        def work(connection: sqlite3.Connection) -> int:
            lines = connection.execute("DELETE FROM line WHERE kept_until <= ?", (int(now),))
            self.proofs.expire(connection, int(now))
            batches = connection.execute("DELETE FROM batch WHERE kept_until <= ?", (int(now),))
            return lines.rowcount + batches.rowcount

        return await self._vault.write(work)

    # ── Reading ──────────────────────────────────────────────────────────────────────────────

    def find(self, query_id: bytes) -> bytes:
        """The batch a query id names: its own, or that of one of its chunks.

        :raises NotFound: nothing of that id is kept.
        """
        rows = self._vault.read(
            "SELECT batch_id FROM batch WHERE batch_id = ? "
            "UNION SELECT batch_id FROM chunk WHERE query_id = ?",
            (query_id, query_id),
        )
        for (batch_id,) in rows:
            return bytes(batch_id)
        raise unknown_query()

    def owner(self, batch_id: bytes) -> str:
        """The pseudonym of the user who asked."""
        ((user,),) = self._vault.read("SELECT user FROM batch WHERE batch_id = ?", (batch_id,))
        return str(user)

    def batch(self, batch_id: bytes) -> Batch | None:
        """The batch with its secrets; None once every chunk is done. One that an earlier version
        left unfinished is none either: its mandate is over."""
        ((secret,),) = self._vault.read("SELECT secret FROM batch WHERE batch_id = ?", (batch_id,))
        terms = self.lists.of_batch(batch_id)
        if secret is None or terms is None:
            return None
        return Batch.from_bytes(self._vault.unseal(secret, b"secret", batch_id), terms)

    def terms(self, batch_id: bytes) -> Iterable[Term]:
        """The terms of a batch, in order."""
        terms = self.lists.of_batch(batch_id)
        return () if terms is None else terms

    def pages(self, batch_id: bytes) -> Iterator[pb.AskResponse.Page]:
        """The terms and rows of a batch, page by page."""
        terms = self.lists.of_batch(batch_id)
        return iter(()) if terms is None else terms.pages()

    def opened(self, batch_id: bytes) -> pb.AskResponse.Batch:
        """The batch as its user sees it, with how far it has come."""
        ((sealed,),) = self._vault.read("SELECT opened FROM batch WHERE batch_id = ?", (batch_id,))
        opened = pb.AskResponse.Batch.FromString(self._vault.unseal(sealed, b"opened", batch_id))
        opened.summary.CopyFrom(self.summary(batch_id))
        return opened

    def summary(self, batch_id: bytes) -> pb.QuerySummary:
        """The batch's metadata."""
        ((sealed, until),) = self._vault.read(
            "SELECT summary, kept_until FROM batch WHERE batch_id = ?", (batch_id,)
        )
        summary = pb.QuerySummary.FromString(self._vault.unseal(sealed, b"summary", batch_id))
        ((summary.chunks_done,),) = self._vault.read(
            "SELECT count(*) FROM chunk WHERE batch_id = ? AND done = 1", (batch_id,)
        )
        summary.kept_until = until
        return summary

    def listed(self, user: str | None) -> list[pb.QuerySummary]:
        """Queries of one user, or of everybody for None; newest first."""
        rows = self._vault.read(
            "SELECT batch_id FROM batch WHERE ? IS NULL OR user = ? "
            "ORDER BY asked_at DESC, batch_id DESC LIMIT ?",
            (user, user, MAX_LISTED),
        )
        return [self.summary(bytes(batch_id)) for (batch_id,) in rows]

    def of_case(self, case_id: str) -> list[bytes]:
        """The batches of one case, the oldest first; every summary has to be opened for it."""
        rows = self._vault.read("SELECT batch_id FROM batch ORDER BY asked_at, batch_id")
        found = (bytes(batch_id) for (batch_id,) in rows)
        return [batch_id for batch_id in found if self.summary(batch_id).case_id == case_id]

    def asked_since(self, moment: float) -> Iterator[tuple[str, float, Iterable[Term]]]:
        """User, unix seconds and terms of every query asked since, the oldest first."""
        rows = self._vault.read(
            "SELECT batch_id, user, asked_at FROM batch WHERE asked_at >= ? ORDER BY asked_at",
            (int(moment),),
        )
        for batch_id, user, asked_at in rows:
            yield user, asked_at, self.terms(bytes(batch_id))

    def chunk(self, batch_id: bytes, number: int) -> KeptChunk | None:
        """One chunk, or None when it was never made."""
        rows = self._vault.read(
            "SELECT query_id, request, done FROM chunk WHERE batch_id = ? AND number = ?",
            (batch_id, number),
        )
        for query_id, request, done in rows:
            octets = self._vault.unseal(request, b"request", batch_id, number) if request else b""
            return KeptChunk(query_id=bytes(query_id), request=octets, done=bool(done))
        return None

    def chunk_ids(self, batch_id: bytes) -> list[bytes]:
        """The query ids of its chunks so far, in order."""
        rows = self._vault.read(
            "SELECT query_id FROM chunk WHERE batch_id = ? ORDER BY number", (batch_id,)
        )
        return [bytes(query_id) for (query_id,) in rows]

    def lines(self, batch_id: bytes, number: int, now: float) -> list[pb.OpenedAnswer]:
        """The lines of one chunk that may still be kept, in the order of partners."""
        rows = self._vault.read(
            "SELECT partner_id, line FROM line "
            "WHERE batch_id = ? AND number = ? AND kept_until > ? ORDER BY partner_id",
            (batch_id, number, int(now)),
        )
        return [
            pb.OpenedAnswer.FromString(
                self._vault.unseal(line, b"line", batch_id, number, partner.encode())
            )
            for partner, line in rows
        ]

    def evidence(self, batch_id: bytes, number: int, now: float) -> pb.Evidence | None:
        """The evidence of a finished chunk, when there is any, and every answer may be kept."""
        evidence = self.signed(batch_id, number)
        if evidence is None:
            return None
        bodies = self.proofs.answers(batch_id, number, now)
        for answer in evidence.answers:
            header = query_pb2.AnswerHeader.FromString(answer.header)
            if header.status == query_pb2.STATUS_ANSWERED and not answer.body:
                if header.partner_id not in bodies:
                    return None
                answer.body = bodies[header.partner_id].body
        return evidence

    def signed(self, batch_id: bytes, number: int) -> pb.Evidence | None:
        """The same as it is kept: without bodies, whatever may still be kept of them."""
        rows = self._vault.read(
            "SELECT evidence FROM chunk WHERE batch_id = ? AND number = ?", (batch_id, number)
        )
        for (sealed,) in rows:
            if sealed is not None:
                return pb.Evidence.FromString(
                    self._vault.unseal(sealed, b"evidence", batch_id, number)
                )
        return None


def without_bodies(evidence: pb.Evidence) -> pb.Evidence:
    """A copy with the signed headers of its answers alone."""
    bare = pb.Evidence()
    bare.CopyFrom(evidence)
    for answer in bare.answers:
        answer.ClearField("body")
    return bare


def unknown_query() -> NotFound:
    """The same words for a query that is unknown and for one that is somebody else's."""
    return NotFound(
        "no such query of yours is kept at this node",
        reasons=("UNKNOWN_QUERY",),
        remedy="fairlead queries list",
    )

"""The one door of every server that answers queries.

Gateway and owner run the same numbered procedure; they differ in what they decide, which they
hand in. Whatever goes wrong behind the door becomes a REFUSAL leaf before the caller hears of
it (a stale receipt and a repetition are no refusals: the first is re-issued, the second is
shown what is stored), and nothing is decided for a query that has not verified.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from fairlead.auditlog import Appended, AuditLog
from fairlead.certificates import Identity
from fairlead.envelope.query import Query, verify_query
from fairlead.errors import Conflict, FairleadError, Overloaded
from fairlead.leaves import LeafWriter
from fairlead.partners import DenyLists, Directory
from fairlead.receipts import CheckpointFork, CheckpointStale
from fairlead.telemetry import Event, get_logger
from fairlead.v1 import query_pb2

D = TypeVar("D")

MIGRATIONS = (
    """
    CREATE TABLE queries (
        session_key BLOB NOT NULL,
        query_id BLOB NOT NULL,
        header_digest BLOB NOT NULL,
        outcome BLOB,
        signature BLOB,
        PRIMARY KEY (session_key, query_id)
    ) WITHOUT ROWID
    """,
)


class Replayed(Conflict):
    """The same query came again; what was stored is returned and nobody is asked."""

    default_code = "REPLAYED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What a decision wants written before anything happens."""

    leaf: bytes
    detail: bytes = b""
    also: Callable[[sqlite3.Connection], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted(Generic[D]):
    """A query behind the door: verified, decided, and on the record."""

    query: Query
    decision: D
    intent: Appended


class Admission:
    """The door of one server; ``limit`` queries at most are behind it at a time."""

    def __init__(
        self,
        *,
        log: AuditLog,
        leaves: LeafWriter,
        directory: Directory,
        deny_lists: DenyLists,
        clock: Callable[[], float],
        limit: int,
    ) -> None:
        self._log = log
        self._leaves = leaves
        self._directory = directory
        self._deny_lists = deny_lists
        self._clock = clock
        self._limit = limit
        self._inside = 0

    async def admit(
        self,
        signed: query_pb2.SignedQuery,
        *,
        peer: Identity,
        subject: str,
        decide: Callable[[Query], Awaitable[tuple[D, Intent]]],
    ) -> Admitted[D]:
        """Admit one query.

        1. Capacity: more than ``limit`` queries inside is a refusal, before any work.
        2. Envelope: every signature, binding and time of the query verifies.
        3. Not answered before: a repetition is REPLAYED, the same id with another content is
           QUERY_ID_REUSED.
        4. Decision: whatever ``decide`` demands; it raises to refuse.
        5. INTENT durable, in one transaction with the replay record of step 3.

        The peer's identity, its certificate and its right to call this RPC were checked by the
        server before (``fairlead.server``); the caller of this method holds the slot of step 1
        until it calls :meth:`leave`.

        :raises FairleadError: refused; the refusal is already in the log.
        """
        try:
            # 1
            if self._inside >= self._limit:
                raise Overloaded("this server is busy", remedy="ask again in a few seconds")
            self._inside += 1
        except Overloaded as error:
            await self._refuse(error, signed, peer, subject)
            raise
        try:
            # 2
            query = verify_query(
                signed,
                directory=self._directory,
                deny_lists=self._deny_lists,
                now=self._clock(),
            )
            # 3
            self._check_replay(query)
            # 4
            decision, intent = await decide(query)
            # 5
            appended = await self._log.append(
                intent.leaf, detail=intent.detail, also=_remember(query, intent.also)
            )
        except BaseException as error:
            self._inside -= 1
            benign = isinstance(error, Replayed | CheckpointStale)
            if isinstance(error, FairleadError) and not benign:
                await self._refuse(error, signed, peer, subject)
            raise
        return Admitted(query=query, decision=decision, intent=appended)

    def leave(self) -> None:
        """Give the slot of an admitted query back."""
        self._inside -= 1

    def _check_replay(self, query: Query) -> None:
        rows = self._log.read(
            "SELECT header_digest FROM queries WHERE session_key = ? AND query_id = ?",
            (query.session_key, query.query_id),
        )
        for (known,) in rows:
            raise _repeated(known, query)

    async def _refuse(
        self, error: FairleadError, signed: query_pb2.SignedQuery, peer: Identity, subject: str
    ) -> None:
        if isinstance(error, CheckpointFork):
            leaf = self._leaves.alarm(error.reasons, subject=subject, checkpoints=error.checkpoints)
        else:
            leaf = self._leaves.refusal(
                error,
                subject=subject,
                partner_id=peer.partner_id or "",
                user=peer.spiffe_id,
                query_id=_claimed_id(signed),
            )
        await self._log.append(leaf)
        get_logger().warning(Event.QUERY_REFUSED, error=error, partner=peer.partner_id)


def _claimed_id(signed: query_pb2.SignedQuery) -> bytes:
    """The query id a refused caller claims, or nothing: it is recorded, never believed."""
    try:
        claimed = query_pb2.QueryHeader.FromString(signed.header).query_id
    except Exception:  # noqa: BLE001  the octets are hostile; no reading of them may fail the log
        return b""
    return claimed if len(claimed) == 16 else b""


def _repeated(known: bytes, query: Query) -> Conflict:
    if known == query.header_digest:
        return Replayed("this query was asked before")
    return Conflict("this query id was used for another query", reasons=("QUERY_ID_REUSED",))


def _remember(
    query: Query, also: Callable[[sqlite3.Connection], None] | None
) -> Callable[[sqlite3.Connection], None]:
    """Record the query in the INTENT's own transaction, refusing a repetition."""

    def record(connection: sqlite3.Connection) -> None:
        key = (query.session_key, query.query_id)
        found = connection.execute(
            "SELECT header_digest FROM queries WHERE session_key = ? AND query_id = ?", key
        ).fetchone()
        if found is not None:
            raise _repeated(found[0], query)
        connection.execute(
            "INSERT INTO queries (session_key, query_id, header_digest) VALUES (?, ?, ?)",
            (*key, query.header_digest),
        )
        if also is not None:
            also(connection)

    return record

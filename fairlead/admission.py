"""The one door of every server that answers queries.

Gateway and owner run the same numbered procedure; they differ in what they decide, which they
hand in. Whatever goes wrong behind the door becomes a REFUSAL leaf before the caller hears of
it (a stale receipt and a repetition are no refusals: the first is re-issued, the second is
shown what is stored), and nothing is decided for a query that has not verified.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from fairlead import signing
from fairlead.auditlog import Also, Appended, AuditLog, Connection
from fairlead.certificates import Identity
from fairlead.envelope.query import Query, verify_query
from fairlead.errors import Conflict, FairleadError, Forged, Overloaded, Stale
from fairlead.leaves import LeafWriter
from fairlead.partners import DenyLists, Directories
from fairlead.receipts import CheckpointFork, CheckpointStale
from fairlead.remembered import RememberedCertificates
from fairlead.telemetry import Event, get_logger
from fairlead.v1 import query_pb2

D = TypeVar("D")

MIGRATIONS = (
    """
    CREATE TABLE queries (
        query_id BLOB PRIMARY KEY,
        session_key BLOB NOT NULL,
        chunk INTEGER NOT NULL,
        header_digest BLOB NOT NULL,
        nonce BLOB NOT NULL,
        outcome BLOB,
        signature BLOB,
        UNIQUE (session_key, chunk)
    ) WITHOUT ROWID
    """,
    "ALTER TABLE queries ADD COLUMN asker TEXT NOT NULL DEFAULT ''",
)


class Replayed(Conflict):
    """The same query came again; what was stored is returned and nobody is asked."""

    default_code = "REPLAYED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What a decision wants written before anything happens."""

    leaf: bytes
    nonce: bytes
    """Opens the leaf's commitment; kept with the replay record."""
    detail: bytes = b""
    also: Also | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted(Generic[D]):
    """A query behind the door: verified, decided, and on the record."""

    query: Query
    decision: D
    intent: Appended


class Admission:
    """The door of one server.

    :param limit: queries behind the door at a time; each asking partner gets at most a quarter
        of it, so that nobody keeps the others out.
    """

    def __init__(
        self,
        *,
        log: AuditLog,
        leaves: LeafWriter,
        directory: Directories,
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
        self._share = max(1, limit // 4)
        self._inside: Counter[str] = Counter()
        self._identify = RememberedCertificates()
        self._shut = False

    async def admit(
        self,
        signed: query_pb2.SignedQuery,
        *,
        peer: Identity,
        subject: str,
        decide: Callable[[Query], Awaitable[tuple[D, Intent]]],
    ) -> Admitted[D]:
        """Admit one query.

        1. Envelope: every signature, binding and time of the query verifies, and a node brings
           its own partner's queries only.
        2. Not answered before: a repetition is REPLAYED, the same id with another content is
           QUERY_ID_REUSED, a second query under a mandate's chunk is MANDATE_USED. A repetition
           that comes after its time is still one: its asker may not know what became of it.
        3. Capacity: the server is not about to stop (:meth:`shut`), and no more than ``limit``
           queries are inside, nor more than its share of one asker.
        4. Decision: whatever ``decide`` demands; it raises to refuse.
        5. INTENT durable, in one transaction with the replay record of step 2.

        The peer's identity, its certificate and its right to call this RPC were checked by the
        server before (``fairlead.door``); the caller of this method holds the place of step 3
        until it calls :meth:`leave`.

        :raises FairleadError: refused; the refusal is already in the log.
        """
        query: Query | None = None
        inside = False
        try:
            # 1
            query = self._verify(signed, peer)
            if peer.partner_id not in {None, query.asker.partner_id}:
                raise Forged(
                    "a query is brought by another partner's node", reasons=("WRONG_PEER",)
                )
            # 2
            self._check_replay(query)
            # 3
            self._enter(query)
            inside = True
            # 4
            decision, intent = await decide(query)
            # 5
            appended = await self._log.append(
                intent.leaf, detail=intent.detail, also=remember(query, intent.nonce, intent.also)
            )
        except BaseException as error:
            if inside and query is not None:
                self.leave(query)
            benign = isinstance(error, Replayed | CheckpointStale)
            if isinstance(error, FairleadError) and not benign:
                await self._refuse(error, signed, peer, subject)
            raise
        return Admitted(query=query, decision=decision, intent=appended)

    def _verify(self, signed: query_pb2.SignedQuery, peer: Identity) -> Query:
        """Step 1, where a query that is too late is looked up before it is refused.

        :raises Replayed: it verified in its time, and the same asker brings the same octets.
        """
        try:
            return verify_query(
                signed,
                directory=self._directory,
                deny_lists=self._deny_lists,
                now=self._clock(),
                identify=self._identify,
            )
        except Stale:
            header = query_pb2.QueryHeader.FromString(signed.header)
            rows = self._log.read(
                "SELECT header_digest, asker FROM queries WHERE query_id = ?", (header.query_id,)
            )
            if (signing.digest(signed.header), peer.partner_id) in rows:
                raise Replayed("this query was asked before") from None
            raise

    def shut(self) -> None:
        """Let nobody in any more; who is inside stays until it leaves."""
        self._shut = True

    def _enter(self, query: Query) -> None:
        if self._shut:
            raise Overloaded(
                "this server is about to stop",
                reasons=("DRAINING",),
                remedy="ask again in a minute: the server is being restarted",
            )
        asker = query.asker.partner_id
        if self._inside.total() >= self._limit or self._inside[asker] >= self._share:
            raise Overloaded("this server is busy", remedy="ask again in a few seconds")
        self._inside[asker] += 1

    def leave(self, query: Query) -> None:
        """Give the place of an admitted query back."""
        self._inside[query.asker.partner_id] -= 1

    def _check_replay(self, query: Query) -> None:
        _refuse_repetition(self._log.read(_SEEN, _seen_key(query)), query)

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


_SEEN = """
    SELECT query_id, header_digest FROM queries
    WHERE query_id = ? OR (session_key = ? AND chunk = ?)
"""


def _seen_key(query: Query) -> tuple[object, ...]:
    return query.query_id, query.session_key, query.chunk


def _refuse_repetition(rows: Iterable[tuple[bytes, bytes]], query: Query) -> None:
    for query_id, header_digest in rows:
        if header_digest == query.header_digest:
            raise Replayed("this query was asked before")
        if query_id == query.query_id:
            raise Conflict("this query id was used before", reasons=("QUERY_ID_REUSED",))
        raise Conflict(
            "this mandate was used for another query",
            reasons=("MANDATE_USED",),
            remedy="ask again: a new query gets a new mandate",
        )


def remember(query: Query, nonce: bytes, also: Also | None = None) -> Also:
    """Work for an INTENT's own transaction: record the query, refusing a repetition.

    :param nonce: opens the leaf's commitment.
    """

    def record(connection: Connection) -> None:
        done = connection.execute(
            "INSERT INTO queries (query_id, session_key, chunk, header_digest, nonce, asker) "
            "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (*_seen_key(query), query.header_digest, nonce, query.asker.partner_id),
        )
        if done.rowcount == 0:  # the table's keys refuse it: say which repetition it is
            _refuse_repetition(connection.execute(_SEEN, _seen_key(query)), query)
        if also is not None:
            also(connection)

    return record

"""What an answer was good for: told to its owner, sealed; kept at both ends for later figures."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from fairlead import signing
from fairlead.auditlog import AuditLog
from fairlead.certificates import Identity
from fairlead.envelope.chunk import chunk_size
from fairlead.envelope.feedback import (
    PER_QUERY,
    open_feedback,
    seal_feedback,
    verify_feedback,
)
from fairlead.envelope.query import uuid7
from fairlead.errors import FairleadError, InvalidInput, NotFound, Overloaded, Refused
from fairlead.keyring import KeyRing
from fairlead.leaves import LeafWriter
from fairlead.partners import Directories
from fairlead.v1 import asking_pb2 as pb
from fairlead.v1 import query_pb2
from node.history import History, unknown_query
from node.vault import Vault

MIGRATIONS = (
    """
    CREATE TABLE feedback (
        feedback_id BLOB PRIMARY KEY,
        received INTEGER NOT NULL,
        query_id BLOB NOT NULL,
        partner_id TEXT NOT NULL,
        time_s INTEGER NOT NULL,
        body BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX feedback_of_query ON feedback (query_id);
    """,
)
WORDS: Mapping[int, str] = {
    query_pb2.FEEDBACK_OUTCOME_USEFUL: "useful",
    query_pb2.FEEDBACK_OUTCOME_NOT_USEFUL: "not-useful",
    query_pb2.FEEDBACK_OUTCOME_MEASURE: "measure",
    query_pb2.FEEDBACK_OUTCOME_SEIZURE: "seizure",
}

Forward = Callable[[query_pb2.SignedFeedback], Awaitable[None]]
"""Passes feedback to the gateway; raises a FairleadError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One piece of feedback, sent or received; time in unix seconds."""

    received: bool
    query_id: bytes
    partner_id: str
    time_s: int
    outcome: str
    scheme: str
    value: str


class FeedbackBook:
    """Feedback sent and received, in the node's vault."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def put(
        self, body: query_pb2.FeedbackBody, *, partner_id: str, received: bool, now: float
    ) -> bool:
        """Keep it; False when this very feedback was kept before.

        :raises Overloaded: FEEDBACK_LIMIT: too much about one query.
        """
        sealed = self._vault.seal(body.SerializeToString(), b"feedback", body.feedback_id)
        row = (body.feedback_id, int(received), body.query_id, partner_id, int(now), sealed)
        seen, about = (
            self._vault.read("SELECT count(*) FROM feedback WHERE feedback_id = ?", row[:1]),
            self._vault.read("SELECT count(*) FROM feedback WHERE query_id = ?", (row[2],)),
        )
        if seen[0][0]:
            return False
        if about[0][0] >= PER_QUERY:
            raise Overloaded("there is much feedback on this query", reasons=("FEEDBACK_LIMIT",))
        await self._vault.write(
            lambda connection: connection.execute(
                "INSERT OR IGNORE INTO feedback VALUES (?, ?, ?, ?, ?, ?)", row
            )
        )
        return True

    async def expire(self, until: float) -> int:
        """Delete what was kept at ``until`` or before; returns how much that was."""
        return await self._vault.write(
            lambda connection: (
                connection.execute("DELETE FROM feedback WHERE time_s <= ?", (int(until),)).rowcount
            )
        )

    def listed(self) -> list[Kept]:
        """All of it, newest first."""
        rows = self._vault.read(
            "SELECT feedback_id, received, query_id, partner_id, time_s, body FROM feedback "
            "ORDER BY time_s DESC, feedback_id DESC"
        )
        return [_kept(self._vault, row) for row in rows]


def _kept(vault: Vault, row: tuple[object, ...]) -> Kept:
    feedback_id, received, query_id, partner_id, time_s, sealed = row
    data = vault.unseal(sealed, b"feedback", feedback_id)  # type: ignore[arg-type]
    body = query_pb2.FeedbackBody.FromString(data)
    return Kept(
        received=bool(received),
        query_id=query_id,  # type: ignore[arg-type]
        partner_id=str(partner_id),
        time_s=int(str(time_s)),
        outcome=WORDS.get(body.outcome, "unknown"),
        scheme=body.scheme,
        value=body.value,
    )


class Feedback:
    """Sends feedback for the partner's own users and takes in what others say."""

    def __init__(
        self,
        *,
        partner_id: str,
        keys: KeyRing,
        log: AuditLog,
        leaves: LeafWriter,
        directory: Directories,
        history: History,
        book: FeedbackBook,
        forward: Forward,
        clock: Callable[[], float],
    ) -> None:
        self._partner_id = partner_id
        self._keys = keys
        self._log = log
        self._leaves = leaves
        self._directory = directory
        self._history = history
        self._book = book
        self._forward = forward
        self._clock = clock

    async def send(self, request: pb.SendFeedbackRequest, user: Identity) -> None:
        """Seal feedback to the owner of an answer and have it passed on.

        :raises NotFound: the query is not kept or not the user's, or the term is not one of it.
        :raises Refused: NOT_ANSWERED: this partner answered nothing there.
        :raises FairleadError: the gateway or the owner does not take it.
        """
        try:
            await self._send(request, user)
        except FairleadError as error:
            await self._refuse(error, "AskingService.SendFeedback", user)
            raise

    async def _send(self, request: pb.SendFeedbackRequest, user: Identity) -> None:
        if request.outcome not in WORDS:
            raise InvalidInput(
                "no such outcome", reasons=("OUTCOME",), remedy="fairlead feedback --help"
            )
        now = self._clock()
        directory = self._directory.asking
        owner = directory.partner(request.partner_id)
        key = self._keys.signing(directory.partner(self._partner_id).signing_key)
        query_id = self._answered(request, user, now)
        body = query_pb2.FeedbackBody(
            feedback_id=uuid7(now),
            query_id=query_id,
            outcome=request.outcome,
            scheme=request.term.scheme,
            value=request.term.value,
        )
        signed = seal_feedback(body, asker=self._partner_id, owner=owner, key=key, now=now)
        leaf = self._leaves.feedback(
            subject="feedback-sent",
            query_id=query_id,
            partner_id=self._partner_id,
            user=user.spiffe_id,
            digest=signing.digest(signed.header),
        )
        await self._log.append(leaf)
        await self._forward(signed)
        await self._book.put(body, partner_id=request.partner_id, received=False, now=now)

    def _answered(self, request: pb.SendFeedbackRequest, user: Identity, now: float) -> bytes:
        """The query id of the chunk that this feedback is about."""
        batch_id = self._history.find(request.query_id)
        if self._history.owner(batch_id) != user.name:
            raise unknown_query()
        mode = self._history.summary(batch_id).mode
        if mode == query_pb2.MODE_BLIND:
            raise Refused(
                "feedback on a blind query would tell its owner that something was found",
                reasons=("BLIND_FEEDBACK",),
                remedy="ask that owner sealed first, then give feedback on that query",
            )
        ids = self._history.chunk_ids(batch_id)
        number = ids.index(request.query_id) if request.query_id in ids else 0
        if request.HasField("term"):
            terms = list(self._history.terms(batch_id))
            wanted = (request.term.scheme, request.term.value)
            if wanted not in terms:
                raise NotFound(
                    "this query did not ask about that term",
                    reasons=("TERM_UNKNOWN",),
                    remedy="fairlead queries show QUERY",
                )
            number = terms.index(wanted) // chunk_size(mode)
        for line in self._history.lines(batch_id, number, now):
            if line.partner_id == request.partner_id and line.status == query_pb2.STATUS_ANSWERED:
                return ids[number]
        raise Refused(
            "this partner gave no answer there, or it is kept no longer",
            reasons=("NOT_ANSWERED",),
            remedy="fairlead queries show QUERY",
        )

    async def receive(self, signed: query_pb2.SignedFeedback, peer: Identity) -> None:
        """Take in feedback on an answer of this owner.

        1. Its asker signed it, for this owner, just now.
        2. This owner was asked that query by that asker.
        3. It opens with this owner's key.
        4. It is kept, with a leaf. The same feedback again changes nothing.

        :raises FairleadError: not so; the refusal is on the record.
        """
        try:
            # 1
            header = verify_feedback(signed, directory=self._directory.current, now=self._clock())
            if header.owner_id != self._partner_id:
                raise Refused("feedback is for another owner", reasons=("FEEDBACK_BINDING",))
            # 2
            rows = self._log.read(
                "SELECT asker FROM queries WHERE query_id = ?", (header.query_id,)
            )
            if [asker for (asker,) in rows] != [header.partner_id]:
                raise NotFound("this owner was not asked that query", reasons=("UNKNOWN_QUERY",))
            # 3
            own = self._directory.current.partner(self._partner_id)
            key = self._keys.sealing(own.sealing_key)
            body = open_feedback(signed, header, key=key)
        except FairleadError as error:
            await self._refuse(error, "OwnerService.Feedback", peer)
            raise
        # 4
        leaf = self._leaves.feedback(
            subject="feedback-received",
            query_id=header.query_id,
            partner_id=header.partner_id,
            digest=signing.digest(signed.header),
        )
        if await self._book.put(
            body, partner_id=header.partner_id, received=True, now=self._clock()
        ):
            await self._log.append(leaf)

    async def _refuse(self, error: FairleadError, subject: str, user: Identity) -> None:
        leaf = self._leaves.refusal(
            error, subject=subject, partner_id=user.partner_id or "", user=user.spiffe_id
        )
        await self._log.append(leaf)

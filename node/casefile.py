"""The evidence of one case: everything kept of it, in the one form that a stranger verifies.

See :mod:`fairlead.verifier`. A member of the case gets it opened. Approvers and auditors, who read
no answers otherwise, get who asked, when, why and what became of it, with sealed answers and
without terms. Of other cases nothing is read but the summaries that say which they are.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fairlead import signing
from fairlead.auditlog import AuditLog
from fairlead.certificates import Identity, Role
from fairlead.envelope.chunk import chunk_size
from fairlead.errors import FairleadError, InvalidInput, NotFound, Overloaded, Stale
from fairlead.identifiers.matching import asked_keys
from fairlead.keyring import KeyRing
from fairlead.leaves import LeafWriter
from fairlead.membership import LiveDirectory
from fairlead.names import check_case_id
from fairlead.partners import Directory
from fairlead.sealing import SealingKey
from fairlead.trust import Trust, former_path, read_trusted
from fairlead.v1 import asking_pb2 as pb
from fairlead.v1 import audit_pb2, blind_pb2, query_pb2
from fairlead.verifier import pages, single, summary
from node.cases import Case, CaseRegister
from node.exhibit import (
    answer_item,
    case_item,
    line_item,
    logged_under,
    looked_in,
    octets_of,
    serials_of,
    signed_under,
    text_of,
)
from node.held import Held
from node.history import History
from node.kept import Opening

SUBJECT = "EvidenceService.CollectEvidence"
MAX_QUERIES = 10_000
MAX_CHUNKS = 4_096
AT_ONCE = 1
"""Files that a node holds in memory: the next one waits until this one has been taken."""
TAKE_S = 60.0
"""How long whoever asked may take over a file that is made: others wait for theirs."""
PIECE = 256 * 1024
DOMAIN = "case-evidence"
_STATES: Mapping[int, str] = {
    pb.APPROVAL_STATE_UNSPECIFIED: "sent",
    pb.APPROVAL_STATE_PENDING: "pending",
    pb.APPROVAL_STATE_APPROVED: "approved",
    pb.APPROVAL_STATE_DENIED: "denied",
    pb.APPROVAL_STATE_EXPIRED: "expired",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelves:
    """Where a node keeps what evidence is made of; ``path`` is the directory's, beside which the
    former ones lie."""

    history: History
    held: Held
    cases: CaseRegister
    directory: LiveDirectory
    trust: Callable[[], Trust]
    path: Path


@dataclass(slots=True)
class Room:
    """How much one file may still hold: what is too much is noticed before it is in memory."""

    left: int = pages.MAX_PAGE

    def take(self, item: Mapping[str, Any]) -> None:
        """:raises InvalidInput: EVIDENCE_TOO_LARGE."""
        self.left -= len(pages.plain_line(item))
        if self.left < 0:
            raise _too_much()


class CaseFiles:
    """Makes evidence for the partner's own people."""

    def __init__(
        self,
        *,
        partner_id: str,
        keys: KeyRing,
        log: AuditLog,
        leaves: LeafWriter,
        shelves: Shelves,
        clock: Callable[[], float],
    ) -> None:
        self._partner_id = partner_id
        self._keys = keys
        self._log = log
        self._leaves = leaves
        self._shelves = shelves
        self._clock = clock
        self._making = asyncio.Semaphore(AT_ONCE)
        self._waiting: set[str] = set()

    async def collect(
        self, case_id: str, user: Identity, write: Callable[[bytes], Awaitable[None]]
    ) -> None:
        """Make the file, once the reading of every query in it is on the record, and write it piece
        by piece.

        :raises NotFound: no such case, or none that this user may read: the same words.
        :raises InvalidInput: there is more than one file may hold.
        :raises Overloaded: another call of this user waits already.
        :raises Stale: EVIDENCE_LATE: ``write`` took longer than :data:`TAKE_S`.
        """
        try:
            case, opened = self._readable(check_case_id(case_id), user)
            async with self._turn(user):
                # Nothing here may hold the page: what is raised below keeps this frame alive.
                whole = await _taken(await self._made(case, user, opened), write)
            if not whole:
                raise Stale(
                    "the file of evidence was not taken within a minute",
                    reasons=("EVIDENCE_LATE",),
                    remedy="take it over a faster way: fairlead cases evidence CASE --out FILE",
                )
        except FairleadError as error:
            await self._refused(error, user)
            raise

    @asynccontextmanager
    async def _turn(self, user: Identity) -> AsyncGenerator[None, None]:
        """The place of whoever's file is made and taken; one call of a user may wait for it."""
        name = user.spiffe_id
        if self._making.locked():
            if name in self._waiting:
                raise Overloaded(
                    "another call of yours waits for a file of evidence already",
                    remedy="take that one first",
                )
            self._waiting.add(name)
        try:
            await self._making.acquire()
        finally:
            self._waiting.discard(name)
        try:
            yield
        finally:
            self._making.release()

    async def _made(self, case: Case, user: Identity, opened: bool) -> bytes:
        batches = self._shelves.history.of_case(case.case_id)
        if len(batches) > MAX_QUERIES:
            raise _too_much()
        await self._recorded(batches, user)
        return await asyncio.to_thread(self._page, case, batches, user, opened)

    async def _recorded(self, batches: list[bytes], user: Identity) -> None:
        """A leaf for each query that is read; of a case without any, one that names none: that
        nothing was asked is read as well."""
        leaves = [
            self._leaves.history(subject="evidence-made", user=user.spiffe_id, query_id=batch_id)
            for batch_id in batches or [b""]
        ]
        await asyncio.gather(*map(self._log.append, leaves))

    async def _refused(self, error: FairleadError, user: Identity) -> None:
        await self._log.append(
            self._leaves.refusal(
                error, subject=SUBJECT, partner_id=self._partner_id, user=user.spiffe_id
            )
        )

    def _readable(self, case_id: str, user: Identity) -> tuple[Case, bool]:
        """The case, and whether its content may be opened for this user."""
        with suppress(NotFound):
            case = self._shelves.cases.get(case_id)
            if user.name in case.members and Role.ANALYST in user.roles:
                return case, True
            if {Role.APPROVER, Role.AUDITOR} & user.roles:
                return case, False
        raise NotFound(
            "no case of that reference is yours to read",
            reasons=("UNKNOWN_CASE",),
            remedy="fairlead cases list",
        )

    # ── The file ─────────────────────────────────────────────────────────────────────────────

    def _page(self, case: Case, batches: list[bytes], user: Identity, opened: bool) -> bytes:
        directory = self._shelves.directory.current
        about = {
            "federation": directory.federation,
            "partner": self._partner_id,
            "directory": directory.serial,
            "made_at": int(self._clock()),
            "made_for": user.spiffe_id,
            "opened": opened,
        }
        items: dict[str, Any] = {"anchors": self._anchors(), "case": case_item(case)}
        room = Room()
        queries = [self._query(batch_id, opened, room) for batch_id in batches]
        for serial in sorted({directory.serial, *serials_of(queries), *self._earlier(queries)}):
            items[f"directory {serial}"] = {"signed": text_of(self._directory(serial))}
        items |= {f"query {number}": query for number, query in enumerate(queries, 1)}
        lines = [(name, pages.plain_line(content)) for name, content in items.items()]
        readable, verifier = summary.summary_of({"about": about, **items}), single.source()
        contents = pages.first_line(about, lines, readable, verifier)
        key = self._keys.signing(directory.partner(self._partner_id).signing_key)
        signature = {
            "contents": signing.digest(contents).hex(),
            "signature": text_of(signing.sign(key, DOMAIN, contents)),
        }
        page = pages.whole_page(
            readable, verifier, contents, pages.plain_line(signature), [line for _, line in lines]
        )
        if len(page) > pages.MAX_PAGE:
            raise _too_much()
        return page

    def _earlier(self, queries: list[dict[str, Any]]) -> Iterator[int]:
        """Of former directories under which owners signed the manifests that were looked up in, or
        the gateway logged them: with keys that were replaced before the query."""
        known = [self._shelves.directory.current]
        former: list[Directory] | None = None
        for owner, item in looked_in(queries):
            signed = blind_pb2.SignedBlindManifest.FromString(base64.b64decode(item["manifest"]))
            receipt = audit_pb2.Receipt.FromString(base64.b64decode(item["receipt"]))
            for check in (
                partial(signed_under, signed, owner),
                partial(logged_under, receipt),
            ):
                if any(map(check, known)):
                    continue
                if former is None:
                    former = self._shelves.trust().former(self._shelves.path)
                for directory in filter(check, former):
                    known.append(directory)
                    yield directory.serial
                    break

    def _anchors(self) -> dict[str, Any]:
        trust = self._shelves.trust()
        return {
            "federation": trust.federation,
            "operators": [key.hex() for key in trust.operators],
            "roots": {partner: pin.hex() for partner, pin in trust.roots.items()},
        }

    def _directory(self, serial: int) -> bytes:
        current = self._shelves.directory
        if serial == current.current.serial:
            return current.transmitted
        return read_trusted(former_path(self._shelves.path, serial))

    # ── Queries ──────────────────────────────────────────────────────────────────────────────

    def _query(self, batch_id: bytes, opened: bool, room: Room) -> dict[str, Any]:
        history = self._shelves.history
        told = history.summary(batch_id)
        if told.chunks > MAX_CHUNKS:
            raise _too_much()
        opening = history.proofs.opening(batch_id, 0) if opened else None
        asked: Mapping[str, Any] = opening.asked if opening else {}
        chunks = []
        for number in range(told.chunks):
            if history.chunk(batch_id, number) is not None:
                chunks.append(self._chunk(batch_id, number, opened))
                room.take(chunks[-1])
        return {
            "query_id": batch_id.hex(),
            "user": told.user,
            "asked_at": told.asked_at,
            "state": _STATES[self._shelves.held.state(batch_id)],
            "scope": asked.get("scope"),
            "nonce_seed": asked.get("nonce_seed"),
            "salts": asked.get("salts"),
            "notes": list(self._notes(told, opening, opened)),
            "chunks": chunks,
        }

    def _notes(self, told: pb.QuerySummary, opening: Opening | None, opened: bool) -> Iterator[str]:
        if told.chunks_done < told.chunks:
            yield f"{told.chunks - told.chunks_done} of {told.chunks} chunks are not finished"
        if opened and told.chunks_done and opening is None:
            yield "what opens its terms: an earlier version did not keep it, or it was never sent"

    def _chunk(self, batch_id: bytes, number: int, opened: bool) -> dict[str, Any]:
        history = self._shelves.history
        chunk, signed = history.chunk(batch_id, number), history.signed(batch_id, number)
        lines = history.lines(batch_id, number, self._clock())
        found: dict[str, Any] = {
            "number": number,
            "query_id": chunk.query_id.hex() if chunk else "",
            **dict.fromkeys(
                ("query", "intent", "outcome", "outcome_signature", "closing", "reply_key",
                 "terms", "keys", "plan"),
            ),
            "answers": [],
            "lines": [] if signed else [line_item(line) for line in lines],
            "not_asked": {},
        }  # fmt: skip
        if signed is None:
            return found
        opening = history.proofs.opening(batch_id, number) if opened else None
        answers = history.proofs.answers(batch_id, number, self._clock())
        shown = {line.partner_id: line for line in lines}
        statement = query_pb2.Outcome.FromString(signed.outcome)
        outcome = {item.partner_id for item in statement.partners}
        found |= {
            "query": octets_of(signed.query),
            "intent": octets_of(signed.intent),
            "outcome": text_of(signed.outcome),
            "outcome_signature": text_of(signed.outcome_signature),
            "closing": octets_of(signed.closing),
            "not_asked": {p: line.reason for p, line in shown.items() if p not in outcome},
        }
        if opening is not None:
            found |= self._opened(batch_id, signed, opening, bool(answers))
        reply = SealingKey(opening.reply) if opening and opening.reply and answers else None
        found["answers"] = [
            answer_item(answer, answers, shown, signed, reply) for answer in signed.answers
        ]
        return found

    def _opened(
        self, batch_id: bytes, signed: pb.Evidence, opening: Opening, answers: bool
    ) -> dict[str, Any]:
        terms = self._shelves.history.lists.of_batch(batch_id)
        header = query_pb2.QueryHeader.FromString(signed.query.header)
        mode = query_pb2.Mandate.FromString(signed.query.mandate).mode
        if terms is None:
            return {}
        first = header.chunk * chunk_size(mode)
        part = terms.part(first, first + header.term_count)
        blind = mode == query_pb2.MODE_BLIND
        return {
            "terms": [[scheme, value] for scheme, value in part],
            "keys": [
                [[key.value, key.grade] for key in asked_keys(scheme, value)]
                for scheme, value in part
            ]
            if blind
            else None,
            "plan": opening.asked["plan"],
            "reply_key": text_of(opening.reply) if opening.reply and answers else None,
        }


def _too_much() -> InvalidInput:
    return InvalidInput(
        "a case holds more than one file of evidence may",
        reasons=("EVIDENCE_TOO_LARGE",),
        remedy="fairlead queries export QUERY, query by query",
    )


async def _taken(page: bytes, write: Callable[[bytes], Awaitable[None]]) -> bool:
    """Write a page piece by piece: whether it was taken in time."""
    try:
        async with asyncio.timeout(TAKE_S):
            for at in range(0, len(page), PIECE):
                await write(page[at : at + PIECE])
    except TimeoutError:
        return False
    return True

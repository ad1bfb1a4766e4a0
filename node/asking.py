"""The asker's side: draft, sign, send and open a query on behalf of one's own user."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass

import grpc

from fairlead import merkle, sealing, signing
from fairlead.admission import remember
from fairlead.auditlog import AuditLog
from fairlead.certificates import Identity
from fairlead.detail import seal_detail
from fairlead.envelope.answer import open_answer, verify_answer
from fairlead.envelope.grant import check_intent
from fairlead.envelope.outcome import (
    WITHOUT_ANSWER,
    PartnerState,
    check_outcome_leaf,
    verify_outcome,
)
from fairlead.envelope.query import (
    CLOCK_REMEDY,
    Query,
    sign_query,
    uuid7,
    verify_query,
)
from fairlead.envelope.question import seal_part
from fairlead.errors import (
    FairleadError,
    Forged,
    Refused,
    Unreachable,
)
from fairlead.keyring import KeyRing
from fairlead.leaves import LeafWriter
from fairlead.names import reason_code
from fairlead.partners import DenyLists, Directories
from fairlead.receipts import CheckpointFork
from fairlead.release import ReleaseDesk
from fairlead.server import REASON_KEY
from fairlead.v1 import asking_pb2 as pb
from fairlead.v1 import audit_pb2, gateway_pb2, query_pb2
from node.drafting import Drafter, Preparation
from node.heads import HeadKeeper

REFUSAL = "AskingService"

GatewayQuery = Callable[[gateway_pb2.QueryRequest], AsyncIterator[gateway_pb2.QueryResponse]]


@dataclass(slots=True, kw_only=True)
class _Opened:
    """What one running query has collected for its evidence."""

    query: Query
    signed: query_pb2.SignedQuery
    reply_key: sealing.SealingKey
    states: dict[str, PartnerState]
    evidence: pb.Evidence
    asked: frozenset[str]
    asked_from: int


class Asking:
    """Asks on behalf of the partner's own users; the gateway sees no term."""

    def __init__(
        self,
        *,
        partner_id: str,
        keys: KeyRing,
        log: AuditLog,
        leaves: LeafWriter,
        desk: ReleaseDesk,
        directory: Directories,
        deny_lists: DenyLists,
        drafter: Drafter,
        policy_serial: int,
        heads: HeadKeeper,
        send: GatewayQuery,
        check_clock: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._check_clock = check_clock
        self._partner_id = partner_id
        self._keys = keys
        self._log = log
        self._leaves = leaves
        self._desk = desk
        self._directory = directory
        self._deny_lists = deny_lists
        self._drafter = drafter
        self._policy_serial = policy_serial
        self._heads = heads
        self._send = send
        self._clock = clock

    # ── Prepare ──────────────────────────────────────────────────────────────────────────────

    async def prepare(
        self, request: pb.PrepareRequest, user: Identity, certificate: bytes
    ) -> pb.PrepareResponse:
        """Check and draft one query; a refusal is on the record before the user hears of it.

        :param certificate: the user's certificate as TLS presented it (DER).
        :raises FairleadError: misspelt, without a case, or refused by the node's own policy.
        """
        try:
            return self._drafter.draft(request, user, certificate)
        except FairleadError as error:
            leaf = self._leaves.refusal(
                error,
                subject=f"{REFUSAL}.Prepare",
                partner_id=self._partner_id,
                user=user.spiffe_id,
            )
            await self._log.append(leaf)
            raise

    # ── Ask ──────────────────────────────────────────────────────────────────────────────────

    async def ask(
        self, request: pb.AskRequest, user: Identity, certificate: bytes
    ) -> AsyncGenerator[pb.AskResponse, None]:
        """Send a drafted query under its user's signature and yield what comes back.

        Before sending: 1. the preparation is this user's and fresh, 2. the signature is over
        exactly the drafted mandate, 3. the case is still open and assigned, 4. the whole query
        verifies as a stranger would verify it, and the gateway is not suspended, 5. INTENT is
        durable in this node's own log.

        :raises FairleadError: refused at home, by the gateway, or evidence does not verify.
        """
        opened = None
        try:
            # 1 to 4
            preparation, signature = self._drafter.take(request, user)
            opened, parts = self._seal(preparation, signature, certificate)
            # 5
            await self._intent(opened, preparation)
        except FairleadError as error:
            leaf = self._leaves.refusal(
                error,
                subject=f"{REFUSAL}.Ask",
                partner_id=self._partner_id,
                user=user.spiffe_id,
            )
            await self._log.append(leaf)
            raise
        try:
            for partner_id, reason in preparation.not_asked.items():
                yield _line(partner_id, query_pb2.STATUS_NOT_ASKED, reason)
            async for event in self._collect(opened, parts):
                yield event
        finally:
            leaf = self._leaves.outcome(opened.query, opened.states)
            persist = self._heads.persist(self._heads.head)
            await asyncio.shield(self._log.append(leaf, also=persist))

    def _seal(
        self, preparation: Preparation, signature: bytes, certificate: bytes
    ) -> tuple[_Opened, dict[str, bytes]]:
        self._check_clock()
        now, directory = self._clock(), preparation.directory
        node_key = self._keys.signing(directory.partner(self._partner_id).signing_key)
        query_id, reply_key = uuid7(now), sealing.SealingKey.generate()
        parts = {
            p: seal_part(
                query_id=query_id,
                owner=directory.partner(p),
                salt=salt,
                terms=preparation.terms,
                nonces=preparation.nonces,
                scope=preparation.scope,
            )
            for p, salt in preparation.salts.items()
        }
        signed = sign_query(
            mandate=preparation.mandate,
            mandate_signature=signature,
            user_certificate=certificate,
            session=preparation.session,
            node_key=node_key,
            query_id=query_id,
            parts=parts,
            reply_key=reply_key.public_bytes(),
            directory=directory,
            policy_serial=self._policy_serial,
            now=now,
        )
        # The deny list was consulted when this user's connection was checked.
        query = verify_query(signed, directory=directory, deny_lists=None, now=now)
        self._deny_lists.check(self._directory.current.gateway.spiffe_id, now)
        opened = _Opened(
            query=query,
            signed=signed,
            reply_key=reply_key,
            states={},
            evidence=pb.Evidence(query=signed),
            asked=frozenset(parts),
            asked_from=self._heads.size,
        )
        return opened, parts

    async def _intent(self, opened: _Opened, preparation: Preparation) -> None:
        """Write the INTENT leaf with its detail (case and terms) sealed to the oversight key."""
        detail = seal_detail(
            opened.query.asker,
            opened.query.query_id,
            {"case": preparation.case.case_id, "terms": list(preparation.terms)},
        )
        leaf, nonce = self._leaves.intent(
            opened.query,
            rules=(),
            policy_serial=self._policy_serial,
            commits_to=",".join(sorted(preparation.salts)).encode(),
            detail_digest=signing.digest(detail),
        )
        await self._log.append(leaf, detail=detail, also=remember(opened.query, nonce))

    async def _collect(
        self, opened: _Opened, parts: Mapping[str, bytes]
    ) -> AsyncGenerator[pb.AskResponse, None]:
        request = gateway_pb2.QueryRequest(
            query=opened.signed,
            parts=[query_pb2.AddressedPart(partner_id=p, part=part) for p, part in parts.items()],
            head_size=opened.asked_from,
        )
        try:
            async for response in self._send(request):
                kind = response.WhichOneof("event")
                if kind == "accepted":
                    opened.asked_from = await self._accept(opened, response.accepted.intent)
                    check_intent(response.accepted.intent.leaf, opened.query)
                    opened.evidence.intent.CopyFrom(response.accepted.intent)
                    count = len(parts)
                    accepted = pb.AskResponse.Accepted(query_id=opened.query.query_id, asked=count)
                    yield pb.AskResponse(accepted=accepted)
                elif not opened.evidence.HasField("intent"):
                    raise Forged(
                        "the gateway answers before its intent", reasons=("INTENT_MISSING",)
                    )
                elif kind == "partner":
                    yield await self._open(opened, response.partner)
                elif kind == "closed":
                    await self._accept(opened, response.closed.receipt)
                    yield self._closed(opened, response.closed)
        except grpc.aio.AioRpcError as error:
            raise _gateway_error(error, asked=opened.evidence.HasField("intent")) from None
        if not opened.evidence.outcome:
            raise Forged(
                "the gateway ended without its outcome",
                reasons=("OUTCOME_MISSING",),
                remedy="what is missing is not known; ask again, and tell your security officer",
            )

    async def _accept(self, opened: _Opened, receipt: audit_pb2.Receipt) -> int:
        """A receipt proves its leaf in the same history that was seen before, or an alarm is.

        :returns: the size of the head it proves.
        """
        try:
            return self._heads.accept(receipt, asked_from=opened.asked_from).size
        except CheckpointFork as fork:
            leaf = self._leaves.alarm(
                fork.reasons,
                subject="gateway-log",
                checkpoints=fork.checkpoints,
            )
            await self._log.append(leaf)
            raise

    async def _open(self, opened: _Opened, event: gateway_pb2.PartnerEvent) -> pb.AskResponse:
        """Verify one partner's answer, open it, record it, and only then show it."""
        query = opened.query
        if event.partner_id in opened.states or event.partner_id not in opened.asked:
            raise Forged("a partner answered twice or unasked", reasons=("ANSWER_UNASKED",))
        if not event.HasField("answer"):
            state = PartnerState(
                partner_id=event.partner_id, status=event.status, reason=reason_code(event.reason)
            )
            if state.status not in WITHOUT_ANSWER:
                raise Forged("an answer is claimed but missing", reasons=("ANSWER_MISSING",))
            opened.states[event.partner_id] = state
            return _line(event.partner_id, state.status, state.reason)
        answer = verify_answer(
            event.answer,
            query_id=query.query_id,
            header_digest=query.header_digest,
            terms=query.term_count,
            owner=query.directory.partner(event.partner_id),
        )
        opened.states[event.partner_id] = PartnerState(
            partner_id=event.partner_id,
            status=answer.status,
            reason=answer.reason,
            answer_digest=answer.digest,
        )
        opened.evidence.answers.append(event.answer)
        shown, reason = answer.status, answer.reason
        content: tuple[query_pb2.TermAnswer, ...] = ()
        if answer.status == query_pb2.STATUS_ANSWERED:
            try:
                content = open_answer(
                    event.answer,
                    query_id=query.query_id,
                    owner=event.partner_id,
                    terms=query.term_count,
                    key=opened.reply_key,
                )
            except FairleadError as error:  # the owner's doing: it spoils its own line only
                shown, reason = query_pb2.STATUS_INVALID, error.code
        released = audit_pb2.ReleasedAnswer(
            query_id=query.query_id,
            partner_id=event.partner_id,
            status=answer.status,  # type: ignore[arg-type]
            answer_digest=answer.digest,
        )
        await self._desk.release(released)
        line = _line(event.partner_id, shown, reason)
        line.partner.index_age_s = answer.index_age_s
        line.partner.paused_since = answer.paused_since
        line.partner.answers.extend(content)
        return line

    def _closed(self, opened: _Opened, closed: gateway_pb2.Closed) -> pb.AskResponse:
        """The gateway's statement covers everybody asked and agrees with what arrived here."""
        outcome = verify_outcome(
            closed.outcome,
            closed.signature,
            query_id=opened.query.query_id,
            header_digest=opened.query.header_digest,
            gateway=opened.query.directory.gateway,
        )
        check_outcome_leaf(closed.receipt.leaf, outcome)
        if dict(outcome.states) != opened.states or opened.states.keys() != opened.asked:
            raise Forged("the outcome differs from the answers seen", reasons=("OUTCOME",))
        if merkle.leaf_hash(opened.evidence.intent.leaf) != outcome.intent_leaf_hash:
            raise Forged("the outcome names another intent", reasons=("OUTCOME",))
        opened.evidence.outcome = closed.outcome
        opened.evidence.outcome_signature = closed.signature
        opened.evidence.closing.CopyFrom(closed.receipt)
        return pb.AskResponse(evidence=opened.evidence)


def _line(partner_id: str, status: int, reason: str) -> pb.AskResponse:
    opened = pb.OpenedAnswer(partner_id=partner_id, status=status, reason=reason)  # type: ignore[arg-type]
    return pb.AskResponse(partner=opened)


_REMEDIES = {
    "DENIED": "this node is suspended: ask the operators why",
    "DIRECTORY_EXPIRED": "the operators must publish a current directory",
    "DIRECTORY_MISMATCH": "ask again: the directory has just changed",
    "NOT_YET_VALID": CLOCK_REMEDY,
    "QUERY_WINDOW": CLOCK_REMEDY,
    "ROOT_UNPINNED": "the gateway's operator must pin this partner's root: "
    "read your check phrase to them",
}
"""What to do about the gateway's refusals that an asker's node can do something about."""


def _gateway_error(error: grpc.aio.AioRpcError, *, asked: bool) -> FairleadError:
    """What the gateway said, as an error of our own; its free text is not repeated.

    :param asked: whether its INTENT was seen, so that owners may have been asked.
    """
    told = [str(v) for k, v in (error.trailing_metadata() or ()) if k == REASON_KEY]
    reasons = tuple(reason_code(code) for code in told[:16] if code)
    silent = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
    if error.code() in silent or error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
        remedy = "some owners may have been asked; " if asked else "nothing was asked; "
        return Unreachable(
            "the gateway does not answer",
            reasons=reasons or ("GATEWAY_UNREACHABLE",),
            remedy=remedy + "ask again later",
        )
    return Refused(
        "the gateway refused this query",
        reasons=reasons or ("GATEWAY_REFUSED",),
        remedy=next((_REMEDIES[code] for code in reasons if code in _REMEDIES), ""),
    )

"""The asker's side: draft, sign, send and open a query on behalf of one's own user."""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import identifiers, merkle, sealing, signing
from fairlead.auditlog import AuditLog
from fairlead.certificates import Identity
from fairlead.envelope.answer import open_answer, verify_answer
from fairlead.envelope.grant import check_intent
from fairlead.envelope.outcome import PartnerState, verify_outcome
from fairlead.envelope.query import (
    Query,
    draft_mandate,
    sign_query,
    uuid7,
    verify_query,
)
from fairlead.envelope.question import seal_part
from fairlead.detail import seal_detail
from fairlead.errors import (
    FairleadError,
    Forged,
    InvalidInput,
    NotFound,
    Refused,
    Stale,
    Unreachable,
)
from fairlead.facts import party_facts, refusal_of, requester_code, user_facts, window_days
from fairlead.leaves import LeafWriter
from fairlead.names import check_code
from fairlead.partners import Directory, Partner
from fairlead.policy.inputs import CaseFacts, QueryFacts
from fairlead.policy.points import PolicyPoints
from fairlead.receipts import CheckpointFork
from fairlead.release import ReleaseDesk
from fairlead.server import REASON_KEY
from fairlead.v1 import asking_pb2 as pb
from fairlead.v1 import audit_pb2, gateway_pb2, query_pb2
from node.cases import Case, CaseRegister
from node.heads import HeadKeeper

PREPARATION_S = 600
MAX_PREPARATIONS = 1024
REFUSAL = "AskingService"

GatewayQuery = Callable[[gateway_pb2.QueryRequest], AsyncIterator[gateway_pb2.QueryResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """A drafted query waiting for its user's signature; it lives in memory only."""

    user: Identity
    case: Case
    mandate: bytes
    mode: int
    terms: tuple[tuple[str, str], ...]
    nonces: tuple[bytes, ...]
    salts: Mapping[str, bytes]
    since: int
    until: int
    events: tuple[str, ...]
    session: Ed25519PrivateKey
    not_asked: Mapping[str, str]
    expires_at: float


@dataclass(slots=True, kw_only=True)
class _Opened:
    """What one running query has collected for its evidence."""

    query: Query
    signed: query_pb2.SignedQuery
    reply_key: sealing.SealingKey
    states: dict[str, PartnerState]
    evidence: pb.Evidence
    asked_from: int


class Asking:
    """Asks on behalf of the partner's own users; the gateway sees no term."""

    def __init__(
        self,
        *,
        partner_id: str,
        key: Ed25519PrivateKey,
        log: AuditLog,
        leaves: LeafWriter,
        desk: ReleaseDesk,
        directory: Directory,
        policy: PolicyPoints,
        cases: CaseRegister,
        heads: HeadKeeper,
        send: GatewayQuery,
        clock: Callable[[], float],
    ) -> None:
        self._partner_id = partner_id
        self._key = key
        self._log = log
        self._leaves = leaves
        self._desk = desk
        self._directory = directory
        self._policy = policy
        self._cases = cases
        self._heads = heads
        self._send = send
        self._clock = clock
        self._preparations: OrderedDict[bytes, Preparation] = OrderedDict()

    # ── Prepare ──────────────────────────────────────────────────────────────────────────────

    async def prepare(
        self, request: pb.PrepareRequest, user: Identity, certificate: bytes
    ) -> pb.PrepareResponse:
        """Check and draft one query; a refusal is on the record before the user hears of it.

        :param certificate: the user's certificate as TLS presented it (DER).
        :raises FairleadError: misspelt, without a case, or refused by the node's own policy.
        """
        try:
            return self._draft(request, user, certificate)
        except FairleadError as error:
            leaf = self._leaves.refusal(
                error,
                subject=f"{REFUSAL}.Prepare",
                partner_id=self._partner_id,
                user=user.spiffe_id,
                purpose=_claimed_code(request.purpose),
            )
            await self._log.append(leaf)
            raise

    def _draft(
        self, request: pb.PrepareRequest, user: Identity, certificate: bytes
    ) -> pb.PrepareResponse:
        """1. terms and options read · 2. case · 3. own policy · 4. mandate drafted."""
        now = self._clock()
        # 1
        terms = _terms(request)
        _check_window(request)
        purpose = check_code(request.purpose)
        if request.mode == query_pb2.MODE_BLIND:
            raise Refused(
                "this node cannot ask blind yet",
                reasons=("BLIND_UNSUPPORTED",),
                remedy="fairlead ask --mode sealed, where policy permits it",
            )
        # 2
        case = self._cases.assigned(request.case_id, user)
        # 3
        wanted = self._candidates(request)
        not_asked = self._decide(request, terms, purpose, case, user, wanted, now)
        asked = {p: partner for p, partner in wanted.items() if p not in not_asked}
        # 4
        session = Ed25519PrivateKey.generate()
        nonces = tuple(os.urandom(32) for _ in terms)
        salts = {p: os.urandom(32) for p in self._directory.partners}
        mandate = draft_mandate(
            directory=self._directory,
            partner_id=self._partner_id,
            user_certificate=certificate,
            purpose=purpose,
            legal_basis=case.legal_basis,
            case_commitment=signing.commit(case.nonce, case.case_id.encode()),
            mode=query_pb2.MODE_SEALED,
            terms=terms,
            nonces=nonces,
            salts=salts,
            asked=asked.keys(),
            session_key=signing.public_bytes(session),
            now=now,
        )
        preparation_id = self._remember(
            Preparation(
                user=user,
                case=case,
                mandate=mandate,
                mode=query_pb2.MODE_SEALED,
                terms=terms,
                nonces=nonces,
                salts={p: salts[p] for p in asked},
                since=request.since,
                until=request.until,
                events=tuple(sorted(set(request.events))),
                session=session,
                not_asked=not_asked,
                expires_at=now + PREPARATION_S,
            )
        )
        return pb.PrepareResponse(
            preparation_id=preparation_id,
            mandate=mandate,
            nonces=nonces,
            case_nonce=case.nonce,
            partner_salts=list(salts.values()),
            exposures=[
                pb.Exposure(partner_id=p, display_name=partner.display_name, learns="term")
                for p, partner in asked.items()
            ],
            directory_partners=list(self._directory.partners),
        )

    def _candidates(self, request: pb.PrepareRequest) -> dict[str, Partner]:
        """The wanted partners by id.

        :raises NotFound: a partner that the directory does not list, or oneself.
        """
        if not request.partners:
            others = self._directory.partners.items()
            return {p: partner for p, partner in others if p != self._partner_id}
        wanted = {p: self._directory.partner(p) for p in sorted(set(request.partners))}
        if self._partner_id in wanted:
            raise NotFound(
                "a partner does not ask itself",
                reasons=("ASKS_ITSELF",),
                remedy="fairlead partners",
            )
        return wanted

    def _decide(
        self,
        request: pb.PrepareRequest,
        terms: tuple[tuple[str, str], ...],
        purpose: str,
        case: Case,
        user: Identity,
        wanted: Mapping[str, Partner],
        now: float,
    ) -> dict[str, str]:
        """Who will not be asked, and why (reason code).

        :raises Refused: the node's own policy permits nobody to be asked.
        """
        facts = QueryFacts(
            mode="sealed",
            purpose=purpose,
            legal_basis=case.legal_basis,
            schemes=tuple(sorted({scheme for scheme, _ in terms})),
            term_count=len(terms),
            window_days=window_days(request.since, request.until, now),
            events=tuple(sorted(set(request.events))),
        )
        overall, decisions = self._policy.asking(
            now=int(now),
            query=facts,
            asker=party_facts(self._directory.partner(self._partner_id)),
            user=user_facts(user),
            case=CaseFacts(
                open=True,
                assigned=True,
                purpose=case.purpose,
                legal_basis=case.legal_basis,
                schemes=case.schemes,
                expires_at=case.expires_at,
            ),
            candidates={p: party_facts(partner) for p, partner in wanted.items()},
        )
        if not overall.permit:
            raise refusal_of(overall)
        denied = {p: d for p, d in decisions.items() if not d.permit}
        if len(denied) == len(wanted):
            raise refusal_of(next(iter(denied.values())))
        return {p: requester_code(d) for p, d in denied.items()}

    def _remember(self, preparation: Preparation) -> bytes:
        preparation_id = os.urandom(16)
        self._preparations[preparation_id] = preparation
        while len(self._preparations) > MAX_PREPARATIONS:
            self._preparations.popitem(last=False)
        return preparation_id

    # ── Ask ──────────────────────────────────────────────────────────────────────────────────

    async def ask(
        self, request: pb.AskRequest, user: Identity, certificate: bytes
    ) -> AsyncGenerator[pb.AskResponse, None]:
        """Send a drafted query under its user's signature and yield what comes back.

        Before sending: 1. the preparation is this user's and fresh, 2. the signature is over
        exactly the drafted mandate, 3. the case is still open and assigned, 4. the whole query
        verifies as a stranger would verify it, 5. INTENT is durable in this node's own log.

        :raises FairleadError: refused at home, by the gateway, or evidence does not verify.
        """
        opened = None
        try:
            # 1 to 4
            preparation, signature = self._take(request, user)
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
        for partner_id, reason in preparation.not_asked.items():
            yield _line(partner_id, query_pb2.STATUS_NOT_ASKED, reason)
        try:
            async for event in self._collect(opened, parts):
                yield event
        finally:
            await asyncio.shield(
                self._log.append(self._leaves.outcome(opened.query, opened.states))
            )

    def _take(self, request: pb.AskRequest, user: Identity) -> tuple[Preparation, bytes]:
        preparation = self._preparations.pop(request.preparation_id, None)
        owned = preparation is not None and preparation.user.spiffe_id == user.spiffe_id
        if preparation is None or not owned or self._clock() >= preparation.expires_at:
            raise Stale(
                "this draft is unknown or has expired",
                reasons=("PREPARATION_EXPIRED",),
                remedy="ask again",
            )
        if request.mandate != preparation.mandate:
            raise Forged("the signed mandate is not the drafted one", reasons=("MANDATE",))
        self._cases.assigned(preparation.case.case_id, user)
        return preparation, request.signature

    def _seal(
        self, preparation: Preparation, signature: bytes, certificate: bytes
    ) -> tuple[_Opened, dict[str, bytes]]:
        now = self._clock()
        query_id, reply_key = uuid7(now), sealing.SealingKey.generate()
        parts = {
            p: seal_part(
                query_id=query_id,
                owner=self._directory.partner(p),
                salt=salt,
                terms=preparation.terms,
                nonces=preparation.nonces,
                since=preparation.since,
                until=preparation.until,
                events=preparation.events,
            )
            for p, salt in preparation.salts.items()
        }
        signed = sign_query(
            mandate=preparation.mandate,
            mandate_signature=signature,
            user_certificate=certificate,
            session=preparation.session,
            node_key=self._key,
            query_id=query_id,
            parts=parts,
            reply_key=reply_key.public_bytes(),
            directory=self._directory,
            policy_serial=self._policy.serial,
            now=now,
        )
        # The deny list was consulted when this user's connection was checked.
        query = verify_query(signed, directory=self._directory, deny_lists=None, now=now)
        opened = _Opened(
            query=query,
            signed=signed,
            reply_key=reply_key,
            states={},
            evidence=pb.Evidence(query=signed),
            asked_from=self._heads.size,
        )
        return opened, parts

    async def _intent(self, opened: _Opened, preparation: Preparation) -> None:
        """Write the INTENT leaf with its detail (case and terms) sealed to the oversight key."""
        detail = seal_detail(
            self._directory.partner(self._partner_id),
            opened.query.query_id,
            {"case": preparation.case.case_id, "terms": list(preparation.terms)},
        )
        leaf, _ = self._leaves.intent(
            opened.query,
            rules=(),
            policy_serial=self._policy.serial,
            commits_to=",".join(sorted(preparation.salts)).encode(),
            detail_digest=signing.digest(detail),
        )
        await self._log.append(leaf, detail=detail)

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
                    await self._accept(opened, response.accepted.intent)
                    check_intent(response.accepted.intent.leaf, opened.query)
                    opened.evidence.intent.CopyFrom(response.accepted.intent)
                    count = len(parts)
                    accepted = pb.AskResponse.Accepted(query_id=opened.query.query_id, asked=count)
                    yield pb.AskResponse(accepted=accepted)
                elif kind == "partner":
                    yield await self._open(opened, response.partner)
                elif kind == "closed":
                    await self._accept(opened, response.closed.receipt)
                    yield self._closed(opened, response.closed)
        except grpc.aio.AioRpcError as error:
            raise _gateway_error(error) from None

    async def _accept(self, opened: _Opened, receipt: audit_pb2.Receipt) -> None:
        """A receipt proves its leaf in the same history that was seen before, or an alarm is."""
        try:
            self._heads.accept(receipt, asked_from=opened.asked_from)
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
        query, owner = opened.query, self._directory.partner(event.partner_id)
        if event.partner_id in opened.states:
            raise Forged("a partner answered twice", reasons=("ANSWER_TWICE",))
        if not event.HasField("answer"):
            state = PartnerState(
                partner_id=event.partner_id, status=event.status, reason=check_reason(event.reason)
            )
            if state.status in {query_pb2.STATUS_ANSWERED, query_pb2.STATUS_UNSPECIFIED}:
                raise Forged("an answer is claimed but missing", reasons=("ANSWER_MISSING",))
            opened.states[event.partner_id] = state
            return _line(event.partner_id, state.status, state.reason)
        answer = verify_answer(
            event.answer,
            query_id=query.query_id,
            header_digest=query.header_digest,
            terms=query.term_count,
            owner=owner,
        )
        opened.states[event.partner_id] = PartnerState(
            partner_id=event.partner_id,
            status=answer.status,
            reason=answer.reason,
            answer_digest=answer.digest,
        )
        opened.evidence.answers.append(event.answer)
        content: tuple[query_pb2.TermAnswer, ...] = ()
        if answer.status == query_pb2.STATUS_ANSWERED:
            content = open_answer(
                event.answer,
                query_id=query.query_id,
                owner=event.partner_id,
                terms=query.term_count,
                key=opened.reply_key,
            )
        released = audit_pb2.ReleasedAnswer(
            query_id=query.query_id,
            partner_id=event.partner_id,
            status=answer.status,  # type: ignore[arg-type]
            answer_digest=answer.digest,
        )
        await self._desk.release(released)
        line = _line(event.partner_id, answer.status, answer.reason)
        line.partner.index_age_s = answer.index_age_s
        line.partner.answers.extend(content)
        return line

    def _closed(self, opened: _Opened, closed: gateway_pb2.Closed) -> pb.AskResponse:
        """The gateway's statement must agree with every answer that arrived here."""
        outcome = verify_outcome(
            closed.outcome,
            closed.signature,
            query_id=opened.query.query_id,
            header_digest=opened.query.header_digest,
            gateway=self._directory.gateway,
        )
        if dict(outcome.states) != opened.states:
            raise Forged("the outcome differs from the answers seen", reasons=("OUTCOME",))
        if merkle.leaf_hash(opened.evidence.intent.leaf) != outcome.intent_leaf_hash:
            raise Forged("the outcome names another intent", reasons=("OUTCOME",))
        opened.evidence.outcome = closed.outcome
        opened.evidence.outcome_signature = closed.signature
        opened.evidence.closing.CopyFrom(closed.receipt)
        return pb.AskResponse(evidence=opened.evidence)


def check_reason(reason: str) -> str:
    """A reason code of the gateway's, or UNKNOWN when it is not one."""
    plain = reason.replace("_", "").isalnum() and reason.isascii() and len(reason) <= 64
    return reason if not reason or plain else "UNKNOWN"


def _claimed_code(value: str) -> str:
    try:
        return check_code(value)
    except InvalidInput:
        return ""


def _terms(request: pb.PrepareRequest) -> tuple[tuple[str, str], ...]:
    if not 0 < len(request.terms) <= sealing.MAX_TERMS:
        raise InvalidInput(
            "a sealed query has 1 to 512 terms",
            reasons=("TERM_COUNT",),
            remedy="fairlead ask --help",
        )
    terms = tuple(
        (term.scheme, identifiers.parse(term.scheme, term.value).value) for term in request.terms
    )
    if len(set(terms)) != len(terms):
        raise InvalidInput("a term is asked twice", reasons=("TERM_TWICE",))
    return terms


def _check_window(request: pb.PrepareRequest) -> None:
    if request.since < 0 or request.until < 0 or (request.until and request.until <= request.since):
        raise InvalidInput(
            "the time range is empty", reasons=("TIME_RANGE",), remedy="fairlead ask --help"
        )
    for event in request.events:
        check_code(event)


def _line(partner_id: str, status: int, reason: str) -> pb.AskResponse:
    opened = pb.OpenedAnswer(partner_id=partner_id, status=status, reason=reason)  # type: ignore[arg-type]
    return pb.AskResponse(partner=opened)


def _gateway_error(error: grpc.aio.AioRpcError) -> FairleadError:
    """What the gateway said, as an error of our own; its free text is not repeated."""
    told = [str(v) for k, v in (error.trailing_metadata() or ()) if k == REASON_KEY]
    reasons = tuple(check_reason(code) for code in told[:16] if code)
    if error.code() is grpc.StatusCode.UNAVAILABLE and not reasons:
        return Unreachable(
            "the gateway does not respond",
            reasons=("GATEWAY_UNREACHABLE",),
            remedy="ask again later; nothing was asked",
        )
    return Refused("the gateway refused this query", reasons=reasons or ("GATEWAY_REFUSED",))

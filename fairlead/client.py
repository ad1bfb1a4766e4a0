"""The user's side of a query: check the draft against one's own terms, sign it, read answers.

The client believes its node about nothing it signs: it recomputes every commitment of the
mandate from what the user typed.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fairlead import tls  # before grpc: it sets the TLS floor

# isort: split
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from fairlead import signing
from fairlead.approving import Waiting, check_pending, check_terms
from fairlead.certificates import SpiffeId
from fairlead.envelope.approval import sign_approval
from fairlead.envelope.chunk import MAX_BLIND_CHUNKS, Cutter, chunk_count, root_of
from fairlead.envelope.query import (
    MANDATE_LIFETIME_S,
    NONCE_SEED,
    WINDOW_S,
    Committed,
    Scope,
    partner_digest,
    term_leaf,
    term_nonce,
)
from fairlead.errors import Forged
from fairlead.packed import PackedTerms
from fairlead.partners import Directory
from fairlead.profile import Profile
from fairlead.v1 import asking_pb2 as pb
from fairlead.v1 import (
    asking_pb2_grpc,
    audit_reading_pb2_grpc,
    decisions_pb2,
    decisions_pb2_grpc,
    evidence_pb2,
    evidence_pb2_grpc,
    policy_pb2_grpc,
    query_pb2,
)

CHUNK_TIMEOUT_S = 60.0
PREPARE_TIMEOUT_S = 10.0
EVIDENCE_TIMEOUT_S = 600.0
PAGE = 1024
"""Terms, and rows, of one message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A draft that agrees with what the user typed, ready to be signed."""

    request: pb.PrepareRequest
    response: pb.PrepareResponse
    legal_basis: str
    mode: int
    term_count: int

    @property
    def blind(self) -> bool:
        """Whether partners would learn the number of terms and not the terms."""
        return self.mode == query_pb2.MODE_BLIND

    @property
    def exposures(self) -> Sequence[pb.Exposure]:
        """Who will learn what."""
        return self.response.exposures


def check_draft(
    request: pb.PrepareRequest,
    response: pb.PrepareResponse,
    *,
    terms: Iterable[tuple[str, str]] | None = None,
    certificate: bytes,
    directory: Directory,
    partner_id: str,
    now: float,
) -> Draft:
    """Recompute a drafted mandate from the user's own input.

    1. It names this user's certificate, partner and federation, begins now and lives at most
       24 hours.
    2. Purpose and mode are those asked for; a mode that the user left open is what the draft says,
       for the user to see.
    3. Its terms, period, events and handling are exactly the user's; handling that the user left
       to the case is what the draft says, for the user to see.
    4. Its case is the user's.
    5. Every partner's digest opens: as asked for those announced, as not asked for all others.
       A digest opens to one partner only, so the node's newer list of partners may be believed.

    :param terms: scheme and value of each term in order; None for those of the request.
    :param certificate: the user's own, DER. :param partner_id: the user's own.
    :param now: unix seconds.
    :raises Forged: the node drafted something else.
    """
    mandate = signing.parse_canonical(query_pb2.Mandate, response.mandate)
    # 1
    lifetime = mandate.expires_at - mandate.issued_at
    mine = mandate.user_certificate_digest == signing.digest(certificate) and (
        mandate.partner_id,
        mandate.federation,
    ) == (partner_id, directory.federation)
    begins_now = abs(mandate.issued_at - now) <= WINDOW_S
    if not mine or not begins_now or not 0 < lifetime <= MANDATE_LIFETIME_S:
        raise _differs("USER")
    # 2
    mode = request.mode or mandate.mode
    if (mandate.purpose, mandate.mode) != (request.purpose, mode):
        raise _differs("PURPOSE")
    # 3
    if terms is None:
        terms = ((term.scheme, term.value) for term in request.terms)
    for wanted, drafted in ((request.tlp, response.tlp), (request.pap, response.pap)):
        if wanted and drafted != wanted:
            raise _differs("HANDLING")
    scope = Scope(
        since=request.since,
        until=request.until,
        events=tuple(sorted(set(request.events))),
        tlp=response.tlp,
        pap=response.pap,
    )
    if committed(terms, response.nonce_seed, scope, mode) != Committed(
        schemes=list(mandate.schemes), count=mandate.term_count, root=mandate.terms_root
    ):
        raise _differs("TERMS")
    # 4
    if mandate.case_commitment != signing.commit(response.case_nonce, request.case_id.encode()):
        raise _differs("CASE")
    # 5
    _check_partners(request, response, mandate)
    return Draft(
        request=request,
        response=response,
        legal_basis=mandate.legal_basis,
        mode=mandate.mode,
        term_count=mandate.term_count,
    )


def committed(
    terms: Iterable[tuple[str, str]], nonce_seed: bytes, scope: Scope, mode: int
) -> Committed:
    """What a mandate must say of these terms; 32 octets a chunk are held, and no term.

    :raises Forged: the seed is none, so that the nonces are not what they should be.
    """
    if len(nonce_seed) != NONCE_SEED:
        raise _differs("TERMS")
    schemes: set[str] = set()
    cutter, count = Cutter(mode), 0
    for scheme, value in terms:
        schemes.add(scheme)
        cutter.add(term_leaf(scheme, value, term_nonce(nonce_seed, count), scope))
        count += 1
    return Committed(schemes=sorted(schemes), count=count, root=root_of(cutter.roots()))


async def _paged(
    request: pb.PrepareRequest, terms: PackedTerms, rows: Sequence[pb.Row]
) -> AsyncIterator[pb.PrepareRequest]:
    """The request as messages of one page each."""
    message = pb.PrepareRequest()
    message.CopyFrom(request)
    message.ClearField("terms")
    for start in range(0, max(len(terms), len(rows), 1), PAGE):
        message.terms.extend(terms[start : start + PAGE])
        message.rows.extend(rows[start : start + PAGE])
        yield message
        message = pb.PrepareRequest()


def _check_partners(
    request: pb.PrepareRequest, response: pb.PrepareResponse, mandate: query_pb2.Mandate
) -> None:
    asked = {exposure.partner_id for exposure in response.exposures}
    listed = list(response.directory_partners)
    beyond = request.partners and not asked <= set(request.partners)
    shape = len(mandate.partner_digests) == len(response.partner_salts) == len(listed)
    if beyond or not asked <= set(listed) or len(set(listed)) != len(listed) or not shape:
        raise _differs("PARTNERS")
    for partner_id, salt, digest in zip(
        listed, response.partner_salts, mandate.partner_digests, strict=True
    ):
        opened = partner_digest(salt, partner_id, mandate.mandate_id, asked=partner_id in asked)
        if opened != digest:
            raise _differs("PARTNERS")


def _differs(what: str) -> Forged:
    return Forged(
        "your node drafted something other than what you asked; nothing was signed or sent",
        reasons=("DRAFT_DIFFERS", what),
        remedy="tell your security officer",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A query that stands until then (unix seconds), in place of a watch that is renewed."""

    until: int
    renews: bytes = b""


class NodeClient:
    """A user's mTLS connection to their own node. Use as an async context manager."""

    def __init__(self, profile: Profile, directory: Directory) -> None:
        node = SpiffeId.parse(profile.node_id)
        self._directory = directory
        self._partner_id = node.partner_id or ""
        material = tls.KeyMaterial.load(
            Path(profile.certificate), Path(profile.key), [directory.federation_ca]
        )
        self._key = signing.load_user_key(Path(profile.key))
        chain = Path(profile.certificate).read_bytes()
        self.certificate = x509.load_pem_x509_certificate(chain).public_bytes(Encoding.DER)
        self._channel = tls.open_channel(profile.node, server=node, material=material)
        self.stub = asking_pb2_grpc.AskingServiceStub(self._channel)
        self.officer = policy_pb2_grpc.PolicyServiceStub(self._channel)
        self._officer = decisions_pb2_grpc.DecisionServiceStub(self._channel)
        self._files = evidence_pb2_grpc.EvidenceServiceStub(self._channel)
        self.auditor = audit_reading_pb2_grpc.AuditReadingServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    async def prepare(
        self,
        request: pb.PrepareRequest,
        *,
        terms: PackedTerms | None = None,
        rows: Sequence[pb.Row] = (),
        timeout_s: float | None = None,
    ) -> Draft:
        """Have a query drafted and check the draft; nothing leaves the node.

        :param terms: instead of those of the request.
        :param rows: of the file the terms come from, kept with the query at the node.
        :param timeout_s: by default ten seconds, and two for every thousand terms.
        :raises Forged: the draft differs from the request. :raises grpc.RpcError: refused.
        """
        if terms is None:
            terms = PackedTerms(request.terms)
        timeout_s = timeout_s or PREPARE_TIMEOUT_S + len(terms) / 500
        response = await self.stub.Prepare(_paged(request, terms, rows), timeout=timeout_s)
        return check_draft(
            request,
            response,
            terms=terms.pairs(),
            certificate=self.certificate,
            directory=self._directory,
            partner_id=self._partner_id,
            now=time.time(),
        )

    async def ask(
        self, draft: Draft, *, watch: Standing | None = None, timeout_s: float | None = None
    ) -> AsyncIterator[pb.AskResponse]:
        """Sign the draft and send it; yields events as partners answer.

        :param watch: how long what comes back is to be looked up again, which is signed as well.
        :param timeout_s: of the whole; by default a minute for every chunk.
        :raises grpc.RpcError: refused at home or by the gateway.
        """
        mandate = draft.response.mandate
        chunks = chunk_count(draft.term_count, draft.mode)
        call = self.stub.Ask(
            pb.AskRequest(
                preparation_id=draft.response.preparation_id,
                mandate=mandate,
                signature=signing.sign_as_user(self._key, "mandate", mandate),
                **self._order(mandate, watch),
            ),
            timeout=timeout_s or CHUNK_TIMEOUT_S * chunks,
        )
        try:
            async for event in call:
                yield event
        finally:
            call.cancel()

    def _order(self, mandate: bytes, watch: Standing | None) -> dict[str, bytes]:
        if watch is None:
            return {}
        order = signing.canonical(
            pb.WatchOrder(
                mandate_digest=signing.digest(mandate), until=watch.until, renews=watch.renews
            )
        )
        signature = signing.sign_as_user(self._key, "watch", order)
        return {"watch": order, "watch_signature": signature}

    async def resume(self, query_id: bytes) -> AsyncIterator[pb.AskResponse]:
        """Go on with an own query; yields its events from the first.

        :raises grpc.RpcError: refused at home or by the gateway.
        """
        call = self.stub.Resume(
            pb.ResumeRequest(query_id=query_id), timeout=CHUNK_TIMEOUT_S * MAX_BLIND_CHUNKS
        )
        try:
            async for response in call:
                yield response.event
        finally:
            call.cancel()

    async def show(self, query_id: bytes) -> AsyncIterator[pb.AskResponse]:
        """What the node keeps of a query, as its events.

        :raises grpc.RpcError: it is not kept, or not the user's.
        """
        call = self.stub.ShowQuery(
            pb.ShowQueryRequest(query_id=query_id), timeout=CHUNK_TIMEOUT_S * MAX_BLIND_CHUNKS
        )
        try:
            async for response in call:
                yield response.event
        finally:
            call.cancel()

    async def evidence(self, case_id: str) -> bytes:
        """The file of evidence of a case; the reading is on the record.

        :raises grpc.RpcError: refused, or no such case.
        """
        request = evidence_pb2.CollectEvidenceRequest(case_id=case_id)
        call = self._files.CollectEvidence(request, timeout=EVIDENCE_TIMEOUT_S)
        return b"".join([piece.octets async for piece in call])

    # ── The second person ────────────────────────────────────────────────────────────────────

    async def pending(self, *, timeout_s: float = 30) -> list[Waiting]:
        """The queries that wait for this approver, each checked against its user's signature.

        :raises Forged: the node shows something else. :raises grpc.RpcError: refused.
        """
        listed = await self.stub.ListApprovals(pb.ListApprovalsRequest(), timeout=timeout_s)
        return [
            check_pending(
                shown, directory=self._directory, partner_id=self._partner_id, now=time.time()
            )
            for shown in listed.pending
        ]

    async def pending_terms(self, waiting: Waiting) -> PackedTerms:
        """The terms of one of them, checked; the reading is on the record.

        :raises Forged: the node shows other terms. :raises grpc.RpcError: refused.
        """
        request = pb.ShowApprovalRequest(query_id=waiting.shown.query.query_id)
        call = self.stub.ShowApproval(request, timeout=CHUNK_TIMEOUT_S)
        return check_terms(waiting, [page async for page in call])

    async def approve(self, waiting: Waiting, *, timeout_s: float = 30) -> int:
        """Sign that it may be sent, urgent when it is; returns how it stands then.

        :raises grpc.RpcError: refused.
        """
        signed = sign_approval(
            waiting.shown.mandate,
            certificate=self.certificate,
            key=self._key,
            now=time.time(),
            urgent=waiting.shown.urgent,
        )
        request = pb.DecideApprovalRequest(query_id=waiting.shown.query.query_id, approve=signed)
        decided = await self.stub.DecideApproval(request, timeout=timeout_s)
        return int(decided.state)

    # ── The security officer ─────────────────────────────────────────────────────────────────

    async def decisions(
        self, request: decisions_pb2.ReadDecisionsRequest
    ) -> AsyncIterator[decisions_pb2.ReadDecisionsResponse]:
        """What the node decided, as it travels; the reading is on the record.

        :raises grpc.RpcError: refused.
        """
        call = self._officer.ReadDecisions(request)
        try:
            async for item in call:
                yield item
        finally:
            call.cancel()

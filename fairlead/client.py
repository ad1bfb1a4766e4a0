"""The user's side: have a question drafted and check it, sign it, read what comes back."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
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
from fairlead.drafted import Draft, check_draft
from fairlead.envelope.approval import sign_approval
from fairlead.envelope.chunk import MAX_BLIND_CHUNKS, chunk_count
from fairlead.kpi.signature import Statement
from fairlead.packed import PackedTerms
from fairlead.partners import Directory
from fairlead.profile import Profile
from fairlead.strategic.question import draft_question, sign_question
from fairlead.strategic.received import Request
from fairlead.v1 import asking_pb2 as pb
from fairlead.v1 import (
    asking_pb2_grpc,
    audit_reading_pb2_grpc,
    decisions_pb2,
    decisions_pb2_grpc,
    evidence_pb2,
    evidence_pb2_grpc,
    policy_pb2_grpc,
)

CHUNK_TIMEOUT_S = 60.0
UNIT_TIMEOUT_S = 60.0
"""Seconds that the rounds of one unit of time may take, with those that others want first."""
PREPARE_TIMEOUT_S = 10.0
EVIDENCE_TIMEOUT_S = 600.0
PAGE = 1024
"""Terms, and rows, of one message."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A query that stands until then (unix seconds), in place of a watch that is renewed."""

    until: int
    renews: bytes = b""


class NodeClient:
    """A user's mTLS connection to their own node. Use as an async context manager."""

    def __init__(self, profile: Profile, directory: Directory) -> None:
        node = SpiffeId.parse(profile.node_id)
        self.directory = directory
        self.partner_id = node.partner_id or ""
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
            directory=self.directory,
            partner_id=self.partner_id,
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

    # ── Figures ──────────────────────────────────────────────────────────────────────────────────

    async def list_cubes(self, *, timeout_s: float = 30) -> pb.ListCubesResponse:
        """The cubes in force, and what the user may ask of them.

        :raises grpc.RpcError: refused.
        """
        listed: pb.ListCubesResponse = await self.stub.ListCubes(
            pb.ListCubesRequest(), timeout=timeout_s
        )
        return listed

    async def ask_figures(
        self, request: Request, *, timeout_s: float | None = None
    ) -> AsyncIterator[pb.AskFiguresResponse]:
        """Sign a question about figures and send it; yields events as figures are released.

        :param timeout_s: of the whole; by default a minute for every unit of time.
        :raises grpc.RpcError: refused at home or by the gateway.
        """
        question = draft_question(
            federation=self.directory.federation,
            partner_id=self.partner_id,
            user_certificate=self.certificate,
            purpose=request.purpose,
            cube=request.cube,
            registry_digest=request.registry.digest,
            level=request.level,
            period=request.period,
            now=time.time(),
        )
        call = self.stub.AskFigures(
            pb.AskFiguresRequest(question=question, signature=sign_question(question, self._key)),
            timeout=timeout_s or UNIT_TIMEOUT_S * (1 + len(request.units)),
        )
        try:
            async for event in call:
                yield event
        finally:
            call.cancel()

    async def sign_pack(self, statement: Statement) -> bytes:
        """The partner's signature over the statement of a KPI pack.

        :raises grpc.RpcError: refused.
        """
        request = pb.SignPackRequest(statement=statement.to_bytes())
        signed: pb.SignPackResponse = await self.stub.SignPack(request, timeout=30)
        return signed.signature

    # ── The second person ────────────────────────────────────────────────────────────────────

    async def pending(self, *, timeout_s: float = 30) -> list[Waiting]:
        """The queries that wait for this approver, each checked against its user's signature.

        :raises Forged: the node shows something else. :raises grpc.RpcError: refused.
        """
        listed = await self.stub.ListApprovals(pb.ListApprovalsRequest(), timeout=timeout_s)
        return [
            check_pending(
                shown, directory=self.directory, partner_id=self.partner_id, now=time.time()
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

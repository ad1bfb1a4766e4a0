"""``OwnerService`` and ``AskingService`` over gRPC, and who may call these and the others."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import Any

from fairlead import tls  # noqa: F401  before grpc: it sets the TLS floor

# isort: split
import grpc.aio

from fairlead.authorisation import GATEWAYS, Authorisation, Service, users
from fairlead.certificates import Identity, Role, der_of
from fairlead.door import current_identity
from fairlead.partners import Directories
from fairlead.v1 import (
    asking_pb2,
    asking_pb2_grpc,
    audit_reading_pb2,
    audit_reading_pb2_grpc,
    decisions_pb2,
    decisions_pb2_grpc,
    evidence_pb2,
    evidence_pb2_grpc,
    owner_pb2,
    owner_pb2_grpc,
    policy_pb2,
    policy_pb2_grpc,
    witness_pb2,
    witness_pb2_grpc,
)
from node.answering import Answering
from node.approvals import Approvals
from node.asking import Asking
from node.auditing import AuditDesk
from node.casefile import CaseFiles
from node.cases import CaseRegister
from node.decisions import DecisionDesk
from node.feedback import Feedback
from node.officials import (
    AuditReadingServicer,
    DecisionServicer,
    EvidenceServicer,
    PolicyServicer,
    own_user,
)
from node.publication.delivery import Delivery
from node.releases import ReleaseFollower
from node.statistics.service import AUTHORISATION as FIGURES
from node.watches import Watches
from node.witness import Witness

Context = grpc.aio.ServicerContext[Any, Any]

_READERS = users(Role.ANALYST, Role.APPROVER, Role.SECURITY_OFFICER, Role.AUDITOR, Role.OPERATOR)
AUTHORISATION: Authorisation = {
    "/fairlead.v1.OwnerService/Answer": GATEWAYS,
    "/fairlead.v1.AskingService/Prepare": users(Role.ANALYST),
    "/fairlead.v1.AskingService/Ask": users(Role.ANALYST),
    "/fairlead.v1.AskingService/ListPartners": _READERS,
    "/fairlead.v1.AskingService/OpenCase": users(Role.APPROVER),
    "/fairlead.v1.AskingService/ListCases": users(Role.ANALYST, Role.APPROVER, Role.AUDITOR),
    "/fairlead.v1.OwnerService/Feedback": GATEWAYS,
    "/fairlead.v1.OwnerService/Deliver": GATEWAYS,
    "/fairlead.v1.AskingService/AssignCase": users(Role.APPROVER),
    "/fairlead.v1.AskingService/CloseCase": users(Role.APPROVER),
    "/fairlead.v1.AskingService/Resume": users(Role.ANALYST),
    "/fairlead.v1.AskingService/ListQueries": users(Role.ANALYST, Role.AUDITOR),
    "/fairlead.v1.AskingService/ShowQuery": users(Role.ANALYST, Role.AUDITOR),
    "/fairlead.v1.AskingService/SendFeedback": users(Role.ANALYST),
    "/fairlead.v1.AskingService/ListBudgets": users(Role.ANALYST),
    "/fairlead.v1.AskingService/ListApprovals": users(Role.APPROVER),
    "/fairlead.v1.AskingService/ShowApproval": users(Role.APPROVER),
    "/fairlead.v1.AskingService/DecideApproval": users(Role.APPROVER),
    "/fairlead.v1.AskingService/ListReviews": users(Role.APPROVER),
    "/fairlead.v1.AskingService/DecideReview": users(Role.APPROVER),
    "/fairlead.v1.AskingService/ListWatches": users(Role.ANALYST, Role.AUDITOR),
    "/fairlead.v1.AskingService/ShowWatch": users(Role.ANALYST),
    "/fairlead.v1.AskingService/RemoveWatch": users(Role.ANALYST),
    "/fairlead.v1.PolicyService/GetPolicy": users(Role.SECURITY_OFFICER, Role.AUDITOR),
    "/fairlead.v1.PolicyService/PublishPolicy": users(Role.SECURITY_OFFICER),
    "/fairlead.v1.PolicyService/PolicyStatus": users(
        Role.SECURITY_OFFICER, Role.AUDITOR, Role.OPERATOR
    ),
    "/fairlead.v1.DecisionService/ReadDecisions": users(Role.SECURITY_OFFICER),
    "/fairlead.v1.AuditReadingService/ListLeaves": users(Role.AUDITOR),
    "/fairlead.v1.AuditReadingService/ShowLeaf": users(Role.AUDITOR),
    "/fairlead.v1.AuditReadingService/ExportLeaves": users(Role.AUDITOR),
    "/fairlead.v1.AuditReadingService/ListTimestamps": users(Role.AUDITOR),
    "/fairlead.v1.WitnessService/AddCheckpoint": GATEWAYS,
    "/fairlead.v1.EvidenceService/CollectEvidence": users(
        Role.ANALYST, Role.APPROVER, Role.AUDITOR
    ),
    **FIGURES,
}


class OwnerServicer(owner_pb2_grpc.OwnerServiceServicer):
    """Hands the gateway's calls to the owner's side."""

    def __init__(self, answering: Answering, feedback: Feedback, delivery: Delivery) -> None:
        self._answering = answering
        self._feedback = feedback
        self._delivery = delivery

    async def Answer(  # noqa: N802
        self, request: owner_pb2.AnswerRequest, _context: Context
    ) -> owner_pb2.AnswerResponse:
        """See :meth:`Answering.answer`."""
        return await self._answering.answer(request, current_identity())

    async def Feedback(  # noqa: N802
        self, request: owner_pb2.OwnerServiceFeedbackRequest, _context: Context
    ) -> owner_pb2.OwnerServiceFeedbackResponse:
        """See :meth:`Feedback.receive`."""
        await self._feedback.receive(request.feedback, current_identity())
        return owner_pb2.OwnerServiceFeedbackResponse()

    async def Deliver(  # noqa: N802
        self, request: owner_pb2.DeliverRequest, _context: Context
    ) -> owner_pb2.DeliverResponse:
        """See :meth:`Delivery.deliver`."""
        return await self._delivery.deliver(request, current_identity())


class AskingServicer(asking_pb2_grpc.AskingServiceServicer):
    """Hands the own users' calls to the asker's side."""

    def __init__(
        self,
        partner_id: str,
        asking: Asking,
        approvals: Approvals,
        watches: Watches,
        feedback: Feedback,
        cases: CaseRegister,
        directory: Directories,
    ) -> None:
        self._partner_id = partner_id
        self._asking = asking
        self._approvals = approvals
        self._watches = watches
        self._feedback = feedback
        self._cases = cases
        self._directory = directory

    def _user(self) -> Identity:
        return own_user(self._partner_id)

    async def Prepare(  # noqa: N802
        self, requests: AsyncIterator[asking_pb2.PrepareRequest], context: Context
    ) -> asking_pb2.PrepareResponse:
        """See :meth:`Asking.prepare`."""
        return await self._asking.prepare(requests, self._user(), _certificate(context))

    async def Ask(  # noqa: N802
        self, request: asking_pb2.AskRequest, context: Context
    ) -> AsyncGenerator[asking_pb2.AskResponse, None]:
        """See :meth:`Asking.ask`."""
        events = self._asking.ask(request, self._user(), _certificate(context))
        async with aclosing(events):
            async for event in events:
                yield event

    async def ListPartners(  # noqa: N802
        self, _request: asking_pb2.ListPartnersRequest, _context: Context
    ) -> asking_pb2.ListPartnersResponse:
        """The verified directory."""
        self._user()
        directory = self._directory.asking
        return asking_pb2.ListPartnersResponse(
            serial=directory.serial,
            expires_at=directory.expires_at,
            partners=[
                asking_pb2.PartnerSummary(
                    partner_id=partner.partner_id,
                    display_name=partner.display_name,
                    kind=partner.kind.to_wire(),  # type: ignore[arg-type]
                    country=partner.country,
                    schemes=partner.schemes,
                )
                for partner in directory.partners.values()
            ],
        )

    async def OpenCase(  # noqa: N802
        self, request: asking_pb2.OpenCaseRequest, _context: Context
    ) -> asking_pb2.OpenCaseResponse:
        """See :meth:`CaseRegister.open`."""
        case = await self._cases.open(request.case, self._user())
        return asking_pb2.OpenCaseResponse(case=case.to_wire())

    async def ListCases(  # noqa: N802
        self, _request: asking_pb2.ListCasesRequest, _context: Context
    ) -> asking_pb2.ListCasesResponse:
        """See :meth:`CaseRegister.visible_to`."""
        cases = self._cases.visible_to(self._user())
        return asking_pb2.ListCasesResponse(cases=[case.to_wire() for case in cases])

    async def AssignCase(  # noqa: N802
        self, request: asking_pb2.AssignCaseRequest, _context: Context
    ) -> asking_pb2.AssignCaseResponse:
        """See :meth:`CaseRegister.assign`."""
        case = await self._cases.assign(
            request.case_id, self._user(), add=request.add, remove=request.remove
        )
        return asking_pb2.AssignCaseResponse(case=case.to_wire())

    async def CloseCase(  # noqa: N802
        self, request: asking_pb2.CloseCaseRequest, _context: Context
    ) -> asking_pb2.CloseCaseResponse:
        """See :meth:`CaseRegister.close`."""
        case = await self._cases.close(request.case_id, self._user())
        return asking_pb2.CloseCaseResponse(case=case.to_wire())

    async def Resume(  # noqa: N802
        self, request: asking_pb2.ResumeRequest, _context: Context
    ) -> AsyncGenerator[asking_pb2.ResumeResponse, None]:
        """See :meth:`Asking.resume`."""
        async with aclosing(self._asking.resume(request.query_id, self._user())) as events:
            async for event in events:
                yield asking_pb2.ResumeResponse(event=event)

    async def ListQueries(  # noqa: N802
        self, _request: asking_pb2.ListQueriesRequest, _context: Context
    ) -> asking_pb2.ListQueriesResponse:
        """See :meth:`Asking.listed`."""
        return asking_pb2.ListQueriesResponse(queries=self._asking.listed(self._user()))

    async def ShowQuery(  # noqa: N802
        self, request: asking_pb2.ShowQueryRequest, _context: Context
    ) -> AsyncGenerator[asking_pb2.ShowQueryResponse, None]:
        """See :meth:`Asking.show`."""
        async with aclosing(self._asking.show(request.query_id, self._user())) as events:
            async for event in events:
                yield asking_pb2.ShowQueryResponse(event=event)

    async def SendFeedback(  # noqa: N802
        self, request: asking_pb2.SendFeedbackRequest, _context: Context
    ) -> asking_pb2.SendFeedbackResponse:
        """See :meth:`Feedback.send`."""
        await self._feedback.send(request, self._user())
        return asking_pb2.SendFeedbackResponse()

    async def ListBudgets(  # noqa: N802
        self, _request: asking_pb2.ListBudgetsRequest, _context: Context
    ) -> asking_pb2.ListBudgetsResponse:
        """See :meth:`Asking.budgets`."""
        return asking_pb2.ListBudgetsResponse(accounts=self._asking.budgets(self._user()))

    async def ListApprovals(  # noqa: N802
        self, _request: asking_pb2.ListApprovalsRequest, _context: Context
    ) -> asking_pb2.ListApprovalsResponse:
        """See :meth:`Approvals.listed`."""
        return asking_pb2.ListApprovalsResponse(pending=self._approvals.listed(self._user()))

    async def ShowApproval(  # noqa: N802
        self, request: asking_pb2.ShowApprovalRequest, _context: Context
    ) -> AsyncGenerator[asking_pb2.ShowApprovalResponse, None]:
        """See :meth:`Approvals.show`."""
        async with aclosing(self._approvals.show(request.query_id, self._user())) as pages:
            async for page in pages:
                yield page

    async def DecideApproval(  # noqa: N802
        self, request: asking_pb2.DecideApprovalRequest, _context: Context
    ) -> asking_pb2.DecideApprovalResponse:
        """See :meth:`Approvals.decide`."""
        state = await self._approvals.decide(request, self._user())
        return asking_pb2.DecideApprovalResponse(state=state)  # type: ignore[arg-type]

    async def ListReviews(  # noqa: N802
        self, _request: asking_pb2.ListReviewsRequest, _context: Context
    ) -> asking_pb2.ListReviewsResponse:
        """See :meth:`Approvals.reviews`."""
        return asking_pb2.ListReviewsResponse(reviews=self._approvals.reviews(self._user()))

    async def DecideReview(  # noqa: N802
        self, request: asking_pb2.DecideReviewRequest, _context: Context
    ) -> asking_pb2.DecideReviewResponse:
        """See :meth:`Approvals.review`."""
        await self._approvals.review(request, self._user())
        return asking_pb2.DecideReviewResponse()

    async def ListWatches(  # noqa: N802
        self, _request: asking_pb2.ListWatchesRequest, _context: Context
    ) -> asking_pb2.ListWatchesResponse:
        """See :meth:`Watches.listed`."""
        return asking_pb2.ListWatchesResponse(watches=self._watches.listed(self._user()))

    async def ShowWatch(  # noqa: N802
        self, request: asking_pb2.ShowWatchRequest, _context: Context
    ) -> asking_pb2.ShowWatchResponse:
        """See :meth:`Watches.show`."""
        return await self._watches.show(request.watch_id, self._user())

    async def RemoveWatch(  # noqa: N802
        self, request: asking_pb2.RemoveWatchRequest, _context: Context
    ) -> asking_pb2.RemoveWatchResponse:
        """See :meth:`Watches.remove`."""
        await self._watches.remove(request.watch_id, self._user())
        return asking_pb2.RemoveWatchResponse()


class WitnessServicer(witness_pb2_grpc.WitnessServiceServicer):
    """Hands the gateways' checkpoints to the witness."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness

    async def AddCheckpoint(  # noqa: N802
        self, request: witness_pb2.AddCheckpointRequest, _context: Context
    ) -> witness_pb2.AddCheckpointResponse:
        """See :meth:`Witness.add`."""
        return await self._witness.add(request, current_identity())


def _certificate(context: Context) -> bytes:
    """The caller's certificate (DER), as TLS verified it."""
    return der_of(next(iter(context.auth_context()["x509_pem_cert"])))


def services(
    partner_id: str,
    answering: Answering,
    asking: Asking,
    approvals: Approvals,
    watches: Watches,
    feedback: Feedback,
    cases: CaseRegister,
    directory: Directories,
    delivery: Delivery,
    releases: ReleaseFollower,
    decided: DecisionDesk,
    witness: Witness,
    files: CaseFiles,
    audited: AuditDesk,
) -> list[Service]:
    """All services, ready to be offered."""
    owner = owner_pb2_grpc.add_OwnerServiceServicer_to_server
    user = asking_pb2_grpc.add_AskingServiceServicer_to_server
    officer = policy_pb2_grpc.add_PolicyServiceServicer_to_server
    reader = decisions_pb2_grpc.add_DecisionServiceServicer_to_server
    auditor = audit_reading_pb2_grpc.add_AuditReadingServiceServicer_to_server
    cosigner = witness_pb2_grpc.add_WitnessServiceServicer_to_server
    court = evidence_pb2_grpc.add_EvidenceServiceServicer_to_server
    return [
        Service(
            descriptor=owner_pb2.DESCRIPTOR.services_by_name["OwnerService"],
            register=partial(owner, OwnerServicer(answering, feedback, delivery)),
        ),
        Service(
            descriptor=asking_pb2.DESCRIPTOR.services_by_name["AskingService"],
            register=partial(
                user,
                AskingServicer(partner_id, asking, approvals, watches, feedback, cases, directory),
            ),
        ),
        Service(
            descriptor=policy_pb2.DESCRIPTOR.services_by_name["PolicyService"],
            register=partial(officer, PolicyServicer(partner_id, releases)),
        ),
        Service(
            descriptor=decisions_pb2.DESCRIPTOR.services_by_name["DecisionService"],
            register=partial(reader, DecisionServicer(partner_id, decided)),
        ),
        Service(
            descriptor=audit_reading_pb2.DESCRIPTOR.services_by_name["AuditReadingService"],
            register=partial(auditor, AuditReadingServicer(partner_id, audited)),
        ),
        Service(
            descriptor=witness_pb2.DESCRIPTOR.services_by_name["WitnessService"],
            register=partial(cosigner, WitnessServicer(witness)),
        ),
        Service(
            descriptor=evidence_pb2.DESCRIPTOR.services_by_name["EvidenceService"],
            register=partial(court, EvidenceServicer(partner_id, files)),
        ),
    ]

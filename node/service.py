"""``OwnerService`` and ``AskingService`` over gRPC, and who may call these and the others."""

from __future__ import annotations

from functools import partial
from typing import Any

from fairlead import tls  # noqa: F401  before grpc: it sets the TLS floor

# isort: split
import grpc.aio

from fairlead.authorisation import GATEWAYS, Authorisation, Service, users
from fairlead.certificates import Role
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
from node.figuring import Figuring
from node.officials import (
    AuditReadingServicer,
    DecisionServicer,
    EvidenceServicer,
    PolicyServicer,
)
from node.packing import PackDesk
from node.publication.delivery import Delivery
from node.releases import ReleaseFollower
from node.statistics.service import AUTHORISATION as FIGURES
from node.users import AskingServicer
from node.watches import Watches
from node.witness import Witness

Context = grpc.aio.ServicerContext[Any, Any]

_READERS = users(Role.ANALYST, Role.APPROVER, Role.SECURITY_OFFICER, Role.AUDITOR, Role.OPERATOR)
_FIGURES = users(Role.ANALYST, Role.APPROVER, Role.SECURITY_OFFICER, Role.AUDITOR)
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
    "/fairlead.v1.AskingService/ListCubes": _FIGURES,
    "/fairlead.v1.AskingService/AskFigures": _FIGURES,
    "/fairlead.v1.AskingService/SignPack": _FIGURES,
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


class WitnessServicer(witness_pb2_grpc.WitnessServiceServicer):
    """Hands the gateways' checkpoints to the witness."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness

    async def AddCheckpoint(  # noqa: N802
        self, request: witness_pb2.AddCheckpointRequest, _context: Context
    ) -> witness_pb2.AddCheckpointResponse:
        """See :meth:`Witness.add`."""
        return await self._witness.add(request, current_identity())


def services(
    partner_id: str,
    answering: Answering,
    asking: Asking,
    approvals: Approvals,
    watches: Watches,
    feedback: Feedback,
    cases: CaseRegister,
    figuring: Figuring,
    packs: PackDesk,
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
                AskingServicer(
                    partner_id,
                    asking,
                    approvals,
                    watches,
                    feedback,
                    cases,
                    figuring,
                    packs,
                    directory,
                ),
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

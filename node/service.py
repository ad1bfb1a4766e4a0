"""``OwnerService`` and ``AskingService`` over gRPC, and who may call them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any

from fairlead import tls  # noqa: F401  before grpc: it sets the TLS floor

# isort: split
import grpc.aio

from fairlead.authorisation import GATEWAYS, Authorisation, Service, users
from fairlead.certificates import Identity, Role, der_of
from fairlead.door import current_identity
from fairlead.errors import Refused
from fairlead.partners import Directories
from fairlead.v1 import asking_pb2, asking_pb2_grpc, owner_pb2, owner_pb2_grpc
from node.answering import Answering
from node.asking import Asking
from node.cases import CaseRegister

Context = grpc.aio.ServicerContext[Any, Any]

_READERS = users(Role.ANALYST, Role.APPROVER, Role.SECURITY_OFFICER, Role.AUDITOR, Role.OPERATOR)
AUTHORISATION: Authorisation = {
    "/fairlead.v1.OwnerService/Answer": GATEWAYS,
    "/fairlead.v1.AskingService/Prepare": users(Role.ANALYST),
    "/fairlead.v1.AskingService/Ask": users(Role.ANALYST),
    "/fairlead.v1.AskingService/ListPartners": _READERS,
    "/fairlead.v1.AskingService/OpenCase": users(Role.APPROVER),
    "/fairlead.v1.AskingService/ListCases": users(Role.ANALYST, Role.APPROVER, Role.AUDITOR),
}


class OwnerServicer(owner_pb2_grpc.OwnerServiceServicer):
    """Hands the gateway's calls to the owner's side."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering

    async def Answer(  # noqa: N802
        self, request: owner_pb2.AnswerRequest, _context: Context
    ) -> owner_pb2.AnswerResponse:
        """See :meth:`Answering.answer`."""
        return await self._answering.answer(request, current_identity())


class AskingServicer(asking_pb2_grpc.AskingServiceServicer):
    """Hands the own users' calls to the asker's side."""

    def __init__(
        self, partner_id: str, asking: Asking, cases: CaseRegister, directory: Directories
    ) -> None:
        self._partner_id = partner_id
        self._asking = asking
        self._cases = cases
        self._directory = directory

    def _user(self) -> Identity:
        """The caller, who must be a user of this node's own partner.

        :raises Refused: somebody else's user; the trusted roots make this unreachable, and a
            directory change must not make it reachable.
        """
        user = current_identity()
        if user.partner_id != self._partner_id:
            raise Refused("this node serves its own partner's users", reasons=("OTHER_PARTNER",))
        return user

    async def Prepare(  # noqa: N802
        self, request: asking_pb2.PrepareRequest, context: Context
    ) -> asking_pb2.PrepareResponse:
        """See :meth:`Asking.prepare`."""
        return await self._asking.prepare(request, self._user(), _certificate(context))

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


def _certificate(context: Context) -> bytes:
    """The caller's certificate (DER), as TLS verified it."""
    return der_of(next(iter(context.auth_context()["x509_pem_cert"])))


def services(
    partner_id: str,
    answering: Answering,
    asking: Asking,
    cases: CaseRegister,
    directory: Directories,
) -> list[Service]:
    """Both services, ready to be offered."""
    owner = owner_pb2_grpc.add_OwnerServiceServicer_to_server
    user = asking_pb2_grpc.add_AskingServiceServicer_to_server
    return [
        Service(
            descriptor=owner_pb2.DESCRIPTOR.services_by_name["OwnerService"],
            register=partial(owner, OwnerServicer(answering)),
        ),
        Service(
            descriptor=asking_pb2.DESCRIPTOR.services_by_name["AskingService"],
            register=partial(user, AskingServicer(partner_id, asking, cases, directory)),
        ),
    ]

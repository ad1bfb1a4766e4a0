"""``AskingService`` over gRPC: what a node offers to its own partner's users."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from fairlead import tls  # noqa: F401  before grpc: it sets the TLS floor

# isort: split
import grpc.aio

from fairlead.certificates import Identity, der_of
from fairlead.partners import Directories
from fairlead.v1 import asking_pb2, asking_pb2_grpc
from node.approvals import Approvals
from node.asking import Asking
from node.cases import CaseRegister
from node.feedback import Feedback
from node.figuring import Figuring
from node.officials import own_user
from node.packing import PackDesk
from node.watches import Watches

Context = grpc.aio.ServicerContext[Any, Any]


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
        figuring: Figuring,
        packs: PackDesk,
        directory: Directories,
    ) -> None:
        self._partner_id = partner_id
        self._asking = asking
        self._approvals = approvals
        self._watches = watches
        self._feedback = feedback
        self._cases = cases
        self._figuring = figuring
        self._packs = packs
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

    async def ListCubes(  # noqa: N802
        self, _request: asking_pb2.ListCubesRequest, _context: Context
    ) -> asking_pb2.ListCubesResponse:
        """See :meth:`Figuring.listed`."""
        return await self._figuring.listed(self._user())

    async def AskFigures(  # noqa: N802
        self, request: asking_pb2.AskFiguresRequest, context: Context
    ) -> AsyncGenerator[asking_pb2.AskFiguresResponse, None]:
        """See :meth:`Figuring.ask`."""
        events = self._figuring.ask(request, self._user(), _certificate(context))
        async with aclosing(events):
            async for event in events:
                yield event

    async def SignPack(  # noqa: N802
        self, request: asking_pb2.SignPackRequest, _context: Context
    ) -> asking_pb2.SignPackResponse:
        """See :meth:`PackDesk.sign`."""
        signature = await self._packs.sign(request.statement, self._user())
        return asking_pb2.SignPackResponse(signature=signature)


def _certificate(context: Context) -> bytes:
    """The caller's certificate (DER), as TLS verified it."""
    return der_of(next(iter(context.auth_context()["x509_pem_cert"])))

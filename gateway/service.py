"""The gateway's services over gRPC, and who may call them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any

from fairlead import tls  # noqa: F401  before grpc: it sets the TLS floor

# isort: split
import grpc.aio

from fairlead.authorisation import NODES, Authorisation, Service
from fairlead.certificates import der_of
from fairlead.door import current_identity
from fairlead.v1 import (
    federation_pb2,
    federation_pb2_grpc,
    gateway_pb2,
    gateway_pb2_grpc,
    reconcile_pb2,
    reconcile_pb2_grpc,
    statistics_pb2,
    statistics_pb2_grpc,
)
from gateway.federation import Publishing
from gateway.feedback import FeedbackDesk
from gateway.figures.waivers import WaiverDesk
from gateway.publications import Publications
from gateway.reconciliation import Reconciliations
from gateway.releases import ReleaseExchange
from gateway.strategic import Strategic
from gateway.tactical import Tactical

AUTHORISATION: Authorisation = {
    "/fairlead.v1.GatewayService/Query": NODES,
    "/fairlead.v1.GatewayService/Feedback": NODES,
    "/fairlead.v1.GatewayService/PublishManifest": NODES,
    "/fairlead.v1.GatewayService/ListManifests": NODES,
    "/fairlead.v1.GatewayService/FetchPublication": NODES,
    "/fairlead.v1.FederationService/Follow": NODES,
    "/fairlead.v1.FederationService/PublishDenyList": NODES,
    "/fairlead.v1.FederationService/Renew": NODES,
    "/fairlead.v1.FederationService/FetchPolicy": NODES,
    "/fairlead.v1.FederationService/PublishPolicy": NODES,
    "/fairlead.v1.FederationService/ReportPolicy": NODES,
    "/fairlead.v1.FederationService/ListPolicies": NODES,
    "/fairlead.v1.ReconcileService/Reconcile": NODES,
    "/fairlead.v1.ReconcileService/Conclude": NODES,
    "/fairlead.v1.StatisticsService/QueryFigures": NODES,
    "/fairlead.v1.StatisticsService/PublishWaiver": NODES,
}


class GatewayServicer(gateway_pb2_grpc.GatewayServiceServicer):
    """Hands each call to the walk behind it."""

    def __init__(
        self, tactical: Tactical, feedback: FeedbackDesk, publications: Publications
    ) -> None:
        self._tactical = tactical
        self._feedback = feedback
        self._publications = publications

    async def Query(  # noqa: N802
        self, request: gateway_pb2.QueryRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncGenerator[gateway_pb2.QueryResponse, None]:
        """See :meth:`Tactical.query`."""
        async with aclosing(self._tactical.query(request, current_identity())) as events:
            async for event in events:
                yield event

    async def Feedback(  # noqa: N802
        self,
        request: gateway_pb2.GatewayServiceFeedbackRequest,
        _context: grpc.aio.ServicerContext[Any, Any],
    ) -> gateway_pb2.GatewayServiceFeedbackResponse:
        """See :meth:`FeedbackDesk.passed`."""
        await self._feedback.passed(request.feedback, current_identity())
        return gateway_pb2.GatewayServiceFeedbackResponse()

    async def PublishManifest(  # noqa: N802
        self,
        request: gateway_pb2.PublishManifestRequest,
        _context: grpc.aio.ServicerContext[Any, Any],
    ) -> gateway_pb2.PublishManifestResponse:
        """See :meth:`Publications.publish`."""
        return await self._publications.publish(request, current_identity())

    async def ListManifests(  # noqa: N802
        self,
        request: gateway_pb2.ListManifestsRequest,
        _context: grpc.aio.ServicerContext[Any, Any],
    ) -> gateway_pb2.ListManifestsResponse:
        """See :meth:`Publications.listed`."""
        return await self._publications.listed(request, current_identity())

    async def FetchPublication(  # noqa: N802
        self,
        request: gateway_pb2.FetchPublicationRequest,
        _context: grpc.aio.ServicerContext[Any, Any],
    ) -> gateway_pb2.FetchPublicationResponse:
        """See :meth:`Publications.fetch`."""
        return await self._publications.fetch(request, current_identity())


class FederationServicer(federation_pb2_grpc.FederationServiceServicer):
    """Hands the nodes' calls to what publishes and certifies."""

    def __init__(self, publishing: Publishing, releases: ReleaseExchange) -> None:
        self._publishing = publishing
        self._releases = releases

    async def Follow(  # noqa: N802
        self,
        _request: federation_pb2.FollowRequest,
        _context: grpc.aio.ServicerContext[Any, Any],
    ) -> AsyncGenerator[federation_pb2.FollowResponse, None]:
        """See :meth:`Publishing.follow`."""
        async with aclosing(self._publishing.follow()) as events:
            async for event in events:
                yield event

    async def PublishDenyList(  # noqa: N802
        self,
        request: federation_pb2.PublishDenyListRequest,
        _context: grpc.aio.ServicerContext[Any, Any],
    ) -> federation_pb2.PublishDenyListResponse:
        """See :meth:`Publishing.publish`."""
        serial = await self._publishing.publish(request.deny_list, current_identity())
        return federation_pb2.PublishDenyListResponse(serial=serial)

    async def Renew(  # noqa: N802
        self,
        request: federation_pb2.RenewRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> federation_pb2.RenewResponse:
        """See :meth:`Publishing.renew`."""
        presented = der_of(next(iter(context.auth_context()["x509_pem_cert"])))
        issued = await self._publishing.renew(request.request, current_identity(), presented)
        return federation_pb2.RenewResponse(certificate=issued)

    async def FetchPolicy(  # noqa: N802
        self,
        request: federation_pb2.FetchPolicyRequest,
        _context: grpc.aio.ServicerContext[Any, Any],
    ) -> federation_pb2.FetchPolicyResponse:
        """See :meth:`ReleaseExchange.fetch`."""
        return self._releases.fetch(request)

    async def PublishPolicy(  # noqa: N802
        self,
        request: federation_pb2.FederationServicePublishPolicyRequest,
        _context: grpc.aio.ServicerContext[Any, Any],
    ) -> federation_pb2.FederationServicePublishPolicyResponse:
        """See :meth:`ReleaseExchange.publish`."""
        serial = await self._releases.publish(request, current_identity())
        return federation_pb2.FederationServicePublishPolicyResponse(serial=serial)

    async def ReportPolicy(  # noqa: N802
        self,
        request: federation_pb2.ReportPolicyRequest,
        _context: grpc.aio.ServicerContext[Any, Any],
    ) -> federation_pb2.ReportPolicyResponse:
        """See :meth:`ReleaseExchange.report`."""
        self._releases.report(request, current_identity())
        return federation_pb2.ReportPolicyResponse()

    async def ListPolicies(  # noqa: N802
        self,
        _request: federation_pb2.ListPoliciesRequest,
        _context: grpc.aio.ServicerContext[Any, Any],
    ) -> federation_pb2.ListPoliciesResponse:
        """See :meth:`ReleaseExchange.listed`."""
        return self._releases.listed()


class ReconcileServicer(reconcile_pb2_grpc.ReconcileServiceServicer):
    """Hands the nodes' statements to what holds them against this gateway's log."""

    def __init__(self, reconciliations: Reconciliations) -> None:
        self._reconciliations = reconciliations

    async def Reconcile(  # noqa: N802
        self,
        request: reconcile_pb2.ReconcileRequest,
        _context: grpc.aio.ServicerContext[Any, Any],
    ) -> reconcile_pb2.ReconcileResponse:
        """See :meth:`Reconciliations.reconcile`."""
        return await self._reconciliations.reconcile(request, current_identity())

    async def Conclude(  # noqa: N802
        self,
        request: reconcile_pb2.ConcludeRequest,
        _context: grpc.aio.ServicerContext[Any, Any],
    ) -> reconcile_pb2.ConcludeResponse:
        """See :meth:`Reconciliations.conclude`."""
        codes = await self._reconciliations.conclude(request.reconciliation, current_identity())
        return reconcile_pb2.ConcludeResponse(incidents=codes)


class StatisticsServicer(statistics_pb2_grpc.StatisticsServiceServicer):
    """Hands the nodes' questions about figures to what answers them."""

    def __init__(self, strategic: Strategic, waivers: WaiverDesk) -> None:
        self._strategic = strategic
        self._waivers = waivers

    async def QueryFigures(  # noqa: N802
        self,
        request: statistics_pb2.QueryFiguresRequest,
        _context: grpc.aio.ServicerContext[Any, Any],
    ) -> AsyncGenerator[statistics_pb2.QueryFiguresResponse, None]:
        """See :meth:`Strategic.query`."""
        async with aclosing(self._strategic.query(request, current_identity())) as events:
            async for event in events:
                yield event

    async def PublishWaiver(  # noqa: N802
        self,
        request: statistics_pb2.PublishWaiverRequest,
        _context: grpc.aio.ServicerContext[Any, Any],
    ) -> statistics_pb2.PublishWaiverResponse:
        """See :meth:`WaiverDesk.publish`."""
        return await self._waivers.publish(request, current_identity())


def services(
    tactical: Tactical,
    strategic: Strategic,
    waivers: WaiverDesk,
    feedback: FeedbackDesk,
    publications: Publications,
    publishing: Publishing,
    releases: ReleaseExchange,
    reconciliations: Reconciliations,
) -> list[Service]:
    """All services, ready to be offered."""
    query = gateway_pb2_grpc.add_GatewayServiceServicer_to_server
    federation = federation_pb2_grpc.add_FederationServiceServicer_to_server
    reconcile = reconcile_pb2_grpc.add_ReconcileServiceServicer_to_server
    statistics = statistics_pb2_grpc.add_StatisticsServiceServicer_to_server
    return [
        Service(
            descriptor=gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"],
            register=partial(query, GatewayServicer(tactical, feedback, publications)),
        ),
        Service(
            descriptor=federation_pb2.DESCRIPTOR.services_by_name["FederationService"],
            register=partial(federation, FederationServicer(publishing, releases)),
        ),
        Service(
            descriptor=reconcile_pb2.DESCRIPTOR.services_by_name["ReconcileService"],
            register=partial(reconcile, ReconcileServicer(reconciliations)),
        ),
        Service(
            descriptor=statistics_pb2.DESCRIPTOR.services_by_name["StatisticsService"],
            register=partial(statistics, StatisticsServicer(strategic, waivers)),
        ),
    ]

"""``GatewayService`` over gRPC, and who may call it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any

from fairlead import tls  # noqa: F401  before grpc: it sets the TLS floor

# isort: split
import grpc.aio

from fairlead.authorisation import NODES, Authorisation, Service
from fairlead.door import current_identity
from fairlead.v1 import gateway_pb2, gateway_pb2_grpc
from gateway.feedback import FeedbackDesk
from gateway.tactical import Tactical

AUTHORISATION: Authorisation = {
    "/fairlead.v1.GatewayService/Query": NODES,
    "/fairlead.v1.GatewayService/Feedback": NODES,
}


class GatewayServicer(gateway_pb2_grpc.GatewayServiceServicer):
    """Hands each call to the walk behind it."""

    def __init__(self, tactical: Tactical, feedback: FeedbackDesk) -> None:
        self._tactical = tactical
        self._feedback = feedback

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


def service(tactical: Tactical, feedback: FeedbackDesk) -> Service:
    """The service, ready to be offered."""
    add = gateway_pb2_grpc.add_GatewayServiceServicer_to_server
    return Service(
        descriptor=gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"],
        register=partial(add, GatewayServicer(tactical, feedback)),
    )

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
from gateway.tactical import Tactical

AUTHORISATION: Authorisation = {"/fairlead.v1.GatewayService/Query": NODES}


class GatewayServicer(gateway_pb2_grpc.GatewayServiceServicer):
    """Hands each call to the walk behind it."""

    def __init__(self, tactical: Tactical) -> None:
        self._tactical = tactical

    async def Query(  # noqa: N802
        self, request: gateway_pb2.QueryRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncGenerator[gateway_pb2.QueryResponse, None]:
        """See :meth:`Tactical.query`."""
        async with aclosing(self._tactical.query(request, current_identity())) as events:
            async for event in events:
                yield event


def service(tactical: Tactical) -> Service:
    """The service, ready to be offered."""
    add = gateway_pb2_grpc.add_GatewayServiceServicer_to_server
    return Service(
        descriptor=gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"],
        register=partial(add, GatewayServicer(tactical)),
    )

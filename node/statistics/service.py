"""``FiguresService`` over gRPC."""

from __future__ import annotations

from functools import partial
from typing import Any

from fairlead import tls  # noqa: F401  before grpc: it sets the TLS floor

# isort: split
import grpc.aio

from fairlead.authorisation import GATEWAYS, Authorisation, Service
from fairlead.door import current_identity
from fairlead.v1 import statistics_pb2 as pb
from fairlead.v1 import statistics_pb2_grpc
from node.statistics.taking import TakingPart

Context = grpc.aio.ServicerContext[Any, Any]
AUTHORISATION: Authorisation = {
    "/fairlead.v1.FiguresService/GetReady": GATEWAYS,
    "/fairlead.v1.FiguresService/CountContributors": GATEWAYS,
    "/fairlead.v1.FiguresService/SumValues": GATEWAYS,
}


class FiguresServicer(statistics_pb2_grpc.FiguresServiceServicer):
    """Hands the gateways' calls to this node's part in the rounds."""

    def __init__(self, taking: TakingPart) -> None:
        self._taking = taking

    async def GetReady(  # noqa: N802
        self, request: pb.GetReadyRequest, _context: Context
    ) -> pb.GetReadyResponse:
        """See :meth:`TakingPart.ready`."""
        return await self._taking.ready(request, current_identity())

    async def CountContributors(  # noqa: N802
        self, request: pb.CountContributorsRequest, _context: Context
    ) -> pb.CountContributorsResponse:
        """See :meth:`TakingPart.count`."""
        return await self._taking.count(request, current_identity())

    async def SumValues(  # noqa: N802
        self, request: pb.SumValuesRequest, _context: Context
    ) -> pb.SumValuesResponse:
        """See :meth:`TakingPart.sum`."""
        return await self._taking.sum(request, current_identity())


def offered(taking: TakingPart) -> Service:
    """The service, ready to be offered."""
    register = statistics_pb2_grpc.add_FiguresServiceServicer_to_server
    return Service(
        descriptor=pb.DESCRIPTOR.services_by_name["FiguresService"],
        register=partial(register, FiguresServicer(taking)),
    )

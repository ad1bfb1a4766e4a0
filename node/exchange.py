"""The gateway as far as publications go: manifests and pieces, and what it says when it refuses."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from fairlead import tls  # noqa: F401  before grpc: it sets the TLS floor

# isort: split
import grpc
import grpc.aio

from fairlead.errors import FairleadError, Unreachable
from fairlead.names import reason_code
from fairlead.server import REASON_KEY
from fairlead.v1 import gateway_pb2, gateway_pb2_grpc
from node.following import gateway_refusal
from node.line import GatewayLine

T = TypeVar("T")
_SILENT = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,
}


class GatewayExchange:
    """Brings manifests, lists them and fetches pieces, over the node's line."""

    def __init__(self, line: GatewayLine, *, deadline_s: float) -> None:
        self._line = line
        self._deadline_s = 2 * deadline_s

    async def publish(
        self, request: gateway_pb2.PublishManifestRequest
    ) -> gateway_pb2.PublishManifestResponse:
        """:raises FairleadError: silent, or refused."""
        return await self._call(lambda stub: stub.PublishManifest, request)

    async def listed(
        self, request: gateway_pb2.ListManifestsRequest
    ) -> gateway_pb2.ListManifestsResponse:
        """:raises FairleadError: silent, or refused."""
        return await self._call(lambda stub: stub.ListManifests, request)

    async def fetch(
        self, request: gateway_pb2.FetchPublicationRequest
    ) -> gateway_pb2.FetchPublicationResponse:
        """:raises FairleadError: gateway or owner are silent, or refused."""
        return await self._call(lambda stub: stub.FetchPublication, request)

    async def _call(
        self,
        method: Callable[[gateway_pb2_grpc.GatewayServiceAsyncStub], Callable[..., Awaitable[T]]],
        request: object,
    ) -> T:
        stub: gateway_pb2_grpc.GatewayServiceAsyncStub = gateway_pb2_grpc.GatewayServiceStub(
            self._line.channel()
        )
        try:
            return await method(stub)(request, timeout=self._deadline_s)
        except grpc.aio.AioRpcError as error:
            raise _told(error) from None


def _told(error: grpc.aio.AioRpcError) -> FairleadError:
    if error.code() not in _SILENT:
        return gateway_refusal(error)
    told = [str(v) for k, v in (error.trailing_metadata() or ()) if k == REASON_KEY]
    reasons = tuple(reason_code(code) for code in told[:16] if code)
    return Unreachable(
        "the gateway or the owner does not answer", reasons=reasons or ("GATEWAY_UNREACHABLE",)
    )

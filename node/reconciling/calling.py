"""The gateway as far as reconciliation goes."""

from __future__ import annotations

from fairlead import tls  # noqa: F401  before grpc: it sets the TLS floor

# isort: split
import grpc
import grpc.aio

from fairlead.errors import FairleadError, Unreachable
from fairlead.names import reason_code
from fairlead.server import REASON_KEY
from fairlead.v1 import reconcile_pb2 as pb
from fairlead.v1 import reconcile_pb2_grpc
from node.following import gateway_refusal
from node.line import GatewayLine

DEADLINE_S = 60.0
"""Seconds for one call: a gateway may have to read its log first."""
_SILENT = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNIMPLEMENTED,
}


class Calling:
    """Brings statements and verdicts, over the node's line."""

    def __init__(self, line: GatewayLine) -> None:
        self._line = line

    async def reconcile(self, request: pb.ReconcileRequest) -> pb.ReconcileResponse:
        """:raises FairleadError: silent, or refused."""
        stub: reconcile_pb2_grpc.ReconcileServiceAsyncStub
        stub = reconcile_pb2_grpc.ReconcileServiceStub(self._line.channel())
        try:
            return await stub.Reconcile(request, timeout=DEADLINE_S)
        except grpc.aio.AioRpcError as error:
            raise _told(error) from None

    async def conclude(self, kept: pb.Reconciliation) -> pb.ConcludeResponse:
        """:raises FairleadError: silent, or refused."""
        stub: reconcile_pb2_grpc.ReconcileServiceAsyncStub
        stub = reconcile_pb2_grpc.ReconcileServiceStub(self._line.channel())
        try:
            return await stub.Conclude(pb.ConcludeRequest(reconciliation=kept), timeout=DEADLINE_S)
        except grpc.aio.AioRpcError as error:
            raise _told(error) from None


def _told(error: grpc.aio.AioRpcError) -> FairleadError:
    if error.code() not in _SILENT:
        return gateway_refusal(error)
    told = [str(v) for k, v in (error.trailing_metadata() or ()) if k == REASON_KEY]
    reasons = tuple(reason_code(code) for code in told[:16] if code)
    return Unreachable(
        "the gateway does not reconcile now",
        reasons=reasons or ("GATEWAY_UNREACHABLE",),
        remedy="it is tried again; or: fairlead-node reconcile",
    )

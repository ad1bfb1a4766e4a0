"""The node's own TLS certificate, renewed before it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import grpc
import grpc.aio

from fairlead import authority, renewal, tls
from fairlead.certificates import SpiffeId
from fairlead.errors import FairleadError
from fairlead.telemetry import Event, get_logger
from fairlead.v1 import federation_pb2, federation_pb2_grpc
from node.following import gateway_refusal
from node.line import GatewayLine

RENEW_EVERY_S = 60.0
CALL_S = 10.0


class OwnCertificate:
    """Renews the node's TLS certificate before it ends.

    :param keys: the key folder; :param spiffe_id: the node's.
    """

    def __init__(
        self, keys: Path, spiffe_id: str, line: GatewayLine, *, clock: Callable[[], float]
    ) -> None:
        self._keys = keys
        self._spiffe_id = SpiffeId.parse(spiffe_id)
        self._line = line
        self._clock = clock

    async def look(self, *, force: bool = False) -> bool:
        """Renew if it is due.

        :returns: whether a new certificate is in place.
        :raises FairleadError: refused, or unusable; the old one stays in use.
        """
        held = authority.load_certificate(self._keys / "tls.pem")
        if not force and not renewal.due(held, self._clock()):
            return False
        request = renewal.Request.make(self._spiffe_id)
        stub = federation_pb2_grpc.FederationServiceStub(self._line.channel())
        try:
            response = await stub.Renew(
                federation_pb2.RenewRequest(request=request.pem), timeout=CALL_S
            )
        except grpc.aio.AioRpcError as error:
            raise gateway_refusal(error) from None
        renewal.check_renewed(response.certificate, request, self._spiffe_id, self._clock())
        tls.install(self._keys, chain=response.certificate, key=request.key_pem())
        get_logger().info(Event.CERTIFICATE_RELOADED)
        return True

    async def watch(self, *, every_s: float = RENEW_EVERY_S) -> None:
        """Look again and again, until cancelled."""
        while True:
            try:
                await self.look()
            except FairleadError as error:
                get_logger().error(Event.CERTIFICATE_PROBLEM, error=error)
            await asyncio.sleep(every_s)

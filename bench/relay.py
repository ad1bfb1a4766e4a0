"""The plain arm: the barest gRPC relay that fans a query out to its owners over mTLS.

``python -m bench.relay FOLDER HOST:PORT`` shows the gateway's own certificate, dials the same
owners with the same channel options and streams each answer back as it comes. It verifies,
decides, records and signs nothing: what the gateway costs more is what the product costs.

The end of standard input ends it.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

from fairlead import tls  # before grpc: it sets the TLS floor

# isort: split
import grpc.aio

from bench.federation import GATEWAY, Federation
from fairlead.certificates import SpiffeId
from fairlead.v1 import gateway_pb2, gateway_pb2_grpc, owner_pb2, owner_pb2_grpc, query_pb2

DEADLINE_S = 5.0


class Relay(gateway_pb2_grpc.GatewayServiceServicer):
    """Passes parts on and answers back."""

    def __init__(self, owners: Mapping[str, Any]) -> None:
        self._owners = owners

    async def Query(  # noqa: N802
        self,
        request: gateway_pb2.QueryRequest,
        _context: grpc.aio.ServicerContext[Any, Any],
    ) -> AsyncGenerator[gateway_pb2.QueryResponse, None]:
        """Ask every addressed owner at once; yield each answer as it comes."""
        legs = [
            asyncio.ensure_future(self._ask(request.query, item.partner_id, item.part))
            for item in request.parts
        ]
        for leg in asyncio.as_completed(legs):
            yield await leg

    async def _ask(
        self, query: query_pb2.SignedQuery, partner_id: str, part: bytes
    ) -> gateway_pb2.QueryResponse:
        asked = owner_pb2.AnswerRequest(query=query, part=part)
        response = await self._owners[partner_id].Answer(asked, timeout=DEADLINE_S)
        event = gateway_pb2.PartnerEvent(
            partner_id=partner_id, status=query_pb2.STATUS_ANSWERED, answer=response.answer
        )
        return gateway_pb2.QueryResponse(partners=[event])


async def serve(federation: Federation, listen: str) -> None:
    """Serve until standard input ends."""
    directory = federation.directory()
    keys = federation.layout.gateway(GATEWAY)
    material = tls.KeyMaterial.load(keys / "tls.pem", keys / "tls.key", [directory.federation_ca])
    channels: dict[str, grpc.aio.Channel] = {}
    for partner_id, partner in directory.partners.items():
        node = partner.nodes[0]
        server_id = SpiffeId.parse(node.spiffe_id)
        channels[partner_id] = tls.open_channel(node.endpoint, server=server_id, material=material)
    stubs = {p: owner_pb2_grpc.OwnerServiceStub(channel) for p, channel in channels.items()}
    server = grpc.aio.server(options=tls.server_options(tls.TransportLimits()))
    gateway_pb2_grpc.add_GatewayServiceServicer_to_server(Relay(stubs), server)
    server.add_secure_port(listen, tls.server_credentials(lambda: material))
    await server.start()
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def obey() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=obey, daemon=True).start()
    print("ready", flush=True)
    await ended.wait()
    await server.stop(0)
    await asyncio.gather(*(channel.close() for channel in channels.values()))


if __name__ == "__main__":
    asyncio.run(serve(Federation(Path(sys.argv[1])), sys.argv[2]))

"""An owner that misbehaves: a real server with a real node's keys, and ideas of its own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from fairlead import tls  # before grpc: it sets the TLS floor

# isort: split
import grpc
import grpc.aio

from fairlead import process, sealing, signing
from fairlead.envelope.answer import SEAL_OVERHEAD
from fairlead.v1 import owner_pb2, query_pb2
from tests.federation import Federation

Behaviour = Callable[[owner_pb2.AnswerRequest], Awaitable[bytes]]
"""Request → octets of the response, whatever they are."""


@asynccontextmanager
async def impostor(made: Federation, partner: str, behave: Behaviour) -> AsyncIterator[None]:
    """Serve ``OwnerService.Answer`` in the place of ``partner``'s node, with that node's keys."""

    async def answer(octets: bytes, _context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        return await behave(owner_pb2.AnswerRequest.FromString(octets))

    config, owner = made.node_configs[partner], made.directory.partner(partner)
    material = process.material_of(
        config.keys_dir, made.directory, lambda _: [owner.user_authority]
    )
    server = grpc.aio.server()
    handler: Any = grpc.unary_unary_rpc_method_handler(answer)
    service = grpc.method_handlers_generic_handler("fairlead.v1.OwnerService", {"Answer": handler})
    server.add_generic_rpc_handlers((service,))
    server.add_secure_port(config.listen, tls.server_credentials(material))
    await server.start()
    try:
        yield
    finally:
        await server.stop(0)


def answered(
    made: Federation,
    partner: str,
    request: owner_pb2.AnswerRequest,
    *,
    body: bytes | None = None,
    key_of: str | None = None,
    **changes: object,
) -> bytes:
    """A well-formed answer signed by a node's own key, of which anything may be changed.

    :param body: by default random octets of exactly the agreed size.
    :param key_of: whose key signs; by default the partner's own.
    """
    header = query_pb2.QueryHeader.FromString(request.query.header)
    size = sealing.answer_size(header.term_count) + SEAL_OVERHEAD
    content = os.urandom(size) if body is None else body
    settings: dict[str, Any] = {
        "query_id": header.query_id,
        "partner_id": partner,
        "status": query_pb2.STATUS_ANSWERED,
        "policy_serial": 1,
        "index_root": bytes(32),
        "body_digest": signing.digest(content),
        "header_digest": signing.digest(request.query.header),
    }
    octets = signing.canonical(query_pb2.AnswerHeader(**{**settings, **changes}))
    key = signing.load_signing_key(made.layout.node(key_of or partner) / "signing.key")
    answer = query_pb2.SignedAnswer(
        header=octets, signature=signing.sign(key, "answer", octets), body=content
    )
    return owner_pb2.AnswerResponse(answer=answer).SerializeToString()

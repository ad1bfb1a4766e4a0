"""The server that gateway and node share: limits, health, reflection, and the door in front.

An RPC without a row of authorisation data does not start (:mod:`fairlead.authorisation`); what
happens to a call on its way in is in :mod:`fairlead.door`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from fairlead import tls  # before grpc: it sets the TLS floor

# isort: split
import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from fairlead.authorisation import (
    ANYBODY_IDENTIFIED,
    GATEWAYS,
    NODES,
    Authorisation,
    Row,
    Service,
    assert_every_rpc_has_row,
    users,
)
from fairlead.certificates import Identity
from fairlead.door import (
    CORRELATION_KEY,
    REASON_KEY,
    REMEDY_KEY,
    Door,
    InternalFailure,
    Mask,
    OnRefusal,
    Refusal,
    current_identity,
    log_internal_failure,
)
from fairlead.errors import Misconfigured

__all__ = [
    "ANYBODY_IDENTIFIED",
    "CORRELATION_KEY",
    "GATEWAYS",
    "NODES",
    "REASON_KEY",
    "RECHECK_S",
    "REMEDY_KEY",
    "STANDARD_ROWS",
    "Authorisation",
    "InternalFailure",
    "OnRefusal",
    "Refusal",
    "Row",
    "Server",
    "Service",
    "assert_every_rpc_has_row",
    "create_server",
    "current_identity",
    "log_internal_failure",
    "users",
]

RECHECK_S = 1.0
"""Seconds between two looks at the identity behind an open stream."""

_HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"]
_REFLECTION = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]

STANDARD_ROWS: Authorisation = {
    "/grpc.health.v1.Health/Check": ANYBODY_IDENTIFIED,
    "/grpc.health.v1.Health/Watch": ANYBODY_IDENTIFIED,
    "/grpc.health.v1.Health/List": ANYBODY_IDENTIFIED,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": ANYBODY_IDENTIFIED,
}
"""Health and reflection: anybody with an identity."""


class _Health(health.aio.HealthServicer):  # type: ignore[misc]  # the library is untyped
    """The library's servicer, and the one method it leaves out."""

    async def List(  # noqa: N802 - the RPC's name
        self, _request: health_pb2.HealthListRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> health_pb2.HealthListResponse:
        response = health_pb2.HealthListResponse()
        for name, status in self._server_status.items():
            response.statuses[name].status = status
        return response


def _standard_services(services: Sequence[Service], health_servicer: _Health) -> list[Service]:
    names = [s.descriptor.full_name for s in services]
    names += [_HEALTH.full_name, _REFLECTION.full_name]
    reflection_servicer = reflection.aio.ReflectionServicer(names)
    return [
        Service(
            descriptor=_HEALTH,
            register=partial(health_pb2_grpc.add_HealthServicer_to_server, health_servicer),
        ),
        Service(
            descriptor=_REFLECTION,
            register=partial(
                reflection_pb2_grpc.add_ServerReflectionServicer_to_server, reflection_servicer
            ),
        ),
    ]


class Server:
    """A bound server; made by :func:`create_server`."""

    __slots__ = ("_health", "_server", "port")

    def __init__(self, server: grpc.aio.Server, health_servicer: _Health, port: int) -> None:
        self._server = server
        self._health = health_servicer
        self.port = port

    async def start(self) -> None:
        """Begin to accept calls."""
        await self._server.start()

    async def set_serving(self, serving: bool) -> None:
        """Answer health checks so; a process that cannot write its log leaves readiness."""
        states = health_pb2.HealthCheckResponse
        await self._health.set("", states.SERVING if serving else states.NOT_SERVING)

    async def set_degraded(self, name: str, degraded: bool) -> None:
        """Answer health checks of ``name`` so: it serves on, and somebody should look."""
        states = health_pb2.HealthCheckResponse
        await self._health.set(name, states.NOT_SERVING if degraded else states.SERVING)

    async def stop(self, grace_s: float) -> None:
        """Say NOT_SERVING, accept nothing new, and cancel what still runs after the grace."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_s)


def create_server(
    services: Sequence[Service],
    *,
    listen: str,
    credentials: grpc.ServerCredentials,
    authorisation: Authorisation,
    identity_check: Callable[[bytes], Identity],
    limits: tls.TransportLimits,
    on_refusal: OnRefusal,
    on_internal: Callable[[InternalFailure], None] = log_internal_failure,
    recheck_s: float = RECHECK_S,
) -> Server:
    """Bind a server for ``services``, health and reflection.

    :param listen: host:port; port 0 takes a free one, see :attr:`Server.port`.
    :param identity_check: PEM of the peer's certificate → identity, on every call; usually
        :meth:`fairlead.certificates.IdentityCheck.check`.
    :param on_refusal: the audit log. The caller hears of a refusal after it returns; if it
        raises, the caller gets that error instead.
    :raises Misconfigured: RPC_WITHOUT_ROW, ROW_WITHOUT_RPC, TLS_FLOOR or LISTEN.
    """
    tls.require_tls_floor()
    assert_every_rpc_has_row(services, authorisation)
    health_servicer = _Health()
    offered = [*services, *_standard_services(services, health_servicer)]
    rows = {**authorisation, **STANDARD_ROWS}
    assert_every_rpc_has_row(offered, rows)
    door = Door(
        authorisation=rows,
        identity_check=identity_check,
        on_refusal=on_refusal,
        recheck_s=recheck_s,
        share=max(1, limits.max_concurrent_rpcs // 4),
    )
    server = grpc.aio.server(
        interceptors=[Mask(frozenset(rows), on_internal), door],
        options=tls.server_options(limits),
        maximum_concurrent_rpcs=limits.max_concurrent_rpcs,
    )
    for service in offered:
        service.register(server)
    try:
        port = server.add_secure_port(listen, credentials)
    except RuntimeError:
        port = 0
    if port == 0:
        raise Misconfigured(
            "the listen address cannot be used",
            reasons=("LISTEN",),
            remedy="choose a free host:port of this machine",
        )
    return Server(server, health_servicer, port)

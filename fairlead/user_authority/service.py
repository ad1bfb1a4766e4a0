"""``AuthorityService`` over gRPC: people come without a certificate, or prove the one they hold."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from fairlead import tls  # before grpc: it sets the TLS floor

# isort: split
import grpc.aio
from cryptography.hazmat.primitives.serialization import Encoding

from fairlead.authorisation import STRANGERS, Authorisation, Service, assert_every_rpc_has_row
from fairlead.authority import public_key_of_request
from fairlead.door import Mask, StrangersDoor, log_internal_failure
from fairlead.errors import FairleadError, Misconfigured
from fairlead.journal import Journal
from fairlead.trust import Trust
from fairlead.user_authority.people import People
from fairlead.v1 import authority_pb2, authority_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
MAX_MESSAGE = 64 * 1024
MAX_FILE = 4 * 1024 * 1024
AUTHORISATION: Authorisation = {
    "/fairlead.v1.AuthorityService/Enrol": STRANGERS,
    "/fairlead.v1.AuthorityService/RenewCertificate": STRANGERS,
}


class AuthorityServicer(authority_pb2_grpc.AuthorityServiceServicer):
    """Certificates leave once their leaf is durable."""

    def __init__(self, people: People, journal: Journal) -> None:
        self._people = people
        self._journal = journal

    async def Enrol(  # noqa: N802
        self, request: authority_pb2.EnrolRequest, _context: Context
    ) -> authority_pb2.EnrolResponse:
        """A person's first certificate.

        1. The request was made now, and proves its key.
        2. Directory and trust anchors can be handed out with it.
        3. The credential is somebody's, once; a refusal is on the record.
        4. The leaf is durable before the certificate leaves.
        """
        # 1
        self._people.check_clock(request.issued_at)
        key = public_key_of_request(request.certificate_request)
        # 2
        credentials = self._credentials()
        # 3
        try:
            credentials.certificate = self._people.enrol(request.code, key)
        finally:
            # 4
            await self._journal.drain()
        return authority_pb2.EnrolResponse(credentials=credentials)

    async def RenewCertificate(  # noqa: N802
        self, request: authority_pb2.RenewCertificateRequest, _context: Context
    ) -> authority_pb2.RenewCertificateResponse:
        """The next certificate for the same key; see :meth:`People.next_certificate`."""
        credentials = self._credentials()
        try:
            credentials.certificate = self._people.next_certificate(
                request.renewal, request.signature
            )
        finally:
            await self._journal.drain()
        return authority_pb2.RenewCertificateResponse(credentials=credentials)

    def _credentials(self) -> authority_pb2.UserCredentials:
        """Directory and trust anchors as the authority has them, verified.

        :raises Misconfigured: AUTHORITY_NOT_READY.
        """
        config = self._people.config
        try:
            trust_octets = config.trust.read_bytes()
            trust = Trust.parse(trust_octets)
            directory = trust.directory(config.directory, now=self._people.clock())
            own = directory.partner(config.partner).user_authority.public_bytes(Encoding.DER)
            ready = own == self._people.issuer.certificate.public_bytes(Encoding.DER)
            octets = config.directory.read_bytes()
        except (OSError, FairleadError):
            ready = False
        if not ready:
            raise Misconfigured(
                "the authority has no directory in force that lists its partner",
                reasons=("AUTHORITY_NOT_READY",),
                remedy="put the node's directory.bin and pins.toml where authority.toml names them",
            )
        return authority_pb2.UserCredentials(directory=octets, trust=trust_octets)


def services(people: People, journal: Journal) -> list[Service]:
    """The service, ready to be offered."""
    register = authority_pb2_grpc.add_AuthorityServiceServicer_to_server
    return [
        Service(
            descriptor=authority_pb2.DESCRIPTOR.services_by_name["AuthorityService"],
            register=partial(register, AuthorityServicer(people, journal)),
        )
    ]


def bind(
    people: People, journal: Journal, material: Callable[[], tls.KeyMaterial]
) -> tuple[grpc.aio.Server, int]:
    """Bind the authority's server; returns it and its port.

    :raises Misconfigured: LISTEN.
    """
    offered = services(people, journal)
    assert_every_rpc_has_row(offered, AUTHORISATION)
    limits = tls.TransportLimits(max_message_bytes=MAX_MESSAGE, max_concurrent_rpcs=64)
    server = grpc.aio.server(
        interceptors=[
            Mask(frozenset(AUTHORISATION), log_internal_failure),
            StrangersDoor(AUTHORISATION),
        ],
        options=[
            *tls.server_options(limits),
            ("grpc.max_send_message_length", MAX_FILE + MAX_MESSAGE),
        ],
        maximum_concurrent_rpcs=limits.max_concurrent_rpcs,
    )
    for service in offered:
        service.register(server)
    credentials = tls.server_credentials(material, unsafe_strangers=True)
    try:
        port = server.add_secure_port(people.config.listen, credentials)
    except RuntimeError:
        port = 0
    if port == 0:
        raise Misconfigured(
            "the listen address cannot be used",
            reasons=("LISTEN",),
            remedy="choose a free host:port of this machine",
        )
    return server, port

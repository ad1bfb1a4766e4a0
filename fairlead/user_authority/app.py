"""The authority's process: serve, keep the deny list fresh, move leaves into the log."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from datetime import timedelta

from fairlead import tls  # before grpc: it sets the TLS floor

# isort: split
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fairlead.authority import Issuer, issue_authority_server
from fairlead.errors import FairleadError, LogUnavailable
from fairlead.journal import Journal
from fairlead.keyfile import private_folder
from fairlead.leaves import LeafWriter
from fairlead.telemetry import Event, get_logger
from fairlead.user_authority import service
from fairlead.user_authority.config import AuthorityConfig
from fairlead.user_authority.journal import open_journal
from fairlead.user_authority.people import People
from fairlead.user_authority.register import Register

SERVER_LIFETIME = timedelta(days=7)
LOOK_S = 1.0
DRAIN_S = 5.0


def open_people(config: AuthorityConfig, clock: Callable[[], float] = time.time) -> People:
    """Register and key of a configured authority, for its commands and its server.

    :raises Misconfigured: a file is missing, or may be read by others.
    """
    private_folder(config.state_dir)
    keys = config.keys_dir
    return People(
        config=config,
        register=Register.open(config.register),
        issuer=Issuer.load(keys / "authority.pem", keys / "authority.key"),
        leaves=LeafWriter(log=f"partner/{config.partner}", clock=clock),
        clock=clock,
    )


def server_name(config: AuthorityConfig) -> str:
    """The DNS name in the server's certificate; clients do not resolve it."""
    return f"authority.{config.partner}.{config.federation}"


class ServerCertificate:
    """The server's certificate, from the authority's own key, made anew at a third of its life."""

    def __init__(self, people: People) -> None:
        self._people = people
        self._made: tuple[x509.Certificate, tls.KeyMaterial] | None = None

    def __call__(self) -> tls.KeyMaterial:
        """The material in force."""
        now = self._people.clock()
        third = SERVER_LIFETIME.total_seconds() / 3
        if self._made and self._made[0].not_valid_after_utc.timestamp() - now > third:
            return self._made[1]
        issuer = self._people.issuer
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = issue_authority_server(
            issuer,
            dns_name=server_name(self._people.config),
            public_key=key.public_key(),
            now=now,
            lifetime=SERVER_LIFETIME,
        )
        pem = serialization.Encoding.PEM
        material = tls.KeyMaterial(
            chain=certificate.public_bytes(pem),
            key=key.private_bytes(
                pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
            roots=issuer.certificate.public_bytes(pem),
        )
        self._made = (certificate, material)
        return material


async def run(config: AuthorityConfig) -> bool:
    """Serve until SIGTERM or SIGINT.

    :returns: False when the audit log failed. :raises FairleadError: it could not start.
    """
    tls.refuse_non_loopback(config.listen, keys=config.keys_dir)
    people = open_people(config)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def failed() -> None:
        get_logger().error(Event.LOG_FAILED)
        loop.call_soon_threadsafe(ended.set)

    journal = open_journal(
        config,
        people.register,
        clock=people.clock,
        on_failure=failed,
    )
    server, port = service.bind(people, journal, ServerCertificate(people))
    people.sign_deny_list()
    await journal.drain()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    await server.start()
    get_logger().info(Event.SERVER_STARTED, count=port)
    keeping = asyncio.create_task(_keep(people, journal))
    keeping.add_done_callback(lambda _: ended.set())
    await ended.wait()
    get_logger().info(Event.SERVER_STOPPING)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await server.stop(DRAIN_S)
    healthy = journal.log.healthy
    await journal.close()
    people.register.close()
    get_logger().info(Event.SERVER_STOPPED)
    return healthy


async def _keep(people: People, journal: Journal) -> None:
    """Every second: leaves into the log; in time: the deny list anew."""
    signed = people.clock()
    while True:
        await asyncio.sleep(LOOK_S)
        try:
            await journal.drain()
            if people.clock() - signed >= people.config.deny_list_hours * 3600 / 4:
                people.sign_deny_list()
                signed = people.clock()
        except LogUnavailable:
            get_logger().error(Event.LOG_FAILED)
            return
        except (FairleadError, OSError) as error:
            get_logger().error(Event.DENY_LIST_LOADED, error=error)

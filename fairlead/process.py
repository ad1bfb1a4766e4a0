"""What the gateway's and the node's process have in common: start closed, stop in order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from fairlead import tls  # before grpc: it sets the TLS floor
from fairlead.auditlog import AuditLog
from fairlead.authorisation import Authorisation, Service
from fairlead.certificates import IdentityCheck
from fairlead.config import GatewayConfig, NodeConfig
from fairlead.door import InternalFailure, Refusal
from fairlead.errors import FairleadError, Refused
from fairlead.leaves import LeafWriter
from fairlead.partners import DenyLists, Directory
from fairlead.server import Server, create_server
from fairlead.telemetry import Event, get_logger
from fairlead.trust import DenyListFile, Trust

DRAIN_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """What a process knows of the federation once everything verified."""

    trust: Trust
    directory: Directory
    deny_lists: DenyLists
    identity_check: IdentityCheck


def join(config: GatewayConfig | NodeConfig, clock: Callable[[], float]) -> Membership:
    """Load trust anchors, directory and deny lists; nothing starts without all three.

    :raises FairleadError: any of them is missing, expired or does not verify.
    """
    tls.refuse_non_loopback(config.listen, keys=config.keys_dir)
    trust = Trust.load(config.pins)
    directory = trust.directory(config.directory, now=clock())
    get_logger().info(Event.DIRECTORY_LOADED, serial=directory.serial)
    deny_lists = DenyListFile(
        config.deny_lists,
        trust,
        directory,
        clock,
        on_problem=lambda error: get_logger().error(Event.DENY_LIST_LOADED, error=error),
    )
    check = IdentityCheck(directory=lambda: directory, deny_lists=deny_lists, clock=clock)
    return Membership(trust=trust, directory=directory, deny_lists=deny_lists, identity_check=check)


def bind(
    services: list[Service],
    *,
    config: GatewayConfig | NodeConfig,
    material: Callable[[], tls.KeyMaterial],
    authorisation: Authorisation,
    membership: Membership,
    log: AuditLog,
    leaves: LeafWriter,
) -> Server:
    """Bind the process's server; refusals at the door go to the audit log first."""

    async def on_refusal(refusal: Refusal) -> None:
        error = Refused("refused at the door", reasons=refusal.reasons)
        await log.append(
            leaves.refusal(error, subject=refusal.method or "unknown", user=refusal.claimed)
        )

    def on_internal(failure: InternalFailure) -> None:
        get_logger().error(Event.RPC_FAILED, method=failure.method, correlation=failure.correlation)

    return create_server(
        services,
        listen=config.listen,
        credentials=tls.server_credentials(material),
        authorisation=authorisation,
        identity_check=membership.identity_check.check,
        limits=tls.TransportLimits(max_message_bytes=config.limits.max_message_bytes),
        on_refusal=on_refusal,
        on_internal=on_internal,
    )


def material_of(keys: Path, directory: Directory, *extra: object) -> Callable[[], tls.KeyMaterial]:
    """The process's certificate and key, read anew at every handshake.

    :param extra: further certificates of authorities to trust (a node's own user authority).
    """
    roots = [directory.federation_ca, *extra]

    def load() -> tls.KeyMaterial:
        return tls.KeyMaterial.load(keys / "tls.pem", keys / "tls.key", roots)  # type: ignore[arg-type]

    return load


async def record_activations(
    log: AuditLog, leaves: LeafWriter, *, directory: Directory, policy_serial: int, digest: bytes
) -> None:
    """Write down which directory and policy this process runs under."""
    await log.append(leaves.activation("directory", serial=directory.serial, digest=b""))
    await log.append(leaves.activation("policy", serial=policy_serial, digest=digest))


class Failed:
    """Set from the audit log's writer thread when the log fails: the process must stop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.event = asyncio.Event()

    def __call__(self) -> None:
        get_logger().error(Event.LOG_FAILED)
        self._loop.call_soon_threadsafe(self.event.set)


async def serve(server: Server, *, failed: Failed, stop: Callable[[], Awaitable[None]]) -> bool:
    """Serve until SIGTERM or SIGINT, or until the log fails; then drain and stop.

    :returns: whether the end was ordered (False: the audit log failed).
    """
    loop, ordered = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ordered.set)
    await server.start()
    await server.set_serving(True)
    get_logger().info(Event.SERVER_STARTED, count=server.port)
    ends = [asyncio.ensure_future(ordered.wait()), asyncio.ensure_future(failed.event.wait())]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for end in ends:
        end.cancel()
    get_logger().info(Event.SERVER_STOPPING)
    await server.set_serving(False)
    await server.stop(0.0 if failed.event.is_set() else DRAIN_S)
    await stop()
    get_logger().info(Event.SERVER_STOPPED)
    return not failed.event.is_set()


def report(error: FairleadError) -> None:
    """Log why a process did not start."""
    get_logger().error(Event.SERVER_STOPPED, error=error)

"""The gateway's process: from a configuration file to a serving exchange."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from fairlead import tls  # before grpc: it sets the TLS floor

# isort: split
import grpc.aio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import admission, metrics, process, signing
from fairlead.auditlog import AuditLog
from fairlead.certificates import SpiffeId
from fairlead.config import GatewayConfig
from fairlead.errors import Misconfigured
from fairlead.leaves import LeafWriter
from fairlead.partners import Directory
from fairlead.release import ReleaseDesk
from fairlead.server import Server
from fairlead.telemetry import Event, get_logger
from gateway import service
from gateway.members import Transport, UnaryTransport
from gateway.tactical import Tactical
from gateway.walk import Exchange

LOG_FILE = "audit.sqlite"


def own_keys(
    config: GatewayConfig, member: process.Membership
) -> tuple[str, Ed25519PrivateKey, Ed25519PrivateKey]:
    """The gateway's SPIFFE id, signing key and log key, which are those of the directory.

    :raises Misconfigured: UNKNOWN_GATEWAY, KEY_MISMATCH, or a key file is missing.
    """
    spiffe_id = f"spiffe://{member.directory.federation}/gateway/{config.name}"
    entry = member.directory.gateways.get(spiffe_id)
    if entry is None:
        raise Misconfigured(
            "the directory does not list this gateway",
            reasons=("UNKNOWN_GATEWAY",),
            remedy="correct name in the configuration, or ask the operators to list it",
        )
    key = signing.load_signing_key(config.keys_dir / "signing.key")
    log_key = signing.load_signing_key(config.keys_dir / "log.key")
    if (signing.public_bytes(key), signing.public_bytes(log_key)) != (
        entry.signing_key,
        entry.log_key,
    ):
        raise Misconfigured(
            "the gateway's keys are not those of the directory",
            reasons=("KEY_MISMATCH",),
            remedy="correct keys_dir, or restore this gateway's key folder from its backup",
        )
    process.material_of(config.keys_dir, member.directory)()
    return spiffe_id, key, log_key


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayApp:
    """A gateway put together: bound, not yet serving."""

    server: Server
    log: AuditLog
    tactical: Tactical
    transport: Transport
    failed: process.Failed
    tally: metrics.Tally
    gauges: metrics.Gauges

    async def close(self) -> None:
        """Close every outcome, then the connections, then the log."""
        await self.tactical.drain()
        await self.transport.close()
        await asyncio.to_thread(self.log.close)


async def run(config: GatewayConfig) -> bool:
    """Run a gateway until it is told to stop.

    :returns: False when the audit log failed.
    :raises FairleadError: it could not start.
    """
    app = await assemble(config)
    with metrics.serving(config.metrics, app.tally, app.gauges):
        return await process.serve(app.server, failed=app.failed, stop=app.close)


async def assemble(config: GatewayConfig, *, clock: Callable[[], float] = time.time) -> GatewayApp:
    """Load, verify and bind everything a gateway consists of.

    Every byte of its state is the audit log: no term, no record, no answer in clear.

    :raises FairleadError: it could not start.
    """
    member = process.join(config, clock)
    spiffe_id, key, log_key = own_keys(config, member)
    entry = member.directory.gateways[spiffe_id]
    failed = process.Failed()
    config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = AuditLog.open(
        config.state_dir / LOG_FILE,
        origin=entry.log_origin,
        key=log_key,
        clock=clock,
        migrations=(*process.MIGRATIONS, *admission.MIGRATIONS),
        on_failure=failed,
    )
    get_logger().info(Event.LOG_OPENED, size=log.head.size)
    leaves = LeafWriter(log=f"gateway/{config.name}", clock=clock)
    policy = await process.activate(config, member, log=log, leaves=leaves, now=clock())
    material = process.material_of(config.keys_dir, member.directory)
    transport = UnaryTransport(_connector(member.directory, material()), clock=time.monotonic)
    exchange = Exchange(
        gateway=spiffe_id,
        key=key,
        log=log,
        leaves=leaves,
        desk=ReleaseDesk(log, leaves, tick_s=0),
        directory=member.directory,
        deny_lists=member.deny_lists,
        transport=transport,
        clock=clock,
        deadline_s=config.limits.deadline_ms / 1000,
        policy_serial=policy.serial,
    )
    tactical = Tactical(
        exchange,
        admission.Admission(
            log=log,
            leaves=leaves,
            directory=member.directory,
            deny_lists=member.deny_lists,
            clock=clock,
            limit=config.limits.max_concurrent_queries,
        ),
        policy,
    )
    server = process.bind(
        [service.service(tactical)],
        config=config,
        material=material,
        authorisation=service.AUTHORISATION,
        membership=member,
        log=log,
        leaves=leaves,
    )

    return GatewayApp(
        server=server,
        log=log,
        tactical=tactical,
        transport=transport,
        failed=failed,
        tally=leaves.tally,
        gauges=process.gauges_of(member, log, config.keys_dir, clock=clock),
    )


def _connector(
    directory: Directory, material: tls.KeyMaterial
) -> Callable[[str], grpc.aio.Channel]:
    def connect(partner_id: str) -> grpc.aio.Channel:
        node = directory.partners[partner_id].nodes[0]
        return tls.open_channel(
            node.endpoint, server=SpiffeId.parse(node.spiffe_id), material=material
        )

    return connect

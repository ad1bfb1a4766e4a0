"""The node's process: from a configuration file to a serving owner and asker."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from fairlead import tls  # before grpc: it sets the TLS floor

# isort: split
import grpc.aio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import admission, metrics, process, sealing, signing
from fairlead.auditlog import AuditLog
from fairlead.certificates import SpiffeId
from fairlead.config import NodeConfig, reveal
from fairlead.errors import Misconfigured
from fairlead.leaves import LeafWriter
from fairlead.partners import Directory, Partner
from fairlead.release import ReleaseDesk
from fairlead.server import Server
from fairlead.telemetry import Event, get_logger
from fairlead.v1 import gateway_pb2, gateway_pb2_grpc
from node import cases, service
from node.answering import Answering
from node.asking import Asking, GatewayQuery
from node.drafting import Drafter
from node.heads import HeadKeeper
from node.index import Index

LOG_FILE = "audit.sqlite"
INDEX_FILE = "index.sqlite"
INDEX_KEY_FILE = "index.secret"


def log_origin(directory: Directory, partner_id: str) -> str:
    """Origin line of a partner's own audit log."""
    return f"{directory.federation}/partner/{partner_id}"


def index_keys(config: NodeConfig) -> tuple[bytes, bytes]:
    """Token key and field key of the index, 32 octets each, from one secret made at first use."""
    if config.index_key is not None:
        secret = reveal(config.index_key, os.environ)
    else:
        path = config.state_dir / INDEX_KEY_FILE
        if not path.exists():
            config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_bytes(os.urandom(32))
        secret = path.read_bytes()
    if len(secret) < 32:
        raise Misconfigured("the index secret is shorter than 32 octets", reasons=("INDEX_KEY",))
    return signing.commit(secret, b"index token"), signing.commit(secret, b"index field")


def open_index(config: NodeConfig) -> Index:
    """The index as last built.

    :raises Misconfigured: not built yet.
    """
    path = config.state_dir / INDEX_FILE
    if not path.exists():
        raise Misconfigured(
            "this node has no index yet",
            reasons=("NO_INDEX",),
            remedy="fairlead-node index --config FILE",
        )
    token_key, field_key = index_keys(config)
    return Index.open(path, token_key=token_key, field_key=field_key, clock=time.time)


def own_keys(
    config: NodeConfig, member: process.Membership
) -> tuple[Partner, Ed25519PrivateKey, sealing.SealingKey]:
    """The node's partner, signing key and sealing key, which are those of the directory.

    :raises Misconfigured: UNKNOWN_PARTNER, KEY_MISMATCH, or a key file is missing.
    """
    directory = member.directory
    partner = directory.partners.get(config.partner)
    if partner is None:
        raise Misconfigured(
            "the directory does not list this partner",
            reasons=("UNKNOWN_PARTNER",),
            remedy="correct partner in the configuration, or ask the operators to list it",
        )
    key = signing.load_signing_key(config.keys_dir / "signing.key")
    sealing_key = sealing.SealingKey.load(config.keys_dir / "sealing.seed")
    if (signing.public_bytes(key), sealing_key.public_bytes()) != (
        partner.signing_key,
        partner.sealing_key,
    ):
        raise Misconfigured(
            "the node's keys are not those of the directory",
            reasons=("KEY_MISMATCH",),
            remedy="correct keys_dir, or restore this node's key folder from its backup",
        )
    process.material_of(config.keys_dir, directory)()
    return partner, key, sealing_key


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeApp:
    """A node put together: bound, not yet serving."""

    server: Server
    log: AuditLog
    asking: Asking
    answering: Answering
    cases: cases.CaseRegister
    channel: grpc.aio.Channel
    index: Index
    failed: process.Failed
    tally: metrics.Tally
    gauges: metrics.Gauges

    async def close(self) -> None:
        """Close the connection, then the log, then the index."""
        await self.channel.close()
        await asyncio.to_thread(self.log.close)
        self.index.close()


async def run(config: NodeConfig) -> bool:
    """Run a node until it is told to stop.

    :returns: False when the audit log failed.
    :raises FairleadError: it could not start.
    """
    app = await assemble(config)
    with metrics.serving(config.metrics, app.tally, app.gauges):
        return await process.serve(app.server, failed=app.failed, stop=app.close)


async def assemble(config: NodeConfig, *, clock: Callable[[], float] = time.time) -> NodeApp:
    """Load, verify and bind everything a node consists of.

    :raises FairleadError: it could not start.
    """
    member = process.join(config, clock)
    directory = member.directory
    partner, key, sealing_key = own_keys(config, member)
    index = open_index(config)
    get_logger().info(Event.INDEX_OPENED, records=index.records)
    failed = process.Failed()
    log = AuditLog.open(
        config.state_dir / LOG_FILE,
        origin=log_origin(directory, config.partner),
        key=key,
        clock=clock,
        migrations=(*process.MIGRATIONS, *admission.MIGRATIONS, *cases.MIGRATIONS),
        on_failure=failed,
    )
    leaves = LeafWriter(log=f"partner/{config.partner}", clock=clock)
    policy = await process.activate(config, member, log=log, leaves=leaves, now=clock())
    heads = HeadKeeper(log, directory.gateway)
    register = cases.CaseRegister(log, leaves, clock=clock)
    material = process.material_of(config.keys_dir, directory, partner.user_authority)
    channel = _gateway_channel(config, directory)
    asking = Asking(
        partner_id=config.partner,
        key=key,
        log=log,
        leaves=leaves,
        desk=ReleaseDesk(log, leaves, tick_s=0),
        directory=directory,
        deny_lists=member.deny_lists,
        drafter=Drafter(
            partner_id=config.partner,
            directory=directory,
            deny_lists=member.deny_lists,
            policy=policy,
            cases=register,
            clock=clock,
        ),
        policy_serial=policy.serial,
        heads=heads,
        send=_sender(channel, config.limits.deadline_ms / 1000),
        clock=clock,
    )
    answering = Answering(
        partner_id=config.partner,
        key=key,
        sealing_key=sealing_key,
        log=log,
        leaves=leaves,
        admission=admission.Admission(
            log=log,
            leaves=leaves,
            directory=directory,
            deny_lists=member.deny_lists,
            clock=clock,
            limit=config.limits.max_concurrent_queries,
        ),
        desk=ReleaseDesk(log, leaves, tick_s=directory.release_tick_s),
        directory=directory,
        policy=policy,
        heads=heads,
        index=index,
        clock=clock,
    )
    server = process.bind(
        service.services(config.partner, answering, asking, register, directory),
        config=config,
        material=material,
        authorisation=service.AUTHORISATION,
        membership=member,
        log=log,
        leaves=leaves,
    )

    return NodeApp(
        server=server,
        log=log,
        asking=asking,
        answering=answering,
        cases=register,
        channel=channel,
        index=index,
        failed=failed,
        tally=leaves.tally,
        gauges=process.gauges_of(
            member, log, config.keys_dir, clock=clock, more=lambda: _index_gauges(index, clock)
        ),
    )


def _index_gauges(index: Index, clock: Callable[[], float]) -> list[metrics.Gauge]:
    age, held = "Seconds since the index agreed with its sources.", "Records held."
    return [
        metrics.Gauge(name="fairlead_index_age_seconds", help=age, value=index.age_s(clock())),
        metrics.Gauge(name="fairlead_index_records", help=held, value=index.records),
    ]


def _gateway_channel(config: NodeConfig, directory: Directory) -> grpc.aio.Channel:
    material = process.material_of(config.keys_dir, directory)()
    gateway = SpiffeId.parse(directory.gateway.spiffe_id)
    return tls.open_channel(config.gateway, server=gateway, material=material)


def _sender(channel: grpc.aio.Channel, deadline_s: float) -> GatewayQuery:
    """Streams one query through the gateway; leaving early cancels the call."""
    stub = gateway_pb2_grpc.GatewayServiceStub(channel)

    async def send(
        request: gateway_pb2.QueryRequest,
    ) -> AsyncIterator[gateway_pb2.QueryResponse]:
        call = stub.Query(request, timeout=2 * deadline_s)
        try:
            async for response in call:
                yield response
        finally:
            call.cancel()

    return send

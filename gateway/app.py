"""The gateway's process: from a configuration file to a serving exchange."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fairlead import tls  # before grpc: it sets the TLS floor

# isort: split
import grpc.aio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import admission, decisions, metrics, process, signing
from fairlead.auditlog import AuditLog, DatabaseUrl, Place
from fairlead.certificates import SpiffeId
from fairlead.config import GatewayConfig, reveal
from fairlead.errors import LogUnavailable, Misconfigured
from fairlead.keyring import KeyRing
from fairlead.leaves import LeafWriter
from fairlead.membership import Membership
from fairlead.partners import Directories, Directory, Gateway, Node
from fairlead.reconciling import ENTRY_OCTETS, MAX_ENTRIES, Ledger
from fairlead.reconciling import FILE as LEDGER_FILE
from fairlead.release import ReleaseDesk
from fairlead.releases import SUBJECT, Releases
from fairlead.server import Server
from fairlead.strategic.deciding import RULES
from fairlead.telemetry import Event, get_logger
from fairlead.timestamping.stamper import Stamper
from fairlead.v1 import query_pb2
from gateway import feedback, manifests, reconciled, service, standing
from gateway.abreast import keep_abreast
from gateway.federation import Publishing, load_issuer
from gateway.figures import shelf, waivers
from gateway.figures.making import Maker
from gateway.members import LegFailed, Transport, UnaryTransport
from gateway.overdue import Overdue
from gateway.publications import Publications
from gateway.reconciliation import Reconciliations
from gateway.releases import ReleaseExchange
from gateway.strategic import Strategic
from gateway.tactical import Tactical
from gateway.walk import Exchange
from gateway.witnesses import Witnesses

LOG_FILE = "audit.sqlite"
MIGRATIONS = (
    *process.MIGRATIONS,
    *admission.MIGRATIONS,
    *feedback.MIGRATIONS,
    *manifests.MIGRATIONS,
    *standing.MIGRATIONS,
    *reconciled.MIGRATIONS,
    *shelf.MIGRATIONS,
    *waivers.MIGRATIONS,
)
"""Tables of the gateway in its log's file, in the order in which they were invented."""
CLOSING_S = 2.0
"""What a query may take beyond its deadline to close its outcome, when the gateway stops."""
MAX_DRAIN_S = 30.0
"""Less than what stops the process for good (45 s in deploy/)."""


def own_keys(
    config: GatewayConfig, member: Membership
) -> tuple[Gateway, KeyRing, Ed25519PrivateKey]:
    """The gateway's entry, its keys, among them those of the directory, and its log key.

    :raises Misconfigured: UNKNOWN_GATEWAY, KEY_MISMATCH, or a key file is missing.
    """
    directory = member.directory.current
    spiffe_id = f"spiffe://{directory.federation}/gateway/{config.name}"
    entry = directory.gateways.get(spiffe_id)
    if entry is None:
        raise Misconfigured(
            "the directory does not list this gateway",
            reasons=("UNKNOWN_GATEWAY",),
            remedy="correct name in the configuration, or ask the operators to list it",
        )
    keys = KeyRing(config.keys_dir)
    keys.signing(entry.signing_key)
    log_key = signing.load_signing_key(config.keys_dir / "log.key")
    if signing.public_bytes(log_key) != entry.log_key:
        raise Misconfigured(
            "the gateway's keys are not those of the directory",
            reasons=("KEY_MISMATCH",),
            remedy="correct keys_dir, or restore this gateway's key folder from its backup",
        )
    process.material_of(config.keys_dir, member.directory)()
    load_issuer(config.keys_dir, directory.federation_ca)
    return entry, keys, log_key


def log_place(config: GatewayConfig, environ: Mapping[str, str] = os.environ) -> Place:
    """Where this gateway's log lies.

    :raises Misconfigured: SECRET_MISSING, DATABASE_URL, DATABASE_TLS; or LOG_ELSEWHERE: there is a
        log in ``state_dir``, and to begin another of the same origin would be a fork.
    """
    if config.database is None:
        return config.state_dir / LOG_FILE
    if (config.state_dir / LOG_FILE).exists():
        raise Misconfigured(
            "this gateway has a log in its state_dir, which the database does not continue",
            reasons=("LOG_ELSEWHERE",),
            remedy="take database out of the configuration; a log changes its place only with a "
            "new origin (docs/operate.md)",
        )
    address = reveal(config.database, environ)
    return DatabaseUrl.parse(address.decode("utf-8", "replace"))


def log_name(entry: Gateway, directory: Directory) -> str:
    """What every leaf says whose log it is in: of the gateways that share one, the first one's."""
    return entry.log_origin.removeprefix(f"{directory.federation}/")


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayApp:
    """A gateway put together: bound, not yet serving."""

    server: Server
    log: AuditLog
    ledger: Ledger
    tactical: Tactical
    strategic: Strategic
    publishing: Publishing
    transport: Transport
    counting: Transport
    witnesses: Witnesses
    member: Membership
    releases: Releases
    tasks: process.Tasks
    failed: process.Failed
    tally: metrics.Tally
    gauges: metrics.Gauges
    drain_s: float

    async def finish(self) -> None:
        """Refuse new queries; those under way end within their own deadline, and so do figures."""
        self.publishing.finish()
        await asyncio.gather(
            self.tactical.finish(self.drain_s), self.strategic.finish(self.drain_s)
        )

    async def close(self) -> None:
        """Stop following the files; close every outcome, then the connections, then the log."""
        await self.tasks.cancel()
        await self.tactical.drain()
        await self.strategic.drain()
        await self.transport.close()
        await self.counting.close()
        await self.witnesses.close()
        self.ledger.close()
        await asyncio.to_thread(self.log.close)


async def run(config: GatewayConfig) -> bool:
    """Run a gateway until it is told to stop.

    :returns: False when the audit log failed.
    :raises FairleadError: it could not start.
    """
    app = await assemble(config)
    with metrics.serving(config.metrics, app.tally, app.gauges):
        return await process.serve(app.server, failed=app.failed, stop=app.close, finish=app.finish)


async def assemble(config: GatewayConfig, *, clock: Callable[[], float] = time.time) -> GatewayApp:
    """Load, verify and bind everything a gateway consists of.

    Every byte of its state is the audit log: no term, no record, no answer in clear.

    :raises FairleadError: it could not start.
    """
    member = process.join(config, clock)
    entry, keys, log_key = own_keys(config, member)
    failed = process.Failed()
    config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = AuditLog.open(
        log_place(config),
        origin=entry.log_origin,
        key=log_key,
        clock=clock,
        migrations=MIGRATIONS,
        on_failure=failed,
    )
    get_logger().info(Event.LOG_OPENED, size=log.head.size)
    leaves = LeafWriter(log=log_name(entry, member.directory.current), clock=clock)
    if not log.head.size and entry.former_checkpoint:
        await log.append(leaves.witness("new-origin", [entry.former_checkpoint]))
    releases = await process.activate(config, member, log=log, leaves=leaves, clock=clock)
    releases.live.record_by(
        decisions.open_recorder(log, leaves, replay_key=config.replay_key, clock=clock)
    )
    material = process.material_of(config.keys_dir, member.directory)
    transport, beside, counting = (
        UnaryTransport(
            _connector(member.directory, material),
            clock=time.monotonic,
            version=lambda partner: (_node(member.directory, partner), material()),
            places=config.limits.max_concurrent_queries,
        )
        for _ in range(3)  # a witness in trouble, or one that counts long, is an owner all the same
    )
    stopping, known_heads = _Stopping(failed), dict[str, int]()
    try:
        collector = Witnesses(
            log=log,
            leaves=leaves,
            directory=member.directory,
            gateway=entry.spiffe_id,
            transport=beside,
            known_heads=known_heads,
            clock=clock,
            on_fork=stopping,
        )
    except LogUnavailable:  # forked: nobody serves from it
        log.close()
        raise
    exchange = Exchange(
        gateway=entry.spiffe_id,
        keys=keys,
        log=log,
        leaves=leaves,
        desk=ReleaseDesk(log, leaves, tick_s=0),
        deny_lists=member.deny_lists,
        transport=transport,
        witnesses=collector,
        known_heads=known_heads,
        clock=clock,
        deadline_s=config.limits.deadline_ms / 1000,
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
        releases.live,
    )
    told = feedback.FeedbackDesk(
        log=log,
        leaves=leaves,
        directory=member.directory,
        transport=transport,
        clock=clock,
        deadline_s=exchange.deadline_s,
    )
    strategic = _strategic(exchange, counting, member, releases)
    publications = Publications(
        log=log,
        leaves=leaves,
        directory=member.directory,
        deny_lists=member.deny_lists,
        transport=transport,
        clock=clock,
        policy_serial=lambda: releases.live.serial,
        deadline_s=exchange.deadline_s,
    )
    exchanged = ReleaseExchange(releases, own=entry.spiffe_id, clock=clock)
    publishing = Publishing(
        member,
        log=log,
        leaves=leaves,
        issuer=lambda: load_issuer(config.keys_dir, member.directory.current.federation_ca),
        releases=exchanged,
        clock=clock,
    )
    releases.on_change.append(publishing.wake)
    ledger = Ledger(config.state_dir / LEDGER_FILE, log)
    reconciliations = _reconciliations(
        config, entry, keys, log, leaves, ledger, member, collector, clock
    )
    overdue = Overdue(reconciliations.shelf, ledger, member.directory, clock=clock)
    stamper = Stamper(config.timestamps, log, leaves, clock=clock)
    server = process.bind(
        service.services(
            tactical,
            strategic,
            waivers.WaiverDesk(
                log=log,
                leaves=leaves,
                directory=member.directory,
                policy=releases.live,
                clock=clock,
            ),
            told,
            publications,
            publishing,
            exchanged,
            reconciliations,
        ),
        config=config,
        material=material,
        authorisation=service.AUTHORISATION,
        membership=member,
        log=log,
        leaves=leaves,
    )
    stopping.server = server
    collector.on_late = server.set_degraded

    return GatewayApp(
        server=server,
        log=log,
        ledger=ledger,
        tactical=tactical,
        strategic=strategic,
        publishing=publishing,
        transport=transport,
        counting=counting,
        witnesses=collector,
        member=member,
        releases=releases,
        tasks=process.Tasks(
            failed,
            member.watch(),
            releases.watch(),
            publishing.keep_certificate(config.keys_dir, entry.spiffe_id),
            collector.run(),
            decisions.keep_house(log, leaves, days=config.decision_days, clock=clock),
            *([keep_abreast(log, lambda: _serials(member, releases))] if log.shared else []),
            overdue.watch(),
            stamper.run(),
            process.spool(config, member, log=log, leaves=leaves, clock=clock).run(),
        ),
        failed=failed,
        tally=leaves.tally,
        gauges=process.gauges_of(
            member,
            log,
            config.keys_dir,
            releases,
            clock=clock,
            more=lambda: [*collector.gauges(), *overdue.gauges(), *stamper.gauges()],
        ),
        drain_s=min(config.limits.deadline_ms / 1000 + CLOSING_S, MAX_DRAIN_S),
    )


@dataclass(slots=True)
class _Stopping:
    """Stops the process for good when its log was forked: readiness first."""

    failed: process.Failed
    server: Server | None = None
    task: asyncio.Task[None] | None = None

    def __call__(self) -> None:
        if self.server is not None:
            self.task = asyncio.ensure_future(self.server.set_serving(False))
        self.failed.event.set()


def _serials(member: Membership, releases: Releases) -> dict[str, int]:
    """What is in force here, by the subject of its activation."""
    lists = member.deny_lists.serials().items()
    return {
        "directory": member.directory.current.serial,
        SUBJECT: releases.bundle.serial,
        **{f"deny-list/{issuer}": serial for issuer, serial in lists},
    }


def _strategic(
    exchange: Exchange, counting: Transport, member: Membership, releases: Releases
) -> Strategic:
    """What has figures summed, and releases them.

    :param counting: the way to whoever counts.
    """
    maker = Maker(
        log=exchange.log,
        leaves=exchange.leaves,
        directory=member.directory,
        deny_lists=exchange.deny_lists,
        transport=counting,
        clock=exchange.clock,
        rules=RULES,
    )

    def key() -> Ed25519PrivateKey:
        now = member.directory.current.gateways[exchange.gateway]
        return exchange.keys.signing(now.signing_key)

    return Strategic(
        maker,
        gateway=exchange.gateway,
        key=key,
        log=exchange.log,
        leaves=exchange.leaves,
        directory=member.directory,
        deny_lists=exchange.deny_lists,
        policy=releases.live,
        witnesses=exchange.witnesses,
        clock=exchange.clock,
    )


def _reconciliations(
    config: GatewayConfig,
    entry: Gateway,
    keys: KeyRing,
    log: AuditLog,
    leaves: LeafWriter,
    ledger: Ledger,
    member: Membership,
    collector: Witnesses,
    clock: Callable[[], float],
) -> Reconciliations:
    """What holds nodes' logs against this one."""

    def key() -> Ed25519PrivateKey:
        now = member.directory.current.gateways[entry.spiffe_id]
        return keys.signing(now.signing_key)

    return Reconciliations(
        gateway=entry.spiffe_id,
        key=key,
        log=log,
        leaves=leaves,
        ledger=ledger,
        directory=member.directory,
        clock=clock,
        limit=min(MAX_ENTRIES, config.limits.max_message_bytes // ENTRY_OCTETS),
        cosigned=lambda: collector.cosigned,
    )


def _node(directory: Directories, partner_id: str) -> Node:
    """Where a partner is dialled now, whatever directory it was asked under.

    :raises LegFailed: it is no longer a member.
    """
    partner = directory.current.partners.get(partner_id)
    if partner is None:
        raise LegFailed(query_pb2.STATUS_UNREACHABLE, "NOT_LISTED")
    return partner.nodes[0]


def _connector(
    directory: Directories, material: Callable[[], tls.KeyMaterial]
) -> Callable[[str], grpc.aio.Channel]:
    def connect(partner_id: str) -> grpc.aio.Channel:
        node = _node(directory, partner_id)
        return tls.open_channel(
            node.endpoint, server=SpiffeId.parse(node.spiffe_id), material=material()
        )

    return connect

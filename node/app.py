"""The node's process: from a configuration file to a serving owner and asker."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

# isort: split
from cryptography import x509

from fairlead import admission, authority, metrics, process, signing
from fairlead.auditlog import AuditLog
from fairlead.config import NodeConfig, reveal
from fairlead.errors import Misconfigured
from fairlead.keyfiles import require_private
from fairlead.keyring import KeyRing
from fairlead.leaves import LeafWriter
from fairlead.membership import Membership
from fairlead.partners import Directory, Partner
from fairlead.policy.points import PolicyPoints
from fairlead.release import ReleaseDesk
from fairlead.server import Server
from fairlead.telemetry import Event, get_logger
from fairlead.v1 import gateway_pb2, gateway_pb2_grpc
from node import cases, pausing, service
from node.answering import Answering
from node.asking import Asking, GatewayQuery
from node.certificate import OwnCertificate
from node.control.server import ControlServer
from node.counting import Today
from node.denying import OwnDenyList
from node.drafting import Drafter
from node.exposure import acceptance
from node.exposure.gate import ExposureGate
from node.exposure.source import source_facts
from node.following import Following
from node.heads import HeadKeeper
from node.index import Index
from node.line import GatewayLine
from node.own_entry import OwnEntry
from node.owner import Owner
from node.pausing import Pause
from node.previewing import Previewing
from node.sources.mapping import load_mapping
from node.status import Status
from node.steering import Steering

LOG_FILE = "audit.sqlite"
INDEX_FILE = "index.sqlite"
INDEX_KEY_FILE = "index.secret"
UNKNOWN = "UNKNOWN_PARTNER"
REACH_S = 2.0
"""Seconds a gateway has to open its door before it counts as out of reach."""
MIGRATIONS = (
    *process.MIGRATIONS,
    *admission.MIGRATIONS,
    *cases.MIGRATIONS,
    *acceptance.MIGRATIONS,
    *pausing.MIGRATIONS,
)
"""Tables of the node in its log's file, in the order in which they were invented."""


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


def own_keys(config: NodeConfig, member: Membership) -> tuple[Partner, KeyRing]:
    """The node's partner and keys, among them those of the directory.

    :raises Misconfigured: UNKNOWN_PARTNER, ROOT_UNPINNED, KEY_MISMATCH, or a key file is missing.
    """
    directory = member.directory.current
    partner = directory.partners.get(config.partner)
    if partner is None:
        raise Misconfigured(
            "the directory does not list this partner",
            reasons=("ROOT_UNPINNED" if config.partner in directory.unpinned else UNKNOWN,),
            remedy="correct partner in the configuration, pin the own root key, or ask the "
            "operators to list it",
        )
    require_private(config.keys_dir)
    keys = KeyRing(config.keys_dir)
    keys.signing(partner.signing_key)
    keys.sealing(partner.sealing_key)
    process.material_of(config.keys_dir, member.directory)()
    return partner, keys


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeApp:
    """A node put together: bound, not yet serving."""

    server: Server
    log: AuditLog
    asking: Asking
    answering: Answering
    cases: cases.CaseRegister
    line: GatewayLine
    member: Membership
    following: Following
    tasks: process.Tasks
    index: Index
    steering: Steering
    control: ControlServer
    failed: process.Failed
    tally: metrics.Tally
    gauges: metrics.Gauges

    async def close(self) -> None:
        """Close the control socket, stop following; then the line, the log, and the index."""
        await self.control.close()
        await self.tasks.cancel()
        await self.line.close()
        await asyncio.to_thread(self.log.close)
        self.index.close()


async def run(config: NodeConfig) -> bool:
    """Run a node until it is told to stop.

    :returns: False when the audit log failed.
    :raises FairleadError: it could not start.
    """
    app = await assemble(config)
    await app.control.start()
    async with app.steering.watching():
        with metrics.serving(config.metrics, app.tally, app.gauges):
            return await process.serve(app.server, failed=app.failed, stop=app.close)


async def assemble(config: NodeConfig, *, clock: Callable[[], float] = time.time) -> NodeApp:
    """Load, verify and bind everything a node consists of.

    :raises FairleadError: it could not start.
    """
    member = process.join(config, clock)
    directory = member.directory
    partner, keys = own_keys(config, member)
    key = keys.signing(partner.signing_key)
    index = open_index(config)
    get_logger().info(Event.INDEX_OPENED, records=index.records)
    failed = process.Failed()
    log = AuditLog.open(
        config.state_dir / LOG_FILE,
        origin=log_origin(directory.current, config.partner),
        key=key,
        former=keys.signing_keys(),
        clock=clock,
        migrations=MIGRATIONS,
        on_failure=failed,
    )
    leaves = LeafWriter(log=f"partner/{config.partner}", clock=clock)
    seen = dict(log.read("SELECT subject, serial FROM active"))
    policy = await process.activate(config, member, log=log, leaves=leaves, now=clock())
    heads = HeadKeeper(log, directory.current.gateway)
    register = cases.CaseRegister(log, leaves, clock=clock)
    line = GatewayLine(config.gateway, directory, process.material_of(config.keys_dir, directory))
    following = Following(line, member, clock=clock)
    own_entry = OwnEntry(config.partner, config.keys_dir, keys, log, leaves)
    own_entry.since_last_run(seen.get(f"entry/{config.partner}"), partner)
    member.on_change.append(own_entry)
    asking = Asking(
        partner_id=config.partner,
        keys=keys,
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
        check_clock=following.check_clock,
        send=_sender(line, config.limits.deadline_ms / 1000),
        clock=clock,
    )
    desk = ReleaseDesk(log, leaves, tick_s=directory.current.release_tick_s)
    steering = _steering(
        config, member, log=log, leaves=leaves, policy=policy, desk=desk, index=index, clock=clock
    )
    steering.status.running = True
    steering.status.reachable = partial(_reachable, line)
    answering = Answering(
        partner_id=config.partner,
        keys=keys,
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
        desk=desk,
        directory=directory,
        policy=policy,
        gate=steering.owner.gate,
        pause=steering.pause,
        heads=heads,
        index=index,
        clock=clock,
    )
    steering.status.skew = lambda: answering.skew_s
    server = process.bind(
        service.services(config.partner, answering, asking, register, directory),
        config=config,
        material=process.material_of(
            config.keys_dir,
            directory,
            lambda listed: [listed.partner(config.partner).user_authority],
        ),
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
        line=line,
        member=member,
        following=following,
        tasks=process.Tasks(
            member.watch(),
            following.run(),
            OwnCertificate(config.keys_dir, own_node(config, partner), line, clock=clock).watch(),
            *(
                [OwnDenyList(config.user_deny_list, line, member, config.partner).watch()]
                if config.user_deny_list
                else []
            ),
        ),
        index=index,
        steering=steering,
        control=ControlServer(config.state_dir, steering.handlers),
        failed=failed,
        tally=leaves.tally,
        gauges=process.gauges_of(
            member, log, config.keys_dir, clock=clock, more=lambda: _index_gauges(index, clock)
        ),
    )


def _steering(
    config: NodeConfig,
    member: Membership,
    *,
    log: AuditLog,
    leaves: LeafWriter,
    policy: PolicyPoints,
    desk: ReleaseDesk,
    index: Index | None,
    clock: Callable[[], float],
) -> Steering:
    """What the owner holds in its hands, over the parts that answer."""
    gate = ExposureGate()
    gate.accept(acceptance.stored(log))
    pause = Pause(log, leaves, desk, clock=clock)
    owner = Owner(
        partner_id=config.partner,
        directory=lambda: member.directory.current,
        policy=lambda: policy,
        sources=lambda: [source_facts(load_mapping(path)) for path in config.sources],
        log=log,
        leaves=leaves,
        gate=gate,
        clock=clock,
    )

    def indexed() -> Index:
        return index if index is not None else open_index(config)

    return Steering(
        owner=owner,
        pause=pause,
        previewing=Previewing(
            owner=config.partner,
            directory=owner.directory,
            policy=owner.policy,
            index=indexed,
            gate=gate,
            log=log,
            leaves=leaves,
            clock=clock,
        ),
        status=Status(
            partner=config.partner,
            owner=owner,
            pause=pause,
            index=lambda: index,
            deny_lists=member.deny_lists,
            certificate=config.keys_dir / "tls.pem",
            running=False,
            today=Today(log, config.partner, clock),
        ),
    )


@asynccontextmanager
async def at_rest(
    config: NodeConfig, *, clock: Callable[[], float] = time.time
) -> AsyncIterator[Steering]:
    """The owner's acts on the files of a node that does not run; its log is locked meanwhile.

    :raises FairleadError: configuration, membership or policy do not verify, or the node runs.
    """
    member = process.join(config, clock)
    partner, keys = own_keys(config, member)
    config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = AuditLog.open(
        config.state_dir / LOG_FILE,
        origin=log_origin(member.directory.current, config.partner),
        key=keys.signing(partner.signing_key),
        former=keys.signing_keys(),
        clock=clock,
        migrations=MIGRATIONS,
    )
    index = open_index(config) if (config.state_dir / INDEX_FILE).exists() else None
    try:
        leaves = LeafWriter(log=f"partner/{config.partner}", clock=clock)
        policy, _ = process.load_policy(
            config, member.trust, now=clock(), minimum_serial=process.active_serial(log, "policy")
        )
        yield _steering(
            config,
            member,
            log=log,
            leaves=leaves,
            policy=policy,
            desk=ReleaseDesk(log, leaves, tick_s=0),
            index=index,
            clock=clock,
        )
    finally:
        await asyncio.to_thread(log.close)
        if index is not None:
            index.close()


async def _reachable(line: GatewayLine) -> bool:
    """Whether the gateway's door opens within a moment."""
    try:
        await asyncio.wait_for(line.channel().channel_ready(), REACH_S)
    except TimeoutError:
        return False
    return True


def _index_gauges(index: Index, clock: Callable[[], float]) -> list[metrics.Gauge]:
    age, held = "Seconds since the index agreed with its sources.", "Records held."
    return [
        metrics.Gauge(name="fairlead_index_age_seconds", help=age, value=index.age_s(clock())),
        metrics.Gauge(name="fairlead_index_records", help=held, value=index.records),
    ]


def own_node(config: NodeConfig, partner: Partner) -> str:
    """The SPIFFE id in the node's own certificate.

    :raises Misconfigured: UNKNOWN_NODE, the directory lists another.
    """
    certificate = authority.load_certificate(config.keys_dir / "tls.pem")
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    for uri in names.get_values_for_type(x509.UniformResourceIdentifier):
        if any(node.spiffe_id == uri for node in partner.nodes):
            return uri
    raise Misconfigured(
        "the certificate in the key folder is not this partner's node's",
        reasons=("UNKNOWN_NODE",),
        remedy="correct keys_dir, or enrol this node again",
    )


def _sender(line: GatewayLine, deadline_s: float) -> GatewayQuery:
    """Streams one query through the gateway; leaving early cancels the call."""

    async def send(
        request: gateway_pb2.QueryRequest,
    ) -> AsyncIterator[gateway_pb2.QueryResponse]:
        stub = gateway_pb2_grpc.GatewayServiceStub(line.channel())
        call = stub.Query(request, timeout=2 * deadline_s)
        try:
            async for response in call:
                yield response
        finally:
            call.cancel()

    return send

"""The node's process: from a configuration file to a serving owner and asker."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from fairlead import tls  # noqa: F401  before grpc: it sets the TLS floor

# isort: split
import grpc.aio
from cryptography import x509

from fairlead import admission, authority, budgets, metrics, process, signing
from fairlead.auditlog import AuditLog
from fairlead.config import NodeConfig
from fairlead.errors import FairleadError, Misconfigured
from fairlead.keyfile import require_private
from fairlead.keyring import KeyRing
from fairlead.leaves import LeafWriter
from fairlead.membership import Membership
from fairlead.partners import Directory, Partner
from fairlead.policy.points import PolicyPoints
from fairlead.policy.words import Words
from fairlead.release import ReleaseDesk
from fairlead.server import Server
from fairlead.telemetry import Event, get_logger
from fairlead.v1 import gateway_pb2, gateway_pb2_grpc, query_pb2
from node import cases, feedback, history, pausing, service
from node.answering import Answering
from node.asking import Asking
from node.certificate import OwnCertificate
from node.control.server import ControlServer
from node.counting import Today
from node.denying import OwnDenyList
from node.drafting import Drafter
from node.exposure import acceptance
from node.exposure.gate import ExposureGate, accepts
from node.exposure.source import source_facts
from node.following import Following
from node.guard import MEMORY_S, Guard
from node.heads import HeadKeeper
from node.index import Index
from node.indexing import INDEX_FILE as INDEX_FILE  # noqa: PLC0414  (known here to others)
from node.indexing import LOG_FILE as LOG_FILE  # noqa: PLC0414
from node.indexing import index_keys as index_keys  # noqa: PLC0414
from node.line import GatewayLine
from node.own_entry import OwnEntry
from node.owner import Owner
from node.pausing import Pause
from node.previewing import Previewing
from node.publication import shelf
from node.publication.epochs import Epochs
from node.publication.folder import NAME as BLIND_FOLDER
from node.publication.folder import Folder
from node.publication.publisher import Publisher
from node.publication.publishing import Publishing
from node.publication.seeds import SeedFile
from node.refreshing import Refresher, record_index
from node.sealer import Sealer
from node.sending import GatewayQuery, Sending, gateway_error
from node.sources.mapping import load_mapping
from node.spending import AskerBudgets, OwnerBudgets
from node.status import Status
from node.steering import Steering
from node.vault import Vault

UNKNOWN = "UNKNOWN_PARTNER"
REACH_S = 2.0
"""Seconds a gateway has to open its door before it counts as out of reach."""
MIGRATIONS = (
    *process.MIGRATIONS,
    *admission.MIGRATIONS,
    *cases.MIGRATIONS,
    *acceptance.MIGRATIONS,
    *pausing.MIGRATIONS,
    *budgets.MIGRATIONS,
    *shelf.MIGRATIONS,
)
"""Tables of the node in its log's file, in the order in which they were invented."""
HISTORY_FILE = "history.sqlite"
HISTORY_KEY_FILE = "history.secret"
DAY_S = 86_400
EXPIRE_EVERY_S = 3600.0
"""How often answers whose time is over are deleted."""


def log_origin(directory: Directory, partner_id: str) -> str:
    """Origin line of a partner's own audit log."""
    return f"{directory.federation}/partner/{partner_id}"


def _secret(config: NodeConfig, name: str) -> bytes:
    """A secret of this node's own, made at first use, readable by its owner alone."""
    path = config.state_dir / name
    if not path.exists():
        config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(os.urandom(32))
    return path.read_bytes()


def history_key(config: NodeConfig) -> bytes:
    """The 32-octet key of the history.

    :raises Misconfigured: its file is shorter than the secret that was written.
    """
    secret = _secret(config, HISTORY_KEY_FILE)
    if len(secret) < 32:
        raise Misconfigured(
            "the history's secret is shorter than 32 octets", reasons=("HISTORY_KEY",)
        )
    return signing.commit(secret, b"history")


def open_vault(config: NodeConfig, *, readonly: bool = False) -> Vault:
    """What this node keeps of its users' queries and of feedback.

    :param readonly: beside the process that serves it.
    :raises Misconfigured: in use, damaged, or not made yet.
    """
    path, key = config.state_dir / HISTORY_FILE, history_key(config)
    if readonly:
        return Vault.open_readonly(path, key=key)
    return Vault.open(path, key=key, migrations=(*history.MIGRATIONS, *feedback.MIGRATIONS))


def open_index(config: NodeConfig) -> Index:
    """The index as last refreshed.

    :raises Misconfigured: not built yet. :raises SourceUnusable: see :meth:`Index.open`.
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


def words_of(policy: PolicyPoints) -> Words:
    """:raises Misconfigured: a policy without its registry."""
    if policy.registry is None:
        raise Misconfigured("the policy has no registry", reasons=("POLICY_EMPTY",))
    return Words.of(policy.registry)


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
    refresher: Refresher
    steering: Steering
    control: ControlServer
    vault: Vault
    housekeeping: asyncio.Task[None]
    failed: process.Failed
    tally: metrics.Tally
    gauges: metrics.Gauges

    async def close(self) -> None:
        """Close the control socket, what runs beside, what is under way, the line, and the rest."""
        await self.control.close()
        await self.steering.publishing.close()
        await self.refresher.close()
        await self.tasks.cancel()
        self.housekeeping.cancel()
        await asyncio.gather(self.housekeeping, return_exceptions=True)
        await self.asking.drain()
        await self.line.close()
        await asyncio.to_thread(self.log.close)
        self.vault.close()
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
    await record_index(log, leaves, index)
    heads = HeadKeeper(log, directory.current.gateway)
    register = cases.CaseRegister(log, leaves, words=words_of(policy), clock=clock)
    line = GatewayLine(config.gateway, directory, process.material_of(config.keys_dir, directory))
    following = Following(line, member, clock=clock)
    own_entry = OwnEntry(config.partner, config.keys_dir, keys, log, leaves)
    own_entry.since_last_run(seen.get(f"entry/{config.partner}"), partner)
    member.on_change.append(own_entry)
    vault = open_vault(config)
    kept = history.History(vault)
    sealer = Sealer(
        partner_id=config.partner,
        keys=keys,
        check_clock=following.check_clock,
        directory=directory,
        deny_lists=member.deny_lists,
        policy_serial=policy.serial,
        heads=heads,
        clock=clock,
    )
    spending = AskerBudgets(config.budgets, partner_id=config.partner, log=log, clock=clock)
    asking = Asking(
        partner_id=config.partner,
        log=log,
        leaves=leaves,
        drafter=Drafter(
            partner_id=config.partner,
            directory=directory,
            deny_lists=member.deny_lists,
            policy=policy,
            cases=register,
            guard=Guard(config.guard, asked=kept.asked_since(clock() - MEMORY_S), clock=clock),
            budgets=spending,
            clock=clock,
        ),
        cases=register,
        sealer=sealer,
        sending=Sending(
            partner_id=config.partner,
            log=log,
            leaves=leaves,
            desk=ReleaseDesk(log, leaves, tick_s=0),
            policy_serial=policy.serial,
            heads=heads,
            history=kept,
            sealer=sealer,
            budgets=spending,
            send=_sender(line, config.limits.deadline_ms / 1000),
            clock=clock,
        ),
        history=kept,
        budgets=spending,
        clock=clock,
    )
    book = feedback.FeedbackBook(vault)
    telling = feedback.Feedback(
        partner_id=config.partner,
        keys=keys,
        log=log,
        leaves=leaves,
        directory=directory,
        history=kept,
        book=book,
        forward=_forwarder(line, config.limits.deadline_ms / 1000),
        clock=clock,
    )
    desk = ReleaseDesk(log, leaves, tick_s=directory.current.release_tick_s)
    steering = _steering(
        config,
        member,
        keys=keys,
        log=log,
        leaves=leaves,
        policy=policy,
        desk=desk,
        index=index,
        clock=clock,
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
        budgets=OwnerBudgets(config.budgets, log=log, clock=clock),
        index=index,
        clock=clock,
    )
    steering.status.skew = lambda: answering.skew_s
    server = process.bind(
        service.services(config.partner, answering, asking, telling, register, directory),
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

    refresher = Refresher(
        config,
        index,
        log,
        leaves,
        clock=clock,
        gate=lambda mapping: accepts(acceptance.stored(log), mapping),
    )
    steering.status.sources = refresher.lines
    refresher.start()
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
            failed,
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
        refresher=refresher,
        steering=steering,
        control=ControlServer(config.state_dir, steering.handlers),
        vault=vault,
        housekeeping=asyncio.create_task(
            _keep_house(
                asking,
                book,
                words_of(policy).retention_days * DAY_S,
                steering.publishing.publisher,
                clock,
            )
        ),
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
    keys: KeyRing,
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
        look=member.look,
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
        publishing=Publishing(_publisher(config, keys, owner, lambda: indexed().root)),
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


def _publisher(
    config: NodeConfig, keys: KeyRing, owner: Owner, root: Callable[[], bytes]
) -> Publisher:
    """Who publishes for blind queries."""

    def node() -> str:
        directory = owner.directory()
        named = own_node(config, directory.partner(config.partner))
        return named.removeprefix(f"spiffe://{directory.federation}/")

    epochs = Epochs(length_s=config.blind_epoch_s, overlap_s=config.blind_overlap_s)
    return Publisher(
        config=config,
        node=node,
        keys=keys,
        owner=owner,
        root=root,
        epochs=epochs,
        seeds=SeedFile(config.state_dir / BLIND_FOLDER, epochs),
        shelf=shelf.Shelf(owner.log),
        folder=Folder(config.state_dir),
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
            keys=keys,
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


async def _keep_house(
    asking: Asking,
    book: feedback.FeedbackBook,
    retention_s: float,
    publisher: Publisher,
    clock: Callable[[], float],
) -> None:
    """Delete what may be kept no longer, at the start and every hour. Feedback names a term, so
    it is kept as long as the federation lets any answer be kept. Seeds are turned whatever else
    fails."""
    while True:
        try:
            publisher.turn()
        except FairleadError as error:
            get_logger().error(Event.BLIND_NOT_TURNED, error=error)
        try:
            await asking.expire()
            await book.expire(clock() - retention_s)
        except (FairleadError, sqlite3.Error) as error:
            get_logger().error(Event.HISTORY_NOT_EXPIRED, error=error)
        await asyncio.sleep(EXPIRE_EVERY_S)


def _forwarder(line: GatewayLine, deadline_s: float) -> feedback.Forward:
    """Hands sealed feedback to the gateway."""

    async def forward(signed: query_pb2.SignedFeedback) -> None:
        stub = gateway_pb2_grpc.GatewayServiceStub(line.channel())
        request = gateway_pb2.GatewayServiceFeedbackRequest(feedback=signed)
        try:
            await stub.Feedback(request, timeout=2 * deadline_s)
        except grpc.aio.AioRpcError as error:
            raise gateway_error(error, asked=False) from None

    return forward


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

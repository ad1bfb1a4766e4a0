"""The node's process: from a configuration file to a serving owner and asker."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial

from fairlead import tls  # noqa: F401  before grpc: it sets the TLS floor

# isort: split
from fairlead import admission, decisions, metrics, process, quorum
from fairlead.auditlog import AuditLog
from fairlead.config import NodeConfig
from fairlead.cosigning import cosigners
from fairlead.errors import FairleadError
from fairlead.keyring import KeyRing
from fairlead.leaves import LeafWriter
from fairlead.membership import Membership
from fairlead.notice import Asked
from fairlead.partners import Partner
from fairlead.reconciling import FILE as LEDGER_FILE
from fairlead.reconciling import Ledger
from fairlead.release import ReleaseDesk
from fairlead.releases import Releases
from fairlead.server import Server
from fairlead.telemetry import Event, get_logger
from fairlead.timestamping.stamper import Stamper
from node import cases, oversight, service
from node.answering import Answering
from node.approvals import Approvals
from node.asker import Asker, open_asker, open_snapshots
from node.asking import Asking
from node.auditing import AuditDesk
from node.blinded import AskedBlind
from node.carrying import DecoyCarrier
from node.certificate import OwnCertificate
from node.contributing import open_taking
from node.control.server import ControlServer
from node.decisions import DecisionDesk
from node.denying import OwnDenyList
from node.evaluation import Evaluation
from node.exchange import GatewayExchange
from node.exposure import acceptance
from node.exposure.gate import accepts
from node.feedback import FeedbackBook
from node.figuring import Figuring
from node.following import Following
from node.heads import HeadKeeper
from node.index import Index
from node.indexing import LOG_FILE
from node.line import GatewayLine
from node.offering import Offering, open_offering
from node.opening import MIGRATIONS, log_origin, open_index, own_keys, own_node, words_of
from node.oversight import Outbox
from node.own_entry import OwnEntry
from node.owning import steering_of
from node.parts import Parts
from node.publication.publisher import Publisher
from node.reconciling import Calling, Reconciler, Witnessing, resume
from node.refreshing import Refresher, record_index
from node.releases import ReleaseFollower
from node.snapshots import HeldShelf, Snapshots
from node.spending import OwnerBudgets
from node.statistics import TakingPart
from node.statistics.service import offered
from node.statistics.waiving import Waiving, handing_over
from node.steering import Steering
from node.vault import Vault
from node.watches import Watches
from node.witness import Witness

REACH_S = 2.0
"""Seconds a gateway has to open its door before it counts as out of reach."""
DAY_S = 86_400
EXPIRE_EVERY_S = 3600.0
"""How often answers whose time is over are deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeApp:
    """A node put together: bound, not yet serving."""

    server: Server
    log: AuditLog
    ledger: Ledger
    reconciler: Reconciler
    asking: Asking
    figuring: Figuring
    approvals: Approvals
    answering: Answering
    cases: cases.CaseRegister
    snapshots: Snapshots
    watches: Watches
    offering: Offering
    line: GatewayLine
    member: Membership
    following: Following
    releases: Releases
    tasks: process.Tasks
    outbox: Outbox
    index: Index
    refresher: Refresher
    steering: Steering
    control: ControlServer
    vault: Vault
    taking: TakingPart
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
        await self.taking.close()
        self.ledger.close()
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
    partner, keys = own_keys(config, member)
    index = open_index(config)
    get_logger().info(Event.INDEX_OPENED, records=index.records)
    failed = process.Failed()
    log = AuditLog.open(
        config.state_dir / LOG_FILE,
        origin=log_origin(member.directory.current, config.partner),
        key=keys.signing(partner.signing_key),
        former=keys.signing_keys(),
        clock=clock,
        migrations=MIGRATIONS,
        on_failure=failed,
    )
    leaves = LeafWriter(log=f"partner/{config.partner}", clock=clock)
    seen = dict(log.read("SELECT subject, serial FROM active"))
    releases = await process.activate(config, member, log=log, leaves=leaves, clock=clock)
    releases.live.record_by(
        decisions.open_recorder(log, leaves, replay_key=config.replay_key, clock=clock)
    )
    await record_index(log, leaves, index)
    heads = HeadKeeper(log, member.directory.current.gateway_at(config.gateway))
    witness = await _witness(config, member, keys, log, leaves, heads, clock)
    parts = Parts(
        config=config, member=member, keys=keys, log=log, leaves=leaves, policy=releases.live,
        heads=heads, clock=clock,
    )  # fmt: skip
    await resume(parts, member.directory.current.gateway_at(config.gateway))
    line = _line(parts)
    following = Following(line, member, clock=clock)
    follower = _follower(parts, partner, line, following, releases)
    own_entry = OwnEntry(config.partner, config.keys_dir, keys, log, leaves)
    own_entry.since_last_run(seen.get(f"entry/{config.partner}"), partner)
    member.on_change.append(own_entry)
    exchange = GatewayExchange(line, deadline_s=parts.deadline_s)
    asker = open_asker(parts, line, following, open_snapshots(parts, exchange))
    outbox = _outbox(parts)
    asker.watches.on_hits = partial(_tell_oversight, parts, outbox)
    carrier = _carrier(parts, asker, outbox)
    answering, steering = _owner(parts, line, index, outbox, asker.book)
    steering.register.register.check_clock = following.check_clock
    await asyncio.to_thread(steering.mapped.check, steering.own_cells.registry)
    refresher = _refresher(parts, index)
    steering.status.sources = refresher.lines
    steering.snapshots = asker.snapshots.report
    steering.status.policy_overdue = lambda: releases.overdue(clock())
    offering = open_offering(parts, exchange, steering, refresher)
    ledger = Ledger(config.state_dir / LEDGER_FILE, log)
    reconciler = Reconciler(
        parts,
        Calling(line),
        ledger,
        node=own_node(config, partner),
        witnessing=partial(_witnessed, parts),
    )
    steering.reconcile = reconciler.reconcile
    taking = await open_taking(parts, steering, own_node(config, partner))
    steering.waive = Waiving(taking=taking, hand_over=handing_over(line)).waive
    server = _bind(parts, answering, asker, offering, follower, witness, taking)
    stamper = Stamper(config.timestamps, log, leaves, clock=clock)
    refresher.start()
    return NodeApp(
        server=server,
        log=log,
        ledger=ledger,
        reconciler=reconciler,
        asking=asker.asking,
        figuring=asker.figuring,
        approvals=asker.approvals,
        answering=answering,
        cases=asker.cases,
        snapshots=asker.snapshots,
        watches=asker.watches,
        offering=offering,
        line=line,
        member=member,
        following=following,
        releases=releases,
        tasks=_tasks(
            parts,
            partner,
            line,
            following,
            asker,
            offering,
            [
                outbox.run(),
                carrier.run(),
                releases.watch(),
                follower.run(),
                reconciler.run(),
                stamper.run(),
                process.spool(config, member, log=log, leaves=leaves, clock=clock).run(),
            ],
            failed,
        ),
        outbox=outbox,
        index=index,
        refresher=refresher,
        steering=steering,
        control=ControlServer(config.state_dir, steering.handlers),
        vault=asker.vault,
        taking=taking,
        housekeeping=asyncio.create_task(
            _keep_house(parts, asker, steering.publishing.publisher, answering)
        ),
        failed=failed,
        tally=leaves.tally,
        gauges=process.gauges_of(
            member,
            log,
            config.keys_dir,
            releases,
            clock=clock,
            more=lambda: [
                *_index_gauges(index, clock),
                _overdue_gauge(asker),
                _reconciled_gauge(reconciler),
                *stamper.gauges(),
            ],
        ),
    )


def _witnessed(parts: Parts) -> Witnessing | None:
    """Who says whether a quorum cosigned a checkpoint; nobody where none is possible."""
    directory = parts.directory.current
    if not quorum.possible(directory):
        return None
    return lambda note: quorum.reached(cosigners(note, directory), directory)


async def _witness(
    config: NodeConfig,
    member: Membership,
    keys: KeyRing,
    log: AuditLog,
    leaves: LeafWriter,
    heads: HeadKeeper,
    clock: Callable[[], float],
) -> Witness:
    """The node as a witness; it follows a gateway whose log begins anew under another origin."""
    found = Witness(
        partner_id=config.partner,
        keys=keys,
        log=log,
        leaves=leaves,
        heads=heads,
        directory=member.directory,
        state=config.state_dir,
        clock=clock,
    )
    await found.open()
    member.on_change.append(lambda _before, after: found.follow(after.gateway))
    return found


def _line(parts: Parts) -> GatewayLine:
    material = process.material_of(parts.config.keys_dir, parts.directory)
    return GatewayLine(parts.config.gateway, parts.directory, material)


def _follower(
    parts: Parts, partner: Partner, line: GatewayLine, following: Following, releases: Releases
) -> ReleaseFollower:
    """What keeps the node under the gateway's policy."""
    found = ReleaseFollower(
        releases,
        line,
        own=own_node(parts.config, partner),
        log=parts.log,
        leaves=parts.leaves,
        clock=parts.clock,
    )
    following.on_connected, following.on_policy = found.connected, found.heard
    return found


def _outbox(parts: Parts) -> Outbox:
    """What the partner's oversight is told."""
    return Outbox(
        parts.config.state_dir / oversight.FOLDER,
        partner=lambda: parts.directory.current.partner(parts.config.partner),
        key=parts.keys.signing,
        log=parts.log,
        leaves=parts.leaves,
        clock=parts.clock,
    )


async def _tell_oversight(
    parts: Parts, outbox: Outbox, asked: AskedBlind, refs: Sequence[tuple[str, bytes, bytes]]
) -> None:
    """What a blind query, or a look of a watch, found: for the own oversight's eyes."""
    told = Asked(
        query_id=asked.query_id,
        partner=parts.config.partner,
        user=asked.user.rpartition("/")[2],
        purpose=asked.purpose,
        case_commitment=asked.case_commitment,
        at=int(parts.clock()),
    )
    await outbox.hits(told, refs)


def _carrier(parts: Parts, asker: Asker, outbox: Outbox) -> DecoyCarrier:
    """What brings it others' decoys."""
    carrier = DecoyCarrier(
        held=lambda: HeldShelf(parts.log).manifests(parts.clock()),
        fetch=asker.snapshots.fetcher.decoys,
        hand_on=outbox.decoys,
        clock=parts.clock,
    )
    asker.snapshots.on_change.append(carrier.took_over)
    return carrier


def _owner(
    parts: Parts, line: GatewayLine, index: Index, outbox: Outbox, book: FeedbackBook
) -> tuple[Answering, Steering]:
    """The owner's half: what answers, and what the owner steers it by."""
    config, log, leaves, clock = parts.config, parts.log, parts.leaves, parts.clock
    desk = ReleaseDesk(log, leaves, tick_s=parts.directory.current.release_tick_s)
    steering = steering_of(
        config,
        parts.member,
        keys=parts.keys,
        log=log,
        leaves=leaves,
        policy=parts.policy,
        desk=desk,
        index=index,
        book=book,
        clock=clock,
    )
    answering = Answering(
        partner_id=config.partner,
        keys=parts.keys,
        log=log,
        leaves=leaves,
        admission=admission.Admission(
            log=log,
            leaves=leaves,
            directory=parts.directory,
            deny_lists=parts.member.deny_lists,
            clock=clock,
            limit=config.limits.max_concurrent_queries,
        ),
        desk=desk,
        directory=parts.directory,
        policy=parts.policy,
        gate=steering.owner.gate,
        pause=steering.pause,
        heads=parts.heads,
        budgets=OwnerBudgets(config.budgets, log=log, clock=clock),
        evaluation=Evaluation(steering.publishing.publisher, clock=clock),
        decoys=steering.decoying.book,
        outbox=outbox,
        index=index,
        clock=clock,
    )
    steering.status.running = True
    steering.status.reachable = partial(_reachable, line)
    steering.status.skew = lambda: answering.skew_s
    return answering, steering


def _refresher(parts: Parts, index: Index) -> Refresher:
    return Refresher(
        parts.config,
        index,
        parts.log,
        parts.leaves,
        clock=parts.clock,
        gate=lambda mapping: accepts(acceptance.stored(parts.log), mapping),
    )


def _bind(
    parts: Parts,
    answering: Answering,
    asker: Asker,
    offering: Offering,
    follower: ReleaseFollower,
    witness: Witness,
    taking: TakingPart,
) -> Server:
    """The server, on its port; it knows the federation's nodes and the partner's own people."""
    partner, directory = parts.config.partner, parts.directory
    return process.bind(
        [
            *service.services(
                partner,
                answering,
                asker.asking,
                asker.approvals,
                asker.watches,
                asker.telling,
                asker.cases,
                asker.figuring,
                asker.packs,
                directory,
                offering.delivery,
                follower,
                DecisionDesk(log=parts.log, leaves=parts.leaves, clock=parts.clock),
                witness,
                asker.files,
                AuditDesk(log=parts.log, leaves=parts.leaves),
            ),
            offered(taking),
        ],
        config=parts.config,
        material=process.material_of(
            parts.config.keys_dir,
            directory,
            lambda listed: [listed.partner(partner).user_authority],
        ),
        authorisation=service.AUTHORISATION,
        membership=parts.member,
        log=parts.log,
        leaves=parts.leaves,
    )


def _tasks(
    parts: Parts,
    partner: Partner,
    line: GatewayLine,
    following: Following,
    asker: Asker,
    offering: Offering,
    told: Sequence[Coroutine[None, None, None]],
    failed: process.Failed,
) -> process.Tasks:
    """What runs beside the server. Whoever has no sources publishes when told to."""
    config, member = parts.config, parts.member
    node = own_node(config, partner)
    own = OwnCertificate(config.keys_dir, node, line, clock=parts.clock)
    lists = (
        [OwnDenyList(config.user_deny_list, line, member, config.partner).watch()]
        if config.user_deny_list
        else []
    )
    house = decisions.keep_house(
        parts.log, parts.leaves, days=config.decision_days, clock=parts.clock
    )
    published = [offering.announcer.run()] + ([offering.automatic.run()] if config.sources else [])
    return process.Tasks(
        failed, member.watch(), following.run(), own.watch(), asker.snapshots.run(),
        asker.watches.run(), house, *told, *published, *lists,
    )  # fmt: skip


async def _reachable(line: GatewayLine) -> bool:
    """Whether the gateway's door opens within a moment."""
    try:
        await asyncio.wait_for(line.channel().channel_ready(), REACH_S)
    except TimeoutError:
        return False
    return True


async def _keep_house(
    parts: Parts, asker: Asker, publisher: Publisher, answering: Answering
) -> None:
    """Delete what may be kept no longer, at the start and every hour. Feedback names a term, so
    it is kept as long as the federation lets any answer be kept. Seeds are turned whatever else
    fails."""
    while True:
        retention_s = words_of(parts.policy.current).retention_days * DAY_S
        turn(publisher, answering)
        try:
            await asker.asking.expire()
            await asker.approvals.expire()
            await asker.book.expire(parts.clock() - retention_s)
        except (FairleadError, sqlite3.Error) as error:
            get_logger().error(Event.HISTORY_NOT_EXPIRED, error=error)
        await asyncio.sleep(EXPIRE_EVERY_S)


def turn(publisher: Publisher, answering: Answering) -> None:
    """Erase what an epoch that is over answered with: its seed, and its keys in memory."""
    answering.forget()
    try:
        publisher.turn()
    except FairleadError as error:
        get_logger().error(Event.BLIND_NOT_TURNED, error=error)


def _overdue_gauge(asker: Asker) -> metrics.Gauge:
    meaning = "Reviews by a supervisor that are overdue."
    return metrics.Gauge(
        name="fairlead_reviews_overdue", help=meaning, value=asker.approvals.overdue()
    )


def _reconciled_gauge(reconciler: Reconciler) -> metrics.Gauge:
    meaning = "Seconds since this node's log and the gateway's were held against each other."
    return metrics.Gauge(
        name="fairlead_reconciled_age_seconds", help=meaning, value=reconciler.age_s()
    )


def _index_gauges(index: Index, clock: Callable[[], float]) -> list[metrics.Gauge]:
    age, held = "Seconds since the index agreed with its sources.", "Records held."
    return [
        metrics.Gauge(name="fairlead_index_age_seconds", help=age, value=index.age_s(clock())),
        metrics.Gauge(name="fairlead_index_records", help=held, value=index.records),
    ]

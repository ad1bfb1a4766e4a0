"""What the gateway's and the node's process have in common: start closed, stop in order."""

from __future__ import annotations

import asyncio
import gc
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path

from cryptography import x509

from fairlead import (
    authority,
    metrics,
    releases,
    tls,  # before grpc: it sets the TLS floor
)
from fairlead.auditlog import Also, AuditLog, Connection
from fairlead.authorisation import Authorisation, Service
from fairlead.backup import sweep
from fairlead.config import GatewayConfig, NodeConfig
from fairlead.door import InternalFailure, Refusal
from fairlead.errors import FairleadError, Misconfigured, Refused, Stale
from fairlead.leaves import CHEATING, LeafWriter
from fairlead.membership import Membership
from fairlead.partners import Directories, Directory
from fairlead.policy.making import engine_maker
from fairlead.policy.place import Place, load
from fairlead.policy.points import PolicyPoints
from fairlead.policy.store import Shelf
from fairlead.releases import Releases
from fairlead.retention import Eraser, Retention, Spool, by_operators, by_users
from fairlead.retention.copies import destroy_over
from fairlead.retention.periods import FILE as PERIOD_KEYS
from fairlead.retention.spool import FOLDER as SPOOL
from fairlead.server import Server, create_server
from fairlead.telemetry import Event, get_logger
from fairlead.trust import DenyListFile, Trust

DRAIN_S = 5.0
LAST_WORDS_S = 1.0


def join(config: GatewayConfig | NodeConfig, clock: Callable[[], float]) -> Membership:
    """Load trust anchors, directory and deny lists; nothing starts without all three.

    :raises Misconfigured: any of them is missing, expired or does not verify.
    """
    tls.refuse_non_loopback(config.listen, keys=config.keys_dir)
    trust = Trust.load(config.pins)
    try:
        return _join(config, trust, clock)
    except Misconfigured:
        raise
    except FairleadError as error:
        raise Misconfigured(
            error.message, reasons=error.reasons, remedy=error.remedy or _FETCH
        ) from None


_FETCH = "fetch the current directory and deny lists from an operator, and compare the pins"


def _join(
    config: GatewayConfig | NodeConfig, trust: Trust, clock: Callable[[], float]
) -> Membership:
    tls.finish_renewal(config.keys_dir)
    member = Membership(
        trust=trust,
        path=config.directory,
        pins=config.pins,
        deny_lists=config.deny_lists,
        clock=clock,
    )
    get_logger().info(Event.DIRECTORY_LOADED, serial=member.directory.current.serial)
    return member


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
        get_logger().error(
            Event.RPC_FAILED,
            method=failure.method,
            correlation=failure.correlation,
            exception=failure.exception,
        )

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


def material_of(
    keys: Path,
    directory: Directories,
    more: Callable[[Directory], Sequence[x509.Certificate]] = lambda _: (),
) -> tls.LiveMaterial:
    """The process's certificate and key, and the authorities of the directory in force.

    :param more: further authorities to trust (a node's own user authority).
    """

    def roots() -> list[x509.Certificate]:
        current = directory.current
        return [current.federation_ca, *more(current)]

    return tls.LiveMaterial(keys / "tls.pem", keys / "tls.key", roots, clock=time.monotonic)


def spool(
    config: GatewayConfig | NodeConfig,
    member: Membership,
    *,
    log: AuditLog,
    leaves: LeafWriter,
    clock: Callable[[], float],
) -> Spool:
    """What erases leaves that two people approved: operators at a gateway, users at a node."""
    partner = config.partner if isinstance(config, NodeConfig) else ""
    federation = member.directory.current.federation
    keys = config.keys_dir / PERIOD_KEYS

    def retention() -> Retention:
        return Retention.of(config.retention, member.directory.current, partner)

    def after(kept: Retention) -> None:
        sweep(config.state_dir)
        destroy_over(keys, log.read, log.head.size, kept)

    approved = (
        by_users(partner, lambda: member.directory.current, member.deny_lists)
        if partner
        else by_operators(federation, member.trust.operators)
    )
    eraser = Eraser(
        log=log,
        leaves=leaves,
        retention=retention,
        approved=approved,
        clock=clock,
        after=after,
    )
    return Spool(folder=config.state_dir / SPOOL, eraser=eraser)


MIGRATIONS = (
    "CREATE TABLE active (subject TEXT PRIMARY KEY, serial INTEGER NOT NULL) WITHOUT ROWID",
)


def policy_place(config: GatewayConfig | NodeConfig, trust: Callable[[], Trust]) -> Place:
    """Where a process's policy lies, and whom it believes."""
    local = getattr(config, "local_policy", None)
    return Place(
        folder=config.policy_dir,
        kept=config.state_dir / releases.FOLDER,
        officers=lambda: trust().policy_officers,
        own=local.dir if local else None,
        own_officers=local.officers if local else (),
        make=engine_maker(config),
    )


def load_policy(
    config: GatewayConfig | NodeConfig, trust: Trust, *, now: float, minimum_serial: int = 0
) -> PolicyPoints:
    """The signed bundle as decision points, with a partner's own as second layer.

    :raises PolicyUnavailable: missing, older, expired, tampered or under-signed.
    :raises Misconfigured: the partner's own agreements are wrong, every problem at once; or the
        configured engine cannot be had.
    """
    place = policy_place(config, lambda: trust)
    bundle = place.federation(now=now, minimum=minimum_serial)
    confirmed = Shelf(place.kept).heard(bundle.identity)
    return load(place, bundle, place.local(now=now), now=now, confirmed=confirmed).points


async def activate(
    config: GatewayConfig | NodeConfig,
    member: Membership,
    *,
    log: AuditLog,
    leaves: LeafWriter,
    clock: Callable[[], float],
) -> Releases:
    """Load the policy and write down which directory and policy this process runs under.

    Neither may be older than the newest this log has ever seen active.

    :raises Stale: DIRECTORY_OLDER. :raises PolicyUnavailable: see :func:`open_releases`.
    """
    seen = dict(log.read("SELECT subject, serial FROM active"))
    recorder = _DirectoryRecord(log, leaves, seen)
    await recorder(member.directory.current)
    found = await releases.open_releases(
        policy_place(config, lambda: member.trust),
        seen=seen,
        log=log,
        leaves=leaves,
        clock=clock,
        record=_active,
    )
    await _record_deny_lists(member.deny_lists, seen, log, leaves)
    member.record = recorder
    member.on_problem = _problem_leaves(log, leaves)
    return found


class _DirectoryRecord:
    """Writes the activation of a directory down; refuses what this log has seen a newer of."""

    def __init__(self, log: AuditLog, leaves: LeafWriter, seen: dict[str, int]) -> None:
        self._log = log
        self._leaves = leaves
        self._seen = seen

    async def __call__(self, directory: Directory) -> None:
        """:raises Stale: DIRECTORY_OLDER or ENTRY_OLDER."""
        entries = {f"entry/{p.partner_id}": p.sequence for p in directory.partners.values()}
        if directory.serial < self._seen.get("directory", 0):
            raise Stale(
                "the directory is older than one this log has seen",
                reasons=("DIRECTORY_OLDER",),
                remedy="fetch the current directory from an operator",
            )
        if any(sequence < self._seen.get(entry, 0) for entry, sequence in entries.items()):
            raise Stale(
                "a partner's entry is older than one this log has seen",
                reasons=("ENTRY_OLDER",),
                remedy="fetch the current directory from an operator",
            )
        serials = {"directory": directory.serial, **entries}
        leaf = self._leaves.activation(
            "directory", serial=directory.serial, digest=directory.digest
        )
        await self._log.append(leaf, also=_active(serials))
        self._seen.update(serials)


def _problem_leaves(log: AuditLog, leaves: LeafWriter) -> Callable[[FairleadError], None]:
    """Evidence of cheating becomes an ALARM leaf, any other problem a REFUSAL leaf, once each
    until another one comes."""
    pending: set[asyncio.Future[object]] = set()
    last: tuple[str, ...] = ()

    def write(error: FairleadError) -> None:
        nonlocal last
        if error.reasons == last:
            return
        last = error.reasons
        if CHEATING & set(error.reasons):
            leaf = leaves.alarm(error.reasons, subject="membership")
        else:
            leaf = leaves.refusal(error, subject="membership")
        task: asyncio.Future[object] = asyncio.ensure_future(log.append(leaf))
        pending.add(task)
        task.add_done_callback(_settled)

    def _settled(task: asyncio.Future[object]) -> None:
        pending.discard(task)
        if not task.cancelled():
            task.exception()  # a log that fails stops the process by itself

    return write


async def _record_deny_lists(
    deny_lists: DenyListFile, seen: dict[str, int], log: AuditLog, leaves: LeafWriter
) -> None:
    """Refuse deny lists older than any this log has seen, and write every newer one down.

    :raises Stale: DENY_LIST_OLDER.
    """
    pending: set[asyncio.Future[None]] = set()

    async def record() -> None:
        for issuer, serial in deny_lists.serials().items():
            subject = f"deny-list/{issuer}"
            if serial > seen.get(subject, 0):
                seen[subject] = serial
                leaf = leaves.activation(subject, serial=serial, digest=b"")
                await log.append(leaf, also=_active({subject: serial}))

    def later() -> None:
        task = asyncio.ensure_future(record())
        pending.add(task)
        task.add_done_callback(pending.discard)

    for issuer, serial in deny_lists.serials().items():
        if serial < seen.get(f"deny-list/{issuer}", 0):
            raise Stale(
                "a deny list is older than one this log has seen",
                reasons=("DENY_LIST_OLDER",),
                remedy="fetch the current deny lists from an operator",
            )
    await record()
    deny_lists.on_update = later


def active_serial(log: AuditLog, subject: str) -> int:
    """The newest serial of a subject this log has seen active; 0 for none."""
    rows = log.read("SELECT serial FROM active WHERE subject = ?", (subject,))
    return int(rows[0][0]) if rows else 0


def _active(serials: dict[str, int]) -> Also:
    """For the transaction of an activation's leaf. Another gateway of the same log may be ahead of
    this one: what a log has seen active never goes back."""

    def put(connection: Connection) -> None:
        connection.executemany(
            "INSERT INTO active (subject, serial) VALUES (?, ?) ON CONFLICT (subject) "
            "DO UPDATE SET serial = excluded.serial WHERE excluded.serial > active.serial",
            list(serials.items()),
        )

    return put


def gauges_of(
    member: Membership,
    log: AuditLog,
    keys: Path,
    policy: Releases,
    *,
    clock: Callable[[], float],
    more: metrics.Gauges = tuple,
) -> metrics.Gauges:
    """What every process lets Prometheus read: its log, and when what it relies on expires.

    :param more: the process's own gauges.
    """

    def read() -> list[metrics.Gauge]:
        now = clock()
        return [
            metrics.Gauge(name="fairlead_log_size", help="Leaves in the log.", value=log.head.size),
            metrics.Gauge(
                name="fairlead_log_healthy", help="0 once a write failed.", value=log.healthy
            ),
            *(
                metrics.Gauge(
                    name="fairlead_expires_seconds",
                    help="Seconds until what the process relies on expires.",
                    value=moment - now,
                    labels=(("what", what),),
                )
                for what, moment in _expiries(member, keys).items()
            ),
            *_policy_gauges(policy, now),
            *more(),
        ]

    return read


def _policy_gauges(policy: Releases, now: float) -> list[metrics.Gauge]:
    serial = "Serial of the policy in force."
    stops = "Seconds until the policy decides nothing more, unless confirmed or replaced."
    unreviewed = "1 while an emergency stands that nobody reviewed in time."
    return [
        metrics.Gauge(name="fairlead_policy_serial", help=serial, value=policy.bundle.serial),
        metrics.Gauge(name="fairlead_policy_stops_seconds", help=stops, value=policy.until - now),
        metrics.Gauge(
            name="fairlead_policy_unreviewed", help=unreviewed, value=policy.overdue(now)
        ),
    ]


def _expiries(member: Membership, keys: Path) -> dict[str, float]:
    """What → Unix seconds of its end; what cannot be read has ended."""
    found = {"directory": float(member.directory.current.expires_at)}
    try:
        certificate = authority.load_certificate(keys / "tls.pem")
        found["certificate"] = certificate.not_valid_after_utc.timestamp()
    except FairleadError:
        found["certificate"] = 0.0
    for issuer, moment in member.deny_lists.expiries().items():
        found[f"deny-list/{issuer}"] = moment
    return found


class Failed:
    """Set when the process must stop: from the audit log's writer thread when the log fails, or
    when something that runs beside the server has ended."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.event = asyncio.Event()

    def __call__(self) -> None:
        get_logger().error(Event.LOG_FAILED)
        self._loop.call_soon_threadsafe(self.event.set)


class Tasks:
    """What runs beside the server for as long as the process does.

    Each runs until it is cancelled. One that ends by itself has met a defect, and with it ends
    the process: one that no longer hears of suspensions must not go on serving.
    """

    def __init__(self, failed: Failed, *work: Coroutine[None, None, None]) -> None:
        self._failed = failed
        self._tasks = [asyncio.ensure_future(item) for item in work]
        for task in self._tasks:
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Future[None]) -> None:
        if not task.cancelled():
            get_logger().error(Event.TASK_ENDED, error=task.exception())
            self._failed.event.set()

    async def cancel(self) -> None:
        """End all of it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


GC_THRESHOLDS = (20_000, 20, 20)
"""New objects before a collection of the young ones, and collections before one of the older."""


def _settle() -> None:
    """What was made until now stays: the collector need not look at it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


async def _nothing() -> None:
    """There is nothing to finish."""


async def serve(
    server: Server,
    *,
    failed: Failed,
    stop: Callable[[], Awaitable[None]],
    finish: Callable[[], Awaitable[None]] = _nothing,
) -> bool:
    """Serve until SIGTERM or SIGINT, or until the process must stop; then drain and stop.

    :param finish: refuse what is new and let what runs end; health says NOT_SERVING meanwhile.
        A failed log leaves nothing that could end well: what runs has :data:`LAST_WORDS_S` to
        say so, for each answer waits for a leaf that is refused.
    :returns: whether the end was ordered (False: :class:`Failed`).
    """
    loop, ordered = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ordered.set)
    await server.start()
    await server.set_serving(True)
    _settle()
    get_logger().info(Event.SERVER_STARTED, count=server.port)
    ends = [asyncio.ensure_future(ordered.wait()), asyncio.ensure_future(failed.event.wait())]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for end in ends:
        end.cancel()
    get_logger().info(Event.SERVER_STOPPING)
    await server.set_serving(False)
    if not failed.event.is_set():
        await finish()
    await server.stop(LAST_WORDS_S if failed.event.is_set() else DRAIN_S)
    await stop()
    get_logger().info(Event.SERVER_STOPPED)
    return not failed.event.is_set()

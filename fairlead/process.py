"""What the gateway's and the node's process have in common: start closed, stop in order."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from fairlead import (
    authority,
    metrics,
    tls,  # before grpc: it sets the TLS floor
)
from fairlead.auditlog import AuditLog
from fairlead.authorisation import Authorisation, Service
from fairlead.certificates import IdentityCheck
from fairlead.config import GatewayConfig, NodeConfig
from fairlead.door import InternalFailure, Refusal
from fairlead.errors import FairleadError, Misconfigured, Refused, Stale
from fairlead.leaves import LeafWriter
from fairlead.partners import Directory
from fairlead.policy.bundle import canonical, load_bundle
from fairlead.policy.points import PolicyPoints
from fairlead.server import Server, create_server
from fairlead.telemetry import Event, get_logger
from fairlead.trust import DenyListFile, Trust

DRAIN_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """What a process knows of the federation once everything verified."""

    trust: Trust
    directory: Directory
    deny_lists: DenyListFile
    identity_check: IdentityCheck


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


def material_of(keys: Path, directory: Directory, *extra: object) -> Callable[[], tls.KeyMaterial]:
    """The process's certificate and key, read anew at every handshake.

    :param extra: further certificates of authorities to trust (a node's own user authority).
    """
    roots = [directory.federation_ca, *extra]

    def load() -> tls.KeyMaterial:
        return tls.KeyMaterial.load(keys / "tls.pem", keys / "tls.key", roots)  # type: ignore[arg-type]

    return load


MIGRATIONS = (
    "CREATE TABLE active (subject TEXT PRIMARY KEY, serial INTEGER NOT NULL) WITHOUT ROWID",
)


def load_policy(
    config: GatewayConfig | NodeConfig, trust: Trust, *, now: float, minimum_serial: int = 0
) -> tuple[PolicyPoints, bytes]:
    """The signed bundle as decision points, with a partner's own agreements as second layer.

    :returns: the points and the SHA-256 of what the officers signed.
    :raises PolicyUnavailable: missing, older, expired, tampered or under-signed.
    :raises Misconfigured: the partner's own agreements are wrong, every problem at once.
    """
    bundle = load_bundle(config.policy_dir, trust.policy_signers, minimum_serial, now)
    local = getattr(config, "local_policy", None)
    own = (local.name, _read_local(local)) if local else None

    def alarm(point: str, code: str) -> None:
        get_logger().error(Event.POLICY_UNAVAILABLE, point=point, code=code)

    points = PolicyPoints(bundle.layers(own), bundle.serial, alarm=alarm)
    return points, hashlib.sha256(canonical(bundle.manifest)).digest()


def _read_local(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise Misconfigured(
            "the partner's own agreements cannot be read", reasons=("LOCAL_POLICY",)
        ) from None


async def activate(
    config: GatewayConfig | NodeConfig,
    member: Membership,
    *,
    log: AuditLog,
    leaves: LeafWriter,
    now: float,
) -> PolicyPoints:
    """Load the policy and write down which directory and policy this process runs under.

    Neither may be older than the newest this log has ever seen active.

    :raises Stale: DIRECTORY_OLDER. :raises PolicyUnavailable: see :func:`load_policy`.
    """
    seen = dict(log.read("SELECT subject, serial FROM active"))
    if member.directory.serial < seen.get("directory", 0):
        raise Stale(
            "the directory is older than one this log has seen",
            reasons=("DIRECTORY_OLDER",),
            remedy="fetch the current directory from an operator",
        )
    for partner in member.directory.partners.values():
        if partner.sequence < seen.get(f"entry/{partner.partner_id}", 0):
            raise Stale(
                "a partner's entry is older than one this log has seen",
                reasons=("ENTRY_OLDER",),
                remedy="fetch the current directory from an operator",
            )
    policy, digest = load_policy(
        config, member.trust, now=now, minimum_serial=seen.get("policy", 0)
    )
    for subject, serial, proof in (
        ("directory", member.directory.serial, member.directory.digest),
        ("policy", policy.serial, digest),
    ):
        also = _active({subject: serial})
        if subject == "directory":
            entries = {
                f"entry/{p.partner_id}": p.sequence for p in member.directory.partners.values()
            }
            also = _active({subject: serial, **entries})
        await log.append(leaves.activation(subject, serial=serial, digest=proof), also=also)
    get_logger().info(Event.POLICY_LOADED, serial=policy.serial)
    await _record_deny_lists(member.deny_lists, seen, log, leaves)
    return policy


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


def _active(serials: dict[str, int]) -> Callable[[sqlite3.Connection], None]:
    def put(connection: sqlite3.Connection) -> None:
        connection.executemany("INSERT OR REPLACE INTO active VALUES (?, ?)", serials.items())

    return put


def gauges_of(
    member: Membership,
    log: AuditLog,
    keys: Path,
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
            *more(),
        ]

    return read


def _expiries(member: Membership, keys: Path) -> dict[str, float]:
    """What → Unix seconds of its end; what cannot be read has ended."""
    found = {"directory": float(member.directory.expires_at)}
    try:
        certificate = authority.load_certificate(keys / "tls.pem")
        found["certificate"] = certificate.not_valid_after_utc.timestamp()
    except FairleadError:
        found["certificate"] = 0.0
    for issuer, moment in member.deny_lists.expiries().items():
        found[f"deny-list/{issuer}"] = moment
    return found


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

"""The operator's log: one JSON line per event on stderr, where *unclassified means secret*.

A field reaches the log only if :data:`FIELDS` registers its name **and** its value has the
registered shape; any other value becomes ``•``. Event names come from :class:`Event`. Of an
exception only its class and, for our own errors, its code are written: never its text, its
arguments or its locals. :func:`configure` puts the standard library's loggers, warnings and
exception hooks under the same rule, because asyncio and gRPC write tracebacks there.

This is not the audit log: it may be lost, and nothing may be proved with it.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Any, BinaryIO, cast

import orjson
import structlog

from fairlead.errors import FairleadError

SECRET = "•"  # noqa: S105
"""Written instead of every value that is not registered or not of the registered shape."""

LEVELS: Mapping[str, int] = MappingProxyType({"debug": 10, "info": 20, "warning": 30, "error": 40})


class Event(StrEnum):
    """Every event this product logs; a new one is added here and nowhere else."""

    ACTIVE_TARGET_ALERT = "active-target-alert"
    BLIND_ANNOUNCED = "blind-announced"
    BLIND_HELD = "blind-held"
    BLIND_NOT_ANNOUNCED = "blind-not-announced"
    BLIND_NOT_PUBLISHED = "blind-not-published"
    BLIND_NOT_TURNED = "blind-not-turned"
    BLIND_PUBLISHED = "blind-published"
    CERTIFICATE_RELOADED = "certificate-reloaded"
    CHECKPOINT_FORK = "checkpoint-fork"
    CHECKPOINT_STALE = "checkpoint-stale"
    CONFIG_LOADED = "config-loaded"
    DECISIONS_NOT_EXPIRED = "decisions-not-expired"
    DECOYS_UNREADABLE = "decoys-unreadable"
    DENY_LIST_LOADED = "deny-list-loaded"
    DIRECTORY_LOADED = "directory-loaded"
    ENUMERATION_STOPPED = "enumeration-stopped"
    EXPOSURE_ACCEPTED = "exposure-accepted"
    EXPOSURE_PENDING = "exposure-pending"
    FIGURES_BEYOND = "figures-beyond"
    FOREIGN_LOG = "foreign-log"
    FIGURES_NOT_STATED = "figures-not-stated"
    HISTORY_NOT_EXPIRED = "history-not-expired"
    INDEX_BUILT = "index-built"
    INDEX_OPENED = "index-opened"
    LEAVES_ERASED = "leaves-erased"
    LOG_BEHIND = "log-behind"
    CLOCK_SKEW = "clock-skew"
    CERTIFICATE_PROBLEM = "certificate-problem"
    GATEWAY_FOLLOWED = "gateway-followed"
    GATEWAY_LOST = "gateway-lost"
    LOG_FAILED = "log-failed"
    LOG_FORKED = "log-forked"
    LOG_ORIGIN_CHANGED = "log-origin-changed"
    LOG_UNREADABLE = "log-unreadable"
    MEMBERSHIP_PROBLEM = "membership-problem"
    OPA_ENDED = "opa-ended"
    OPA_STARTED = "opa-started"
    OVERSIGHT_ALERT = "oversight-alert"
    OVERSIGHT_NOT_READ = "oversight-not-read"
    OVERSIGHT_NOT_TOLD = "oversight-not-told"
    OWN_ENTRY_CHANGED = "own-entry-changed"
    LOG_OPENED = "log-opened"
    OWNER_PAUSED = "owner-paused"
    OWNER_RESUMED = "owner-resumed"
    PARTNER_INVALID = "partner-invalid"
    PARTNER_TIMEOUT = "partner-timeout"
    PARTNER_UNREACHABLE = "partner-unreachable"
    POLICY_LOADED = "policy-loaded"
    POLICY_NOT_HEARD = "policy-not-heard"
    POLICY_NOT_STORED = "policy-not-stored"
    POLICY_REFUSED = "policy-refused"
    POLICY_UNAVAILABLE = "policy-unavailable"
    POLICY_UNREVIEWED = "policy-unreviewed"
    QUERY_ADMITTED = "query-admitted"
    QUERY_ANSWERED = "query-answered"
    QUERY_CLOSED = "query-closed"
    QUERY_REFUSED = "query-refused"
    QUORUM_BACK = "quorum-back"
    QUORUM_LATE = "quorum-late"
    QUORUM_OVERDUE = "quorum-overdue"
    RECONCILED = "reconciled"
    RECONCILE_INCIDENT = "reconcile-incident"
    RECONCILE_NOT_DONE = "reconcile-not-done"
    RECONCILE_OVERDUE = "reconcile-overdue"
    RETENTION_REFUSED = "retention-refused"
    RETENTION_WAITS = "retention-waits"
    REVIEW_ALARM = "review-alarm"
    RPC_FAILED = "rpc-failed"
    RPC_REFUSED = "rpc-refused"
    SCRUB_WAITS = "scrub-waits"
    SERVER_STARTED = "server-started"
    SERVER_STOPPED = "server-stopped"
    SERVER_STOPPING = "server-stopping"
    SNAPSHOT_REFUSED = "snapshot-refused"
    SNAPSHOT_TAKEN = "snapshot-taken"
    SNAPSHOTS_UNHEARD = "snapshots-unheard"
    SOURCE_IMPORTED = "source-imported"
    SOURCE_RECOVERED = "source-recovered"
    SOURCE_UNUSABLE = "source-unusable"
    TASK_ENDED = "task-ended"
    TIMESTAMP_NOT_TAKEN = "timestamp-not-taken"
    TIMESTAMP_TAKEN = "timestamp-taken"
    UNHANDLED = "unhandled"
    UNREGISTERED = "unregistered"
    WATCHES_NOT_CHECKED = "watches-not-checked"
    WATCH_NEWS = "watch-news"
    WATCH_OVER = "watch-over"
    WITNESS_INVALID = "witness-invalid"
    WITNESS_LOST = "witness-lost"


class Class(StrEnum):
    """Who a field's value is about."""

    PUBLIC = "public"
    """About organisations and machines: written at the top of the line."""
    PSEUDONYMOUS = "pseudonymous"
    """About one person's or one case's stand-in: written under ``subject``, easy to strip."""


class Shape(Enum):
    """What a value must look like: as narrow as its fields allow, so that a term put into the
    wrong field does not fit. A serial number never does: no shape but a digest has long digits.
    """

    NUMBER = None
    CODE = re.compile(r"[A-Z]+(?:_[A-Z]+[0-9]{0,3}|_[0-9]{1,3})*\Z")
    SLUG = re.compile(r"[a-z]+[0-9]{0,3}(?:-(?:[a-z]+[0-9]{0,3}|[0-9]{1,3}))*\Z")
    DIGEST = re.compile(
        r"(?:[0-9a-f]{16}|[0-9a-f]{32}|[0-9a-f]{64}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\Z"
    )
    METHOD = re.compile(r"/[A-Za-z][A-Za-z0-9.]*/[A-Za-z]+\Z")
    CLASS = re.compile(r"[A-Za-z_]+\Z")
    MODULE = re.compile(r"[a-z_]+(?:\.[a-z_]+)*\Z")
    ADDRESS = re.compile(
        r"(?:[a-z]+[0-9]{0,3}|[0-9]{1,3}|[.-])+:\d{1,5}\Z|\[[0-9a-f:]+\]:\d{1,5}\Z"
    )
    SPIFFE = re.compile(r"spiffe://[a-z.-]+(?:/[a-z-]+[0-9]{0,3})+\Z")
    VERSION = re.compile(r"(?:TLSv)?\d{1,3}(?:\.\d{1,3}){1,3}\Z")
    GROUP = re.compile(r"(?:X25519MLKEM768|SecP256r1MLKEM768|X25519|x25519|P-(?:256|384))\Z")


@dataclass(frozen=True, slots=True)
class _Field:
    kind: Class
    shape: Shape


def _register() -> Mapping[str, _Field]:
    public: dict[Shape, str] = {
        Shape.NUMBER: "age_s checksum_failed count duration_ms epoch excluded hits index owners "
        "pid records rows serial size",
        Shape.CODE: "code status",
        Shape.SLUG: "component effect gateway node owner partner point purpose source",
        Shape.DIGEST: "correlation decision revision root",
        Shape.METHOD: "method",
        Shape.CLASS: "error exception",
        Shape.MODULE: "logger",
        Shape.ADDRESS: "endpoint listen",
        Shape.VERSION: "tls_version version",
        Shape.GROUP: "tls_group",
    }
    pseudonymous: dict[Shape, str] = {
        Shape.DIGEST: "case_commitment certificate query_id session",
        Shape.SLUG: "user",
        Shape.SPIFFE: "spiffe_id",
    }
    pairs = ((Class.PUBLIC, public), (Class.PSEUDONYMOUS, pseudonymous))
    return MappingProxyType(
        {
            name: _Field(kind, shape)
            for kind, table in pairs
            for shape, names in table.items()
            for name in names.split()
        }
    )


FIELDS: Mapping[str, _Field] = _register()
"""The only field names that pass, each with its class and shape."""


class Log(structlog.BoundLoggerBase):
    """Log methods that take a registered event, registered fields, and perhaps an error."""

    def debug(self, event: Event, *, error: BaseException | None = None, **fields: object) -> None:
        """Write detail for development."""
        self._write("debug", event, error, fields)

    def info(self, event: Event, *, error: BaseException | None = None, **fields: object) -> None:
        """Write what happens in normal work."""
        self._write("info", event, error, fields)

    def warning(
        self, event: Event, *, error: BaseException | None = None, **fields: object
    ) -> None:
        """Write what somebody should look at."""
        self._write("warning", event, error, fields)

    def error(self, event: Event, *, error: BaseException | None = None, **fields: object) -> None:
        """Write what somebody must look at now."""
        self._write("error", event, error, fields)

    def _write(
        self, level: str, event: Event, error: BaseException | None, fields: dict[str, object]
    ) -> None:
        if LEVELS[level] < _settings.threshold:
            return
        if error is not None:
            fields["error"] = type(error).__name__
            if isinstance(error, FairleadError):
                fields["code"] = error.code
        try:
            (line,), _ = self._process_event(level, event, fields)
            structlog.BytesLogger(_settings.stream or sys.stderr.buffer).msg(line)
        except (OSError, ValueError):
            return  # a full disk or a closed stderr must not become a caller's failure


@dataclass(slots=True)
class _Settings:
    threshold: int = LEVELS["info"]
    clock: Callable[[], float] = time.time
    stream: BinaryIO | None = None


_settings = _Settings()


def configure(
    level: str = "info",
    *,
    clock: Callable[[], float] = time.time,
    stream: BinaryIO | None = None,
) -> None:
    """Set the process's threshold, clock and stream (stderr), and mask every other channel.

    Call it once, first, in each program's ``main``. Loggers made before follow it too.
    """
    _settings.threshold = LEVELS[level]
    _settings.clock = clock
    _settings.stream = stream
    root = logging.getLogger()
    root.handlers[:] = [_Foreign()]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)
    sys.excepthook = lambda _kind, error, _trace: _unhandled(error)
    threading.excepthook = lambda arguments: _unhandled(arguments.exc_value)
    sys.unraisablehook = lambda arguments: _unhandled(arguments.exc_value)


def get_logger(**fields: object) -> Log:
    """Return a logger that adds ``fields`` to every line; safe before :func:`configure`."""
    return Log(None, processors=[classify, _render], context=fields)


def classify(_: object, level: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
    """Keep what is registered; put ``•`` for every other value (a structlog processor)."""
    name = event.pop("event", None)
    now = datetime.fromtimestamp(_settings.clock(), UTC)
    line: dict[str, Any] = {
        "time": now.isoformat(timespec="milliseconds"),
        "level": level,
        "event": name.value if isinstance(name, Event) else Event.UNREGISTERED.value,
    }
    subject: dict[str, Any] = {}
    for key, value in event.items():
        field = FIELDS.get(key)
        if field is None:
            line[SECRET] = SECRET  # an unregistered name may be data too
        elif field.kind is Class.PUBLIC:
            line[key] = _shaped(field.shape, value)
        else:
            subject[key] = _shaped(field.shape, value)
    return {**line, "subject": subject} if subject else line


def _shaped(shape: Shape, value: object) -> object:
    if value is None:
        return None
    if isinstance(value, Enum):
        value = value.value
    if shape is Shape.NUMBER:
        number = type(value) in (int, float, bool) and abs(cast("float", value)) < 2**53
        return value if number else SECRET
    if shape is Shape.DIGEST and isinstance(value, bytes):
        value = value.hex()
    fits = type(value) is str and len(value) <= 128 and shape.value.match(value)
    return value if fits else SECRET


def _render(_: object, __: str, line: MutableMapping[str, Any]) -> bytes:
    return orjson.dumps(line)


class _Foreign(logging.Handler):
    """Other libraries' log records: who spoke and which exception class, nothing they said."""

    def emit(self, record: logging.LogRecord) -> None:
        log = get_logger(logger=record.name)
        write = log.error if record.levelno >= logging.ERROR else log.warning
        write(Event.FOREIGN_LOG, error=record.exc_info[1] if record.exc_info else None)


def _unhandled(error: BaseException | None) -> None:
    get_logger().error(Event.UNHANDLED, error=error)

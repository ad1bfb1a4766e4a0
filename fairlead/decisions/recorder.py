"""Who takes decisions down, and writes them with the audit log's next transaction."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import orjson

from fairlead.auditlog import AuditLog, Beside, Connection
from fairlead.auditlog.kept import RECORDED
from fairlead.decisions.batch import (
    PRIVATE,
    ContentKey,
    Pending,
    Random,
    write_batch,
)
from fairlead.decisions.occasion import current
from fairlead.envelope.query import uuid7
from fairlead.leaves import LeafWriter
from fairlead.policy.inputs import Document
from fairlead.policy.recorded import Decisions, Recorder, places
from fairlead.v1 import decisions_pb2 as pb

HOUR_S = 3600
WAIT_S = 1.0
"""Seconds after which what nobody rests on yet is written all the same."""
FULL = 512
"""Records in memory at which it is written at once."""
BATCH_RECORDS, BATCH_WEIGHT = 256, 4096
"""Records of one batch at most, and candidates and records decided in it, which is what makes its
inputs large: 4,096 organisations take about 3 MiB before compression."""
PRIVATE_WEIGHT = 64
"""What depends on records weighs a multiple of this: how much was found does not tell."""
ONCE_S, ONCE_KEPT = 24 * 3600, 65_536

Unit = tuple[Pending, ...]
"""Records that are written into one batch."""


@dataclass(frozen=True, slots=True)
class _Last:
    """The newest batch of a log: its number, its SHA-256, and its time."""

    number: int = 0
    digest: bytes = bytes(32)
    time_ms: int = 0


class BatchRecorder:
    """The records of one process. :meth:`record` is called from its event loop alone.

    Several gateways may add batches to one log: which one is the last is looked up in each
    transaction.
    """

    def __init__(
        self,
        *,
        leaves: LeafWriter,
        clock: Callable[[], float],
        replay_key: bytes | None,
        random: Random = os.urandom,
    ) -> None:
        """:param replay_key: the officer's public key; without one there are no inputs."""
        self._leaves = leaves
        self._clock = clock
        self._replay_key = replay_key
        self._random = random
        self._pending: deque[Unit] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._wake: Callable[[], None] = lambda: None
        # The writer's thread only:
        self._last = _Last()
        self._given: list[Unit] = []
        self._key: ContentKey | None = None

    @classmethod
    def open(
        cls,
        log: AuditLog,
        leaves: LeafWriter,
        *,
        clock: Callable[[], float],
        replay_key: bytes | None,
    ) -> BatchRecorder:
        """The recorder of a process, which writes into its log from now on.

        :raises InvalidInput: SEALING_KEY: ``replay_key`` is none.
        """
        made = cls(leaves=leaves, clock=clock, replay_key=replay_key)
        if replay_key is not None:
            made._key = made._key_of(int(clock()))
        made._wake = log.wake
        log.accompany(made)
        return made

    def record(
        self,
        point: str,
        document: Document,
        decisions: Decisions,
        *,
        policy_serial: int,
        engine: str,
    ) -> bytes:
        """Take an evaluation down. It is durable with the next leaf, and at the latest soon."""
        now, occasion = self._clock(), current()
        decision_id = uuid7(now, self._random)  # its time says where to look for it
        query_id = occasion.query_id if occasion is not None else b""
        item = Pending(
            decision_id, point, engine, policy_serial, int(now * 1000), query_id, document,
            decisions,
        )  # fmt: skip
        if occasion is not None:
            occasion.ids[point] = decision_id
            if point in PRIVATE and occasion.hold(item, self._take_held):
                return decision_id
        self._take((item,))
        return decision_id

    def _take_held(self, items: Sequence[Pending]) -> None:
        """What one query has decided over records: in one batch, unless it is too much for one."""
        for portion in _portions([(item,) for item in items]):
            self._take(tuple(portion))

    def _take(self, unit: Unit) -> None:
        self._pending.append(unit)
        if self._timer is None:
            self._timer = _later(self._due)
        if len(self._pending) >= FULL:
            self._wake()

    def _due(self) -> None:
        self._timer = None
        if self._pending:
            self._wake()

    # ── On the log's thread ──────────────────────────────────────────────────────────────────

    def contribute(self, connection: Connection) -> list[tuple[bytes, Beside]]:
        """What waits, as leaves with their batches: see :class:`~fairlead.auditlog.Companion`."""
        if not self._pending:
            return []
        self._last = _newest(connection, self._last)
        return [self._written(items) for items in _portions(self._taken())]

    def settle(self, durable: bool) -> None:
        """What was contributed is durable; or it waits again, before all that came since."""
        if not durable:
            self._pending.extendleft(reversed(self._given))
        self._given = []

    def _taken(self) -> list[Unit]:
        taken = [self._pending.popleft() for _ in range(len(self._pending))]
        if self._replay_key is None:
            taken = [unit for unit in taken if unit[0].point not in PRIVATE]
        self._given = taken
        return taken

    def _written(self, items: Sequence[Pending]) -> tuple[bytes, Beside]:
        now = self._clock()
        self._turn(int(now))
        last = self._last
        # Another gateway's clock may be ahead, or ours was put back: batches are found by time.
        time_ms = max(int(now * 1000), last.time_ms)
        octets = write_batch(
            items,
            number=last.number + 1,
            previous=last.digest,
            log=self._leaves.log,
            time_ms=time_ms,
            key=self._key,
            random=self._random,
        )
        made = _Last(last.number + 1, hashlib.sha256(octets).digest(), time_ms)
        self._last = made
        leaf = self._leaves.decision(RECORDED, batch=made.number, digest=made.digest)
        return leaf, _Row(batch=made, octets=octets, key=self._key).put

    def _turn(self, now: int) -> None:
        """Every hour another content key; the last one is forgotten."""
        if self._key is not None and self._key.hour != now // HOUR_S:
            self._key = self._key_of(now)

    def _key_of(self, now: int) -> ContentKey | None:
        if self._replay_key is None:
            return None
        return ContentKey.make(self._leaves.log, now // HOUR_S, self._replay_key, self._random)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """What is written beside a leaf."""

    batch: _Last
    octets: bytes
    key: ContentKey | None

    def put(self, connection: Connection, leaf: int) -> None:
        batch = self.batch
        if self.key is not None:
            connection.execute(
                "INSERT INTO decision_key (id, time_ms, sealed) VALUES (?, ?, ?) "
                "ON CONFLICT DO NOTHING",
                (self.key.key_id, batch.time_ms, self.key.sealed),
            )
        connection.execute(
            "INSERT INTO decision_batch (number, digest, time_ms, leaf, key, body) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (batch.number, batch.digest, batch.time_ms, leaf,
             self.key.key_id if self.key else b"", self.octets),
        )  # fmt: skip


def _newest(connection: Connection, own: _Last) -> _Last:
    """The newest batch in the log: the one written here last, or what its body says."""
    row = connection.execute(
        "SELECT number, digest FROM decision_batch ORDER BY number DESC LIMIT 1"
    ).fetchone()
    if row is None:
        return _Last()
    if row == (own.number, own.digest):
        return own
    (body,) = connection.execute(
        "SELECT body FROM decision_batch WHERE number = ?", (row[0],)
    ).fetchone()
    time_ms = pb.DecisionBatch.FromString(body).time_ms
    return _Last(row[0], hashlib.sha256(body).digest(), time_ms)


def _portions(units: Sequence[Unit]) -> Iterator[Sequence[Pending]]:
    """As many of them as one batch may hold, in their order."""
    portion: list[Pending] = []
    count = weight = 0
    for unit in units:
        heavy = _weight(unit)
        if portion and (count >= BATCH_RECORDS or weight + heavy > BATCH_WEIGHT):
            yield portion
            portion, count, weight = [], 0, 0
        portion += unit
        count += 1
        weight += heavy
    if portion:
        yield portion


def _weight(unit: Unit) -> int:
    weight = sum(len(places(item.decisions)) for item in unit)
    private = unit[0].point in PRIVATE
    return -(-weight // PRIVATE_WEIGHT) * PRIVATE_WEIGHT if private else weight


def _later(call: Callable[[], None]) -> asyncio.TimerHandle | None:
    """Call it in a while; never where no event loop runs, and then whoever closes the log does."""
    try:
        return asyncio.get_running_loop().call_later(WAIT_S, call)
    except RuntimeError:
        return None


@dataclass(slots=True)
class Once:
    """Takes down what was not taken down within a day: the same question, the same outcome.

    A publication asks the same questions again at every change of the index.
    """

    recorder: Recorder
    clock: Callable[[], float]
    _seen: OrderedDict[bytes, tuple[float, bytes]] = field(default_factory=OrderedDict)

    def record(
        self,
        point: str,
        document: Document,
        decisions: Decisions,
        *,
        policy_serial: int,
        engine: str,
    ) -> bytes:
        """The id of the record it has left."""
        question = {**document, "now": policy_serial}
        key = hashlib.blake2b(orjson.dumps([point, question, _said(decisions)])).digest()
        now = self.clock()
        at, decision_id = self._seen.get(key, (0.0, b""))
        if now - at < ONCE_S and decision_id:
            return decision_id
        decision_id = self.recorder.record(
            point, document, decisions, policy_serial=policy_serial, engine=engine
        )
        self._seen[key] = (now, decision_id)
        if len(self._seen) > ONCE_KEPT:
            self._seen.popitem(last=False)
        return decision_id


def _said(decisions: Decisions) -> list[object]:
    return [
        [name, decision.permit, sorted(decision.facets), decision.rules]
        for name, decision in places(decisions).items()
    ]

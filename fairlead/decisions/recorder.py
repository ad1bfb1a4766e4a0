"""Who takes decisions down, and writes them with the audit log's next transaction."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import orjson

from fairlead.auditlog import AuditLog, Beside
from fairlead.auditlog.kept import LAST, RECORDED, last
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


class BatchRecorder:
    """The records of one process. :meth:`record` is called from its event loop alone."""

    def __init__(
        self,
        *,
        leaves: LeafWriter,
        clock: Callable[[], float],
        replay_key: bytes | None,
        number: int = 0,
        previous: bytes = bytes(32),
        random: Random = os.urandom,
    ) -> None:
        """:param replay_key: the officer's public key; without one there are no inputs.

        :param number: of the newest batch; ``previous`` its SHA-256.
        """
        self._leaves = leaves
        self._clock = clock
        self._replay_key = replay_key
        self._random = random
        self._pending: deque[Unit] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._wake: Callable[[], None] = lambda: None
        # The writer's thread only:
        self._number = number
        self._previous = previous
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
        number, previous = last(log.read(LAST))
        made = cls(
            leaves=leaves, clock=clock, replay_key=replay_key, number=number, previous=previous
        )
        if replay_key is not None:
            made._key = made._key_of(int(clock()))
        made._wake = log.wake
        log.accompany(made.contribute)
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

    def contribute(self) -> list[tuple[bytes, Beside]]:
        """What waits, as leaves with their batches: an :data:`~fairlead.auditlog.Companion`."""
        return [self._written(items) for items in _portions(self._taken())]

    def _taken(self) -> list[Unit]:
        taken = [self._pending.popleft() for _ in range(len(self._pending))]
        if self._replay_key is not None:
            return taken
        return [unit for unit in taken if unit[0].point not in PRIVATE]

    def _written(self, items: Sequence[Pending]) -> tuple[bytes, Beside]:
        now = self._clock()
        self._turn(int(now))
        self._number += 1
        octets = write_batch(
            items,
            number=self._number,
            previous=self._previous,
            log=self._leaves.log,
            time_ms=int(now * 1000),
            key=self._key,
            random=self._random,
        )
        self._previous = hashlib.sha256(octets).digest()
        leaf = self._leaves.decision(RECORDED, batch=self._number, digest=self._previous)
        row = _Row(
            number=self._number, digest=self._previous, time_ms=int(now * 1000), octets=octets,
            key=self._key,
        )  # fmt: skip
        return leaf, row.put

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

    number: int
    digest: bytes
    time_ms: int
    octets: bytes
    key: ContentKey | None

    def put(self, connection: sqlite3.Connection, leaf: int) -> None:
        if self.key is not None:
            connection.execute(
                "INSERT OR IGNORE INTO decision_key (id, time_ms, sealed) VALUES (?, ?, ?)",
                (self.key.key_id, self.time_ms, self.key.sealed),
            )
        connection.execute(
            "INSERT INTO decision_batch (number, digest, time_ms, leaf, key, body) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (self.number, self.digest, self.time_ms, leaf,
             self.key.key_id if self.key else b"", self.octets),
        )  # fmt: skip


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

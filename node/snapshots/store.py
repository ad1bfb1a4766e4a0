"""The store of snapshots: what is listed is verified, fetched, taken over, and looked up here."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fairlead.auditlog import AuditLog
from fairlead.envelope.manifest import Manifest
from fairlead.errors import (
    FairleadError,
    InvalidInput,
    LogUnavailable,
    PeerError,
    Stale,
)
from fairlead.identifiers import NORM_VERSION
from fairlead.keyfile import private_folder
from fairlead.keyring import KeyRing
from fairlead.leaves import LeafWriter
from fairlead.partners import Directories
from fairlead.receipts import CheckpointFork
from fairlead.snapshot import Snapshot
from fairlead.telemetry import Event, get_logger
from fairlead.v1 import gateway_pb2
from node.heads import HeadKeeper
from node.snapshots import fetching
from node.snapshots.fetching import Fetcher
from node.snapshots.held import (
    HeldShelf,
    none,
    opening,
    other_version,
    over,
    put_held,
    report_row,
)
from node.snapshots.listing import Key, Listed, Waiting
from node.sources.incident import shrank

FOLDER = "snapshots"
POLL_S = 5.0
OLD_S = 900.0
"""Seconds after which a snapshot that nobody confirmed as the newest is not looked up any more."""
RETRY_S, MAX_RETRY_S = 2.0, 600.0
OWNERS = 4
"""Owners that are fetched from at a time, one snapshot each."""
SUBJECT = "snapshots"
_TOLD = 4_096


class Exchange(Protocol):
    """The gateway, as far as publications go; either raises a FairleadError."""

    async def listed(
        self, request: gateway_pb2.ListManifestsRequest
    ) -> gateway_pb2.ListManifestsResponse:
        """What is meant for this node."""

    async def fetch(
        self, request: gateway_pb2.FetchPublicationRequest
    ) -> gateway_pb2.FetchPublicationResponse:
        """One piece."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usable:
    """A snapshot that may be looked up. ``confirmed_at``: unix seconds, when the gateway last said
    that nothing newer is meant for this node."""

    manifest: Manifest
    snapshot: Snapshot
    confirmed_at: float


class Snapshots:
    """What one node holds of others' publications.

    :param policy_serial: of the policy this node asks under now.
    :param jitter: a factor between 0 and 1 for each pause, so that nodes do not poll at once.
    :param old_s: seconds, see :data:`OLD_S`.
    """

    def __init__(
        self,
        *,
        partner_id: str,
        state: Path,
        directory: Directories,
        keys: KeyRing,
        log: AuditLog,
        leaves: LeafWriter,
        heads: HeadKeeper,
        exchange: Exchange,
        policy_serial: Callable[[], int],
        clock: Callable[[], float],
        jitter: Callable[[], float] = random.random,
        poll_s: float = POLL_S,
        old_s: float = OLD_S,
    ) -> None:
        self._partner_id = partner_id
        self._log = log
        self._leaves = leaves
        self._heads = heads
        self._policy_serial = policy_serial
        self._clock = clock
        self._jitter = jitter
        self._poll_s = poll_s
        self._old_s = old_s
        self._held: dict[Key, Usable] = {}
        self._opened = False
        self._told: set[tuple[bytes, str]] = set()
        self._waiting = asyncio.Event()
        self._polled_at = 0.0
        self._shelf = HeldShelf(log)
        self._listed = Listed(
            partner_id=partner_id, directory=directory, heads=heads, clock=clock,
            ask=exchange.listed, newest=self._newest, refuse=self._refuse,
        )  # fmt: skip
        self.fetcher = Fetcher(
            folder=private_folder(state / FOLDER),
            partner_id=partner_id,
            fetch=exchange.fetch,
            key=lambda: keys.sealing(directory.current.partner(partner_id).sealing_key),
        )
        self.on_change: list[Callable[[Manifest], None]] = []
        """Called with its manifest after a newer snapshot was taken over."""

    # ── Looking up ───────────────────────────────────────────────────────────────────────────

    def usable(self, owner: str, *, purpose: str, scheme: str) -> Usable:
        """The newest one of an owner for a purpose and scheme, of this node's policy, whose epoch
        has begun and is not over.

        :raises NotFound: ``NO_SNAPSHOT``. :raises Stale: ``SNAPSHOT_OLD``: nobody confirmed it as
            the newest for too long; ``EPOCH_OVER``; ``NORM_VERSION``.
        """
        found = [
            item
            for item in self._held.values()
            if (item.manifest.owner, item.manifest.scheme) == (owner, scheme)
            and purpose in item.manifest.audience.purposes
            and self._partner_id in item.manifest.audience.partners
        ]
        if not found and (owner, scheme) in self._listed.other_version:
            raise other_version()
        running = self._running(found)
        serial = self._policy_serial()
        current = [i for i in running if i.manifest.audience.policy_serial == serial]
        if found and not running:
            raise over()
        if not current:
            raise none()
        # Serials of different lines cannot be compared: a class that was replaced has a line, and
        # perhaps a long one, of its own.
        best = max(current, key=lambda i: (i.manifest.epoch, i.manifest.made_at, i.manifest.serial))
        if best.manifest.norm_version != NORM_VERSION:
            raise other_version()
        if self._clock() - best.confirmed_at > self._old_s:
            raise Stale(
                "it is not known whether a snapshot is still the newest",
                reasons=("SNAPSHOT_OLD",),
                remedy="is the gateway reachable? fairlead-node status, fairlead-node snapshots",
            )
        return best

    def of_class(self, owner: str, *, audience: bytes, epoch: int, scheme: str) -> Usable:
        """The newest one held of a class, by its name, an epoch and a scheme.

        :raises Stale: ``EPOCH_OVER``. :raises NotFound: ``NO_SNAPSHOT``.
        :raises Unreachable: ``SNAPSHOTS_OPENING``: the node has just started.
        """
        for item in self._held.values():
            found = item.manifest
            told = (found.owner, found.audience.name, found.epoch, found.scheme)
            if told == (owner, audience, epoch, scheme):
                if not self._running([item]):
                    raise over()
                return item
        raise none() if self._opened else opening()

    def _running(self, items: list[Usable]) -> list[Usable]:
        now = self._clock()
        return [i for i in items if i.manifest.begins_at <= now < i.manifest.answers_until]

    async def report(self) -> dict[str, Any]:
        """Every snapshot held, for who looks at the node."""
        now = self._clock()
        rows = [
            report_row(item.manifest, now=now, confirmed_at=item.confirmed_at)
            for item in self._held.values()
        ]
        rows.sort(key=lambda row: (row["owner"], row["scheme"], row["purposes"], row["epoch"]))
        return {"snapshots": rows, "waiting": len(self._listed.waiting)}

    # ── Keeping up ───────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Until cancelled: open what is held, then poll and fetch. Nothing ends it but that."""
        await self._reopen()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._poll())
            group.create_task(self._fetch())

    async def look(self) -> None:
        """Poll once; files of what is neither held nor waited for go: also what was begun of a
        manifest that a later one took the place of.

        :raises FairleadError: the gateway is silent, or cheats.
        """
        try:
            at = await self._listed.look()
        except CheckpointFork as fork:
            leaf = self._leaves.alarm(
                fork.reasons, subject="gateway-log", checkpoints=fork.checkpoints
            )
            await self._log.append(leaf)
            raise
        self._polled_at = at
        self._drop_over()
        behind = {key[0] for key in self._listed.waiting} | self._listed.refused
        for key, item in self._held.items():
            if key[0] not in behind:
                self._held[key] = _confirmed(item, at)
        if self._listed.waiting:
            self._waiting.set()
        await asyncio.to_thread(self.fetcher.tidy, self._named())

    async def take(self) -> None:
        """Fetch what is due, once; of each owner as much as comes in one turn."""
        due: dict[str, list[Key]] = {}
        for key, item in self._listed.waiting.items():
            if item.next_at <= self._clock():
                due.setdefault(item.queue[-1].manifest.owner, []).append(key)
        places = asyncio.Semaphore(OWNERS)

        async def of_owner(keys: list[Key]) -> None:
            async with places:
                until = asyncio.get_running_loop().time() + fetching.TURN_S
                with contextlib.suppress(fetching.TurnOver):
                    await self._take(keys[0], until)
                    for key in keys[1:]:
                        if asyncio.get_running_loop().time() >= until:
                            break
                        await self._take(key, until)

        await asyncio.gather(*(of_owner(keys) for keys in due.values()))

    async def _reopen(self) -> None:
        """Open what was held before the start, beside the event loop; nothing is fetched."""
        for manifest in self._shelf.manifests(self._clock()):
            try:
                snapshot = await asyncio.to_thread(self.fetcher.open, manifest)
            except FairleadError as error:  # it is listed, and fetched, again
                await self._refuse(error, manifest.owner, manifest.digest)
                continue
            key = manifest.line, manifest.epoch
            self._held[key] = Usable(manifest=manifest, snapshot=snapshot, confirmed_at=0.0)
        self._opened = True

    async def _poll(self) -> None:
        pause = self._poll_s
        while True:
            try:
                await self.look()
                pause = self._poll_s
            except FairleadError as error:
                get_logger().warning(Event.SNAPSHOTS_UNHEARD, error=error)
                pause = min(2 * pause, 12 * self._poll_s)
            await asyncio.sleep(pause * (0.5 + self._jitter()))

    async def _fetch(self) -> None:
        while True:
            self._waiting.clear()
            try:
                await self.take()
            except FairleadError as error:  # the log: the process is about to stop
                get_logger().error(Event.SNAPSHOT_REFUSED, error=error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._waiting.wait()

    async def _take(self, key: Key, until: float) -> None:
        """Take the next one of a line over, or try again later.

        :raises TurnOver: its owner's turn ends at ``until``; it goes on with the next one.
        :raises LogUnavailable: it cannot be recorded.
        """
        waiting, held = self._listed.waiting.get(key), self._held.get(key)
        if waiting is None:  # it was over meanwhile
            return
        first, last = waiting.queue[0], waiting.queue[-1]
        item = first if held is not None and _leads(held.manifest, first.manifest) else last
        leads = held is not None and _leads(held.manifest, item.manifest)
        before = self.fetcher.path(held.manifest) if held is not None and leads else None
        try:
            snapshot = await self.fetcher.snapshot(
                item.manifest, before=before, beside=self._beside(key, item.manifest), until=until
            )
        except LogUnavailable:
            raise
        except FairleadError as error:
            waiting.attempts += 1
            pause = min(RETRY_S * 2**waiting.attempts, MAX_RETRY_S) * (0.5 + self._jitter())
            waiting.next_at = self._clock() + pause
            get_logger().warning(Event.SNAPSHOT_REFUSED, error=error, partner=item.manifest.owner)
            if isinstance(error, (PeerError, InvalidInput)):
                await self._refuse(error, item.manifest.owner, item.manifest.digest)
            return
        await self._took(key, item, snapshot)

    async def _took(self, key: Key, item: Waiting, snapshot: Snapshot) -> None:
        """The leaf and the row of a verified snapshot; then it is the one that is looked up."""
        manifest, before = item.manifest, self._newest(key[0], held=True)
        if before is not None and shrank(before.entry_count, manifest.entry_count):
            await self._log.append(self._leaves.alarm(["COUNT_SHRANK"], subject="blind"))
        row = put_held(item.signed, manifest, item.receipt, self._clock())
        persist = self._heads.persist()

        def put(connection: sqlite3.Connection) -> None:
            row(connection)
            persist(connection)

        leaf = self._leaves.publication(
            "taken-over",
            partner_id=manifest.owner,
            scheme=manifest.scheme,
            manifest_digest=manifest.digest,
        )
        await self._log.append(leaf, also=put)
        old = self._held.get(key)
        more = self._listed.taken(key, manifest)
        if more:
            self._waiting.set()
        behind = more or key[0] in self._listed.refused
        confirmed_at = self._polled_at if not behind else old.confirmed_at if old else 0.0
        self._held[key] = Usable(manifest=manifest, snapshot=snapshot, confirmed_at=confirmed_at)
        if old is not None:
            self.fetcher.drop(old.manifest)
        get_logger().info(
            Event.SNAPSHOT_TAKEN, partner=manifest.owner, epoch=manifest.epoch,
            size=manifest.entry_count,
        )  # fmt: skip
        for tell in self.on_change:
            tell(manifest)

    def _drop_over(self) -> None:
        now = self._clock()
        for key, item in list(self._held.items()):
            if item.manifest.answers_until <= now:
                del self._held[key]
                self.fetcher.drop(item.manifest)
        self._listed.drop_over(now)

    def _newest(self, line: bytes, *, held: bool = False) -> Manifest | None:
        """The last one of a line: held or, unless only those are meant, waiting."""
        known = [item.manifest for (name, _), item in self._held.items() if name == line]
        if not held:
            known += self._listed.of_line(line)
        return max(known, key=lambda manifest: manifest.serial, default=None)

    def _beside(self, key: Key, manifest: Manifest) -> int:
        """Octets that are held of a manifest's owner beside what it takes the place of."""
        return sum(
            fetching.octets_of(item.manifest)
            for other, item in self._held.items()
            if other != key and item.manifest.owner == manifest.owner
        )

    def _named(self) -> list[Manifest]:
        held = [item.manifest for item in self._held.values()]
        waiting = [w.manifest for i in self._listed.waiting.values() for w in i.queue]
        return held + waiting

    async def _refuse(self, error: FairleadError, owner: str, digest: bytes) -> None:
        """A leaf, once for each manifest and reason."""
        if (digest, error.code) in self._told:
            return
        if len(self._told) >= _TOLD:
            self._told.clear()
        self._told.add((digest, error.code))
        get_logger().warning(Event.SNAPSHOT_REFUSED, error=error, partner=owner)
        if "MANIFEST_FORK" in error.reasons:
            await self._log.append(self._leaves.alarm(error.reasons, subject="publication"))
        await self._log.append(self._leaves.refusal(error, subject=SUBJECT, partner_id=owner))


def _leads(before: Manifest, after: Manifest) -> bool:
    """Whether the delta of ``after`` leads from ``before``."""
    return (after.predecessor, after.public_key) == (before.digest, before.public_key)


def _confirmed(item: Usable, at: float) -> Usable:
    return Usable(manifest=item.manifest, snapshot=item.snapshot, confirmed_at=at)

"""Announcing: a manifest goes to the gateway, and is published once its receipt is here."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from fairlead import signing
from fairlead.envelope.manifest import DOMAIN, Manifest, check_accepted, read_manifest
from fairlead.errors import FairleadError, Forged, Stale, Unreachable
from fairlead.keyring import KeyRing
from fairlead.receipts import CheckpointFork
from fairlead.telemetry import Event, get_logger
from fairlead.v1 import audit_pb2, blind_pb2, gateway_pb2
from node.heads import HeadKeeper
from node.publication.publisher import Publisher
from node.publication.shelf import Published, put_adopted, put_announced

EVERY_S = 5.0
"""Seconds between two looks at what waits."""
MAX_PAUSE_S = 60.0
SUBJECT = "publication"
Announce = Callable[
    [gateway_pb2.PublishManifestRequest], Awaitable[gateway_pb2.PublishManifestResponse]
]
"""Brings a manifest to the gateway; raises a FairleadError."""


@dataclass(slots=True, kw_only=True)
class Announcer:
    """Brings what was published to the gateway, until its receipts are here.

    :param keys: this node's keys: it adopts nothing that none of them signed.
    :param publish_again: begins a publication; called when a line was adopted.
    """

    publisher: Publisher
    keys: KeyRing
    heads: HeadKeeper
    announce: Announce
    publish_again: Callable[[], Awaitable[object]]
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _told: set[tuple[bytes, str]] = field(default_factory=set)

    def wake(self) -> None:
        """Something was published."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled; what the gateway does not take is tried again, less and less often."""
        pause = EVERY_S
        while True:
            self._wake.clear()
            try:
                good = await self.look()
            except FairleadError as error:
                get_logger().error(Event.BLIND_NOT_ANNOUNCED, error=error)
                good = False
            pause = EVERY_S if good else min(2 * pause, MAX_PAUSE_S)
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def look(self) -> bool:
        """Announce everything that waits; whether all of it was taken.

        1. In the order of serials; what one line meets keeps no other line back.
        2. The receipt proves the gateway's leaf of exactly this manifest; receipt and leaf are
           durable together.
        3. Where the gateway has a later or another one of the line, this node was restored: it
           goes on behind that one, which it signed itself, and publishes again. It does not where
           the gateway has taken, or shown, what that one contradicts, nor for what was withdrawn
           meanwhile.

        :raises LogUnavailable: nothing can be recorded.
        """
        good, adopted = True, False
        for item in self.publisher.shelf.unannounced(self.publisher.owner.clock()):
            try:
                adopted |= await self._announced(item)
            except FairleadError as error:
                good = False
                await self._failed(item, error)
                if isinstance(error, Unreachable) or error.code == "POLICY_SERIAL":
                    break  # every other one would meet the same
        if adopted:
            await self.publish_again()
        return good

    async def _announced(self, item: Published) -> bool:
        """Announce one; whether another one of its line was adopted instead."""
        size = self.heads.size
        request = gateway_pb2.PublishManifestRequest(manifest=item.signed, head_size=size)
        response = await self.announce(request)
        # 2
        if response.HasField("receipt"):
            await self._taken(item, response.receipt, size)
            return False
        # 3
        if response.HasField("newest"):
            return await self._adopt(item, response.newest)
        raise Forged("the gateway took nothing and said nothing", reasons=("MANIFEST_RECEIPT",))

    async def _taken(self, item: Published, receipt: audit_pb2.Receipt, asked_from: int) -> None:
        manifest, owner = item.manifest, self.publisher.owner
        self.heads.accept(receipt, asked_from=asked_from)
        check_accepted(receipt.leaf, manifest)
        mark = put_announced(item, receipt.SerializeToString())
        persist = self.heads.persist()
        leaf = owner.leaves.publication(
            "manifest-announced",
            partner_id=manifest.owner,
            scheme=manifest.scheme,
            manifest_digest=manifest.digest,
        )

        def put(connection: sqlite3.Connection) -> None:
            mark(connection)
            persist(connection)

        await owner.log.append(leaf, also=put)
        get_logger().info(Event.BLIND_ANNOUNCED, epoch=manifest.epoch)

    async def _adopt(self, item: Published, newest: blind_pb2.SignedBlindManifest) -> bool:
        found = self._own(newest, item.manifest)
        shelf, owner = self.publisher.shelf, self.publisher.owner
        async with self.publisher.busy:
            held = shelf.newest(item.line)
            if held is None or held.withdrawn:
                return False
            if self._known(item.line, found):
                raise Stale(
                    "the gateway has not taken a manifest",
                    reasons=("MANIFEST_CHAIN",),
                    remedy="if this goes on, tell the gateway's operator",
                )
            if self._contradicts(item.line, found):
                raise Forged(
                    "the gateway contradicts what it has taken",
                    reasons=("MANIFEST_FORK",),
                    remedy="tell the operators: the gateway has lost or hidden what it receipted",
                )
            adopted = Published(signed=newest, manifest=found, terms=0, accepted=held.accepted)
            leaf = owner.leaves.owner("blind-adopted", schemes=[found.scheme], digest=found.digest)
            self.publisher.folder.forget(found.epoch)
            await owner.log.append(leaf, also=put_adopted(adopted))
        return True

    def _own(self, newest: blind_pb2.SignedBlindManifest, offered: Manifest) -> Manifest:
        """What the gateway holds of the line, if a key of this node signed it.

        :raises Forged: it did not, or it is of another line.
        """
        for public in self.keys.signing_keys():
            try:
                signing.verify(public, DOMAIN, newest.manifest, newest.signature)
            except Forged:
                continue
            found = read_manifest(newest)
            if found.line == offered.line and found.owner == offered.owner:
                return found
            break
        raise Forged(
            "the gateway shows a manifest that this node never signed",
            reasons=("MANIFEST_OWNER",),
            remedy="tell the gateway's operator",
        )

    def _known(self, line: bytes, found: Manifest) -> bool:
        return any(m.digest == found.digest for m, _ in self.publisher.shelf.of_line(line))

    def _contradicts(self, line: bytes, found: Manifest) -> bool:
        return any(
            announced and m.serial >= found.serial
            for m, announced in self.publisher.shelf.of_line(line)
        )

    async def _failed(self, item: Published, error: FairleadError) -> None:
        """Say it once for each manifest and code; what shows a gateway that cheats is an alarm."""
        get_logger().warning(Event.BLIND_NOT_ANNOUNCED, error=error)
        told = (item.manifest.digest, error.code)
        if told in self._told or not isinstance(error, (Forged, CheckpointFork)):
            return
        self._told.add(told)
        leaves = self.publisher.owner.leaves
        checkpoints = error.checkpoints if isinstance(error, CheckpointFork) else ()
        leaf = leaves.alarm(error.reasons, subject=SUBJECT, checkpoints=checkpoints)
        await self.publisher.owner.log.append(leaf)

"""Listing what the gateway says is meant for this node, believed with signature and receipt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from fairlead import signing
from fairlead.envelope.manifest import (
    Manifest,
    check_accepted,
    follows,
    read_manifest,
    verify_manifest,
)
from fairlead.errors import FairleadError, Forged, Unreachable
from fairlead.partners import Directories
from fairlead.receipts import CheckpointFork
from fairlead.v1 import audit_pb2, blind_pb2, gateway_pb2
from node.heads import HeadKeeper

MAX_PAGES = 4_096
MAX_WAITING = 4_096
"""Lines and epochs that wait to be fetched; more are listed again later."""
MAX_QUEUE = 4
MAX_REFUSED = 64
"""Manifests refused in one look; a list of more is none, and fills no log."""
AGAIN_S, MAX_AGAIN_S = 30.0, 900.0
"""Seconds until what was refused is listed again, twice as many each time."""

Key = tuple[bytes, int]
"""A line and an epoch: one snapshot is held for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A verified manifest, and the receipt for it."""

    signed: blind_pb2.SignedBlindManifest
    manifest: Manifest
    receipt: audit_pb2.Receipt


@dataclass(slots=True)
class Queue:
    """Those of one line and epoch, oldest first; when fetching is tried next, and how often it
    was in vain."""

    queue: list[Waiting] = field(default_factory=list)
    next_at: float = 0.0
    attempts: int = 0


@dataclass(slots=True, kw_only=True)
class Listed:
    """Asks the gateway again and again, and keeps what waits to be fetched.

    :param newest: the last manifest of a line that is held or waits.
    :param refuse: writes a refusal down: the error, the owner's partner id, the manifest's digest.
    """

    partner_id: str
    directory: Directories
    heads: HeadKeeper
    clock: Callable[[], float]
    ask: Callable[[gateway_pb2.ListManifestsRequest], Awaitable[gateway_pb2.ListManifestsResponse]]
    newest: Callable[[bytes], Manifest | None]
    refuse: Callable[[FairleadError, str, bytes], Awaitable[None]]
    waiting: dict[Key, Queue] = field(default_factory=dict)
    refused: set[bytes] = field(default_factory=set)
    """Lines of which something was refused since everything was listed last."""
    other_version: set[tuple[str, str]] = field(default_factory=set)
    """Owner and scheme of what has other canonical forms."""
    _after: int = 0
    _bad: int = 0
    _again_at: float = 0.0
    _again_s: float = AGAIN_S

    async def look(self) -> float:
        """List what is new; unix seconds at which the gateway had nothing more.

        :raises FairleadError: the gateway is silent, or its log does not verify.
        """
        if self._again_at and self.clock() >= self._again_at:
            self._after, self._again_at = 0, 0.0
            self._again_s = min(2 * self._again_s, MAX_AGAIN_S)
            self.refused.clear()
            self.other_version.clear()
        self._bad = 0
        for _ in range(MAX_PAGES):
            now, size = self.clock(), self.heads.size
            request = gateway_pb2.ListManifestsRequest(after=self._after, head_size=size)
            response = await self.ask(request)
            await self._page(response, size, now)
            if not response.more:
                if not self._again_at:
                    self._again_s = AGAIN_S
                return now
            if not response.manifests:
                break
        raise Unreachable("the gateway's list has no end", reasons=("LIST_ENDLESS",))

    async def _page(
        self, response: gateway_pb2.ListManifestsResponse, size: int, now: float
    ) -> None:
        for item in response.manifests:
            if item.position <= self._after:
                raise Forged("a list is not in order", reasons=("LIST_ORDER",))
            try:
                self._consider(item, size, now)
            except CheckpointFork:
                raise
            except FairleadError as error:
                self._bad += 1
                await self._refused(item.manifest, error)
            self._after = item.position
            if self._bad >= MAX_REFUSED:
                raise Forged("a list holds nothing usable", reasons=("LIST_UNUSABLE",))

    def _consider(self, item: gateway_pb2.PublishedManifest, size: int, now: float) -> None:
        """Believe one listed manifest, or not.

        1. It is not known, and not older than what is known of its line.
        2. It verifies as its reader verifies it, after the one before it where that is known.
        3. It contradicts nothing known of its line.
        4. The gateway's receipt proves the leaf of exactly this manifest.

        :raises FairleadError: refused.
        """
        # 1
        claimed = read_manifest(item.manifest)
        known = self.newest(claimed.line)
        if known is not None and (claimed.serial < known.serial or claimed.digest == known.digest):
            return
        # 2
        direct = known is not None and claimed.serial == known.serial + 1
        manifest = verify_manifest(
            item.manifest,
            directory=self.directory.current,
            partner_id=self.partner_id,
            now=now,
            previous=known if direct else None,
        )
        # 3
        if known is not None and not follows(manifest, known):
            fork = manifest.serial == known.serial
            raise Forged(
                "a manifest contradicts another one of its line",
                reasons=("MANIFEST_FORK" if fork else "MANIFEST_CHAIN",),
                remedy="keep both, and tell the owner's contact desk",
            )
        # 4
        if not item.HasField("receipt"):
            raise Forged("a manifest has no receipt", reasons=("MANIFEST_RECEIPT",))
        self.heads.accept(item.receipt, asked_from=size)
        check_accepted(item.receipt.leaf, manifest)
        self._wait(item, manifest)

    def _wait(self, item: gateway_pb2.PublishedManifest, manifest: Manifest) -> None:
        key = manifest.line, manifest.epoch
        if key not in self.waiting and len(self.waiting) >= MAX_WAITING:
            self._later(manifest.line)
            return
        queue = self.waiting.setdefault(key, Queue())
        queue.queue.append(Waiting(signed=item.manifest, manifest=manifest, receipt=item.receipt))
        del queue.queue[:-MAX_QUEUE]

    async def _refused(self, signed: blind_pb2.SignedBlindManifest, error: FairleadError) -> None:
        """It is on record, its line is not confirmed, and it is listed again later."""
        owner, line = "", b""
        try:
            claimed = read_manifest(signed)
            owner, line = claimed.owner, claimed.line
            owner = owner if owner in self.directory.current.partners else ""
            if owner and "NORM_VERSION" in error.reasons:
                self.other_version.add((owner, claimed.scheme))
        except FairleadError:
            pass  # nobody can say whose it is
        self._later(line)
        await self.refuse(error, owner, signing.digest(signed.manifest))

    def _later(self, line: bytes) -> None:
        self.refused.add(line)
        self._again_at = self._again_at or self.clock() + self._again_s

    def taken(self, key: Key, manifest: Manifest) -> bool:
        """One was taken over: it and what it supersedes wait no more; whether later ones do."""
        queue = self.waiting.get(key)
        if queue is None:
            return False
        queue.queue = [item for item in queue.queue if item.manifest.serial > manifest.serial]
        queue.attempts, queue.next_at = 0, 0.0
        if not queue.queue:
            del self.waiting[key]
        return bool(queue.queue)

    def drop_over(self, now: float) -> None:
        """What answers no more need not be fetched."""
        for key, queue in list(self.waiting.items()):
            if queue.queue[-1].manifest.answers_until <= now:
                del self.waiting[key]

    def of_line(self, line: bytes) -> list[Manifest]:
        """What waits of a line."""
        return [
            item.manifest
            for (name, _), queue in self.waiting.items()
            if name == line
            for item in queue.queue
        ]

"""Publications on their way: manifests are taken, listed and proved; pieces are passed on unread.

The gateway keeps manifests and nothing else of a publication. What it took is a leaf, and readers
accept no manifest without its receipt, so nobody is shown another one in secret.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from fairlead.auditlog import AuditLog
from fairlead.certificates import Identity
from fairlead.envelope.manifest import ACCEPTED, Manifest, follows, verify_as_stranger
from fairlead.envelope.piece import check_piece
from fairlead.errors import (
    Conflict,
    FairleadError,
    Forged,
    NotFound,
    Overloaded,
    Refused,
    Stale,
    Unreachable,
)
from fairlead.leaves import LeafWriter
from fairlead.partners import DenyLists, Directories
from fairlead.v1 import blind_pb2, gateway_pb2, owner_pb2, query_pb2
from gateway.manifests import Kept, ManifestShelf, Overtaken, put_manifest, put_relayed
from gateway.members import LegFailed, Transport

PER_EPOCH = 2_048
"""Manifests of one owner and epoch that are kept at a time."""
PER_OWNER = 8_192
"""Manifests of one owner that answer at a time; beside them :data:`gateway.manifests.FORMER`."""
PER_HOUR = 8_192
"""Manifests one owner may bring in an hour, to each gateway."""
PAGE = 64
PAGE_OCTETS = 1 << 20
"""A page of a list ends with the manifest that reaches either; one manifest always fits."""
PER_READER = 4
IN_FLIGHT = 32
"""Pieces on their way to one reader, and to all, of 1 MiB each."""
SUBJECT = "GatewayService.PublishManifest"
FETCH = "GatewayService.FetchPublication"


class Publications:
    """Takes manifests from their owners' nodes, and brings their readers what they describe.

    :param deadline_s: seconds an owner has for a piece.
    """

    def __init__(
        self,
        *,
        log: AuditLog,
        leaves: LeafWriter,
        directory: Directories,
        deny_lists: DenyLists,
        transport: Transport,
        clock: Callable[[], float],
        policy_serial: Callable[[], int],
        deadline_s: float,
    ) -> None:
        self._log = log
        self._leaves = leaves
        self._directory = directory
        self._deny_lists = deny_lists
        self._transport = transport
        self._clock = clock
        self._policy_serial = policy_serial
        self._deadline_s = deadline_s
        self._shelf = ManifestShelf(log)
        self._taking = asyncio.Lock()
        self._relaying = asyncio.Lock()
        self._brought: Counter[tuple[str, int]] = Counter()
        self._flying: Counter[str] = Counter()

    # ── Taking ───────────────────────────────────────────────────────────────────────────────

    async def publish(
        self, request: gateway_pb2.PublishManifestRequest, peer: Identity
    ) -> gateway_pb2.PublishManifestResponse:
        """Take an owner's manifest.

        1. Its owner signed it; it is well formed, and its epoch has begun.
        2. The node that brings it is the one it names.
        3. Its class is of the policy in force here.
        4. The same octets again have the leaf they had.
        5. There is no other one of its node, class, epoch, scheme and serial: that is a fork, and
           evidence. It follows the newest of its line; else its owner is told that one.
        6. Its owner keeps within its limits.
        7. A leaf, in one transaction with the manifest; then its receipt.

        :raises FairleadError: refused, with the refusal on the record.
        """
        try:
            # 1
            manifest = verify_as_stranger(
                request.manifest, directory=self._directory.current, now=self._clock()
            )
            # 2
            named = f"spiffe://{manifest.federation}/{manifest.node}"
            if peer.partner_id != manifest.owner or peer.spiffe_id != named:
                raise Forged("a manifest is brought by another node", reasons=("WRONG_PEER",))
            # 3
            self._check_policy(manifest)
            async with self._taking:
                return await self._taken(request, manifest, peer)
        except FairleadError as error:
            await self._refuse(error, SUBJECT, peer)
            raise

    def _check_policy(self, manifest: Manifest) -> None:
        if manifest.audience.policy_serial != self._policy_serial():
            raise Stale(
                "a manifest's class is of another policy than this gateway's",
                reasons=("POLICY_SERIAL",),
                remedy="wait: the node publishes again once it has the gateway's policy",
            )

    async def _taken(
        self, request: gateway_pb2.PublishManifestRequest, manifest: Manifest, peer: Identity
    ) -> gateway_pb2.PublishManifestResponse:
        while True:
            newest = self._shelf.newest(manifest.line)  # first: what is taken meanwhile is found
            # 4
            known = self._shelf.of_digest(manifest.digest)
            if known is not None:
                break
            # 5
            if newest is not None and not follows(manifest, newest.manifest):
                await self._not_following(manifest, peer)
                return gateway_pb2.PublishManifestResponse(newest=newest.signed)
            # 6
            self._check_limits(manifest)
            # 7
            with suppress(Overtaken):
                after = newest.manifest.digest if newest else b""
                known = await self._keep(request.manifest, manifest, after=after)
                break
        await self._log.follow()
        size = min(request.head_size, self._log.head.size)
        receipt = self._log.receipt(self._shelf.leaf_of(known), size)
        return gateway_pb2.PublishManifestResponse(receipt=receipt)

    async def _not_following(self, manifest: Manifest, peer: Identity) -> None:
        """What does not follow is refused on the record; what contradicts is an alarm too."""
        if self._shelf.is_fork(manifest):
            error: FairleadError = Conflict(
                "there is another manifest of this serial", reasons=("MANIFEST_FORK",)
            )
            alarm = self._leaves.alarm(error.reasons, subject="publication", user=peer.spiffe_id)
            await self._log.append(alarm)
        else:
            error = Stale("a manifest does not follow its line", reasons=("MANIFEST_CHAIN",))
        await self._refuse(error, SUBJECT, peer)

    def _check_limits(self, manifest: Manifest) -> None:
        now = self._clock()
        hour = int(now // 3_600)
        of_owner, of_epoch = self._shelf.count(manifest.owner, manifest.epoch, now)
        brought = self._brought[manifest.owner, hour]
        if of_owner >= PER_OWNER or of_epoch >= PER_EPOCH or brought >= PER_HOUR:
            raise Overloaded(
                "an owner publishes too much",
                reasons=("MANIFEST_LIMIT",),
                remedy="publish for fewer classes or schemes: fairlead-node blind status",
            )

    async def _keep(
        self, signed: blind_pb2.SignedBlindManifest, manifest: Manifest, *, after: bytes
    ) -> Kept:
        """:raises Overtaken: the line has another newest one by now."""
        hour = int(self._clock() // 3_600)
        leaf = self._leaves.publication(
            ACCEPTED,
            partner_id=manifest.owner,
            scheme=manifest.scheme,
            manifest_digest=manifest.digest,
        )
        members = self._directory.current.partners
        put = put_manifest(
            signed,
            manifest,
            readers=[partner for partner in manifest.audience.partners if partner in members],
            leaf=leaf,
            leaf_from=self._log.head.size,
            now=self._clock(),
            after=after,
        )
        await self._log.append(leaf, also=put)
        self._brought = Counter({k: n for k, n in self._brought.items() if k[1] == hour})
        self._brought[manifest.owner, hour] += 1
        known = self._shelf.of_digest(manifest.digest)
        if known is None:
            raise NotFound("a manifest is not there", reasons=("UNKNOWN_PUBLICATION",))
        return known

    # ── Listing ──────────────────────────────────────────────────────────────────────────────

    async def listed(
        self, request: gateway_pb2.ListManifestsRequest, peer: Identity
    ) -> gateway_pb2.ListManifestsResponse:
        """The manifests for the caller's partner that still answer, oldest first, each proved."""
        after = min(request.after, 2**63 - 1)
        rows = self._shelf.readable(
            peer.partner_id or "", after=after, now=self._clock(), limit=PAGE + 1
        )
        await self._log.follow()  # another gateway of the same log may have taken them
        known = min(request.head_size, self._log.head.size)
        response, octets = gateway_pb2.ListManifestsResponse(), 0
        for row in rows[:PAGE]:
            octets += len(row.signed.manifest)
            if response.manifests and octets > PAGE_OCTETS:
                break
            response.manifests.add(
                position=row.position,
                manifest=row.signed,
                receipt=self._log.receipt(self._shelf.leaf_of(row), known),
            )
        response.more = len(response.manifests) < len(rows)
        return response

    # ── Passing on ───────────────────────────────────────────────────────────────────────────

    async def fetch(
        self, request: gateway_pb2.FetchPublicationRequest, peer: Identity
    ) -> gateway_pb2.FetchPublicationResponse:
        """Pass one piece on from its owner to a reader.

        1. It is a piece of a manifest that was taken here, still answers, and is of that owner.
        2. The caller's partner is in its class.
        3. Neither too many pieces for this reader are on their way, nor for all.
        4. Its owner's node is not suspended.
        5. The first piece of a manifest for a reader is a leaf.
        6. The owner seals it to the caller's partner, whoever asks; it is passed on unread.

        :raises FairleadError: refused, with the refusal on the record; or the owner is silent.
        """
        reader = peer.partner_id or ""
        try:
            # 1
            check_piece(request.piece)
            kept = self._shelf.of_digest(request.piece.manifest)
            if (
                kept is None
                or kept.manifest.owner != request.owner
                or (kept.manifest.answers_until <= self._clock())
            ):
                raise NotFound("there is no such publication", reasons=("UNKNOWN_PUBLICATION",))
            # 2
            if reader not in kept.manifest.audience.partners:
                raise Refused("a publication is for others", reasons=("NOT_IN_AUDIENCE",))
            # 3
            if self._flying[reader] >= PER_READER or self._flying.total() >= IN_FLIGHT:
                raise Overloaded(
                    "too many pieces are on their way", reasons=("PIECES_IN_FLIGHT",),
                    remedy="fetch one after the other",
                )  # fmt: skip
            # 4
            self._check_owner(kept.manifest)
        except FairleadError as error:
            await self._refuse(error, FETCH, peer)
            raise
        self._flying[reader] += 1
        try:
            # 5
            await self._note(kept, reader)
            # 6
            return await self._passed_on(request, reader)
        finally:
            self._flying[reader] -= 1
            if not self._flying[reader]:
                del self._flying[reader]

    def _check_owner(self, manifest: Manifest) -> None:
        try:
            node = self._directory.current.partner(manifest.owner).nodes[0].spiffe_id
            self._deny_lists.check(node, self._clock())
        except FairleadError:
            raise Refused(
                "the owner is suspended, or no member any more",
                reasons=("SUSPENDED",),
                remedy="ask the operators: what it published is not delivered until they let it",
            ) from None

    async def _note(self, kept: Kept, reader: str) -> None:
        async with self._relaying:
            if self._shelf.was_relayed(kept.position, reader):
                return
            leaf = self._leaves.publication(
                "relayed",
                partner_id=reader,
                scheme=kept.manifest.scheme,
                manifest_digest=kept.manifest.digest,
            )
            with suppress(Overtaken):
                await self._log.append(leaf, also=put_relayed(kept.position, reader))

    async def _passed_on(
        self, request: gateway_pb2.FetchPublicationRequest, reader: str
    ) -> gateway_pb2.FetchPublicationResponse:
        asked = owner_pb2.DeliverRequest(reader=reader, piece=request.piece)
        try:
            found = await self._transport.deliver(request.owner, asked, timeout_s=self._deadline_s)
        except LegFailed as failure:
            raise _silent(failure) from None
        return gateway_pb2.FetchPublicationResponse(piece=found.piece)

    async def _refuse(self, error: FairleadError, subject: str, peer: Identity) -> None:
        leaf = self._leaves.refusal(
            error, subject=subject, partner_id=peer.partner_id or "", user=peer.spiffe_id
        )
        await self._log.append(leaf)


def _silent(failure: LegFailed) -> FairleadError:
    """What an owner that delivered nothing means to who asked."""
    if failure.status == query_pb2.STATUS_INVALID:
        return Refused("the owner delivered nothing", reasons=(failure.reason,))
    return Unreachable(
        "the owner delivered nothing", reasons=(failure.reason,), remedy="it is tried again later"
    )

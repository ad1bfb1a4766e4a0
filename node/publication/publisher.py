"""Publishing: what may be, is built, signed and written down; what shrank is held back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fairlead import signing
from fairlead.blinding import EpochSeed, PrivateKey, epoch_key
from fairlead.config import NodeConfig
from fairlead.delta import write_delta
from fairlead.envelope.manifest import DOMAIN, Manifest, sign_manifest
from fairlead.errors import Forged, Misconfigured, Stale
from fairlead.identifiers import NORM_VERSION
from fairlead.keyring import KeyRing
from fairlead.partners import Partner
from fairlead.policy.recorded import Recorder
from fairlead.telemetry import Event, get_logger
from node.decoys import DecoyBook
from node.exposure.matrix import Exposure
from node.owner import EXPOSURE_REMEDY, Owner
from node.publication.build import Built
from node.publication.child import order
from node.publication.classes import AudienceClass, classes_of
from node.publication.decision import PublicationPoint
from node.publication.epochs import Epochs
from node.publication.folder import Folder
from node.publication.kind import Kind
from node.publication.outcome import Line, row_of
from node.publication.process import Watch, obeyed, silent
from node.publication.seeds import SeedFile
from node.publication.shelf import (
    Held,
    Published,
    Shelf,
    line_of,
    put_held,
    put_published,
    put_released,
    put_withdrawn,
)
from node.publication.target import Target
from node.sources.incident import shrank

COUNT_SHRANK = "COUNT_SHRANK"
SUBJECT = "blind"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What a publication is made of, fixed at its beginning."""

    now: float
    seed: EpochSeed
    until: int
    owner: Partner
    classes: tuple[AudienceClass, ...]
    exposure: Exposure
    accepted: bytes

    @property
    def snapshots(self) -> list[tuple[AudienceClass, str]]:
        """Every class and scheme, in order."""
        return [(audience, scheme) for audience in self.classes for scheme in audience.schemes]


@dataclass(slots=True, kw_only=True)
class Publisher:
    """The owner's publications, one at a time.

    :param node: tells this node's name, ``partner/<id>/node/<name>``.
    :param root: the root of the index as it is now; raises what an unreadable index raises.
    :param recorder: takes down what is decided for a publication.
    """

    config: NodeConfig
    node: Callable[[], str]
    keys: KeyRing
    owner: Owner
    root: Callable[[], bytes]
    epochs: Epochs
    seeds: SeedFile
    shelf: Shelf
    folder: Folder
    decoys: DecoyBook
    recorder: Recorder | None = None
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def publish(self, *, accept_shrunk: bool = False, watch: Watch = silent) -> list[Line]:
        """Publish what has changed; nothing when nothing has.

        1. The seeds are moved to now. 2. The classes are those of what policy permits and somebody
        accepted; what is published for another is withdrawn. 3. Where nothing changed since,
        nothing is read. 4. Each kind of record that the index holds is decided. 5. Snapshots are
        built and durable. 6. Policy and acceptance are still those; a snapshot that lost more than
        a fifth of its terms is an alarm, and held back unless somebody accepted another exposure
        since; a changed one's manifest is durable together with its leaf. 7. Files that nobody
        needs any more go.

        :param accept_shrunk: snapshots may have lost as many terms as they have.
        :raises Misconfigured: ``EXPOSURE_NOT_ACCEPTED``, ``CLOCK_BACKWARDS`` …
        :raises PolicyUnavailable: no decision. :raises SourceUnusable: the index is damaged.
        :raises Stale: ``EXPOSURE_CHANGED``.
        """
        async with self.busy:
            # 1 and 2
            plan = await self._plan()
            await self._withdraw(plan)
            # 3
            inputs = self._inputs(plan, self.root())
            if not accept_shrunk and self._is_current(plan, inputs):
                return self._unchanged(plan)
            # 4
            surveyed, kinds = await self._survey(plan, watch)
            targets = await self._targets(plan, kinds)
            # 5
            root, built = await self._build(plan, targets, watch)
            # 6
            self._check_same(plan)
            lines = [
                await self._settle(plan, audience, scheme, made, accept_shrunk)
                for (audience, scheme), made in zip(plan.snapshots, built, strict=True)
            ]
            # 7
            if root == surveyed and all(line.state != "held" for line in lines):
                self.folder.complete(plan.seed.epoch, self._inputs(plan, root))
            self._tidy(plan.now)
            return lines

    def turn(self) -> None:
        """Move the seeds to now, and take away what is over; a node that never published has none.

        :raises Misconfigured: as :meth:`SeedFile.current`.
        """
        now = self.owner.clock()
        self.seeds.turn(now)
        self._tidy(now)

    def _tidy(self, now: float) -> None:
        delivering = [item.manifest for item in self.shelf.delivering(now)]
        self.folder.tidy(delivering, self.epochs, now)

    def published(self, audience: bytes, epoch: int, scheme: str) -> Published:
        """What answers for a class, by its name, in an epoch and scheme.

        :raises Stale: ``EPOCH_OVER``: nothing does now: over, withdrawn, or never published.
            ``CLASS_OVER``: the policy in force is another, and nothing was published since.
        """
        for item in self.shelf.answering(self.owner.clock()):
            found = item.manifest
            if (found.audience.name, found.epoch, found.scheme) == (audience, epoch, scheme):
                if found.audience.policy_serial != self.owner.policy().serial:
                    raise Stale("a class is of an earlier policy", reasons=("CLASS_OVER",))
                return item
        raise _over()

    def key_of(self, manifest: Manifest) -> PrivateKey:
        """The key that answers for a manifest of :meth:`published`.

        :raises Stale: ``EPOCH_OVER``, its seed is erased, or was drawn anew since.
        """
        now = self.owner.clock()
        if not manifest.begins_at <= now < manifest.answers_until:
            raise _over()
        seed = self.seeds.of(manifest.epoch, now)
        key = self._key(seed, manifest.audience.name, manifest.scheme)
        if key.public != manifest.public_key:
            raise _over()
        return key

    # ── Steps ────────────────────────────────────────────────────────────────────────────────

    async def _plan(self) -> _Plan:
        now = self.owner.clock()
        acceptance = self.owner.gate.acceptance
        if acceptance is None:
            raise Misconfigured(
                "nobody has accepted what this node could release, so nothing is published",
                reasons=("EXPOSURE_NOT_ACCEPTED",),
                remedy=EXPOSURE_REMEDY,
            )
        exposure = await self.owner.measured()
        seed = self.seeds.current(now)
        return _Plan(
            now=now,
            seed=seed,
            until=self.epochs.answers_until(seed.epoch),
            owner=self.owner.directory().partner(self.owner.partner_id),
            classes=classes_of(exposure, acceptance),
            exposure=exposure,
            accepted=bytes.fromhex(acceptance.digest),
        )

    async def _withdraw(self, plan: _Plan) -> None:
        """What is published for a class that is none any more answers nobody."""
        wanted = {line_of(a.audience, scheme) for a, scheme in plan.snapshots}
        for item in self.shelf.answering(plan.now):
            line = line_of(item.manifest.audience, item.manifest.scheme)
            if line not in wanted:
                wanted.add(line)
                leaf = self.owner.leaves.owner(
                    "blind-withdrawn", schemes=[item.manifest.scheme], digest=item.manifest.digest
                )
                await self.owner.log.append(leaf, also=put_withdrawn(line))

    def _check_same(self, plan: _Plan) -> None:
        """What was decided under another policy or acceptance is not signed under this one."""
        acceptance = self.owner.gate.acceptance
        accepted = bytes.fromhex(acceptance.digest) if acceptance else b""
        now = (self.owner.policy().serial, accepted)
        if now != (plan.exposure.policy_serial, plan.accepted):
            raise Stale(
                "policy or acceptance changed while it was published",
                reasons=("EXPOSURE_CHANGED",),
                remedy="publish again: what was computed is kept",
            )

    async def _survey(self, plan: _Plan, watch: Watch) -> tuple[bytes, dict[str, list[Kind]]]:
        found = await obeyed(
            order(self.config, until=plan.until), watch, state_dir=self.config.state_dir
        )
        kinds: dict[str, list[Kind]] = {}
        for scheme, document in found["kinds"]:
            kinds.setdefault(scheme, []).append(Kind.from_document(document))
        return bytes.fromhex(found["root"]), kinds

    async def _targets(self, plan: _Plan, kinds: dict[str, list[Kind]]) -> list[Target]:
        point = PublicationPoint(
            owner=plan.owner,
            directory=self.owner.directory(),
            policy=self.owner.policy().recorded_by(self.recorder),
            gate=self.owner.gate,
        )
        return [
            Target(
                audience=audience.audience.name,
                epoch=plan.seed.epoch,
                scheme=scheme,
                scalar=self._key(plan.seed, audience.audience.name, scheme).scalar,
                desk=1 if plan.owner.contact_desk else 0,
                told=await point.decide(
                    audience, scheme, kinds.get(scheme, ()), now=plan.now, until=plan.until
                ),
            )
            for audience, scheme in plan.snapshots
        ]

    async def _build(
        self, plan: _Plan, targets: Sequence[Target], watch: Watch
    ) -> tuple[bytes, list[Built]]:
        documents = [target.to_document() for target in targets]
        ordered = order(
            self.config, until=plan.until, epoch=plan.seed.epoch, targets=documents,
            decoys=self.decoys.to_documents(),
        )  # fmt: skip
        found = await obeyed(ordered, watch, state_dir=self.config.state_dir)
        built = [
            Built(
                terms=b["terms"],
                entries=b["entries"],
                digest=bytes.fromhex(b["digest"]),
                pages_root=bytes.fromhex(b["pages_root"]),
            )
            for b in found["built"]
        ]
        return bytes.fromhex(found["root"]), built

    async def _settle(
        self, plan: _Plan, audience: AudienceClass, scheme: str, built: Built, accept_shrunk: bool
    ) -> Line:
        line = line_of(audience.audience, scheme)
        before, held = self.shelf.newest(line), self.shelf.held(line)
        manifest = self._manifest(plan, audience, scheme, built, before)
        if before is not None and self._stands(plan, before, manifest):
            if held is not None:
                leaf = self.owner.leaves.owner("blind-recovered", schemes=[scheme])
                await self.owner.log.append(leaf, also=put_released(line))
            return Line.of(audience, "unchanged", before.manifest, before.terms)
        if before is not None and not accept_shrunk and shrank(before.terms, built.terms):
            await self._hold(line, held, built)
            if before.accepted == plan.accepted:
                return Line.of(audience, "held", before.manifest, built.terms)
        await self._delta(before, manifest)
        signed, digest = sign_manifest(manifest, self.keys.signing(plan.owner.signing_key))
        item = Published(
            signed=signed, manifest=manifest, terms=built.terms, accepted=plan.accepted
        )
        leaf = self.owner.leaves.owner("blind-published", schemes=[scheme], digest=digest)
        await self.owner.log.append(leaf, also=put_published(line, item))
        get_logger().info(Event.BLIND_PUBLISHED, epoch=manifest.epoch, size=manifest.entry_count)
        return Line.of(audience, "published", manifest, built.terms)

    def _stands(self, plan: _Plan, before: Published, manifest: Manifest) -> bool:
        """Whether the one before says the same, under the key that readers know now."""
        if before.withdrawn or not _same(before.manifest, manifest):
            return False
        octets, signature = before.signed.manifest, before.signed.signature
        try:
            signing.verify(plan.owner.signing_key, DOMAIN, octets, signature)
        except Forged:
            return False
        return True

    async def _delta(self, before: Published | None, manifest: Manifest) -> None:
        """Beside a snapshot, what leads to it from the one before it of the same key."""
        if before is None or before.manifest.public_key != manifest.public_key:
            return
        old = self.folder.snapshot(before.manifest)
        if old.exists():
            new, path = self.folder.snapshot(manifest), self.folder.delta(manifest)
            await asyncio.to_thread(write_delta, path, old, new)

    async def _hold(self, line: bytes, held: Held | None, built: Built) -> None:
        """An incident that begins is an ALARM leaf; one that goes on is not another one."""
        if held is not None:
            return
        found = Held(code=COUNT_SHRANK, snapshot=built.digest, since=self.owner.clock())
        leaf = self.owner.leaves.alarm([COUNT_SHRANK], subject=SUBJECT)
        await self.owner.log.append(leaf, also=put_held(line, found))
        get_logger().error(Event.BLIND_HELD, code=COUNT_SHRANK)

    def _manifest(
        self, plan: _Plan, audience: AudienceClass, scheme: str, built: Built,
        before: Published | None,
    ) -> Manifest:  # fmt: skip
        epoch, owner = plan.seed.epoch, plan.owner
        return Manifest(
            federation=self.owner.directory().federation,
            owner=owner.partner_id,
            node=self.node(),
            audience=audience.audience,
            epoch=epoch,
            begins_at=self.epochs.begins_at(epoch),
            ends_at=self.epochs.ends_at(epoch),
            answers_until=self.epochs.answers_until(epoch),
            scheme=scheme,
            norm_version=NORM_VERSION,
            serial=before.manifest.serial + 1 if before else 1,
            predecessor=before.manifest.digest if before else b"",
            public_key=self._key(plan.seed, audience.audience.name, scheme).public,
            entry_count=built.entries,
            snapshot_digest=built.digest,
            contact_desks=(owner.contact_desk,) if owner.contact_desk else (),
            made_at=int(plan.now),
            pages_root=built.pages_root,
        )

    def _key(self, seed: EpochSeed, audience: bytes, scheme: str) -> PrivateKey:
        return epoch_key(seed, node=self.node(), audience=audience, scheme=scheme)

    # ── Whether anything changed ─────────────────────────────────────────────────────────────

    def _inputs(self, plan: _Plan, root: bytes) -> bytes:
        """A digest of all that snapshots and manifests follow from."""
        names = [a.audience.name + b"".join(s.encode() + b"," for s in a.schemes)
                 for a in plan.classes]  # fmt: skip
        keys = [self._key(plan.seed, a.audience.name, s).public for a, s in plan.snapshots[:1]]
        parts = (
            root,
            plan.until.to_bytes(8, "big"),
            NORM_VERSION.to_bytes(2, "big"),
            plan.accepted,
            bytes.fromhex(plan.exposure.digest),
            plan.owner.contact_desk.encode(),
            plan.owner.signing_key,
            self.decoys.print(),
            *keys,
            *names,
        )
        return signing.digest(b"".join(len(part).to_bytes(4, "big") + part for part in parts))

    def _is_current(self, plan: _Plan, inputs: bytes) -> bool:
        return self.folder.inputs(plan.seed.epoch) == inputs and all(
            before is not None
            and not before.withdrawn
            and before.manifest.epoch == plan.seed.epoch
            and self.folder.snapshot(before.manifest).exists()
            for before in (
                self.shelf.newest(line_of(a.audience, scheme)) for a, scheme in plan.snapshots
            )
        )

    def _unchanged(self, plan: _Plan) -> list[Line]:
        lines = []
        for audience, scheme in plan.snapshots:
            before = self.shelf.newest(line_of(audience.audience, scheme))
            if before is not None:
                lines.append(Line.of(audience, "unchanged", before.manifest, before.terms))
        return lines

    def report(self) -> list[dict[str, Any]]:
        """Every manifest whose key answers now, for who looks at the node."""
        rows = []
        for item in self.shelf.answering(self.owner.clock()):
            manifest = item.manifest
            held = self.shelf.held(line_of(manifest.audience, manifest.scheme))
            state = held.code if held else "published"
            rows.append(row_of(manifest, state, item.terms))
        return sorted(rows, key=lambda row: (row["partners"], row["scheme"], row["epoch"]))


def _same(before: Manifest, after: Manifest) -> bool:
    """Whether a manifest would say what the one before it says."""
    counted = {"serial", "predecessor", "made_at", "digest"}
    names = [name for name in before.__slots__ if name not in counted]
    return all(getattr(before, name) == getattr(after, name) for name in names)


def _over() -> Stale:
    return Stale(
        "no key answers for this class, epoch and scheme now",
        reasons=("EPOCH_OVER",),
        remedy="fetch the owner's current manifest, and ask under that",
    )

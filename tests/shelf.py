"""Snapshots of other nodes as files in one folder, which an asker's node opens as its own."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from fairlead.envelope.manifest import Manifest, read_manifest
from fairlead.errors import NotFound
from fairlead.snapshot import Snapshot
from fairlead.v1 import blind_pb2
from tests.federation import Federation


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A snapshot that may be looked up in, confirmed just now."""

    manifest: Manifest
    snapshot: Snapshot
    confirmed_at: float


class Shelf:
    """A library over a folder: a manifest and a snapshot of each class and scheme."""

    def __init__(self, folder: Path, partner: str) -> None:
        self._folder = folder
        self._partner = partner
        self._open: dict[Path, Held] = {}

    def usable(self, owner: str, *, purpose: str, scheme: str) -> Held:
        """The one for a purpose."""
        for held in self._of(owner):
            audience = held.manifest.audience
            if purpose in audience.purposes and held.manifest.scheme == scheme:
                return held
        raise NotFound("no snapshot is held", reasons=("NO_SNAPSHOT",))

    def of_class(self, owner: str, *, audience: bytes, epoch: int, scheme: str) -> Held:
        """The one of a class and epoch."""
        for held in self._of(owner):
            made = held.manifest
            if (made.audience.name, made.epoch, made.scheme) == (audience, epoch, scheme):
                return held
        raise NotFound("no snapshot is held", reasons=("NO_SNAPSHOT",))

    def _of(self, owner: str) -> list[Held]:
        found = []
        for path in sorted((self._folder / owner).glob("*.manifest")):
            if path not in self._open:
                signed = blind_pb2.SignedBlindManifest.FromString(path.read_bytes())
                manifest = read_manifest(signed)
                snapshot = Snapshot.open(
                    path.with_suffix(".snapshot"),
                    entries=manifest.entry_count,
                    digest=manifest.snapshot_digest,
                )
                self._open[path] = Held(
                    manifest=manifest, snapshot=snapshot, confirmed_at=time.time()
                )
            if self._partner in self._open[path].manifest.audience.partners:
                found.append(self._open[path])
        return found


async def fill(folder: Path, made: Federation, owner: str) -> None:
    """Publish what an owner holds, and put what it published into the folder."""
    publisher = made.nodes[owner].steering.publishing.publisher
    await publisher.publish()
    target = folder / owner
    target.mkdir(parents=True)
    for number, item in enumerate(publisher.shelf.answering(time.time())):
        shutil.copy(publisher.folder.snapshot(item.manifest), target / f"{number}.snapshot")
        (target / f"{number}.manifest").write_bytes(item.signed.SerializeToString())

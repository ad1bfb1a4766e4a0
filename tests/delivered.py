"""A federation whose owners have published, and whose asker holds what they published."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import node.app
from fairlead.envelope.manifest import Manifest
from fairlead.errors import NotFound
from fairlead.snapshot import Snapshot
from tests.federation import Federation


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One delivered snapshot."""

    manifest: Manifest
    snapshot: Snapshot
    confirmed_at: float


@dataclass(slots=True)
class Shelf:
    """The asker's library: the owners' own files, opened where they lie."""

    reader: str
    held: list[Held] = field(default_factory=list)

    def take(self, made: Federation, owner: str) -> None:
        """Open all that an owner has published."""
        publisher = made.nodes[owner].steering.publishing.publisher
        for item in publisher.shelf.answering(time.time()):
            m = item.manifest
            snapshot = Snapshot.open(
                publisher.folder.snapshot(m), entries=m.entry_count, digest=m.snapshot_digest
            )
            self.held.append(Held(manifest=m, snapshot=snapshot, confirmed_at=time.time()))

    def usable(self, owner: str, *, purpose: str, scheme: str) -> Held:
        """See :class:`node.blinded.Library`."""
        for item in self.held:
            audience = item.manifest.audience
            meant = self.reader in audience.partners and purpose in audience.purposes
            if meant and (item.manifest.owner, item.manifest.scheme) == (owner, scheme):
                return item
        raise NotFound("no snapshot is held", reasons=("NO_SNAPSHOT",))

    def of_class(self, owner: str, *, audience: bytes, epoch: int, scheme: str) -> Held:
        """See :class:`node.blinded.Library`."""
        wanted = (owner, audience, epoch, scheme)
        for item in self.held:
            m = item.manifest
            if (m.owner, m.audience.name, m.epoch, m.scheme) == wanted:
                return item
        raise NotFound("no snapshot is held", reasons=("NO_SNAPSHOT",))

    def close(self) -> None:
        """Close every file."""
        for item in self.held:
            item.snapshot.close()


@asynccontextmanager
async def delivered(made: Federation, asker: str, owners: Sequence[str]) -> AsyncIterator[None]:
    """Start a federation in which ``asker`` holds what ``owners`` have published."""
    shelf, honest = Shelf(asker), node.app._library
    node.app._library = lambda: shelf
    try:
        await made.start_gateway()
        for partner in made.node_configs:
            await made.start_node(partner)
        for owner in owners:
            await made.nodes[owner].steering.publishing.publisher.publish()
            shelf.take(made, owner)
        yield
    finally:
        node.app._library = honest
        await made.close()
        shelf.close()

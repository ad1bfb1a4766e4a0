"""A federation whose owners have published, and whose asker holds what they published."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fairlead.errors import FairleadError
from node.snapshots import Snapshots
from tests.federation import PURPOSE, Federation
from tests.live import until


@asynccontextmanager
async def delivered(
    made: Federation, asker: str, owners: Sequence[str], schemes: Sequence[str]
) -> AsyncIterator[None]:
    """Start a federation, and wait until ``asker`` holds what ``owners`` publish."""
    try:
        await made.start_gateway()
        for partner in made.node_configs:
            await made.start_node(partner)
        for owner in owners:
            node = made.nodes[owner]
            await node.steering.publishing.publish()
            await node.steering.publishing.ended()
            node.offering.announcer.wake()
        snapshots = made.nodes[asker].snapshots
        wanted = [(owner, scheme) for owner in owners for scheme in schemes]
        await until(lambda: all(_holds(snapshots, *pair) for pair in wanted))
        yield
    finally:
        await made.close()


def _holds(snapshots: Snapshots, owner: str, scheme: str) -> bool:
    try:
        snapshots.usable(owner, purpose=PURPOSE, scheme=scheme)
    except FairleadError:
        return False
    return True

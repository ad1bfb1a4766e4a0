"""Publication to reader over a running federation: published, announced, listed, fetched, found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fairlead.v1 import audit_pb2
from tests.blind import require_libsodium
from tests.federation import OTHER, STORY, Federation, federation
from tests.live import leaves, until
from tests.publications import OWNER, held, holds

require_libsodium()
READER, PURPOSE = "customs", "drug-trafficking"


@asynccontextmanager
async def published(folder: Path) -> AsyncIterator[Federation]:
    """Two nodes and a gateway; the owner has published once."""
    async with federation(folder, partners=(READER, OWNER), records={OWNER: [held(STORY)]}) as made:
        publishing = made.nodes[OWNER].steering.publishing
        await publishing.publish()
        await publishing.ended()
        made.nodes[OWNER].offering.announcer.wake()
        yield made


async def test_what_is_published_arrives_at_its_reader(tmp_path: Path) -> None:
    """The reader's node finds the owner's term in a snapshot that it was delivered."""
    async with published(tmp_path) as made:
        reader, owner = made.nodes[READER], made.nodes[OWNER]
        await until(lambda: holds(reader, owner, STORY))
        assert not holds(reader, owner, OTHER)
        told = {
            (leaf.log.partition("/")[0], leaf.subject)
            for app in (made.gateway, reader, owner)
            for leaf in leaves(app.log)  # type: ignore[union-attr]
            if leaf.type == audit_pb2.LEAF_TYPE_PUBLICATION
        }
        assert told == {
            ("gateway", "manifest-accepted"), ("gateway", "relayed"),
            ("partner", "manifest-announced"), ("partner", "delivered"), ("partner", "taken-over"),
        }  # fmt: skip
        await asyncio.sleep(0)

"""Publication to reader over a running federation: published, announced, listed, fetched, found."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from demo.accepting import accept_sources
from fairlead.v1 import audit_pb2, blind_pb2
from node.app import NodeApp
from tests.attacks.evil import tap
from tests.blind import require_libsodium
from tests.delivery import code
from tests.federation import OTHER, STORY, Federation, build_index, federation
from tests.live import alarms, leaves, refusals, until
from tests.publications import OWNER, held, holds
from tests.test_exposure import MAPPING

require_libsodium()
READER = "customs"
arrived = partial(until, patience_s=200.0)
"""A publication starts processes of its own, and a busy machine takes its time for them."""
HEADING = "box,direction,at,pap,plate,card\n"


@asynccontextmanager
async def published(folder: Path) -> AsyncIterator[Federation]:
    """Two nodes and a gateway; the owner has published once."""
    async with federation(folder, partners=(READER, OWNER), records={OWNER: [held(STORY)]}) as made:
        await publish(made)
        yield made


async def publish(made: Federation) -> None:
    owner = made.nodes[OWNER]
    await owner.steering.publishing.publish()
    await owner.steering.publishing.ended()
    owner.offering.announcer.wake()


def finds(made: Federation, term: str) -> Callable[[], bool]:
    return lambda: holds(made.nodes[READER], made.nodes[OWNER], term)


def announced(owner: NodeApp) -> bool:
    shelf = owner.steering.publishing.publisher.shelf
    return not shelf.unannounced(owner.steering.owner.clock())


async def test_what_is_published_arrives_at_its_reader(tmp_path: Path) -> None:
    """The reader's node finds the owner's term in a snapshot that it was delivered, and every log
    holds its part of the way."""
    async with published(tmp_path) as made:
        reader, owner = made.nodes[READER], made.nodes[OWNER]
        await arrived(finds(made, STORY))
        assert not finds(made, OTHER)()
        assert made.gateway is not None
        told = {
            (leaf.log.partition("/")[0], leaf.subject)
            for log in (made.gateway.log, reader.log, owner.log)
            for leaf in leaves(log)
            if leaf.type == audit_pb2.LEAF_TYPE_PUBLICATION
        }
        assert told == {
            ("gateway", "manifest-accepted"), ("gateway", "relayed"),
            ("partner", "manifest-announced"), ("partner", "delivered"), ("partner", "taken-over"),
        }  # fmt: skip
        for app in (reader, owner):
            assert alarms(app.log) == refusals(app.log) == []


async def test_a_record_added_at_the_source_arrives_by_itself(tmp_path: Path) -> None:
    """Nobody gives a command: the refresh is published, announced and fetched as a delta."""
    yesterday = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def write(*terms: str) -> None:
        rows = [f"{term},IN,{yesterday},AMBER,NL-74-BXK-3,C-1\n" for term in terms]
        (tmp_path / "gate.csv").write_text(HEADING + "".join(rows))

    (tmp_path / "gate.toml").write_text(MAPPING)
    write(STORY)
    async with federation(
        tmp_path, partners=(READER, OWNER), start=False, unaccepted=[OWNER]
    ) as made:
        made.node_configs[OWNER] = made.node_configs[OWNER].model_copy(
            update={"sources": (tmp_path / "gate.toml",), "refresh_s": 1}
        )
        accept_sources(made.node_configs[OWNER])
        await made.start_gateway()
        for partner in (READER, OWNER):
            await made.start_node(partner)
        await arrived(finds(made, STORY))
        await arrived(lambda: not made.nodes[READER].snapshots._listed.waiting)
        pieces = tap(made.gateway.transport, "deliver")  # type: ignore[union-attr]
        asked: list[int] = []
        inner = made.nodes[READER].snapshots.fetcher.fetch

        async def fetch(request):  # type: ignore[no-untyped-def]
            asked.append(request.piece.kind)
            return await inner(request)

        made.nodes[READER].snapshots.fetcher.fetch = fetch
        write(STORY, OTHER)
        await arrived(finds(made, OTHER))
        decoys = blind_pb2.PIECE_KIND_DECOYS  # carried to the oversight beside it
        assert set(asked) - {decoys} == {blind_pb2.PIECE_KIND_DELTA}
        assert pieces


async def test_a_restored_owner_goes_on_behind_what_it_had_signed(tmp_path: Path) -> None:
    """A node from last week's backup hears its own newest manifest, adopts it, and publishes; its
    reader takes that over."""
    async with published(tmp_path) as made:
        await arrived(lambda: announced(made.nodes[OWNER]))
        await made.stop_node(OWNER)
        config = made.node_configs[OWNER]
        backup = tmp_path / "backup"
        shutil.copytree(config.state_dir, backup, ignore=shutil.ignore_patterns("blind", "*.sock"))
        build_index(config, [held(STORY), held(OTHER)])
        await made.start_node(OWNER)
        await publish(made)
        await arrived(finds(made, OTHER))
        await arrived(lambda: announced(made.nodes[OWNER]))
        await made.stop_node(OWNER)
        shutil.rmtree(config.state_dir)
        shutil.copytree(backup, config.state_dir)
        config.state_dir.chmod(0o700)
        build_index(config, [held(OTHER)])
        owner = await made.start_node(OWNER)
        await publish(made)

        def gone() -> bool:
            return finds(made, OTHER)() and not finds(made, STORY)()

        await arrived(gone)
        await arrived(lambda: announced(owner))
        adopted = [leaf for leaf in leaves(owner.log) if leaf.subject == "blind-adopted"]
        assert adopted
        assert made.gateway is not None
        assert set(alarms(made.gateway.log)) == {"MANIFEST_FORK"}


async def test_a_paused_owner_delivers_nothing(tmp_path: Path) -> None:
    """Its manifests are listed, its pieces do not leave; they do when it goes on."""
    async with published(tmp_path) as made:
        owner = made.nodes[OWNER]
        await arrived(finds(made, STORY))
        await owner.steering.pause.begin("MAINTENANCE")
        build_index(made.node_configs[OWNER], [held(STORY), held(OTHER)])
        await made.stop_node(OWNER)
        owner = await made.start_node(OWNER)
        await publish(made)
        await arrived(lambda: "OWNER_PAUSED" in refusals(owner.log))
        assert not finds(made, OTHER)()
        await owner.steering.pause.end()
        await arrived(finds(made, OTHER))


async def test_a_node_that_starts_again_needs_nobody(tmp_path: Path) -> None:
    """The reader opens what it held; while the gateway is away it is not looked up, and then is,
    without a piece from an owner that is away too."""
    async with published(tmp_path) as made:
        await arrived(finds(made, STORY))
        owner = made.nodes[OWNER]
        await made.stop_node(READER)
        await made.stop_gateway()
        reader = await made.start_node(READER)
        why = code(
            lambda: reader.snapshots.usable(OWNER, purpose="drug-trafficking", scheme="container")
        )
        assert why in {"NO_SNAPSHOT", "SNAPSHOT_OLD"}
        before = len(leaves(owner.log))
        await made.start_gateway()
        await arrived(finds(made, STORY))
        assert len(leaves(owner.log)) == before

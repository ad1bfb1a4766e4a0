"""The owner's end of delivery: what is announced, adopted, delivered, and published by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fairlead import signing
from fairlead.auditlog import AuditLog
from fairlead.certificates import Identity
from fairlead.envelope.manifest import sign_manifest
from fairlead.envelope.piece import open_piece
from fairlead.errors import FairleadError, PolicyUnavailable, Unreachable
from fairlead.leaves import LeafWriter
from fairlead.sealing import SealingKey
from fairlead.v1 import blind_pb2, gateway_pb2, owner_pb2
from gateway import manifests
from gateway.publications import Publications
from node.heads import HeadKeeper
from node.owning import at_rest
from node.publication import automatic
from node.publication.announcing import Announcer
from node.publication.automatic import Automatic, wanted
from node.publication.delivery import Delivery
from node.publication.publisher import Publisher
from node.publication.shelf import put_withdrawn
from tests.blind import require_libsodium
from tests.delivery import alarms, publications, refusals
from tests.federation import OTHER, STORY, Federation, build_index
from tests.publications import OWNER, held, line, owner_of
from tests.walks import world_of

require_libsodium()
PURPOSE = "drug-trafficking"
SNAPSHOT = blind_pb2.PIECE_KIND_SNAPSHOT


@dataclass(slots=True)
class Bench:
    """An owner at rest that has published, an announcer, and the gateway's own code and log."""

    made: Federation
    publisher: Publisher
    gateway: Publications
    log: AuditLog
    announcer: Announcer
    peer: Identity
    down: bool = False
    answers: list[gateway_pb2.PublishManifestResponse] = field(default_factory=list)
    again: int = 0

    async def announce(
        self, request: gateway_pb2.PublishManifestRequest
    ) -> gateway_pb2.PublishManifestResponse:
        if self.down:
            raise Unreachable("the gateway does not answer")
        if self.answers:
            return self.answers.pop()
        return await self.gateway.publish(request, self.peer)

    async def publish_again(self) -> None:
        self.again += 1

    @property
    def waiting(self) -> list[Any]:
        return self.publisher.shelf.unannounced(self.publisher.owner.clock())

    @property
    def own(self) -> AuditLog:
        return self.publisher.owner.log

    def signed(self, **changes: object) -> blind_pb2.SignedBlindManifest:
        """Another manifest of the first line that waits, under the owner's key."""
        key = signing.load_signing_key(self.made.layout.node(OWNER) / "signing.key")
        return sign_manifest(replace(self.waiting[0].manifest, **changes), key)[0]


@asynccontextmanager
async def bench(folder: Path) -> AsyncIterator[Bench]:
    made = owner_of(folder, [held(STORY)], partners=("customs", OWNER))
    world = world_of(made.layout, now=time.time())
    log = AuditLog.open(
        folder / "gateway.sqlite",
        origin=world.gateway.log_origin,
        key=world.gateway_key("log"),
        clock=time.time,
        migrations=manifests.MIGRATIONS,
    )
    gateway = Publications(
        log=log,
        leaves=LeafWriter(log="gateway/gw-1", clock=time.time),
        directory=world.directory,
        deny_lists=world.opened.deny_lists,
        transport=SimpleNamespace(),  # type: ignore[arg-type]
        clock=time.time,
        policy_serial=lambda: 1,
        deadline_s=5.0,
    )
    try:
        async with at_rest(made.node_configs[OWNER]) as steering:
            publisher = steering.publishing.publisher
            await publisher.publish()
            announcer = Announcer(
                publisher=publisher,
                keys=publisher.keys,
                heads=HeadKeeper(publisher.owner.log, world.gateway),
                announce=gateway.publish,  # type: ignore[arg-type]
                publish_again=publisher.publish,
            )
            found = Bench(made, publisher, gateway, log, announcer, world.peer(OWNER))
            announcer.announce, announcer.publish_again = found.announce, found.publish_again
            yield found
    finally:
        log.close()


# ── Announcing ───────────────────────────────────────────────────────────────────────────────


async def test_what_is_published_is_announced_once(tmp_path: Path) -> None:
    """Each manifest has its receipt and its leaf, and none is brought a second time; a silent
    gateway is asked again."""
    async with bench(tmp_path) as found:
        count = len(found.waiting)
        found.down = True
        assert not await found.announcer.look()
        assert len(found.waiting) == count > 1
        assert alarms(found.own) == []
        found.down = False
        assert await found.announcer.look()
        assert found.waiting == []
        assert publications(found.own) == ["manifest-announced"] * count
        assert publications(found.log) == ["manifest-accepted"] * count
        assert await found.announcer.look()
        assert len(publications(found.log)) == count
        assert found.again == 0


async def test_another_receipt_is_none(tmp_path: Path) -> None:
    """A gateway that proves another leaf has taken nothing; that is an alarm, once, and the other
    lines are announced all the same."""
    async with bench(tmp_path) as found:
        count = len(found.waiting)
        other = LeafWriter(log="gateway/gw-1", clock=time.time)
        leaf = other.activation("policy", serial=1, digest=bytes(32))
        done = await found.log.append(leaf)
        for _ in range(2):
            size = found.announcer.heads.size
            receipt = found.log.receipt(done.index, size)
            found.answers = [gateway_pb2.PublishManifestResponse(receipt=receipt)]
            assert not await found.announcer.look()
            assert len(found.waiting) == 1
        assert alarms(found.own) == ["publication MANIFEST_RECEIPT"]
        assert await found.announcer.look()
        assert publications(found.own) == ["manifest-announced"] * count


async def test_a_restored_node_goes_on_behind_its_own_manifest(tmp_path: Path) -> None:
    """It adopts what the gateway has of the line, and what it publishes next follows that."""
    async with bench(tmp_path) as found:
        later = found.signed(serial=7, predecessor=b"p" * 32, public_key=_other_key())
        name = found.waiting[0].line
        assert (await found.gateway.publish(_offer(later), found.peer)).HasField("receipt")
        await found.announcer.look()
        assert found.again == 1
        newest = found.publisher.shelf.newest(name)
        assert newest is not None
        assert newest.manifest.digest == signing.digest(later.manifest)
        await found.publisher.publish()
        assert await found.announcer.look()
        newest = found.publisher.shelf.newest(name)
        assert newest is not None
        assert newest.manifest.serial == 8
        assert newest.manifest.predecessor == signing.digest(later.manifest)
        assert found.waiting == []


async def test_nothing_is_adopted_that_this_node_did_not_sign(tmp_path: Path) -> None:
    """Another key's manifest, one of another line, and an answer that says nothing are alarms."""
    async with bench(tmp_path) as found:
        before = {item.manifest.digest for item in found.waiting}
        forged = found.signed(serial=7, predecessor=b"p" * 32)
        forged.signature = bytes(64)
        elsewhere = found.signed(serial=7, predecessor=b"p" * 32, scheme="no-such-scheme")
        for answer in (
            gateway_pb2.PublishManifestResponse(newest=forged),
            gateway_pb2.PublishManifestResponse(newest=elsewhere),
            gateway_pb2.PublishManifestResponse(),
        ):
            found.answers = [answer] * len(found.waiting)
            assert not await found.announcer.look()
        assert {item.manifest.digest for item in found.waiting} == before
        assert set(alarms(found.own)) == {
            "publication MANIFEST_OWNER", "publication MANIFEST_RECEIPT",
        }  # fmt: skip
        assert found.again == 0


async def test_a_gateway_cannot_make_an_owner_sign_a_serial_twice(tmp_path: Path) -> None:
    """What contradicts a receipt that is held is an alarm, and nothing is adopted."""
    async with bench(tmp_path) as found:
        await found.announcer.look()
        build_index(found.made.node_configs[OWNER], [held(STORY), held(OTHER)])
        await found.publisher.publish()
        item = found.waiting[0]
        key = signing.load_signing_key(found.made.layout.node(OWNER) / "signing.key")
        first = found.publisher.shelf.of_line(item.line)[0][0]
        other, _ = sign_manifest(replace(first, snapshot_digest=b"x" * 32, digest=b""), key)
        found.answers = [gateway_pb2.PublishManifestResponse(newest=other)]
        assert not await found.announcer.look()
        assert alarms(found.own) == ["publication MANIFEST_FORK"]
        assert found.publisher.shelf.newest(item.line) == item
        assert found.again == 0


async def test_receipts_are_remembered_however_much_is_published_after(tmp_path: Path) -> None:
    """A gateway that takes nothing for a while and then shows what it took long ago, as if that
    were the newest, does not lead the owner to sign those serials once more."""
    async with bench(tmp_path) as found:
        shelf = found.publisher.shelf
        mine = line(await found.publisher.publish(), "customs", PURPOSE).manifest
        first = shelf.newest(_line(found, mine))
        assert first is not None
        assert await found.announcer.look()
        for records in ([held(STORY), held(OTHER)], [held(OTHER)]):
            build_index(found.made.node_configs[OWNER], records)
            await found.publisher.publish(accept_shrunk=True)
        newest = shelf.newest(first.line)
        assert newest is not None
        assert newest.manifest.serial == first.manifest.serial + 2
        count = len(found.waiting)
        found.answers = [gateway_pb2.PublishManifestResponse(newest=first.signed)] * count
        assert not await found.announcer.look()
        assert shelf.newest(first.line) == newest
        assert len(found.waiting) == count
        assert found.again == 0
        assert await found.announcer.look()
        assert found.waiting == []


async def test_a_gateway_does_not_lead_an_owner_back_step_by_step(tmp_path: Path) -> None:
    """Where it was restored, an owner adopts what the gateway has once; the gateway then showing
    an earlier one as its newest contradicts itself."""
    async with bench(tmp_path) as found:
        shelf, name = found.publisher.shelf, found.waiting[0].line
        earlier = found.signed(serial=7, predecessor=b"p" * 32, public_key=_other_key())
        later = found.signed(serial=9, predecessor=b"q" * 32, public_key=_other_key())
        found.answers = [gateway_pb2.PublishManifestResponse(newest=later)]
        await found.announcer.look()
        await found.publisher.publish()
        newest = shelf.newest(name)
        assert newest is not None
        assert newest.manifest.serial == 10
        found.answers = [gateway_pb2.PublishManifestResponse(newest=earlier)]
        assert not await found.announcer.look()
        assert shelf.newest(name) == newest
        assert alarms(found.own) == ["publication MANIFEST_FORK"]


async def test_what_was_withdrawn_meanwhile_is_not_adopted(tmp_path: Path) -> None:
    """While the gateway answers, the owner withdraws the line: nothing of it answers after."""
    async with bench(tmp_path) as found:
        item, later = found.waiting[0], found.signed(serial=7, predecessor=b"p" * 32)

        async def announce(_: object) -> gateway_pb2.PublishManifestResponse:
            leaf = found.publisher.owner.leaves.owner("blind-withdrawn")
            await found.own.append(leaf, also=put_withdrawn(item.line))
            return gateway_pb2.PublishManifestResponse(newest=later)

        found.announcer.announce = announce
        assert not await found.announcer._announced(item)
        answering = found.publisher.shelf.answering(time.time())
        assert item.line not in {other.line for other in answering}


def _offer(signed: blind_pb2.SignedBlindManifest) -> gateway_pb2.PublishManifestRequest:
    return gateway_pb2.PublishManifestRequest(manifest=signed)


def _other_key() -> bytes:
    from fairlead.blinding import derive_key

    return derive_key(bytes(32), b"before").public


# ── Delivering ───────────────────────────────────────────────────────────────────────────────


def delivery_of(found: Bench, **changes: Any) -> Delivery:
    publisher = found.publisher
    settings: dict[str, Any] = {
        "owner": publisher.owner, "shelf": publisher.shelf, "folder": publisher.folder,
        "paused": lambda: False,
    }  # fmt: skip
    return Delivery(**{**settings, **changes})


async def test_an_owner_delivers_to_its_readers_alone(tmp_path: Path) -> None:
    """Sealed to the reader it is asked for; what is no piece, not published, or for others is
    refused, on the record; and nothing at all while it pauses."""
    async with bench(tmp_path) as found:
        delivery = delivery_of(found)
        item = line(await found.publisher.publish(), "customs", PURPOSE).manifest
        item = found.publisher.shelf.newest(_line(found, item)).manifest  # type: ignore[union-attr]
        piece = blind_pb2.Piece(manifest=item.digest, kind=SNAPSHOT)
        request = owner_pb2.DeliverRequest(reader="customs", piece=piece)
        for _ in range(2):
            response = await delivery.deliver(request, found.peer)
        key = SealingKey.load(found.made.layout.node("customs") / "sealing.seed")
        content = open_piece(response.piece, piece, reader="customs", key=key)
        assert signing.digest(content) == item.snapshot_digest
        assert publications(found.own) == ["delivered"]
        assert "police" not in item.audience.partners
        wrong = [
            owner_pb2.DeliverRequest(reader="police", piece=piece),
            owner_pb2.DeliverRequest(reader="customs", piece=_piece(item.digest, offset=7)),
            owner_pb2.DeliverRequest(reader="customs", piece=_piece(bytes(32))),
        ]
        for bad in wrong:
            with pytest.raises(FairleadError):
                await delivery.deliver(bad, found.peer)
        paused = delivery_of(found, paused=lambda: True)
        with pytest.raises(FairleadError) as caught:
            await paused.deliver(request, found.peer)
        assert caught.value.code == "OWNER_PAUSED"
        assert refusals(found.own) == [
            f"OwnerService.Deliver {code}"
            for code in ("NOT_IN_AUDIENCE", "PIECE", "EPOCH_OVER", "OWNER_PAUSED")
        ]


async def test_the_one_before_is_still_delivered(tmp_path: Path) -> None:
    """Whoever has begun to fetch can end; the one before that is gone, and a delta leads on."""
    async with bench(tmp_path) as found:
        delivery, digests = delivery_of(found), []
        for records in ([held(STORY)], [held(STORY), held(OTHER)], [held(OTHER)]):
            build_index(found.made.node_configs[OWNER], records)
            lines = await found.publisher.publish(accept_shrunk=True)
            mine = line(lines, "customs", PURPOSE).manifest
            newest = found.publisher.shelf.newest(_line(found, mine))
            assert newest is not None
            digests.append(newest.manifest.digest)
            request = owner_pb2.DeliverRequest(reader="customs", piece=_piece(digests[-1]))
            assert (await delivery.deliver(request, found.peer)).piece.size
        gone, before, now = digests
        for digest in (before, now):
            asked = _piece(digest, kind=blind_pb2.PIECE_KIND_DELTA)
            request = owner_pb2.DeliverRequest(reader="customs", piece=asked)
            assert (await delivery.deliver(request, found.peer)).piece.size > 32
        with pytest.raises(FairleadError) as caught:
            request = owner_pb2.DeliverRequest(reader="customs", piece=_piece(gone))
            await delivery.deliver(request, found.peer)
        assert caught.value.code == "EPOCH_OVER"


async def test_decoys_are_what_somebody_says_they_are(tmp_path: Path) -> None:
    """By default there are none: a piece of no octets, which says so."""
    async with bench(tmp_path) as found:
        mine = line(await found.publisher.publish(), "customs", PURPOSE).manifest
        newest = found.publisher.shelf.newest(_line(found, mine))
        assert newest is not None
        asked = _piece(newest.manifest.digest, kind=blind_pb2.PIECE_KIND_DECOYS)
        request = owner_pb2.DeliverRequest(reader="customs", piece=asked)
        key = SealingKey.load(found.made.layout.node("customs") / "sealing.seed")
        for wanted_octets, delivery in (
            (b"", delivery_of(found)),
            (b"sealed", delivery_of(found, decoys=lambda *_: b"sealed")),
        ):
            response = await delivery.deliver(request, found.peer)
            assert response.piece.size == len(wanted_octets)
            opened = open_piece(response.piece, asked, reader="customs", key=key)
            assert opened == wanted_octets


def _piece(digest: bytes, *, kind: int = SNAPSHOT, offset: int = 0) -> blind_pb2.Piece:
    return blind_pb2.Piece(manifest=digest, kind=kind, offset=offset)  # type: ignore[arg-type]


def _line(found: Bench, manifest: Any) -> bytes:
    from node.publication.shelf import line_of

    return line_of(manifest.audience, manifest.scheme)


# ── Publishing by itself ─────────────────────────────────────────────────────────────────────


class Publishing:
    """What the loop sees of a node: what changes, and how publications end."""

    def __init__(self) -> None:
        self.began = 0
        self.fails = False
        self.epoch = 1
        self.blind = True
        row = SimpleNamespace(channel=SimpleNamespace(mode="blind"))
        self.acceptance: Any = SimpleNamespace(digest="a", rows=[row])
        self.publisher: Any = SimpleNamespace(
            owner=SimpleNamespace(
                gate=SimpleNamespace(acceptance=self.acceptance),
                policy=lambda: SimpleNamespace(serial=1),
                directory=lambda: SimpleNamespace(serial=1),
                clock=lambda: 0.0,
            ),
            epochs=SimpleNamespace(at=lambda _now: self.epoch),
            shelf=SimpleNamespace(answering=lambda _now: []),
        )

    async def publish(self) -> None:
        self.began += 1

    async def ended(self) -> None:
        if self.fails:
            raise PolicyUnavailable("no decision")


async def test_a_node_publishes_when_something_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start, after a refresh, with another epoch; not again without a change, and again
    after a failure."""
    monkeypatch.setattr(automatic, "TICK_S", 0.001)
    monkeypatch.setattr(automatic, "PAUSE_S", 0.001)
    found, told = Publishing(), []
    loop = Automatic(found, on_published=lambda: told.append(found.began))  # type: ignore[arg-type]
    task = asyncio.create_task(loop.run())

    async def began(count: int) -> None:
        async with asyncio.timeout(30):
            while len(told) < count:
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        assert len(told) == count

    await began(1)
    loop.wake()
    await began(2)
    found.epoch = 2
    await began(3)
    found.fails = True
    loop.wake()
    async with asyncio.timeout(30):
        while found.began < 6:
            await asyncio.sleep(0.001)
    assert len(told) == 3
    found.fails = False
    await began(4)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_nothing_is_published_where_nobody_may_ask_blind() -> None:
    """Without an acceptance, and without a blind channel in it; unless something is to be
    withdrawn."""
    found = Publishing()
    assert wanted(found.publisher)
    found.acceptance.rows = []
    assert not wanted(found.publisher)
    found.publisher.shelf.answering = lambda _now: ["something"]
    assert wanted(found.publisher)
    found.publisher.owner.gate.acceptance = None
    assert not wanted(found.publisher)

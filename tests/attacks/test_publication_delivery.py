"""Attack: what stands between an owner's snapshot and its reader lies, withholds, swaps or cuts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fairlead import signing
from fairlead.audience import Audience
from fairlead.auditlog import AuditLog
from fairlead.envelope.manifest import sign_manifest
from fairlead.errors import FairleadError, Forged
from fairlead.identifiers import NORM_VERSION
from fairlead.leaves import LeafWriter
from fairlead.v1 import blind_pb2, gateway_pb2
from gateway import manifests
from node.snapshots import Snapshots
from tests.blind import changed, require_libsodium
from tests.delivery import (
    DAY_S,
    PURPOSE,
    Stage,
    alarms,
    caught_up,
    held_rows,
    publications,
    refusals,
    rows,
    some,
    usable_code,
)
from tests.walks import ASKER, NOW, OWNER, World, make_world

require_libsodium()
SNAPSHOT, DELTA = blind_pb2.PIECE_KIND_SNAPSHOT, blind_pb2.PIECE_KIND_DELTA


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("delivery"))


@pytest.fixture
def stage(world: World, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(world, tmp_path / "stage")
    yield made
    made.close()


def listing(stage: Stage, *signed: blind_pb2.SignedBlindManifest, receipt: Any = None) -> None:
    """From now on the gateway's operator lists these, with any receipt or with none."""
    found = gateway_pb2.ListManifestsResponse()
    for place, item in enumerate(signed, 1_000):
        found.manifests.add(position=place, manifest=item, receipt=receipt)
    stage.tamper_list = lambda _: found


async def first_held(stage: Stage) -> Snapshots:
    """A reader that holds an honest first snapshot."""
    await stage.publish(rows(10))
    return await caught_up(stage.reader())


async def still_first(stage: Stage, reader: Snapshots, reason: str) -> None:
    """What the reader does after the attack: the honest one stays, and the refusal is on record."""
    await caught_up(reader)
    found = reader.usable(OWNER, purpose=PURPOSE, scheme="container")
    assert found.manifest.serial == 1
    assert held_rows(reader, 5) == [True]
    assert refusals(reader._log) == [f"snapshots {reason}"]
    assert publications(reader._log) == ["taken-over"]


# ── What the gateway's operator lists ────────────────────────────────────────────────────────


async def test_a_manifest_without_a_receipt_is_not_believed(stage: Stage) -> None:
    """An owner and a gateway that work together show one reader a manifest that no log holds."""
    reader = await first_held(stage)
    secret = stage.make(some(1))
    listing(stage, secret.signed)
    await still_first(stage, reader, "MANIFEST_RECEIPT")


async def test_another_manifests_receipt_is_not_believed(stage: Stage) -> None:
    """A leaf that is really in the log, about another manifest, proves nothing about this one."""
    reader = await first_held(stage)
    secret = stage.make(some(1))
    listing(stage, secret.signed, receipt=stage.log.receipt(0, reader._heads.size))
    await still_first(stage, reader, "MANIFEST_RECEIPT")


async def test_a_second_manifest_of_a_serial_is_an_alarm_at_its_reader(stage: Stage) -> None:
    """Even with a receipt: two manifests of one serial are evidence against whoever made them."""
    reader = await first_held(stage)
    other, digest = sign_manifest(
        stage.manifest(snapshot_digest=b"x" * 32), stage.world.signing_key(OWNER)
    )
    leaf = LeafWriter(log="gateway/gw-1", clock=lambda: NOW).publication(
        "manifest-accepted", partner_id=OWNER, scheme="container", manifest_digest=digest
    )
    done = await stage.log.append(leaf)
    listing(stage, other, receipt=stage.log.receipt(done.index, reader._heads.size))
    await still_first(stage, reader, "MANIFEST_FORK")
    assert alarms(reader._log) == ["publication MANIFEST_FORK"]


async def test_an_old_manifest_shown_again_changes_nothing(stage: Stage) -> None:
    """A replayed list takes no reader back, and one from the past is not even looked at."""
    reader = await first_held(stage)
    old = await stage.listed(gateway_pb2.ListManifestsRequest())
    await stage.publish(some(1))
    await caught_up(reader)
    for item in old.manifests:
        item.position += 1_000
    stage.tamper_list = lambda _: old
    await caught_up(reader)
    assert held_rows(reader, 5, version=1) == [True]
    assert refusals(reader._log) == []
    fresh = stage.reader("fresh")
    await caught_up(fresh)
    assert usable_code(fresh) == ""  # a gateway can hold the newest one back from a newcomer
    stage.now = NOW + 7 * DAY_S
    late = stage.reader("late")
    await caught_up(late)
    assert usable_code(late) == "NO_SNAPSHOT"
    assert refusals(late._log) == ["snapshots EPOCH_OVER"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"norm_version": NORM_VERSION + 1}, "NORM_VERSION"),
        ({"epoch": 2966}, "MANIFEST_CHAIN"),
        ({"predecessor": b"x" * 32}, "MANIFEST_CHAIN"),
        ({"answers_until": int(NOW), "ends_at": int(NOW) - 1, "made_at": int(NOW) - 9},
         "EPOCH_OVER"),
        ({"node": "partner/police/node/gate"}, "MANIFEST_OWNER"),
        ({"owner": "police"}, "SIGNATURE"),
    ],
)  # fmt: skip
async def test_a_wrong_manifest_is_refused_by_its_reader_too(
    stage: Stage, changes: dict[str, Any], reason: str
) -> None:
    """Whatever the gateway let through: version, epoch, line, node and owner are checked again."""
    reader = await first_held(stage)
    wrong = stage.make(some(1), **changes)
    listing(stage, wrong.signed, receipt=stage.log.receipt(0, reader._heads.size))
    await still_first(stage, reader, reason)


async def test_a_reader_outside_the_class_takes_nothing(stage: Stage) -> None:
    """What is listed to somebody it is not for is refused."""
    reader = await first_held(stage)
    audience = Audience(partners=("police",), purposes=(PURPOSE,), policy_serial=1)
    stage.newest = None
    others = stage.make(some(1), audience=audience)
    listing(stage, others.signed, receipt=stage.log.receipt(0, reader._heads.size))
    await still_first(stage, reader, "NOT_IN_AUDIENCE")


async def test_a_changed_signature_is_refused_until_it_is_right(stage: Stage) -> None:
    """A gateway that spoils one manifest delays it; everything refused is listed again later."""
    reader = await first_held(stage)
    made = await stage.publish(some(1))
    spoilt = blind_pb2.SignedBlindManifest(
        manifest=made.signed.manifest, signature=changed(made.signed.signature, 0, 1)
    )
    honest = await stage.listed(gateway_pb2.ListManifestsRequest(after=1, head_size=1))
    bad = gateway_pb2.ListManifestsResponse()
    bad.CopyFrom(honest)
    bad.manifests[0].manifest.CopyFrom(spoilt)
    stage.tamper_list = lambda _: bad
    await still_first(stage, reader, "SIGNATURE")
    stage.tamper_list = lambda found: found
    await caught_up(reader)
    assert held_rows(reader, 5) == [True]
    stage.now += 60
    await caught_up(reader)
    assert held_rows(reader, 5, version=1) == [True]


async def test_a_gateway_with_two_logs_is_an_alarm(stage: Stage, tmp_path: Path) -> None:
    """A receipt from another history of the log ends the listing, with both heads as evidence."""
    reader = await first_held(stage)
    other = AuditLog.open(
        tmp_path / "other.sqlite",
        origin=stage.world.gateway.log_origin,
        key=stage.world.gateway_key("log"),
        clock=lambda: NOW,
        migrations=manifests.MIGRATIONS,
    )
    leaves = LeafWriter(log="gateway/gw-1", clock=lambda: NOW)
    try:
        for serial in range(stage.log.head.size + 1):
            leaf = leaves.activation("policy", serial=serial, digest=bytes(32))
            done = await other.append(leaf)
        made = stage.make(some(1))
        listing(stage, made.signed, receipt=other.receipt(done.index, reader._heads.size))
        with pytest.raises(FairleadError) as caught:
            await reader.look()
        assert caught.value.code == "CHECKPOINT_FORK"
        assert alarms(reader._log) == ["gateway-log CHECKPOINT_FORK"]
    finally:
        other.close()


async def test_a_list_without_an_end_ends(stage: Stage) -> None:
    """More and more of nothing, or the same place again, is no list."""
    reader = await first_held(stage)
    stage.tamper_list = lambda _: gateway_pb2.ListManifestsResponse(more=True)
    with pytest.raises(FairleadError) as caught:
        await reader.look()
    assert caught.value.code == "LIST_ENDLESS"
    again = stage.made[next(iter(stage.made))]
    found = gateway_pb2.ListManifestsResponse(more=True)
    found.manifests.add(position=1, manifest=again.signed)
    stage.tamper_list = lambda _: found
    with pytest.raises(Forged):
        await reader.look()


async def test_a_list_of_rubbish_fills_no_log(stage: Stage) -> None:
    """However many manifests that nobody signed are listed: a few dozen refusals, then a pause."""
    reader = await first_held(stage)
    rubbish = [
        blind_pb2.SignedBlindManifest(manifest=stage.manifest(made_at=n).to_wire())
        for n in range(200)
    ]
    listing(stage, *rubbish)
    with pytest.raises(Forged) as caught:
        await reader.look()
    assert caught.value.code == "LIST_UNUSABLE"
    assert len(refusals(reader._log)) == 64
    assert held_rows(reader, 5) == [True]


async def test_a_withheld_publication_is_not_looked_up_for_long(stage: Stage) -> None:
    """A gateway that lists and never delivers leaves the old one, and soon not even that."""
    reader = await first_held(stage)
    await stage.publish(some(1))

    def nothing(_: Any) -> Any:
        raise Forged("nothing", reasons=("WITHHELD",))

    stage.tamper_piece = nothing
    for _ in range(12):
        stage.now += 100
        await caught_up(reader)
    assert usable_code(reader) == "SNAPSHOT_OLD"
    stage.tamper_piece = lambda found: found
    stage.now += 3_600
    await caught_up(reader)
    assert held_rows(reader, 5, version=1) == [True]


# ── What is delivered ────────────────────────────────────────────────────────────────────────


async def test_a_changed_piece_does_not_open(stage: Stage) -> None:
    """Nobody on the way can change an octet, of a delta or of a snapshot, or say another size."""
    reader = await first_held(stage)
    await stage.publish(some(1))

    def spoilt(found: Any) -> Any:
        piece = found.piece
        wrong = blind_pb2.SealedPiece(sealed=changed(piece.sealed, -1, 1), size=piece.size)
        return gateway_pb2.FetchPublicationResponse(piece=wrong)

    stage.tamper_piece = spoilt
    await still_first(stage, reader, "UNSEALABLE")


async def test_swapped_pieces_do_not_open(stage: Stage) -> None:
    """A piece of another place, kind, manifest or reader is sealed for something else."""
    await stage.publish(rows(30_000))
    honest, kept = stage.fetch, {}

    async def remembering(request: Any) -> Any:
        found = await honest(request)
        kept[request.piece.offset] = found
        return found

    reader = stage.reader()
    reader.fetcher.fetch = remembering
    await caught_up(reader)
    assert sorted(offset >> 20 for offset in kept) == [0, 1, 2]
    other = stage.reader("other")
    stage.tamper_piece = lambda _: kept[1 << 20]
    await caught_up(other)
    assert refusals(other._log) == ["snapshots UNSEALABLE"]
    assert usable_code(other) == "NO_SNAPSHOT"


async def test_a_cut_or_changed_snapshot_is_refused_whole(stage: Stage) -> None:
    """An owner's administrator who delivers other octets than were signed: the reader keeps what
    it has until the right ones come."""
    reader = await first_held(stage)
    made = await stage.publish(some(1))
    assert made.delta is not None
    whole = made.snapshot.read_bytes()
    made.delta.write_bytes(b"")
    for wrong in (changed(whole, 5_000, 1), whole[:-96], b""):
        made.snapshot.write_bytes(wrong)
        stage.now += 200
        await caught_up(reader)
        assert held_rows(reader, 5) == [True]
    assert set(refusals(reader._log)) == {"snapshots SNAPSHOT", "snapshots PIECE_SIZE"}
    made.snapshot.write_bytes(whole)
    stage.now += 3_600
    await caught_up(reader)
    assert held_rows(reader, 5, version=1) == [True]


async def test_a_cut_or_changed_delta_costs_the_whole(stage: Stage) -> None:
    """Whatever a delta was made into, what is held afterwards is what was signed."""
    reader = await first_held(stage)
    for version in (1, 2):
        made = await stage.publish(some(version))
        assert made.delta is not None
        whole = made.delta.read_bytes()
        made.delta.write_bytes(changed(whole, 40, 1) if version == 1 else whole[:-96])
        await caught_up(reader)
        assert held_rows(reader, 5, version=version) == [True]
    assert [p.kind for p in stage.delivered] == [SNAPSHOT, DELTA, SNAPSHOT, DELTA, SNAPSHOT]


async def test_an_endless_delta_is_not_fetched(stage: Stage) -> None:
    """A size beyond the snapshot's own, or one that changes on the way, is refused at once."""
    reader = await first_held(stage)
    made = await stage.publish(some(1))
    assert made.delta is not None
    made.delta.write_bytes(bytes(50 << 20))
    await caught_up(reader)
    assert held_rows(reader, 5, version=1) == [True]
    assert [p.kind for p in stage.delivered] == [SNAPSHOT, DELTA, SNAPSHOT]


async def test_what_is_refused_is_tried_less_and_less_often(stage: Stage) -> None:
    """A spoilt publication is no way to keep a reader busy, nor to fill its log."""
    reader = await first_held(stage)
    await stage.publish(some(1))
    tries = []

    def spoilt(found: Any) -> Any:
        tries.append(stage.now)
        return gateway_pb2.FetchPublicationResponse(
            piece=blind_pb2.SealedPiece(sealed=b"x", size=found.piece.size)
        )

    stage.tamper_piece = spoilt
    for _ in range(120):
        stage.now += 5
        await caught_up(reader)
    assert len(tries) < 40
    assert refusals(reader._log) == ["snapshots UNSEALABLE"]


# ── What an owner publishes ──────────────────────────────────────────────────────────────────


async def test_nobody_publishes_in_anothers_name(stage: Stage) -> None:
    """Another partner's key, and another partner's node with a copied manifest, are refused."""
    content = stage.manifest().to_wire()
    forged = blind_pb2.SignedBlindManifest(
        manifest=content,
        signature=signing.sign(stage.world.signing_key("police"), "blind-manifest", content),
    )
    honest = stage.make(rows(10))
    for signed in (forged, honest.signed):
        with pytest.raises(Forged):
            await stage.offer(signed, by="police")
    assert publications(stage.log) == []


async def test_a_fork_by_its_owner_is_evidence_at_the_gateway(stage: Stage) -> None:
    """One owner, two manifests of a serial: the second is refused, and both digests are known."""
    made = await stage.publish(rows(10))
    second, _ = sign_manifest(
        replace(made.manifest, entry_count=2_048), stage.world.signing_key(OWNER)
    )
    await stage.offer(second)
    assert alarms(stage.log) == ["publication MANIFEST_FORK"]
    reader = await caught_up(stage.reader())
    assert held_rows(reader, 5) == [True]
    assert reader.usable(OWNER, purpose=PURPOSE, scheme="container").manifest.digest == (
        made.manifest.digest
    )
    assert ASKER in made.manifest.audience.partners

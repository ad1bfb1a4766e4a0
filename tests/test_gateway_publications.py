"""The gateway and publications: which manifests it takes, whom it lists them to, what it relays."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fairlead.audience import Audience
from fairlead.envelope.manifest import check_accepted, sign_manifest
from fairlead.errors import FairleadError, Forged, NotFound, Overloaded, Refused, Stale, Unreachable
from fairlead.receipts import verify_receipt
from fairlead.v1 import blind_pb2, gateway_pb2
from gateway import manifests
from gateway import publications as rules
from tests.blind import require_libsodium
from tests.delivery import DAY_S, PURPOSE, Stage, alarms, publications, refusals, rows
from tests.walks import ASKER, NOW, OWNER, World, make_world

require_libsodium()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("publications"))


@pytest.fixture
def stage(world: World, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(world, tmp_path / "stage")
    yield made
    made.close()


async def listed(stage: Stage, *, by: str = ASKER, after: int = 0, head_size: int = 0) -> Any:
    request = gateway_pb2.ListManifestsRequest(after=after, head_size=head_size)
    return await stage.publications.listed(request, stage.world.peer(by))


def piece(made: Any, *, kind: int = blind_pb2.PIECE_KIND_SNAPSHOT, offset: int = 0) -> Any:
    wanted = blind_pb2.Piece(manifest=made.manifest.digest, kind=kind, offset=offset)  # type: ignore[arg-type]
    return gateway_pb2.FetchPublicationRequest(owner=OWNER, piece=wanted)


async def test_a_manifest_is_taken_once_and_proved(stage: Stage) -> None:
    """The receipt proves the leaf of exactly this manifest, and the same octets again lead to the
    same leaf."""
    made = stage.make(rows(10))
    first = await stage.offer(made.signed)
    again = await stage.offer(made.signed)
    gateway = stage.world.gateway
    head = verify_receipt(
        first.receipt, origin=gateway.log_origin, public_key=gateway.log_key, head=None
    )
    check_accepted(first.receipt.leaf, made.manifest)
    assert first.receipt.leaf == again.receipt.leaf
    assert head.size == 1
    assert publications(stage.log) == ["manifest-accepted"]


async def test_another_manifest_of_a_serial_is_a_fork(stage: Stage) -> None:
    """It is not taken, whoever made two of them is told the first, and an alarm names it."""
    made = await stage.publish(rows(10))
    other, _ = sign_manifest(
        replace(made.manifest, snapshot_digest=b"x" * 32), stage.world.signing_key(OWNER)
    )
    response = await stage.offer(other)
    assert not response.HasField("receipt")
    assert response.newest == made.signed
    assert alarms(stage.log) == ["publication MANIFEST_FORK"]
    assert refusals(stage.log) == ["GatewayService.PublishManifest MANIFEST_FORK"]
    assert publications(stage.log) == ["manifest-accepted"]


async def test_what_does_not_follow_its_line_hears_the_newest(stage: Stage) -> None:
    """An older serial, a direct successor of another one, and an earlier epoch are not taken."""
    await stage.publish(rows(10))
    newest = await stage.publish(rows(10, version=1))
    wrong: list[dict[str, object]] = [
        {"serial": 3, "predecessor": b"x" * 32},
        {"serial": 3, "predecessor": newest.manifest.digest, "epoch": 2966},
        {"serial": 1, "predecessor": b"", "snapshot_digest": b"y" * 32, "epoch": 2966},
    ]
    for changes in wrong:
        signed, _ = sign_manifest(stage.manifest(**changes), stage.world.signing_key(OWNER))
        response = await stage.offer(signed)
        assert response.newest == newest.signed
    assert alarms(stage.log) == []
    assert set(refusals(stage.log)) == {"GatewayService.PublishManifest MANIFEST_CHAIN"}


async def test_a_gap_is_taken(stage: Stage) -> None:
    """What lay between was never accepted, so nobody has seen it."""
    await stage.publish(rows(10))
    stage.make(rows(10, version=1))
    await stage.publish(rows(10, version=2))
    assert publications(stage.log) == ["manifest-accepted"] * 2


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"audience": Audience(partners=(ASKER,), purposes=(PURPOSE,), policy_serial=2)}, Stale,
         "POLICY_SERIAL"),
        ({"owner": "police"}, Forged, "SIGNATURE"),
        ({"node": "partner/police/node/gate"}, Forged, "MANIFEST_OWNER"),
        ({"federation": "elsewhere.example"}, Forged, "MANIFEST_OWNER"),
        ({"begins_at": int(NOW) + 600, "ends_at": int(NOW) + 700}, Stale, "EPOCH_AHEAD"),
        ({"owner": "nobody"}, NotFound, "UNKNOWN_PARTNER"),
    ],
)  # fmt: skip
async def test_a_manifest_is_verified_as_a_stranger_verifies_it(
    stage: Stage, changes: dict[str, object], error: type[FairleadError], reason: str
) -> None:
    """Another policy, partner, node, federation or time is refused, on the record."""
    signed, _ = sign_manifest(stage.manifest(**changes), stage.world.signing_key(OWNER))
    with pytest.raises(error) as caught:
        await stage.offer(signed)
    assert caught.value.code == reason
    assert refusals(stage.log) == [f"GatewayService.PublishManifest {reason}"]
    assert publications(stage.log) == []


async def test_only_its_own_node_brings_a_manifest(stage: Stage) -> None:
    """Another partner's node is refused, although the signature is right."""
    made = stage.make(rows(10))
    with pytest.raises(Forged, match="another node"):
        await stage.offer(made.signed, by="police")


async def test_an_owner_keeps_within_its_limits(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither more manifests of an epoch than are allowed, nor more in an hour."""
    monkeypatch.setattr(rules, "PER_HOUR", 2)
    await stage.publish(rows(10))
    await stage.publish(rows(10, version=1))
    third = stage.make(rows(10, version=2))
    with pytest.raises(Overloaded):
        await stage.offer(third.signed)
    stage.now += 3_600
    assert (await stage.offer(third.signed)).HasField("receipt")
    for limit in ("PER_EPOCH", "PER_OWNER"):
        with monkeypatch.context() as patched:
            patched.setattr(rules, limit, 2)
            with pytest.raises(Overloaded):
                await stage.offer(stage.make(rows(10, version=3)).signed)


async def test_former_lines_do_not_use_up_what_an_owner_may_bring(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time its classes change an owner begins lines; long ago ones are forgotten in the end,
    the last ones are still what a later one must follow."""
    monkeypatch.setattr(rules, "PER_OWNER", 3)
    monkeypatch.setattr(manifests, "FORMER", 2)
    start = int(NOW)
    for number, scheme in enumerate(("phone", "email", "badge", "vessel", "seal")):
        stage.newest, stage.now = None, NOW + number * 9 * DAY_S
        begins = start + number * 9 * DAY_S - DAY_S
        await stage.publish(
            rows(10), scheme=scheme, epoch=2_967 + number, begins_at=begins,
            ends_at=begins + 7 * DAY_S, answers_until=begins + 8 * DAY_S, serial=7,
            predecessor=b"p" * 32,
        )  # fmt: skip
    kept = stage.log.read("SELECT epoch FROM publication ORDER BY position", ())
    assert kept == [(2_969,), (2_970,), (2_971,)]
    stage.newest = None
    earlier = stage.make(
        rows(10), scheme="vessel", epoch=2_971, serial=6, predecessor=b"p" * 32,
        begins_at=begins, ends_at=begins + 7 * DAY_S, answers_until=begins + 8 * DAY_S,
    )  # fmt: skip
    assert (await stage.offer(earlier.signed)).HasField("newest")


async def test_readers_are_listed_what_is_meant_for_them(stage: Stage) -> None:
    """Oldest first, behind a position, the newest two of an epoch; nobody else sees any."""
    made = [await stage.publish(rows(10, version=n)) for n in range(3)]
    response = await listed(stage)
    assert [item.manifest for item in response.manifests] == [m.signed for m in made[1:]]
    last = response.manifests[-1]
    assert not (await listed(stage, after=last.position)).manifests
    assert len((await listed(stage, by="police")).manifests) == 2
    assert not (await listed(stage, by="oceanic-line")).manifests
    stage.now = NOW + 7 * DAY_S
    assert not (await listed(stage)).manifests


async def test_a_list_comes_in_pages(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page says whether there is more behind it; every receipt starts from the head that the
    reader named."""
    monkeypatch.setattr(rules, "PAGE", 1)
    for scheme in ("container", "vehicle-plate"):
        stage.newest = None
        await stage.publish(rows(10), scheme=scheme)
    first = await listed(stage)
    second = await listed(stage, after=first.manifests[0].position, head_size=1)
    assert (first.more, second.more) == (True, False)
    assert second.manifests[0].receipt.consistency_from == 1


async def test_what_is_over_goes_and_the_newest_of_a_line_stays(stage: Stage) -> None:
    """An older manifest is still not taken long after the newest one is over."""
    first = await stage.publish(rows(10))
    second = await stage.publish(rows(10, version=1))
    stage.now = NOW + 30 * DAY_S
    stage.newest = None
    await stage.publish(rows(10), scheme="vehicle-plate", answers_until=int(NOW) + 60 * DAY_S)
    kept = stage.log.read("SELECT digest FROM publication ORDER BY position")
    assert (first.manifest.digest,) not in kept
    assert kept[0] == (second.manifest.digest,)
    assert (await stage.offer(first.signed)).newest == second.signed


async def test_pieces_are_relayed_with_one_leaf(stage: Stage) -> None:
    """However many pieces a reader fetches of one manifest, and none for somebody else."""
    made = await stage.publish(rows(16_000))
    for offset in (0, 1 << 20):
        await stage.publications.fetch(piece(made, offset=offset), stage.world.peer(ASKER))
    assert publications(stage.log) == ["manifest-accepted", "relayed"]
    with pytest.raises(Refused) as caught:
        await stage.publications.fetch(piece(made), stage.world.peer("oceanic-line"))
    assert caught.value.code == "NOT_IN_AUDIENCE"
    assert refusals(stage.log) == ["GatewayService.FetchPublication NOT_IN_AUDIENCE"]


async def test_what_is_no_piece_is_refused(stage: Stage) -> None:
    """Unknown manifests, other owners, kinds nobody knows, and places between two pieces."""
    made = await stage.publish(rows(10))
    wrong = [
        piece(made, offset=1),
        piece(made, offset=1 << 62),
        piece(made, kind=0),
        piece(stage.make(rows(10, version=1))),
        gateway_pb2.FetchPublicationRequest(owner="police", piece=piece(made).piece),
        gateway_pb2.FetchPublicationRequest(owner=OWNER),
    ]
    for request in wrong:
        with pytest.raises(FairleadError):
            await stage.publications.fetch(request, stage.world.peer(ASKER))
    assert len(refusals(stage.log)) == len(wrong)
    assert stage.delivered == []


async def test_a_suspended_or_silent_owner_delivers_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clear code for either; the suspended one is not even asked."""
    made = await stage.publish(rows(10))
    stage.owner_down = True
    with pytest.raises(Unreachable) as silent:
        await stage.publications.fetch(piece(made), stage.world.peer(ASKER))
    assert silent.value.code == "UNREACHABLE"
    stage.owner_down = False
    node = stage.world.directory.partner(OWNER).nodes[0].spiffe_id
    checked: list[str] = []

    class Denying:
        def check(self, spiffe_id: str, _now: float) -> None:
            checked.append(spiffe_id)
            raise Refused("denied")

    monkeypatch.setattr(stage.publications, "_deny_lists", Denying())
    with pytest.raises(Refused) as caught:
        await stage.publications.fetch(piece(made), stage.world.peer(ASKER))
    assert caught.value.code == "SUSPENDED"
    assert checked == [node]
    assert stage.delivered == []


async def test_pieces_on_their_way_are_counted(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One reader has so many and no more, and gets its places back."""
    made = await stage.publish(rows(10))
    gate, inner = asyncio.Event(), stage.deliver

    async def slow(_self: Stage, *arguments: Any, **named: Any) -> Any:
        await gate.wait()
        return await inner(*arguments, **named)

    monkeypatch.setattr(Stage, "deliver", slow)
    peer = stage.world.peer(ASKER)
    flying = [
        asyncio.create_task(stage.publications.fetch(piece(made), peer))
        for _ in range(rules.PER_READER)
    ]
    while stage.publications._flying[ASKER] < rules.PER_READER:
        await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await stage.publications.fetch(piece(made), peer)
    gate.set()
    await asyncio.gather(*flying)
    assert await stage.publications.fetch(piece(made), peer)

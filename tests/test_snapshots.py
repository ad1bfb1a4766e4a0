"""The reader's store of snapshots: what is held, since when it is confirmed, and what goes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fairlead.audience import Audience
from fairlead.blinding import derive_key
from fairlead.errors import Forged, Unreachable
from fairlead.notice import MAX_DELIVERED
from fairlead.v1 import blind_pb2
from node.snapshots import Snapshots, fetching, store
from tests.blind import require_libsodium
from tests.delivery import (
    DAY_S,
    PURPOSE,
    Stage,
    alarms,
    caught_up,
    code,
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
    return make_world(tmp_path_factory.mktemp("snapshots"))


@pytest.fixture
def stage(world: World, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(world, tmp_path / "stage")
    yield made
    made.close()


def files(reader: Snapshots) -> list[str]:
    return sorted(path.suffix for path in reader.fetcher.folder.iterdir())


async def test_a_snapshot_is_held_and_then_its_delta(stage: Stage) -> None:
    """The first comes whole; the next as what leads to it; each is a leaf, and the first one's file
    is gone."""
    reader, changes = stage.reader(), []
    reader.on_change.append(lambda manifest: changes.append(manifest.serial))
    assert usable_code(reader) == "NO_SNAPSHOT"
    await stage.publish(rows(10))
    await caught_up(reader)
    assert held_rows(reader, 1, 1_024, 1_025) == [True, True, False]
    await stage.publish([*rows(10)[1:], *rows(10, first=1_025)[:1]])
    await caught_up(reader)
    assert held_rows(reader, 1, 1_024, 1_025) == [False, True, True]
    assert [p.kind for p in stage.delivered] == [SNAPSHOT, DELTA]
    assert publications(reader._log) == ["taken-over"] * 2
    assert files(reader) == [".snapshot"]
    assert changes == [1, 2]


async def test_two_deltas_are_followed_one_after_the_other(stage: Stage) -> None:
    """A reader that is two behind fetches no snapshot, and is confirmed at the newest only."""
    reader = stage.reader()
    await stage.publish(rows(10))
    await caught_up(reader)
    for version in (1, 2):
        await stage.publish(some(version))
    stage.now += 1
    await reader.look()
    await reader.take()
    assert reader.usable(OWNER, purpose=PURPOSE, scheme="container").confirmed_at == NOW
    await reader.take()
    assert reader.usable(OWNER, purpose=PURPOSE, scheme="container").confirmed_at == NOW + 1
    assert held_rows(reader, 5, version=2) == [True]
    assert [p.kind for p in stage.delivered] == [SNAPSHOT, DELTA, DELTA]


async def test_another_key_leads_to_the_whole(stage: Stage) -> None:
    """Under a new key, and where the one before is not held, there is no delta to ask for."""
    reader = stage.reader()
    await stage.publish(rows(10))
    await caught_up(reader)
    await stage.publish(rows(10, version=1), public_key=derive_key(bytes(32), b"next").public)
    await caught_up(reader)
    assert held_rows(reader, 5, version=1) == [True]
    assert [p.kind for p in stage.delivered] == [SNAPSHOT, SNAPSHOT]


async def test_a_break_is_resumed_where_it_was(stage: Stage) -> None:
    """Pieces that are there are not fetched again, not even by a process started anew."""
    reader = stage.reader()
    await stage.publish(rows(40_000))
    await reader.look()
    inner = stage.fetch

    async def broken(request: Any) -> Any:
        if request.piece.offset >= 2 * (1 << 20):
            stage.owner_down = True
        return await inner(request)

    reader.fetcher.fetch = broken
    await reader.take()
    assert usable_code(reader) == "NO_SNAPSHOT"
    assert refusals(reader._log) == []  # a silent owner has done nothing wrong
    stage.stop(reader)
    stage.owner_down = False
    again = await caught_up(stage.reader())
    offsets = [p.offset >> 20 for p in stage.delivered]
    assert offsets == [0, 1, 2, 3]
    assert held_rows(again, 40_000) == [True]


async def test_after_a_restart_nothing_is_fetched_again(stage: Stage) -> None:
    """What is held is opened and verified; it is looked up once the gateway has confirmed it."""
    await stage.publish(rows(10))
    reader = await caught_up(stage.reader())
    stage.stop(reader)
    stage.delivered.clear()
    again = stage.reader()
    await again._reopen()
    assert usable_code(again) == "SNAPSHOT_OLD"
    await caught_up(again)
    assert held_rows(again, 5) == [True]
    assert stage.delivered == []
    assert publications(again._log) == ["taken-over"]


async def test_a_damaged_file_is_fetched_again(stage: Stage) -> None:
    """After a restart a changed, a cut and a missing file are none, and come again."""
    await stage.publish(rows(10))
    for damage in (b"x" * 98_304, b"", None):
        reader = stage.reader()
        await reader._reopen()
        await caught_up(reader)
        assert held_rows(reader, 5) == [True]
        (path,) = reader.fetcher.folder.iterdir()
        if damage is None:
            path.unlink()
        else:
            path.write_bytes(damage)
        stage.stop(reader)
    assert len(stage.delivered) == 3


async def test_what_nobody_confirms_grows_old(stage: Stage) -> None:
    """A gateway that is silent for longer than the limit takes away what is held; its word brings
    it back."""
    await stage.publish(rows(10))
    reader = await caught_up(stage.reader())
    stage.now += store.OLD_S
    assert usable_code(reader) == ""
    stage.now += 1
    assert usable_code(reader) == "SNAPSHOT_OLD"
    await reader.look()
    assert usable_code(reader) == ""


async def test_only_what_is_meant_is_looked_up(stage: Stage) -> None:
    """Another purpose, scheme, owner, class or policy is not held."""
    await stage.publish(rows(10))
    reader = await caught_up(stage.reader())
    assert usable_code(reader, purpose="infiltration") == "NO_SNAPSHOT"
    assert usable_code(reader, scheme="vehicle-plate") == "NO_SNAPSHOT"
    assert usable_code(reader, owner="police") == "NO_SNAPSHOT"
    manifest = reader.usable(OWNER, purpose=PURPOSE, scheme="container").manifest
    name = {"audience": manifest.audience.name, "epoch": manifest.epoch, "scheme": "container"}
    assert reader.of_class(OWNER, **name).manifest == manifest  # type: ignore[arg-type]
    wrong = {**name, "epoch": manifest.epoch + 1}
    with pytest.raises(Unreachable):  # what was held before a start is not opened yet
        reader.of_class(OWNER, **wrong)  # type: ignore[arg-type]
    await reader._reopen()
    assert code(lambda: reader.of_class(OWNER, **wrong)) == "NO_SNAPSHOT"  # type: ignore[arg-type]
    stage.stop(reader)
    other = stage.reader(policy_serial=lambda: 2)
    await other._reopen()
    await caught_up(other)
    assert usable_code(other) == "NO_SNAPSHOT"


async def test_epochs_overlap_and_end(stage: Stage) -> None:
    """The newest epoch that has begun is looked up; what is over is dropped with its file."""
    await stage.publish(rows(10))
    reader = await caught_up(stage.reader())
    stage.now = NOW + 6 * DAY_S + 60
    await stage.publish(
        rows(10, version=1),
        epoch=2968,
        public_key=derive_key(bytes(32), b"next").public,
        begins_at=int(NOW) + 6 * DAY_S,
        ends_at=int(NOW) + 13 * DAY_S,
        answers_until=int(NOW) + 14 * DAY_S,
    )
    await caught_up(reader)
    assert held_rows(reader, 5, version=1) == [True]
    assert files(reader) == [".snapshot"] * 2
    stage.now = NOW + 7 * DAY_S
    await caught_up(reader)
    assert files(reader) == [".snapshot"]
    stage.now = NOW + 14 * DAY_S
    assert usable_code(reader) == "EPOCH_OVER"
    await reader.look()
    assert files(reader) == []
    assert usable_code(reader) == "NO_SNAPSHOT"


async def test_a_class_of_another_policy_takes_the_place(stage: Stage) -> None:
    """A line's newest manifest of an epoch is the one that counts, whatever its class is named."""
    await stage.publish(rows(10))
    reader = await caught_up(stage.reader())
    stage.publications._policy_serial = lambda: 2
    audience = Audience(partners=(ASKER, "police"), purposes=(PURPOSE,), policy_serial=2)
    await stage.publish(some(1), audience=audience)
    await caught_up(reader)
    assert usable_code(reader) == "NO_SNAPSHOT"
    assert [p.kind for p in stage.delivered] == [SNAPSHOT, DELTA]


async def test_a_class_that_another_replaced_is_not_asked_under(stage: Stage) -> None:
    """An owner's class that got other members under the same policy begins a line, and the later
    line is asked under, however long the former one is."""
    await stage.publish(rows(10))
    await stage.publish(some(1))
    reader = await caught_up(stage.reader())
    stage.newest, stage.now = None, stage.now + 60
    fewer = Audience(partners=(ASKER,), purposes=(PURPOSE,), policy_serial=1)
    await stage.publish(rows(10), audience=fewer)
    await caught_up(reader)
    found = reader.usable(OWNER, purpose=PURPOSE, scheme="container")
    assert found.manifest.audience == fewer


async def test_one_owner_that_is_slow_keeps_no_other_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The turn of an owner that delivers piece by piece, each just in time, ends before its
    snapshot is whole, and the next one goes on where it was."""
    monkeypatch.setattr(fetching, "TURN_S", 0.0)
    reader = stage.reader()
    made = await stage.publish(rows(40_000))
    await reader.look()
    for pieces in (1, 2, 3):
        assert usable_code(reader) == "NO_SNAPSHOT"
        await reader.take()
        assert len(stage.delivered) == pieces
    await reader.take()
    assert held_rows(reader, 40_000) == [True]
    assert [p.offset >> 20 for p in stage.delivered] == [0, 1, 2, 3]
    assert refusals(reader._log) == []
    assert made.manifest.entry_count * 96 > 3 << 20


async def test_what_was_begun_and_superseded_stays_on_no_disk(stage: Stage) -> None:
    """An owner that lets its readers begin, and then publishes another one, fills nothing."""
    reader, inner = stage.reader(), stage.fetch

    async def broken(request: Any) -> Any:
        stage.owner_down = request.piece.offset >= 1 << 20
        return await inner(request)

    reader.fetcher.fetch = broken
    for number in range(6):
        key = derive_key(bytes(32), bytes([number])).public
        await stage.publish(rows(20_000, version=number), public_key=key)
        await caught_up(reader)
        stage.now += 3_600
    reader.fetcher.fetch, stage.owner_down = inner, False
    await caught_up(reader)
    assert held_rows(reader, 20_000, version=5) == [True]
    await reader.look()
    assert files(reader) == [".snapshot"]


async def test_a_count_that_fell_is_an_alarm_and_is_taken(stage: Stage) -> None:
    """More than a fifth less along a line is on record; the owner is believed all the same."""
    await stage.publish(rows(2_000))
    reader = await caught_up(stage.reader())
    await stage.publish(rows(1_024))
    await caught_up(reader)
    assert alarms(reader._log) == ["blind COUNT_SHRANK"]
    assert held_rows(reader, 1_024, 1_025) == [True, False]


async def test_there_are_limits_to_the_disk(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot beyond what is allowed or free is not fetched; nothing of it is on record, for
    its owner has done nothing wrong."""
    await stage.publish(rows(10))
    reader = stage.reader()
    for name, value in (("MAX_SNAPSHOT", 1_000), ("MAX_HELD", 1_000), ("MIN_FREE", 1 << 60)):
        with monkeypatch.context() as patched:
            patched.setattr(fetching, name, value)
            stage.now += 3_600
            await caught_up(reader)
            assert usable_code(reader) == "NO_SNAPSHOT"
    assert stage.delivered == []
    assert refusals(reader._log) == []
    stage.now += 3_600
    await caught_up(reader)
    assert held_rows(reader, 5) == [True]


async def test_one_owner_does_not_fill_the_place_of_the_others(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All its lines together have a bound; what takes the place of another counts once."""
    monkeypatch.setattr(fetching, "MAX_OF_OWNER", 150_000)
    await stage.publish(rows(10))
    reader = await caught_up(stage.reader())
    await stage.publish(some(1))
    await caught_up(reader)
    assert held_rows(reader, 5, version=1) == [True]
    stage.newest = None
    await stage.publish(rows(10), scheme="phone")
    await caught_up(reader)
    assert [row["scheme"] for row in (await reader.report())["snapshots"]] == ["container"]


async def test_the_store_runs_until_it_is_cancelled(stage: Stage) -> None:
    """It polls and fetches by itself, through a gateway that was silent at first."""
    reader = stage.reader(poll_s=0.01)
    stage.gateway_down = True
    task = asyncio.create_task(reader.run())
    await asyncio.sleep(0.05)
    stage.gateway_down = False
    await stage.publish(rows(10))
    async with asyncio.timeout(30):
        while usable_code(reader):
            await asyncio.sleep(0.01)
    report = await reader.report()
    assert report["waiting"] == 0
    (row,) = report["snapshots"]
    assert (row["owner"], row["scheme"], row["entries"]) == (OWNER, "container", 1_024)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()


async def test_decoys_are_fetched_for_the_oversight(stage: Stage) -> None:
    """What is sealed to the oversight comes as it is, and nothing of it stays on the disk."""
    made = await stage.publish(rows(10))
    reader = await caught_up(stage.reader())
    assert await reader.fetcher.decoys(made.manifest) == stage.decoys
    assert files(reader) == [".snapshot"]


async def test_an_owner_sends_no_more_decoys_than_a_notice_holds(stage: Stage) -> None:
    """Attack: the notice that holds them cannot be written or read, and the reader's oversight
    believes that its own node hides something."""
    made = await stage.publish(rows(10))
    reader = await caught_up(stage.reader())
    stage.decoys = bytes(MAX_DELIVERED + 1)
    with pytest.raises(Forged) as caught:
        await reader.fetcher.decoys(made.manifest)
    assert caught.value.code == "PIECE_SIZE"
    assert files(reader) == [".snapshot"]

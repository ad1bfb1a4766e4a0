"""A node cosigns what extends the head it accepted, and nothing else, whatever becomes of it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead import cosigning, receipts
from fairlead.errors import FairleadError, Forged, InvalidInput, LogUnavailable, Refused
from fairlead.receipts import verify_receipt
from fairlead.v1 import audit_pb2
from fairlead.v1 import witness_pb2 as pb
from node.witness import MARK_FILE
from tests.walks import PaperLog, World, make_world
from tests.witnessing import Place, Town, opened, shown

ME = "w-00"
ALARM, WITNESS = audit_pb2.LEAF_TYPE_ALARM, audit_pb2.LEAF_TYPE_WITNESS


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("witness"))


@pytest.fixture
def town(world: World) -> Town:
    return Town.of(world, 4)


@pytest.fixture
def place(tmp_path: Path, town: Town) -> Iterator[Place]:
    with opened(tmp_path / ME, town, ME) as found:
        yield found


def history(world: World, size: int, *, common: int = 0) -> PaperLog:
    """Leaves of which the first ``common`` are those of every history."""
    same = [b"%d" % n for n in range(common)]
    return PaperLog(world, [*same, *(b"%d of %d" % (n, size) for n in range(common, size))])


async def add(place: Place, town: Town, request: pb.AddCheckpointRequest) -> Any:
    """What the witness says: kind and value."""
    response = await place.witness.add(request, town.gateway)
    kind = response.WhichOneof("result")
    return kind, getattr(response, kind)


async def cosigned(place: Place, town: Town, log: PaperLog, size: int, known: int = 0) -> bool:
    """Whether it cosigns, with a line that verifies."""
    kind, line = await add(place, town, shown(log, size, known))
    if kind == "cosignature":
        note = log.head(size).checkpoint
        assert cosigning.cosigners(cosigning.with_lines(note, [line]), town.directory) == {ME}
    return bool(kind == "cosignature")


async def test_what_extends_the_head_is_cosigned(place: Place, town: Town) -> None:
    """First contact, a longer log, and the same again; no leaf is written for any of it."""
    await place.witness.open()
    log = history(town.world, 9)
    for size, known in ((3, 0), (7, 3), (7, 7), (7, 3), (9, 7)):
        assert await cosigned(place, town, log, size, known)
        stored = place.log.foreign_head(town.world.gateway.log_origin)
        assert stored is not None
        assert stored.size == size
    assert place.log.head.size == 0


async def test_a_rollback_is_told_the_size_and_the_signed_head(place: Place, town: Town) -> None:
    """Less than was cosigned, with or without a proof, and a proof from elsewhere are stale."""
    await place.witness.open()
    log = history(town.world, 9)
    assert await cosigned(place, town, log, 7)
    for request in (
        shown(log, 5),
        shown(log, 5, 7),
        shown(log, 6, 3),
        shown(log, 9, 5),
        shown(log, 9),
    ):
        kind, held = await add(place, town, request)
        assert (kind, held.size, held.checkpoint) == ("stale", 7, log.head(7).checkpoint)
    assert place.heads.size == 7


@pytest.mark.parametrize(("size", "known"), [(7, 0), (7, 7), (9, 7)])
async def test_a_fork_is_refused_with_an_alarm(
    place: Place, town: Town, size: int, known: int
) -> None:
    """Of the same size or longer: both signed heads are in one ALARM leaf, and it is told."""
    await place.witness.open()
    log, fork = history(town.world, 7), history(town.world, 9)
    assert await cosigned(place, town, log, 7)
    for _ in range(3):
        kind, held = await add(place, town, shown(fork, size, known))
        assert (kind, held.size, held.checkpoint) == ("fork", 7, log.head(7).checkpoint)
    (alarm,) = place.leaves(ALARM)
    assert (list(alarm.reasons), alarm.subject) == (["CHECKPOINT_FORK"], "witness")
    assert list(alarm.checkpoints) == [log.head(7).checkpoint, fork.head(size).checkpoint]
    assert not await cosigned(place, town, fork, size, known)


async def test_an_alarm_stays_small_however_many_lines_came_along(place: Place, town: Town) -> None:
    """Foreign signature lines do not swell the evidence until no leaf can hold it."""
    await place.witness.open()
    log, fork = history(town.world, 7), history(town.world, 8)
    line = receipts.signature_line("x" * 200, bytes(76))
    for made in (shown(log, 7), shown(fork, 7)):
        made.checkpoint = made.checkpoint + "".join(f"{line}\n" for _ in range(79))
        await add(place, town, made)
    (alarm,) = place.leaves(ALARM)
    assert list(alarm.checkpoints) == [log.head(7).checkpoint, fork.head(7).checkpoint]


async def test_queries_and_cosignatures_share_one_head(place: Place, town: Town) -> None:
    """A fork shown to the witness is found by the receipts, and one in a receipt by the witness."""
    await place.witness.open()
    log, fork = history(town.world, 9), history(town.world, 8)
    gateway = town.world.gateway
    assert await cosigned(place, town, log, 5)
    with pytest.raises(receipts.CheckpointFork):
        verify_receipt(
            fork.receipt(0, known=5),
            origin=gateway.log_origin,
            public_key=gateway.log_key,
            head=place.heads.head,
        )
    head = verify_receipt(
        log.receipt(0, 8, known=5),
        origin=gateway.log_origin,
        public_key=gateway.log_key,
        head=place.heads.head,
    )
    place.heads.advance(head)
    assert not await cosigned(place, town, fork, 8)
    # What a round shows meanwhile is a beginning of that head, and no less than was cosigned.
    assert await cosigned(place, town, log, 6, 8)
    assert place.heads.size == 8
    assert (await add(place, town, shown(log, 5, 8)))[0] == "stale"
    assert (await add(place, town, shown(fork, 7, 8)))[0] == "fork"


async def test_both_sides_at_once_get_one_cosignature(
    tmp_path: Path, world: World, town: Town
) -> None:
    """However the requests interleave, a witness that is shown two histories cosigns one."""
    for number in range(8):
        with opened(tmp_path / str(number), town, ME) as place:
            await place.witness.open()
            one, two = history(world, 6), history(world, 7)
            sides = [(log, size) for size in (4, 5, 6) for log in (one, two)]
            made = sides[number % 6 :] + sides[: number % 6]
            said = await asyncio.gather(*(add(place, town, shown(log, size)) for log, size in made))
            signed = {id(log) for (log, _), (kind, _) in zip(made, said, strict=True)
                      if kind == "cosignature"}  # fmt: skip
            assert len(signed) == 1


async def test_the_head_is_durable_before_the_cosignature(
    tmp_path: Path, town: Town, world: World
) -> None:
    """After a restart the fork is still refused; a log that cannot be written cosigns nothing."""
    log, fork = history(world, 7), history(world, 9)
    with opened(tmp_path / ME, town, ME) as place:
        await place.witness.open()
        assert await cosigned(place, town, log, 7)
    with opened(tmp_path / ME, town, ME) as place:
        await place.witness.open()
        assert not place.witness.lost(town.directory)
        assert (await add(place, town, shown(fork, 9, 7)))[0] == "fork"
        assert (await add(place, town, shown(log, 6, 7)))[0] == "stale"
        place.log.close()
        with pytest.raises(LogUnavailable):
            await place.witness.add(shown(log, 7, 7), town.gateway)


async def test_a_restored_witness_says_so_and_cosigns_nothing(
    tmp_path: Path, town: Town, world: World
) -> None:
    """What it cosigned since the backup it cannot know: its key is worth nothing until the
    directory names another."""
    log, fork = history(world, 9, common=4), history(world, 8, common=4)
    folder, backup = tmp_path / ME, tmp_path / "backup"
    with opened(folder, town, ME) as place:
        await place.witness.open()
        assert await cosigned(place, town, log, 4)
    shutil.copytree(folder, backup)
    (backup / MARK_FILE).unlink()  # no backup holds it: tests/test_backup.py
    with opened(folder, town, ME) as place:
        await place.witness.open()
        assert await cosigned(place, town, log, 7, 4)
    for again in range(2):
        with opened(backup, town, ME) as place:
            await place.witness.open()
            assert place.witness.lost(town.directory)
            for side in (log, fork):
                kind, held = await add(place, town, shown(side, 8, 4))
                assert (kind, held.size) == ("lost", 4), again
            (leaf,) = place.leaves(WITNESS)
            assert (leaf.subject, list(leaf.checkpoints)) == (
                "witness-lost",
                [log.head(4).checkpoint],
            )
    town.rekeyed[ME] = Ed25519PrivateKey.generate()
    with opened(backup, town, ME) as place:
        await place.witness.open()
        assert await cosigned(place, town, log, 8, 4)


async def test_its_own_line_above_its_head_shows_that_it_forgot(
    tmp_path: Path, town: Town, world: World
) -> None:
    """A copy of the whole machine betrays itself as soon as it sees what it cosigned."""
    log = history(world, 9)
    with opened(tmp_path / ME, town, ME) as place:
        await place.witness.open()
        assert await cosigned(place, town, log, 4)
        request = shown(log, 7, 4)
        line = town.line(ME, request.checkpoint)
        request.checkpoint = cosigning.with_lines(request.checkpoint, [line])
        assert (await add(place, town, request))[0] == "lost"
        assert (await add(place, town, shown(log, 7, 4)))[0] == "lost"
    with opened(tmp_path / ME, town, ME) as place:
        await place.witness.open()
        assert (await add(place, town, shown(log, 7, 4)))[0] == "lost"


def whole(town: Town, log: PaperLog, size: int, signers: int = 3) -> str:
    """A checkpoint with so many witnesses' lines; three are a quorum."""
    note = log.head(size).checkpoint
    return cosigning.with_lines(note, [town.line(p, note) for p in sorted(town.keys)[:signers]])


async def test_a_quorums_note_is_kept_for_the_day_the_log_needs_it(
    place: Place, town: Town
) -> None:
    """The newest one only, of this log, and only if a quorum cosigned it."""
    await place.witness.open()
    log, known = history(town.world, 9), 0
    for size, cosigned_size, signers, kept in (
        (5, 4, 3, 4),
        (6, 5, 2, 4),
        (7, 3, 3, 4),
        (8, 7, 4, 7),
    ):
        request = shown(log, size, known)
        request.cosigned = whole(town, log, cosigned_size, signers)
        assert (await add(place, town, request))[0] == "cosignature"
        known = size
        rows = place.log.read("SELECT size, note FROM witness_quorum")
        assert [found for found, _ in rows] == [kept]
    assert rows[0][1] == whole(town, log, 7, 4)


async def test_only_a_witness_cosigns_only_the_callers_own_log(
    tmp_path: Path, town: Town, world: World
) -> None:
    """Not appointed, called by no gateway, another log's note, another key, and no note at all."""
    log = history(world, 5)
    request = shown(log, 5)
    with opened(tmp_path / ME, town, ME) as place:
        await place.witness.open()
        with pytest.raises(Refused):
            await place.witness.add(request, world.peer("police"))
        other = receipts.Checkpoint(origin="other.example/log", size=5, root=bytes(32))
        for key in (world.gateway_key("log"), Ed25519PrivateKey.generate()):
            note = receipts.sign_checkpoint(other, key)
            with pytest.raises(Forged):
                await place.witness.add(pb.AddCheckpointRequest(checkpoint=note), town.gateway)
        for bad in (
            pb.AddCheckpointRequest(),
            pb.AddCheckpointRequest(checkpoint=log.head(0).checkpoint),
            pb.AddCheckpointRequest(checkpoint=request.checkpoint, consistency=[bytes(32)]),
            pb.AddCheckpointRequest(checkpoint=request.checkpoint, consistency=[b"x"]),
            pb.AddCheckpointRequest(checkpoint=request.checkpoint, old_size=2**64 - 1),
        ):
            with pytest.raises(InvalidInput):
                await place.witness.add(bad, town.gateway)
        town.keys = {p: key for p, key in town.keys.items() if p != ME}
        with pytest.raises(Refused):
            await place.witness.add(request, town.gateway)


async def test_a_new_origin_is_followed_and_the_old_head_kept(place: Place, town: Town) -> None:
    """The node's log says which head it held of the old log, and what the directory named."""
    from dataclasses import replace

    await place.witness.open()
    old, gateway = history(town.world, 5), town.world.gateway
    assert await cosigned(place, town, old, 5)
    following = replace(
        gateway, log_origin=f"{gateway.log_origin}/2", former_checkpoint="the last\n"
    )
    place.witness.follow(following)
    assert (place.heads.head, place.heads.origin) == (None, following.log_origin)
    place.heads.recall(old.head(4))  # a query's head of before is of no use, and does no harm
    await asyncio.gather(*place.witness._pending)
    (leaf,) = place.leaves(WITNESS)
    assert leaf.subject == "new-origin"
    assert list(leaf.checkpoints) == [old.head(5).checkpoint, "the last\n"]
    stored = place.log.foreign_head(gateway.log_origin)
    assert stored is not None
    assert stored.size == 5
    place.witness.follow(following)
    assert not place.witness._pending


async def test_a_new_origin_that_drops_what_a_quorum_cosigned_is_not_followed(
    tmp_path: Path, town: Town, world: World
) -> None:
    """Two operators who name an older checkpoint, a fork, a later one that no quorum cosigned,
    another log or nonsense as its end raise an ALARM, and no restart helps; those who put it right
    are followed."""
    from dataclasses import replace

    log, fork, gateway = history(world, 9), history(world, 8), world.gateway
    point = receipts.Checkpoint(origin="other.example/log", size=99, root=bytes(32))
    other = receipts.sign_checkpoint(point, world.gateway_key("log"))
    wrong = [
        whole(town, log, 6), whole(town, fork, 7), whole(town, log, 9, 2), other, "", "nonsense",
        "x" * 70_000,
    ]  # fmt: skip
    entries = [
        replace(gateway, log_origin=f"{gateway.log_origin}/{number}", former_checkpoint=former)
        for number, former in enumerate(wrong, 2)
    ]
    with opened(tmp_path / ME, town, ME) as place:
        await place.witness.open()
        assert await cosigned(place, town, log, 7)
        request = shown(log, 8, 7)
        request.cosigned = whole(town, log, 7)
        await add(place, town, request)
        for entry in entries:
            place.witness.follow(entry)
            place.witness.follow(entry)
        await asyncio.gather(*place.witness._pending)
        alarms = place.leaves(ALARM)
        assert [list(leaf.reasons) for leaf in alarms] == [["LOG_BEHIND"]] * len(wrong)
        assert {leaf.checkpoints[0] for leaf in alarms} == {whole(town, log, 7)}
        assert list(alarms[0].checkpoints[1:]) == [wrong[0]]
    town.moved = entries[0]
    with opened(tmp_path / ME, town, ME) as place:
        await place.witness.open()
        assert (place.heads.origin, place.heads.size) == (gateway.log_origin, 8)
        point = receipts.Checkpoint(origin=town.moved.log_origin, size=1, root=bytes(32))
        note = receipts.sign_checkpoint(point, world.gateway_key("log"))
        with pytest.raises(Forged):
            await add(place, town, pb.AddCheckpointRequest(checkpoint=note))
        for size in (7, 9):
            right = replace(entries[0], former_checkpoint=whole(town, log, size))
            assert place.witness._dropped(right) is None
        place.witness.follow(right)
        assert place.heads.origin == right.log_origin
        await asyncio.gather(*place.witness._pending)
        assert [leaf.subject for leaf in place.leaves(WITNESS)] == ["new-origin"]


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_any_request_is_answered_or_refused_in_our_words(
    tmp_path_factory: pytest.TempPathFactory, world: World, data: st.DataObject
) -> None:
    """Whatever a gateway sends, nothing but our errors is raised, and no fork is cosigned."""
    town = Town.of(world, 2, tolerated=0)
    log, fork = history(world, 5), history(world, 6)
    notes = [side.head(size).checkpoint for side in (log, fork) for size in (1, 3, 5)]
    sizes, hashes = st.integers(0, 2**64 - 1) | st.integers(0, 6), st.binary(max_size=33)
    requests = data.draw(
        st.lists(
            st.builds(
                pb.AddCheckpointRequest,
                old_size=sizes,
                consistency=st.lists(hashes, max_size=3) | st.just(log.consistency(3, 5)),
                checkpoint=st.text(max_size=40) | st.sampled_from(notes),
                cosigned=st.text(max_size=40) | st.sampled_from(notes),
            ),
            max_size=5,
        )
    )

    async def show() -> set[str]:
        signed = set()
        with opened(tmp_path_factory.mktemp("any"), town, ME) as place:
            await place.witness.open()
            for request in requests:
                try:
                    kind, _ = await add(place, town, request)
                except FairleadError:
                    continue
                if kind == "cosignature":
                    signed.add(request.checkpoint)
        return signed

    signed = asyncio.run(show())
    assert not (signed & {*notes[1:3]} and signed & {*notes[4:]})

"""The gateway collects cosignatures: whoever lies, stalls or is gone costs the others nothing."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import cosigning, quorum, receipts
from fairlead.auditlog import AuditLog
from fairlead.auditlog.store import unreadable
from fairlead.errors import LogUnavailable
from fairlead.metrics import Gauge
from fairlead.quorum import NoQuorum
from fairlead.v1 import audit_pb2
from fairlead.v1 import witness_pb2 as pb
from gateway.standing import LATE_S, OVERDUE_S, fact
from tests.walks import PaperLog, World, make_world
from tests.witnessing import (
    Clock,
    Desk,
    Place,
    Town,
    Wires,
    desk,
    opened,
    saying,
    stalled,
)

Held = pb.AddCheckpointResponse.Held


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("collecting"))


@pytest.fixture
def town(world: World) -> Town:
    return Town.of(world, 4)


@asynccontextmanager
async def witnesses(folder: Path, town: Town, wires: Wires) -> AsyncIterator[dict[str, Place]]:
    """Every witness of the town, honest and reachable."""
    with ExitStack() as stack:
        places = {p: stack.enter_context(opened(folder / p, town, p)) for p in sorted(town.keys)}
        for partner, place in places.items():
            await place.witness.open()
            wires.attach(partner, place)
        yield places


@pytest.fixture
def gateway(tmp_path: Path, town: Town) -> Iterator[Desk]:
    with desk(tmp_path / "gateway", town, Wires(town)) as made:
        yield made


def wires_of(made: Desk) -> Wires:
    found = made.collector._transport
    assert isinstance(found, Wires)
    return found


def leaves(made: Desk) -> list[audit_pb2.AuditLeaf]:
    rows = made.log.read("SELECT body FROM leaf ORDER BY idx")
    return [audit_pb2.AuditLeaf.FromString(body) for (body,) in rows]


def signers(made: Desk, town: Town) -> frozenset[str]:
    assert made.collector.cosigned is not None
    return cosigning.cosigners(made.collector.cosigned.checkpoint, town.directory)


@asynccontextmanager
async def running(made: Desk) -> AsyncIterator[None]:
    """The collector at work beside the test."""
    task = asyncio.create_task(made.collector.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_round_brings_the_newest_checkpoint_a_quorum(
    tmp_path: Path, town: Town, gateway: Desk
) -> None:
    """The note verifies with its lines, survives a restart, and later rounds replace it."""
    async with witnesses(tmp_path, town, wires_of(gateway)):
        for expected in (3, 5):
            await gateway.write(expected - gateway.log.head.size)
            await gateway.collector.look()
            found = gateway.collector.cosigned
            assert found is not None
            assert found.size == expected
            assert quorum.reached(signers(gateway, town), town.directory)
        await asyncio.gather(*gateway.collector._busy.values())
        assert gateway.collector.status().behind_since == 0
        gateway.log.close()
        with desk(tmp_path / "gateway", town, wires_of(gateway)) as again:
            assert again.collector.cosigned is not None
            assert again.collector.cosigned.size == 5
            assert signers(again, town) >= signers(gateway, town)
            assert set(again.collector.status().heads.values()) == {5}


async def test_nobody_is_asked_when_nothing_is_new(
    tmp_path: Path, town: Town, gateway: Desk
) -> None:
    """One round per new head, one more that tells all of the quorum, and none without."""
    wires = wires_of(gateway)
    async with witnesses(tmp_path, town, wires) as places:
        late = wires.ends.pop("w-03")
        await gateway.write()
        await gateway.collector.look()
        wires.ends["w-03"] = late
        for _ in range(5):
            await gateway.collector.look()
            await asyncio.gather(*gateway.collector._busy.values())
        assert sorted(wires.asked) == sorted([*town.keys, *town.keys])
        assert signers(gateway, town) == town.keys.keys()
        for place in places.values():
            ((size,),) = place.log.read("SELECT size FROM witness_quorum")
            assert size == 1


@pytest.mark.parametrize(
    "trouble", ["stalls", "lies", "is another", "is gone", "babbles", "raises"]
)
async def test_one_witness_in_trouble_costs_the_others_nothing(
    tmp_path: Path, town: Town, gateway: Desk, trouble: str
) -> None:
    """A quorum is reached round after round while one witness does whatever it likes."""
    wires = wires_of(gateway)
    stranger = Ed25519PrivateKey.generate()

    async def other(request: pb.AddCheckpointRequest) -> pb.AddCheckpointResponse:
        return pb.AddCheckpointResponse(cosignature=town.line("w-01", request.checkpoint))

    async def lie(request: pb.AddCheckpointRequest) -> pb.AddCheckpointResponse:
        name = cosigning.witness_name("fairlead.demo", "w-00")
        line = cosigning.cosign(request.checkpoint, name, stranger, 1)
        return pb.AddCheckpointResponse(cosignature=line)

    async def broken(_: pb.AddCheckpointRequest) -> pb.AddCheckpointResponse:
        raise ValueError

    async with witnesses(tmp_path, town, wires):
        wires.ends["w-00"] = {
            "stalls": stalled,
            "lies": lie,
            "is another": other,
            "babbles": saying(cosignature="\N{EM DASH} x"),
            "raises": broken,
        }.get(trouble, stalled)
        if trouble == "is gone":
            del wires.ends["w-00"]
        for _ in range(3):
            await gateway.write()
            await gateway.collector.look()
            assert gateway.collector.cosigned is not None
            assert gateway.collector.cosigned.size == gateway.log.head.size
            assert "w-00" not in signers(gateway, town)
        assert wires.asked.count("w-00") == (1 if trouble == "stalls" else 3)
        for task in gateway.collector._busy.values():
            task.cancel()


@pytest.mark.parametrize("lie", ["another key", "another's line", "another note"])
async def test_a_false_line_makes_no_quorum(
    tmp_path: Path, town: Town, gateway: Desk, lie: str
) -> None:
    """Two honest witnesses and a liar are not three, whatever the liar signs."""
    wires = wires_of(gateway)
    stranger = Ed25519PrivateKey.generate()
    name = cosigning.witness_name("fairlead.demo", "w-00")
    other = PaperLog(town.world, [b"x"]).head(1).checkpoint

    async def answer(request: pb.AddCheckpointRequest) -> pb.AddCheckpointResponse:
        line = {
            "another key": cosigning.cosign(request.checkpoint, name, stranger, 1),
            "another's line": town.line("w-01", request.checkpoint),
            "another note": town.line("w-00", other),
        }[lie]
        return pb.AddCheckpointResponse(cosignature=line)

    async with witnesses(tmp_path, town, wires):
        wires.ends["w-00"] = answer
        del wires.ends["w-01"]
        await gateway.write()
        await gateway.collector.look()
        assert gateway.collector.cosigned is None
        wires.ends["w-00"] = saying(cosignature=town.line("w-00", gateway.log.head.checkpoint))
        await gateway.collector.look()
        assert gateway.collector.cosigned is not None, "the control: an honest third makes one"


async def test_a_witness_that_knows_more_than_was_remembered_is_shown_from_there(
    tmp_path: Path, town: Town, gateway: Desk
) -> None:
    """Sizes moved by receipts, or forgotten by the gateway, cost one more request each."""
    wires = wires_of(gateway)
    async with witnesses(tmp_path, town, wires) as places:
        await gateway.write(4)
        await gateway.collector.look()
        await asyncio.gather(*gateway.collector._busy.values())  # who is asked still is left out
        await gateway.write(2)
        entry, place = town.world.gateway, places["w-02"]
        place.heads.advance(
            receipts.verify_receipt(
                gateway.log.receipt(5, 4),
                origin=entry.log_origin,
                public_key=entry.log_key,
                head=place.heads.head,
            )
        )
        await gateway.write()
        await gateway.collector.look()
        assert gateway.collector.cosigned is not None
        assert gateway.collector.cosigned.size == 7
        await asyncio.gather(*gateway.collector._busy.values())
        assert signers(gateway, town) == town.keys.keys()


async def test_a_fork_of_the_own_log_stops_the_gateway_for_good(
    tmp_path: Path, town: Town, gateway: Desk, world: World
) -> None:
    """An ALARM leaf with both signed heads; no query is admitted, and no restart helps."""
    wires = wires_of(gateway)
    other = PaperLog(world, [b"another history"] * 9)
    async with witnesses(tmp_path, town, wires) as places:
        for partner in ("w-01", "w-02"):
            await places[partner].witness.add(
                pb.AddCheckpointRequest(checkpoint=other.head(2).checkpoint), town.gateway
            )
        await gateway.write(3)
        await gateway.collector.look()
        assert gateway.forked.is_set()
        with pytest.raises(LogUnavailable) as caught:
            gateway.collector.check(sensitive=False)
        assert caught.value.code == "LOG_FORKED"
        rows = gateway.log.read("SELECT body FROM leaf ORDER BY idx DESC LIMIT 1")
        leaf = audit_pb2.AuditLeaf.FromString(rows[0][0])
        assert (leaf.type, list(leaf.reasons)) == (audit_pb2.LEAF_TYPE_ALARM, ["LOG_FORKED"])
        assert leaf.checkpoints[1] == other.head(2).checkpoint
        gateway.log.close()
        with pytest.raises(LogUnavailable), desk(tmp_path / "gateway", town, wires):
            pass


async def test_one_witness_stops_queries_and_not_the_log(
    tmp_path: Path, town: Town, gateway: Desk, world: World
) -> None:
    """A checkpoint that was signed and never stood, in the hands of one witness, is one ALARM, and
    no query is admitted until the directory names that witness no more; the log goes on."""
    wires, other = wires_of(gateway), PaperLog(world, [b"never committed"] * 2)
    async with witnesses(tmp_path, town, wires):
        lie = saying(fork=Held(size=2, checkpoint=other.head(2).checkpoint))
        honest, wires.ends["w-01"] = wires.ends["w-01"], lie
        for _ in range(3):
            await gateway.write(3)
            await gateway.collector.look()
            await asyncio.gather(*gateway.collector._busy.values())
            with pytest.raises(LogUnavailable) as caught:
                gateway.collector.check(sensitive=False)
            assert caught.value.code == "LOG_FORKED"
        alarms = [leaf for leaf in leaves(gateway) if leaf.type == audit_pb2.LEAF_TYPE_ALARM]
        assert [leaf.partner_id for leaf in alarms] == ["w-01"]
        assert not gateway.forked.is_set()
        assert not gateway.collector.status().forked
        assert gauge(gateway, "fairlead_log_disputed") == 1
        # It says so no more, or is asked no more.
        wires.ends["w-01"] = honest
        await gateway.write()
        await gateway.collector.look()
        await asyncio.gather(*gateway.collector._busy.values())
        gateway.collector.check(sensitive=True)
        wires.ends["w-01"] = lie
        await gateway.write()
        await gateway.collector.look()
        await asyncio.gather(*gateway.collector._busy.values())
        del town.keys["w-01"]
        gateway.collector.check(sensitive=True)
    gateway.log.close()
    with desk(tmp_path / "gateway", town, wires):
        pass  # and it starts again


async def test_a_dispute_that_is_renewed_is_on_the_record_again(
    tmp_path: Path, town: Town, world: World
) -> None:
    """The same head once an hour, however often the witness changes its mind, and another head of
    another history at once."""
    clock, other = Clock(), PaperLog(world, [b"never committed"] * 9)
    with desk(tmp_path / "gateway", town, Wires(town), clock) as made:
        disputes = made.collector._disputes
        await made.write(9)

        async def said(size: int, *, passed_s: float) -> int:
            clock.now += passed_s
            assert await disputes.contradicts("w-01", other.head(size), world.gateway)
            disputes.over("w-01")
            disputes.check()
            return sum(leaf.type == audit_pb2.LEAF_TYPE_ALARM for leaf in leaves(made))

        # The first time that it is over, it is forgotten; then for an hour no more.
        assert [await said(2, passed_s=1) for _ in range(5)] == [1, 2, 2, 2, 2]
        assert [await said(3, passed_s=1) for _ in range(2)] == [3, 3]
        assert await said(2, passed_s=3_600) == 3
        assert await said(2, passed_s=1) == 4


async def test_what_a_stale_reader_says_proves_no_fork(
    tmp_path: Path, town: Town, gateway: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Witnesses that hold the newest head are not believed to hold another history because the
    database's reader is behind it."""
    wires, read = wires_of(gateway), gateway.log.read
    async with witnesses(tmp_path, town, wires):
        await gateway.write(2)
        behind = [(2, gateway.log.checkpoint())]
        await gateway.write(3)
        for partner in ("w-01", "w-02", "w-03"):
            wires.ends[partner] = saying(stale=Held(size=5, checkpoint=gateway.log.checkpoint()))

        def stale(sql: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
            found = read(sql, parameters)
            return behind if sql.startswith("SELECT size, note FROM checkpoint") else found

        monkeypatch.setattr(gateway.log, "read", stale)
        await gateway.collector.look()
        assert not gateway.forked.is_set()
        gateway.collector.check(sensitive=False)


async def test_a_fork_found_at_a_gateway_beside_stops_this_one(gateway: Desk) -> None:
    """What another gateway has written down of the log they share refuses queries here at the next
    look."""
    gateway.collector.check(sensitive=False)
    await gateway.log.keep(fact("forked", 1))
    await gateway.collector.look()
    with pytest.raises(LogUnavailable) as caught:
        gateway.collector.check(sensitive=False)
    assert caught.value.code == "LOG_FORKED"


async def test_a_log_that_cannot_be_read_is_late_and_looked_at_again(
    tmp_path: Path, town: Town, gateway: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that fails ends no process: it counts as no quorum while it lasts, and is forgotten
    with the next one; a log that failed as a whole does end it."""
    told: list[bool] = []

    async def hear(_: str, late: bool) -> None:
        told.append(late)

    def gone(*_: object) -> list[tuple[object, ...]]:
        raise unreadable()

    gateway.collector.on_late = hear
    async with witnesses(tmp_path, town, wires_of(gateway)):
        await gateway.write()
        await gateway.collector._look()
        with monkeypatch.context() as patched:
            patched.setattr(gateway.log, "read", gone)
            await gateway.collector._look()
            gateway.clock.now += LATE_S
            await gateway.collector._look()
        assert told == [False, False, True]
        await gateway.collector._look()
        assert (told[-1], gateway.collector.late_s()) == (False, 0)
    gateway.log.close()
    with pytest.raises(LogUnavailable):
        await gateway.collector._look()


async def test_a_lost_tail_stops_the_gateway(tmp_path: Path, town: Town, world: World) -> None:
    """A log put back from a backup finds that witnesses hold a later head that it signed itself."""
    wires = Wires(town)
    async with witnesses(tmp_path, town, wires):
        with desk(tmp_path / "gateway", town, wires) as before:
            await before.write(5)
            await before.collector.look()
        with desk(tmp_path / "restored", town, wires) as after:
            await after.write(3)
            await after.collector.look()
            assert after.forked.is_set()


async def test_a_lying_witness_cannot_stop_the_gateway(
    tmp_path: Path, town: Town, gateway: Desk, world: World
) -> None:
    """A claim about this log counts only with this log's own signature, and if it contradicts."""
    wires = wires_of(gateway)
    stranger = Ed25519PrivateKey.generate()
    forged = receipts.sign_checkpoint(
        receipts.Checkpoint(origin=world.gateway.log_origin, size=9, root=bytes(32)), stranger
    )
    async with witnesses(tmp_path, town, wires):
        await gateway.write(4)
        mine = gateway.log.head.checkpoint
        for answer in (
            saying(fork=Held(size=9, checkpoint=forged)),
            saying(stale=Held(size=9, checkpoint=mine)),
            saying(fork=Held(size=4, checkpoint=mine)),
            saying(stale=Held(size=2**63)),
            saying(lost=Held(size=4, checkpoint=mine)),
            saying(),
        ):
            wires.ends["w-03"] = answer
            await gateway.write()
            await gateway.collector.look()
            assert gateway.collector.cosigned is not None
            assert gateway.collector.cosigned.size == gateway.log.head.size
        assert not gateway.forked.is_set()
        gateway.collector.check(sensitive=True)


async def test_a_witness_that_forgot_is_shown_its_own_line(
    tmp_path: Path, town: Town, gateway: Desk
) -> None:
    """A copy of a witness from before its last cosignature cosigns nothing: it says it has lost."""
    import shutil

    wires = wires_of(gateway)
    async with witnesses(tmp_path, town, wires) as places:
        await gateway.write(2)
        await gateway.collector.look()
        await asyncio.gather(*gateway.collector._busy.values())
        places["w-02"].log.close()
        shutil.copytree(tmp_path / "w-02", tmp_path / "copy" / "w-02")
        with opened(tmp_path / "w-02", town, "w-02") as place:
            wires.attach("w-02", place)
            await place.witness.open()
            await gateway.write(2)
            await gateway.collector.look()
            await asyncio.gather(*gateway.collector._busy.values())
        with opened(tmp_path / "copy" / "w-02", town, "w-02") as place:
            wires.attach("w-02", place)
            await place.witness.open()
            assert not place.witness.lost(town.directory)
            await gateway.write(2)
            await gateway.collector.look()
            await asyncio.gather(*gateway.collector._busy.values())
            assert place.witness.lost(town.directory)
            assert signers(gateway, town) == town.keys.keys() - {"w-02"}


async def test_a_query_waits_for_the_quorum_and_others_do_not(
    tmp_path: Path, town: Town, gateway: Desk
) -> None:
    """The wait ends with the note that covers the leaf; in vain it is not repeated."""
    wires = wires_of(gateway)
    async with witnesses(tmp_path, town, wires), running(gateway):
        index = await gateway.write(3)
        found = await gateway.collector.covering(index, town.directory, within_s=20)
        assert found.size > index
        ends, wires.ends = wires.ends, {}
        index = await gateway.write()
        with pytest.raises(NoQuorum) as caught:
            await gateway.collector.covering(index, town.directory, within_s=0.01)
        assert caught.value.code == "QUORUM_MISSING"
        with pytest.raises(NoQuorum):
            gateway.collector.check(sensitive=True)
        gateway.collector.check(sensitive=False)
        wires.ends = ends
        await gateway.collector.covering(index, town.directory, within_s=20)
        gateway.collector.check(sensitive=True)


async def test_lines_under_a_replaced_key_cover_nothing(
    tmp_path: Path, town: Town, gateway: Desk
) -> None:
    """What counts are the witnesses and keys of the query's own directory."""
    async with witnesses(tmp_path, town, wires_of(gateway)):
        index = await gateway.write()
        await gateway.collector.look()
        for partner in ("w-00", "w-01", "w-02"):
            town.rekeyed[partner] = Ed25519PrivateKey.generate()
        with pytest.raises(NoQuorum):
            await gateway.collector.covering(index, town.directory, within_s=0.01)


async def test_a_query_of_a_former_directory_gives_up_for_itself_alone(
    tmp_path: Path, town: Town, gateway: Desk
) -> None:
    """Where the witnesses' keys were replaced, a query from before waits in vain, and those under
    the directory in force are admitted all the same."""
    former = replace(town.directory, serial=town.directory.serial - 1)
    town.rekeyed = {p: Ed25519PrivateKey.generate() for p in town.keys}
    index = await gateway.write()
    with pytest.raises(NoQuorum):
        await gateway.collector.covering(index, former, within_s=0.01)
    gateway.collector.check(sensitive=True)
    with pytest.raises(NoQuorum):
        await gateway.collector.covering(index, town.directory, within_s=0.01)
    with pytest.raises(NoQuorum):
        gateway.collector.check(sensitive=True)


def gauge(made: Desk, name: str) -> float:
    found: dict[str, Gauge] = {item.name: item for item in made.collector.gauges()}
    return found[name].value


async def test_without_a_quorum_readiness_degrades_and_then_queries_are_refused(
    tmp_path: Path, town: Town
) -> None:
    """After 15 minutes an alert, after 4 hours no new query, at once well again with a quorum;
    a restart forgets none of it, and an idle log is never late."""
    clock, told = Clock(), []

    async def hear(_: str, late: bool) -> None:
        told.append(late)

    wires = Wires(town)
    with desk(tmp_path / "gateway", town, wires, clock) as made:
        made.collector.on_late = hear
        await made.collector.look()
        clock.now += 10 * OVERDUE_S
        await made.collector.look()
        assert made.collector.late_s() == 0, "nothing was written"
        await made.write()
        await made.collector.look()
        clock.now += LATE_S - 1
        await made.write()
        await made.collector.look()
        assert (told[-1], gauge(made, "fairlead_quorum_late")) == (False, False)
        clock.now += 1
        await made.collector.look()
        assert (told[-1], gauge(made, "fairlead_quorum_late")) == (True, True)
        made.collector.check(sensitive=False)
    with desk(tmp_path / "gateway", town, wires, clock) as made:
        clock.now += OVERDUE_S - LATE_S - 1
        made.collector.check(sensitive=False)
        assert made.collector.status().told(clock.now) == "late"
        clock.now += 1
        with pytest.raises(NoQuorum) as caught:
            made.collector.check(sensitive=False)
        assert caught.value.code == "QUORUM_OVERDUE"
        assert made.collector.status().told(clock.now) == "overdue: queries are refused"
        async with witnesses(tmp_path, town, wires):
            await made.collector.look()
        made.collector.check(sensitive=True)
        assert made.collector.status().told(clock.now) == "in force"


async def test_where_no_quorum_is_possible_only_sensitive_purposes_wait(
    tmp_path: Path, world: World
) -> None:
    """Before two sectors have enrolled nobody is late and nobody is asked; the hours count from
    when a quorum became possible."""
    clock, town = Clock(), Town.of(world, 1, tolerated=0)
    wires = Wires(town)
    with desk(tmp_path / "gateway", town, wires, clock) as made:
        await made.write(3)
        await made.collector.look()
        clock.now += 10 * OVERDUE_S
        await made.collector.look()
        assert (wires.asked, made.collector.late_s()) == ([], 0)
        made.collector.check(sensitive=False)
        with pytest.raises(NoQuorum) as caught:
            made.collector.check(sensitive=True)
        assert caught.value.code == "QUORUM_IMPOSSIBLE"
        assert made.collector.status().told(clock.now) == "no quorum is possible"
        town.keys |= Town.of(world, 3).keys
        await made.collector.look()
        assert made.collector.late_s() == 0
        clock.now += OVERDUE_S
        with pytest.raises(NoQuorum) as caught:
            made.collector.check(sensitive=False)
        assert caught.value.code == "QUORUM_OVERDUE"


async def test_work_without_a_leaf_is_durable_and_leaves_no_trace_in_the_tree(
    tmp_path: Path, world: World
) -> None:
    """What is kept beside leaves commits in order, alone or among appends, and fails alone."""
    path, key = tmp_path / "audit.sqlite", world.gateway_key("log")
    table = ("CREATE TABLE note (text TEXT PRIMARY KEY)",)
    log = AuditLog.open(path, origin="x.example/log", key=key, clock=lambda: 1.0, migrations=table)
    leaf = audit_pb2.AuditLeaf(type=audit_pb2.LEAF_TYPE_CASE).SerializeToString()

    async def keep(text: str) -> None:
        def put(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO note VALUES (?)", (text,))

        await log.keep(put)

    await keep("alone")
    assert (log.head.size, log.read("SELECT count(*) FROM checkpoint")) == (0, [(1,)])
    said = await asyncio.gather(
        keep("one"), log.append(leaf), keep("alone"), keep("two"), return_exceptions=True
    )
    assert [isinstance(item, Exception) for item in said] == [False, False, True, False]
    assert log.head.size == 1
    log.close()
    log = AuditLog.open(path, origin="x.example/log", key=key, clock=lambda: 1.0, migrations=table)
    assert log.read("SELECT text FROM note ORDER BY text") == [("alone",), ("one",), ("two",)]
    log.close()
    with pytest.raises(LogUnavailable):
        await log.keep(lambda _: None)


def test_the_health_of_the_town_needs_both_sectors(town: Town) -> None:
    """The workbench itself: every other witness is private."""
    assert quorum.possible(town.directory)
    assert not quorum.possible(replace(town.directory, partners={}))

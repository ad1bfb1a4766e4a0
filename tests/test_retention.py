"""Retention and erasure by class: what is due, who approves, what is left of it, and where."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead import backup, errors, signing
from fairlead.auditing import reading, stream
from fairlead.auditing.file import open_file
from fairlead.auditing.selection import Selection
from fairlead.auditlog import verify_log
from fairlead.auditlog.erased import (
    ERASABLE,
    FLOOR_MS,
    GAP,
    PART,
    erase_rows,
    indexes_of,
    list_digest,
    part_of,
    spans,
)
from fairlead.auditlog.store import unreadable
from fairlead.keyfile import write_private
from fairlead.partners import PartnerKind
from fairlead.retention import (
    LeafClass,
    Retention,
    Spool,
    approve_as_operator,
    by_operators,
    holds,
    months,
    read_order,
    survey,
)
from fairlead.retention import order as order_module
from fairlead.retention import spool as spool_module
from fairlead.retention.classes import DAY_MS, FLOOR_DAYS, Sorter
from fairlead.retention.copies import MARK, open_copy, seal_copy
from fairlead.retention.parts import require_listed
from fairlead.retention.periods import FILE, MONTHS, PeriodKeys, month_of
from fairlead.v1 import audit_pb2 as pb
from fairlead.v1 import erasure_pb2
from tests.audited import ORIGIN, PUBLIC, Shelf, shelf, verify
from tests.erased import (
    KEYS,
    NOW,
    OPERATORS,
    RETENTION,
    Desk,
    aged,
    approved,
    asked,
    closed,
    let_out,
    query,
    whole,
)

MARKER = "u-planted-marker"
PARTNERS = {"police": "national", "europol": "eu-agency", "terminal": "private"}


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Shelf]:
    with shelf(tmp_path) as found:
        yield found


@pytest.fixture
def place(made: Shelf) -> Path:
    found = made.place()
    assert isinstance(found, Path)
    return found


@pytest.fixture
def desk(made: Shelf, place: Path) -> Desk:
    return Desk(made.open(place))


# Classes. ----------------------------------------------------------------------------------------


def test_each_kind_of_partner_has_a_class() -> None:
    """Agencies of the Union are told from national authorities, and both from companies."""
    found = {kind: LeafClass.of(kind) for kind in PartnerKind}
    assert [k for k, c in found.items() if c is LeafClass.EU_AGENCY] == [PartnerKind.EU_AGENCY]
    national = {PartnerKind.CUSTOMS, PartnerKind.POLICE, PartnerKind.PORT_AUTHORITY}
    assert {k for k, c in found.items() if c is LeafClass.NATIONAL} == {
        *national, PartnerKind.INLAND_PORT,
    }  # fmt: skip


def test_nothing_younger_than_the_floor_is_ever_due() -> None:
    """Whatever is configured, five weeks are kept, which replays and reviews look back over."""
    short = Retention(days=dict.fromkeys(LeafClass, 1), partners={}, own=LeafClass.PRIVATE)
    for one in LeafClass:
        assert short.due_before_ms(one, NOW) == aged(FLOOR_DAYS)


def test_whoever_reads_a_log_knows_what_is_never_erased() -> None:
    """What a process would erase, and since when, is within what ``verify`` lets pass."""
    sorter = Sorter(RETENTION)
    kinds = {n for n in range(64) if sorter.take(pb.AuditLeaf(type=n))}  # type: ignore[arg-type]
    assert (kinds, FLOOR_MS) == (ERASABLE, FLOOR_DAYS * DAY_MS)


async def test_evidence_and_the_logs_own_acts_are_never_listed(desk: Desk) -> None:
    """An alarm with signed heads, an activation and the log's first leaf stay for ever."""
    old = {"time_ms": aged(9_000), "log": "gateway/main"}
    leaves = [
        pb.AuditLeaf(type=pb.LEAF_TYPE_ALARM, checkpoints=["note"], **old),
        pb.AuditLeaf(type=pb.LEAF_TYPE_ALARM, subject="enumeration", **old),
        pb.AuditLeaf(type=pb.LEAF_TYPE_ACTIVATION, subject="policy", **old),
        pb.AuditLeaf(type=pb.LEAF_TYPE_OWNER, subject="paused", **old),
        pb.AuditLeaf(type=pb.LEAF_TYPE_WITNESS, subject="new-origin", **old),
    ]
    await desk.fill([(signing.canonical(leaf), b"") for leaf in leaves])
    found = survey(desk.log.read, desk.log.head.size, RETENTION, [])
    assert [place.index for place in found] == [2]


async def test_the_table_counts_by_class_and_month(desk: Desk) -> None:
    """Leaves, those due, those held, and the day on which the whole month is over."""
    await desk.fill([*whole(1, "terminal", 300), *whole(2, "terminal", 50)])
    await desk.eraser.hold(
        erasure_pb2.HoldRequest(
            selection=pb.LeafSelection(users=["u-a"], until_ms=aged(200)), reference="x", by="u-a"
        )
    )
    size = desk.log.head.size
    places = survey(desk.log.read, size, RETENTION, holds(desk.log.read, size))
    rows = months(places, RETENTION, NOW)
    assert [(r["class"], r["leaves"], r["due"], r["held"]) for r in rows] == [
        ("private", 3, 0, 3), ("private", 3, 0, 0),
    ]  # fmt: skip
    assert rows[0]["month"] == "2024-12"
    assert rows[0]["over"] == "2025-04-11"


# Due, held, erased. ------------------------------------------------------------------------------


queries = st.lists(
    st.tuples(st.sampled_from(sorted(PARTNERS)), st.integers(36, 1_500), st.booleans()),
    min_size=1,
    max_size=12,
)


@settings(max_examples=12, deadline=None)
@given(queries, st.sampled_from(sorted(RETENTION.days)), st.integers(36, 1_500))
def test_exactly_what_is_due_and_not_held_goes(
    asks: list[tuple[str, int, bool]], leaf_class: LeafClass, days: int
) -> None:
    """Over any questions, holds and periods: that set and no other, and the log still verifies."""
    days = max(days, RETENTION.days[leaf_class])
    expected = {
        3 * number + place
        for number, (partner, age, held) in enumerate(asks)
        for place in (1, 2, 3)
        if PARTNERS[partner] == leaf_class and age > days and not held
    }

    async def run(folder: Path) -> None:
        with shelf(folder) as made:
            place = made.place()
            desk = Desk(made.open(place))
            await desk.fill(
                leaf
                for number, (partner, age, _) in enumerate(asks)
                for leaf in whole(number, partner, age)
            )
            for number, (_, _, held) in enumerate(asks):
                if held:
                    selection = pb.LeafSelection(query_id=query(number))
                    request = erasure_pb2.HoldRequest(selection=selection, reference="R", by="u-a")
                    await desk.eraser.hold(request)
            if expected:
                assert await desk.erase(leaf_class, days) == len(expected)
            else:
                with pytest.raises(errors.NotFound):
                    await desk.erase(leaf_class, days)
            assert desk.gone() == expected
            assert verify(place).erased == len(expected)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))


async def test_younger_leaves_are_not_proposed(desk: Desk) -> None:
    """Retention is checked when an order is made, and again when it is carried out."""
    await desk.fill(whole(1, "terminal", 300))
    with pytest.raises(errors.Refused) as caught:
        desk.propose("private", 99)
    assert caught.value.code == "RETENTION_RUNS"
    order = approved(desk.propose("private", 101))
    desk.retention = replace(RETENTION, days=dict.fromkeys(LeafClass, 200))
    with pytest.raises(errors.Refused) as caught:
        await desk.eraser.erase(order)
    assert (caught.value.code, desk.gone()) == ("RETENTION_RUNS", set())
    desk.now -= 10 * 86_400  # a clock that was set back
    with pytest.raises(errors.Stale):
        await desk.eraser.erase(order)
    assert not desk.gone()


async def test_an_order_over_leaves_that_are_not_due_is_refused(desk: Desk) -> None:
    """Two signatures do not help an order that names leaves of another class."""
    await desk.fill([*whole(1, "terminal", 300), *whole(2, "police", 300)])
    signed = erasure_pb2.SignedErasureOrder.FromString(desk.propose("private", 150))
    content = erasure_pb2.ErasureOrder.FromString(signed.order)
    rows = desk.log.read("SELECT idx, hash FROM leaf WHERE idx IN (1, 4)")
    listed = [(index, bytes(leaf_hash), pb.LEAF_TYPE_INTENT) for index, leaf_hash in rows]
    content.part_digests[:] = [list_digest(listed)]
    content.count = 2
    del signed.parts[:]
    signed.parts.append(part_of(listed))
    signed.order = signing.canonical(content)
    with pytest.raises(errors.Forged) as caught:
        await desk.eraser.erase(approved(signing.canonical(signed)))
    assert (caught.value.code, desk.gone()) == ("ERASURE_OTHER", set())


async def test_an_auditor_finds_each_listed_leaf_in_a_copy_of_the_log(
    desk: Desk, place: Path
) -> None:
    """Before they sign: an order that is about others, older or of another type than it says."""
    await desk.fill([*whole(1, "terminal", 300), *whole(2, "police", 300)])
    good = desk.propose("private", 150)
    signed = erasure_pb2.SignedErasureOrder.FromString(good)
    content = erasure_pb2.ErasureOrder.FromString(signed.order)
    wrong = []
    for change in ("moment", "types", "digest"):
        other = erasure_pb2.SignedErasureOrder.FromString(good)
        said = erasure_pb2.ErasureOrder.FromString(signed.order)
        if change == "moment":
            said.until_ms = aged(310)
        elif change == "digest":
            said.part_digests[0] = bytes(32)
        else:
            rows = desk.log.read(
                "SELECT idx, hash FROM leaf WHERE idx BETWEEN 1 AND 3 ORDER BY idx"
            )
            listed = [(index, bytes(octets), pb.LEAF_TYPE_READ) for index, octets in rows]
            said.part_digests[0] = list_digest(listed)
            other.parts[0].CopyFrom(part_of(listed))
        other.order = signing.canonical(said)
        wrong.append(signing.canonical(other))
    assert content.count == 3
    with open_file(place) as log:
        require_listed(log.read, log.size, read_order(good))
        for order in wrong:
            with pytest.raises(errors.Forged) as caught:
                require_listed(log.read, log.size, read_order(order))
            assert caught.value.code == "ERASURE_OTHER"


# Approvals. --------------------------------------------------------------------------------------


async def test_one_operator_twice_is_not_two(desk: Desk) -> None:
    """Neither by the command, nor in a file that was edited, nor with a stranger's signature."""
    await desk.fill(whole(1, "terminal", 300))
    order = approved(desk.propose("private", 150), 0)
    with pytest.raises(errors.Conflict):
        approve_as_operator(order, OPERATORS[0], KEYS)
    with pytest.raises(errors.Refused):
        approve_as_operator(order, OPERATORS[2], KEYS[:2])
    signed = erasure_pb2.SignedErasureOrder.FromString(order)
    signed.operators.append(signed.operators[0])
    stranger, _ = approve_as_operator(order, OPERATORS[2], KEYS)
    judge = by_operators("fairlead.demo", KEYS[:2])
    for edited in (
        erasure_pb2.SignedErasureOrder.FromString(order),
        signed,
        erasure_pb2.SignedErasureOrder.FromString(stranger),
    ):
        with pytest.raises(errors.Refused) as caught:
            judge(edited, NOW)
        assert caught.value.code == "ERASURE_APPROVERS"
    with pytest.raises(errors.Refused):
        await desk.eraser.erase(order)
    assert not desk.gone()


async def test_an_edited_order_has_no_signature(desk: Desk) -> None:
    """Whoever changes what was approved has to ask again."""
    await desk.fill(whole(1, "terminal", 300))
    signed = erasure_pb2.SignedErasureOrder.FromString(approved(desk.propose("private", 150)))
    content = erasure_pb2.ErasureOrder.FromString(signed.order)
    content.held = 7
    signed.order = signing.canonical(content)
    with pytest.raises(errors.Forged):
        await desk.eraser.erase(signing.canonical(signed))
    assert not desk.gone()


# Bytes. ------------------------------------------------------------------------------------------


def found_in(place: Path) -> list[str]:
    """The files of a log that the marker stands in."""
    files = [place, Path(f"{place}-wal"), Path(f"{place}-shm")]
    return [file.suffix for file in files if file.exists() and MARKER.encode() in file.read_bytes()]


async def test_erased_octets_are_gone_from_the_files(desk: Desk, place: Path) -> None:
    """Neither the file nor its write-ahead log holds what was erased, also while it is served."""
    await desk.fill([asked(n, "terminal", 300, user=MARKER) for n in range(400)])
    assert found_in(place)
    assert await desk.erase("private", 150) == 400
    assert found_in(place) == []


async def test_a_reader_puts_the_scrubbing_off_and_not_the_log(desk: Desk, place: Path) -> None:
    """While somebody reads, nothing is waited for; when they are gone, it is done."""
    await desk.fill([asked(1, "terminal", 300, user=MARKER)])
    with sqlite3.connect(place) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM leaf").fetchone()
        task = asyncio.create_task(desk.erase("private", 150))
        await asyncio.sleep(0.3)
        assert not task.done()
        await desk.log.append(closed(9, "police", 1)[0])
        reader.rollback()
        await task
    reader.close()
    assert found_in(place) == []


async def test_a_copy_of_before_is_unreadable_once_the_period_is_over(
    desk: Desk, place: Path, tmp_path: Path
) -> None:
    """An archive holds bodies and details sealed; with the period's key destroyed, for ever."""
    await desk.fill([asked(1, "terminal", 300, user=MARKER), *whole(2, "terminal", 140)])
    desk.keys = tmp_path / FILE
    keys, _ = PeriodKeys.load_or_make(desk.keys)
    copy = tmp_path / "copy.sqlite"
    with sqlite3.connect(place) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    source.close()
    target.close()
    assert seal_copy(copy, desk.keys, RETENTION, now=NOW) == 4
    sealed = copy.read_bytes()
    assert MARKER.encode() not in sealed
    assert MARK in sealed
    again = tmp_path / "again.sqlite"
    again.write_bytes(sealed)
    assert open_copy(again, lambda: keys) == 0
    assert verify(again).leaves["INTENT"] == 2
    await desk.erase("private", 150)
    again.write_bytes(sealed)
    assert open_copy(again, lambda: PeriodKeys.load(desk.keys)) == 1
    assert MARKER.encode() not in again.read_bytes()
    with sqlite3.connect(again) as file:
        assert file.execute("SELECT body FROM leaf WHERE idx = 1").fetchall() == [(b"",)]
    file.close()
    again.write_bytes(sealed)
    with pytest.raises(errors.Misconfigured) as caught:
        open_copy(again, PeriodKeys.make)
    assert caught.value.code == "PERIOD_KEYS"


@settings(max_examples=30)
@given(st.lists(st.integers(0, MONTHS - 1), max_size=20), st.integers(0, MONTHS - 1))
def test_a_destroyed_month_takes_no_other_with_it(gone: list[int], other: int) -> None:
    """Its key cannot be made from what is left; every other month's is what it was."""
    keys = PeriodKeys.make()
    left = PeriodKeys.parse(keys.without(LeafClass.PRIVATE, gone).to_bytes())
    for month in {*gone, other}:
        kept = None if month in gone else keys.key(LeafClass.PRIVATE, month)
        assert left.key(LeafClass.PRIVATE, month) == kept
        assert left.key(LeafClass.NATIONAL, month) == keys.key(LeafClass.NATIONAL, month)


@settings(max_examples=60)
@given(
    st.binary(max_size=200)
    | st.text(max_size=80).map(str.encode)
    | st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["fairlead_period_keys", "keys", "private"]), inner)
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_a_file_of_period_keys_is_read_or_refused(data: bytes) -> None:
    """Nothing else happens, whatever stands in it."""
    with pytest.raises(errors.Misconfigured):
        PeriodKeys.parse(data)


def test_period_keys_that_cannot_be_written_are_said_to_be(tmp_path: Path) -> None:
    """A folder of keys on a read-only medium stops a backup, with what to do."""
    (tmp_path / "keys").touch()
    with pytest.raises(errors.Misconfigured) as caught:
        PeriodKeys.load_or_make(tmp_path / "keys" / FILE)
    assert caught.value.code == "PERIOD_KEYS"


def test_months_are_counted_from_2000_and_nothing_is_out_of_range() -> None:
    """Also of a leaf whose clock was none."""
    assert month_of(0) == 0
    assert month_of(int(NOW * 1000)) == 25 * 12 + 9
    assert {month_of(t) for t in (-(2**63), 2**63 - 1)} == {0}
    assert month_of(253_000_000_000_000) == MONTHS - 1


# Files. ------------------------------------------------------------------------------------------


@settings(max_examples=100)
@given(st.binary(max_size=120))
def test_an_order_is_read_or_refused(data: bytes) -> None:
    """Whatever the file holds."""
    with pytest.raises(errors.InvalidInput):
        read_order(data)


@settings(max_examples=100)
@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 9), max_size=9), st.binary(max_size=30))
def test_a_list_of_leaves_is_read_or_refused(runs: list[int], types: bytes) -> None:
    """No number in it makes the reader work for ever, and what it reads it would write the same."""
    part = erasure_pb2.ErasurePart(runs=runs, types=types)
    try:
        found = indexes_of(part, 10**6)
    except errors.InvalidInput:
        return
    assert len(found) == len(types) <= PART
    listed = [(index, b"", kind) for index, kind in zip(found, types, strict=True)]
    assert part_of(listed) == part


@settings(max_examples=100)
@given(st.sets(st.integers(0, 5_000), max_size=60).map(sorted))
def test_leaves_far_apart_are_not_read_with_all_between(indexes: list[int]) -> None:
    """Each listed place is read once, and few others, however long the log between is."""
    read = [index for low, last in spans(indexes) for index in range(low, last + 1)]
    assert set(indexes) <= set(read)
    assert len(set(read)) == len(read) <= GAP * len(indexes)


HELD = erasure_pb2.RetentionJob(
    hold=erasure_pb2.HoldRequest(leaf_class="private", reference="ROT 26/417", by="u-a")
)


@pytest.fixture
def spool(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Spool:
    monkeypatch.setattr(spool_module, "WAIT_S", 0)
    monkeypatch.setattr(spool_module, "EVERY_S", 0.02)
    return Spool(folder=tmp_path / spool_module.FOLDER, eraser=desk.eraser)


def ordered(desk: Desk) -> erasure_pb2.RetentionJob:
    """An order over what is due, as the command leaves it."""
    order = approved(desk.propose("private", 150))
    return erasure_pb2.RetentionJob(erasure=erasure_pb2.SignedErasureOrder.FromString(order))


def in_force(desk: Desk) -> int:
    return len(holds(desk.log.read, desk.log.head.size))


async def test_a_hold_comes_before_the_erasure_it_is_to_stop(
    desk: Desk, spool: Spool, tmp_path: Path
) -> None:
    """Though its file was left later: nobody is told yes by a hold that waits behind."""
    await desk.fill(whole(1, "terminal", 300))
    erasure = spool_module.leave(tmp_path, ordered(desk))
    spool_module.leave(tmp_path, HELD)
    for path in spool.waiting():
        await spool.take(path)
    with pytest.raises(errors.Refused) as caught:
        spool_module.wait(erasure)
    assert (caught.value.code, desk.gone(), in_force(desk)) == ("LEAF_HELD", set(), 1)


async def test_a_hold_stops_an_erasure_that_is_under_way(
    desk: Desk, spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is left while the first part goes is in force before the second."""
    await desk.fill(whole(1, "terminal", 300))
    monkeypatch.setattr(order_module, "PART", 1)

    def meanwhile(*arguments: Any) -> None:
        erase_rows(*arguments)
        spool_module.leave(tmp_path, HELD)

    monkeypatch.setattr("fairlead.retention.erasing.erase_rows", meanwhile)
    path = spool_module.leave(tmp_path, ordered(desk))
    await spool.take(path)
    with pytest.raises(errors.Refused) as caught:
        spool_module.wait(path)
    assert (caught.value.code, desk.gone(), in_force(desk)) == ("HOLDS_CHANGED", {1}, 1)


async def test_nothing_goes_before_a_hold_that_cannot_be_put(
    desk: Desk, spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that is away while a hold waits puts the erasure off, and the hold comes first."""
    await desk.fill(whole(1, "terminal", 300))
    order = spool_module.leave(tmp_path, ordered(desk))
    spool_module.leave(tmp_path, HELD)

    async def away(*_: object) -> None:
        raise unreadable()

    with monkeypatch.context() as patch:
        patch.setattr(type(desk.eraser), "hold", away)
        await spool.take(order)
    assert (order.exists(), desk.gone()) == (True, set())
    for path in spool.waiting():
        await spool.take(path)
    assert (order.exists(), desk.gone(), in_force(desk)) == (False, set(), 1)


async def test_a_reader_of_the_log_keeps_no_hold_waiting(
    desk: Desk, spool: Spool, place: Path, tmp_path: Path
) -> None:
    """The scrubbing goes on beside, until the reader is gone; what was left goes its way."""
    await desk.fill([asked(1, "terminal", 300, user=MARKER)])
    with sqlite3.connect(place) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM leaf").fetchone()
        task = asyncio.create_task(spool.run())
        async with asyncio.timeout(5):
            for job in (ordered(desk), HELD):
                path = spool_module.leave(tmp_path, job)
                while path.exists():
                    await asyncio.sleep(0.01)
        assert (desk.gone(), in_force(desk)) == ({1}, 1)
        assert found_in(place)
        reader.rollback()
        async with asyncio.timeout(5):
            while found_in(place):
                await asyncio.sleep(0.02)
    reader.close()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_lies_in_the_folder_stops_nothing(
    desk: Desk, spool: Spool, tmp_path: Path
) -> None:
    """A folder, a link, a pipe that is named like a job: the process goes on with the next."""
    await desk.fill([])
    task = asyncio.create_task(spool.run())
    async with asyncio.timeout(5):
        while not spool.folder.exists():  # the process makes it, with its own account
            await asyncio.sleep(0.01)
        (spool.folder / "0.job").mkdir()
        (spool.folder / "1.hold").symlink_to("nothing")
        (spool.folder / "2.job").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "elsewhere").write_bytes(signing.canonical(HELD))
        os.mkfifo(spool.folder / "3.job")
        path = spool_module.leave(tmp_path, HELD)
        while path.exists():
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
    assert (task.done(), in_force(desk)) == (False, 1)
    await spool.take(spool.folder / "vanished.job")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_disk_or_database_that_fails_for_a_while_is_waited_for(
    desk: Desk, spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job stays until it can be answered, and is done once; only a failed log is an end."""
    await desk.fill(whole(1, "terminal", 300))

    def full(*_: object, **__: object) -> None:
        raise OSError("no space")

    def away(*_: object) -> None:
        raise unreadable()

    refused = spool_module.leave(tmp_path, erasure_pb2.RetentionJob())
    kept = spool_module.leave(tmp_path, HELD)
    order = spool_module.leave(tmp_path, ordered(desk))
    with monkeypatch.context() as patch:
        patch.setattr(spool_module, "write_private", full)
        await spool.take(refused)
        patch.setattr(Path, "unlink", full)
        await spool.take(kept)
        patch.setattr(desk.log, "read", away)
        await spool.take(order)
    assert (refused.exists(), kept.exists(), order.exists()) == (True, True, True)
    for path in (refused, kept, order):
        await spool.take(path)
    assert (refused.exists(), kept.exists(), in_force(desk)) == (False, False, 1)
    path = spool_module.leave(tmp_path, HELD)
    desk.log.close()
    with pytest.raises(errors.LogUnavailable):
        await spool.take(path)
    assert path.exists()


def test_another_account_leaves_no_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process could not read it: whoever types the command is told, and not in a day."""
    monkeypatch.setattr("fairlead.retention.spool.os.geteuid", lambda: os.getuid() + 1)
    with pytest.raises(errors.Misconfigured) as caught:
        spool_module.leave(tmp_path, HELD)
    assert (caught.value.code, list(tmp_path.iterdir())) == ("STATE_OWNER", [])


async def test_a_job_left_for_the_process_is_done_or_answered(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hold is put, an order carried out, nonsense refused in a file beside; and each is gone."""
    monkeypatch.setattr(spool_module, "WAIT_S", 0)
    await desk.fill(whole(1, "terminal", 300))
    spool = Spool(folder=tmp_path / spool_module.FOLDER, eraser=desk.eraser)
    order = erasure_pb2.SignedErasureOrder.FromString(approved(desk.propose("private", 150)))
    path = spool_module.leave(tmp_path, erasure_pb2.RetentionJob(erasure=order))
    assert not spool_module.wait(path)
    await spool.take(path)
    assert spool_module.wait(path)
    assert desk.gone() == {1, 2, 3}
    for job in (
        erasure_pb2.RetentionJob(),
        erasure_pb2.RetentionJob(hold=erasure_pb2.HoldRequest(ended=bytes(32), by="u-a")),
        erasure_pb2.RetentionJob(hold=erasure_pb2.HoldRequest(reference="R", by="u-a")),
        erasure_pb2.RetentionJob(hold=erasure_pb2.HoldRequest(leaf_class="private", by="u-a")),
        erasure_pb2.RetentionJob(
            hold=erasure_pb2.HoldRequest(leaf_class="private", reference="R", by="A B")
        ),
    ):
        path = spool_module.leave(tmp_path, job)
        await spool.take(path)
        with pytest.raises(errors.Refused):
            spool_module.wait(path)
    path.write_bytes(b"\xff")
    await spool.take(path)
    with pytest.raises(errors.Refused):
        spool_module.wait(path)
    assert list(spool.folder.iterdir()) == []


async def test_period_keys_that_cannot_be_read_undo_nothing(desk: Desk, tmp_path: Path) -> None:
    """The erasure stands, the process goes on and says why; handed in again, the keys go, too."""
    await desk.fill(whole(1, "terminal", 300))
    order = erasure_pb2.SignedErasureOrder.FromString(approved(desk.propose("private", 150)))
    job = erasure_pb2.RetentionJob(erasure=order)
    desk.keys = tmp_path / FILE
    write_private(desk.keys, b"{}")
    spool = Spool(folder=tmp_path / spool_module.FOLDER, eraser=desk.eraser)
    path = spool_module.leave(tmp_path, job)
    await spool.take(path)
    with pytest.raises(errors.Refused) as caught:
        spool_module.wait(path)
    assert (caught.value.code, desk.gone()) == ("PERIOD_KEYS", {1, 2, 3})
    write_private(desk.keys, PeriodKeys.make().to_bytes())
    await spool.take(spool_module.leave(tmp_path, job))
    left = PeriodKeys.load(desk.keys)
    assert left.key(LeafClass.PRIVATE, month_of(aged(300))) is None
    assert left.key(LeafClass.PRIVATE, month_of(aged(1))) is not None


# Reading. ----------------------------------------------------------------------------------------


async def test_readers_say_what_is_erased(desk: Desk, place: Path) -> None:
    """A list lacks it, a proof refuses it, and a SIEM is told that it is gone."""
    await desk.fill([*whole(1, "terminal", 300), *whole(2, "police", 300)])
    await desk.erase("private", 150)
    with open_file(place) as log:
        rows = reading.rows(log.read, Selection(), range(log.size))
        assert [row.index for row in rows] == [0, 4, 5, 6, 7]
        with pytest.raises(errors.NotFound) as caught:
            log.receipt(1)
        assert caught.value.code == "LEAF_ERASED"
        told = [json.loads(line) for _, line in stream.pending(log.read, stream.Cursor())]
    assert [line["event.action"] for line in told[1:4]] == ["erased"] * 3
    assert told[7]["event.action"] == "erasure"
    assert told[1]["event.id"] != told[2]["event.id"]
    report = verify_log(place, origin=ORIGIN, public_key=PUBLIC)
    assert report.open_queries == ()
    assert backup.log_size(place) == (ORIGIN, 8)


async def test_what_another_gateway_erased_is_not_proved_from_memory(
    made: Shelf, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a log that several processes write, a leaf is remembered for a day and then read."""
    moment = [NOW]
    log = made.open(place, clock=lambda: moment[0])
    await Desk(log).fill(whole(1, "terminal", 300))
    monkeypatch.setattr(type(log._store), "shared", True)  # as PostgreSQL's is
    assert log.receipt(1).leaf
    made.change(place, "UPDATE leaf SET body = x'', detail = x'' WHERE idx = 1")
    moment[0] += 2 * 86_400
    with pytest.raises(errors.NotFound) as caught:
        log.receipt(1)
    assert caught.value.code == "LEAF_ERASED"


async def test_leaves_of_several_classes_are_kept_as_long_as_the_longest(desk: Desk) -> None:
    """A RELEASE that lets out answers to a company and to police goes with the latter."""
    await desk.fill([asked(1, "terminal", 900), asked(2, "police", 900), let_out([1, 2], 900)])
    found = {p.index: p.leaf_class for p in survey(desk.log.read, 4, RETENTION, [])}
    assert found == {1: "private", 2: "national", 3: "national"}

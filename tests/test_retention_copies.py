"""Period keys: under which each leaf lies in the archives, and when one is destroyed."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead import errors
from fairlead.keyfile import write_private
from fairlead.retention import LeafClass
from fairlead.retention.copies import MARK, destroy_over, open_copy, seal_copy
from fairlead.retention.periods import FILE, PeriodKeys, alone, month_of
from fairlead.retention.sealed import SealedUnder, file_beside
from fairlead.v1 import audit_pb2, erasure_pb2
from tests.audited import Shelf, shelf
from tests.erased import NOW, RETENTION, Desk, aged, asked, closed

BOTH = replace(RETENTION, partners={**RETENTION.partners, "depot": LeafClass.PRIVATE})
OLD = month_of(aged(300))


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
def desk(made: Shelf, place: Path, tmp_path: Path) -> Desk:
    keys = tmp_path / FILE
    PeriodKeys.load_or_make(keys)
    return Desk(made.open(place), keys=keys, retention=BOTH)


def archived(desk: Desk, place: Path, name: str = "copy", **changes: object) -> Path:
    """A sealed copy of the log as it is now."""
    copy = place.with_name(f"{name}.copy")
    with closing(sqlite3.connect(place)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    settings = {"now": NOW, **changes}
    seal_copy(copy, desk.keys, desk.retention, **settings)  # type: ignore[arg-type]
    return copy


def opened(desk: Desk, copy: Path) -> dict[int, bytes]:
    """The bodies that an archive still gives back."""
    again = copy.with_suffix(".again")
    again.write_bytes(copy.read_bytes())
    open_copy(again, lambda: PeriodKeys.load(desk.keys))
    with closing(sqlite3.connect(again)) as file:
        return dict(file.execute("SELECT idx, body FROM leaf WHERE body <> x''").fetchall())


async def test_a_partner_of_another_class_takes_no_leaf_of_the_archives_along(
    desk: Desk, place: Path
) -> None:
    """A key lives as long as a leaf does that was sealed under it, whatever its partner became; and
    goes with the last of them, under whatever class that was erased."""
    await desk.fill([asked(1, "terminal", 300), asked(2, "depot", 300)])
    copy = archived(desk, place)
    desk.retention = replace(
        BOTH,
        partners={**BOTH.partners, "depot": LeafClass.NATIONAL},
        days={**BOTH.days, LeafClass.NATIONAL: 200},
    )
    assert await desk.erase("private", 150) == 1
    assert 2 in opened(desk, copy)
    later = archived(desk, place, "later")
    assert await desk.erase("national", 250) == 1
    assert PeriodKeys.load(desk.keys).key(LeafClass.PRIVATE, OLD) is None
    assert not {1, 2} & (opened(desk, copy).keys() | opened(desk, later).keys())


async def test_a_leaf_keeps_no_key_but_the_one_it_was_sealed_under(desk: Desk, place: Path) -> None:
    """What a held leaf of a partner's former class leaves alone goes out of the archives."""
    await desk.fill([asked(1, "police", 300), asked(2, "depot", 300)])
    copy = archived(desk, place)
    desk.retention = replace(
        BOTH,
        partners={**BOTH.partners, "depot": LeafClass.NATIONAL},
        days={**BOTH.days, LeafClass.NATIONAL: 200},
    )
    selection = audit_pb2.LeafSelection(partners=["depot"])
    request = erasure_pb2.HoldRequest(selection=selection, reference="R", by="u-o-1")
    await desk.eraser.hold(request)
    assert await desk.erase("national", 250) == 1
    assert {1, 2} & opened(desk, copy).keys() == {2}


async def test_a_partner_that_is_no_longer_listed_takes_none_along(desk: Desk, place: Path) -> None:
    """Its leaves are of the keeper's own class from then on, and stay in the archives."""
    await desk.fill([asked(1, "terminal", 300), asked(2, "depot", 300)])
    copy = archived(desk, place)
    desk.retention = RETENTION
    await desk.erase("private", 150)
    assert 2 in opened(desk, copy)


async def test_what_is_emptied_off_the_record_destroys_no_key(
    desk: Desk, place: Path, made: Shelf
) -> None:
    """An archive keeps what an insider took away in the file, whatever the table beside it says."""
    await desk.fill([asked(1, "terminal", 300), asked(2, "terminal", 299), asked(3, "police", 9)])
    copy = archived(desk, place)
    row = "INSERT INTO erasure (digest, leaf_class, until_ms, leaves, time_ms) VALUES "
    made.change(
        place,
        "UPDATE leaf SET body = x'', detail = x'' WHERE idx IN (1, 2)",
        (row + "(x'00', 'private', ?, 2, 1)", (aged(0),)),
    )
    assert destroy_over(desk.keys, desk.log.read, desk.log.head.size, BOTH) == 0
    assert {1, 2} <= opened(desk, copy).keys()


async def test_a_key_goes_though_the_leaf_that_was_left_was_emptied_off_the_record(
    desk: Desk, place: Path, made: Shelf
) -> None:
    """One that is erased rightly takes no archived leaf along that somebody emptied beside it."""
    await desk.fill([asked(1, "terminal", 300), asked(2, "terminal", 299)])
    copy = archived(desk, place)
    made.change(place, "UPDATE leaf SET body = x'', detail = x'' WHERE idx = 2")
    assert await desk.erase("private", 150) == 1
    assert 2 in opened(desk, copy)


async def test_whoever_destroys_reads_the_keys_when_nobody_else_changes_them(desk: Desk) -> None:
    """What another destroyed meanwhile does not come back."""
    await desk.fill([asked(1, "terminal", 300)])
    desk.keys, keys = Path("no-such-file"), desk.keys
    await desk.erase("private", 150)
    size = desk.log.head.size
    with alone(keys):
        task = asyncio.ensure_future(
            asyncio.to_thread(destroy_over, keys, desk.log.read, size, BOTH)
        )
        await asyncio.sleep(0.2)
        assert not task.done()
        PeriodKeys.load(keys).without(LeafClass.NATIONAL, [5]).save(keys)
    assert await task > 0
    left = PeriodKeys.load(keys)
    assert left.key(LeafClass.NATIONAL, 5) is None
    assert left.key(LeafClass.PRIVATE, OLD) is None


def test_of_two_that_make_the_keys_one_reads_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sealed under keys that a second backup wrote over."""
    first = PeriodKeys.make()

    def slow() -> PeriodKeys:
        write_private(tmp_path / FILE, first.to_bytes())
        return PeriodKeys({one: {(0, 0): bytes(32)} for one in LeafClass})

    monkeypatch.setattr(PeriodKeys, "make", slow)
    assert PeriodKeys.load_or_make(tmp_path / FILE) == (first, False)
    assert PeriodKeys.load(tmp_path / FILE) == first


async def test_a_destroyed_month_says_so_and_asks_for_no_old_file(desk: Desk, place: Path) -> None:
    """Whoever put an older file of keys back would undo the erasures: the clock is wrong."""
    await desk.fill([asked(1, "terminal", 1)])
    gone = [month_of(aged(1)), month_of(aged(0))]
    PeriodKeys.load(desk.keys).without(LeafClass.PRIVATE, gone).save(desk.keys)
    with pytest.raises(errors.Misconfigured) as caught:
        archived(desk, place)
    assert caught.value.code == "PERIOD_DESTROYED"


async def test_no_two_parts_are_sealed_under_one_key(desk: Desk, place: Path) -> None:
    """Nonces that repeat betray nothing, since every body and detail has a key of its own."""
    await desk.fill([asked(1, "terminal", 300), closed(1, "terminal", 300)])
    bodies = desk.bodies()
    copy = archived(desk, place, random=bytes)
    with closing(sqlite3.connect(copy)) as file:
        sealed = dict(file.execute("SELECT idx, body FROM leaf WHERE idx > 0").fetchall())
    begin = len(MARK) + 3 + 12
    pairs = zip(sealed[1][begin:], sealed[2][begin:], bodies[1], bodies[2], strict=False)
    assert any(a ^ b != c ^ d for a, b, c, d in list(pairs)[:40])


WHOLE = MARK + bytes(3) + bytes(40)


@pytest.mark.parametrize(
    ("leaf_hash", "body", "detail"),
    [
        (bytes(32), MARK, b""),
        (bytes(32), MARK + bytes(3), b""),
        (bytes(32), MARK + b"\x09\x00\x00" + bytes(40), b""),
        (bytes(32), MARK + b"\x00\xff\xff" + bytes(40), b""),
        ("no octets", WHOLE, b""),
    ],
)
def test_a_damaged_sealed_leaf_is_an_error_of_ours(
    tmp_path: Path, leaf_hash: object, body: bytes, detail: object
) -> None:
    """Cut short or of another type: the archive is refused, and nothing else happens."""
    path = tmp_path / "copy.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("CREATE TABLE leaf (idx INTEGER PRIMARY KEY, hash, body, detail)")
        file.execute("INSERT INTO leaf VALUES (1, ?, ?, ?)", (leaf_hash, body, detail))
    with pytest.raises(errors.Forged) as caught:
        open_copy(path, PeriodKeys.make)
    assert caught.value.code == "BACKUP_CHANGED"


periods = st.tuples(st.sampled_from(sorted(LeafClass)), st.integers(0, 4_095))


@given(st.dictionaries(st.integers(0, 50), periods, max_size=9))
def test_what_leaves_were_sealed_under_is_read_as_it_was_written(
    under: dict[int, tuple[LeafClass, int]],
) -> None:
    """Of every leaf that was, and of no other."""
    sealed = SealedUnder()
    for index, period in under.items():
        sealed.put(index, period)
    again = SealedUnder.parse(sealed.to_bytes())
    assert dict(again.items()) == under
    assert again.get(51) is None


@given(st.binary(max_size=60), st.booleans())
def test_a_file_of_what_they_were_sealed_under_is_read_or_refused(data: bytes, ours: bool) -> None:
    """Whatever stands in it."""
    data = SealedUnder().to_bytes() + data if ours else data
    with contextlib.suppress(errors.Misconfigured):
        assert SealedUnder.parse(data).to_bytes() == data


def test_a_damaged_file_beside_the_keys_is_an_error_of_ours(tmp_path: Path) -> None:
    """Where none is, nothing was sealed; one that is no file is said to be damaged."""
    assert list(SealedUnder.load(file_beside(tmp_path / FILE)).items()) == []
    file_beside(tmp_path / FILE).mkdir(mode=0o700)
    with pytest.raises(errors.Misconfigured):
        SealedUnder.load(file_beside(tmp_path / FILE))

"""The outbox: every notice numbered, none lost by a crash, none written in clear."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fairlead.notice import FollowUps, Hits
from fairlead.v1 import audit_pb2
from node import oversight
from node.oversight import COUNTER, OUTBOX
from tests.live import leaves
from tests.oversights import MANIFEST, OWNER, QUERY, READER, Watched, asked, watched
from tests.walks import World, make_world

REF = b"r" * 16


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("outbox"))


@pytest.fixture
async def made(world: World, tmp_path: Path) -> AsyncIterator[Watched]:
    async with watched(world, tmp_path) as found:
        yield found


def contents(made: Watched) -> list[object]:
    """What the oversight would read."""
    signers = [made.partner.signing_key]
    from fairlead.notice import open_notice

    return [
        open_notice(
            path.read_bytes(), partner_id=READER, keys=made.taking.keys, signers=signers
        ).content
        for path in made.files
    ]


async def test_every_blind_query_is_told_with_a_hit_or_without(made: Watched) -> None:
    """Two queries, one without a hit, are two files of one size that hold no reference in clear."""
    await made.outbox.hits(asked(1), [(OWNER, MANIFEST, REF)])
    await made.outbox.hits(asked(2), [])
    one, none = made.files
    assert [path.name for path in made.files] == ["000000000001.notice", "000000000002.notice"]
    assert one.stat().st_size == none.stat().st_size
    assert one.stat().st_mode & 0o777 == 0o640
    assert (made.folder / OUTBOX).stat().st_mode & 0o777 == 0o770
    assert not any(REF in path.read_bytes() for path in made.folder.rglob("*") if path.is_file())
    first, second = contents(made)
    assert isinstance(first, Hits)
    assert [hit.ref for hit in first.hits] == [REF]
    assert second == Hits(asked=asked(2), hits=())


async def test_very_many_hits_are_several_notices(
    made: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is cut off."""
    monkeypatch.setattr(oversight, "MAX_HITS", 3)
    refs = [(OWNER, MANIFEST, bytes([n]) * 16) for n in range(7)]
    await made.outbox.hits(asked(), refs)
    found = [hit.ref for item in contents(made) for hit in item.hits]  # type: ignore[attr-defined]
    assert found == [ref for _, _, ref in refs]


async def test_whoever_asked_sealed_is_told_at_the_next_tick_decoy_or_not(
    world: World, made: Watched
) -> None:
    """While the answer is made nothing is written; then one notice of one size either way; and
    none while nobody asks, until an hour is over."""
    query = world.walk().verify()
    await made.outbox.tick()
    made.look()
    made.outbox.looked(query, ())
    assert made.files == []
    await made.outbox.tick()
    made.outbox.looked(query, (bytes(8),))
    await made.outbox.tick()
    empty, full = made.files
    assert empty.stat().st_size == full.stat().st_size
    first, second = contents(made)
    assert first == FollowUps(found=())
    assert isinstance(second, FollowUps)
    (found,) = second.found
    assert (found.asked.query_id, found.asked.user) == (query.query_id, "u-c01")
    assert found.decoys == (bytes(8),)
    await made.outbox.tick()
    assert len(made.files) == 2
    made.clock.now += oversight.EVERY_S
    await made.outbox.tick()
    assert len(made.files) == 3


async def test_numbers_go_on_after_a_restart(made: Watched) -> None:
    """Also when the oversight took every file away meanwhile."""
    await made.outbox.hits(asked(1), [])
    made.look()
    assert made.files == []
    await made.restarted().hits(asked(2), [])
    assert [path.name for path in made.files] == ["000000000002.notice"]
    made.look()
    assert made.reasons() == []


@pytest.mark.parametrize("step", ["before it is counted", "before it has its name"])
async def test_a_crash_while_a_notice_is_written_skips_no_number(made: Watched, step: str) -> None:
    """What was counted is put into its place at the next start; what was not goes."""
    await made.outbox.hits(asked(1), [])
    outbox, counter = made.folder / OUTBOX, made.folder / COUNTER
    if step == "before it is counted":
        (outbox / ".2").write_bytes(b"unfinished")
        (outbox / ".3.new").write_bytes(b"unfinished")
    else:
        await made.outbox.hits(asked(2), [])
        (outbox / "000000000002.notice").rename(outbox / ".2")
    assert counter.read_text().split()[1] == ("1" if step == "before it is counted" else "2")
    await made.restarted().hits(asked(3), [])
    assert made.look() == (2 if step == "before it is counted" else 3)
    assert made.reasons() == []
    assert list(outbox.iterdir()) == []


async def test_what_cannot_be_told_is_an_alarm_and_a_gap(
    made: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full folder fails no query; the log says so once, and the next number shows it."""
    await made.outbox.hits(asked(1), [])
    monkeypatch.setattr(oversight, "MAX_WAITING", 1)
    await made.outbox.hits(asked(2), [(OWNER, MANIFEST, REF)])
    await made.outbox.hits(asked(3), [])
    assert len(made.files) == 1
    alarms = [leaf for leaf in leaves(made.log) if leaf.type == audit_pb2.LEAF_TYPE_ALARM]
    assert [list(leaf.reasons) for leaf in alarms] == [["NOTICE_LOST"]]
    made.look()
    await made.outbox.hits(asked(4), [])
    assert [path.name for path in made.files] == ["000000000004.notice"]
    made.look()
    assert made.reasons() == ["NOTICES_MISSING"]


async def test_a_restart_does_not_close_the_gap_of_what_could_not_be_told(
    made: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: make one notice fail, the one with the hit, and start the node again."""
    await made.outbox.hits(asked(1), [])
    made.look()
    honest = oversight._durable

    def failing(path: Path, data: bytes, *, mode: int) -> None:
        if path.name == ".2":
            raise OSError("no room")
        honest(path, data, mode=mode)

    monkeypatch.setattr(oversight, "_durable", failing)
    await made.outbox.hits(asked(2), [(OWNER, MANIFEST, REF)])
    monkeypatch.setattr(oversight, "_durable", honest)
    await made.restarted().hits(asked(3), [])
    made.look()
    assert made.reasons() == ["NOTICES_MISSING"]


async def test_queries_at_once_have_a_number_each(made: Watched) -> None:
    """Many writers at a time leave neither a gap nor two of one number."""
    await asyncio.gather(*(made.outbox.hits(asked(n), []) for n in range(12)))
    assert made.look() == 12
    assert made.reasons() == []


async def test_what_an_owner_sent_goes_on_unopened(made: Watched) -> None:
    """The octets come out as they came in."""
    await made.outbox.decoys(OWNER, MANIFEST, QUERY)
    (found,) = contents(made)
    assert (found.owner, found.manifest, found.sealed) == (OWNER, MANIFEST, QUERY)  # type: ignore[attr-defined]

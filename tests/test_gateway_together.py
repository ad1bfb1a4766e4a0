"""Two gateways of one log: what is brought to both is taken once; either shows what both took."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from fairlead.errors import Conflict, Overloaded
from fairlead.leaves import LeafWriter
from fairlead.receipts import verify_receipt
from fairlead.v1 import query_pb2
from gateway import feedback
from gateway.app import MIGRATIONS
from tests.audited import Shelf, open_log, shelf
from tests.blind import require_libsodium
from tests.delivery import Stage, alarms, publications, rows
from tests.postgres import Postgres
from tests.test_gateway_publications import listed, piece
from tests.test_gateway_witnesses import running, witnesses
from tests.walks import ASKER, NOW, World, make_world
from tests.witnessing import Desk, Town, Wires
from tests.witnessing import desk as gathering

require_libsodium()
TOGETHER = 12
"""Times that something is brought to both at once."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("together"))


@pytest.fixture
def logs(log_server: Postgres, tmp_path: Path) -> Iterator[Shelf]:
    with shelf(tmp_path, log_server) as made:
        yield made


@pytest.fixture
def stages(world: World, logs: Shelf, tmp_path: Path) -> Iterator[tuple[Stage, Stage]]:
    place = logs.place()
    made = Stage(world, tmp_path / "1", place=place), Stage(world, tmp_path / "2", place=place)
    yield made
    for stage in made:
        stage.close()


async def test_a_manifest_brought_to_both_is_taken_once(stages: tuple[Stage, Stage]) -> None:
    """Both give a receipt of the same leaf."""
    for _ in range(TOGETHER):
        made = stages[0].make(rows(10))
        found = await asyncio.gather(*(stage.offer(made.signed) for stage in stages))
        assert len({answer.receipt.leaf for answer in found}) == 1
        assert found[0].receipt.leaf
    assert publications(stages[0].log) == ["manifest-accepted"] * TOGETHER


async def test_of_two_manifests_of_one_serial_one_is_taken(stages: tuple[Stage, Stage]) -> None:
    """A fork shown to two gateways at once is found like any other, and is an alarm."""
    base = await stages[0].publish(rows(10))
    for _ in range(TOGETHER):
        following = {"serial": base.manifest.serial + 1, "predecessor": base.manifest.digest}
        forks = [stages[0].make(rows(10, version=side), **following) for side in (1, 2)]
        found = await asyncio.gather(
            *(stage.offer(made.signed) for stage, made in zip(stages, forks, strict=True))
        )
        taken = [answer.HasField("receipt") for answer in found]
        assert sorted(taken) == [False, True]
        base = forks[taken.index(True)]
    assert len(alarms(stages[0].log)) == TOGETHER
    assert publications(stages[0].log).count("manifest-accepted") == TOGETHER + 1


async def test_either_lists_and_proves_what_the_other_took(
    world: World, stages: tuple[Stage, Stage]
) -> None:
    """Positions go on through both, and each receipt extends the head that the reader holds."""
    position, head = 0, None
    for number in range(4):
        stage, other = stages[number % 2], stages[1 - number % 2]
        scheme = ("container", "vessel-imo", "vehicle-plate", "seal")[number]
        made = await stage.publish(rows(10), serial=1, predecessor=b"", scheme=scheme)
        size = head.size if head else 0
        page = await listed(other, after=position, head_size=size)
        (item,) = page.manifests
        assert item.manifest == made.signed
        assert item.position > position
        head = verify_receipt(
            item.receipt, origin=world.gateway.log_origin, public_key=world.gateway.log_key,
            head=head,
        )  # fmt: skip
        position = item.position


async def test_a_reader_that_begins_at_both_leaves_one_leaf(stages: tuple[Stage, Stage]) -> None:
    """The first piece of a manifest for a reader is a leaf, whoever passes it on."""
    made = await stages[0].publish(rows(10))
    stages[1].made = stages[0].made
    peer = stages[0].world.peer(ASKER)
    await asyncio.gather(
        *(stage.publications.fetch(piece(made), peer) for stage in stages for _ in range(2))
    )
    assert publications(stages[0].log) == ["manifest-accepted", "relayed"]


# Witnesses. --------------------------------------------------------------------------------------


@asynccontextmanager
async def desks(
    world: World, logs: Shelf, folder: Path
) -> AsyncIterator[tuple[Town, tuple[Desk, Desk]]]:
    """Two gateways that have the log they share cosigned by the same witnesses."""
    town, place = Town.of(world, 4), logs.place()
    wires = Wires(town)
    with (
        gathering(folder / "1", town, wires, place=place) as one,
        gathering(folder / "2", town, wires, place=place) as two,
    ):
        async with witnesses(folder, town, wires):
            yield town, (one, two)


async def test_a_sensitive_query_at_either_has_a_quorum_before_anybody_is_asked(
    world: World, logs: Shelf, tmp_path: Path
) -> None:
    """Both wait at once, and each is told of a cosigned checkpoint that covers its own intent,
    whichever gateway showed the witnesses more."""
    async with desks(world, logs, tmp_path) as (town, both):
        async with running(both[0]), running(both[1]):
            for _ in range(3):
                indices = await asyncio.gather(*(each.write() for each in both))
                found = await asyncio.gather(
                    *(
                        each.collector.covering(index, town.directory, within_s=20)
                        for each, index in zip(both, indices, strict=True)
                    )
                )
                for each, index, head in zip(both, indices, found, strict=True):
                    receipt = each.log.receipt(index, under=head)
                    proven = verify_receipt(
                        receipt, origin=world.gateway.log_origin,
                        public_key=world.gateway.log_key, head=None,
                    )  # fmt: skip
                    assert proven.size == head.size > index
        assert not any(each.forked.is_set() or each.collector.status().forked for each in both)


async def test_what_the_gateway_beside_has_shown_is_no_fork(
    world: World, logs: Shelf, tmp_path: Path
) -> None:
    """A witness that holds more than this gateway has read yet is asked of the writer first."""
    async with desks(world, logs, tmp_path) as (_, (one, two)):
        await two.write(3)
        disputes, head = one.collector._disputes, two.log.head
        assert one.log.head.size < head.size
        assert not await disputes.contradicts("w-01", head, world.gateway)
        disputes.check()


# Feedback. ---------------------------------------------------------------------------------------


def desk(logs: Shelf, place: Any) -> feedback.FeedbackDesk:
    log = logs.open(place, migrations=feedback.MIGRATIONS)
    nothing = cast("Any", None)
    return feedback.FeedbackDesk(
        log=log, leaves=LeafWriter(log="gateway/gw-1", clock=lambda: NOW), directory=nothing,
        transport=nothing, clock=lambda: NOW, deadline_s=1.0,
    )  # fmt: skip


def header(number: int, query: int = 0) -> query_pb2.FeedbackHeader:
    return query_pb2.FeedbackHeader(
        feedback_id=number.to_bytes(16), query_id=query.to_bytes(16), partner_id="customs"
    )


async def test_feedback_brought_to_both_is_written_down_once(logs: Shelf) -> None:
    """The same octets at two gateways are one leaf; the same id with others is refused."""
    place = logs.place()
    desks = [desk(logs, place) for _ in range(2)]
    for number in range(TOGETHER):
        found = await asyncio.gather(
            *(each._record(header(number, number), bytes(32)) for each in desks),
            return_exceptions=True,
        )
        assert sorted(type(result).__name__ for result in found) == ["NoneType", "_Again"]
    with pytest.raises(Conflict):
        await desks[1]._record(header(0), bytes([1] * 32))
    assert desks[0]._log.read("SELECT count(*) FROM feedback") == [(TOGETHER,)]
    assert desks[0]._log.head.size + 1 >= TOGETHER


async def test_the_limit_of_feedback_is_one_for_both(logs: Shelf) -> None:
    """Who sends too much to one gateway cannot send the rest to another."""
    place = logs.place()
    desks = [desk(logs, place) for _ in range(2)]
    calls = [
        each._record(header(2 * number + side), bytes(32))
        for number in range(feedback.PER_QUERY) for side, each in enumerate(desks)
    ]  # fmt: skip
    found = await asyncio.gather(*calls, return_exceptions=True)
    taken = min(feedback.PER_QUERY, feedback.PER_MINUTE)
    assert sum(result is None for result in found) == taken
    assert sum(isinstance(result, Overloaded) for result in found) == len(calls) - taken


def test_every_table_of_a_gateway_can_be_made_in_both(logs: Shelf) -> None:
    """All that a gateway keeps beside its log is defined in words that both databases know."""
    log = open_log(logs.place(), migrations=MIGRATIONS)
    assert log.read("SELECT count(*) FROM queries") == [(0,)]
    log.close()

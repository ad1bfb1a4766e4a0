"""The one door: slots, envelope, repetition, decision, intent, in this order and on the record."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.admission import MIGRATIONS, Admission, Admitted, Intent, Replayed
from fairlead.auditlog import AuditLog
from fairlead.envelope.query import Query
from fairlead.errors import (
    Conflict,
    FairleadError,
    Forged,
    LogUnavailable,
    Overloaded,
    Refused,
)
from fairlead.leaves import LeafWriter
from fairlead.receipts import CheckpointFork, CheckpointStale
from fairlead.v1 import audit_pb2, query_pb2
from tests.walks import NOW, Walk, World, make_world

Decide = Callable[[Query], Awaitable[tuple[str, Intent]]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("admission"))


@dataclass(slots=True)
class Place:
    """A door with its log."""

    world: World
    log: AuditLog
    door: Admission
    leaves: LeafWriter
    decided: list[bytes] = field(default_factory=list)
    inside: list[Query] = field(default_factory=list)

    async def decide(self, query: Query) -> tuple[str, Intent]:
        """Permit and write an intent down."""
        self.decided.append(query.query_id)
        leaf, nonce = self.leaves.intent(
            query, rules=[], policy_serial=1, commits_to=b"x", detail_digest=b""
        )
        return "decision", Intent(leaf=leaf, nonce=nonce)

    async def admit(self, walk: Walk, decide: Decide | None = None) -> Admitted[str]:
        admitted = await self.door.admit(
            walk.signed,
            peer=self.world.peer("customs"),
            subject="X.Y",
            decide=decide or self.decide,
        )
        self.inside.append(admitted.query)
        return admitted

    def leave(self) -> None:
        self.door.leave(self.inside.pop())

    def written(self) -> list[audit_pb2.AuditLeaf]:
        rows = self.log.read("SELECT body FROM leaf ORDER BY idx")
        return [audit_pb2.AuditLeaf.FromString(body) for (body,) in rows]

    def types(self) -> list[str]:
        return [audit_pb2.LeafType.Name(leaf.type)[10:] for leaf in self.written()]

    async def free_slots(self) -> int:
        """How many queries the door still lets in, found out by letting them in."""
        let_in = 0
        try:
            while True:
                await self.admit(self.world.walk())
                let_in += 1
        except Overloaded:
            for _ in range(let_in):
                self.leave()
            return let_in


def make_place(world: World, folder: Path, *, limit: int = 40) -> Place:
    leaves = LeafWriter(log="gateway/gw-1", clock=lambda: NOW)
    log = AuditLog.open(
        folder / "audit.sqlite",
        origin="fairlead.demo/gateway/gw-1",
        key=world.gateway_key("log"),
        clock=lambda: NOW,
        migrations=MIGRATIONS,
    )
    door = Admission(
        log=log,
        leaves=leaves,
        directory=world.directory,
        deny_lists=world.opened.deny_lists,
        clock=lambda: NOW,
        limit=limit,
    )
    return Place(world, log, door, leaves)


@pytest.fixture
def place(world: World, tmp_path: Path) -> Iterator[Place]:
    made = make_place(world, tmp_path)
    yield made
    made.log.close()


def refusing(error: BaseException) -> Decide:
    async def decide(_query: Query) -> tuple[str, Intent]:
        raise error

    return decide


async def test_an_admitted_query_is_on_the_record_first(place: Place) -> None:
    """When the door opens, the INTENT leaf is durable and names the query."""
    walk = place.world.walk()
    admitted = await place.admit(walk)
    (leaf,) = place.written()
    assert (leaf.type, leaf.query_id) == (audit_pb2.LEAF_TYPE_INTENT, walk.query_id)
    assert (admitted.decision, admitted.intent.index) == ("decision", 0)


async def test_a_repetition_is_told_from_a_reused_id(place: Place) -> None:
    """The same octets are a replay, which is no refusal; other octets under the id are one."""
    walk = place.world.walk()
    await place.admit(walk)
    with pytest.raises(Replayed):
        await place.admit(walk)
    other = walk.resigned(header=lambda h: setattr(h, "issued_at", h.issued_at + 1))
    with pytest.raises(Conflict) as caught:
        await place.admit(other)
    assert caught.value.code == "QUERY_ID_REUSED"
    assert place.types() == ["INTENT", "REFUSAL"]
    assert len(place.decided) == 1


async def test_two_repetitions_at_once_are_decided_once_in_the_log(place: Place) -> None:
    """However many copies race through the door, one INTENT leaf and one admission come out."""
    walk = place.world.walk()
    results = await asyncio.gather(*(place.admit(walk) for _ in range(6)), return_exceptions=True)
    assert sum(isinstance(item, Admitted) for item in results) == 1
    assert sum(isinstance(item, Replayed) for item in results) == 5
    assert place.types() == ["INTENT"]


async def test_a_refusal_is_on_the_record_before_the_caller_hears(place: Place) -> None:
    """What decide refuses is a REFUSAL leaf with the peer, the codes and the claimed id."""
    walk = place.world.walk()
    with pytest.raises(Refused):
        await place.admit(walk, refusing(Refused("no", reasons=("CASE_REQUIRED",))))
    (leaf,) = place.written()
    assert list(leaf.reasons) == ["CASE_REQUIRED"]
    assert (leaf.subject, leaf.partner_id, leaf.query_id) == ("X.Y", "customs", walk.query_id)
    assert leaf.user == place.world.peer("customs").spiffe_id


async def test_a_forged_query_is_never_decided(place: Place) -> None:
    """Nothing is asked of policy before every signature has verified."""
    walk = place.world.walk()
    walk.signed.session_signature = bytes(64)
    with pytest.raises(Forged):
        await place.admit(walk)
    assert (place.decided, place.types()) == ([], ["REFUSAL"])


@pytest.mark.parametrize("header", [b"\xff", b"", b"\x0a\x03abc"])
async def test_a_refused_callers_octets_do_not_stop_the_log(place: Place, header: bytes) -> None:
    """A header that cannot be read, or claims a short id, is a refusal without an id."""
    signed = query_pb2.SignedQuery(header=header)
    with pytest.raises(FairleadError):
        await place.door.admit(
            signed, peer=place.world.peer("customs"), subject="X.Y", decide=place.decide
        )
    (leaf,) = place.written()
    assert leaf.query_id == b""


async def test_a_stale_receipt_is_no_refusal(place: Place) -> None:
    """CHECKPOINT_STALE asks for another receipt: no leaf, no slot, and the query may come again."""
    walk = place.world.walk()
    with pytest.raises(CheckpointStale):
        await place.admit(walk, refusing(CheckpointStale(7)))
    assert place.types() == []
    await place.admit(walk)
    assert place.types() == ["INTENT"]


async def test_a_fork_is_an_alarm_with_both_heads(place: Place) -> None:
    """Two histories become an ALARM leaf that keeps both signed heads."""
    with pytest.raises(CheckpointFork):
        await place.admit(
            place.world.walk(), refusing(CheckpointFork(accepted="one", offered="two"))
        )
    (leaf,) = place.written()
    assert leaf.type == audit_pb2.LEAF_TYPE_ALARM
    assert list(leaf.checkpoints) == ["one", "two"]


async def test_a_full_house_refuses_before_any_work(world: World, tmp_path: Path) -> None:
    """Beyond the limit a query is refused on the record, undecided, until somebody leaves."""
    place = make_place(world, tmp_path, limit=8)  # an asker's share is a quarter
    try:
        for _ in range(2):
            await place.admit(world.walk())
        with pytest.raises(Overloaded):
            await place.admit(world.walk())
        assert len(place.decided) == 2
        assert place.types() == ["INTENT", "INTENT", "REFUSAL"]
        place.leave()
        await place.admit(world.walk())
    finally:
        place.log.close()


async def test_a_shut_door_refuses_on_the_record_and_keeps_who_is_inside(
    world: World, tmp_path: Path
) -> None:
    """A server about to stop says so, decides nothing new, and repetitions are still told."""
    place = make_place(world, tmp_path)
    try:
        first = world.walk()
        await place.admit(first)
        place.door.shut()
        with pytest.raises(Overloaded) as refused:
            await place.admit(world.walk())
        assert refused.value.reasons == ("DRAINING",)
        assert refused.value.remedy
        with pytest.raises(Replayed):
            await place.admit(first)
        assert len(place.decided) == 1
        assert place.types() == ["INTENT", "REFUSAL"]
        place.leave()
    finally:
        place.log.close()


async def test_one_asker_cannot_keep_the_others_out(world: World, tmp_path: Path) -> None:
    """A partner gets a quarter of the places; the whole house has its limit as well."""
    place = make_place(world, tmp_path, limit=8)
    try:
        assert await place.free_slots() == 2
        for other in ("police", "oceanic-line", "terminal-north"):
            place.door._inside[other] = 2
        assert await place.free_slots() == 2
        place.door._inside["police"] = 4
        assert await place.free_slots() == 0
    finally:
        place.log.close()


async def test_a_node_brings_its_own_partners_queries_only(place: Place) -> None:
    """Another partner's node is refused; a gateway brings everybody's."""
    walk = place.world.walk()
    for peer, refused in (("police", True), ("gw-1", False)):
        bring = place.door.admit(
            walk.signed, peer=place.world.peer(peer), subject="X.Y", decide=place.decide
        )
        if refused:
            with pytest.raises(Forged) as caught:
                await bring
            assert caught.value.code == "WRONG_PEER"
        else:
            await bring


async def test_one_mandate_is_one_query(place: Place) -> None:
    """A second query under the same mandate and chunk is refused, whatever its id."""
    walk, other = place.world.walk(), place.world.walk()
    await place.admit(walk)
    again = walk.resigned(header=lambda h: setattr(h, "query_id", other.query_id))
    with pytest.raises(Conflict) as caught:
        await place.admit(again)
    assert caught.value.code == "MANDATE_USED"


async def test_work_of_the_intents_transaction_fails_with_it(place: Place) -> None:
    """What ``also`` refuses leaves neither leaf nor replay record: the query may come again."""
    walk = place.world.walk()

    def broken(_connection: object) -> None:
        raise CheckpointStale(3)

    async def decide(query: Query) -> tuple[str, Intent]:
        decision, intent = await place.decide(query)
        return decision, Intent(leaf=intent.leaf, nonce=intent.nonce, also=broken)

    with pytest.raises(CheckpointStale):
        await place.admit(walk, decide)
    assert place.types() == []
    await place.admit(walk)


async def test_without_a_log_nobody_passes_and_nobody_is_told_why(
    world: World, tmp_path: Path
) -> None:
    """When the log cannot be written, queries and refusals alike end as LOG_UNAVAILABLE."""
    place = make_place(world, tmp_path)
    good, bad = world.walk(), world.walk()
    bad.signed.session_signature = bytes(64)
    reader = place.log.read
    place.log._writer.close()
    for walk in (good, bad):
        with pytest.raises(LogUnavailable):
            await place.admit(walk)
    assert place.door._inside.total() == 0
    assert reader("SELECT count(*) FROM leaf") == [(0,)]
    place.log.close()


OPS: dict[str, Any] = {
    "refused": Refused("no"),
    "stale": CheckpointStale(1),
    "fork": CheckpointFork(accepted="a", offered="b"),
    "defect": RuntimeError("defect"),
    "cancelled": asyncio.CancelledError(),
}


@settings(max_examples=12, deadline=None)
@given(
    steps=st.lists(
        st.sampled_from([*OPS, "good", "leave", "again", "reused", "forged", "broken off"]),
        max_size=10,
    )
)
def test_slots_are_always_given_back(world: World, steps: list[str]) -> None:
    """After any sequence of ends, exactly the admitted that did not leave hold a slot."""

    async def scenario(place: Place) -> None:
        inside = 0
        last: Walk | None = None
        for step in steps:
            walk = world.walk()
            if step == "leave":
                if inside:
                    place.leave()
                    inside -= 1
                continue
            if step == "broken off":
                task = asyncio.ensure_future(place.admit(walk))
                await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                continue
            if step in ("again", "reused") and last is not None:
                walk = last
                if step == "reused":
                    walk = last.resigned(header=lambda h: setattr(h, "issued_at", int(NOW) - 1))
            if step == "forged":
                walk.signed.statement_signature = b""
            try:
                await place.admit(walk, refusing(OPS[step]) if step in OPS else None)
                inside, last = inside + 1, walk
            except (FairleadError, RuntimeError, asyncio.CancelledError):
                pass
        assert await place.free_slots() == 10 - inside

    with tempfile.TemporaryDirectory() as folder:
        place = make_place(world, Path(folder), limit=40)
        try:
            asyncio.run(scenario(place))
        finally:
            place.log.close()

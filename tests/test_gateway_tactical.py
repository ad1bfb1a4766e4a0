"""The gateway's walk: everything on the record, every partner's state named, each query once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import pytest
import pytest_asyncio

from fairlead import signing
from fairlead.certificates import Identity
from fairlead.envelope.outcome import Outcome, verify_outcome
from fairlead.envelope.query import Scope
from fairlead.errors import Conflict, FairleadError, Forged, Stale
from fairlead.v1 import audit_pb2, gateway_pb2, query_pb2
from tests.federation import Federation, apart, federation
from tests.walks import Walk, World, world_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
OWNERS = ("police", "terminal-north")
Events = list[gateway_pb2.QueryResponse]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Federation]:
    folder = tmp_path_factory.mktemp("tactical")
    async with federation(folder, partners=("customs", *OWNERS)) as running:
        yield running


@pytest.fixture
def world(made: Federation) -> World:
    return world_of(made.layout, now=time.time())


def walk_of(world: World, **changes: Any) -> Walk:
    """A query about the last month: policy wants a beginning."""
    return world.walk(**{"scope": Scope(since=int(world.now) - 30 * 86_400), **changes})


def request(walk: Walk, **changes: object) -> gateway_pb2.QueryRequest:
    parts = [query_pb2.AddressedPart(partner_id=p, part=d) for p, d in walk.parts.items()]
    fields: dict[str, object] = {"query": walk.signed, "parts": parts, "head_size": 0}
    fields["detail"] = walk.detail
    return gateway_pb2.QueryRequest(**{**fields, **changes})  # type: ignore[arg-type]


async def ask(
    made: Federation, message: gateway_pb2.QueryRequest, peer: Identity | None = None
) -> Events:
    assert made.gateway is not None
    who = peer or world_of(made.layout, now=time.time()).peer("customs")
    async with aclosing(made.gateway.tactical.query(message, who)) as events:
        return [event async for response in events for event in apart(response)]


def leaves(made: Federation, query_id: bytes) -> list[audit_pb2.AuditLeaf]:
    """The gateway's leaves about one query, in order."""
    assert made.gateway is not None
    rows = made.gateway.log.read("SELECT body FROM leaf ORDER BY idx")
    found = [audit_pb2.AuditLeaf.FromString(body) for (body,) in rows]
    return [
        leaf
        for leaf in found
        if query_id in {leaf.query_id, *(item.query_id for item in leaf.released)}
    ]


def types(found: list[audit_pb2.AuditLeaf]) -> list[str]:
    return [audit_pb2.LeafType.Name(leaf.type).removeprefix("LEAF_TYPE_") for leaf in found]


def outcome_of(world: World, walk: Walk, events: Events) -> Outcome:
    closed = events[-1].closed
    return verify_outcome(
        closed.outcome,
        closed.signature,
        query_id=walk.query_id,
        header_digest=signing.digest(walk.signed.header),
        gateway=world.gateway,
    )


def statuses(events: Events) -> dict[str, tuple[int, str]]:
    found = [line for event in events for line in event.partners]
    return {item.partner_id: (item.status, item.reason) for item in found}


async def closed(made: Federation, query_id: bytes) -> None:
    """Wait until a query has its OUTCOME."""
    for _ in range(3000):
        if "OUTCOME" in types(leaves(made, query_id)):
            return
        await asyncio.sleep(0.01)
    raise AssertionError


async def test_a_query_is_accepted_answered_and_closed_in_this_order(
    made: Federation, world: World
) -> None:
    """First the intent, then a line per owner, last the outcome; each with its leaf before."""
    walk = walk_of(world, asked=OWNERS)
    events = await ask(made, request(walk))
    kinds = [field.name for event in events for field, _ in event.ListFields()]
    assert kinds == ["accepted", "partners", "partners", "closed"]
    assert statuses(events) == dict.fromkeys(OWNERS, (query_pb2.STATUS_ANSWERED, ""))
    found = leaves(made, walk.query_id)
    assert types(found)[0] == "INTENT"
    assert types(found)[-1] == "OUTCOME"
    released = [item.partner_id for leaf in found for item in leaf.released]
    assert sorted(released) == sorted(OWNERS)
    said = outcome_of(world, walk, events).states
    assert {p: (s.status, s.reason) for p, s in said.items()} == statuses(events)


async def test_the_intent_commits_to_who_is_asked(made: Federation, world: World) -> None:
    """The nonce kept beside the replay record opens the leaf's commitment."""
    assert made.gateway is not None
    walk = walk_of(world, asked=OWNERS)
    await ask(made, request(walk))
    ((nonce,),) = made.gateway.log.read(
        "SELECT nonce FROM queries WHERE query_id = ?", (walk.query_id,)
    )
    intent = leaves(made, walk.query_id)[0]
    assert intent.commitment == signing.commit(nonce, ",".join(sorted(OWNERS)).encode())
    assert not intent.partners


async def test_a_query_whose_directory_names_another_log_is_refused(
    made: Federation, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a log begins anew, nobody is asked under a directory that names the one that ended:
    its owners wait for receipts of the other."""
    assert made.gateway is not None
    walk, log = walk_of(world, asked=OWNERS), made.gateway.log
    monkeypatch.setattr(log, "_origin", f"{log.origin}/2")
    with pytest.raises(Stale) as caught:
        await ask(made, request(walk))
    assert caught.value.code == "DIRECTORY_MISMATCH"
    assert "INTENT" not in types(leaves(made, walk.query_id))


async def test_a_repetition_shows_the_same_and_asks_nobody(made: Federation, world: World) -> None:
    """The second time the same octets come back, and no log grows anywhere."""
    walk = walk_of(world, asked=OWNERS)
    first = await ask(made, request(walk))
    heads = [node.log.head.size for node in made.nodes.values()]
    assert made.gateway is not None
    size = made.gateway.log.head.size
    assert await ask(made, request(walk)) == first
    assert [node.log.head.size for node in made.nodes.values()] == heads
    assert made.gateway.log.head.size == size


async def test_repetitions_under_way_share_one_run(made: Federation, world: World) -> None:
    """Copies sent at once see the same events and cause one intent."""
    walk = walk_of(world, asked=OWNERS)
    first = asyncio.ensure_future(ask(made, request(walk)))
    while not leaves(made, walk.query_id):
        await asyncio.sleep(0)
    others = await asyncio.gather(*(ask(made, request(walk)) for _ in range(3)))
    events = await first
    assert others == [events] * 3
    assert Counter(types(leaves(made, walk.query_id)))["INTENT"] == 1


async def test_the_same_id_or_mandate_for_another_query_is_a_conflict(
    made: Federation, world: World
) -> None:
    """One id is one query, and one mandate's chunk is one query."""
    walk = walk_of(world, asked=OWNERS)
    await ask(made, request(walk))
    other = walk.resigned(header=lambda h: setattr(h, "issued_at", h.issued_at - 1))
    with pytest.raises(Conflict) as caught:
        await ask(made, request(other))
    assert caught.value.code == "QUERY_ID_REUSED"
    fresh = walk_of(world, asked=OWNERS)
    again = walk.resigned(header=lambda h: setattr(h, "query_id", fresh.query_id))
    with pytest.raises(Conflict) as caught:
        await ask(made, request(again))
    assert caught.value.code == "MANDATE_USED"


@pytest.mark.parametrize("steps", [*range(0, 40, 3), 60, 120])
async def test_whenever_the_asker_leaves_the_query_is_closed_exactly_once(
    made: Federation, world: World, steps: int
) -> None:
    """Leaving at any moment ends in one OUTCOME that names every owner, and frees the place."""
    assert made.gateway is not None
    walk = walk_of(world, asked=OWNERS)
    task = asyncio.ensure_future(ask(made, request(walk)))
    while not leaves(made, walk.query_id):
        await asyncio.sleep(0)
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await closed(made, walk.query_id)
    await made.gateway.tactical.drain()
    found = leaves(made, walk.query_id)
    assert Counter(types(found))["OUTCOME"] == 1
    (end,) = (leaf for leaf in found if leaf.type == audit_pb2.LEAF_TYPE_OUTCOME)
    assert {item.partner_id for item in end.partners} == set(OWNERS)


async def test_an_asker_that_leaves_after_the_last_answer_gets_one_outcome(
    made: Federation, world: World
) -> None:
    """Leaving while the outcome is being written does not write a second one."""
    assert made.gateway is not None
    walks = []
    for pause in range(12):
        walk = walk_of(world, asked=OWNERS)
        walks.append(walk)
        events = made.gateway.tactical.query(request(walk), world.peer("customs"))
        seen = 0
        async for event in events:
            seen += len(event.partners)
            if seen == len(OWNERS):
                break
        for _ in range(pause):
            await asyncio.sleep(0)
        await events.aclose()
        await closed(made, walk.query_id)
    await made.gateway.tactical.drain()
    for walk in walks:
        assert Counter(types(leaves(made, walk.query_id)))["OUTCOME"] == 1


def to_nobody(message: gateway_pb2.QueryRequest) -> None:
    del message.parts[:]


def to_a_stranger(message: gateway_pb2.QueryRequest) -> None:
    message.parts[0].partner_id = "nobody"


def to_the_asker(message: gateway_pb2.QueryRequest) -> None:
    message.parts[0].partner_id = "customs"


def to_another(message: gateway_pb2.QueryRequest) -> None:
    one, two = message.parts
    one.partner_id, two.partner_id = two.partner_id, one.partner_id


def twice(message: gateway_pb2.QueryRequest) -> None:
    message.parts.append(message.parts[0])


def changed(message: gateway_pb2.QueryRequest) -> None:
    message.parts[0].part += b"\x00"


@pytest.mark.parametrize(
    "change", [to_nobody, to_a_stranger, to_the_asker, to_another, twice, changed]
)
async def test_parts_that_the_header_does_not_name_are_refused(
    made: Federation, world: World, change: Callable[[gateway_pb2.QueryRequest], None]
) -> None:
    """Every part goes to the partner the signed header names it for, or nothing goes out."""
    walk = walk_of(world, asked=OWNERS)
    message = request(walk)
    change(message)
    with pytest.raises(Forged):
        await ask(made, message)
    assert types(leaves(made, walk.query_id)) == ["REFUSAL"]


async def test_another_partners_node_cannot_bring_a_query(made: Federation, world: World) -> None:
    """A query is brought by its own asker's node, whoever signed it."""
    walk = walk_of(world, asked=["terminal-north"])
    with pytest.raises(Forged) as caught:
        await ask(made, request(walk), world.peer("police"))
    assert caught.value.code == "WRONG_PEER"
    assert types(leaves(made, walk.query_id)) == ["REFUSAL"]


async def test_who_may_not_be_asked_sealed_is_named_and_not_asked(
    made: Federation, world: World
) -> None:
    """Policy that demands blind for one owner leaves the other one askable."""
    walk = walk_of(world, asked=OWNERS, purpose="customs-risk")
    before = made.nodes["terminal-north"].log.head.size
    events = await ask(made, request(walk))
    found = statuses(events)
    assert found["terminal-north"] == (query_pb2.STATUS_NOT_ASKED, "BLIND_REQUIRED")
    assert found["police"] == (query_pb2.STATUS_ANSWERED, "")
    assert made.nodes["terminal-north"].log.head.size == before


async def test_a_purpose_nobody_agreed_to_is_refused_on_the_record(
    made: Federation, world: World
) -> None:
    """A purpose without a meaning in policy asks nobody."""
    walk = walk_of(world, asked=OWNERS, purpose="curiosity")
    with pytest.raises(FairleadError) as caught:
        await ask(made, request(walk))
    (leaf,) = leaves(made, walk.query_id)
    assert list(leaf.reasons) == list(caught.value.reasons)


async def test_a_stopped_owner_is_unreachable_and_the_others_answer(
    made: Federation, world: World
) -> None:
    """One absent owner is one line; the outcome says the same."""
    await made.stop_node("police")
    try:
        walk = walk_of(world, asked=OWNERS)
        events = await ask(made, request(walk))
        assert statuses(events)["police"][0] == query_pb2.STATUS_UNREACHABLE
        assert statuses(events)["terminal-north"][0] == query_pb2.STATUS_ANSWERED
        said = outcome_of(world, walk, events).states["police"]
        assert (said.status, said.answer_digest) == (query_pb2.STATUS_UNREACHABLE, b"")
    finally:
        await made.start_node("police")


async def test_after_a_restart_a_repetition_shows_the_outcome_alone(
    made: Federation, world: World
) -> None:
    """Answers are not kept over a restart; the signed outcome is, and nobody is asked again."""
    walk = walk_of(world, asked=["terminal-north"])
    events = await ask(made, request(walk))
    await made.stop_gateway()
    await made.start_gateway()
    again = await ask(made, request(walk))
    assert [field.name for event in again for field, _ in event.ListFields()] == ["closed"]
    assert again[0].closed.outcome == events[-1].closed.outcome
    assert types(leaves(made, walk.query_id)).count("INTENT") == 1


async def test_a_query_cut_by_a_crash_is_not_continued(made: Federation, world: World) -> None:
    """An intent without outcome, as a killed gateway leaves it, is stale when repeated."""
    assert made.gateway is not None
    walk = walk_of(world, asked=["terminal-north"])
    await ask(made, request(walk))
    await made.stop_gateway()
    app = await made.start_gateway()
    forget = "UPDATE queries SET outcome = NULL, signature = NULL WHERE query_id = ?"
    leaf = signing.canonical(
        audit_pb2.AuditLeaf(type=audit_pb2.LEAF_TYPE_ALARM, log="gateway/gw-1")
    )
    await app.log.append(leaf, also=lambda c: c.execute(forget, (walk.query_id,)) and None)
    with pytest.raises(Stale) as caught:
        await ask(made, request(walk))
    assert caught.value.code == "QUERY_INTERRUPTED"


async def test_receipts_start_from_the_askers_head(made: Federation, world: World) -> None:
    """The intent's receipt connects to the head the asker named, cut to this log's own size."""
    for named, wanted in ((0, 0), (1, 1), (2**63, None)):
        walk = walk_of(world, asked=["terminal-north"])
        events = await ask(made, request(walk, head_size=named))
        start = events[0].accepted.intent.consistency_from
        assert start == wanted or (wanted is None and 0 < start < 2**63)

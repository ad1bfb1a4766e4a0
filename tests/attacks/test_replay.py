"""Attack: a query sent again, to be answered twice, answered differently, or seen by others."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import grpc

from fairlead import signing
from fairlead.envelope.query import sign_query
from fairlead.v1 import gateway_pb2, query_pb2
from tests.attacks.crafted import OTHER_OWNER, OWNER, Crafted, craft, node_key
from tests.attacks.evil import EvilGateway, EvilNode, intents, refusals, refused, tap
from tests.details import naming
from tests.federation import Federation, federation

EXISTS = grpc.StatusCode.ALREADY_EXISTS


def octets(events: list[gateway_pb2.QueryResponse]) -> list[bytes]:
    """Events as octets, to be compared."""
    return [event.SerializeToString() for event in events]


def again(made: Federation, crafted: Crafted) -> Crafted:
    """Another query under the same signed mandate, by the node that holds its session key."""
    content = query_pb2.Mandate.FromString(crafted.signed.mandate)
    fresh = craft(made, session=crafted.session)
    signed = sign_query(
        mandate=signing.canonical(content),
        mandate_signature=crafted.signed.mandate_signature,
        user_certificate=crafted.signed.user_certificate,
        session=crafted.session,
        node_key=node_key(made, "customs"),
        query_id=fresh.query_id,
        parts=fresh.parts,
        part_seed=bytes(32),
        reply_key=fresh.reply_key.public_bytes(),
        directory=made.directory,
        policy_serial=1,
        now=time.time(),
        detail=naming(fresh.detail),
    )
    return replace(fresh, signed=signed)


async def test_the_same_bytes_twice_are_executed_once(tmp_path: Path) -> None:
    """The gateway shows the stored events; the owners hear of the repetition nothing at all."""
    async with federation(tmp_path) as made, EvilNode(made) as node:
        assert made.gateway is not None
        asked = tap(made.nodes[OWNER].answering, "answer")
        crafted = craft(made)
        first = await node.ask(crafted)
        size = made.gateway.log.head.size
        again = await node.ask(crafted)
        assert octets(again) == octets(first)
        assert [intents(made.nodes[p].log) for p in (OWNER, OTHER_OWNER)] == [1, 1]
        assert len(asked) == 1
        assert (intents(made.gateway.log), made.gateway.log.head.size) == (1, size)


async def test_the_same_bytes_at_the_same_time_are_executed_once(tmp_path: Path) -> None:
    """Eight copies in flight at once lead to one INTENT, one question per owner, one story."""
    async with federation(tmp_path) as made, EvilNode(made) as node:
        assert made.gateway is not None
        crafted = craft(made)
        runs = await asyncio.gather(*(node.ask(crafted) for _ in range(8)))
        shown = {tuple(octets(run)) for run in runs}
        assert len(shown) == 1
        assert intents(made.gateway.log) == intents(made.nodes[OWNER].log) == 1


async def test_a_restarted_gateway_still_executes_once(tmp_path: Path) -> None:
    """After a restart the stored outcome comes back and no owner is asked."""
    async with federation(tmp_path) as made:
        crafted = craft(made)
        async with EvilNode(made) as node:
            first = await node.ask(crafted)
        await made.stop_gateway()
        await made.start_gateway()
        assert made.gateway is not None
        async with EvilNode(made) as node:
            again = await node.ask(crafted)
        closed = next(event.closed for event in first if event.HasField("closed"))
        assert [field.name for event in again for field, _ in event.ListFields()] == ["closed"]
        assert again[0].closed.outcome == closed.outcome
        assert intents(made.gateway.log) == intents(made.nodes[OWNER].log) == 1


async def test_the_same_id_with_another_content_is_refused(tmp_path: Path) -> None:
    """One query id is one query: another header under it is ALREADY_EXISTS and asks nobody."""
    async with federation(tmp_path) as made, EvilNode(made) as node:
        assert made.gateway is not None
        crafted = craft(made)
        await node.ask(crafted)
        other = craft(made, session=crafted.session, query_id=crafted.query_id)
        assert other.signed.header != crafted.signed.header
        with refused("QUERY_ID_REUSED", code=EXISTS):
            await node.ask(other)
        assert intents(made.gateway.log) == intents(made.nodes[OWNER].log) == 1
        assert refusals(made.gateway.log) == ["QUERY_ID_REUSED"]


async def test_a_gateway_that_repeats_a_query_gets_the_stored_answer(tmp_path: Path) -> None:
    """Repeating under a wider grant yields the very same octets; nothing is looked up again."""
    async with federation(tmp_path) as made, EvilGateway(made) as gateway:
        composed = tap(made.nodes[OWNER].answering, "_compose")
        crafted = craft(made)
        first = await gateway.ask(crafted, facets=["existence"])
        again = await gateway.ask(crafted)
        assert again.answer.SerializeToString() == first.answer.SerializeToString()
        (answer,) = crafted.open(again.answer, OWNER)
        assert answer.hit
        assert not answer.records
        assert len(composed) == 1
        assert intents(made.nodes[OWNER].log) == 1


async def test_a_restarted_owner_does_not_answer_a_repetition(tmp_path: Path) -> None:
    """Its log remembers the query although its memory does not: ALREADY_EXISTS."""
    async with federation(tmp_path) as made, EvilGateway(made) as gateway:
        crafted = craft(made)
        await gateway.ask(crafted)
        await made.stop_node(OWNER)
        await made.start_node(OWNER)
        with refused("REPLAYED", code=EXISTS):
            await gateway.ask(crafted)
        assert intents(made.nodes[OWNER].log) == 1


async def test_an_old_query_is_not_executed_later(tmp_path: Path) -> None:
    """Kept for five minutes or dated ahead: neither header nor statement alone may be refreshed."""
    async with federation(tmp_path) as made, EvilNode(made) as node, EvilGateway(made) as gateway:
        assert made.gateway is not None
        template = await gateway.request(craft(made))
        now = time.time()
        for shift in (-300, 300):
            fresh, moved = {"issued_at": int(now)}, {"issued_at": int(now) + shift}
            for kept in (
                craft(made, now=now + shift, mandate_before=fresh, statement_before=fresh),
                craft(made, now=now, statement_before=moved),
            ):
                with refused("QUERY_WINDOW", code=grpc.StatusCode.FAILED_PRECONDITION):
                    await node.ask(kept)
                template.query.CopyFrom(kept.signed)
                with refused("QUERY_WINDOW", code=grpc.StatusCode.FAILED_PRECONDITION):
                    await gateway.send(template)
        assert intents(made.gateway.log) == intents(made.nodes[OWNER].log) == 0


async def test_an_owner_cannot_replay_the_askers_query_to_see_its_events(tmp_path: Path) -> None:
    """An owner holds the signed query; sending it to the gateway must not show the other owners."""
    async with federation(tmp_path) as made, EvilNode(made, OWNER) as thief:
        assert made.gateway is not None
        received = tap(made.nodes[OWNER].answering, "answer")
        await made.open_case()
        await made.ask()
        stolen = gateway_pb2.QueryRequest(query=received[0].query)
        seen: list[gateway_pb2.QueryResponse] = []
        with refused("WRONG_PEER"):
            call = thief.gateway.Query(stolen, timeout=10)
            async for event in call:
                seen.append(event)  # noqa: PERF401  what came before the error counts
        assert seen == []


async def test_two_queries_under_one_mandate_need_two_signed_headers(tmp_path: Path) -> None:
    """A new id put into an old header breaks the session's signature."""
    async with federation(tmp_path) as made, EvilNode(made) as node:
        crafted = craft(made)
        header = query_pb2.QueryHeader.FromString(crafted.signed.header)
        header.query_id = craft(made).query_id
        crafted.signed.header = signing.canonical(header)
        with refused("SIGNATURE"):
            await node.ask(crafted)


async def test_a_node_cannot_spend_one_mandate_twice(tmp_path: Path) -> None:
    """The user signed once: a second query of the node's own under that mandate is refused."""
    async with federation(tmp_path) as made, EvilNode(made) as node, EvilGateway(made) as gateway:
        assert made.gateway is not None
        first = craft(made)
        await node.ask(first)
        second = again(made, first)
        with refused("MANDATE_USED", code=EXISTS):
            await node.ask(second)
        with refused("MANDATE_USED", code=EXISTS):
            await gateway.ask(second)
        assert intents(made.gateway.log) == intents(made.nodes[OWNER].log) == 1
        assert refusals(made.gateway.log) == refusals(made.nodes[OWNER].log) == ["MANDATE_USED"]

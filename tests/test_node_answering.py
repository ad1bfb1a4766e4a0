"""The owner's side: it verifies, decides and writes down everything itself, before it answers."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fairlead import sealing, signing
from fairlead.envelope.answer import SEAL_OVERHEAD, open_answer, verify_answer
from fairlead.envelope.query import Scope
from fairlead.errors import Conflict, FairleadError, Forged, Refused, Stale
from fairlead.leaves import LeafWriter
from fairlead.receipts import CheckpointFork
from fairlead.v1 import audit_pb2, query_pb2
from node.answering import _facts
from node.disclosing import Disclosure
from node.indexing import INDEX_FILE
from tests.federation import OTHER, STORY, federation, record
from tests.places import OWNER, Place
from tests.walks import PaperLog, Walk, world_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


def opened(walk: Walk, answer: query_pb2.SignedAnswer) -> tuple[query_pb2.TermAnswer, ...]:
    """Verify and open an answer as the asker does."""
    verify_answer(
        answer,
        query_id=walk.query_id,
        header_digest=signing.digest(walk.signed.header),
        terms=len(walk.terms),
        owner=walk.world.directory.partner(OWNER),
    )
    return open_answer(
        answer, query_id=walk.query_id, owner=OWNER, terms=len(walk.terms), key=walk.reply_key
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    folder = tmp_path_factory.mktemp("answering")
    async with federation(folder, partners=("customs", "police", OWNER), start=False) as made:
        await made.start_node(OWNER)
        log = PaperLog(world_of(made.layout, now=time.time()), [b"first"])
        yield Place(made, log)


async def test_an_answer_leaves_after_intent_and_release(place: Place) -> None:
    """The owner's own log holds the intent, with the gateway's, and the release, before it."""
    walk = place.walk()
    answer = await place.ask(walk)
    (found,) = opened(walk, answer)
    assert found.hit
    intent, release = place.leaves(walk.query_id)
    assert place.types(walk.query_id) == ["INTENT", "RELEASE"]
    assert intent.intent_leaf_hash
    assert release.released[0].answer_digest == signing.digest(answer.header)
    assert STORY.encode() not in intent.SerializeToString()


async def test_hit_and_no_hit_have_the_same_size_and_header_shape(place: Place) -> None:
    """For the same number of terms, everything but the sealed content has one size."""
    hit, miss = place.walk(), place.walk(("container", OTHER))
    one, two = await place.ask(hit), await place.ask(miss)
    assert opened(hit, one)[0].hit
    assert not opened(miss, two)[0].hit
    assert len(one.body) == len(two.body) == sealing.answer_size(1) + SEAL_OVERHEAD
    assert len(one.header) == len(two.header)
    assert place.types(hit.query_id) == place.types(miss.query_id)


async def test_hit_and_no_hit_leave_the_same_batches(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else the log writes while records are judged, their decisions are one batch of one
    size class, before RELEASE: a reader of the file sees no second one behind a hit."""
    log, inner = place.node.log, Disclosure._find
    leaf = LeafWriter(log=f"partner/{OWNER}", clock=time.time).history(subject="history-read")

    async def find(self: Disclosure, *arguments: Any) -> Any:
        await log.append(leaf)
        try:
            return await inner(self, *arguments)
        finally:
            await log.append(leaf)

    monkeypatch.setattr(Disclosure, "_find", find)
    seen = []
    for term in (STORY, OTHER):
        await log.append(leaf)  # with it, what waits from before
        size, walk = log.head.size, place.walk(("container", term))
        hit = opened(walk, await place.ask(walk))[0].hit
        rows = log.read(
            "SELECT leaf.body, length(decision_batch.body) FROM leaf LEFT JOIN decision_batch "
            "ON decision_batch.leaf = leaf.idx WHERE leaf.idx >= ? ORDER BY leaf.idx",
            (size,),
        )
        types = [audit_pb2.AuditLeaf.FromString(body).type for body, _ in rows]
        names = [audit_pb2.LeafType.Name(n).removeprefix("LEAF_TYPE_") for n in types]
        seen.append((hit, names, [(octets or 0) // 256 for _, octets in rows]))
    (hit, names, sizes), (miss, *other) = seen
    assert (hit, miss) == (True, False)
    assert [names, sizes] == other
    assert names == [
        "DECISION", "INTENT", "HISTORY", "HISTORY", "DECISION", "RELEASE",
    ]  # fmt: skip


async def test_under_another_log_than_the_one_followed_nothing_is_answered(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receipt of a log that ended, or of one that this node does not follow, binds nobody."""
    heads, walk = place.node.answering._heads, place.walk()
    entry = place.world.gateway
    moved = replace(entry, log_origin=f"{entry.log_origin}/2")
    monkeypatch.setattr(heads, "_gateway", moved)
    with pytest.raises(Stale) as caught:
        await place.ask(walk)
    assert caught.value.code == "DIRECTORY_MISMATCH"
    assert "INTENT" not in place.types(walk.query_id)


async def test_the_accepted_head_is_durable_with_the_intent(place: Place) -> None:
    """After an answer, the owner's file holds the head that the receipt proved."""
    await place.ask(place.walk())
    assert place.head() == place.log.size


async def test_two_queries_at_once_beyond_a_budget_leave_the_next_one_answered(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that cannot pay is refused, and neither it nor its head stands in the way after."""
    await place.ask(place.walk())
    budgets = place.node.answering._budgets
    monkeypatch.setattr(budgets, "check", lambda _: None)  # each sees what is left before either
    monkeypatch.setattr(budgets, "_user", replace(budgets._user, name="asked_race", limit=1))
    first = place.request(place.walk())
    second = place.request(place.walk(), known=place.log.size)
    told = await asyncio.gather(place.answer(first), place.answer(second), return_exceptions=True)
    assert sorted(type(one).__name__ for one in told) == ["AnswerResponse", "BudgetExhausted"]
    monkeypatch.undo()
    third = place.request(place.walk(), known=place.log.size)
    assert (await place.answer(third)).HasField("answer")
    assert place.head() == place.log.size


async def test_a_stale_receipt_is_answered_with_the_size_to_start_from(place: Place) -> None:
    """No leaf, no slot, and the same query with a better receipt is answered."""
    walk = place.walk()
    await place.ask(place.walk())
    request = place.request(walk, known=1)
    response = await place.answer(request)
    assert response.stale.size == place.head()
    assert place.types(walk.query_id) == []
    index = place.log.size - 1
    request.receipt.CopyFrom(place.log.receipt(index, known=response.stale.size))
    assert (await place.answer(request)).HasField("answer")


async def test_a_receipt_that_overtook_the_one_before_is_answered(place: Place) -> None:
    """The gateway builds each receipt on the last; the other way round on the wire, both hold."""
    await place.ask(place.walk())
    first = place.request(place.walk())
    second = place.request(place.walk(), known=place.log.size)
    early = asyncio.ensure_future(place.answer(second))
    await asyncio.sleep(0)
    assert (await place.answer(first)).HasField("answer")
    assert (await early).HasField("answer")


async def test_another_history_is_refused_with_an_alarm(place: Place) -> None:
    """A gateway that shows this owner another log is caught, and both heads are kept."""
    await place.ask(place.walk())
    size = place.log.size
    other = PaperLog(place.world, [b"other %d" % n for n in range(size)])
    walk = place.walk()
    with pytest.raises(CheckpointFork):
        await place.answer(place.request(walk, log=other))
    rows = place.node.log.read("SELECT body FROM leaf ORDER BY idx DESC LIMIT 1")
    leaf = audit_pb2.AuditLeaf.FromString(rows[0][0])
    assert leaf.type == audit_pb2.LEAF_TYPE_ALARM
    assert len(set(leaf.checkpoints)) == 2


async def test_a_repetition_gets_the_stored_answer(place: Place) -> None:
    """The same octets come back, nothing is looked up and nothing written."""
    walk = place.walk()
    request = place.request(walk)
    first = await place.answer(request)
    size = place.node.log.head.size
    assert await place.answer(request) == first
    assert place.node.log.head.size == size


async def test_after_a_restart_a_repetition_is_refused_on_the_record(place: Place) -> None:
    """Answers are not kept over a restart, and a query is answered once."""
    walk = place.walk()
    request = place.request(walk)
    await place.answer(request)
    await place.made.stop_node(OWNER)
    await place.made.start_node(OWNER)
    with pytest.raises(Conflict) as caught:
        await place.answer(request)
    assert caught.value.code == "REPLAYED"
    assert place.types(walk.query_id) == ["INTENT", "RELEASE", "REFUSAL"]


@pytest.mark.parametrize("peer", ["police", "customs"])
async def test_only_a_gateway_brings_queries(place: Place, peer: str) -> None:
    """Another partner's node, or the asker's own, is refused on the record."""
    walk = place.walk()
    with pytest.raises(Forged):
        await place.answer(place.request(walk), peer)
    assert place.types(walk.query_id) == ["REFUSAL"]


async def test_a_grant_narrows_what_the_owner_would_disclose(place: Place) -> None:
    """The gateway's facets and obligations and the owner's own are met, never joined."""
    walk = place.walk()
    (found,) = opened(walk, await place.ask(walk, facets=frozenset({"existence"})))
    assert found == query_pb2.TermAnswer(index=0, hit=True)
    walk = place.walk()
    (found,) = opened(walk, await place.ask(walk, redact=frozenset({"place"})))
    (only,) = found.records
    assert not only.fields
    assert "place" in only.withheld
    walk = place.walk()
    (found,) = opened(walk, await place.ask(walk, approvals=1))
    assert found == query_pb2.TermAnswer(index=0)


async def test_a_grant_under_no_policy_is_refused_in_clear(place: Place) -> None:
    """A grant must name the serial of the policy it was decided under."""
    walk = place.walk()
    answer = await place.ask(walk, serial=0)
    header = query_pb2.AnswerHeader.FromString(answer.header)
    assert (header.status, header.reason) == (query_pb2.STATUS_REFUSED, "GRANT_MISMATCH")


async def test_a_grant_of_nothing_is_refused_in_clear(place: Place) -> None:
    """Nothing in common is a refusal for a reason that no record influences."""
    for term in (STORY, OTHER):
        walk = place.walk(("container", term))
        answer = await place.ask(walk, facets=frozenset())
        header = query_pb2.AnswerHeader.FromString(answer.header)
        assert (header.status, answer.body) == (query_pb2.STATUS_REFUSED, b"")


async def test_an_unbounded_question_is_refused_in_clear(place: Place) -> None:
    """What the owner's policy does not cover is said with a code, for hits and misses alike."""
    headers = []
    for term in (STORY, OTHER):
        walk = place.walk(("container", term), scope=Scope())
        answer = await place.ask(walk)
        headers.append(query_pb2.AnswerHeader.FromString(answer.header))
        assert answer.body == b""
    assert {(h.status, h.reason) for h in headers} == {
        (query_pb2.STATUS_REFUSED, "WINDOW_TOO_LONG")
    }


async def test_a_question_that_waited_reaches_no_further_than_when_it_was_signed(
    place: Place,
) -> None:
    """Ninety days stay ninety for hours: a second person, or other chunks, take their time."""
    walk = place.walk(("container", STORY))
    query, signed = walk.verify(), int(walk.now)
    for waited in (0, 1, 6 * 3600):
        facts = _facts(query, Scope(since=signed - 90 * 86_400), walk.now + waited)
        assert facts.window_days == 90
    assert _facts(query, Scope(since=signed - 90 * 86_400 - 1), walk.now).window_days == 91


async def test_an_expired_grant_and_a_forged_part_are_on_the_record(place: Place) -> None:
    """What does not verify is refused before anything is looked up."""
    walk = place.walk()
    request = place.request(walk)
    request.part += b"\x00"
    with pytest.raises(Forged):
        await place.answer(request)
    late = place.walk()
    request = place.request(late)
    clock, place.node.answering._clock = place.node.answering._clock, lambda: time.time() + 60
    try:
        with pytest.raises(Stale):
            await place.answer(request)
    finally:
        place.node.answering._clock = clock
    assert place.types(walk.query_id) == place.types(late.query_id) == ["REFUSAL"]


async def test_refusals_free_their_places(place: Place) -> None:
    """However many queries fail, the owner still answers."""
    for _ in range(70):
        with pytest.raises(FairleadError):
            await place.answer(place.request(place.walk()), "police")
    assert await place.ask(place.walk())


async def test_a_damaged_index_says_overloaded_and_no_reason(tmp_path: Path) -> None:
    """What fails after the lookup may depend on the record, so it fails without a reason."""
    async with federation(
        tmp_path, partners=("customs", OWNER), records={OWNER: [record()]}, start=False
    ) as made:
        await made.start_node(OWNER)
        place = Place(made, PaperLog(world_of(made.layout, now=time.time()), [b"first"]))
        file = made.node_configs[OWNER].state_dir / INDEX_FILE
        await made.stop_node(OWNER)
        app = await made.start_node(OWNER)
        app.index._connection.close()
        app.index._connection = sqlite3.connect(":memory:")
        for term in (STORY, OTHER):
            walk = place.walk(("container", term))
            answer = await place.ask(walk)
            header = query_pb2.AnswerHeader.FromString(answer.header)
            assert (header.status, header.reason) == (query_pb2.STATUS_OVERLOADED, "")
            assert answer.body == b""
        assert file.exists()
        last = [
            audit_pb2.AuditLeaf.FromString(body)
            for (body,) in app.log.read("SELECT body FROM leaf ORDER BY idx")
        ]
        assert sum(leaf.type == audit_pb2.LEAF_TYPE_ALARM for leaf in last) == 2


async def test_a_closed_case_reaches_no_index(place: Place) -> None:
    """A statement that does not vouch for an open case is refused at the owner as well."""
    walk = place.walk()
    request = place.request(walk)
    closed = walk.resigned(statement=lambda s: setattr(s, "case_open", False))
    request.query.CopyFrom(closed.signed)
    with pytest.raises(Refused):
        await place.answer(request)

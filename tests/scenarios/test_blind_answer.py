"""A blind query over a running federation: published, delivered, asked, evaluated, looked up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fairlead import sealing
from fairlead.cli.output import Exit
from fairlead.config import Budgets
from fairlead.errors import FairleadError
from fairlead.evidence import verify_evidence
from fairlead.v1 import audit_pb2, query_pb2
from node import blinded
from node.snapshots import Snapshots
from tests.attacks.evil import alarms, intents, refused
from tests.blind import require_libsodium
from tests.commands import as_user
from tests.federation import (
    CASE,
    OTHER,
    PURPOSE,
    STORY,
    Federation,
    evidence,
    federation,
    publish_policy,
    states,
)
from tests.live import leaves, until
from tests.manifests import number
from tests.publications import OWNER, held

require_libsodium()
pytestmark = pytest.mark.asyncio(loop_scope="module")
READER, OTHER_OWNER = "customs", "oceanic-line"
ABSENT = "MSKU9070323"
BLIND = query_pb2.MODE_BLIND
QUESTION = ("--case", CASE, "--purpose", PURPOSE)


@asynccontextmanager
async def delivered(
    folder: Path, *, demo: bool = True, budgets: Budgets | None = None
) -> AsyncIterator[Federation]:
    """Two owners, of whom one holds the story; what they publish is with customs."""
    partners = (READER, OWNER, OTHER_OWNER)
    records = {OWNER: [held(STORY)], OTHER_OWNER: [held(OTHER)]}
    async with federation(folder, partners=partners, records=records, start=False) as made:
        if not demo:
            publish_policy(made.layout, made.folder / "policy", demo=False)
        if budgets is not None:
            own = made.node_configs[READER].model_copy(update={"budgets": budgets})
            made.node_configs[READER] = own
        await made.start_gateway()
        for partner in partners:
            await made.start_node(partner)
        await made.open_case()
        for owner in (OWNER, OTHER_OWNER):
            await published(made, owner)
        await until(lambda: holding(made.nodes[READER].snapshots))
        yield made


def holding(snapshots: Snapshots) -> bool:
    """Whether both owners' containers can be looked up."""
    try:
        for owner in (OWNER, OTHER_OWNER):
            snapshots.usable(owner, purpose=PURPOSE, scheme="container")
    except FairleadError:
        return False
    return True


async def published(made: Federation, owner: str) -> None:
    node = made.nodes[owner]
    await node.steering.publishing.publish()
    await node.steering.publishing.ended()
    node.offering.announcer.wake()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Federation]:
    async with delivered(tmp_path_factory.mktemp("blind")) as running:
        yield running


async def test_one_owner_has_it_and_nobody_is_told_which(made: Federation) -> None:
    """Hit and no hit at the asker; at owners and gateway leaves of a blind query, no term."""
    events = await made.ask(STORY, mode=query_pb2.MODE_BLIND)
    lines = states(events)
    assert {p: line.status for p, line in lines.items()} == {OWNER: 1, OTHER_OWNER: 1}
    assert [lines[p].answers[0].hit for p in (OWNER, OTHER_OWNER)] == [True, False]
    (record,) = lines[OWNER].answers[0].records
    assert record.record_type == "movement"
    assert len(record.ref) == 16
    proof = evidence(events)
    assert verify_evidence(proof, made.directory).partners == {OWNER: 1, OTHER_OWNER: 1}
    for app in (made.gateway, *made.nodes.values()):
        found = [leaf for leaf in leaves(app.log) if leaf.type == audit_pb2.LEAF_TYPE_INTENT]
        assert found[-1].mode == query_pb2.MODE_BLIND
        assert all(STORY.encode() not in leaf.SerializeToString() for leaf in found)


async def test_hit_and_no_hit_have_one_size_and_shape(made: Federation) -> None:
    """For the gateway and the wire an answer's octets follow from the number of elements."""
    hit = evidence(await made.ask(STORY, mode=query_pb2.MODE_BLIND))
    miss = evidence(await made.ask(ABSENT, mode=query_pb2.MODE_BLIND))
    assert {len(answer.body) for answer in [*hit.answers, *miss.answers]} == {
        len(hit.answers[0].body)
    }
    assert len(hit.query.header) == len(miss.query.header)


async def test_when_the_next_chunk_leaves_does_not_depend_on_hits(
    made: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attack: an owner counts the hits of a batch's chunk by when the next one comes."""
    monkeypatch.setattr(sealing, "MAX_BLIND_TERMS", 2)
    monkeypatch.setattr(blinded, "PACE_S", 2.0)
    assert made.gateway is not None
    honest, asked = made.gateway.tactical.query, []

    async def query(request: Any, peer: Any) -> AsyncIterator[Any]:
        asked.append(asyncio.get_running_loop().time())
        async for event in honest(request, peer):
            yield event

    monkeypatch.setattr(made.gateway.tactical, "query", query)
    await made.ask(STORY, ABSENT, OTHER, mode=query_pb2.MODE_BLIND)
    first, second = asked
    assert second - first > 1.0


async def test_the_next_step_is_printed_with_what_it_reveals(made: Federation) -> None:
    """A person reads who would learn what now, and by asking on."""
    ended = await as_user(made, "ask", STORY, *QUESTION, "--mode", "blind")
    assert ended.code == Exit.ANSWERED
    assert "the number of terms, not which: 1 container" in ended.err
    assert f"next: fairlead ask {STORY} --scheme container --case {CASE}" in ended.err
    assert f"--to {OWNER} --mode sealed" in ended.err
    assert "show this partner the term, and the gateway that there was a hit" in ended.err
    printed = await as_user(made, "ask", STORY, *QUESTION, "--mode", "blind", "--output", "json")
    assert printed.json["mode"] == "blind"


async def test_feedback_on_a_blind_query_is_refused(made: Federation) -> None:
    """It would tell an owner that something was found."""
    asked = await as_user(made, "ask", STORY, *QUESTION, "--mode", "blind", "--output", "json")
    ended = await as_user(
        made, "feedback", asked.json["query_id"], "--partner", OWNER, "--outcome", "useful"
    )
    assert ended.code == Exit.REFUSED
    assert "BLIND_FEEDBACK" in ended.err


async def test_pap_red_is_asked_blind_by_itself(made: Federation) -> None:
    """What nobody may notice never goes sealed, where the mode is left to policy."""
    ended = await as_user(made, "ask", STORY, *QUESTION, "--pap", "RED", "--output", "json")
    assert (ended.code, ended.json["mode"]) == (Exit.ANSWERED, "blind")
    usual = await as_user(made, "ask", STORY, *QUESTION, "--output", "json")
    assert usual.json["mode"] == "sealed"


async def test_a_prefix_is_no_more_swept_blind_than_sealed(tmp_path: Path) -> None:
    """The asker's node is the only place that sees the terms: its guard stops consecutive serials
    with an alarm before anything leaves; scattered ones end at the budget."""
    async with delivered(tmp_path, budgets=Budgets(user_day=400)) as made:
        node, owner = made.nodes[READER], made.nodes[OWNER]
        with refused("ENUMERATION"):
            await made.ask(*(number("MSCU", 400_000 + n) for n in range(300)), mode=BLIND)
        assert [leaf.subject for leaf in alarms(node.log)] == ["enumeration"]
        assert intents(owner.log) == 0
        owners = ("MSCU", "TCLU", "CSQU", "OOLU", "HLXU", "CMAU")
        scattered = [number(owners[n % 6], 100_000 + n * 1_777) for n in range(300)]
        lines = states(await made.ask(*scattered, mode=BLIND))
        assert {line.status for line in lines.values()} == {query_pb2.STATUS_ANSWERED}
        asked = intents(owner.log)
        with refused("BUDGET_EXHAUSTED"):
            await made.ask(*(number("TGHU", n * 997) for n in range(101)), mode=BLIND)
        assert intents(owner.log) == asked


async def test_auto_asks_blind_where_policy_demands_it(tmp_path: Path) -> None:
    """Without the demo's agreements a public partner asks private ones blind, or not at all."""
    async with delivered(tmp_path, demo=False) as made:
        ended = await as_user(made, "ask", STORY, *QUESTION, "--output", "json")
        assert (ended.code, ended.json["mode"]) == (Exit.ANSWERED, "blind")
        hits = {line["partner"]: line["hits"] for line in ended.json["partners"]}
        assert hits == {OWNER: 1, OTHER_OWNER: 0}
        sealed = await as_user(made, "ask", STORY, *QUESTION, "--mode", "sealed")
        assert "BLIND_REQUIRED" in sealed.err

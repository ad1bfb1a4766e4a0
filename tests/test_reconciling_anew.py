"""A gateway's log that begins anew under another origin, and what both ends make of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fairlead.errors import Forged, InvalidInput
from fairlead.reconciling import require_in_log
from node.reconciling import resume
from tests.reconciled import ALARM, RECONCILED, Both
from tests.walks import World, make_world

RESTARTED = "RECONCILE_RESTARTED"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("reconciled"))


@pytest.fixture
def both(world: World, tmp_path: Path) -> Iterator[Both]:
    with Both(world, tmp_path) as made:
        yield made


async def lost_tail(both: Both) -> bytes:
    """An hour that both ends agreed on, one that they did not come to, and a log that begins anew
    after the first; returns a query that was asked in between."""
    await both.hour()
    assert (await both.reconcile())["reasons"] == []
    former = both.gateway.log.checkpoint()
    dropped = await both.answered()
    for work in (both.asked, both.published, both.taken_over):
        await work()
    await both.begin_anew(former)
    return dropped


async def test_what_was_before_a_new_log_is_one_incident_that_names_all_of_it(both: Both) -> None:
    """Whatever the node records of the log that ended stands beside one alarm at either end, signed
    by both; nothing of it is another, and the new log is held against the node's as ever."""
    dropped = await lost_tail(both)
    await both.hour()
    told = await both.reconcile()
    assert told["reasons"] == [RESTARTED]
    assert (told["listed"], told["met"], told["excused"]) == (15, 3, 10)
    assert [row["count"] for row in told["incidents"]] == [1]
    for end in (both.node, both.gateway):
        assert end.reasons() == [[RESTARTED]]
        (kept,) = both.kept(end)
        assert (kept.judgement.incidents, kept.judgement.excused) == ((), 10)
        assert require_in_log(kept, end.log.read) > 0
        named = zip(kept.statement.entries, kept.said.leaves, strict=True)
        assert [leaf for entry, leaf in named if entry.query_id == dropped] == [0]
    await both.hour()
    told = await both.reconcile()
    assert (told["reasons"], told["excused"], told["listed"]) == ([], 0, 5)
    assert (len(both.node.of(ALARM)), len(both.gateway.of(ALARM))) == (1, 1)


async def test_much_that_was_before_a_new_log_is_still_one_incident(
    world: World, tmp_path: Path
) -> None:
    """However many statements it takes to name it."""
    with Both(world, tmp_path, limit=7) as both:
        for _ in range(3):
            await both.hour()
        await lost_tail(both)
        both.reconciler._stating._limit = 7
        told = await both.reconcile()
        assert (told["reasons"], told["excused"]) == ([RESTARTED], 25)
        assert told["rounds"] > 1
        assert both.node.reasons() == both.gateway.reasons() == [[RESTARTED]]


@pytest.mark.parametrize(("skip", "kind"), [("intent", "intent"), ("node-release", "released")])
async def test_what_a_new_log_lacks_of_its_own_time_is_an_incident(
    both: Both, skip: str, kind: str
) -> None:
    """A log that begins anew excuses nothing that was asked or answered after it began."""
    await lost_tail(both)
    await both.answered(skip=skip)
    told = await both.reconcile()
    assert told["reasons"] == ["RECONCILE_MISSING", RESTARTED]
    assert [row["kind"] for row in told["incidents"] if row["not_in"]] == [kind]


async def test_who_has_nothing_from_before_a_new_log_agrees_with_it(both: Both) -> None:
    """A partner that neither asked nor was asked under the log that ended lacks nothing of it."""
    assert (await both.reconcile())["reasons"] == []
    await both.begin_anew(both.gateway.log.checkpoint())
    await both.hour()
    assert (await both.reconcile())["reasons"] == []
    assert len(both.node.of(RECONCILED)) == 2


async def test_a_node_does_not_say_that_it_took_a_log_up_later(both: Both) -> None:
    """One that would excuse more than was before is belied by its own log, or refused."""
    await lost_tail(both)
    await both.answered(skip="intent")
    size, honest = both.node.log.head.size, both.node.ledger.resumed
    both.node.ledger.resumed = lambda former: size + 1 if honest(former) else 0  # type: ignore[method-assign]
    with pytest.raises(InvalidInput):
        await both.reconcile()
    both.node.ledger.resumed = lambda former: size - 1 if honest(former) else 0  # type: ignore[method-assign]
    await both.reconcile()
    (kept,) = both.kept(both.gateway)
    with pytest.raises(Forged) as caught:
        require_in_log(kept, both.node.log.read)
    assert caught.value.code == "RECONCILE_UNTRUE"


async def test_a_node_that_was_not_running_says_so_when_it_starts(both: Both) -> None:
    """Its log has the same leaf as one that followed, once it starts under the new log, before
    anything of that one; without it everything older would be missing."""
    await both.hour()
    assert (await both.reconcile())["reasons"] == []
    former, size = both.gateway.log.checkpoint(), both.node.log.head.size
    entry = both.entry
    await resume(both.reconciler._parts, entry)
    await resume(both.reconciler._parts, replace(entry, former_checkpoint=former))
    assert both.node.log.head.size == size  # it is under the log that it knows
    both.node.close()
    both.gateway.close()
    after = replace(entry, log_origin=f"{entry.log_origin}/2", former_checkpoint=former)
    both.enact(replace(both.directory, gateways={entry.spiffe_id: after}))
    both.open_gateway("anew")
    both.open_node()
    await both.gateway.log.append(both.gateway.leaves.witness("new-origin", [former]))
    await resume(both.reconciler._parts, both.entry)
    assert both.node.ledger.catch_up() == size + 1
    assert both.node.ledger.resumed(former) == size
    await both.hour()
    assert (await both.reconcile())["reasons"] == [RESTARTED]
    await resume(both.reconciler._parts, both.entry)
    assert both.node.ledger.resumed(former) == size


async def test_a_node_reconciles_with_the_gateway_it_is_configured_for(
    world: World, tmp_path: Path
) -> None:
    """Where a federation has two gateways with a log each, a node's is the one it is bound to, and
    a silent one is named."""
    first = world.gateway
    second = replace(
        first,
        spiffe_id=first.spiffe_id.replace("gw-1", "gw-2"),
        endpoint="127.0.0.1:2",
        log_origin=first.log_origin.replace("gw-1", "gw-2"),
    )
    with Both(world, tmp_path) as both:
        both.gateway.close()
        both.node.close()
        both.enact(replace(both.directory, gateways={g.spiffe_id: g for g in (first, second)}))
        both.endpoint = second.endpoint
        both.open_gateway("second")
        both.open_node("second-node")
        await both.hour()
        assert (await both.reconcile())["reasons"] == []
        (leaf,) = both.node.of(RECONCILED)
        assert leaf.user == second.spiffe_id
        both.now += 4 * 3_600
        await both.reconciler._check_overdue()
        assert [leaf.user for leaf in both.node.of(ALARM)] == [second.spiffe_id]

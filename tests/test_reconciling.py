"""Reconciliation of honest logs: nothing is raised, whatever crashes, is restored or comes late."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fairlead.errors import Unreachable
from fairlead.reconciling import Ledger, require_in_log
from fairlead.v1 import audit_pb2
from fairlead.v1 import reconcile_pb2 as pb
from gateway.overdue import Overdue
from node.reconciling import reconciler as reconciling
from tests.reconciled import ALARM, RECONCILED, Both
from tests.walks import World, make_world

AGREED: dict[str, Any] = {"reasons": [], "incidents": []}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("reconciled"))


@pytest.fixture
def both(world: World, tmp_path: Path) -> Iterator[Both]:
    with Both(world, tmp_path) as made:
        yield made


async def agree(both: Both, **counts: int) -> None:
    """Reconcile, and nothing is wrong."""
    found = await both.reconcile()
    assert {**found, **AGREED, **counts} == found
    assert both.node.of(ALARM) == both.gateway.of(ALARM) == []


async def test_an_honest_hour_agrees_in_both_logs(both: Both) -> None:
    """Questions, answers and manifests are listed by either end and found by the other."""
    await both.hour()
    await agree(both, rounds=1, listed=5, met=3, excused=0)
    (node,), (gateway,) = both.node.of(RECONCILED), both.gateway.of(RECONCILED)
    assert node.detail_digest == gateway.detail_digest
    assert (node.entries_listed, node.entries_met) == (5, 3)
    assert (gateway.entries_listed, gateway.entries_met) == (3, 5)
    (found,) = both.kept(both.node, RECONCILED)
    assert require_in_log(found, both.node.log.read) == 8
    assert require_in_log(found, both.gateway.log.read) == 8
    gone = found.said.entries[0].leaf

    def read(sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        wanted = sql.startswith("SELECT body") and tuple(values) == (gone,)
        return [(b"",)] if wanted else both.gateway.log.read(sql, values)

    assert require_in_log(found, read) == 7  # of an erased leaf nothing is said any more


async def test_what_was_said_is_not_said_again(both: Both) -> None:
    """The next hour is about the leaves written since, and a quiet one about none."""
    await both.hour()
    await agree(both, listed=5, met=3)
    await agree(both, listed=0, met=0)
    await both.answered()
    await agree(both, listed=1, met=1)


@pytest.mark.parametrize("skew_s", [-90_000.0, 90_000.0])
async def test_clocks_need_not_agree(world: World, tmp_path: Path, skew_s: float) -> None:
    """Both ends agree though their clocks are a day apart, because leaves are counted."""
    with Both(world, tmp_path, skew_s=skew_s) as both:
        await both.hour()
        await agree(both, listed=5, met=3)


async def test_a_clock_that_steps_back_hides_no_leaf(both: Both) -> None:
    """What was written with an earlier time than the last hour's is in the next all the same."""
    await both.hour()
    await agree(both)
    both.now -= 300
    await both.hour()
    await agree(both, listed=5, met=3)


async def test_what_is_much_is_said_in_several_rounds(world: World, tmp_path: Path) -> None:
    """A window that is fuller than one statement may be ends earlier, and the next goes on."""
    with Both(world, tmp_path, limit=7) as both:
        for _ in range(4):
            await both.hour()
        await agree(both, rounds=2, listed=20, met=12)


async def test_an_answer_that_came_too_late_is_none_of_the_gateways(both: Both) -> None:
    """An owner's answer that met no deadline, or stayed while it paused, is in its log alone."""
    await both.answered(skip="late")
    await both.answered(twice=True)
    await agree(both)


async def test_a_manifest_whose_receipt_is_on_its_way_is_the_owners(both: Both) -> None:
    """The gateway took it, and the owner, who signed it, has not heard so yet."""
    await both.published(skip="receipt")
    await agree(both, met=1)


async def test_a_verdict_that_was_lost_is_given_again(both: Both) -> None:
    """A gateway that did not hear the end of it is told again, and both logs agree."""
    await both.hour()
    both.line.deaf = True
    with pytest.raises(ConnectionResetError):
        await both.reconcile()
    assert both.gateway.of(RECONCILED) == []
    both.line.deaf = False
    await both.answered()
    await agree(both, listed=6, met=4)
    assert len(both.gateway.of(RECONCILED)) == 1


async def test_a_head_that_a_query_moves_meanwhile_is_connected(both: Both) -> None:
    """What the gateway shows while a receipt arrives is believed once one checkpoint more extends
    both, of a log that has grown since, and the newest verified one is durable."""
    await both.hour()
    await agree(both)
    await both.hour()
    base, log = both.heads.size, both.gateway.log
    between, size = base + 2, log.head.size
    ((note,),) = log.read("SELECT note FROM checkpoint WHERE size = ?", (between,))

    def move(response: pb.ReconcileResponse) -> pb.ReconcileResponse:
        if both.heads.size == base:
            both.heads.extend(note, log.consistency(base, between), asked_from=base)
        return response

    honest = both.line.reconcile

    async def later(request: pb.ReconcileRequest) -> pb.ReconcileResponse:
        if request.shown_size:
            await both.gateway.write(audit_pb2.LEAF_TYPE_CASE)
        return await honest(request)

    both.line.bend = move
    both.line.reconcile = later  # type: ignore[method-assign]
    await agree(both, rounds=1, listed=5, met=3)
    assert both.line.requests[-1].shown_size == size
    held = both.node.log.foreign_head(log.origin)
    assert held is not None
    assert held.size == both.heads.size == size + 1


async def test_the_same_verdict_again_changes_nothing(both: Both) -> None:
    """A repetition, or an old verdict that somebody kept, writes no leaf and moves no end."""
    await both.hour()
    await agree(both)
    size = both.gateway.log.head.size
    assert await both.desk.conclude(both.line.verdicts[0], both.line.peer) == ()
    await both.hour()
    await agree(both)
    await both.desk.conclude(both.line.verdicts[0], both.line.peer)
    assert both.gateway.log.head.size == size + 8


async def test_a_restored_node_says_so_once(both: Both) -> None:
    """A node that lost its tail is an incident of its own, and nothing it forgot is another."""
    await both.hour()
    await agree(both)
    both.node.close()
    shutil.copy(both.node.path, both.folder / "restored.sqlite")
    both.open_node()
    await both.hour()
    await agree(both)
    await both.hour()
    both.node.close()
    both.open_node("restored")
    await both.answered()
    found = await both.reconcile()
    assert found["reasons"] == ["RECONCILE_SHORTENED"]
    assert both.node.reasons() == both.gateway.reasons() == [["RECONCILE_SHORTENED"]]
    (leaf,) = both.gateway.of(ALARM)
    assert len(leaf.checkpoints) == 2
    await both.hour()
    found = await both.reconcile()
    assert found["reasons"] == []
    assert len(both.gateway.of(ALARM)) == 1


async def test_a_restored_node_that_lost_nothing_but_its_own_leaf_goes_on(both: Both) -> None:
    """A backup from before the last reconciliation is told the same again, once, and all agrees."""
    await both.hour()
    await agree(both)
    await both.hour()
    both.node.close()
    shutil.copy(both.node.path, both.folder / "restored.sqlite")
    both.open_node()
    await agree(both, listed=5, met=3)
    both.node.close()
    both.open_node("restored")
    await agree(both, listed=5, met=3)
    await both.hour()
    await agree(both, listed=5, met=3)


async def test_a_gateway_that_forgot_its_nodes_starts_again(both: Both) -> None:
    """Its own memory of a node may be older than the node's, and then all is said once more."""
    await both.hour()
    await agree(both)
    both.gateway.close()
    both.gateway.path.with_name("gateway-ledger.sqlite").unlink()
    both.open_gateway()
    await both.gateway.log.append(
        both.gateway.leaves.history(subject="x"),
        also=lambda connection: connection.execute("DELETE FROM reconciled_node") and None,
    )
    await both.answered()
    await agree(both, listed=6, met=4)


async def test_a_ledger_is_made_anew_from_the_log(both: Both) -> None:
    """One that is damaged, or of another history, is thrown away and read again."""
    await both.hour()
    await agree(both)
    both.node.ledger.close()
    path = both.folder / "node-ledger.sqlite"
    path.write_bytes(b"no database" * 400)
    fresh = Ledger(path, both.node.log)
    assert fresh.catch_up() == both.node.log.head.size
    fresh.close()
    foreign = Ledger(path, both.gateway.log)
    size = foreign.catch_up()
    assert size == both.gateway.log.head.size
    assert len(foreign.of_partner(both.partner, first=0, size=size, limit=99)[0]) == 3
    foreign.close()
    both.node.ledger = Ledger(path, both.node.log)


async def test_what_another_node_of_the_partner_did_is_no_incident(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a partner has two nodes, an entry is missing only when neither knows it."""
    partner = both.world.directory.partner(both.partner)
    second = replace(partner.nodes[0], spiffe_id=partner.nodes[0].spiffe_id + "2")
    several = replace(partner, nodes=(*partner.nodes, second))
    partners = {**both.world.directory.partners, both.partner: several}
    directory = replace(both.world.directory, partners=partners)
    monkeypatch.setattr(both.desk, "_directory", directory)
    monkeypatch.setattr(both.reconciler._parts.member, "directory", directory)
    await both.hour()
    await both.answered(skip="node")
    await agree(both, met=4)
    await both.gateway.log.append(
        both.gateway.leaves.history(subject="x"),
        also=lambda connection: (
            connection.execute("UPDATE reconcile_missed SET node = ?", (second.spiffe_id,))
            and connection.execute("DELETE FROM reconciled_node")
            and None
        ),
    )
    await both.reconcile()
    assert both.gateway.reasons() == [["RECONCILE_MISSING"]]


async def test_a_node_reconciles_by_itself_hour_after_hour(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its start and after every hour, in minutes after a gateway that was silent, until it is
    stopped; here without the waiting."""
    assert (reconciling.EVERY_S, reconciling.RETRY_S) == (3_600, 600)
    for name in ("START_S", "EVERY_S", "RETRY_S"):
        monkeypatch.setattr(reconciling, name, 0.005)
    silent = 3

    def bend(response: pb.ReconcileResponse) -> pb.ReconcileResponse:
        nonlocal silent
        if silent:
            silent -= 1
            raise Unreachable("the gateway is silent")
        return response

    both.line.bend = bend
    await both.hour()
    task = asyncio.create_task(both.reconciler.run(lambda: 0.0))
    async with asyncio.timeout(10):
        while len(both.node.of(RECONCILED)) < 3:
            await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert silent == 0
    assert both.node.of(ALARM) == both.gateway.of(ALARM) == []
    assert both.node.of(RECONCILED)[0].entries_listed == 5


async def test_a_partner_that_reconciles_no_more_is_overdue(both: Both) -> None:
    """After three hours the gateway says so once, and its gauge shows how long it is."""
    overdue = Overdue(
        both.desk.shelf, both.gateway.ledger, both.world.directory, clock=lambda: both.now
    )
    both.now += 3 * 3_600
    await agree(both)
    assert overdue.look() == frozenset()
    both.now += 60
    assert overdue.look() == frozenset({"oceanic-line", "police", "terminal-north"})
    gauges = {g.labels[0][1]: g.value for g in overdue.gauges()}
    assert (gauges["customs"], gauges["police"]) == (60, 10_860)
    partner = both.directory.partner("customs")
    silent = replace(partner, nodes=(*partner.nodes, replace(partner.nodes[0], spiffe_id="x")))
    overdue._directory = replace(
        both.directory, partners={**both.directory.partners, "customs": silent}
    )
    assert "customs" in overdue.look()  # a second node hides nothing by saying nothing


async def test_a_silent_gateway_is_overdue_once(both: Both) -> None:
    """A gateway that stalls for three hours is an alarm in the node's log, until it reconciles."""
    await agree(both)
    for _ in range(2):
        both.now += 2 * 3_600
        await both.reconciler._check_overdue()
        await both.reconciler._check_overdue()
    assert both.node.reasons() == [[reconciling.OVERDUE]]
    assert (await both.reconcile())["reasons"] == []
    both.now += 4 * 3_600
    await both.reconciler._check_overdue()
    assert both.node.reasons() == [[reconciling.OVERDUE]] * 2

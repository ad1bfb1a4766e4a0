"""Attack: a legitimate user under a real case asks for a whole range of identifiers."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fairlead import metrics, sealing
from fairlead.config import Budgets, Guard
from fairlead.v1 import asking_pb2, audit_pb2
from node.indexing import LOG_FILE
from node.opening import HISTORY_FILE
from node.spending import AskerBudgets
from tests.attacks.evil import alarms, intents, leaves, refusals, refused
from tests.federation import ANALYST, BOUGHT, Federation, federation, states
from tests.manifests import manifest, number
from tests.test_metrics import scrape

PREFIX = "MSCU"
USERS = ("u-c01", "u-c03")


def sweep(first: int, length: int) -> list[str]:
    """Consecutive containers of one owner."""
    return [number(PREFIX, serial) for serial in range(first, first + length)]


@asynccontextmanager
async def at_customs(folder: Path, **settings: object) -> AsyncIterator[Federation]:
    """A federation whose customs node has these settings, and a case of two analysts."""
    async with federation(folder, partners=("customs", "terminal-north"), start=False) as made:
        config = made.node_configs["customs"]
        made.node_configs["customs"] = config.model_copy(update=settings)
        await made.start_gateway()
        for partner in made.node_configs:
            await made.start_node(partner)
        await made.open_case(members=USERS)
        yield made


def nothing_left(made: Federation) -> None:
    """Neither gateway nor owner heard of a query."""
    assert made.gateway is not None
    assert intents(made.gateway.log) == intents(made.nodes["terminal-north"].log) == 0


async def test_a_file_that_sweeps_a_prefix_is_stopped_within_the_query(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """300 consecutive serials ask nobody: refusal, alarm, counter and a line for the operator are
    there before the user is told, and none of them holds a term."""
    async with at_customs(tmp_path) as made:
        node = made.nodes["customs"]
        capfdbinary.readouterr()
        with refused("ENUMERATION"):
            await made.ask(*sweep(400_000, 300))
        nothing_left(made)
        assert refusals(node.log) == ["ENUMERATION"]
        (alarm,) = alarms(node.log)
        assert (alarm.subject, list(alarm.reasons)) == ("enumeration", ["ENUMERATION_RUN"])
        assert alarm.user.endswith("/partner/customs/user/u-c01")
        line = capfdbinary.readouterr().err
        assert b'"event":"enumeration-stopped"' in line
        assert b'"code":"ENUMERATION_RUN","subject":{"user":"u-c01"}' in line
        with metrics.serving("127.0.0.1:0", node.tally, node.gauges) as port:
            text = scrape(port).encode()
        assert b'fairlead_alarms_total{reason="ENUMERATION_RUN"} 1.0' in text
        for seen in (line, text, alarm.SerializeToString()):
            assert PREFIX.encode() not in seen


async def test_a_patient_sweep_term_by_term_is_stopped(tmp_path: Path) -> None:
    """One container a query, across a restart of the node: the limit is the same."""
    async with at_customs(tmp_path, guard=Guard(longest_run=8)) as made:
        terms = sweep(400_000, 9)
        for term in terms[:4]:
            await made.ask(term)
        await made.stop_node("customs")
        await made.start_node("customs")
        await made.reconnected()
        for term in terms[4:8]:
            await made.ask(term)
        with refused("ENUMERATION"):
            await made.ask(terms[8])
        assert made.gateway is not None
        assert intents(made.gateway.log) == 8


async def test_drafts_made_apart_do_not_pass_together(tmp_path: Path) -> None:
    """Two halves of a sweep, each drafted before the other is asked: the second is stopped when
    it is signed, with an alarm."""
    async with at_customs(tmp_path, guard=Guard(longest_run=8)) as made:
        async with made.client(*ANALYST) as client:
            first = await made.draft(client, *sweep(400_000, 6))
            second = await made.draft(client, *sweep(400_006, 6))
            async for _ in client.ask(first):
                pass
            with refused("ENUMERATION"):
                async for _ in client.ask(second):
                    pass
        assert [list(a.reasons) for a in alarms(made.nodes["customs"].log)] == [["ENUMERATION_RUN"]]


async def test_trying_drafts_to_find_the_limits_raises_the_alarm(tmp_path: Path) -> None:
    """A dry run is no rehearsal: it is on the record each time."""
    async with at_customs(tmp_path) as made:
        async with made.client(*ANALYST) as client:
            for length in (129, 200):
                with refused("ENUMERATION") as told:
                    await made.draft(client, *sweep(400_000, length))
                assert told.reasons == ["ENUMERATION"]
        assert len(alarms(made.nodes["customs"].log)) == 2
        nothing_left(made)


async def test_an_honest_manifest_is_answered(tmp_path: Path) -> None:
    """300 containers of a ship, runs of a leasing company among them, pass guard and budgets."""
    async with at_customs(tmp_path) as made:
        events = await made.ask(*manifest(random.Random(1)))
        assert len(states(events)["terminal-north"].answers) == 300
        assert alarms(made.nodes["customs"].log) == []


async def test_what_the_guard_remembers_is_in_no_file_in_clear(tmp_path: Path) -> None:
    """Whoever has the node's disk without its secrets finds no asked term, whole or in part."""
    async with at_customs(tmp_path) as made:
        await made.ask(*sweep(400_000, 40))
        folder = made.node_configs["customs"].state_dir
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert {LOG_FILE, HISTORY_FILE} <= {path.name for path in files}
        for path in files:
            content = path.read_bytes()
            assert PREFIX.encode() not in content, path.name
            assert b"40000" not in content, path.name


async def test_scattered_serials_end_at_the_budget(tmp_path: Path) -> None:
    """A sweep too thin for the guard is over when the day's terms are spent."""
    async with at_customs(tmp_path, budgets=Budgets(user_day=5)) as made:
        terms = [number(PREFIX, serial) for serial in range(0, 10**6, 150_001)]
        for term in terms[:5]:
            await made.ask(term)
        with refused("BUDGET_EXHAUSTED"):
            await made.ask(terms[5])
        assert made.gateway is not None
        assert intents(made.gateway.log) == 5


async def test_a_node_that_skips_its_own_budgets_meets_the_owners(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever holds the asker's node still gets from an owner what the owner's book allows."""
    monkeypatch.setattr(AskerBudgets, "check", lambda *_: None)
    monkeypatch.setattr(AskerBudgets, "payment", lambda *_, **__: lambda _: None)
    async with federation(tmp_path, partners=("customs", "terminal-north"), start=False) as made:
        config = made.node_configs["terminal-north"]
        limits = Budgets(asked_user_day=2, asked_partner_day=3)
        made.node_configs["terminal-north"] = config.model_copy(update={"budgets": limits})
        await made.start_gateway()
        for partner in made.node_configs:
            await made.start_node(partner)
        await made.open_case(members=USERS)
        told = [await reason(made, ANALYST, n) for n in range(3)]
        told += [await reason(made, BOUGHT, n) for n in range(3, 5)]
        assert told == ["", "", "BUDGET_EXHAUSTED", "", "BUDGET_EXHAUSTED"]
        log = made.nodes["terminal-north"].log
        assert refusals(log) == ["BUDGET_EXHAUSTED"] * 2
        for leaf in leaves(log, audit_pb2.LEAF_TYPE_REFUSAL):
            assert "/partner/customs/user/" in leaf.user


async def reason(made: Federation, user: tuple[str, str], serial: int) -> str:
    """What the terminal says to one container asked."""
    async with made.client(*user) as client:
        events = await made.ask(number(PREFIX, serial * 77_777), client=client)
    return states(events)["terminal-north"].reason


async def test_repeating_a_query_neither_spends_nor_refills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch of two chunks is paid once, and resuming it, as often as one likes, leaves every
    account as it was."""
    monkeypatch.setattr(sealing, "MAX_TERMS", 4)
    terms = [number(PREFIX, serial * 77_777) for serial in range(6)]
    async with (
        at_customs(tmp_path, budgets=Budgets(user_day=7)) as made,
        made.client(*ANALYST) as client,
    ):
        events = await made.ask(*terms, client=client)
        assert sum(event.HasField("done") for event in events) == 2
        query_id = next(e.batch.summary.query_id for e in events if e.HasField("batch"))
        for _ in range(3):
            assert [event async for event in client.resume(query_id)]
        listed = await client.stub.ListBudgets(asking_pb2.ListBudgetsRequest(), timeout=10)
        (mine,) = [a for a in listed.accounts if (a.budget, a.holder) == ("user_day", "container")]
        assert mine.left == 1

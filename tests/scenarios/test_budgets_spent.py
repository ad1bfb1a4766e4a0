"""Budgets over a running federation: spent at both ends, before anything leaves, and once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from fairlead.cli.output import Exit
from fairlead.config import Budgets
from fairlead.v1 import asking_pb2, query_pb2
from tests.attacks.evil import intents, refusals, refused
from tests.commands import as_user
from tests.federation import ANALYST, BOUGHT, CASE, PURPOSE, STORY, Federation, federation, states
from tests.test_node_batches import container

QUESTION = ("--case", CASE, "--purpose", PURPOSE)


@asynccontextmanager
async def spending(
    folder: Path, *, asker: Budgets | None = None, owner: Budgets | None = None
) -> AsyncIterator[Federation]:
    """A federation with these budgets at customs and at the terminal, and an open case."""
    async with federation(folder, partners=("customs", "terminal-north"), start=False) as made:
        for partner, limits in (("customs", asker), ("terminal-north", owner)):
            changes = {"budgets": limits or Budgets()}
            made.node_configs[partner] = made.node_configs[partner].model_copy(update=changes)
        await made.start_gateway()
        for partner in made.node_configs:
            await made.start_node(partner)
        await made.open_case(members=("u-c01", "u-c03"))
        yield made


async def left(made: Federation, user: str = "u-c01") -> dict[str, int]:
    """What `fairlead budgets` shows: terms left by budget and holder."""
    ended = await as_user(made, "budgets", "--output", "json", user=user)
    assert ended.code == Exit.ANSWERED, ended.err
    return {f"{row['budget']} {row['of']}": row["left"] for row in ended.json}


async def test_a_query_spends_on_every_account_it_concerns(tmp_path: Path) -> None:
    """Two terms are gone from the user's scheme, the case and the partner, and from no other."""
    limits = Budgets(user_day=10, case_week=20, partner_day=30)
    async with spending(tmp_path, asker=limits) as made:
        await made.ask(STORY, container(1))
        found = await left(made)
        assert found == {
            "user_day container": 8,
            "user_day vehicle-plate": 10,
            "user_day vessel-imo": 10,
            f"case_week {CASE}": 18,
            "partner_day customs": 28,
        }
        assert (await left(made, "u-c03"))["user_day container"] == 10


async def test_an_exhausted_budget_stops_before_anything_leaves(tmp_path: Path) -> None:
    """Refused at the draft, with the code and the moment, on the record; the gateway hears
    nothing, and a restart of the node changes nothing."""
    async with spending(tmp_path, asker=Budgets(user_day=2)) as made:
        await made.ask(STORY, container(1))
        await made.stop_node("customs")
        await made.start_node("customs")
        await made.reconnected()
        node = made.nodes["customs"]
        ended = await as_user(made, "ask", STORY, *QUESTION)
        assert ended.code == Exit.REFUSED
        assert "[BUDGET_EXHAUSTED]" in ended.err
        assert "0 of 2 terms left until 20" in ended.err
        assert made.gateway is not None
        assert intents(made.gateway.log) == intents(node.log) == 1
        assert refusals(node.log) == ["BUDGET_EXHAUSTED"]


@pytest.mark.parametrize("which", ["case_week", "partner_day"])
async def test_colleagues_share_the_budgets_of_case_and_partner(tmp_path: Path, which: str) -> None:
    """What one user asked is not left for another one under the same case."""
    async with spending(tmp_path, asker=Budgets(**{which: 2})) as made:
        await made.ask(STORY, container(1))
        async with made.client(*BOUGHT) as client:
            with refused("BUDGET_EXHAUSTED"):
                await made.ask(container(2), client=client)


async def test_of_two_at_once_one_gets_the_last_term(tmp_path: Path) -> None:
    """Two drafts fit, two signatures are sent together, and one query is refused on the record."""
    async with spending(tmp_path, asker=Budgets(user_day=1)) as made:
        async with made.client(*ANALYST) as client:
            drafts = [await made.draft(client, term) for term in (STORY, container(1))]

            async def send(number: int) -> list[asking_pb2.AskResponse]:
                return [event async for event in client.ask(drafts[number])]

            results = await asyncio.gather(send(0), send(1), return_exceptions=True)
        assert sum(isinstance(result, grpc.aio.AioRpcError) for result in results) == 1
        assert made.gateway is not None
        assert intents(made.gateway.log) == 1
        assert refusals(made.nodes["customs"].log) == ["BUDGET_EXHAUSTED"]


async def test_an_owner_refuses_what_is_beyond_its_own_budget(tmp_path: Path) -> None:
    """The asker gets a signed refusal that depends on no record; the owner has a REFUSAL leaf,
    and what was refused cost the asker nothing there."""
    async with spending(tmp_path, owner=Budgets(asked_user_day=2)) as made:
        log = made.nodes["terminal-north"].log
        await made.ask(STORY)
        line = states(await made.ask(STORY, container(1)))["terminal-north"]
        assert line.status == query_pb2.STATUS_REFUSED
        assert line.reason == "BUDGET_EXHAUSTED"
        assert refusals(log) == ["BUDGET_EXHAUSTED"]
        again = states(await made.ask(STORY))["terminal-north"]
        assert again.status == query_pb2.STATUS_ANSWERED
        async with made.client(*BOUGHT) as client:
            other = states(await made.ask(STORY, client=client))["terminal-north"]
        assert other.status == query_pb2.STATUS_ANSWERED


async def test_an_owner_caps_a_partner_whatever_its_users_are_called(tmp_path: Path) -> None:
    """A second pseudonym of the same partner finds the partner's budget used up."""
    async with spending(tmp_path, owner=Budgets(asked_partner_day=1)) as made:
        await made.ask(STORY)
        async with made.client(*BOUGHT) as client:
            line = states(await made.ask(STORY, client=client))["terminal-north"]
        assert (line.status, line.reason) == (query_pb2.STATUS_REFUSED, "BUDGET_EXHAUSTED")


async def test_a_dry_run_says_what_it_would_spend_and_spends_nothing(tmp_path: Path) -> None:
    """Each account is named with what is left before, and is as full afterwards."""
    async with spending(tmp_path, asker=Budgets(user_day=10)) as made:
        ended = await as_user(made, "ask", STORY, *QUESTION, "--dry-run", "--output", "json")
        assert ended.code == Exit.ANSWERED, ended.err
        assert "it would spend 1 of 10 terms left (user_day of container)" in ended.err
        told = {row["budget"]: (row["spends"], row["left"]) for row in ended.json["spends"]}
        assert told == {"user_day": (1, 10), "case_week": (1, 20_000), "partner_day": (1, 50_000)}
        assert (await left(made))["user_day container"] == 10

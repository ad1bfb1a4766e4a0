"""Attack: a legitimate user who has been bought asks without a case, or with somebody else's."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc

from fairlead import signing
from fairlead.v1 import asking_pb2, audit_pb2, query_pb2
from node.app import assemble as assemble_node
from tests.attacks.crafted import changed, user_key
from tests.attacks.evil import intents, leaves, refusals, refused
from tests.federation import (
    ANALYST,
    APPROVER,
    BOUGHT,
    CASE,
    PURPOSE,
    STORY,
    Federation,
    federation,
    request,
)

DAY = 86_400


@asynccontextmanager
async def at_customs(folder: Path) -> AsyncIterator[tuple[Federation, list[float]]]:
    """A federation whose customs node runs on a clock that a test can move."""
    moved = [0.0]
    async with federation(folder, start=False) as made:
        await made.start_gateway()
        app = await assemble_node(
            made.node_configs["customs"], clock=lambda: time.time() + moved[0]
        )
        await app.server.start()
        made.nodes["customs"] = app
        yield made, moved


async def assert_silent(made: Federation, *reasons: str) -> None:
    """The refusals are in customs' log with the user; the gateway never heard of anything."""
    assert made.gateway is not None
    log = made.nodes["customs"].log
    assert refusals(log) == list(reasons)
    assert intents(log) == intents(made.gateway.log) == 0
    for leaf in leaves(log, audit_pb2.LEAF_TYPE_REFUSAL):
        assert leaf.user.startswith("spiffe://")
        assert "/partner/customs/user/" in leaf.user


async def test_without_an_open_case_of_ones_own_nothing_is_asked(tmp_path: Path) -> None:
    """No case, another's, an invented or an expired one: one and the same refusal, on record."""
    async with at_customs(tmp_path) as (made, moved):
        await made.open_case()
        async with made.client(*BOUGHT) as client:
            for case in (CASE, "CASE-2", "case-1"):
                with refused("CASE_NOT_ASSIGNED"):
                    await made.ask(STORY, client=client, case_id=case)
        moved[0] = DAY + 60.0
        with refused("CASE_NOT_ASSIGNED"):
            await made.ask(STORY)
        await assert_silent(made, *["CASE_NOT_ASSIGNED"] * 4)


async def test_a_case_that_ends_before_sending_stops_the_query(tmp_path: Path) -> None:
    """A draft signed in time and sent after the case expired asks nobody."""
    async with at_customs(tmp_path) as (made, moved):
        now = int(time.time())
        async with made.client(*APPROVER) as client:
            await client.stub.OpenCase(open_case(expires_at=now + 60))
        async with made.client() as client:
            draft = await made.draft(client, STORY)
            moved[0] = 120.0
            with refused("CASE_NOT_ASSIGNED"):
                async for _ in client.ask(draft):
                    pass
        await assert_silent(made, "CASE_NOT_ASSIGNED")


async def test_a_case_covers_its_purpose_and_its_schemes_only(tmp_path: Path) -> None:
    """A real case for one purpose and one scheme does not open another."""
    async with at_customs(tmp_path) as (made, _):
        async with made.client(*APPROVER) as client:
            await client.stub.OpenCase(open_case(schemes=["vessel-imo"]))
        for changes in ({}, {"purpose": "infiltration"}, {"purpose": "nothing-known"}):
            with refused():
                await made.ask(STORY, **changes)
        assert made.gateway is not None
        assert intents(made.nodes["customs"].log) == intents(made.gateway.log) == 0


def open_case(**changes: object) -> asking_pb2.OpenCaseRequest:
    """A request for an ordinary case."""
    settings = {
        "case_id": CASE,
        "purpose": PURPOSE,
        "legal_basis": "eu-ucc-art-46",
        "schemes": ["container"],
        "members": [ANALYST[1]],
        "expires_at": int(time.time()) + DAY,
    }
    case = asking_pb2.Case(**{**settings, **changes})  # type: ignore[arg-type]
    return asking_pb2.OpenCaseRequest(case=case)


async def test_nobody_opens_a_case_for_themselves(tmp_path: Path) -> None:
    """An analyst cannot open one, an approver cannot be in it, and an approver cannot ask."""
    async with at_customs(tmp_path) as (made, _):
        async with made.client(*BOUGHT) as client:
            with refused():
                await client.stub.OpenCase(open_case(members=[BOUGHT[1]]))
        async with made.client(*APPROVER) as client:
            with refused("CASE_SELF_ASSIGNED"):
                await client.stub.OpenCase(open_case(members=[APPROVER[1]]))
            with refused():
                await client.stub.Prepare(iter([request(STORY)]))


async def test_a_colleagues_draft_cannot_be_signed_and_sent(tmp_path: Path) -> None:
    """A draft is handed out to its own user; a colleague's signature under it is worth nothing."""
    async with at_customs(tmp_path) as (made, _):
        await made.open_case()
        async with made.client() as honest, made.client(*BOUGHT) as bought:
            draft = await made.draft(honest, STORY)
            key = user_key(made, *BOUGHT)
            stolen = asking_pb2.AskRequest(
                preparation_id=draft.response.preparation_id,
                mandate=draft.response.mandate,
                signature=signing.sign_as_user(key, "mandate", draft.response.mandate),
            )
            code = grpc.StatusCode.FAILED_PRECONDITION
            with refused("PREPARATION_EXPIRED", code=code):
                async for _ in bought.stub.Ask(stolen):
                    pass
        await assert_silent(made, "PREPARATION_EXPIRED")


async def test_another_mandate_under_a_real_draft_is_refused(tmp_path: Path) -> None:
    """The bought analyst prepares one thing and signs another of his own making."""
    async with at_customs(tmp_path) as (made, _):
        await made.open_case()
        async with made.client() as client:
            draft = await made.draft(client, STORY)
            content = query_pb2.Mandate.FromString(draft.response.mandate)
            mandate = signing.canonical(changed(content, purpose="infiltration"))
            key = user_key(made, *ANALYST)
            swapped = asking_pb2.AskRequest(
                preparation_id=draft.response.preparation_id,
                mandate=mandate,
                signature=signing.sign_as_user(key, "mandate", mandate),
            )
            with refused("MANDATE"):
                async for _ in client.stub.Ask(swapped):
                    pass
        await assert_silent(made, "MANDATE")

"""Attack: an agreement's own conditions are left out: its second approver, its legal instrument."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fairlead.detail import Bound, seal_detail
from fairlead.envelope.query import Instrument
from fairlead.partners import Directory
from fairlead.v1 import asking_pb2, opening_pb2, query_pb2
from node import sealer
from tests.approvers import MORE_USERS, SECOND
from tests.attacks.crafted import OTHER_OWNER, OWNER, Crafted, craft
from tests.attacks.evil import EvilGateway, EvilNode, intents, refused
from tests.attacks.test_approvals import approving
from tests.federation import ANALYST, STORY, Federation, federation, states

PARTNERS = ("customs", OWNER, OTHER_OWNER)
STEP_UP = "second_approver: 1"
DEMANDED = "instrument: {kinds: [court-order], authorities: [court]}"
ORDER = Instrument(
    kind="court-order", authority="court", valid_until=int(time.time()) + 3600, commitment=bytes(32)
)


async def said_by_the_owner(gateway: EvilGateway, crafted: Crafted) -> tuple[int, str]:
    """What an owner answers whom a bought gateway lets a query through to."""
    response = await gateway.ask(crafted)
    header = query_pb2.AnswerHeader.FromString(response.answer.header)
    return header.status, header.reason


async def said_by_the_gateway(node: EvilNode, crafted: Crafted) -> set[tuple[int, str]]:
    """What the gateway says of each owner."""
    events = await node.ask(crafted)
    return {(line.status, line.reason) for event in events for line in event.partners}


ANSWERED = query_pb2.STATUS_ANSWERED
REFUSED = query_pb2.STATUS_REFUSED
NOT_ASKED = query_pb2.STATUS_NOT_ASKED


async def test_a_second_approver_is_counted_by_the_gateway_and_by_the_owner(
    tmp_path: Path,
) -> None:
    """A node that asks nobody, and a gateway that does not mind, get nothing from an owner."""
    async with (
        federation(tmp_path, partners=PARTNERS, more_users=MORE_USERS, base_terms=STEP_UP) as made,
        EvilNode(made) as node,
        EvilGateway(made) as gateway,
    ):
        said = await said_by_the_gateway(node, craft(made))
        assert said == {(NOT_ASKED, "SECOND_APPROVER_REQUIRED")}
        assert intents(made.nodes[OWNER].log) == 0
        owner = await said_by_the_owner(gateway, craft(made))
        assert owner == (REFUSED, "SECOND_APPROVER_REQUIRED")
        approved = craft(made, **approving(made, SECOND))
        assert await said_by_the_owner(gateway, approved) == (ANSWERED, "")
        events = await node.ask(craft(made, **approving(made, SECOND)))
        assert any(line.HasField("answer") for event in events for line in event.partners)


async def test_an_instrument_is_verified_by_the_gateway_and_by_the_owner(tmp_path: Path) -> None:
    """None, one that is over, and another one than is demanded: each is told what would do."""
    wrong = {
        "INSTRUMENT_REQUIRED": None,
        "INSTRUMENT_EXPIRED": replace(ORDER, valid_until=int(time.time()) - 1),
        "INSTRUMENT_NOT_ACCEPTED": replace(ORDER, authority="investigating-judge"),
    }
    async with (
        federation(tmp_path, partners=PARTNERS, base_terms=DEMANDED) as made,
        EvilNode(made) as node,
        EvilGateway(made) as gateway,
    ):
        for reason, instrument in wrong.items():
            said = await said_by_the_gateway(node, craft(made, instrument=instrument))
            assert said == {(NOT_ASKED, reason)}
            forged = craft(made, instrument=instrument)
            owner = await said_by_the_owner(gateway, forged)
            assert owner == (REFUSED, reason)
        events = await node.ask(craft(made, instrument=ORDER))
        assert any(line.HasField("answer") for event in events for line in event.partners)


# ── The honest walk ──────────────────────────────────────────────────────────────────────────


async def with_an_order(made: Federation) -> None:
    """Customs' approver opens a case that rests on a court's order."""
    now = int(time.time())
    case = asking_pb2.Case(
        case_id="CASE-1",
        purpose="drug-trafficking",
        legal_basis="eu-ucc-art-46",
        schemes=["container"],
        members=["u-c01"],
        expires_at=now + 86_400,
        instrument=asking_pb2.CaseInstrument(
            kind="court-order", authority="court", reference="ROT 26/417", valid_until=now + 3600
        ),
    )
    async with made.client(*SECOND) as client:
        await client.stub.OpenCase(asking_pb2.OpenCaseRequest(case=case))


async def test_a_case_with_an_order_asks_after_somebody_else_agreed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node holds the query for the agreement's second approver; approved, it is answered, and
    nobody but the audit committee can learn the order's reference."""
    details: list[opening_pb2.AskedDetail] = []

    def sealed(directory: Directory, bound: Bound, content: bytes, **settings: Any) -> bytes:
        details.append(opening_pb2.AskedDetail.FromString(content))
        return seal_detail(directory, bound, content, **settings)

    monkeypatch.setattr(sealer, "seal_detail", sealed)
    async with federation(
        tmp_path, partners=PARTNERS, more_users=MORE_USERS, base_terms=f"{STEP_UP}\n{DEMANDED}"
    ) as made:
        await with_an_order(made)
        events = await made.ask(STORY, case_id="CASE-1")
        (waiting,) = (event.pending for event in events if event.HasField("pending"))
        assert waiting.approvals == 1
        (query_id,) = (e.batch.summary.query_id for e in events if e.HasField("batch"))
        async with made.client(*SECOND) as approver:
            (pending,) = await approver.pending()
            await approver.approve(pending)
        async with made.client(*ANALYST) as client:
            lines = states([event async for event in client.resume(query_id)])
        assert lines[OWNER].status == query_pb2.STATUS_ANSWERED
        assert lines[OWNER].answers[0].hit
        assert lines[OWNER].onward == "with-consent"
        assert made.gateway is not None
        assert {detail.instrument.kind for detail in details} == {"court-order"}
        assert {detail.instrument_reference for detail in details} == {"ROT 26/417"}
        for log in (made.gateway.log, *(node.log for node in made.nodes.values())):
            rows = log.read("SELECT body, detail FROM leaf")
            assert not any(b"ROT 26/417" in octets for row in rows for octets in row)


async def test_a_case_without_an_order_is_told_what_it_would_need(tmp_path: Path) -> None:
    """The refusal comes at home, before anybody is asked, and says how to open a case with one."""
    async with federation(tmp_path, partners=PARTNERS, base_terms=DEMANDED) as made:
        await made.open_case()
        async with made.client(*ANALYST) as client:
            with refused("INSTRUMENT_REQUIRED"):
                await made.ask(STORY, client=client)
        assert made.gateway is not None
        assert intents(made.gateway.log) == 0

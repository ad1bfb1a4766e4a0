"""Attack: a query that needs a second person is sent without one, or with one who is none."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest

from fairlead import signing
from fairlead.client import NodeClient
from fairlead.config import Budgets
from fairlead.errors import Forged
from fairlead.v1 import asking_pb2, query_pb2
from node.held import APPROVED
from tests.approvers import BOTH, ELSEWHERE, MORE_USERS, SECOND, THIRD, Person, approval
from tests.attacks.crafted import (
    OTHER_OWNER,
    OWNER,
    changed,
    craft,
    user_certificate,
    user_key,
)
from tests.attacks.evil import EvilGateway, EvilNode, intents, refusals, refused
from tests.federation import ANALYST, STORY, Federation, federation, states
from tests.test_node_batches import container

PARTNERS = ("customs", "police", OWNER, OTHER_OWNER)
TERMS = (STORY, container(1), container(2))
Settings = dict[str, Any]


def approving(made: Federation, *people: Person, **settings: Any) -> Settings:
    """A mandate that demands one approval, approved by these people."""

    def approve(mandate: bytes) -> Sequence[query_pb2.SignedApproval]:
        now = time.time()
        return [approval(made.layout, p, mandate, now=now, **settings) for p in people]

    return {"mandate_before": {"required_approvals": 1}, "approve": approve}


def put(**changes: object) -> Callable[[query_pb2.Approval], None]:
    def change(content: query_pb2.Approval) -> None:
        for name, value in changes.items():
            setattr(content, name, value)

    return change


def of_another(made: Federation) -> Settings:
    """A real approval, of another mandate of the same user."""
    settings = approving(made, SECOND)
    other = craft(made, **settings).signed
    return {**settings, "approve": lambda _: list(other.approvals)}


def renamed(made: Federation) -> Settings:
    """A real approval of another mandate whose digest was changed after signing."""
    settings = of_another(made)

    def approve(mandate: bytes) -> Sequence[query_pb2.SignedApproval]:
        (found,) = settings["approve"](mandate)
        content = query_pb2.Approval.FromString(found.approval)
        content.mandate_digest = signing.digest(mandate)
        return [changed(found, approval=signing.canonical(content))]

    return {**settings, "approve": approve}


def by_the_requester(made: Federation) -> Settings:
    """Somebody with both roles asks and approves."""
    return {
        **approving(made, BOTH),
        "certificate": user_certificate(made, *BOTH),
        "person": user_key(made, *BOTH),
    }


FALSE: dict[str, tuple[str, Callable[[Federation], Settings]]] = {
    "none at all": ("APPROVAL_REQUIRED", approving),
    "of another mandate": ("APPROVAL_BINDING", of_another),
    "of another mandate, renamed": ("SIGNATURE", renamed),
    "by the requester": ("APPROVER_IS_REQUESTER", by_the_requester),
    "by a colleague without the role": (
        "APPROVER_ROLE",
        lambda made: approving(made, ("customs", "u-c03")),
    ),
    "by another partner's approver": ("APPROVER_ROLE", lambda made: approving(made, ELSEWHERE)),
    "by another partner's approver in its own name": (
        "APPROVAL_BINDING",
        lambda made: approving(made, ELSEWHERE, change=put(partner_id="police")),
    ),
    "signed by the requester in an approver's name": (
        "SIGNATURE",
        lambda made: approving(made, SECOND, signer=ANALYST),
    ),
    "twice by one person where two are needed": (
        "APPROVED_TWICE",
        lambda made: {
            **approving(made, SECOND, SECOND),
            "mandate_before": {"required_approvals": 2},
        },
    ),
    "one that is right and one that is not": (
        "APPROVER_ROLE",
        lambda made: approving(made, SECOND, ELSEWHERE),
    ),
}
LATE: dict[str, tuple[str, dict[str, int], grpc.StatusCode]] = {
    "over": ("APPROVAL_EXPIRED", {"expires_at": -1}, grpc.StatusCode.FAILED_PRECONDITION),
    "longer than its mandate": (
        "APPROVAL_LIFETIME",
        {"expires_at": 3601},
        grpc.StatusCode.INVALID_ARGUMENT,
    ),
}


async def test_a_false_approval_is_refused_by_the_gateway_and_by_the_owner(tmp_path: Path) -> None:
    """Whoever the second person is not, gateway and owner each say so, on the record."""
    async with federation(tmp_path, partners=PARTNERS, more_users=MORE_USERS) as made:
        assert made.gateway is not None
        async with EvilNode(made) as node, EvilGateway(made) as gateway:
            template = await gateway.request(craft(made))
            for name, (reason, settings) in FALSE.items():
                forged = craft(made, **settings(made))
                with refused() as told:
                    await node.ask(forged)
                assert reason in told.reasons, (name, told)
                template.query.CopyFrom(forged.signed)
                template.part = forged.parts[OWNER]
                with refused() as told:
                    await gateway.send(template)
                assert reason in told.reasons, (name, told)
            expected = [reason for reason, _ in FALSE.values()]
            assert intents(made.gateway.log) == intents(made.nodes[OWNER].log) == 0
            assert refusals(made.gateway.log) == refusals(made.nodes[OWNER].log) == expected
            events = await node.ask(craft(made, **approving(made, SECOND)))
            assert any(line.HasField("answer") for event in events for line in event.partners)


@pytest.mark.parametrize("name", LATE)
async def test_an_approval_out_of_its_time_is_refused(tmp_path: Path, name: str) -> None:
    """One that is over, or that outlives its mandate, lets nothing go."""
    reason, offsets, code = LATE[name]
    async with federation(tmp_path, partners=PARTNERS, more_users=MORE_USERS) as made:
        now = int(time.time())
        times = {"issued_at": now - 60, **{key: now + value for key, value in offsets.items()}}
        async with EvilNode(made) as node:
            with refused(reason, code=code):
                await node.ask(craft(made, **approving(made, SECOND, change=put(**times))))


async def test_a_node_that_demands_nobody_is_stopped_by_the_gateways_policy(tmp_path: Path) -> None:
    """A mandate that says no second person is needed does not make it so."""
    async with federation(
        tmp_path, partners=PARTNERS, more_users=MORE_USERS, second_person_above=2
    ) as made:
        terms = [("container", term) for term in TERMS]
        async with EvilNode(made) as node:
            with refused("APPROVAL_REQUIRED"):
                await node.ask(craft(made, terms=terms))
            events = await node.ask(craft(made, terms=terms, **approving(made, SECOND)))
            assert any(line.HasField("answer") for event in events for line in event.partners)


async def test_the_gateway_cannot_take_an_approval_away_or_add_urgency(tmp_path: Path) -> None:
    """An owner misses what the mandate demands, and believes no approval changed on the way."""
    async with (
        federation(tmp_path, partners=PARTNERS, more_users=MORE_USERS) as made,
        EvilGateway(made) as gateway,
    ):
        template = await gateway.request(craft(made))
        honest = craft(made, **approving(made, SECOND))
        template.part = honest.parts[OWNER]
        template.query.CopyFrom(honest.signed)
        del template.query.approvals[:]
        with refused("APPROVAL_REQUIRED"):
            await gateway.send(template)
        template.query.CopyFrom(honest.signed)
        made_urgent = query_pb2.Approval.FromString(honest.signed.approvals[0].approval)
        made_urgent.urgent = True
        template.query.approvals[0].approval = signing.canonical(made_urgent)
        with refused("SIGNATURE"):
            await gateway.send(template)


async def test_a_node_that_marks_a_query_approved_sends_nothing(tmp_path: Path) -> None:
    """Its administrator changes the state in the file; without a signature it does not verify."""
    async with federation(
        tmp_path, partners=PARTNERS, more_users=MORE_USERS, second_person_above=2
    ) as made:
        await made.open_case()
        (query_id,) = {
            event.batch.summary.query_id
            for event in await made.ask(*TERMS)
            if event.HasField("batch")
        }
        vault = made.nodes["customs"].vault
        await vault.write(lambda c: c.execute("UPDATE held SET state = ?", (APPROVED,)))
        async with made.client(*ANALYST) as client:
            with refused("APPROVAL_REQUIRED"):
                _ = [event async for event in client.resume(query_id)]
        assert made.gateway is not None
        assert intents(made.gateway.log) == 0


async def held(made: Federation, client: NodeClient) -> asking_pb2.PendingApproval:
    """A query of the analyst that waits, as the node shows it to an approver."""
    await made.open_case()
    await made.ask(*TERMS)
    listed = await client.stub.ListApprovals(asking_pb2.ListApprovalsRequest())
    return listed.pending[0]


async def test_an_approver_does_not_sign_for_another_query_than_the_one_shown(
    tmp_path: Path,
) -> None:
    """A node that shows a small query and has a large one signed is told off, and nothing is
    approved; nor does it get other terms past whoever reads them."""
    async with (
        federation(
            tmp_path, partners=PARTNERS, more_users=MORE_USERS, second_person_above=2
        ) as made,
        made.client(*SECOND) as client,
    ):
        await held(made, client)
        approvals = client.stub.ListApprovals
        show = client.stub.ShowApproval

        def lying(change: Callable[[asking_pb2.PendingApproval], object]) -> Any:
            async def call(*given: Any, **named: Any) -> Any:
                listed = await approvals(*given, **named)
                change(listed.pending[0])
                return listed

            return call

        for change in (
            lambda shown: setattr(shown.query, "terms", 1),
            lambda shown: setattr(shown.query, "user", "u-c03"),
            lambda shown: setattr(shown.query, "purpose", "customs-risk"),
            lambda shown: shown.schemes.update({"container": 1}),
            lambda shown: setattr(shown, "expires_at", shown.expires_at - 60),
            lambda shown: setattr(shown, "certificate", user_certificate(made, *THIRD)),
            lambda shown: setattr(shown, "mandate_signature", b"\x30\x00"),
            lambda shown: setattr(shown, "mandate", craft(made).signed.mandate),
        ):
            client.stub.ListApprovals = lying(change)
            with pytest.raises(Forged):
                await client.pending()
        client.stub.ListApprovals = approvals
        (waiting,) = await client.pending()

        async def other_terms(*given: Any, **named: Any) -> Any:
            async for page in show(*given, **named):
                page.terms[0].value = container(9)
                yield page

        client.stub.ShowApproval = other_terms
        with pytest.raises(Forged) as caught:
            await client.pending_terms(waiting)
        assert "TERMS" in caught.value.reasons


async def test_one_approver_does_not_bring_anothers_approval(tmp_path: Path) -> None:
    """An approval is decided on by whoever signed it, over a connection of their own."""
    async with (
        federation(
            tmp_path, partners=PARTNERS, more_users=MORE_USERS, second_person_above=2
        ) as made,
        made.client(*SECOND) as client,
    ):
        shown = await held(made, client)
        signed = approval(made.layout, THIRD, shown.mandate, now=time.time())
        request = asking_pb2.DecideApprovalRequest(query_id=shown.query.query_id, approve=signed)
        with refused("APPROVER"):
            await client.stub.DecideApproval(request)
        urgent = approval(made.layout, SECOND, shown.mandate, now=time.time(), urgent=True)
        request.approve.CopyFrom(urgent)
        with refused("APPROVAL_URGENT"):
            await client.stub.DecideApproval(request)


async def test_urgency_is_no_way_around_the_guard_or_a_missing_review(tmp_path: Path) -> None:
    """An urgent query is stopped while an earlier one of its user is overdue for its review, when
    it is asked, approved or sent."""
    async with federation(tmp_path, partners=PARTNERS, more_users=MORE_USERS, start=False) as made:
        config = made.node_configs["customs"]
        budgets = {"budgets": Budgets(user_day=1)}
        made.node_configs["customs"] = config.model_copy(update=budgets)
        await made.start_gateway()
        for partner in PARTNERS:
            await made.start_node(partner)
        await made.open_case()
        await made.ask(STORY)
        node = made.nodes["customs"]
        async with made.client(*ANALYST) as client, made.client(*SECOND) as approver:

            async def urgent(number: int) -> bytes:
                events = await made.ask(container(number), client=client, urgent=True)
                return next(e.batch.summary.query_id for e in events if e.HasField("batch"))

            async def go(query_id: bytes) -> None:
                (waiting,) = await approver.pending()
                await approver.approve(waiting)
                assert states([event async for event in client.resume(query_id)])

            await go(await urgent(1))
            waiting, approved = await urgent(2), await urgent(3)
            pending = {item.shown.query.query_id: item for item in await approver.pending()}
            await approver.approve(pending[approved])
            overdue = "UPDATE review SET due_at = 0 WHERE state = 'open'"
            leaf = node.approvals._leaves.approval(subject="approval-read", query_id=waiting)
            await node.log.append(leaf, also=lambda c: c.execute(overdue))
            with refused("REVIEW_OVERDUE"):
                await made.draft(client, container(4), urgent=True)
            with refused("REVIEW_OVERDUE"):
                await approver.approve(pending[waiting])
            with refused("REVIEW_OVERDUE"):
                _ = [event async for event in client.resume(approved)]
            assert refusals(node.log)[-3:] == ["REVIEW_OVERDUE"] * 3


async def test_an_approver_cannot_review_the_own_urgent_approval(tmp_path: Path) -> None:
    """Neither who asked nor who let it go confirms it, whatever kind they claim."""
    async with federation(tmp_path, partners=PARTNERS, more_users=MORE_USERS) as made:
        reviews = made.nodes["customs"].approvals._reviews
        log = made.nodes["customs"].log
        name = "spiffe://fairlead.demo/partner/customs/user/"
        work = reviews.opening(
            "urgent", query_id=bytes(16), user=name + "u-c05", mandate_digest=bytes(32),
            approvers=[name + "u-c02"],
        )  # fmt: skip
        leaf = reviews._leaves.approval(subject="approval-given", query_id=bytes(16))
        await log.append(leaf, also=work)
        request = asking_pb2.DecideReviewRequest(query_id=bytes(16), kind="urgent")
        for person in (BOTH, SECOND):
            async with made.client(*person) as client:
                with refused("UNKNOWN_REVIEW", code=grpc.StatusCode.NOT_FOUND):
                    await client.stub.DecideReview(request)
        async with made.client(*THIRD) as client:
            await client.stub.DecideReview(request)
            with refused("UNKNOWN_REVIEW", code=grpc.StatusCode.NOT_FOUND):
                await client.stub.DecideReview(request)

"""A second person over a running federation: held, approved or denied, sent, and reviewed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from fairlead.auditlog import AuditLog
from fairlead.cli.output import Exit
from fairlead.config import Budgets, Reviews
from fairlead.v1 import asking_pb2, audit_pb2, query_pb2
from tests.approvers import BOTH, MORE_USERS, SECOND, THIRD, approval
from tests.attacks.evil import alarms, intents, leaves, refusals, refused
from tests.commands import Ended, as_user
from tests.federation import CASE, PURPOSE, STORY, Federation, federation, states
from tests.test_node_batches import container
from tests.typist import blocks

pytestmark = pytest.mark.timeout(120)
OWNER, PAGE = "terminal-north", "docs/approvals.md"
QUESTION = ("--case", CASE, "--purpose", PURPOSE)
TERMS = (STORY, container(1), container(2))


@asynccontextmanager
async def watched(
    folder: Path,
    *,
    above: int = 2,
    asker: Budgets | None = None,
    owner: Budgets | None = None,
    percent: int = 0,
) -> AsyncIterator[Federation]:
    """A federation where more than two terms need a second person, and an open case."""
    async with federation(
        folder,
        partners=("customs", OWNER),
        start=False,
        more_users={"customs": MORE_USERS["customs"]},
        second_person_above=above,
        deadline_ms=20_000,
    ) as made:
        reviews = Reviews(sample_percent=percent)
        for partner, limits in (("customs", asker), (OWNER, owner)):
            changes = {"budgets": limits or Budgets(), "reviews": reviews}
            made.node_configs[partner] = made.node_configs[partner].model_copy(update=changes)
        await made.start_gateway()
        for partner in made.node_configs:
            await made.start_node(partner)
        await made.open_case(members=("u-c01", "u-c05"))
        yield made


async def ask(made: Federation, *words: str, user: str = "u-c01") -> Ended:
    """Ask by command, as JSON."""
    return await as_user(made, "ask", *words, *QUESTION, "--output", "json", user=user)


async def held(made: Federation, *terms: str, words: tuple[str, ...] = ()) -> str:
    """Ask what needs a second person; the id of the query that waits."""
    ended = await ask(made, *(terms or TERMS), *words)
    assert ended.code == Exit.PARTIAL, ended.err
    return str(ended.json["query_id"])


async def state(made: Federation, query: str) -> str:
    """What `fairlead queries list` says of one query."""
    ended = await as_user(made, "queries", "list", "--output", "json")
    return next(row["state"] for row in ended.json if row["query"] == query)


async def mandate(made: Federation, query: str) -> str:
    """The digest that an approver reads in `fairlead approvals list`."""
    listed = await as_user(made, "approvals", "list", "--output", "json", user="u-c02")
    return next(str(row["mandate"]) for row in listed.json if row["query"] == query)


def subjects(log: AuditLog) -> list[str]:
    """What second persons did, in order."""
    return [leaf.subject for leaf in leaves(log, audit_pb2.LEAF_TYPE_APPROVAL)]


async def test_a_large_batch_waits_for_a_second_person_and_is_then_sent(tmp_path: Path) -> None:
    """Nothing leaves before the approval, the approver sees what it signs, and then everything
    is answered, with a receipt that verifies."""
    async with watched(tmp_path) as made:
        assert made.gateway is not None
        ended = await ask(made, *TERMS)
        assert ended.code == Exit.PARTIAL
        assert "a second person with the role approver must approve it" in ended.err
        document = ended.json
        query = document["query_id"]
        assert {row["result"] for row in document.get("rows", [])} <= {"pending"}
        assert [line["status"] for line in document["partners"]] == ["pending"]
        assert f"fairlead queries resume {query}" in ended.err
        assert intents(made.gateway.log) == intents(made.nodes["customs"].log) == 0
        assert await state(made, query) == "pending"
        shown = await as_user(made, "queries", "show", query, "--output", "json")
        assert [line["status"] for line in shown.json["partners"]] == ["pending"]
        early = await as_user(made, "queries", "resume", query)
        assert early.code == Exit.REFUSED
        assert "[APPROVAL_PENDING]" in early.err

        listed = await as_user(made, "approvals", "list", "--output", "json", user="u-c02")
        (row,) = listed.json
        assert (row["query"], row["user"], row["terms"]) == (query, "u-c01", 3)
        assert (row["schemes"], row["approvals"]) == ("container 3", "0 of 1")
        assert STORY not in listed.out
        read = await as_user(made, "approvals", "show", query, "--output", "json", user="u-c02")
        assert [item["term"] for item in read.json["asked"]] == list(TERMS)
        approve = ("approvals", "approve", query, "--mandate")
        other = await as_user(made, *approve, "0" * 64, user="u-c02")
        assert "[PENDING_DIFFERS, MANDATE]" in other.err
        assert await state(made, query) == "pending"
        signed = await as_user(made, *approve, read.json["mandate"], user="u-c02")
        assert signed.code == Exit.ANSWERED, signed.err
        assert row["mandate"] in signed.err
        assert await state(made, query) == "approved"
        assert subjects(made.nodes["customs"].log) == [
            "approval-asked",
            "approval-read",
            "approval-given",
        ]

        shown = await as_user(made, "queries", "show", query)
        assert "approved; nothing was sent yet" in shown.err

        sent = await as_user(made, "queries", "resume", query, "--output", "json")
        assert sent.code == Exit.ANSWERED, sent.err
        assert [line["hits"] for line in sent.json["partners"]] == [1]
        assert await state(made, query) == "complete"
        for log in (made.gateway.log, made.nodes["customs"].log, made.nodes[OWNER].log):
            (leaf,) = leaves(log, audit_pb2.LEAF_TYPE_INTENT)
            assert list(leaf.approvers) == ["spiffe://fairlead.demo/partner/customs/user/u-c02"]
            assert len(leaf.signatures) == 3
        verified = await as_user(made, "receipts", "verify", sent.json["receipt"])
        assert verified.code == Exit.ANSWERED, verified.err
        again = await as_user(made, "approvals", "approve", query, user="u-c04")
        assert "[NOT_PENDING]" in again.err


async def test_a_denied_query_is_never_sent(tmp_path: Path) -> None:
    """The requester reads that it was denied, and its secrets are gone from the node."""
    async with watched(tmp_path) as made:
        query = await held(made)
        denied = await as_user(made, "approvals", "deny", query, user="u-c04")
        assert denied.code == Exit.ANSWERED, denied.err
        assert await state(made, query) == "denied"
        ended = await as_user(made, "queries", "resume", query)
        assert ended.code == Exit.REFUSED
        assert "[APPROVAL_DENIED]" in ended.err
        shown = await as_user(made, "queries", "show", query, "--output", "json")
        assert {line["reason"] for line in shown.json["partners"]} == {"APPROVAL_DENIED"}
        node = made.nodes["customs"]
        assert node.vault.read("SELECT secret FROM batch") == [(None,)]
        assert intents(node.log) == 0
        (leaf,) = (
            leaf
            for leaf in leaves(node.log, audit_pb2.LEAF_TYPE_APPROVAL)
            if leaf.subject == "approval-denied"
        )
        assert list(leaf.reasons) == ["NOT_PROPORTIONATE"]


async def test_what_waits_outlives_a_restart(tmp_path: Path) -> None:
    """A node that stopped between asking, approving and sending goes on where it was."""
    async with watched(tmp_path) as made:
        query = await held(made)
        for words, user in (
            (("approvals", "approve", query), "u-c02"),
            (("queries", "resume", query), "u-c01"),
        ):
            await made.stop_node("customs")
            await made.start_node("customs")
            await made.reconnected()
            ended = await as_user(made, *words, user=user)
            assert ended.code == Exit.ANSWERED, ended.err


async def test_somebody_with_both_roles_neither_sees_nor_approves_the_own_query(
    tmp_path: Path,
) -> None:
    """The list leaves it out, and the approval itself is refused on the record."""
    async with watched(tmp_path) as made:
        query = (await ask(made, *TERMS, user="u-c05")).json["query_id"]
        listed = await as_user(made, "approvals", "list", "--output", "json", user="u-c05")
        assert listed.json == []
        async with made.client(*SECOND) as client:
            (waiting,) = await client.pending()
        async with made.client(*BOTH) as client:
            own = approval(made.layout, BOTH, waiting.shown.mandate, now=waiting.mandate.issued_at)
            with refused("APPROVER_IS_REQUESTER"):
                await client.stub.DecideApproval(
                    asking_pb2.DecideApprovalRequest(query_id=bytes.fromhex(query), approve=own)
                )
        assert refusals(made.nodes["customs"].log)[-1] == "APPROVER_IS_REQUESTER"


async def test_everything_is_looked_at_again_when_an_approved_query_is_sent(tmp_path: Path) -> None:
    """A budget spent meanwhile, then a case closed meanwhile: refused at home, nothing leaves."""
    async with watched(tmp_path, asker=Budgets(user_day=4)) as made:
        query = await held(made)
        ended = await as_user(made, "approvals", "approve", query, user="u-c02")
        assert ended.code == Exit.ANSWERED, ended.err
        assert (await ask(made, container(4), container(5))).code == Exit.ANSWERED
        spent = await as_user(made, "queries", "resume", query)
        assert "[BUDGET_EXHAUSTED]" in spent.err
        closed = await as_user(made, "cases", "close", CASE, user="u-c02")
        assert closed.code == Exit.ANSWERED
        ended = await as_user(made, "queries", "resume", query)
        assert "[CASE_NOT_ASSIGNED]" in ended.err
        assert made.gateway is not None
        assert intents(made.gateway.log) == 1


async def test_an_urgent_query_exceeds_the_budgets_once_and_is_reviewed(tmp_path: Path) -> None:
    """An approver on call lets it, at both ends; somebody else reviews it; the budget is as
    exhausted afterwards as it was."""
    small = Budgets(user_day=1, asked_user_day=1)
    async with watched(tmp_path, above=100, asker=small, owner=small) as made:
        assert (await ask(made, container(7))).code == Exit.ANSWERED
        refusal = await ask(made, STORY)
        assert "[BUDGET_EXHAUSTED]" in refusal.err
        query = await held(made, STORY, words=("--urgent",))
        signed = await as_user(made, "approvals", "approve", query, user="u-c02")
        assert "it exceeds a budget" in signed.err
        sent = await as_user(made, "queries", "resume", query, "--output", "json")
        assert sent.code == Exit.ANSWERED, sent.err
        assert [line["hits"] for line in sent.json["partners"]] == [1]
        assert "[BUDGET_EXHAUSTED]" in (await ask(made, container(8))).err

        own = await as_user(made, "approvals", "reviews", "list", "--output", "json", user="u-c02")
        assert own.json == []
        words = ("approvals", "reviews", "confirm", query, "--kind", "urgent")
        assert "[UNKNOWN_REVIEW]" in (await as_user(made, *words, user="u-c02")).err
        others = await as_user(
            made, "approvals", "reviews", "list", "--output", "json", user="u-c04"
        )
        assert [(row["query"], row["kind"]) for row in others.json] == [(query, "urgent")]
        assert (await as_user(made, *words, user="u-c04")).code == Exit.ANSWERED
        assert subjects(made.nodes["customs"].log)[-1] == "review-confirmed"


async def test_an_owner_lets_a_partner_exceed_its_budget_so_far_in_a_day(tmp_path: Path) -> None:
    """Urgent terms are counted on an account of their own at the owner, and end there."""
    asker = Budgets(user_day=1)
    async with watched(tmp_path, above=100, asker=asker, owner=Budgets(asked_urgent_day=1)) as made:
        await ask(made, container(7))
        found = []
        for term in (container(8), container(9)):
            query = await held(made, term, words=("--urgent",))
            await as_user(made, "approvals", "approve", query, user="u-c02")
            sent = await as_user(made, "queries", "resume", query, "--output", "json")
            found += [(line["status"], line["reason"]) for line in sent.json["partners"]]
        assert found == [("answered", ""), ("refused", "BUDGET_EXHAUSTED")]


async def test_a_supervisor_sees_what_was_drawn_and_nobody_who_asked_does(tmp_path: Path) -> None:
    """Every query drawn: the requester sees what it saw before, an approver confirms one and
    objects to the other, which is an alarm."""
    async with watched(tmp_path, percent=100) as made:
        first = (await ask(made, STORY)).json["query_id"]
        second = (await ask(made, container(1))).json["query_id"]
        listed = await as_user(made, "queries", "list", "--output", "json")
        assert {row["state"] for row in listed.json} == {"complete"}
        assert "sample" not in listed.out
        async with made.client() as client:
            with refused():
                await client.stub.ListReviews(asking_pb2.ListReviewsRequest())
        words = ("approvals", "reviews", "list", "--output", "json")
        found = await as_user(made, *words, user="u-c02")
        assert sorted(row["query"] for row in found.json) == sorted([first, second])
        for verb, query in (("confirm", first), ("object", second)):
            ended = await as_user(
                made, "approvals", "reviews", verb, query, "--kind", "sample", user="u-c02"
            )
            assert ended.code == Exit.ANSWERED, ended.err
        assert (await as_user(made, *words, user="u-c04")).json == []
        (alarm,) = alarms(made.nodes["customs"].log)
        assert (alarm.subject, list(alarm.reasons)) == ("review", ["REVIEW_OBJECTED"])
        assert alarm.query_id == bytes.fromhex(second)


async def test_two_people_are_needed_where_policy_wants_two(tmp_path: Path) -> None:
    """One approval of two keeps a query pending; the second one, by somebody else, lets it go."""
    async with watched(tmp_path) as made:
        drafter = made.nodes["customs"].asking._drafter
        honest = drafter._decide
        drafter._decide = lambda *given: (honest(*given)[0], 2)  # type: ignore[method-assign]
        query = await held(made)
        once = await as_user(made, "approvals", "approve", query, user="u-c02")
        assert "another approver must agree too" in once.err
        assert await state(made, query) == "pending"
        twice = await as_user(made, "approvals", "approve", query, user="u-c02")
        assert "[APPROVED_TWICE]" in twice.err
        assert (await as_user(made, "approvals", "approve", query, user="u-c04")).code == 0
        sent = await as_user(made, "queries", "resume", query, "--output", "json")
        assert sent.code == Exit.ANSWERED, sent.err


async def test_without_a_second_person_nothing_changes(tmp_path: Path) -> None:
    """A query below the number goes at once, urgent or not, and nobody is asked."""
    async with watched(tmp_path) as made:
        for words in ((), ("--urgent",)):
            assert (await ask(made, STORY, container(1), *words)).code == Exit.ANSWERED
        assert subjects(made.nodes["customs"].log) == []
        found = states(await made.ask(STORY))[OWNER]
        assert found.status == query_pb2.STATUS_ANSWERED
        async with made.client(*THIRD) as client:
            assert await client.pending() == []


async def test_the_page_on_approvals_is_typed(tmp_path: Path) -> None:
    """Every command of the page, in its order, each as the person who would type it."""
    async with watched(tmp_path, asker=Budgets(user_day=3), percent=100) as made:
        known = {"01a20160aaf07d1e9be1f5c8c5d75a2f": await held(made, *map(container, (7, 8, 9)))}
        file = made.folder / "manifest.csv"
        file.write_text("term\n" + "".join(f"{term}\n" for term in TERMS))
        known |= {"manifest.csv": str(file), "2026-ROT-0417": CASE}
        commands = [command.line for block in blocks(PAGE) for command in block.commands]
        shown = [word for line in commands for word in line.split() if len(word) == 32]
        for line in commands:
            words = [known.get(word, word) for word in line.split()[1:]]
            if "--mandate" in words:
                words[-1] = await mandate(made, words[2])
            user = {"approvals": "u-c04" if "reviews" in words else "u-c02"}.get(words[0], "u-c01")
            ended = await as_user(made, *words, user=user)
            if words[0] == "ask":
                assert ended.code == Exit.PARTIAL, (line, ended.err)
                fresh = next(word for word in shown if word not in known)
                known[fresh] = await newest(made)
            else:
                assert ended.code == Exit.ANSWERED, (line, ended.err)
        assert len(known) == 5
        assert await state(made, known["01a20160aaf07d1e9be1f5c8c5d75a2f"]) == "denied"
        assert [list(leaf.reasons) for leaf in alarms(made.nodes["customs"].log)] == [
            ["REVIEW_OBJECTED"]
        ]


async def newest(made: Federation) -> str:
    """The id of the query asked last."""
    ended = await as_user(made, "queries", "list", "--output", "json")
    return str(ended.json[0]["query"])

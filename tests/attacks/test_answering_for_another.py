"""Attack: an owner answers in another partner's name, alone or together with the gateway."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from fairlead import signing
from fairlead.envelope.answer import sign_answer
from fairlead.envelope.query import Query, uuid7, verify_query
from fairlead.v1 import gateway_pb2, owner_pb2, query_pb2
from tests.attacks.crafted import OTHER_OWNER, OWNER, changed, node_key
from tests.attacks.evil import corrupt, refused
from tests.federation import Federation, federation, states

Lie = Callable[[Federation, Query], query_pb2.SignedAnswer]


def compose(made: Federation, query: Query, *, signs: str, says: str) -> query_pb2.SignedAnswer:
    """An answer signed by one partner that says it is another's."""
    return sign_answer(
        query,
        says,
        key=node_key(made, signs),
        status=query_pb2.STATUS_ANSWERED,
        answers=[query_pb2.TermAnswer(index=i) for i in range(query.term_count)],
        policy_serial=1,
        index_age_s=0,
        index_root=bytes(32),
    )


def for_another(made: Federation, query: Query) -> query_pb2.SignedAnswer:
    """The terminal signs, with its own key, an answer that names the shipping line."""
    return compose(made, query, signs=OWNER, says=OTHER_OWNER)


def of_another(made: Federation, query: Query) -> query_pb2.SignedAnswer:
    """The shipping line colludes: its own, truly signed answer comes from the terminal."""
    return compose(made, query, signs=OTHER_OWNER, says=OTHER_OWNER)


def for_another_query(made: Federation, query: Query) -> query_pb2.SignedAnswer:
    """The terminal hands out what it answered to another query of the same asker."""
    return compose(made, replace(query, query_id=uuid7(time.time())), signs=OWNER, says=OWNER)


def with_anothers_body(made: Federation, query: Query) -> query_pb2.SignedAnswer:
    """The terminal signs its own header over the shipping line's sealed body."""
    mine = compose(made, query, signs=OWNER, says=OWNER)
    theirs = compose(made, query, signs=OTHER_OWNER, says=OTHER_OWNER)
    header = query_pb2.AnswerHeader.FromString(mine.header)
    named = signing.canonical(changed(header, body_digest=signing.digest(theirs.body)))
    return query_pb2.SignedAnswer(
        header=named,
        signature=signing.sign(node_key(made, OWNER), "answer", named),
        body=theirs.body,
    )


def lying(made: Federation, lie: Lie) -> list[query_pb2.SignedAnswer]:
    """Change the terminal's code: whatever it is asked, it answers ``lie``; all lies it told."""
    told: list[query_pb2.SignedAnswer] = []

    async def answer(request: owner_pb2.AnswerRequest, _peer: Any) -> owner_pb2.AnswerResponse:
        query = verify_query(
            request.query, directory=made.directory, deny_lists=None, now=time.time()
        )
        told.append(lie(made, query))
        return owner_pb2.AnswerResponse(answer=told[-1])

    made.nodes[OWNER].answering.answer = answer  # type: ignore[method-assign]
    return told


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        (for_another, "ANSWER_BINDING"),
        (of_another, "SIGNATURE"),
        (for_another_query, "ANSWER_BINDING"),
    ],
)
async def test_the_gateway_does_not_pass_another_partners_answer_on(
    tmp_path: Path, lie: Lie, reason: str
) -> None:
    """The liar's line is invalid, the other partner's line is its own, nothing is merged."""
    async with federation(tmp_path) as made:
        await made.open_case()
        lying(made, lie)
        found = states(await made.ask())
        assert (found[OWNER].status, found[OWNER].reason) == (query_pb2.STATUS_INVALID, reason)
        assert not found[OWNER].answers
        assert found[OTHER_OWNER].status == query_pb2.STATUS_ANSWERED


async def test_an_owner_cannot_seal_another_partners_body_under_its_own_name(
    tmp_path: Path,
) -> None:
    """The gateway cannot see it; the asker's node opens the body, and it is of another partner."""
    async with federation(tmp_path) as made:
        await made.open_case()
        lying(made, with_anothers_body)
        found = states(await made.ask())
        assert (found[OWNER].status, found[OWNER].reason) == (
            query_pb2.STATUS_INVALID,
            "UNSEALABLE",
        )
        assert not found[OWNER].answers
        assert found[OTHER_OWNER].status == query_pb2.STATUS_ANSWERED


@pytest.mark.parametrize("lie", [for_another, of_another, for_another_query])
async def test_a_colluding_gateway_does_not_make_the_asker_believe_it(
    tmp_path: Path, lie: Lie
) -> None:
    """Owner and gateway together: the asker's own verification refuses the answer unseen."""
    async with federation(tmp_path) as made:
        assert made.gateway is not None
        await made.open_case()

        def pass_on(events: list[gateway_pb2.QueryResponse]) -> list[gateway_pb2.QueryResponse]:
            for event in events:
                for line in event.partners:
                    if line.partner_id == OWNER:
                        line.status = query_pb2.STATUS_ANSWERED
                        line.reason = ""
                        line.answer.CopyFrom(lies[-1])
            return events

        lies = lying(made, lie)
        corrupt(made, pass_on)
        events: list[Any] = []
        with refused(code=grpc.StatusCode.PERMISSION_DENIED) as told:
            async with made.client() as client:
                async for event in client.ask(await made.draft(client)):
                    events.append(event)  # noqa: PERF401  what came before the error counts
        assert set(told.reasons) & {"SIGNATURE", "ANSWER_BINDING"}
        assert OWNER not in states(events)

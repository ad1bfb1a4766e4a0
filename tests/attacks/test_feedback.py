"""Attack: feedback on what was never asked or answered, in another's name, twice, or in floods."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from fairlead.envelope.feedback import PER_QUERY, SEALED_SIZE, seal_feedback
from fairlead.envelope.query import uuid7
from fairlead.v1 import asking_pb2, audit_pb2, gateway_pb2, owner_pb2, owner_pb2_grpc, query_pb2
from node.feedback import FeedbackBook
from tests.attacks.crafted import changed, node_key
from tests.attacks.evil import EvilNode, leaves, refusals, refused
from tests.federation import STORY, Federation, evidence, federation

pytestmark = pytest.mark.asyncio(loop_scope="module")
OWNER, OTHER_OWNER = "terminal-north", "oceanic-line"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Federation]:
    folder = tmp_path_factory.mktemp("feedback")
    partners = ("customs", "police", OWNER, OTHER_OWNER)
    async with federation(folder, partners=partners) as running:
        await running.open_case()
        yield running


async def asked(made: Federation, **changes: object) -> bytes:
    """Ask honestly; the query's id."""
    events = await made.ask(STORY, partners=[OWNER], **changes)
    header = query_pb2.QueryHeader.FromString(evidence(events).query.header)
    return header.query_id


def feedback(
    made: Federation,
    query_id: bytes,
    *,
    asker: str = "customs",
    key: str = "customs",
    owner: str = OWNER,
    feedback_id: bytes | None = None,
    outcome: int = query_pb2.FEEDBACK_OUTCOME_SEIZURE,
    now: float | None = None,
) -> gateway_pb2.GatewayServiceFeedbackRequest:
    moment = time.time() if now is None else now
    body = query_pb2.FeedbackBody(
        feedback_id=feedback_id or uuid7(moment),
        query_id=query_id,
        outcome=outcome,  # type: ignore[arg-type]
    )
    signed = seal_feedback(
        body,
        asker=asker,
        owner=made.directory.partner(owner),
        key=node_key(made, key),
        now=moment,
    )
    return gateway_pb2.GatewayServiceFeedbackRequest(feedback=signed)


def received(made: Federation) -> list[Any]:
    return [item for item in FeedbackBook(made.nodes[OWNER].vault).listed() if item.received]


async def test_feedback_reaches_its_owner_and_nobody_else_reads_it(made: Federation) -> None:
    """The owner has the outcome; the gateway has one leaf and a body of one size."""
    query_id = await asked(made)
    async with made.client() as client:
        await client.stub.SendFeedback(
            asking_pb2.SendFeedbackRequest(
                query_id=query_id,
                partner_id=OWNER,
                outcome=query_pb2.FEEDBACK_OUTCOME_SEIZURE,
                term=asking_pb2.Term(scheme="container", value=STORY),
            )
        )
    (kept,) = [item for item in received(made) if item.query_id == query_id]
    assert (kept.outcome, kept.value, kept.partner_id) == ("seizure", STORY, "customs")
    assert made.gateway is not None
    (leaf,) = leaves(made.gateway.log, audit_pb2.LEAF_TYPE_FEEDBACK)
    assert (leaf.subject, leaf.query_id) == ("feedback-passed", query_id)
    assert STORY.encode() not in leaf.SerializeToString()
    sizes = {len(feedback(made, query_id, outcome=n).feedback.body) for n in (1, 2, 3, 4)}
    assert sizes == {SEALED_SIZE}


async def test_feedback_on_a_query_never_asked_is_refused(made: Federation) -> None:
    """Neither an invented id nor a partner that gave no answer gets past the gateway."""
    query_id = await asked(made)
    before = len(received(made))
    async with EvilNode(made) as node:
        for message in (
            feedback(made, uuid7(time.time())),
            feedback(made, query_id, owner=OTHER_OWNER),
        ):
            with refused("NOT_ANSWERED"):
                await node.gateway.Feedback(message)
    assert len(received(made)) == before
    assert made.gateway is not None
    assert refusals(made.gateway.log)[-2:] == ["NOT_ANSWERED", "NOT_ANSWERED"]


async def test_feedback_in_anothers_name_is_refused(made: Federation) -> None:
    """Another partner's node can neither sign as the asker nor bring what the asker signed."""
    query_id = await asked(made)
    async with EvilNode(made, "police") as node:
        with refused("SIGNATURE"):
            await node.gateway.Feedback(feedback(made, query_id, key="police"))
        with refused("WRONG_PEER"):
            await node.gateway.Feedback(feedback(made, query_id))
        with refused("NOT_ANSWERED"):
            await node.gateway.Feedback(feedback(made, query_id, asker="police", key="police"))


async def test_feedback_again_is_kept_once(made: Federation) -> None:
    """The same octets change nothing; another body under its id is a conflict."""
    query_id = await asked(made)
    message = feedback(made, query_id)
    async with EvilNode(made) as node:
        for _ in range(3):
            await node.gateway.Feedback(message)
        assert len([item for item in received(made) if item.query_id == query_id]) == 1
        header = query_pb2.FeedbackHeader.FromString(message.feedback.header)
        with refused("FEEDBACK_REUSED", code=grpc.StatusCode.ALREADY_EXISTS):
            await node.gateway.Feedback(
                feedback(made, query_id, feedback_id=header.feedback_id, outcome=1)
            )
        with refused("FEEDBACK_WINDOW", code=grpc.StatusCode.FAILED_PRECONDITION):
            await node.gateway.Feedback(feedback(made, query_id, now=time.time() - 300))


async def test_feedback_cannot_be_altered_on_its_way(made: Federation) -> None:
    """Another body or a longer one does not verify."""
    query_id = await asked(made)
    message = feedback(made, query_id)
    async with EvilNode(made) as node:
        for body in (message.feedback.body + b"x", bytes(SEALED_SIZE)):
            altered = changed(message.feedback, body=body)
            with refused("FEEDBACK_BODY"):
                await node.gateway.Feedback(
                    gateway_pb2.GatewayServiceFeedbackRequest(feedback=altered)
                )


async def test_an_owner_takes_no_feedback_on_what_it_was_not_asked(made: Federation) -> None:
    """A gateway that invents the query finds the owner's own record against it."""
    from fairlead import tls
    from fairlead.certificates import SpiffeId

    keys = made.layout.gateway("gw-1")
    material = tls.KeyMaterial.load(
        keys / "tls.pem", keys / "tls.key", [made.directory.federation_ca]
    )
    node = made.directory.partner(OWNER).nodes[0]
    channel = tls.open_channel(
        node.endpoint, server=SpiffeId.parse(node.spiffe_id), material=material
    )
    try:
        stub = owner_pb2_grpc.OwnerServiceStub(channel)
        message = feedback(made, uuid7(time.time())).feedback
        with refused("UNKNOWN_QUERY", code=grpc.StatusCode.NOT_FOUND):
            await stub.Feedback(owner_pb2.OwnerServiceFeedbackRequest(feedback=message))
    finally:
        await channel.close()


async def test_a_flood_of_feedback_is_cut(made: Federation) -> None:
    """One query takes so much feedback and no more, at the gateway and so at the owner."""
    query_id = await asked(made)
    told: list[str] = []
    async with EvilNode(made) as node:
        for _ in range(PER_QUERY + 8):
            try:
                await node.gateway.Feedback(feedback(made, query_id))
            except grpc.aio.AioRpcError as error:
                told.append(str(error.code().name))
    assert set(told) == {"RESOURCE_EXHAUSTED"}
    assert len([item for item in received(made) if item.query_id == query_id]) <= PER_QUERY


async def test_the_folder_is_readable_by_its_owner_alone(made: Federation) -> None:
    """History and secret have mode 0600, and hold neither term nor case in clear."""
    state: Path = made.node_configs["customs"].state_dir
    for name in ("history.sqlite", "history.secret"):
        assert (state / name).stat().st_mode & 0o077 == 0
    data = b"".join(path.read_bytes() for path in state.glob("history.sqlite*"))
    assert STORY.encode() not in data
    assert b"CASE-1" not in data

"""Feedback: one size, its owner's to open, and any octets are feedback or an error of ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead import signing
from fairlead.envelope.feedback import (
    MAX_TEXT,
    SEALED_SIZE,
    open_feedback,
    seal_feedback,
    verify_feedback,
)
from fairlead.envelope.query import WINDOW_S, uuid7
from fairlead.errors import FairleadError, Forged, InvalidInput, NotFound, Stale
from fairlead.v1 import query_pb2 as pb
from tests.walks import ASKER, NOW, OTHER_OWNER, OWNER, World, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder: Path = tmp_path_factory.mktemp("feedback")
    return make_world(folder)


def made(world: World, **changes: object) -> pb.SignedFeedback:
    fields: dict[str, object] = {
        "feedback_id": uuid7(NOW),
        "query_id": uuid7(NOW),
        "outcome": pb.FEEDBACK_OUTCOME_MEASURE,
    }
    body = pb.FeedbackBody(**{**fields, **changes})  # type: ignore[arg-type]
    return seal_feedback(
        body,
        asker=ASKER,
        owner=world.directory.partner(OWNER),
        key=world.signing_key(ASKER),
        now=NOW,
    )


def opened(world: World, signed: pb.SignedFeedback, owner: str = OWNER) -> pb.FeedbackBody:
    header = verify_feedback(signed, directory=world.directory, now=NOW)
    return open_feedback(signed, header, key=world.sealing_key(owner))


@pytest.mark.parametrize("value", ["", "M", "M" * MAX_TEXT])
def test_what_was_said_arrives_and_its_size_tells_nothing(world: World, value: str) -> None:
    """Whatever it says, the body has one size, and only its owner opens it."""
    signed = made(world, scheme="container", value=value)
    assert len(signed.body) == SEALED_SIZE
    assert opened(world, signed).value == value
    with pytest.raises(Forged):
        opened(world, signed, OTHER_OWNER)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"outcome": 0}, InvalidInput),
        ({"outcome": 9}, InvalidInput),
        ({"value": "M" * (MAX_TEXT + 1)}, InvalidInput),
        ({"scheme": "M" * (MAX_TEXT + 1)}, InvalidInput),
        ({"feedback_id": b"short"}, InvalidInput),
        ({"query_id": bytes(16)}, InvalidInput),
    ],
)
def test_what_is_no_feedback_is_refused(
    world: World, changes: dict[str, object], error: type[FairleadError]
) -> None:
    """An outcome nobody defined, a text that is too long, an id that is none."""
    with pytest.raises(error):
        opened(world, made(world, **changes))


def test_feedback_is_fresh_and_between_partners(world: World) -> None:
    """Too old, too new, and a partner nobody lists."""
    signed = made(world)
    for now in (NOW - WINDOW_S - 1, NOW + WINDOW_S + 1):
        with pytest.raises(Stale):
            verify_feedback(signed, directory=world.directory, now=now)
    header = pb.FeedbackHeader.FromString(signed.header)
    header.owner_id = "nobody"
    signed.header = signing.canonical(header)
    with pytest.raises(NotFound):
        verify_feedback(signed, directory=world.directory, now=NOW)


def test_a_body_of_another_query_is_refused(world: World) -> None:
    """The header's ids and the sealed ones are the same."""
    signed, other = made(world), made(world)
    header = pb.FeedbackHeader.FromString(signed.header)
    with pytest.raises(Forged):
        open_feedback(other, header, key=world.sealing_key(OWNER))


@settings(deadline=None, max_examples=50)
@given(
    header=st.binary(max_size=200), signature=st.binary(max_size=80), body=st.binary(max_size=80)
)
def test_any_octets_are_feedback_or_an_error_of_ours(
    world: World, header: bytes, signature: bytes, body: bytes
) -> None:
    """Verifying never fails in another way, signed rightly or not."""
    for proof in (signature, signing.sign(world.signing_key(ASKER), "feedback", header)):
        signed = pb.SignedFeedback(header=header, signature=proof, body=body)
        with pytest.raises(FairleadError):
            verify_feedback(signed, directory=world.directory, now=NOW)

"""Receipts: everything a stranger can check afterwards, and nothing that can be changed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead import merkle, signing
from fairlead.envelope.answer import sign_answer
from fairlead.envelope.outcome import PartnerState, make_outcome
from fairlead.errors import FairleadError, Forged, InvalidInput, NotFound
from fairlead.evidence import Verified, heads, load_evidence, verify_evidence
from fairlead.leaves import LeafWriter
from fairlead.receipts import CheckpointFork
from fairlead.v1 import asking_pb2 as pb
from fairlead.v1 import query_pb2
from tests.federation import evidence, federation
from tests.walks import NOW, OTHER_OWNER, OWNER, PaperLog, Walk, World, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("evidence"))


class Made:
    """A receipt made from keys: one owner answered, one did not."""

    def __init__(self, world: World, *, closing: PaperLog | None = None, extra: int = 0) -> None:
        self.world = world
        self.walk: Walk = world.walk(asked=[OWNER, OTHER_OWNER])
        self.query = self.walk.verify()
        self.log = PaperLog(world, [b"a", b"b"])
        self.writer = LeafWriter(log="gateway/gw-1", clock=lambda: NOW)
        leaf, _ = self.writer.intent(self.query, rules=[], policy_serial=1, commits_to=b"x")
        index = self.log.append(leaf)
        self.intent_hash = merkle.leaf_hash(leaf)
        self.intent = self.log.receipt(index)
        self.answer = self.sign(OWNER)
        self.states = {
            OTHER_OWNER: PartnerState(
                partner_id=OTHER_OWNER, status=query_pb2.STATUS_TIMEOUT, reason="DEADLINE"
            ),
            OWNER: PartnerState(
                partner_id=OWNER,
                status=query_pb2.STATUS_ANSWERED,
                answer_digest=signing.digest(self.answer.header),
            ),
        }

    def sign(self, owner: str) -> query_pb2.SignedAnswer:
        return sign_answer(
            self.query,
            owner,
            key=self.world.signing_key(owner),
            status=query_pb2.STATUS_ANSWERED,
            answers=[query_pb2.TermAnswer(index=0)],
            policy_serial=1,
            index_age_s=1,
            index_root=bytes(32),
        )

    def outcome(self, **changes: Any) -> bytes:
        fields: dict[str, Any] = {
            "query_id": self.query.query_id,
            "header_digest": self.query.header_digest,
            "states": self.states,
            "intent_leaf_hash": self.intent_hash,
            "gateway": self.world.gateway.spiffe_id,
            "policy_serial": 1,
            "now": NOW,
        }
        return make_outcome(**{**fields, **changes})

    def evidence(
        self, *, outcome: bytes | None = None, log: PaperLog | None = None, **changes: Any
    ) -> pb.Evidence:
        stated = self.outcome() if outcome is None else outcome
        history = log or self.log
        index = history.append(self.writer.outcome(self.query, self.states))
        fields: dict[str, Any] = {
            "query": self.walk.signed,
            "intent": self.intent,
            "outcome": stated,
            "outcome_signature": signing.sign(self.world.gateway_key(), "outcome", stated),
            "closing": history.receipt(index),
            "answers": [self.answer],
        }
        return pb.Evidence(**{**fields, **changes})


def verify(made: Made, found: pb.Evidence) -> Verified:
    return verify_evidence(found, made.world.directory)


def test_a_receipt_proves_what_was_asked_and_answered(world: World) -> None:
    """Who asked, for what purpose, who answered and who did not, and where the log stood."""
    made = Made(world)
    found = verify(made, made.evidence())
    assert found.query.purpose == "drug-trafficking"
    assert found.partners == {
        OTHER_OWNER: query_pb2.STATUS_TIMEOUT,
        OWNER: query_pb2.STATUS_ANSWERED,
    }
    assert (found.answers, found.log_size) == (1, 4)
    proof = made.evidence()
    assert [head.size for head in heads(proof, world.directory)] == [3, 5]


def test_a_receipt_verifies_long_after_its_window(world: World) -> None:
    """Everything is judged at the time of the query, not at the time of reading."""
    made = Made(world)
    assert verify(made, made.evidence()).query.query_id == made.query.query_id


def messages(message: Message, path: str = "") -> Iterator[tuple[str, Message, Any]]:
    """Every field of octets or text in a message, at any depth."""
    for field, value in message.ListFields():
        name = f"{path}.{field.name}"
        if isinstance(value, bytes | str):
            yield name, message, field
        elif isinstance(value, Message):
            yield from messages(value, name)
        else:
            for place, item in enumerate(value):
                if isinstance(item, Message):
                    yield from messages(item, f"{name}[{place}]")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_changed_octet_verifies(world: World, data: st.DataObject) -> None:
    """Whatever octet of whatever field of a receipt is changed, it is refused."""
    made = Made(world)
    found = made.evidence()
    fields = [name for name, *_ in messages(found)]
    wanted = data.draw(st.sampled_from(fields))
    ((_, holder, field),) = [item for item in messages(found) if item[0] == wanted]
    good = getattr(holder, field.name)
    place = data.draw(st.integers(0, 100_000)) % len(good)
    if isinstance(good, bytes):
        bad: Any = good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]
    else:
        bad = good[:place] + chr(ord(good[place]) ^ 1) + good[place + 1 :]
    setattr(holder, field.name, bad)
    with pytest.raises(FairleadError):
        verify(made, found)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_nothing_can_be_left_out(world: World, data: st.DataObject) -> None:
    """A receipt without one of its parts proves nothing."""
    made = Made(world)
    found = made.evidence()
    wanted = data.draw(st.sampled_from([name for name, *_ in messages(found)]))
    ((_, holder, field),) = [item for item in messages(found) if item[0] == wanted]
    holder.ClearField(field.name)
    with pytest.raises(FairleadError):
        verify(made, found)


def test_a_missing_or_additional_answer_is_noticed(world: World) -> None:
    """The answers are exactly those of the outcome, each once."""
    made = Made(world)
    for answers in ([], [made.sign(OWNER)], [made.answer, made.sign(OTHER_OWNER)]):
        with pytest.raises(Forged):
            verify(made, made.evidence(answers=answers))


def test_an_outcome_that_misreports_an_answer_is_noticed(world: World) -> None:
    """A gateway cannot state "refused" over an owner's signed answer."""
    made = Made(world)
    made.states[OWNER] = PartnerState(
        partner_id=OWNER,
        status=query_pb2.STATUS_REFUSED,
        reason="NO_AGREEMENT",
        answer_digest=signing.digest(made.answer.header),
    )
    with pytest.raises(Forged):
        verify(made, made.evidence())


@pytest.mark.parametrize(
    "changes",
    [
        {"query_id": bytes(16)},
        {"header_digest": bytes(32)},
        {"intent_leaf_hash": bytes(32)},
        {"gateway": "spiffe://fairlead.demo/gateway/gw-2"},
        {"states": {}},
    ],
)
def test_a_signed_outcome_of_something_else_is_noticed(
    world: World, changes: dict[str, Any]
) -> None:
    """The gateway's good signature over another query, intent or result is refused."""
    made = Made(world)
    with pytest.raises(Forged):
        verify(made, made.evidence(outcome=made.outcome(**changes)))


def test_another_leaf_than_the_outcomes_does_not_close(world: World) -> None:
    """The closing receipt must be of an OUTCOME leaf that says the same."""
    made = Made(world)
    with pytest.raises(FairleadError):
        verify(made, made.evidence(closing=made.intent))


def test_an_earlier_state_of_the_log_does_not_close(world: World) -> None:
    """The outcome is logged behind the intent, so its head cannot be smaller."""
    made = Made(world)
    shorter = PaperLog(world, [b"z"])
    with pytest.raises(FairleadError):
        verify(made, made.evidence(log=shorter))


def test_two_heads_of_one_size_are_a_fork(world: World) -> None:
    """Intent and outcome under contradicting heads of the same size prove a cheating gateway."""
    made = Made(world)
    other = PaperLog(world, [b"y"] * (made.log.size - 1))
    with pytest.raises(CheckpointFork):
        verify(made, made.evidence(log=other))


# ── Files ────────────────────────────────────────────────────────────────────────────────────


def write(path: Path, found: pb.Evidence) -> Path:
    path.write_text(json.dumps({"fairlead_receipt": 1, **MessageToDict(found)}))
    return path


def test_a_receipt_survives_its_file(world: World, tmp_path: Path) -> None:
    """What was kept as JSON verifies like the original."""
    made = Made(world)
    found = made.evidence()
    assert load_evidence(write(tmp_path / "r.json", found)) == found


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("fairlead_receipt"),
        lambda d: d.update(fairlead_receipt=2),
        lambda d: d.update(unknown=1),
        lambda d: d.update(query="text"),
        lambda d: d.update(outcome="not base64 !"),
        lambda d: d["intent"].update(leaf=7),
    ],
)
def test_a_file_of_another_form_is_no_receipt(
    world: World, tmp_path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    """Unknown versions, unknown fields and wrong types are refused as input."""
    path = write(tmp_path / "r.json", Made(world).evidence())
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(InvalidInput) as caught:
        load_evidence(path)
    assert caught.value.code == "RECEIPT_FILE"


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 100_000])
def test_other_files_are_no_receipts(tmp_path: Path, content: bytes) -> None:
    """Empty, foreign and hostile files are refused, a missing one too."""
    path = tmp_path / "r.json"
    path.write_bytes(content)
    for found in (path, tmp_path):
        with pytest.raises(InvalidInput):
            load_evidence(found)
    with pytest.raises(NotFound):
        load_evidence(tmp_path / "none.json")


@pytest_asyncio.fixture
async def real(tmp_path: Path) -> AsyncIterator[tuple[pb.Evidence, Any]]:
    async with federation(tmp_path, partners=("customs", OWNER)) as made:
        await made.open_case()
        yield evidence(await made.ask()), made.directory


async def test_a_real_query_leaves_a_receipt_that_verifies(
    real: tuple[pb.Evidence, Any], tmp_path: Path
) -> None:
    """From the CLI's file, with nothing but the directory."""
    found, directory = real
    kept = load_evidence(write(tmp_path / "r.json", found))
    assert verify_evidence(kept, directory).answers == 1

"""The asker's side: every early refusal is on the record, and nothing is sent before its time."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from fairlead import sealing, signing
from fairlead.certificates import Identity
from fairlead.drafted import check_draft
from fairlead.envelope.chunk import MAX_CHUNKS
from fairlead.errors import (
    FairleadError,
    Forged,
    InvalidInput,
    NotFound,
    Refused,
    Stale,
    Unreachable,
)
from fairlead.v1 import asking_pb2 as pb
from fairlead.v1 import audit_pb2, gateway_pb2, query_pb2
from fairlead.v1.handling_pb2 import Pap
from node.app import NodeApp
from node.drafting import MAX_DRAFTS, PREPARATION_S, check_room
from tests.decided import undecided
from tests.federation import PURPOSE, STORY, Federation, federation, one, request
from tests.test_node_batches import container
from tests.walks import World, world_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
PARTNERS = ("customs", "police", "terminal-north")


@dataclass(slots=True)
class Place:
    """Customs' node; its gateway does not run, so whatever is sent is seen here."""

    made: Federation
    world: World
    sent: list[gateway_pb2.QueryRequest] = field(default_factory=list)

    @property
    def node(self) -> NodeApp:
        return self.made.nodes["customs"]

    @property
    def analyst(self) -> Identity:
        return self.world.user("customs", "u-c01")

    def mine(self) -> dict[str, Any]:
        """What the analyst's client knows by itself."""
        return {
            "certificate": self.world.certificate(),
            "directory": self.world.directory,
            "partner_id": "customs",
            "now": time.time(),
        }

    async def prepare(self, asked: pb.PrepareRequest, user: str = "u-c01") -> pb.PrepareResponse:
        return await self.node.asking.prepare(
            one(asked), self.world.user("customs", user), self.world.certificate("customs", user)
        )

    def sign(self, drafted: pb.PrepareResponse, user: str = "u-c01") -> pb.AskRequest:
        path = self.made.layout.user("customs", user) / "user.key"
        key = signing.load_user_key(path)
        return pb.AskRequest(
            preparation_id=drafted.preparation_id,
            mandate=drafted.mandate,
            signature=signing.sign_as_user(key, "mandate", drafted.mandate),
        )

    async def ask(self, asked: pb.AskRequest, user: str = "u-c01") -> list[pb.AskResponse]:
        events = self.node.asking.ask(
            asked, self.world.user("customs", user), self.world.certificate("customs", user)
        )
        return [event async for event in events]

    def last(self, count: int = 1) -> list[audit_pb2.AuditLeaf]:
        return undecided(self.node.log)[-count:]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Federation]:
    folder = tmp_path_factory.mktemp("asking")
    async with federation(folder, partners=PARTNERS, start=False) as made:
        await made.start_node("customs")
        await made.open_case()
        yield made


@pytest.fixture
def place(running: Federation, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place(running, world_of(running.layout, now=time.time()))
    honest = made.node.asking._sending._send

    async def send(message: gateway_pb2.QueryRequest) -> AsyncIterator[gateway_pb2.QueryResponse]:
        made.sent.append(message)
        async for response in honest(message):
            yield response

    monkeypatch.setattr(made.node.asking._sending, "_send", send)
    return made


# ── Prepare ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("terms", [1, 100, sealing.MAX_TERMS, 10_000])
async def test_what_would_not_fit_into_one_message_is_refused_before_it_is_signed(
    terms: int,
) -> None:
    """As many partners as fit are let through, and one more is told how many do."""
    chunk = min(terms, sealing.MAX_TERMS)
    key = sealing.SealingKey.generate().public_bytes()
    wrapped, sealed = sealing.wrap(bytes(sealing.question_size(chunk)), key, info=b"")
    part = query_pb2.SealedPart(wrapped_key=wrapped, ciphertext=sealed).SerializeToString()
    item = query_pb2.AddressedPart(partner_id="p" * 64, part=part)
    most = next(n for n in itertools.count(1) if not _fits(n + 1, terms))
    request = gateway_pb2.QueryRequest(parts=[item] * most)
    assert request.ByteSize() <= signing.MAX_MESSAGE - 64 * 1024
    with pytest.raises(InvalidInput, match="fit") as refused:
        check_room(most + 1, terms)
    assert f"at most {most} partners" in (refused.value.remedy or "")


def _fits(partners: int, terms: int) -> bool:
    try:
        check_room(partners, terms)
    except InvalidInput:
        return False
    return True


async def test_a_draft_is_what_the_user_asked_for_and_is_not_sent(place: Place) -> None:
    """The client accepts the draft; the gateway has seen nothing and the log holds no intent."""
    size = len(undecided(place.node.log))
    asked = request(STORY)
    drafted = await place.prepare(asked)
    draft = check_draft(asked, drafted, **place.mine())
    assert {item.partner_id for item in draft.exposures} == {"police", "terminal-north"}
    assert draft.legal_basis == "eu-ucc-art-46"
    assert place.sent == []
    assert len(undecided(place.node.log)) == size


TERMS = [pb.Term(scheme="container", value=STORY)]
REFUSED: list[tuple[str, dict[str, Any], type[FairleadError], str]] = [
    ("no term", {"terms": []}, InvalidInput, "TERM_COUNT"),
    (
        "65,537 terms",
        {"terms": TERMS * (MAX_CHUNKS * sealing.MAX_TERMS + 1)},
        InvalidInput,
        "TERM_COUNT",
    ),
    ("a term twice", {"terms": TERMS * 2}, InvalidInput, "TERM_TWICE"),
    (
        "a term twice in two spellings",
        {"terms": [*TERMS, pb.Term(scheme="container", value="mscu 663987-0")]},
        InvalidInput,
        "TERM_TWICE",
    ),
    (
        "a wrong check digit",
        {"terms": [pb.Term(scheme="container", value="MSCU6639871")]},
        InvalidInput,
        "CHECK_DIGIT",
    ),
    (
        "an unknown scheme",
        {"terms": [pb.Term(scheme="crystal-ball", value="X")]},
        InvalidInput,
        "SCHEME",
    ),
    (
        "a term too long",
        {"terms": [pb.Term(scheme="container", value="A" * 129)]},
        InvalidInput,
        "TOO_LONG",
    ),
    ("an empty range", {"since": 20, "until": 20}, InvalidInput, "TIME_RANGE"),
    ("a range backwards", {"since": 20, "until": 10}, InvalidInput, "TIME_RANGE"),
    ("a time before 1970", {"since": -1}, InvalidInput, "TIME_RANGE"),
    ("a misspelt event", {"events": ["Gate in"]}, InvalidInput, "EVENT_UNKNOWN"),
    ("an event nobody knows", {"events": ["gate-inn"]}, InvalidInput, "EVENT_UNKNOWN"),
    ("too many events", {"events": [f"e{n}" for n in range(17)]}, InvalidInput, "EVENTS"),
    ("a misspelt purpose", {"purpose": "Drugs"}, InvalidInput, "CODE"),
    ("an unknown mode", {"mode": 9}, InvalidInput, "MODE"),
    ("blind", {"mode": query_pb2.MODE_BLIND}, Refused, "NO_SNAPSHOT"),
    ("no case", {"case_id": ""}, Refused, "CASE_NOT_ASSIGNED"),
    ("an unknown case", {"case_id": "CASE-9"}, Refused, "CASE_NOT_ASSIGNED"),
    ("an unknown partner", {"partners": ["nobody"]}, NotFound, "UNKNOWN_PARTNER"),
    ("oneself", {"partners": ["customs"]}, NotFound, "ASKS_ITSELF"),
    ("another purpose than the case's", {"purpose": "customs-risk"}, Refused, ""),
    ("a purpose policy does not know", {"purpose": "curiosity"}, Refused, ""),
    ("no beginning", {"since": 0}, Refused, "WINDOW_TOO_LONG"),
]


@pytest.mark.parametrize(
    ("changes", "error", "code"), [item[1:] for item in REFUSED], ids=[i[0] for i in REFUSED]
)
async def test_every_early_refusal_is_a_leaf_and_nothing_is_sent(
    place: Place, changes: dict[str, Any], error: type[FairleadError], code: str
) -> None:
    """Misspelt, without a case or against policy: refused at home, on the record, unsent."""
    with pytest.raises(error) as caught:
        await place.prepare(request(STORY, **changes))
    assert code in ("", caught.value.code)
    (leaf,) = place.last()
    assert leaf.type == audit_pb2.LEAF_TYPE_REFUSAL
    assert list(leaf.reasons) == list(caught.value.reasons)
    assert (leaf.subject, leaf.user) == ("AskingService.Prepare", place.analyst.spiffe_id)
    assert STORY.encode() not in leaf.SerializeToString()
    assert place.sent == []


async def test_an_analyst_without_a_case_is_refused(place: Place) -> None:
    """The right reference in the wrong hands is the same refusal as no case at all."""
    with pytest.raises(Refused) as caught:
        await place.prepare(request(STORY), user="u-c03")
    assert caught.value.code == "CASE_NOT_ASSIGNED"


async def test_a_large_batch_is_drafted_for_a_second_person(place: Place) -> None:
    """Above the policy's number the mandate demands somebody else, who has a day; below it
    nobody, and an hour; `--urgent` changes nothing within the budgets."""
    for count, needed, lifetime in ((1001, 1, 24 * 3600), (1, 0, 3600)):
        terms = [pb.Term(scheme="container", value=container(n)) for n in range(count)]
        drafted = await place.prepare(request(terms=terms, urgent=True))
        mandate = query_pb2.Mandate.FromString(drafted.mandate)
        assert mandate.required_approvals == needed
        assert mandate.expires_at - mandate.issued_at == lifetime
    assert place.sent == []


async def test_who_is_not_wanted_is_not_in_the_mandate(place: Place) -> None:
    """``--to`` one partner drafts a mandate that opens as asked for that one alone."""
    asked = request(STORY, partners=["police"])
    drafted = await place.prepare(asked)
    draft = check_draft(asked, drafted, **place.mine())
    assert [item.partner_id for item in draft.exposures] == ["police"]


# ── Ask ──────────────────────────────────────────────────────────────────────────────────────


async def refused_at_ask(
    place: Place, asked: pb.AskRequest, error: type[FairleadError], code: str, user: str = "u-c01"
) -> None:
    with pytest.raises(error) as caught:
        await place.ask(asked, user)
    assert caught.value.code == code
    (leaf,) = place.last()
    assert (leaf.type, leaf.subject) == (audit_pb2.LEAF_TYPE_REFUSAL, "AskingService.Ask")
    assert list(leaf.reasons) == list(caught.value.reasons)
    assert place.sent == []


async def test_an_unknown_draft_is_refused(place: Place) -> None:
    """Nothing is sent that was not drafted here."""
    await refused_at_ask(place, pb.AskRequest(), Stale, "PREPARATION_EXPIRED")
    unknown = pb.AskRequest(preparation_id=bytes(16), mandate=b"x", signature=b"y")
    await refused_at_ask(place, unknown, Stale, "PREPARATION_EXPIRED")


async def test_a_draft_is_its_users_own(place: Place) -> None:
    """Another analyst cannot send it, and learns no more than that it is unknown."""
    drafted = await place.prepare(request(STORY))
    signed = place.sign(drafted, "u-c03")
    await refused_at_ask(place, signed, Stale, "PREPARATION_EXPIRED", user="u-c03")


async def test_another_mandate_or_signature_is_refused(place: Place) -> None:
    """The signature must be the user's, over exactly the drafted octets."""
    drafted = await place.prepare(request(STORY))
    signed = place.sign(drafted)
    changed = pb.AskRequest(
        preparation_id=signed.preparation_id,
        mandate=signed.mandate + b"\x00",
        signature=signed.signature,
    )
    await refused_at_ask(place, changed, Forged, "MANDATE")
    drafted = await place.prepare(request(STORY))
    await refused_at_ask(place, place.sign(drafted, "u-c03"), Forged, "SIGNATURE")


async def test_a_draft_expires(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time a signed draft is stale; a second before it is not."""
    drafted = await place.prepare(request(STORY))
    drafter = place.node.asking._drafter
    monkeypatch.setattr(drafter, "_clock", lambda: time.time() + PREPARATION_S + 1)
    await refused_at_ask(place, place.sign(drafted), Stale, "PREPARATION_EXPIRED")


async def test_a_case_closed_meanwhile_stops_the_query(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between draft and signature the case expires: nothing is sent."""
    drafted = await place.prepare(request(STORY))
    register = place.node.asking._drafter._cases
    monkeypatch.setattr(register, "_clock", lambda: time.time() + 2 * 86_400)
    await refused_at_ask(place, place.sign(drafted), Refused, "CASE_NOT_ASSIGNED")


async def test_a_call_broken_off_while_it_is_made_leaves_no_terms(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise whoever signs and goes away, again and again, fills the node's disk."""
    lists = place.node.asking._history.lists
    before = set(lists._drafts)
    asked = place.sign(await place.prepare(request()))
    assert len(lists._drafts - before) == 1

    async def stuck(*_args: object, **_kwargs: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(place.node.asking._sealer, "seal", stuck)
    broken = asyncio.create_task(place.ask(asked))
    await asyncio.sleep(0.2)
    broken.cancel()
    await asyncio.gather(broken, return_exceptions=True)
    assert lists._drafts == before


async def test_a_call_broken_off_while_it_is_kept_keeps_its_watch(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the query could be resumed, and nothing would be watched or said so."""
    asking, begun = place.node.asking, asyncio.Event()
    honest = asking._history.begin

    async def slow(*args: Any) -> None:
        await honest(*args)
        await asyncio.sleep(0.3)

    async def begin(_batch: object) -> None:
        begun.set()

    monkeypatch.setattr(asking._history, "begin", slow)
    monkeypatch.setattr(asking._watches, "check", lambda _batch: None)
    monkeypatch.setattr(asking._watches, "begin", begin)
    asked = place.sign(await place.prepare(request()))
    asked.watch = b"an order"
    broken = asyncio.create_task(place.ask(asked))
    await asyncio.sleep(0.2)
    broken.cancel()
    await asyncio.gather(broken, return_exceptions=True)
    async with asyncio.timeout(5):
        await begun.wait()


async def test_a_user_keeps_a_bounded_number_of_drafts(place: Place) -> None:
    """The oldest gives way; the newest can be sent."""
    first = await place.prepare(request(STORY))
    for _ in range(MAX_DRAFTS):
        await place.prepare(request(STORY))
    await refused_at_ask(place, place.sign(first), Stale, "PREPARATION_EXPIRED")


async def test_no_draft_outlives_its_time_in_memory(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Terms of drafts nobody signed are forgotten when anybody drafts after their time."""
    drafter = place.node.asking._drafter
    await place.prepare(request(STORY))
    later = time.time() + PREPARATION_S
    monkeypatch.setattr(drafter, "_clock", lambda: later)
    await place.prepare(request(STORY))
    assert len(drafter._preparations) == 1


async def test_no_member_takes_back_what_an_approver_forbade(place: Place) -> None:
    """A case of PAP RED asks nothing sealed, whatever the question states."""
    asked = pb.Case(
        case_id="2026-ROT-RED",
        purpose=PURPOSE,
        legal_basis="eu-ucc-art-46",
        schemes=["container"],
        members=["u-c01"],
        expires_at=int(time.time()) + 86_400,
        pap=Pap.PAP_RED,
    )
    await place.node.cases.open(asked, place.world.user("customs", "u-c02"))
    for stated in (Pap.PAP_UNSPECIFIED, Pap.PAP_AMBER, Pap.PAP_CLEAR):
        question = request(STORY)
        question.case_id, question.pap = asked.case_id, stated
        with pytest.raises(Refused) as caught:
            await place.prepare(question)
        assert caught.value.code == "PAP_RED"


async def test_two_who_wait_for_a_chunk_do_not_both_send_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its user left and resumes twice; when it fails, one of them sends it again at a time."""
    asking, user, go = place.node.asking, place.world.user("customs", "u-c01"), asyncio.Event()
    under_way: list[int] = [0]

    async def send(_message: gateway_pb2.QueryRequest) -> AsyncIterator[gateway_pb2.QueryResponse]:
        under_way.append(under_way[-1] + 1)
        try:
            await go.wait()
            await asyncio.sleep(0.1)
            raise Unreachable("gone", reasons=("GATEWAY_UNREACHABLE",))
            yield
        finally:
            under_way.append(under_way[-1] - 1)

    monkeypatch.setattr(asking._sending, "_send", send)
    signed = place.sign(await place.prepare(request(STORY)))
    events = asking.ask(signed, user, place.world.certificate())
    query_id = (await anext(events)).batch.summary.query_id
    leaving = asyncio.ensure_future(anext(events))
    while under_way[-1] == 0:
        await asyncio.sleep(0.01)
    leaving.cancel()

    async def resume() -> list[pb.AskResponse]:
        return [event async for event in asking.resume(query_id, user)]

    waiting = [asyncio.create_task(resume()) for _ in range(3)]
    await asyncio.sleep(0.05)
    go.set()
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(error, Unreachable) for error in ended)
    assert max(under_way) == 1


async def test_a_silent_gateway_leaves_intent_and_outcome(place: Place) -> None:
    """The intent is written before sending, and the query is closed although nobody was asked."""
    drafted = await place.prepare(request(STORY))
    with pytest.raises(Unreachable) as caught:
        await place.ask(place.sign(drafted))
    assert "nothing was asked" in caught.value.remedy
    intent, outcome = place.last(2)
    assert intent.type == audit_pb2.LEAF_TYPE_INTENT
    assert outcome.type == audit_pb2.LEAF_TYPE_OUTCOME
    assert intent.query_id == outcome.query_id
    assert len(place.sent) == 1
    assert STORY.encode() not in place.sent[0].SerializeToString()


async def test_a_draft_is_sent_once(place: Place) -> None:
    """The same signature again is an unknown draft."""
    signed = place.sign(await place.prepare(request(STORY)))
    with pytest.raises(Unreachable):
        await place.ask(signed)
    place.sent.clear()
    await refused_at_ask(place, signed, Stale, "PREPARATION_EXPIRED")


class Abort(grpc.aio.AioRpcError):
    """A gateway's refusal as gRPC hands it over."""

    def __init__(self, code: grpc.StatusCode, *reasons: str) -> None:
        told = grpc.aio.Metadata(*(("fairlead-reason", reason) for reason in reasons))
        super().__init__(code, grpc.aio.Metadata(), told, details="words of the gateway's")


@pytest.mark.parametrize(
    ("abort", "error", "codes"),
    [
        (Abort(grpc.StatusCode.UNAVAILABLE), Unreachable, ("GATEWAY_UNREACHABLE",)),
        (Abort(grpc.StatusCode.DEADLINE_EXCEEDED), Unreachable, ("GATEWAY_UNREACHABLE",)),
        (Abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED"), Unreachable, ("OVERLOADED",)),
        (Abort(grpc.StatusCode.PERMISSION_DENIED), Refused, ("GATEWAY_REFUSED",)),
        (
            Abort(grpc.StatusCode.PERMISSION_DENIED, "CASE", "NO_AGREEMENT"),
            Refused,
            ("CASE", "NO_AGREEMENT"),
        ),
        (Abort(grpc.StatusCode.INTERNAL, "MSCU6639870"), Refused, ("UNKNOWN",)),
        (Abort(grpc.StatusCode.INTERNAL, *["A"] * 40), Refused, ("A",) * 16),
    ],
)
async def test_what_the_gateway_says_becomes_codes(
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    abort: Abort,
    error: type[FairleadError],
    codes: tuple[str, ...],
) -> None:
    """Its free text is dropped, its codes are bounded, and what is no code is UNKNOWN."""

    async def refuse(_: gateway_pb2.QueryRequest) -> AsyncIterator[gateway_pb2.QueryResponse]:
        raise abort
        yield gateway_pb2.QueryResponse()

    monkeypatch.setattr(place.node.asking._sending, "_send", refuse)
    with pytest.raises(error) as caught:
        await place.ask(place.sign(await place.prepare(request(STORY))))
    assert caught.value.reasons == codes
    assert "words" not in caught.value.diagnostics()


async def test_a_gateway_that_ends_early_is_not_taken_for_an_answer(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream that simply ends proves nothing, so it is an error and no empty result."""

    async def end(_: gateway_pb2.QueryRequest) -> AsyncIterator[gateway_pb2.QueryResponse]:
        return
        yield gateway_pb2.QueryResponse()

    monkeypatch.setattr(place.node.asking._sending, "_send", end)
    with pytest.raises(Forged) as caught:
        await place.ask(place.sign(await place.prepare(request(STORY))))
    assert caught.value.code == "OUTCOME_MISSING"


async def test_a_term_typed_as_the_purpose_is_in_no_leaf(tmp_path: Path) -> None:
    """A refused draft's own words stay out of the log: a slip of the hand may be the term."""
    async with federation(tmp_path, partners=("customs", "terminal-north")) as made:
        await made.open_case()
        with pytest.raises(grpc.aio.AioRpcError):
            await made.ask(STORY, purpose=STORY.lower())
        rows = made.nodes["customs"].log.read("SELECT body FROM leaf")
        assert not [body for (body,) in rows if STORY.lower().encode() in body.lower()]

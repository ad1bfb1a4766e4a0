"""Answers: one size whatever they say, one reader, one owner, one query."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead import sealing, signing
from fairlead.envelope.answer import (
    SEAL_OVERHEAD,
    Answer,
    answer_info,
    open_answer,
    room_left,
    sign_answer,
    verify_answer,
)
from fairlead.envelope.query import Query
from fairlead.errors import FairleadError, Forged, InvalidInput
from fairlead.v1 import query_pb2 as pb
from tests.walks import OTHER_OWNER, OWNER, Walk, World, make_world

ROOT = b"\x07" * 32


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("answer"))


@pytest.fixture(scope="module")
def walk(world: World) -> Walk:
    return world.walk()


def sign(
    walk: Walk,
    *answers: pb.TermAnswer,
    query: Query | None = None,
    status: int = 1,
    reason: str = "",
) -> pb.SignedAnswer:
    return sign_answer(
        walk.verify() if query is None else query,
        OWNER,
        key=walk.world.signing_key(OWNER),
        status=status,
        reason=reason,
        answers=answers,
        policy_serial=1,
        index_age_s=30,
        index_root=ROOT,
    )


def verify(walk: Walk, signed: pb.SignedAnswer, *, owner: str = OWNER, terms: int = 1) -> Answer:
    return verify_answer(
        signed,
        query_id=walk.query_id,
        header_digest=signing.digest(walk.signed.header),
        terms=terms,
        owner=walk.world.directory.partner(owner),
    )


def open_(walk: Walk, signed: pb.SignedAnswer, terms: int = 1) -> tuple[pb.TermAnswer, ...]:
    return open_answer(signed, query_id=walk.query_id, owner=OWNER, terms=terms, key=walk.reply_key)


records = st.builds(
    pb.Record,
    record_type=st.sampled_from(["movement", "release"]),
    event=st.text(max_size=8),
    occurred_at=st.integers(0, 2**40),
    fields=st.lists(
        st.builds(pb.Field, name=st.text(max_size=8), value=st.text(max_size=60)), max_size=4
    ),
    ref=st.binary(min_size=16, max_size=16),
    withheld=st.lists(st.text(max_size=8), max_size=3),
)
contents = st.builds(
    pb.TermAnswer,
    hit=st.booleans(),
    count_band=st.sampled_from(["", "1", ">100"]),
    contact_desk=st.text(max_size=20),
    records=st.lists(records, max_size=6),
    more=st.booleans(),
)


@settings(max_examples=40, deadline=None)
@given(content=st.lists(contents, min_size=1, max_size=4))
def test_an_answers_size_tells_the_number_of_terms_alone(
    walk: Walk, content: list[pb.TermAnswer]
) -> None:
    """No hit, one hit and many records have the same size, and come out as they went in."""
    terms = len(content)
    for index, item in enumerate(content):
        item.index = index
    query = replace(walk.verify(), term_count=terms)
    signed = sign(walk, *content, query=query)
    empty = sign(walk, *[pb.TermAnswer(index=n) for n in range(terms)], query=query)
    assert len(signed.body) == len(empty.body) == sealing.answer_size(terms) + SEAL_OVERHEAD
    assert len(signed.header) == len(empty.header)
    assert open_(walk, signed, terms) == tuple(content)


@given(st.integers(0, 5000))
def test_what_fits_can_be_signed_and_what_does_not_cannot(walk: Walk, size: int) -> None:
    """``room_left`` says exactly whether sealing will succeed."""
    answer = pb.TermAnswer(contact_desk="x" * size)
    if room_left(walk.query_id, OWNER, [answer], 1) >= 0:
        sign(walk, answer)
    else:
        with pytest.raises(InvalidInput):
            sign(walk, answer)


def test_a_good_answer_verifies_unread(walk: Walk) -> None:
    """The gateway sees owner, status, age and root, and never the content."""
    signed = sign(walk, pb.TermAnswer(hit=True, contact_desk="desk@terminal"))
    answer = verify(walk, signed)
    assert (answer.partner_id, answer.status, answer.reason) == (OWNER, pb.STATUS_ANSWERED, "")
    assert (answer.index_age_s, answer.index_root) == (30, ROOT)
    assert answer.digest == signing.digest(signed.header)
    assert b"desk@terminal" not in signed.SerializeToString()


def test_a_refusal_has_a_reason_and_no_body(walk: Walk) -> None:
    """Refusing is said in clear, with a code, and with no octet behind it."""
    signed = sign(walk, status=pb.STATUS_REFUSED, reason="NO_AGREEMENT")
    assert signed.body == b""
    assert verify(walk, signed).reason == "NO_AGREEMENT"


def resigned(
    walk: Walk,
    signed: pb.SignedAnswer,
    change: Callable[[pb.AnswerHeader], object],
    body: bytes | None = None,
) -> pb.SignedAnswer:
    """The owner's own signature over a changed header."""
    header = pb.AnswerHeader.FromString(signed.header)
    if body is not None:
        header.body_digest = signing.digest(body)
    change(header)
    data = signing.canonical(header)
    return pb.SignedAnswer(
        header=data,
        signature=signing.sign(walk.world.signing_key(OWNER), "answer", data),
        body=signed.body if body is None else body,
    )


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda h: setattr(h, "query_id", bytes(16)), Forged),
        (lambda h: setattr(h, "header_digest", bytes(32)), Forged),
        (lambda h: setattr(h, "partner_id", OTHER_OWNER), Forged),
        (lambda h: setattr(h, "body_digest", bytes(32)), Forged),
        (lambda h: setattr(h, "status", pb.STATUS_UNSPECIFIED), InvalidInput),
        (lambda h: setattr(h, "status", pb.STATUS_NOT_ASKED), InvalidInput),
        (lambda h: setattr(h, "status", pb.STATUS_UNREACHABLE), InvalidInput),
        (lambda h: setattr(h, "status", pb.STATUS_TIMEOUT), InvalidInput),
        (lambda h: setattr(h, "status", pb.STATUS_INVALID), InvalidInput),
        (lambda h: setattr(h, "status", 99), InvalidInput),
        (lambda h: setattr(h, "status", pb.STATUS_REFUSED), InvalidInput),  # without a reason
        (lambda h: setattr(h, "reason", "WHY"), InvalidInput),  # with an answer
        (lambda h: setattr(h, "reason", "x" * 5000), InvalidInput),
    ],
)
def test_an_owner_cannot_sign_itself_out_of_the_rules(
    walk: Walk, change: Callable[[pb.AnswerHeader], object], error: type[FairleadError]
) -> None:
    """The owner's good signature over another query, owner, body or status is refused."""
    with pytest.raises(error):
        verify(walk, resigned(walk, sign(walk, pb.TermAnswer()), change))


@pytest.mark.parametrize("reason", ["MSCU6639870", "a reason", "R\n", "NO_AGREEMENTS", "é"])
def test_a_reason_is_a_code_and_no_place_for_text(walk: Walk, reason: str) -> None:
    """A refusal's reason enters the gateway's log in clear, so a term cannot hide in it."""
    signed = resigned(
        walk,
        sign(walk, status=pb.STATUS_REFUSED, reason="POLICY"),
        lambda h: setattr(h, "reason", reason),
    )
    with pytest.raises(InvalidInput):
        verify(walk, signed)


def test_an_owners_own_words_become_policy(walk: Walk) -> None:
    """A reason outside the closed list is not written down by an honest owner either."""
    signed = sign(walk, status=pb.STATUS_REFUSED, reason="MSCU6639870")
    assert verify(walk, signed).reason == "POLICY"


@pytest.mark.parametrize("size", [0, 1, 4096 + SEAL_OVERHEAD - 1, 4096 + SEAL_OVERHEAD + 1])
def test_a_body_of_another_size_is_refused(walk: Walk, size: int) -> None:
    """Signed or not, an answer of another size than agreed is no answer."""
    good = sign(walk, pb.TermAnswer())
    with pytest.raises(Forged):
        verify(walk, resigned(walk, good, lambda _: None, bytes(size)))


def test_a_refusal_with_a_body_is_refused(walk: Walk) -> None:
    """Nothing travels behind a refusal."""
    good = sign(walk, status=pb.STATUS_REFUSED, reason="POLICY")
    with pytest.raises(Forged):
        verify(walk, resigned(walk, good, lambda _: None, b"x"))


def test_only_the_owners_signature_counts(walk: Walk) -> None:
    """Another partner's key, no signature, or the header of another answer is Forged."""
    good = sign(walk, pb.TermAnswer())
    with pytest.raises(Forged):
        verify(walk, good, owner=OTHER_OWNER)
    other = sign(walk, pb.TermAnswer(hit=True))
    for signature in (b"", bytes(64)):
        with pytest.raises(Forged):
            verify(walk, pb.SignedAnswer(header=good.header, signature=signature, body=good.body))
    with pytest.raises(Forged):
        verify(walk, pb.SignedAnswer(header=good.header, signature=good.signature, body=other.body))
    with pytest.raises(FairleadError):
        verify(walk, pb.SignedAnswer())


def sealed(walk: Walk, content: pb.AnswerBody, size: int = 4096) -> pb.SignedAnswer:
    """An answer whose owner sealed some other body."""
    body = sealing.seal(
        sealing.pad(signing.canonical(content), size),
        walk.reply_key.public_bytes(),
        info=answer_info(walk.query_id, OWNER),
    )
    return pb.SignedAnswer(body=body)


def test_a_body_must_cover_every_term_of_this_query(walk: Walk) -> None:
    """Bodies of other queries or owners, with too few, too many or unordered terms are Forged."""
    good = pb.AnswerBody(query_id=walk.query_id, partner_id=OWNER, answers=[pb.TermAnswer(index=0)])
    assert open_(walk, sealed(walk, good))
    for change in (
        {"query_id": bytes(16)},
        {"partner_id": OTHER_OWNER},
        {"answers": []},
        {"answers": [pb.TermAnswer(index=1)]},
        {"answers": [pb.TermAnswer(index=0), pb.TermAnswer(index=0)]},
    ):
        content = pb.AnswerBody(
            **{
                "query_id": walk.query_id,
                "partner_id": OWNER,
                "answers": [pb.TermAnswer(index=0)],
                **change,
            }
        )
        with pytest.raises(Forged):
            open_(walk, sealed(walk, content))
    with pytest.raises(Forged):
        open_(walk, sealed(walk, good, size=4097))


def test_an_answer_opens_for_its_query_and_owner_alone(world: World, walk: Walk) -> None:
    """Another query's reply key, another query id and another owner's name open nothing."""
    signed = sign(walk, pb.TermAnswer())
    other = world.walk()
    with pytest.raises(Forged):
        open_answer(signed, query_id=walk.query_id, owner=OWNER, terms=1, key=other.reply_key)
    with pytest.raises(Forged):
        open_answer(signed, query_id=other.query_id, owner=OWNER, terms=1, key=walk.reply_key)
    with pytest.raises(Forged):
        open_answer(signed, query_id=walk.query_id, owner=OTHER_OWNER, terms=1, key=walk.reply_key)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_changed_octet_is_accepted(walk: Walk, data: st.DataObject) -> None:
    """Whatever octet of an answer is changed, it is refused before it is opened."""
    signed = sign(walk, pb.TermAnswer(hit=True))
    name = data.draw(st.sampled_from(["header", "signature", "body"]))
    good: bytes = getattr(signed, name)
    place = data.draw(st.integers(0, 10_000)) % len(good)
    setattr(signed, name, good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
    with pytest.raises(FairleadError):
        verify(walk, signed)

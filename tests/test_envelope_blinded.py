"""Blind parts and bodies: elements and nothing else, one size, one reader, as many as was said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead import ristretto, sealing, signing
from fairlead.blinding import Evaluation
from fairlead.envelope.answer import SEAL_OVERHEAD, answer_info, open_answer, verify_answer
from fairlead.envelope.blinded import (
    BlindedTerms,
    EvaluatedTerms,
    open_blind_body,
    open_blind_part,
    seal_blind_part,
    sign_blind_answer,
)
from fairlead.envelope.part import part_digest
from fairlead.envelope.question import open_part, part_info
from fairlead.errors import FairleadError, Forged, InvalidInput
from fairlead.policy.decision import Onward
from fairlead.v1 import query_pb2 as pb
from tests.walks import OTHER_OWNER, OWNER, TERM, Walk, World, make_world

PLATE = ("vehicle-plate", "NL:74BXK3")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("blinded"))


def blinded(scheme: str = "container", terms: int = 1, **changes: object) -> BlindedTerms:
    """So many elements; whether a row is a point is nobody's question here."""
    rows = b"".join(bytes([n % 251 + 1]) * 32 for n in range(terms))
    made = BlindedTerms(scheme=scheme, audience=b"a" * 32, epoch=3, elements=rows)
    return replace(made, **changes)


def blind_walk(world: World, *items: BlindedTerms) -> Walk:
    held = items or (blinded(),)
    terms = [(item.scheme, f"{n}") for item in held for n in range(item.terms)]
    return world.walk(*terms, blinded=held)


def opened(walk: Walk, part: bytes | None = None) -> tuple[BlindedTerms, ...]:
    return open_blind_part(
        walk.parts[OWNER] if part is None else part,
        walk.verify(),
        owner=OWNER,
        key=walk.world.sealing_key(OWNER),
        directory=walk.world.directory,
    )


def test_an_owner_reads_the_elements_it_is_asked(world: World) -> None:
    """By scheme, with class and epoch; their number stands in the header."""
    items = (blinded(terms=3), blinded("vehicle-plate", 2, epoch=4))
    walk = blind_walk(world, *items)
    assert opened(walk) == items
    assert (walk.verify().element_count, walk.verify().term_count) == (5, 5)
    assert walk.verify().mode_name == "blind"


@settings(max_examples=20, deadline=None)
@given(terms=st.integers(1, 40), split=st.integers(0, 40))
def test_a_blind_parts_size_tells_the_number_of_elements_alone(
    world: World, terms: int, split: int
) -> None:
    """Whatever schemes they are of."""
    owner, first = world.directory.partner(OWNER), min(split, terms - 1)
    one = [blinded(terms=terms)]
    two = [blinded(terms=terms - first)] + ([blinded("vehicle-plate", first)] if first else [])
    sizes = {
        len(seal_blind_part(query_id=bytes(16), owner=owner, salt=bytes(32), blinded=items))
        for items in (one, two)
    }
    assert len(sizes) == 1


def test_the_most_elements_of_the_most_schemes_fit(world: World) -> None:
    """Sixteen schemes with long names share one part."""
    owner = world.directory.partner(OWNER)
    items = [blinded(f"{'s' * 60}-{n:02}", 256) for n in range(16)]
    assert sum(len(item.elements) for item in items) // 32 == sealing.MAX_ELEMENTS
    seal_blind_part(query_id=bytes(16), owner=owner, salt=bytes(32), blinded=items)


def renamed(walk: Walk, change: Callable[[pb.Question], object]) -> Walk:
    """The walk with its part changed, sealed again and named by the header, as its asker could."""
    wire = pb.SealedPart.FromString(walk.parts[OWNER])
    info, owner = part_info(walk.query_id, OWNER), walk.world.directory.partner(OWNER)
    padded = sealing.unwrap(
        wire.wrapped_key, wire.ciphertext, walk.world.sealing_key(OWNER), info=info
    )
    question = pb.Question.FromString(sealing.unpad(padded, len(padded)))
    change(question)
    wrapped, ciphertext = sealing.wrap(
        sealing.pad(signing.canonical(question), len(padded)), owner.sealing_key, info=info
    )
    part = signing.canonical(pb.SealedPart(wrapped_key=wrapped, ciphertext=ciphertext))
    place = list(walk.world.directory.partners).index(OWNER)

    def header(message: pb.QueryHeader) -> None:
        message.part_digests[place] = part_digest(part)

    changed = walk.resigned(header=header)
    changed.parts = {OWNER: part}
    return changed


@pytest.mark.parametrize(
    ("change", "error", "code"),
    [
        (lambda q: setattr(q, "query_id", bytes(16)), Forged, "PART_BINDING"),
        (lambda q: setattr(q, "partner_id", OTHER_OWNER), Forged, "PART_BINDING"),
        (lambda q: setattr(q, "partner_salt", bytes(32)), Forged, "NOT_WANTED"),
        (lambda q: q.terms.add(scheme="container", value="X"), InvalidInput, "BLIND_PART"),
        (lambda q: setattr(q, "since", 1), InvalidInput, "BLIND_PART"),
        (lambda q: setattr(q, "tlp", 3), InvalidInput, "BLIND_PART"),
        (lambda q: q.events.append("gate-in"), InvalidInput, "BLIND_PART"),
        (lambda q: q.ClearField("blinded"), InvalidInput, "SCHEMES"),
        (lambda q: q.blinded.add().CopyFrom(q.blinded[0]), InvalidInput, "SCHEMES"),
        (lambda q: setattr(q.blinded[0], "scheme", "vessel-imo"), InvalidInput, "SCHEMES"),
        (lambda q: setattr(q.blinded[0], "audience", b"a"), InvalidInput, "AUDIENCE"),
        (lambda q: setattr(q.blinded[0], "elements", b"x" * 33), InvalidInput, "ROWS"),
        (lambda q: setattr(q.blinded[0], "elements", b""), InvalidInput, "ROWS"),
        (lambda q: setattr(q.blinded[0], "elements", b"x" * 32), Forged, "ELEMENTS"),
        (lambda q: setattr(q.blinded[0], "elements", b"x" * 96), Forged, "ELEMENTS"),
    ],
)
def test_an_asker_who_changes_a_blind_part_is_refused(
    world: World, change: Callable[[pb.Question], object], error: type[FairleadError], code: str
) -> None:
    """What the header does not say, or what belongs to a sealed question, is not evaluated."""
    with pytest.raises(error) as caught:
        opened(renamed(blind_walk(world, blinded(terms=2)), change))
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("count", "mode"),
    [(0, pb.MODE_BLIND), (1, pb.MODE_BLIND), (5000, pb.MODE_BLIND), (2, pb.MODE_SEALED)],
)
def test_a_headers_elements_fit_its_mode(world: World, count: int, mode: int) -> None:
    """A blind chunk has an element for each of its two terms at least, a sealed one has none."""
    walk = blind_walk(world, blinded(terms=2)).resigned(
        mandate=lambda m: setattr(m, "mode", mode),
        header=lambda h: setattr(h, "element_count", count),
    )
    with pytest.raises(InvalidInput) as caught:
        walk.verify()
    assert caught.value.code == "ELEMENTS"


def test_a_part_of_the_other_mode_is_refused(world: World) -> None:
    """Neither opens as the other: the sizes differ, and the contents would be refused."""
    blind, plain = blind_walk(world), world.walk(TERM)
    key, directory = world.sealing_key(OWNER), world.directory
    with pytest.raises(FairleadError):
        open_part(blind.parts[OWNER], blind.verify(), owner=OWNER, key=key, directory=directory)
    with pytest.raises(FairleadError):
        open_blind_part(
            plain.parts[OWNER], plain.verify(), owner=OWNER, key=key, directory=directory
        )


# ── Answers ──────────────────────────────────────────────────────────────────────────────────


def said(item: BlindedTerms, **changes: bytes) -> EvaluatedTerms:
    rows = len(item.elements) // 32
    made = Evaluation(elements=b"e" * 32 * rows, proofs=b"p" * 64 * -(-rows // 1000))
    return EvaluatedTerms(evaluation=replace(made, **changes), manifest=b"m" * 32)


def answered(walk: Walk, *evaluated: EvaluatedTerms, days: int | None = None) -> pb.SignedAnswer:
    return sign_blind_answer(
        walk.verify(), OWNER, evaluated, key=walk.world.signing_key(OWNER), policy_serial=1,
        index_age_s=3, index_root=bytes(32), retention_days=days, onward=Onward.SAME_SECTOR,
    )  # fmt: skip


def read(walk: Walk, answer: pb.SignedAnswer, *asked: BlindedTerms) -> object:
    query = walk.verify()
    verify_answer(
        answer, query_id=query.query_id, header_digest=query.header_digest, terms=query.term_count,
        elements=query.element_count, owner=walk.world.directory.partner(OWNER),
    )  # fmt: skip
    evaluated, body = open_blind_body(
        answer, query_id=query.query_id, owner=OWNER, asked=asked, key=walk.reply_key
    )
    return evaluated, body.retention_days, body.onward


def test_an_asker_reads_what_was_evaluated(world: World) -> None:
    """In the order asked, with the days it may be kept and to whom it may be passed on."""
    items = (blinded(terms=3), blinded("vehicle-plate", 2))
    walk = blind_walk(world, *items)
    evaluated = tuple(said(item) for item in items)
    assert read(walk, answered(walk, *evaluated, days=30), *items) == (evaluated, 31, "same-sector")
    assert read(walk, answered(walk, *evaluated), *items) == (evaluated, 0, "same-sector")


def test_a_blind_answers_size_follows_from_the_number_of_elements(world: World) -> None:
    """Whatever it says, and it needs at most a tenth of an octet beside 32 an element."""
    items = [blinded(terms=1024), blinded("vehicle-plate", 1024)]
    walk = blind_walk(world, *items[:1])
    answer = answered(walk, said(items[0]))
    assert len(answer.body) == sealing.blind_answer_size(1024) + SEAL_OVERHEAD
    each = sealing.blind_answer_size(4096) - sealing.blind_answer_size(0)
    assert each / 4096 <= 32.1


@pytest.mark.parametrize("how", ["none", "one more", "fewer rows", "other manifest"])
def test_a_blind_body_covers_what_was_asked(world: World, how: str) -> None:
    """One evaluation for each scheme, row by row."""
    item = blinded(terms=2)
    walk = blind_walk(world, item)
    wrong = {
        "none": (),
        "one more": (said(item), said(blinded())),
        "fewer rows": (said(item, elements=b"e" * 32),),
        "other manifest": (replace(said(item), manifest=b"m"),),
    }[how]
    with pytest.raises(Forged) as caught:
        read(walk, answered(walk, *wrong), item)
    assert caught.value.code == "ANSWER_TERMS"


def test_a_body_of_the_other_mode_is_refused(world: World) -> None:
    """Term answers are no evaluations, and evaluations are no term answers."""
    item = blinded()
    walk = blind_walk(world, item)
    with pytest.raises(FairleadError):
        open_answer(
            answered(walk, said(item)), query_id=walk.query_id, owner=OWNER, terms=1,
            key=walk.reply_key,
        )  # fmt: skip
    body = pb.AnswerBody(query_id=walk.query_id, partner_id=OWNER, answers=[pb.TermAnswer()])
    padded = sealing.pad(signing.canonical(body), sealing.blind_answer_size(1))
    sealed = sealing.seal(
        padded, walk.reply_key.public_bytes(), info=answer_info(walk.query_id, OWNER)
    )
    with pytest.raises(Forged):
        open_blind_body(
            pb.SignedAnswer(body=sealed), query_id=walk.query_id, owner=OWNER, asked=[item],
            key=walk.reply_key,
        )  # fmt: skip


@given(rows=st.binary(max_size=200))
@settings(max_examples=50, deadline=None)
def test_any_rows_are_read_or_refused(world: World, rows: bytes) -> None:
    """Reading a part never fails otherwise than by an error of ours."""
    walk = blind_walk(world, blinded(terms=2))
    try:
        opened(renamed(walk, lambda q: setattr(q.blinded[0], "elements", rows)))
    except FairleadError:
        return
    assert len(rows) == 2 * ristretto.SIZE

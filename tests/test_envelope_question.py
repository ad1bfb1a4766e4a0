"""The sealed part: one size, one reader, exactly what the user signed for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead import identifiers, sealing, signing
from fairlead.envelope.part import part_digest
from fairlead.envelope.query import ANY, Query, Scope, partner_digest, term_leaf, terms_root
from fairlead.envelope.question import MAX_EVENTS, Question, open_part, part_info, seal_part
from fairlead.errors import FairleadError, Forged, InvalidInput
from fairlead.v1 import query_pb2 as pb
from tests.walks import NOW, OTHER_OWNER, OWNER, TERM, Walk, World, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("question"))


def opened(walk: Walk, query: Query | None = None, part: bytes | None = None) -> Question:
    return open_part(
        walk.parts[OWNER] if part is None else part,
        walk.verify() if query is None else query,
        owner=OWNER,
        key=walk.world.sealing_key(OWNER),
        directory=walk.world.directory,
    )


def test_an_owner_reads_what_it_is_asked(world: World) -> None:
    """Terms in order, the time range and the events come out as they went in."""
    walk = world.walk(
        TERM,
        ("vessel-imo", "9074729"),
        scope=Scope(since=int(NOW) - 100, until=int(NOW), events=("gate-in", "gate-out")),
    )
    question = opened(walk)
    assert [(t.scheme, t.value) for t in question.terms] == list(walk.terms)
    assert question.scope.since == int(NOW) - 100
    assert question.scope.until == int(NOW)
    assert question.scope.events == ("gate-in", "gate-out")


# A term is at most 64 characters; the longest canonical spelling fits its 256 octets.
values = st.text(max_size=identifiers.MAX_RAW)


@settings(max_examples=30, deadline=None)
@given(
    spelled=st.lists(values, min_size=1, max_size=8),
    since=st.integers(0, 2**40),
    events=st.lists(st.sampled_from(["gate-in", "seizure", "x" * 40]), max_size=4),
)
def test_a_parts_size_tells_the_number_of_terms_alone(
    world: World, spelled: list[str], since: int, events: list[str]
) -> None:
    """Whatever is asked about n terms, the part has the size of n terms."""
    owner = world.directory.partner(OWNER)

    def part(terms: Sequence[tuple[str, str]], scope: Scope = ANY) -> bytes:
        return seal_part(
            query_id=bytes(16),
            owner=owner,
            salt=bytes(32),
            terms=terms,
            nonces=[bytes(32)] * len(terms),
            scope=scope,
        )

    plain = part([("container", "A")] * len(spelled))
    asked = part(
        [("vehicle-plate", value) for value in spelled],
        Scope(since=since, until=since, events=tuple(sorted(set(events)))),
    )
    assert len(asked) == len(plain)


def test_five_hundred_and_twelve_terms_fit(world: World) -> None:
    """The most terms there can be, each as long as it can be, fit the part."""
    longest = "Ǆ" * 64  # two octets a character in UTF-8
    terms = [("vehicle-plate", longest)] * sealing.MAX_TERMS
    part = seal_part(
        query_id=bytes(16),
        owner=world.directory.partner(OWNER),
        salt=bytes(32),
        terms=terms,
        nonces=[bytes(32)] * len(terms),
        scope=Scope(events=tuple(f"event-{n:034}" for n in range(MAX_EVENTS))),
    )
    assert len(part) > sealing.question_size(sealing.MAX_TERMS)


def sealed(walk: Walk, change: Callable[[pb.Question], object], **how: object) -> bytes:
    """The owner's question with a change, sealed again as its asker could."""
    wire = pb.SealedPart.FromString(walk.parts[OWNER])
    info = part_info(walk.query_id, OWNER)
    key = walk.world.sealing_key(OWNER)
    padded = sealing.unwrap(wire.wrapped_key, wire.ciphertext, key, info=info)
    question = pb.Question.FromString(sealing.unpad(padded, len(padded)))
    change(question)
    size = int(str(how.get("size", len(padded))))
    owner = walk.world.directory.partner(str(how.get("owner", OWNER)))
    wrapped, ciphertext = sealing.wrap(
        sealing.pad(signing.canonical(question), size), owner.sealing_key, info=info
    )
    return signing.canonical(pb.SealedPart(wrapped_key=wrapped, ciphertext=ciphertext))


def naming(walk: Walk, part: bytes) -> Walk:
    """The walk with a header that names ``part`` as the owner's."""
    place = list(walk.world.directory.partners).index(OWNER)

    def header(message: pb.QueryHeader) -> None:
        message.part_digests[place] = part_digest(part)

    changed = walk.resigned(header=header)
    changed.parts = {OWNER: part}
    return changed


def other_term(question: pb.Question) -> None:
    question.terms[0].value = "CSQU3054383"


def one_more(question: pb.Question) -> None:
    question.terms.add(scheme="container", value="CSQU3054383", nonce=bytes(32))


def too_many_events(question: pb.Question) -> None:
    question.events.extend(f"event-{n:02}" for n in range(MAX_EVENTS + 1))


@pytest.mark.parametrize(
    ("change", "error", "code"),
    [
        (lambda q: setattr(q, "query_id", bytes(16)), Forged, "PART_BINDING"),
        (lambda q: setattr(q, "partner_id", OTHER_OWNER), Forged, "PART_BINDING"),
        (lambda q: setattr(q, "partner_salt", bytes(32)), Forged, "NOT_WANTED"),
        (other_term, Forged, "TERMS_ROOT"),
        (one_more, Forged, "TERMS_ROOT"),
        (lambda q: q.terms.pop(), Forged, "TERMS_ROOT"),
        (lambda q: setattr(q, "since", 1), Forged, "TERMS_ROOT"),
        (lambda q: setattr(q, "until", int(NOW)), Forged, "TERMS_ROOT"),
        (lambda q: q.events.append("gate-in"), Forged, "TERMS_ROOT"),
        (lambda q: q.events.extend(["b", "a"]), InvalidInput, "EVENTS"),
        (lambda q: q.events.extend(["a", "a"]), InvalidInput, "EVENTS"),
        (lambda q: q.events.extend(["Gate in"]), InvalidInput, "CODE"),
        (too_many_events, InvalidInput, "EVENTS"),
    ],
)
def test_an_asker_who_changes_the_part_is_refused(
    world: World,
    change: Callable[[pb.Question], object],
    error: type[FairleadError],
    code: str,
) -> None:
    """The asker's node names and seals the changed part itself; the user never signed for it."""
    walk = world.walk()
    changed = naming(walk, sealed(walk, change))
    with pytest.raises(error) as caught:
        opened(changed)
    assert caught.value.code == code


def test_a_part_the_header_does_not_name_is_refused(world: World) -> None:
    """Another part, also a good one of another query, is not this query's."""
    walk, other = world.walk(), world.walk()
    with pytest.raises(Forged) as caught:
        opened(walk, part=other.parts[OWNER])
    assert caught.value.code == "PART_DIGEST"


def test_a_part_of_another_size_or_reader_is_refused(world: World) -> None:
    """A part with more room, or sealed to somebody else, does not open."""
    walk = world.walk()
    for part in (
        sealed(walk, lambda _: None, size=sealing.question_size(1) + 1),
        sealed(walk, lambda _: None, owner=OTHER_OWNER),
        b"",
    ):
        with pytest.raises(FairleadError):
            opened(naming(walk, part))


def test_an_owner_the_user_did_not_want_is_told_so(world: World) -> None:
    """A node cannot ask an owner behind its user's back: the salted digest opens as not asked."""
    walk = world.walk(asked=[OTHER_OWNER])
    part = seal_part(
        query_id=walk.query_id,
        owner=world.directory.partner(OWNER),
        salt=walk.salts[OWNER],
        terms=walk.terms,
        nonces=walk.nonces,
    )
    with pytest.raises(Forged) as caught:
        opened(naming(walk, part))
    assert caught.value.code == "NOT_WANTED"


@pytest.mark.parametrize(
    ("term", "schemes", "code"),
    [
        (("container", "MSCU 663987 0"), ["container"], "NOT_CANONICAL"),
        (("container", "MSCU6639871"), ["container"], "CHECK_DIGIT"),
        (("container", "MSCU6639870"), ["vessel-imo"], "SCHEMES"),
        (("crystal-ball", "X"), ["crystal-ball"], "SCHEME"),
    ],
)
def test_a_term_that_is_not_canonical_is_refused(
    world: World, term: tuple[str, str], schemes: list[str], code: str
) -> None:
    """Owners match canonical terms of the mandate's schemes; anything else is an error, no miss."""
    walk = world.walk(term)

    def mandate(message: pb.Mandate) -> None:
        del message.schemes[:]
        message.schemes.extend(schemes)
        message.terms_root = terms_root([term_leaf(*term, walk.nonces[0])])

    with pytest.raises(InvalidInput) as caught:
        opened(walk.resigned(mandate=mandate))
    assert caught.value.code == code


def test_an_owner_cannot_open_anothers_digest(world: World) -> None:
    """With its own salt an owner learns nothing of the other entries of the mandate."""
    walk = world.walk(asked=[OWNER, OTHER_OWNER])
    query = walk.verify()
    for place, partner in enumerate(world.directory.partners):
        for asked in (True, False):
            guess = partner_digest(walk.salts[OWNER], partner, query.mandate_id, asked=asked)
            assert (guess == query.partner_digests[place]) == (partner == OWNER and asked)

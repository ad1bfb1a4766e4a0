"""Questions about figures: what two people's keys said, and nothing that is only like it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead import signing
from fairlead.cubes.period import parse_period
from fairlead.cubes.registry import Registry
from fairlead.envelope.query import WINDOW_S
from fairlead.errors import FairleadError, Forged, InvalidInput, NotFound, Stale, Unauthenticated
from fairlead.partners import DenyLists
from fairlead.strategic import question
from fairlead.v1 import statistics_pb2 as pb
from tests.cubes import DEFAULTS
from tests.walks import ASKER, NOW, OWNER, World, make_world

REGISTRY = Registry.parse(DEFAULTS)
CUBE = REGISTRY.cube("reports-received")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("questions"))


def drafted(world: World, period: str = "2026-Q1..2026-Q3") -> bytes:
    return question.draft_question(
        federation=world.directory.federation,
        partner_id=ASKER,
        user_certificate=world.certificate(),
        purpose="drug-trafficking",
        cube=CUBE,
        registry_digest=REGISTRY.digest,
        level=CUBE.level("quarter,region"),
        period=parse_period(period),
        now=NOW,
    )


@dataclass(slots=True)
class Change:
    """What is done to a question before it is signed, and by whom it is signed."""

    question: Callable[[pb.FiguresQuestion], object] = lambda _: None
    statement: Callable[[pb.FiguresStatement], object] = lambda _: None
    node: str = ASKER


def sent(world: World, change: Change | None = None) -> pb.SignedFiguresQuestion:
    change = change or Change()
    said = pb.FiguresQuestion.FromString(drafted(world))
    change.question(said)
    octets = signing.canonical(said)
    user = signing.load_user_key(world.opened.layout.user(ASKER, "u-c01") / "user.key")
    made = question.make_statement(
        octets,
        question.sign_question(octets, user),
        world.certificate(),
        key=world.signing_key(change.node),
        directory_serial=world.directory.serial,
        policy_serial=7,
        now=NOW,
    )
    statement = pb.FiguresStatement.FromString(made.statement)
    change.statement(statement)
    made.statement = signing.canonical(statement)
    made.statement_signature = signing.sign(
        world.signing_key(change.node), question.STATEMENT, made.statement
    )
    return made


def verified(world: World, signed: pb.SignedFiguresQuestion, now: float = NOW) -> question.Asked:
    return question.verify_question(signed, directory=world.directory, deny_lists=None, now=now)


def test_a_question_arrives_as_it_was_asked(world: World) -> None:
    """Who, for which purpose, and what; the registry finds the cube, the level and the period."""
    signed = sent(world)
    asked = verified(world, signed)
    assert (asked.asker.partner_id, asked.user.name) == (ASKER, "u-c01")
    assert (asked.purpose, asked.policy_serial) == ("drug-trafficking", 7)
    assert asked.digest == signing.digest(signed.question)
    assert asked.signatures == [signed.signature, signed.statement_signature]
    wanted = asked.wanted(REGISTRY, NOW)
    assert (wanted.cube, wanted.level) == (CUBE, CUBE.level("quarter,region"))
    assert wanted.period == parse_period("2026-Q1..2026-Q3")


def test_a_period_is_spelled_in_the_units_of_the_level(world: World) -> None:
    """A year of quarters is four quarters, before anybody signs it."""
    said = pb.FiguresQuestion.FromString(drafted(world, "2025"))
    assert said.period == "2025-Q1..2025-Q4"


def of(name: str, value: object) -> Callable[[object], None]:
    return lambda said: setattr(said, name, value)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (Change(question=of("federation", "other.example")), Forged),
        (Change(question=of("question_id", bytes(16))), InvalidInput),
        (Change(question=of("purpose", "Not A Code")), InvalidInput),
        (Change(question=of("cube", "../cube")), InvalidInput),
        (Change(question=of("cube_version", 0)), InvalidInput),
        (Change(question=of("registry_digest", b"short")), InvalidInput),
        (Change(question=of("level", "x" * 700)), InvalidInput),
        (Change(question=of("period", "2026-Q1..2026-Q3 ")), InvalidInput),
        (Change(question=of("partner_id", OWNER)), Forged),
        (Change(question=of("partner_id", "nobody")), NotFound),
        (Change(question=of("user_certificate_digest", bytes(32))), Forged),
        (Change(question=of("issued_at", int(NOW) - WINDOW_S - 1)), Stale),
        (Change(statement=of("issued_at", int(NOW) + WINDOW_S + 1)), Stale),
        (Change(statement=of("question_digest", bytes(32))), Forged),
        (Change(statement=of("partner_id", OWNER)), Forged),
        (Change(statement=of("directory_serial", 99)), Stale),
        (Change(node=OWNER), Forged),
    ],
)
def test_what_is_signed_and_still_no_question_is_refused(
    world: World, change: Change, error: type[FairleadError]
) -> None:
    """Another federation, partner, form, time or binding, under signatures that are right."""
    with pytest.raises(error):
        verified(world, sent(world, change))


def test_no_signature_stands_for_another(world: World) -> None:
    """The user's and the node's signature are of different domains, and both are needed."""
    for name in ("signature", "statement_signature"):
        signed = sent(world)
        setattr(signed, name, bytes(64))
        with pytest.raises(Forged):
            verified(world, signed)
    signed = sent(world)
    signed.user_certificate = world.certificate(user="u-c02")
    with pytest.raises(Forged):
        verified(world, signed)


def test_a_denied_user_asks_nothing(world: World) -> None:
    """A deny list that nobody renewed lets nobody through either."""
    with pytest.raises(Unauthenticated):
        question.verify_question(
            sent(world), directory=world.directory, deny_lists=DenyLists(), now=NOW
        )


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (of("registry_digest", bytes(32)), Stale),
        (of("cube_version", 2), Stale),
        (of("cube", "nothing"), InvalidInput),
        (of("level", "quarter,nothing"), InvalidInput),
        (of("period", "2026"), InvalidInput),
        (of("period", "2026-Q3..2026-Q1"), InvalidInput),
        (of("period", "2026-Q4"), InvalidInput),
    ],
)
def test_what_the_registry_does_not_have_is_not_found(
    world: World, change: Callable[[object], None], error: type[FairleadError]
) -> None:
    """Another registry, cube or level; another spelling of a period, or one that is not over."""
    asked = verified(world, sent(world, Change(question=change)))
    with pytest.raises(error):
        asked.wanted(REGISTRY, NOW)


@settings(deadline=None, max_examples=60)
@given(
    octets=st.binary(max_size=200),
    cube=st.text(max_size=20),
    level=st.text(max_size=40),
    period=st.text(max_size=16),
    digest=st.binary(max_size=40),
)
def test_any_octets_are_a_question_or_an_error_of_ours(
    world: World, octets: bytes, cube: str, level: str, period: str, digest: bytes
) -> None:
    """Whatever is in it, signed rightly or not."""

    def change(said: pb.FiguresQuestion) -> None:
        said.cube, said.level, said.period, said.registry_digest = cube, level, period, digest

    for signed in (
        pb.SignedFiguresQuestion(question=octets, statement=octets, user_certificate=octets),
        sent(world, Change(question=change)),
    ):
        with pytest.raises(FairleadError):
            verified(world, signed).wanted(REGISTRY, NOW)

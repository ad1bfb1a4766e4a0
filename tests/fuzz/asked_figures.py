"""Strategic queries: questions, terms and statements of rounds, waivers, what is kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fairlead import signing
from fairlead.published import Published
from fairlead.strategic import question
from fairlead.strategic.books import Books
from fairlead.strategic.layout import layout_of
from fairlead.strategic.statements import statements_from_wire, statements_to_wire
from fairlead.strategic.terms import terms_from_wire, terms_to_wire
from fairlead.strategic.waiver import DOMAIN, Waiver, verify_waiver
from fairlead.summing import Statement
from fairlead.v1 import statistics_pb2 as pb
from tests.fuzz.target import Target
from tests.strategic import REGISTRY, federation, months_of
from tests.walks import ASKER, NOW, make_world

CUBE = REGISTRY.cube("seizures")


def targets(folder: Path) -> Iterator[Target]:
    """Each as it arrives, and behind good signatures whatever it says."""
    world = make_world(folder)
    user = signing.load_user_key(world.opened.layout.user(ASKER, "u-c01") / "user.key")
    node, serial = world.signing_key(ASKER), world.directory.serial
    level = CUBE.level("quarter,exchange")
    asked = question.draft_question(
        federation=world.directory.federation,
        partner_id=ASKER,
        user_certificate=world.certificate(),
        purpose="drug-trafficking",
        cube=CUBE,
        registry_digest=REGISTRY.digest,
        level=level,
        period=level.period("2026-Q1"),
        now=NOW,
    )

    def sent(octets: bytes) -> pb.SignedFiguresQuestion:
        return question.make_statement(
            octets, question.sign_question(octets, user), world.certificate(),
            key=node, directory_serial=serial, policy_serial=1, now=NOW,
        )  # fmt: skip

    def verified(signed: pb.SignedFiguresQuestion) -> object:
        found = question.verify_question(
            signed, directory=world.directory, deny_lists=None, now=NOW
        )
        return found.wanted(REGISTRY, NOW)

    def from_user(octets: bytes) -> object:
        made = sent(asked)
        made.question, made.signature = octets, question.sign_question(octets, user)
        return verified(made)

    def from_node(octets: bytes) -> object:
        made = sent(asked)
        made.statement = octets
        made.statement_signature = signing.sign(node, question.STATEMENT, octets)
        return verified(made)

    yield Target(name="figures-question", seeds=[asked], attempt=from_user)
    yield Target(name="figures-statement", seeds=[sent(asked).statement], attempt=from_node)
    yield from _rounds()
    waiver = Waiver(
        federation=world.directory.federation, partner=ASKER, cube=CUBE.id, measure="seizures",
        level=level.name, cell="2026-Q1/linked", version=1,
        layout=layout_of(CUBE), value=4, issued_at=int(NOW),
    )  # fmt: skip
    yield Target(
        name="figures-waiver",
        seeds=[waiver.to_bytes()],
        attempt=lambda data: verify_waiver(
            data, signing.sign(node, DOMAIN, data), directory=world.directory, cube=CUBE
        ),
    )


def _rounds() -> Iterator[Target]:
    """What a node is told, what nodes say, and the release and row that come of it."""
    pool = federation(CUBE, months=months_of("2026-Q1"), each=8)
    made = pool.release("quarter,exchange", "2026-Q1")
    terms = pool.terms(made.published.level, made.published.unit)
    said = [Statement(partner_id=name, vector=bytes(16), signature=bytes(64)) for name in pool.ids]
    ready = pb.CountContributorsRequest(ready=statements_to_wire(said))
    told = terms_to_wire(terms, CUBE, REGISTRY.digest)

    def terms_of(data: bytes) -> object:
        read = signing.parse_canonical(pb.RoundTerms, data)
        return terms_from_wire(read, REGISTRY).terms.digest()

    def statements(data: bytes) -> object:
        return statements_from_wire(
            signing.parse_canonical(pb.CountContributorsRequest, data).ready
        )

    yield Target(name="figures-terms", seeds=[signing.canonical(told)], attempt=terms_of)
    yield Target(name="figures-statements", seeds=[signing.canonical(ready)], attempt=statements)
    yield Target(name="figures-row", seeds=[made.row], attempt=lambda data: Books.of([data]))
    yield Target(
        name="figures-release",
        seeds=[made.published.to_bytes()],
        attempt=lambda data: Published.parse(data, [REGISTRY]),
    )

"""The user's client believes its node about nothing it signs."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import signing
from fairlead.drafted import Draft, check_draft
from fairlead.envelope.query import (
    MANDATE_LIFETIME_S,
    WINDOW_S,
    Scope,
    commit_terms,
    draft_mandate,
    partner_digest,
    term_nonce,
)
from fairlead.errors import FairleadError, Forged
from fairlead.v1 import asking_pb2 as pb
from fairlead.v1 import query_pb2
from tests.walks import ASKER, CASE, NOW, OTHER_OWNER, OWNER, TERM, World, make_world

SECOND = ("vessel-imo", "9074729")
SCOPE = Scope(since=int(NOW) - 86_400, until=int(NOW), events=("gate-in",))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("client"))


def request(**changes: Any) -> pb.PrepareRequest:
    fields: dict[str, Any] = {
        "terms": [pb.Term(scheme=s, value=v) for s, v in (TERM, SECOND)],
        "case_id": CASE,
        "purpose": "drug-trafficking",
        "mode": query_pb2.MODE_SEALED,
        "since": SCOPE.since,
        "until": SCOPE.until,
        "events": ["gate-in"],
        "partners": [OWNER],
    }
    return pb.PrepareRequest(**{**fields, **changes})


class Drafting:
    """A node's draft, made of the same request, with every secret at hand to change it."""

    def __init__(self, world: World, asked: tuple[str, ...] = (OWNER,), **changes: Any) -> None:
        self.world = world
        self.seed = os.urandom(32)
        self.nonces = [term_nonce(self.seed, place) for place in (0, 1)]
        self.case_nonce = os.urandom(32)
        self.salts = {p: os.urandom(32) for p in world.directory.partners}
        self.asked = asked
        fields: dict[str, Any] = {
            "directory": world.directory,
            "partner_id": ASKER,
            "user_certificate": world.certificate(),
            "purpose": "drug-trafficking",
            "legal_basis": "eu-ucc-art-46",
            "case_commitment": signing.commit(self.case_nonce, CASE.encode()),
            "mode": query_pb2.MODE_SEALED,
            "salts": self.salts,
            "asked": asked,
            "session_key": signing.public_bytes(Ed25519PrivateKey.generate()),
            "now": NOW,
        }
        terms = changes.pop("terms", [TERM, SECOND])
        scope = changes.pop("scope", SCOPE)
        fields["committed"] = commit_terms(terms, self.nonces[: len(terms)], scope)
        self.mandate = query_pb2.Mandate.FromString(draft_mandate(**{**fields, **changes}))

    def response(self) -> pb.PrepareResponse:
        return pb.PrepareResponse(
            preparation_id=bytes(16),
            mandate=signing.canonical(self.mandate),
            nonce_seed=self.seed,
            case_nonce=self.case_nonce,
            partner_salts=list(self.salts.values()),
            exposures=[
                pb.Exposure(partner_id=p, display_name=p, learns="term") for p in self.asked
            ],
            directory_partners=list(self.world.directory.partners),
        )


def check(
    world: World, response: pb.PrepareResponse, asked: pb.PrepareRequest | None = None
) -> Draft:
    return check_draft(
        asked or request(),
        response,
        certificate=world.certificate(),
        directory=world.directory,
        partner_id=ASKER,
        now=NOW,
    )


def test_an_honest_draft_is_accepted(world: World) -> None:
    """What the node drafted is what the user typed, and says who will learn what."""
    draft = check(world, Drafting(world).response())
    assert draft.legal_basis == "eu-ucc-art-46"
    assert [item.partner_id for item in draft.exposures] == [OWNER]


def test_without_wanted_partners_any_announced_set_is_accepted(world: World) -> None:
    """Nobody named means whoever policy lets the query reach, and each of them is announced."""
    made = Drafting(world, asked=(OWNER, OTHER_OWNER))
    draft = check(world, made.response(), request(partners=[]))
    assert {item.partner_id for item in draft.exposures} == {OWNER, OTHER_OWNER}


def refused(world: World, response: pb.PrepareResponse, what: str) -> None:
    with pytest.raises(Forged) as caught:
        check(world, response)
    assert caught.value.reasons == ("DRAFT_DIFFERS", what)
    assert TERM[1] not in caught.value.diagnostics()


def put(**fields: Any) -> Callable[[query_pb2.Mandate], None]:
    def change(mandate: query_pb2.Mandate) -> None:
        for name, value in fields.items():
            setattr(mandate, name, value)

    return change


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (put(user_certificate_digest=bytes(32)), "USER"),
        (put(partner_id="police"), "USER"),
        (put(federation="other"), "USER"),
        (put(expires_at=int(NOW) + MANDATE_LIFETIME_S + 1), "USER"),
        (put(expires_at=int(NOW)), "USER"),
        (put(issued_at=int(NOW) - WINDOW_S - 1), "USER"),
        (put(issued_at=int(NOW) + WINDOW_S + 1, expires_at=int(NOW) + 3600), "USER"),
        (put(purpose="infiltration"), "PURPOSE"),
        (put(mode=query_pb2.MODE_BLIND), "PURPOSE"),
        (put(terms_root=bytes(32)), "TERMS"),
        (put(term_count=1), "TERMS"),
        (put(case_commitment=bytes(32)), "CASE"),
        (lambda m: m.partner_digests.pop(), "PARTNERS"),
        (lambda m: m.partner_digests.reverse(), "PARTNERS"),
    ],
)
def test_a_mandate_that_says_something_else_is_not_signed(
    world: World, change: Callable[[query_pb2.Mandate], object], what: str
) -> None:
    """Each thing the user did not ask for is found, and named by its kind."""
    made = Drafting(world)
    change(made.mandate)
    refused(world, made.response(), what)


@pytest.mark.parametrize("extra", [["container", "vehicle-plate", "vessel-imo"], ["container"]])
def test_a_mandate_for_other_schemes_is_not_signed(world: World, extra: list[str]) -> None:
    """The schemes are those of the user's terms, no more and no fewer."""
    made = Drafting(world)
    del made.mandate.schemes[:]
    made.mandate.schemes.extend(extra)
    with pytest.raises(Forged):
        check(world, made.response())


@pytest.mark.parametrize(
    "changes",
    [
        {"terms": [TERM, ("container", "CSQU3054383")]},
        {"terms": [SECOND, TERM]},
        {"scope": Scope()},
        {"scope": Scope(since=SCOPE.since, until=SCOPE.until)},
        {"scope": Scope(since=SCOPE.since, until=SCOPE.until + 1, events=("gate-in",))},
    ],
)
def test_other_terms_or_another_scope_are_not_signed(world: World, changes: dict[str, Any]) -> None:
    """Another term, another order, a wider time or other events change the root."""
    refused(world, Drafting(world, **changes).response(), "TERMS")


def test_nonces_that_do_not_follow_from_the_seed_are_not_signed(world: World) -> None:
    """Two terms under one nonce would show that they are equal, and so would a seed of nothing."""
    made = Drafting(world)
    nonces = [made.nonces[0]] * 2
    made.mandate.terms_root = commit_terms([TERM, SECOND], nonces, SCOPE).root
    refused(world, made.response(), "TERMS")
    for seed in (b"", bytes(31), bytes(33)):
        response = Drafting(world).response()
        response.nonce_seed = seed
        refused(world, response, "TERMS")


def test_nobody_is_asked_unseen(world: World) -> None:
    """A partner the node asks without announcing it is found by opening its digest."""
    made = Drafting(world, asked=(OWNER, OTHER_OWNER))
    response = made.response()
    del response.exposures[1:]
    refused(world, response, "PARTNERS")


def test_nobody_is_asked_unwanted(world: World) -> None:
    """Announced or not, a partner that the user did not name is refused."""
    refused(world, Drafting(world, asked=(OWNER, OTHER_OWNER)).response(), "PARTNERS")


def test_nobody_announced_goes_unasked(world: World) -> None:
    """An announced partner whose digest says "not asked" is refused as well."""
    made = Drafting(world, asked=())
    made.asked = (OWNER,)
    refused(world, made.response(), "PARTNERS")


def test_salts_and_partners_must_fit_the_directory(world: World) -> None:
    """A list with strangers, doubles, or of another length is refused."""
    made = Drafting(world)
    for change in (
        lambda r: r.directory_partners.append("stranger"),
        lambda r: r.directory_partners.pop(),
        lambda r: r.directory_partners.reverse(),
        lambda r: r.partner_salts.pop(),
        lambda r: r.exposures.add(partner_id="stranger"),
    ):
        response = made.response()
        change(response)
        with pytest.raises(Forged):
            check(world, response)


def test_a_digest_of_another_mandate_is_refused(world: World) -> None:
    """Digests are bound to the mandate's id, so one cannot be carried over."""
    made = Drafting(world)
    place = list(world.directory.partners).index(OWNER)
    salt = made.salts[OWNER]
    made.mandate.partner_digests[place] = partner_digest(salt, OWNER, bytes(16), asked=True)
    refused(world, made.response(), "PARTNERS")


@pytest.mark.parametrize("mandate", [b"", b"\xff", b"\x0a\x00"])
def test_a_mandate_that_is_none_is_not_signed(world: World, mandate: bytes) -> None:
    """Whatever the node sends, the client ends with one of our errors."""
    response = Drafting(world).response()
    response.mandate = mandate
    with pytest.raises(FairleadError):
        check(world, response)

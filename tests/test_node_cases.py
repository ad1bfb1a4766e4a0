"""The case register: opened by somebody else, seen by the right people, over in time."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fairlead import signing
from fairlead.auditlog import AuditLog
from fairlead.certificates import Identity, Role
from fairlead.errors import Conflict, FairleadError, InvalidInput, NotFound, Refused, Stale
from fairlead.leaves import LeafWriter
from fairlead.policy.documents import parse_document
from fairlead.policy.words import Words
from fairlead.v1 import asking_pb2 as pb
from fairlead.v1 import audit_pb2
from node.cases import MAX_LIFETIME_S, MAX_MEMBERS, MIGRATIONS, CaseRegister
from tests.policy_cases import BASELINE
from tests.walks import NOW, World, make_world

DAY = 86_400
AGREEMENTS = parse_document("agreements", BASELINE["data/agreements.yaml"], [])
assert AGREEMENTS is not None
assert AGREEMENTS.registry is not None
WORDS = Words.of(AGREEMENTS.registry)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("cases"), partners=("customs", "police"))


class Place:
    """A register with its log, under a clock of the test's own."""

    def __init__(self, world: World, log: AuditLog) -> None:
        self.now = NOW
        self.log = log
        self.register = CaseRegister(
            log,
            LeafWriter(log="partner/customs", clock=lambda: NOW),
            words=WORDS,
            clock=lambda: self.now,
        )
        self.approver = world.user("customs", "u-c02")
        self.analyst = world.user("customs", "u-c01")
        self.other = world.user("customs", "u-c03")

    def types(self) -> list[str]:
        rows = self.log.read("SELECT body FROM leaf ORDER BY idx")
        leaves = [audit_pb2.AuditLeaf.FromString(body) for (body,) in rows]
        return [audit_pb2.LeafType.Name(leaf.type).removeprefix("LEAF_TYPE_") for leaf in leaves]


@pytest.fixture
def place(world: World, tmp_path: Path) -> Iterator[Place]:
    log = AuditLog.open(
        tmp_path / "audit.sqlite",
        origin="fairlead.demo/partner/customs",
        key=world.signing_key("customs"),
        clock=lambda: NOW,
        migrations=MIGRATIONS,
    )
    yield Place(world, log)
    log.close()


def case(**changes: Any) -> pb.Case:
    fields: dict[str, Any] = {
        "case_id": "CASE-1",
        "purpose": "drug-trafficking",
        "legal_basis": "eu-ucc-art-46",
        "schemes": ["vessel-imo", "container", "container"],
        "members": ["u-c01"],
        "expires_at": int(NOW) + DAY,
    }
    return pb.Case(**{**fields, **changes})


async def test_an_opened_case_is_kept_and_on_the_record(place: Place) -> None:
    """Who opened it, for whom and until when; the leaf commits to the reference only."""
    made = await place.register.open(case(), place.approver)
    assert (made.opened_by, made.members) == ("u-c02", ("u-c01",))
    assert made.schemes == ("container", "vessel-imo")
    assert (made.opened_at, made.expires_at) == (int(NOW), int(NOW) + DAY)
    assert place.register.get("CASE-1") == made
    ((body,),) = place.log.read("SELECT body FROM leaf")
    assert place.types() == ["CASE"]
    assert b"CASE-1" not in body


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"purpose": "curiosity"}, "PURPOSE_UNKNOWN"),
        ({"legal_basis": "gdpr-art-6-1-f"}, "LEGAL_BASIS"),
        ({"legal_basis": "because"}, "LEGAL_BASIS"),
        ({"schemes": ["container", "shoe-size"]}, "SCHEME"),
        ({"tlp": 9}, "TLP"),
        ({"pap": 9}, "PAP"),
        ({"retention_days": 366}, "CASE_RETENTION"),
    ],
)
async def test_a_case_uses_the_words_of_the_registry(
    place: Place, changes: dict[str, Any], code: str
) -> None:
    """A purpose, basis, scheme or handling nobody defined opens no case; the refusal is a leaf."""
    with pytest.raises(InvalidInput) as caught:
        await place.register.open(case(**changes), place.approver)
    assert caught.value.code == code
    assert place.types() == ["REFUSAL"]


def order(**changes: Any) -> pb.CaseInstrument:
    fields: dict[str, Any] = {
        "kind": "court-order",
        "authority": "court",
        "reference": "ROT 26/417",
        "valid_until": int(NOW) + DAY,
    }
    return pb.CaseInstrument(**{**fields, **changes})


async def test_a_case_keeps_its_legal_instrument_and_vouches_for_it(place: Place) -> None:
    """Others get kind, authority, end and a commitment; the reference is for the own users."""
    made = await place.register.open(case(instrument=order()), place.approver)
    assert place.register.get("CASE-1") == made
    assert made.to_wire().instrument == order()
    vouched = made.vouched()
    assert vouched is not None
    assert (vouched.kind, vouched.authority) == ("court-order", "court")
    assert vouched.valid_until == int(NOW) + DAY
    assert vouched.commitment == signing.commit(made.nonce, b"ROT 26/417")
    assert (await place.register.open(case(case_id="CASE-2"), place.approver)).vouched() is None


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"kind": "whim"}, "INSTRUMENT"),
        ({"authority": "public-prosecutor"}, "AUTHORITY"),
        ({"reference": " "}, "INSTRUMENT_REFERENCE"),
        ({"reference": "x" * 201}, "INSTRUMENT_REFERENCE"),
        ({"valid_until": int(NOW)}, "INSTRUMENT_EXPIRED"),
        ({"valid_until": int(NOW) + 11 * 366 * DAY}, "INSTRUMENT_EXPIRED"),
    ],
)
async def test_a_legal_instrument_is_one_of_the_registry_and_valid(
    place: Place, changes: dict[str, Any], code: str
) -> None:
    """A kind, or an authority that does not issue it, a missing reference or a past end."""
    with pytest.raises(InvalidInput) as caught:
        await place.register.open(case(instrument=order(**changes)), place.approver)
    assert caught.value.code == code
    assert place.types() == ["REFUSAL"]


async def test_the_same_case_again_may_end_its_instrument_later(place: Place) -> None:
    """A span such as 90d ends later every second; another reference is another case."""
    first = await place.register.open(case(instrument=order()), place.approver)
    again = case(instrument=order(valid_until=int(NOW) + DAY + 5))
    assert await place.register.open(again, place.approver) == first
    for other in (case(), case(instrument=order(reference="ROT 26/418"))):
        with pytest.raises(Conflict):
            await place.register.open(other, place.approver)


async def test_members_come_and_go_by_an_approver(place: Place) -> None:
    """Each change is a leaf, the same again is none, and the member's right follows at once."""
    await place.register.open(case(), place.approver)
    changed = await place.register.assign("CASE-1", place.approver, add=["u-c03"], remove=["u-c01"])
    assert changed.members == ("u-c03",)
    assert place.register.assigned("CASE-1", place.other) == changed
    with pytest.raises(Refused):
        place.register.assigned("CASE-1", place.analyst)
    again = await place.register.assign("CASE-1", place.approver, add=["u-c03"], remove=[])
    assert again == changed
    assert place.types() == ["CASE", "CASE"]


async def test_nobody_assigns_themselves(place: Place) -> None:
    """An approver adds others only, and a case never loses its last member."""
    await place.register.open(case(), place.approver)
    with pytest.raises(Refused) as caught:
        await place.register.assign("CASE-1", place.approver, add=["u-c02"], remove=[])
    assert caught.value.code == "CASE_SELF_ASSIGNED"
    with pytest.raises(InvalidInput):
        await place.register.assign("CASE-1", place.approver, add=[], remove=["u-c01"])
    with pytest.raises(NotFound):
        await place.register.assign("CASE-9", place.approver, add=["u-c03"], remove=[])
    assert place.types() == ["CASE", "REFUSAL", "REFUSAL", "REFUSAL"]


async def test_a_closed_case_is_over_for_good(place: Place) -> None:
    """Nobody is assigned to it any more, nobody can be, and closing it again changes nothing."""
    await place.register.open(case(), place.approver)
    place.now += 60
    closed = await place.register.close("CASE-1", place.approver)
    assert closed.closed_at == int(NOW) + 60
    assert await place.register.close("CASE-1", place.approver) == closed
    with pytest.raises(Refused):
        place.register.assigned("CASE-1", place.analyst)
    with pytest.raises(Stale) as caught:
        await place.register.assign("CASE-1", place.approver, add=["u-c03"], remove=[])
    assert caught.value.code == "CASE_CLOSED"
    with pytest.raises(Conflict):
        await place.register.open(case(), place.approver)
    assert place.types() == ["CASE", "CASE", "REFUSAL", "REFUSAL"]


async def test_what_the_asker_claims_of_a_case_is_not_believed(place: Place) -> None:
    """Opener and time come from the certificate and the clock, never from the request."""
    made = await place.register.open(case(opened_by="u-c01", opened_at=1), place.approver)
    assert (made.opened_by, made.opened_at) == ("u-c02", int(NOW))
    assert made.nonce not in made.to_wire().SerializeToString()


async def test_the_same_request_again_changes_nothing(place: Place) -> None:
    """The case as it stands comes back, its nonce too, and no second leaf is written."""
    first = await place.register.open(case(), place.approver)
    place.now += 60
    again = await place.register.open(
        case(schemes=["container", "vessel-imo"], expires_at=int(place.now) + DAY), place.approver
    )
    assert again == first
    assert place.types() == ["CASE"]


@pytest.mark.parametrize(
    "changes",
    [
        {"purpose": "infiltration"},
        {"legal_basis": "national-criminal-procedure"},
        {"schemes": ["container"]},
        {"members": ["u-c01", "u-c03"]},
    ],
)
async def test_a_reference_is_one_case(place: Place, changes: dict[str, Any]) -> None:
    """Another content under a taken reference is a conflict, and the first case stays."""
    first = await place.register.open(case(), place.approver)
    with pytest.raises(Conflict) as caught:
        await place.register.open(case(**changes), place.approver)
    assert caught.value.code == "CASE_EXISTS"
    assert place.register.get("CASE-1") == first


async def test_two_approvers_at_once_open_one_case(place: Place) -> None:
    """A race ends in one case and in no error that is not ours."""
    results = await asyncio.gather(
        *(place.register.open(case(), place.approver) for _ in range(4)), return_exceptions=True
    )
    assert not [item for item in results if isinstance(item, sqlite3.Error)]
    assert all(isinstance(item, FairleadError) or item == results[0] for item in results)
    assert place.types().count("CASE") == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"members": []}, "CASE_INCOMPLETE"),
        ({"schemes": []}, "CASE_INCOMPLETE"),
        ({"members": [f"u-{n}" for n in range(MAX_MEMBERS + 1)]}, "CASE_INCOMPLETE"),
        ({"expires_at": int(NOW)}, "CASE_EXPIRY"),
        ({"expires_at": 0}, "CASE_EXPIRY"),
        ({"expires_at": int(NOW) + MAX_LIFETIME_S + 1}, "CASE_EXPIRY"),
        ({"case_id": ""}, "CASE_ID"),
        ({"case_id": "../x"}, "CASE_ID"),
        ({"purpose": "Drug trafficking"}, "CODE"),
        ({"legal_basis": ""}, "CODE"),
        ({"schemes": ["container", "a b"]}, "CODE"),
        ({"members": ["u-c01", "U-C02"]}, "CODE"),
    ],
)
async def test_a_case_beyond_a_limit_is_refused_on_the_record(
    place: Place, changes: dict[str, Any], code: str
) -> None:
    """Every limit has its code, and a refused case leaves a REFUSAL leaf and nothing else."""
    with pytest.raises(InvalidInput) as caught:
        await place.register.open(case(**changes), place.approver)
    assert caught.value.code == code
    assert place.types() == ["REFUSAL"]
    with pytest.raises(NotFound):
        place.register.get("CASE-1")


async def test_limits_themselves_are_allowed(place: Place) -> None:
    """The most members and the longest life are still a case."""
    members = [f"u-{n}" for n in range(MAX_MEMBERS)]
    made = await place.register.open(
        case(members=members, expires_at=int(NOW) + MAX_LIFETIME_S), place.approver
    )
    assert len(made.members) == MAX_MEMBERS


async def test_nobody_opens_a_case_for_themselves(place: Place) -> None:
    """An approver is no member of the case, and the attempt is on the record."""
    with pytest.raises(Refused) as caught:
        await place.register.open(case(members=["u-c01", "u-c02"]), place.approver)
    assert caught.value.code == "CASE_SELF_ASSIGNED"
    assert place.types() == ["REFUSAL"]


async def test_only_an_open_case_of_ones_own_counts(place: Place) -> None:
    """Unknown, expired and not assigned are one answer, so nobody can probe for cases."""
    await place.register.open(case(), place.approver)
    assert place.register.assigned("CASE-1", place.analyst).case_id == "CASE-1"
    errors = []
    for case_id, user, later in (
        ("CASE-2", place.analyst, 0),
        ("CASE-1", place.other, 0),
        ("CASE-1", place.approver, 0),
        ("CASE-1", place.analyst, DAY),
        ("", place.analyst, 0),
    ):
        place.now = NOW + later
        with pytest.raises(Refused) as caught:
            place.register.assigned(case_id, user)
        errors.append(caught.value.diagnostics())
    assert len(set(errors)) == 1
    place.now = NOW + DAY - 1
    assert place.register.assigned("CASE-1", place.analyst)


def with_roles(user: Identity, *roles: Role) -> Identity:
    return replace(user, roles=frozenset(roles))


async def test_people_see_their_own_cases_and_approvers_and_auditors_all(place: Place) -> None:
    """Visibility follows membership and role."""
    await place.register.open(case(), place.approver)
    await place.register.open(case(case_id="CASE-0", members=["u-c03"]), place.approver)

    def seen(user: Identity) -> list[str]:
        return [found.case_id for found in place.register.visible_to(user)]

    assert seen(place.analyst) == ["CASE-1"]
    assert seen(place.other) == ["CASE-0"]
    assert seen(place.approver) == ["CASE-0", "CASE-1"]
    assert seen(with_roles(place.analyst, Role.AUDITOR)) == ["CASE-0", "CASE-1"]
    assert seen(with_roles(place.approver, Role.OPERATOR, Role.SECURITY_OFFICER)) == []

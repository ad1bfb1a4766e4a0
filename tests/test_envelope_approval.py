"""A second person's approval: what counts, and every single thing that does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certs.dev.lists import deny
from fairlead import signing
from fairlead.approving import Waiting, check_pending
from fairlead.cli.approvals import _record
from fairlead.cli.options import when
from fairlead.envelope.approval import (
    EARLY_S,
    MAX_APPROVALS,
    check_approver,
    check_second,
    sign_approval,
)
from fairlead.envelope.query import verify_query
from fairlead.errors import FairleadError, Forged, InvalidInput, Refused, Stale, Unauthenticated
from fairlead.partners import DenyLists
from fairlead.v1 import asking_pb2
from fairlead.v1 import query_pb2 as pb
from tests.approvers import BOTH, ELSEWHERE, MORE_USERS, SECOND, THIRD, Person, approval
from tests.walks import NOW, Walk, World, make_world

ANALYST = ("customs", "u-c01")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("approval"), more_users=MORE_USERS)


def demanding(world: World, count: int = 1, *, user: Person = ANALYST) -> Walk:
    """A query whose mandate demands so many approvals, and that has none yet."""

    def demand(mandate: pb.Mandate) -> None:
        mandate.required_approvals = count

    return world.walk().resigned(mandate=demand, user=user)


def approved(walk: Walk, *people: Person, urgent: bool = False) -> Walk:
    """The same query with these people's approvals."""
    layout = walk.world.opened.layout
    walk.signed.approvals.extend(
        approval(layout, person, walk.signed.mandate, now=walk.now, urgent=urgent)
        for person in people
    )
    return walk


def test_different_approvers_of_the_asker_are_counted(world: World) -> None:
    """One is enough for a mandate that demands one, and each further one counts once."""
    query = approved(demanding(world), SECOND).verify()
    assert (query.required_approvals, query.approvals, query.urgent) == (1, 1, False)
    assert approved(demanding(world, 2), SECOND, THIRD).verify().approvals == 2
    assert approved(world.walk(), SECOND).verify().approvals == 1
    assert world.walk().verify().approvals == 0


def test_an_urgent_approval_says_so(world: World) -> None:
    """What an approver signed as urgent is urgent for everybody who verifies it."""
    assert approved(demanding(world), SECOND, urgent=True).verify().urgent


@pytest.mark.parametrize(("demanded", "people"), [(1, ()), (2, (SECOND,)), (5, (SECOND, THIRD))])
def test_too_few_approvals_are_none(world: World, demanded: int, people: Sequence[Person]) -> None:
    """A mandate that demands more people than approved it goes nowhere."""
    with pytest.raises(Refused) as caught:
        approved(demanding(world, demanded), *people).verify()
    assert caught.value.code == "APPROVAL_REQUIRED"


def test_a_mandate_demands_at_most_five(world: World) -> None:
    """Nobody has to gather more approvals than a query may bring."""
    with pytest.raises(InvalidInput) as caught:
        demanding(world, MAX_APPROVALS + 1).verify()
    assert caught.value.code == "APPROVALS"


def put(**changes: object) -> Callable[[pb.Approval], None]:
    def change(content: pb.Approval) -> None:
        for name, value in changes.items():
            setattr(content, name, value)

    return change


def later(**offsets: int) -> Callable[[pb.Approval], None]:
    """Move times of the approval by so many seconds."""

    def change(content: pb.Approval) -> None:
        for name, offset in offsets.items():
            setattr(content, name, getattr(content, name) + offset)

    return change


WRONG: list[tuple[str, dict[str, object], type[FairleadError], str]] = [
    ("of another mandate", {"change": put(mandate_digest=bytes(32))}, Forged, "APPROVAL_BINDING"),
    ("in another name", {"change": put(partner_id="police")}, Forged, "APPROVAL_BINDING"),
    (
        "under another certificate",
        {"change": put(approver_certificate_digest=bytes(32))},
        Forged,
        "APPROVAL_BINDING",
    ),
    ("by an analyst", {"person": ("customs", "u-c03")}, Refused, "APPROVER_ROLE"),
    ("by another partner's approver", {"person": ELSEWHERE}, Refused, "APPROVER_ROLE"),
    ("with another's key", {"signer": THIRD}, Forged, "SIGNATURE"),
    ("with the requester's key", {"signer": ANALYST}, Forged, "SIGNATURE"),
    (
        "longer than the mandate",
        {"change": later(expires_at=1)},
        InvalidInput,
        "APPROVAL_LIFETIME",
    ),
    ("ending before it begins", {"change": put(expires_at=1)}, InvalidInput, "APPROVAL_LIFETIME"),
    (
        "from before the mandate",
        {"change": later(issued_at=-EARLY_S - 1)},
        InvalidInput,
        "APPROVAL_LIFETIME",
    ),
    ("from the future", {"change": later(issued_at=EARLY_S + 1)}, Stale, "APPROVAL_EXPIRED"),
]


@pytest.mark.parametrize(
    ("changes", "error", "code"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG]
)
def test_one_wrong_approval_spoils_the_query(
    world: World, changes: dict[str, object], error: type[FairleadError], code: str
) -> None:
    """A wrong one is refused for its own reason, also beside one that is right."""
    wrong: dict[str, object] = {"person": SECOND, **changes}
    for others in ((), (THIRD,)):
        walk = approved(demanding(world), *others)
        layout = world.opened.layout
        made = approval(layout, mandate=walk.signed.mandate, now=walk.now, **wrong)  # type: ignore[arg-type]
        walk.signed.approvals.append(made)
        with pytest.raises(error) as caught:
            walk.verify()
        assert caught.value.code == code


def test_nobody_approves_an_own_query(world: World) -> None:
    """Somebody with both roles approves others' queries and never the own one."""
    assert approved(demanding(world), BOTH).verify().approvals == 1
    with pytest.raises(Refused) as caught:
        approved(demanding(world, user=BOTH), BOTH).verify()
    assert caught.value.code == "APPROVER_IS_REQUESTER"


def test_a_service_is_no_second_person_and_its_person_does_not_approve_it(world: World) -> None:
    """A service user approves nothing; who answers for one does not approve what it asks."""
    service = replace(world.user(*SECOND), responsible="u-c04", schemes=frozenset({"container"}))
    with pytest.raises(Refused) as caught:
        check_approver(service, "customs")
    assert caught.value.code == "APPROVER_ROLE"
    check_approver(world.user(*THIRD), "customs")
    asking = replace(world.user(*ANALYST), responsible="u-c04")
    with pytest.raises(Refused) as caught:
        check_second(world.user(*THIRD), asking)
    assert caught.value.code == "APPROVER_IS_REQUESTER"
    check_second(world.user(*SECOND), asking)


def test_one_person_is_not_two(world: World) -> None:
    """The same approver twice is refused, not counted once."""
    with pytest.raises(Refused) as caught:
        approved(demanding(world, 2), SECOND, SECOND).verify()
    assert caught.value.code == "APPROVED_TWICE"


def test_an_approval_ends(world: World) -> None:
    """From its last second on it lets nothing go, although the mandate still would."""
    walk = demanding(world)
    layout, now = world.opened.layout, int(walk.now)
    made = approval(
        layout, SECOND, walk.signed.mandate, now=walk.now, change=put(expires_at=now + 60)
    )
    walk.signed.approvals.append(made)
    assert walk.verify(now + 59).approvals == 1
    with pytest.raises(Stale) as caught:
        walk.verify(now + 60)
    assert caught.value.code == "APPROVAL_EXPIRED"


def test_more_than_five_are_not_looked_at(world: World) -> None:
    """A query that brings many approvals costs nobody their verification."""
    walk = approved(demanding(world), *[SECOND] * (MAX_APPROVALS + 1))
    with pytest.raises(InvalidInput) as caught:
        walk.verify()
    assert caught.value.code == "APPROVALS"


def test_a_denied_approver_approves_nothing(world: World) -> None:
    """Who was suspended since is no second person, although everything is signed."""
    lists = DenyLists()
    denied = ["spiffe://fairlead.demo/partner/customs/user/u-c02"]
    lists.update(
        deny(world.opened.layout, denied, serial=2, now=NOW),
        directory=world.directory,
        operators=world.opened.operators,
        now=NOW,
    )
    signed = approved(demanding(world), SECOND).signed
    with pytest.raises(Unauthenticated) as caught:
        verify_query(signed, directory=world.directory, deny_lists=lists, now=NOW)
    assert caught.value.code == "DENIED"


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_no_changed_octet_of_an_approval_is_accepted(world: World, data: st.DataObject) -> None:
    """Whatever octet of approval, signature or certificate is changed, the query is refused."""
    walk = approved(demanding(world), SECOND)
    made = walk.signed.approvals[0]
    name = data.draw(st.sampled_from(["approval", "signature", "certificate"]))
    good: bytes = getattr(made, name)
    place = data.draw(st.integers(0, 10_000)) % len(good)
    value = data.draw(st.integers(1, 255))
    setattr(made, name, good[:place] + bytes([good[place] ^ value]) + good[place + 1 :])
    with pytest.raises(FairleadError):
        walk.verify()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=60), min_size=3, max_size=3))
def test_any_octets_are_no_approval(world: World, parts: Sequence[bytes]) -> None:
    """Garbage in every field is a refusal of our own."""
    walk = demanding(world)
    walk.signed.approvals.add(approval=parts[0], signature=parts[1], certificate=parts[2])
    with pytest.raises(FairleadError):
        walk.verify()


def shown(walk: Walk, *, until: int, mandate: bytes = b"", signer: Person = ANALYST) -> Waiting:
    """What an approver's program makes of a held query that is to stand."""
    signed, said = walk.signed, pb.Mandate.FromString(walk.signed.mandate)
    order = asking_pb2.WatchOrder(mandate_digest=signing.digest(mandate or signed.mandate))
    order.until = until
    octets = signing.canonical(order)
    key = signing.load_user_key(walk.world.opened.layout.user(*signer) / "user.key")
    pending = asking_pb2.PendingApproval(
        query=asking_pb2.QuerySummary(user="u-c01", purpose=said.purpose, terms=said.term_count),
        mandate=signed.mandate,
        mandate_signature=signed.mandate_signature,
        certificate=signed.user_certificate,
        schemes=dict.fromkeys(said.schemes, said.term_count),
        expires_at=said.expires_at,
        watch=octets,
        watch_signature=signing.sign_as_user(key, "watch", octets),
    )
    directory = walk.world.directory
    return check_pending(pending, directory=directory, partner_id="customs", now=walk.now)


def test_an_approver_is_told_that_a_query_is_to_stand(world: World) -> None:
    """Attack: a week's watch approved as one question; the order is its user's for this one."""
    walk = demanding(world)
    found = shown(walk, until=int(NOW) + 7 * 86_400)
    assert found.stands_until == int(NOW) + 7 * 86_400
    record = _record(found)
    assert record["stands_until"] == when(found.stands_until)
    for changes in ({"signer": SECOND}, {"mandate": b"another"}):
        with pytest.raises(Forged):
            shown(walk, until=int(NOW) + 60, **changes)  # type: ignore[arg-type]


def test_nobody_signs_for_a_mandate_that_is_over(world: World) -> None:
    """An approver's program does not sign what can never be sent."""
    walk = world.walk()
    key = signing.load_user_key(world.opened.layout.user(*SECOND) / "user.key")
    with pytest.raises(Stale):
        sign_approval(walk.signed.mandate, certificate=b"", key=key, now=walk.now + 2 * 86_400)

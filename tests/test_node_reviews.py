"""Reviews by a supervisor: drawn by chance, decided by another person, and not forgotten."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead.auditlog import AuditLog
from fairlead.errors import FairleadError, NotFound, Refused
from fairlead.leaves import LeafWriter
from fairlead.v1 import audit_pb2
from node import reviews
from node.reviews import DUE_S, Kind, Reviews
from tests.attacks.evil import alarms, leaves
from tests.test_node_held import Clock

ASKER, APPROVER, OTHER = (f"spiffe://f.example/partner/customs/user/u-c0{n}" for n in (1, 2, 4))
QUERY = bytes(range(16))


class Place:
    """A log, its clock, and the reviews in it."""

    def __init__(self, folder: Path, *, percent: int = 2, seed: int = 7) -> None:
        self.clock = Clock()
        self.log = AuditLog.open(
            folder / "audit.sqlite",
            origin="f.example/partner/customs",
            key=Ed25519PrivateKey.generate(),
            clock=self.clock,
            migrations=reviews.MIGRATIONS,
        )
        self.leaves = LeafWriter(log="partner/customs", clock=self.clock)
        self.reviews = Reviews(
            self.log,
            self.leaves,
            percent=percent,
            clock=self.clock,
            random=random.Random(seed).randbytes,
        )

    async def open(
        self,
        kind: Kind,
        *,
        query: bytes = QUERY,
        approvers: tuple[str, ...] = (),
        **settings: str,
    ) -> None:
        """Open a review of the asker's query."""
        work = self.reviews.opening(
            kind, query_id=query, user=ASKER, mandate_digest=bytes(32), approvers=approvers,
            **settings,
        )  # fmt: skip
        leaf = self.leaves.approval(subject="approval-given", query_id=query)
        await self.log.append(leaf, also=work)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.log.close()


@pytest.mark.parametrize(
    ("percent", "least", "most"), [(0, 0, 0), (2, 150, 250), (100, 10**4, 10**4)]
)
def test_so_many_of_a_hundred_are_drawn(
    tmp_path: Path, percent: int, least: int, most: int
) -> None:
    """Of ten thousand queries about as many as the configuration says, all, or none."""
    place = Place(tmp_path, percent=percent)
    drawn = sum(place.reviews.draw() for _ in range(10_000))
    place.log.close()
    assert least <= drawn <= most


async def test_a_sample_is_anybodys_but_the_requesters(place: Place) -> None:
    """An approver who let the query go may confirm it; who asked does not even see it."""
    await place.open(Kind.SAMPLE, approvers=(APPROVER,))
    assert place.reviews.open_for(ASKER) == []
    assert [found.kind for found in place.reviews.open_for(APPROVER)] == [Kind.SAMPLE]
    await place.reviews.decide(QUERY, "sample", APPROVER, objects=False)
    assert place.reviews.open_for(APPROVER) == []
    (leaf,) = leaves(place.log, audit_pb2.LEAF_TYPE_APPROVAL)[1:]
    assert (leaf.subject, leaf.user, list(leaf.reasons)) == (
        "review-confirmed",
        APPROVER,
        ["SAMPLE"],
    )


async def test_an_urgent_query_is_reviewed_by_a_third_person(place: Place) -> None:
    """Neither who asked nor any of those who let it, also when a second one did so later."""
    await place.open(Kind.URGENT, approvers=(APPROVER,))
    await place.open(Kind.URGENT, approvers=(APPROVER, OTHER))
    for person in (ASKER, APPROVER, OTHER):
        assert place.reviews.open_for(person) == []
        with pytest.raises(NotFound):
            await place.reviews.decide(QUERY, "urgent", person, objects=False)
    assert len(place.reviews.open_for(ASKER.replace("u-c01", "u-c09"))) == 1


@pytest.mark.parametrize("kind", list(Kind))
async def test_who_answers_for_a_service_does_not_review_it(place: Place, kind: Kind) -> None:
    """A person's own program is nobody else: the review is for a third person."""
    await place.open(kind, responsible="u-c04")
    assert place.reviews.open_for(OTHER) == []
    with pytest.raises(NotFound):
        await place.reviews.decide(QUERY, str(kind), OTHER, objects=False)
    assert [found.kind for found in place.reviews.open_for(APPROVER)] == [kind]


async def test_a_review_that_a_later_approver_confirmed_is_open_again(place: Place) -> None:
    """Where two must approve, the second one does not confirm first and approve afterwards."""
    await place.open(Kind.URGENT, approvers=(APPROVER,))
    await place.reviews.decide(QUERY, "urgent", OTHER, objects=False)
    await place.open(Kind.URGENT, approvers=(APPROVER, OTHER))
    assert place.reviews.open_for(OTHER) == []
    assert len(place.reviews.open_for(ASKER.replace("u-c01", "u-c09"))) == 1


@pytest.mark.parametrize(("query", "kind"), [(bytes(16), "urgent"), (QUERY, "sample"), (QUERY, "")])
async def test_only_what_is_open_is_decided(place: Place, query: bytes, kind: str) -> None:
    """Another query, another kind, or none: there is no such review."""
    await place.open(Kind.URGENT)
    with pytest.raises(NotFound) as caught:
        await place.reviews.decide(query, kind, OTHER, objects=True)
    assert caught.value.code == "UNKNOWN_REVIEW"


async def test_a_review_is_decided_once(place: Place) -> None:
    """Whoever comes second finds nothing to decide, and nothing more is on the record."""
    await place.open(Kind.URGENT)
    await place.reviews.decide(QUERY, "urgent", OTHER, objects=True)
    with pytest.raises(FairleadError):
        await place.reviews.decide(QUERY, "urgent", APPROVER, objects=False)
    assert [list(leaf.reasons) for leaf in alarms(place.log)] == [["REVIEW_OBJECTED"]]


@pytest.mark.parametrize("kind", list(Kind))
async def test_an_overdue_review_raises_one_alarm(place: Place, kind: Kind) -> None:
    """Not before its time, and not again an hour later; it can be decided still."""
    await place.open(kind)
    place.clock.now += DUE_S[kind] - 1
    await place.reviews.alarm_overdue()
    assert alarms(place.log) == []
    place.clock.now += 1
    for _ in range(2):
        await place.reviews.alarm_overdue()
    (alarm,) = alarms(place.log)
    assert (alarm.subject, list(alarm.reasons)) == ("review", ["REVIEW_OVERDUE"])
    assert (alarm.user, alarm.query_id) == (ASKER, QUERY)
    assert len(place.reviews.overdue()) == 1
    await place.reviews.decide(QUERY, str(kind), OTHER, objects=False)
    assert place.reviews.overdue() == []


async def test_an_overdue_urgent_review_keeps_its_requester_from_another(place: Place) -> None:
    """Nobody else is kept from it, and neither an open review nor an overdue sample does so."""
    await place.open(Kind.URGENT)
    await place.open(Kind.SAMPLE, query=bytes(16))
    place.reviews.check_reviewed(ASKER)
    place.clock.now += DUE_S[Kind.URGENT]
    place.reviews.check_reviewed(OTHER)
    with pytest.raises(Refused) as caught:
        place.reviews.check_reviewed(ASKER)
    assert caught.value.code == "REVIEW_OVERDUE"
    await place.reviews.decide(QUERY, "urgent", OTHER, objects=False)
    place.clock.now += DUE_S[Kind.SAMPLE]
    place.reviews.check_reviewed(ASKER)

"""Queries held for a second person: which state follows which, and what each one erases."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fairlead.errors import FairleadError, Refused
from fairlead.v1 import query_pb2
from node.batch import Batch
from node.held import APPROVED, DENIED, EXPIRED, MAX_PENDING, NONE, PENDING, Held
from node.history import History
from node.opening import VAULT_MIGRATIONS
from node.vault import Vault
from tests.test_node_history import KEY, batch
from tests.walks import NOW

LIFE_S = 3600
APPROVAL = query_pb2.SignedApproval(approval=b"a", signature=b"s", certificate=b"c")


def waiting(place: Place, number: int = 1, *, required: int = 1) -> Batch:
    """A batch whose mandate demands so many approvals and lives an hour."""
    mandate = query_pb2.Mandate(required_approvals=required, expires_at=int(NOW) + LIFE_S)
    return replace(batch(place.vault, number), mandate=mandate.SerializeToString())


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Place:
    """A vault, its history and what is held in it."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.vault = Vault.open(folder / "history.sqlite", key=KEY, migrations=VAULT_MIGRATIONS)
        self.history = History(self.vault)
        self.held = Held(self.vault, self.history, clock=self.clock)

    def kept(self, batch_id: bytes) -> Batch:
        """The batch with its secrets, which must be there."""
        found = self.history.batch(batch_id)
        assert found is not None
        return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.vault.close()


async def test_a_held_query_has_no_chunk_and_keeps_its_secrets(place: Place) -> None:
    """Nothing that could be sent is made before somebody approved; everything to make it is."""
    made = waiting(place)
    hold = await place.held.begin(made, urgent=True)
    assert (hold.state, hold.required, hold.urgent) == (PENDING, 1, True)
    assert place.history.chunk_ids(made.batch_id) == []
    assert place.kept(made.batch_id).to_bytes() == made.to_bytes()
    assert place.held.pending() == [made.batch_id]


async def test_an_approval_is_kept_with_the_query(place: Place) -> None:
    """It survives with the batch's secrets, and the last one needed lets the query go."""
    made = waiting(place, required=2)
    await place.held.begin(made, urgent=False)
    assert await place.held.approve(place.kept(made.batch_id), APPROVAL) == PENDING
    assert await place.held.approve(place.kept(made.batch_id), APPROVAL) == APPROVED
    assert place.kept(made.batch_id).signed_approvals() == [APPROVAL, APPROVAL]
    assert place.held.pending() == []


async def test_denial_and_time_erase_what_could_send_it(place: Place) -> None:
    """Neither the session key nor an approval is left; what was asked stays readable."""
    first, second = waiting(place, 1), waiting(place, 2)
    for made in (first, second):
        await place.held.begin(made, urgent=False)
    assert await place.held.deny(first.batch_id) == DENIED
    place.clock.now += LIFE_S
    assert place.held.state(second.batch_id) == EXPIRED
    assert place.history.batch(second.batch_id) is not None
    assert await place.held.expire() == [second.batch_id]
    assert await place.held.expire() == []
    for made in (first, second):
        assert place.history.batch(made.batch_id) is None
        assert list(place.history.terms(made.batch_id))


async def test_what_is_not_held_has_no_state(place: Place) -> None:
    """An ordinary query, and an id nobody knows, can be neither approved nor denied."""
    made = waiting(place)
    await place.history.begin(made, made.batch_id, b"octets")
    assert place.held.state(made.batch_id) == NONE
    for work in (place.held.deny(made.batch_id), place.held.approve(made, APPROVAL)):
        with pytest.raises(Refused) as caught:
            await work
        assert caught.value.code == "NOT_PENDING"
    assert place.kept(made.batch_id).approvals == ()


async def test_one_user_does_not_fill_the_list_of_the_approvers(place: Place) -> None:
    """So many queries of a user wait at a time; one decided makes room for another one."""
    for number in range(MAX_PENDING):
        place.held.check_room("u-c01")
        await place.held.begin(waiting(place, number), urgent=False)
    with pytest.raises(Refused) as caught:
        place.held.check_room("u-c01")
    assert caught.value.code == "PENDING_LIMIT"
    place.held.check_room("u-c02")
    await place.held.deny(waiting(place, 0).batch_id)
    place.held.check_room("u-c01")


async def test_a_deleted_query_is_held_no_longer(place: Place) -> None:
    """Its hold goes with it when its retention ends."""
    made = waiting(place)
    await place.held.begin(made, urgent=False)
    await place.history.expire(NOW + 11 * 86_400)
    assert place.held.get(made.batch_id) is None


class Life(RuleBasedStateMachine):
    """One held query, and whatever anybody does to it in whatever order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.place = Place(self.folder)
        self.required = 0
        self.given = 0
        self.state: int = NONE

    def teardown(self) -> None:
        self.place.vault.close()
        shutil.rmtree(self.folder)

    @precondition(lambda self: self.state == NONE)
    @rule(required=st.integers(1, 3), urgent=st.booleans())
    def ask(self, required: int, urgent: bool) -> None:
        over = self.place.clock.now >= int(NOW) + LIFE_S
        self.required, self.state = required, EXPIRED if over else PENDING
        asyncio.run(self.place.held.begin(waiting(self.place, required=required), urgent=urgent))

    @rule()
    def approve(self) -> None:
        found = (
            self.place.history.batch(waiting(self.place).batch_id) if self.state != NONE else None
        )
        made = found or waiting(self.place)
        try:
            now = asyncio.run(self.place.held.approve(made, APPROVAL))
        except FairleadError:
            assert self.state != PENDING
            return
        assert self.state == PENDING
        self.given += 1
        self.state = APPROVED if self.given >= self.required else PENDING
        assert now == self.state

    @rule()
    def deny(self) -> None:
        try:
            asyncio.run(self.place.held.deny(waiting(self.place).batch_id))
        except FairleadError:
            assert self.state != PENDING
            return
        assert self.state == PENDING
        self.state = DENIED

    @rule(seconds=st.sampled_from([1, LIFE_S // 2, LIFE_S]))
    def wait(self, seconds: int) -> None:
        self.place.clock.now += seconds
        if self.state == PENDING and self.place.clock.now >= int(NOW) + LIFE_S:
            self.state = EXPIRED

    @rule()
    def keep_house(self) -> None:
        asyncio.run(self.place.held.expire())

    @rule()
    def restart(self) -> None:
        now = self.place.clock.now
        self.place.vault.close()
        self.place = Place(self.folder)
        self.place.clock.now = now

    @invariant()
    def it_stands_as_it_should(self) -> None:
        assert self.place.held.state(waiting(self.place).batch_id) == self.state
        assert self.place.held.pending() == (
            [waiting(self.place).batch_id] if self.state == PENDING else []
        )

    @invariant()
    def nothing_is_sendable_before_enough_people_approved(self) -> None:
        if self.state == NONE:
            return
        kept = self.place.history.batch(waiting(self.place).batch_id)
        if self.state == DENIED:
            assert kept is None
        if self.state == APPROVED:
            assert kept is not None
            assert len(kept.approvals) == self.given == self.required


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=40, stateful_step_count=12, deadline=None)

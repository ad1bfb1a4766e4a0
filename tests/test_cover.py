"""Cover: a slot is a slot, whether somebody asked or not."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest

from fairlead import identifiers
from fairlead.cli import cover
from fairlead.cover import MAX_WAITING, Lane, invented
from fairlead.drafted import Draft
from fairlead.errors import FairleadError, InvalidInput, Refused, Unreachable
from fairlead.v1 import asking_pb2, query_pb2

TERM = "MSCU6639870"


@dataclass(slots=True)
class Clock:
    """Time that goes on when somebody sleeps or works."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds


@dataclass(slots=True)
class Outside:
    """What is seen of a lane: when something was asked, and in here what."""

    clock: Clock = field(default_factory=Clock)
    asked: list[tuple[float, str, bool]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    takes_s: float = 0.0
    refuses: set[str] = field(default_factory=set)
    silent: bool = False

    async def ask(self, term: str, typed: bool) -> None:
        if term in self.refuses:
            raise Refused("refused", reasons=("ENUMERATION",))
        self.asked.append((self.clock.now, term, typed))
        self.clock.now += self.takes_s
        if self.silent:
            raise Unreachable("silent", reasons=("GATEWAY_UNREACHABLE",))

    def lane(self) -> Lane:
        return Lane(
            ask=self.ask, invent=lambda: "invented", interval_s=300, clock=self.clock,
            sleep=self.clock.sleep, say=lambda error: self.said.append(error.code),
        )  # fmt: skip

    @property
    def moments(self) -> list[float]:
        return [moment for moment, _, _ in self.asked]


def test_the_slots_are_the_same_whether_somebody_asks_or_not() -> None:
    """Their number and their moments follow from the beginning and the rate alone."""
    idle, busy = Outside(), Outside()
    asyncio.run(idle.lane().run(3600))
    lane = busy.lane()
    for _ in range(5):
        lane.put(TERM)
    asyncio.run(lane.run(3600))
    assert busy.moments == idle.moments == [100 + 300 * n for n in range(1, 13)]
    assert [term for _, term, _ in busy.asked] == [TERM] * 5 + ["invented"] * 7


def test_terms_that_wait_beyond_the_end_are_not_asked() -> None:
    """The lane does not go on for them, and does not hurry."""
    outside = Outside()
    lane = outside.lane()
    for _ in range(20):
        lane.put(TERM)
    asyncio.run(lane.run(3600))
    assert len(outside.asked) == 12
    assert len(lane.waiting) == 8


def test_a_slot_that_was_missed_is_not_made_good() -> None:
    """Slow answers leave slots out, on the same grid, and no burst follows."""
    outside = Outside(takes_s=700)
    asyncio.run(outside.lane().run(3600))
    assert outside.moments == [400, 1300, 2200, 3100]


def test_a_refused_term_gives_its_slot_to_an_invented_one() -> None:
    """Nobody sees a gap where the own node stopped a question."""
    outside = Outside(refuses={TERM})
    lane = outside.lane()
    lane.put(TERM)
    asyncio.run(lane.run(600))
    assert outside.moments == [400, 700]
    assert outside.said == ["ENUMERATION"]


def test_the_lane_ends_aloud_when_nothing_is_let() -> None:
    """A used up budget is no silence that looks like cover."""
    outside = Outside(refuses={"invented"})
    with pytest.raises(Refused) as caught:
        asyncio.run(outside.lane().run(3600))
    assert caught.value.code == "COVER_OVER"


def test_a_gateway_that_is_silent_costs_a_slot_and_no_more() -> None:
    """For typed and invented terms alike."""
    outside = Outside(silent=True)
    lane = outside.lane()
    lane.put(TERM)
    asyncio.run(lane.run(900))
    assert outside.moments == [400, 700, 1000]
    assert outside.said == ["GATEWAY_UNREACHABLE"] * 3


def test_there_is_an_end_to_what_waits() -> None:
    """A file poured in is refused with what to do instead."""
    lane = Outside().lane()
    for _ in range(MAX_WAITING):
        lane.put(TERM)
    with pytest.raises(Refused) as caught:
        lane.put(TERM)
    assert caught.value.code == "COVER_FULL"


@pytest.mark.parametrize("scheme", ["container", "vessel-imo", "vehicle-plate"])
def test_invented_identifiers_may_be_asked_and_differ(scheme: str) -> None:
    """They are of the scheme's form, with a right check digit, and not always the same."""
    draw = random.Random(7)
    found = {invented(scheme, draw) for _ in range(5)}
    assert len(found) > 1
    for value in found:
        assert identifiers.parse(scheme, value).value == value


def test_no_person_is_invented() -> None:
    """An invented one may exist."""
    for scheme in ("person", "phone", "shoe-size"):
        with pytest.raises(InvalidInput) as caught:
            invented(scheme, random.Random(1))
        assert caught.value.code == "COVER_SCHEME"
    assert issubclass(InvalidInput, FairleadError)


async def test_a_question_that_would_wait_for_somebody_takes_no_slot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing would leave in its slot, nor in any other, and approvers would be sent invented
    terms: the lane ends instead."""

    class Node:
        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None:
            pass

        async def prepare(self, request: asking_pb2.PrepareRequest) -> Draft:
            mandate = query_pb2.Mandate(required_approvals=1).SerializeToString()
            response = asking_pb2.PrepareResponse(mandate=mandate)
            return Draft(request=request, response=response, legal_basis="", mode=2, term_count=1)

    monkeypatch.setattr(cover, "connect", lambda _profile: (Node(), None, Path()))
    asked = cover._Asked(
        case="CASE", purpose="drug-trafficking", scheme="container", since="90d", to=[],
        profile=None,
    )  # fmt: skip
    for typed in (True, False):
        with pytest.raises(Refused) as caught:
            await cover._ask(TERM, typed, asked)
        assert caught.value.code == "COVER_APPROVAL"

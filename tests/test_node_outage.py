"""A batch waits for a partner that went away, and not for ever."""

from __future__ import annotations

from fairlead.v1 import asking_pb2 as pb
from fairlead.v1 import query_pb2
from node.outage import FIRST_S, LONGEST_S, OUTAGE_S, Outages


def line(status: int, partner: str = "police") -> pb.AskResponse:
    return pb.AskResponse(partner=pb.OpenedAnswer(partner_id=partner, status=status))  # type: ignore[arg-type]


def test_a_partner_that_went_away_is_waited_for() -> None:
    """Longer each time, five minutes in all, and anew once it was there again."""
    seen = Outages()
    seen.note(line(query_pb2.STATUS_ANSWERED))
    assert seen.pause_s() == 0
    seen.note(line(query_pb2.STATUS_UNREACHABLE))
    pauses = []
    while pause := seen.pause_s():
        pauses.append(pause)
    assert pauses[:4] == [10, 10, 20, 30]
    assert max(pauses) == LONGEST_S
    assert sum(pauses) == OUTAGE_S
    seen.note(line(query_pb2.STATUS_ANSWERED))
    assert seen.pause_s() == 0
    seen.note(line(query_pb2.STATUS_TIMEOUT))
    assert seen.pause_s() == FIRST_S


def test_nobody_waits_for_a_partner_that_was_never_there() -> None:
    """Nor for one that refuses, or for an event that is no partner's line."""
    seen = Outages()
    seen.note(line(query_pb2.STATUS_UNREACHABLE))
    seen.note(line(query_pb2.STATUS_ANSWERED, "customs"))
    seen.note(line(query_pb2.STATUS_REFUSED, "customs"))
    seen.note(pb.AskResponse(done=pb.AskResponse.ChunkDone(chunk=1)))
    assert seen.pause_s() == 0


def test_how_long_is_waited_does_not_tell_what_was_found_in_an_answer() -> None:
    """An owner that plants an entry which does not open under one term, answers a chunk and misses
    the next one, sees no other pause whether that term was in the first one or not."""
    pauses = []
    for opened in (query_pb2.STATUS_ANSWERED, query_pb2.STATUS_INVALID):
        seen = Outages()
        seen.note(line(opened))
        seen.note(line(query_pb2.STATUS_TIMEOUT))
        waited = [seen.pause_s()]
        seen.note(line(opened))
        pauses.append([*waited, seen.pause_s()])
    assert pauses == [[FIRST_S, 0.0]] * 2

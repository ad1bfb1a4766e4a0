"""``fairlead watch``: what is signed again reaches as far as before."""

from __future__ import annotations

import pytest

from fairlead.cli.options import WAY_S, asked_since
from fairlead.cli.watch import DAY_S, _moved
from fairlead.facts import window_days
from fairlead.v1 import asking_pb2

NOW = 1_795_000_000


@pytest.mark.parametrize("took", [0, 1, 5, WAY_S - 1])
@pytest.mark.parametrize("later", [0, 3600, 7 * DAY_S + 12_345])
def test_a_renewed_watch_asks_for_a_period_as_long_as_before(took: int, later: int) -> None:
    """Ninety days stay ninety, however long the first asking and the way to the node took."""
    watch = asking_pb2.Watch(begun_at=NOW + took)
    kept = asking_pb2.ShowWatchResponse(watch=watch, since=NOW - 90 * DAY_S)
    now = NOW + took + later
    since = _moved(kept, now)
    assert 0 <= since - (now - 90 * DAY_S) <= WAY_S
    assert window_days(since, 0, now + 5) == 90


@pytest.mark.parametrize("took", [0, 1, 30, WAY_S])
def test_ninety_days_are_ninety_when_they_arrive(took: int) -> None:
    """A question at the limit of an agreement is not a day too long because it was on its way."""
    since = asked_since("90d", now=NOW + 0.9)
    assert window_days(since, 0, NOW + 0.9 + took) == 90
    assert asked_since("12h", now=NOW) == NOW - 12 * 3600
    assert asked_since("2026-01-01T00:00Z", now=NOW) == 1_767_225_600
    assert asked_since(None, now=NOW) == 0


def test_a_watch_without_a_beginning_stays_without() -> None:
    """Zero is no time."""
    kept = asking_pb2.ShowWatchResponse(watch=asking_pb2.Watch(begun_at=NOW), since=0)
    assert _moved(kept, NOW + DAY_S) == 0

"""Patience with a partner that answered and does not any more: the next chunk waits a while.

A chunk that a partner did not answer is never asked again under its mandate. Without waiting, an
owner that restarts for ten seconds would miss all that a large batch asks meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fairlead.v1 import asking_pb2 as pb
from fairlead.v1 import query_pb2

AWAY = frozenset({query_pb2.STATUS_UNREACHABLE, query_pb2.STATUS_TIMEOUT,
                  query_pb2.STATUS_OVERLOADED})  # fmt: skip
THERE = frozenset({query_pb2.STATUS_ANSWERED, query_pb2.STATUS_INVALID})
"""Whether an answer could be read is known here alone, and may depend on what was asked: an owner
can plant an entry that does not open under one term. So it changes nothing that others can see."""
FIRST_S, LONGEST_S = 10.0, 30.0
OUTAGE_S = 300.0
"""Seconds that one outage is waited for; a partner that is away for longer misses the rest."""


@dataclass(slots=True)
class Outages:
    """Who answered and who is away, over the chunks of one batch."""

    _answered: set[str] = field(default_factory=set)
    _away: set[str] = field(default_factory=set)
    _waited: float = 0.0

    def note(self, event: pb.AskResponse) -> None:
        """Take in what a partner's line says."""
        if not event.HasField("partner"):
            return
        line = event.partner
        if line.status in AWAY and line.partner_id in self._answered:
            self._away.add(line.partner_id)
        elif line.status in THERE:
            self._answered.add(line.partner_id)
            self._away.discard(line.partner_id)

    def pause_s(self) -> float:
        """How long to wait before the next chunk: longer each time, and not for ever."""
        if not self._away:
            self._waited = 0.0
            return 0.0
        pause = min(max(FIRST_S, self._waited), LONGEST_S, OUTAGE_S - self._waited)
        self._waited += pause
        return pause

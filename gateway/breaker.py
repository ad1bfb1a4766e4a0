"""The breaker of one partner: after failures in a row it is left alone, then tried once.

Pure: no clock and no I/O. Times are seconds of whatever clock the caller uses, monotonic.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

FAILURES = 5
"""Calls in a row that nobody answered, until the breaker opens."""
PAUSE_S = 5.0
"""Seconds it stays open before one call tries again."""


class Passage(Enum):
    """What the breaker says to one call."""

    FREE = auto()
    TRIAL = auto()
    """The one call that finds out whether the partner is back."""
    REFUSED = auto()


@dataclass(slots=True)
class Breaker:
    """Closed, open until a moment, or waiting for its trial call to end."""

    failures: int = 0
    open_until: float | None = None
    trying: bool = False

    def enter(self, now: float) -> Passage:
        """Ask for one call; every call that was let in reports its end exactly once."""
        if self.open_until is None:
            return Passage.FREE
        if self.trying or now < self.open_until:
            return Passage.REFUSED
        self.trying = True
        return Passage.TRIAL

    def answered(self) -> None:
        """A call was answered, whatever the answer says: the partner is there."""
        self.failures, self.open_until, self.trying = 0, None, False

    def unanswered(self, passage: Passage, now: float) -> None:
        """A call found nobody, or nobody who answers in time."""
        self.failures += 1
        failed_trial = passage is Passage.TRIAL and self.trying
        if failed_trial or (self.failures >= FAILURES and self.open_until is None):
            self.open_until, self.trying = now + PAUSE_S, False

    def given_up(self, passage: Passage) -> None:
        """The gateway itself ended a call: that says nothing about the partner."""
        if passage is Passage.TRIAL:
            self.trying = False

"""The breaker: closed, open, one trial, whatever happens in whatever order."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.breaker import FAILURES, PAUSE_S, Breaker, Passage


class Calls(RuleBasedStateMachine):
    """Calls begin, and end in any order, while the clock goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker()
        self.now = 0.0
        self.under_way: list[Passage] = []
        self.in_a_row = 0

    @rule()
    def begin(self) -> None:
        passage = self.breaker.enter(self.now)
        if passage is Passage.REFUSED:
            assert self.in_a_row >= FAILURES
        else:
            self.under_way.append(passage)

    @rule(seconds=st.sampled_from([0.1, PAUSE_S / 2, PAUSE_S]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.under_way)
    @rule(place=st.integers(0, 100), end=st.sampled_from(["answered", "unanswered", "given up"]))
    def end(self, place: int, end: str) -> None:
        passage = self.under_way.pop(place % len(self.under_way))
        if end == "answered":
            self.breaker.answered()
            self.in_a_row = 0
            assert self.breaker.enter(self.now) is Passage.FREE
        elif end == "unanswered":
            self.breaker.unanswered(passage, self.now)
            self.in_a_row += 1
            if passage is Passage.TRIAL and self.in_a_row >= FAILURES:
                assert self.breaker.enter(self.now) is Passage.REFUSED
        else:
            self.breaker.given_up(passage)

    @invariant()
    def a_breaker_that_tries_has_one_trial_under_way(self) -> None:
        if self.breaker.trying:
            assert Passage.TRIAL in self.under_way
        if self.breaker.open_until is not None:
            assert self.in_a_row >= FAILURES


TestCalls = Calls.TestCase


def test_five_failures_open_it_and_one_trial_closes_it() -> None:
    """Five calls in a row without an answer, a pause, one trial, an answer: closed again."""
    breaker = Breaker()
    for _ in range(FAILURES):
        assert breaker.enter(0.0) is Passage.FREE
        breaker.unanswered(Passage.FREE, 0.0)
    assert breaker.enter(PAUSE_S - 0.1) is Passage.REFUSED
    assert breaker.enter(PAUSE_S) is Passage.TRIAL
    assert breaker.enter(PAUSE_S) is Passage.REFUSED
    breaker.answered()
    assert breaker.enter(PAUSE_S) is Passage.FREE

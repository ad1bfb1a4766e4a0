"""What a number of right guesses says about an attacker's advantage (Clopper–Pearson, exact)."""

from __future__ import annotations

import math
from dataclasses import dataclass

_NEGLIGIBLE = -60.0
"""Logarithm of a probability that changes no sum of a million of them."""
LEVEL = 0.999
"""Confidence of the interval, two-sided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advantage:
    """|2·accuracy − 1| as measured, and the bounds of its interval."""

    measured: float
    lower: float
    upper: float


def advantage(right: int, of: int, *, level: float = LEVEL) -> Advantage:
    """The advantage of a guesser that was ``right`` in so many of so many trials."""
    low, high = accuracy(right, of, level=level)
    return Advantage(
        measured=abs(2 * right / of - 1),
        lower=max(0.0, 2 * low - 1, 1 - 2 * high),
        upper=max(abs(2 * low - 1), abs(2 * high - 1)),
    )


def accuracy(right: int, of: int, *, level: float = LEVEL) -> tuple[float, float]:
    """The exact interval of Clopper and Pearson (1934) for the probability of a right guess."""
    tail = (1 - level) / 2
    low = 0.0 if right == 0 else _root(lambda p: at_least(right, of, p) - tail)
    high = 1.0 if right == of else _root(lambda p: tail - at_least(of - right, of, 1 - p))
    return low, high


def at_least(right: int, of: int, p: float) -> float:
    """The probability of at least ``right`` successes in ``of`` draws at ``p``."""
    if p <= 0 or p >= 1:
        return float(p >= 1 or right == 0)
    odds, total = math.log(p) - math.log1p(-p), 0.0
    term = math.lgamma(of + 1) - math.lgamma(right + 1) - math.lgamma(of - right + 1)
    term += right * math.log(p) + (of - right) * math.log1p(-p)
    for k in range(right, of + 1):
        total += math.exp(term)
        if k < of:
            step = math.log(of - k) - math.log(k + 1) + odds
            if step < 0 and term < _NEGLIGIBLE:
                break  # every term from here on is smaller
            term += step
    return min(1.0, total)


def _root(rising: object) -> float:
    """Where a rising function of a probability is zero."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if rising(middle) < 0:  # type: ignore[operator]
            low = middle
        else:
            high = middle
    return (low + high) / 2

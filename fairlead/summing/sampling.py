"""Exact samples from uniform octets, in integers only: no rounding for an attacker to see.

Floating-point Laplace noise has given values away by its low bits (Mironov 2012), so nothing here
is a float. The negative binomial with a fractional parameter r is a sum of logarithmic jumps that
arrive as a Poisson process (Quenouille 1949): jumps of size k at the rate r·pᵏ/k, with
p = exp(-1/scale). They are drawn by thinning a process that dominates it (Lewis and Shedler 1979),
with the rate r over each of the sizes 2ʲ … 2ʲ⁺¹ - 1: a jump of size k is kept with probability
2ʲ/k · exp(-k/scale). Bernoulli(exp(-x)) is algorithm 1 of Canonne, Kamath and Steinke 2020
(arXiv 2004.00010). Sizes end where all that is left out has a chance below 2⁻¹⁸⁰.

How long a draw takes depends on what is drawn.
"""

from __future__ import annotations

import hashlib
from fractions import Fraction
from math import ceil, factorial

MAX_SCALE = 2**112
_BLOCK = 136
"""Octets that SHAKE-256 gives at once."""
_TAIL = 128
"""Jumps of so many scales and more are left out: exp(-128) < 2⁻¹⁸⁰."""


class Uniform:
    """Uniform integers from an endless string of octets: SHAKE-256 of what was put into it."""

    __slots__ = ("_at", "_octets", "_shake")

    def __init__(self, shake: hashlib._Hash) -> None:  # type: ignore[name-defined, unused-ignore]
        self._shake, self._octets, self._at = shake, b"", 0

    def word(self) -> int:
        """64 bits."""
        return self._take(8)

    def below(self, bound: int) -> int:
        """From 0 to ``bound`` - 1, each as likely: what does not fit is drawn again."""
        size, unused = (bound.bit_length() + 7) // 8, -bound.bit_length() % 8
        while True:
            if (drawn := self._take(size) >> unused) < bound:
                return drawn

    def _take(self, size: int) -> int:
        end = self._at + size
        if end > len(self._octets):
            self._octets = self._shake.digest(max(2 * len(self._octets), end, _BLOCK))  # type: ignore[call-arg, unused-ignore]
        found = int.from_bytes(self._octets[self._at : end], "little")
        self._at = end
        return found


def bernoulli_exp(uniform: Uniform, numerator: int, denominator: int) -> bool:
    """True with probability exp(-numerator/denominator) (Canonne, Kamath, Steinke, algorithm 1)."""
    whole, rest = divmod(numerator, denominator)
    return all(_exp(uniform, 1, 1) for _ in range(whole)) and _exp(uniform, rest, denominator)


def _exp(uniform: Uniform, numerator: int, denominator: int) -> bool:
    """The same for at most 1."""
    count = 1
    while uniform.below(denominator * count) < numerator:
        count += 1
    return count % 2 == 1


class Poisson:
    """Poisson numbers of one mean: sums of as many parts as make each one's mean at most 1.

    A part: k heads before the first tail, kept with probability (2·mean)ᵏ / (2·k!) ≤ 1, so that k
    is as likely as meanᵏ/k! (rejection, von Neumann 1951).
    """

    __slots__ = ("_denominator", "_parts", "_twice")

    def __init__(self, mean: Fraction) -> None:
        part = mean / max(ceil(mean), 1)
        self._parts, self._twice, self._denominator = (
            ceil(mean),
            2 * part.numerator,
            part.denominator,
        )

    def draw(self, uniform: Uniform) -> int:
        """One of them."""
        return sum(self._part(uniform) for _ in range(self._parts))

    def _part(self, uniform: Uniform) -> int:
        while True:
            heads = _heads(uniform)
            whole = 2 * factorial(heads) * self._denominator**heads
            if uniform.below(whole) < self._twice**heads:
                return heads


def _heads(uniform: Uniform) -> int:
    """How often a coin shows heads before it shows a tail."""
    heads = 0
    while not (word := uniform.word()):
        heads += 64
    return heads + (word & -word).bit_length() - 1


class NegativeBinomial:
    """Numbers with r = 1/``parts`` and p = exp(-1/``scale``): so many add up to a geometric."""

    __slots__ = ("_arrivals", "_blocks", "_scale")

    def __init__(self, parts: int, scale: Fraction) -> None:
        self._blocks = ceil(_TAIL * scale).bit_length()
        self._arrivals = Poisson(Fraction(self._blocks, parts))
        self._scale = scale.numerator, scale.denominator

    def draw(self, uniform: Uniform) -> int:
        """One of them."""
        found, (numerator, denominator) = 0, self._scale
        for _ in range(self._arrivals.draw(uniform)):
            least = 1 << uniform.below(self._blocks)
            size = least + uniform.below(least)
            kept = uniform.below(size) < least
            if kept and bernoulli_exp(uniform, size * denominator, numerator):
                found += size
        return found

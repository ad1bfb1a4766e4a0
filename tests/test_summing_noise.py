"""Shares of noise: they follow from a secret, and add up to the distribution that is promised."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from fractions import Fraction
from functools import cache

import pytest

from fairlead.errors import InvalidInput
from fairlead.summing import noise_share
from fairlead.summing.noise import Noise
from fairlead.summing.sampling import NegativeBinomial, Poisson, Uniform, bernoulli_exp
from tests.summed import RELEASE, octets

LIST = octets("list")
NORMAL = 4.4
"""Standard deviations that chance exceeds once in 100,000 times; draws here are fixed anyway."""


def uniform(*parts: object) -> Uniform:
    return Uniform(hashlib.shake_256(octets(*parts)))


def chi_square(drawn: Iterable[int], expected: Callable[[int], float], values: range) -> float:
    """How far draws are from their distribution, as a normal deviate (Wilson and Hilferty 1931).

    What lies outside ``values`` is one more class.
    """
    counts = Counter(value if value in values else None for value in drawn)
    total = sum(counts.values())
    chances = {value: expected(value) for value in values}
    chances[None] = 1 - sum(chances.values())  # type: ignore[index]
    found = sum(
        (counts[value] - total * p) ** 2 / (total * p)
        for value, p in chances.items()
    )  # fmt: skip
    freedom = len(chances) - 1
    spread = 2 / (9 * freedom)
    return float(((found / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread))


def discrete_laplace(scale: float) -> Callable[[int], float]:
    p = math.exp(-1 / scale)
    return lambda k: (1 - p) / (1 + p) * p ** abs(k)


@cache
def shares_of(nodes: int, scale: Fraction, cells: int) -> list[tuple[int, ...]]:
    """Of each cell the share of each node but two, which withhold theirs."""
    noises = [Noise(octets("n", n), RELEASE, LIST, nodes) for n in range(nodes - 2)]
    return [tuple(n.share(f"c{cell}", "count", scale) for n in noises) for cell in range(cells)]


def sums_of(nodes: int, scale: Fraction, cells: int) -> list[int]:
    return [sum(shares) for shares in shares_of(nodes, scale, cells)]


def test_shares_of_three_in_five_nodes_add_up_to_discrete_laplace() -> None:
    """The sum over all but two has the distribution it should, by a chi-square test."""
    drawn = sums_of(5, Fraction(2), 2000)
    assert chi_square(drawn, discrete_laplace(2), range(-7, 8)) < NORMAL


def test_shares_of_twenty_in_22_nodes_add_up_to_discrete_laplace() -> None:
    """Also where each share is nearly always zero, with a scale that is a fraction."""
    drawn = sums_of(22, Fraction(3, 2), 500)
    assert chi_square(drawn, discrete_laplace(1.5), range(-4, 5)) < NORMAL


def test_the_test_sees_that_a_share_is_missing() -> None:
    """Without one node's share it is another distribution, and narrower: the test can fail."""
    drawn = [sum(shares[1:]) for shares in shares_of(5, Fraction(2), 2000)]
    assert chi_square(drawn, discrete_laplace(2), range(-7, 8)) > NORMAL
    assert sum(map(abs, drawn)) < sum(map(abs, sums_of(5, Fraction(2), 2000)))


def test_a_share_is_a_negative_binomial() -> None:
    """Its chances are Γ(k + r)/(Γ(r)·k!)·(1 - p)ʳ·pᵏ."""
    nodes, scale = 4, Fraction(5, 2)
    r, p = 1 / nodes, math.exp(-1 / scale)

    def chance(k: int) -> float:
        ways = math.exp(math.lgamma(k + r) - math.lgamma(r) - math.lgamma(k + 1))
        return ways * (1 - p) ** r * p**k

    source = uniform("nb")
    numbers = NegativeBinomial(nodes, scale)
    drawn = [numbers.draw(source) for _ in range(8000)]
    assert chi_square(drawn, chance, range(7)) < NORMAL


@pytest.mark.parametrize("mean", [Fraction(1, 20), Fraction(1), Fraction(7, 3)])
def test_a_poisson_number_is_one(mean: Fraction) -> None:
    """Means below, at and above one."""
    source = uniform("poisson", mean)
    numbers = Poisson(mean)
    drawn = [numbers.draw(source) for _ in range(6000)]

    def chance(k: int) -> float:
        return math.exp(-mean) * float(mean) ** k / math.factorial(k)

    assert chi_square(drawn, chance, range(2 + 2 * math.ceil(mean))) < NORMAL
    assert Poisson(Fraction(0)).draw(source) == 0


@pytest.mark.parametrize(("numerator", "denominator"), [(0, 1), (1, 3), (1, 1), (5, 2)])
def test_a_coin_of_an_exponential_is_right(numerator: int, denominator: int) -> None:
    """Exponents of nothing, below one, one and above."""
    source = uniform("exp", numerator, denominator)
    heads = sum(bernoulli_exp(source, numerator, denominator) for _ in range(8000))
    chance = math.exp(-numerator / denominator)
    assert abs(heads - 8000 * chance) <= NORMAL * math.sqrt(8000 * chance * (1 - chance))


@pytest.mark.parametrize("bound", [1, 2, 3, 100, 255, 256, 257, 2**70 + 1])
def test_integers_are_uniform_below_their_bound(bound: int) -> None:
    """No value is outside, and each tenth of the range is as likely."""
    source = uniform("below", bound)
    drawn = [source.below(bound) for _ in range(2000)]
    assert 0 <= min(drawn) <= max(drawn) < bound
    if bound >= 100:
        parts = [10 * value // bound for value in drawn]
        assert chi_square(parts, lambda _: 0.1, range(9)) < NORMAL


def test_a_large_scale_costs_no_more_and_is_as_wide_as_it_says() -> None:
    """Noise on squares of kilograms has scales of millions: the mean distance is the scale."""
    scale = 10**9
    drawn = sums_of(5, Fraction(scale), 400)
    assert abs(sum(map(abs, drawn)) / 400 / scale - 1) < NORMAL / math.sqrt(400)
    assert len({value % 1000 for value in drawn}) > 300


def share(**changes: object) -> tuple[int, ...]:
    """Twelve shares of one wide scale: two that follow from different things always differ."""
    told = {"secret": octets("s"), "release": RELEASE, "list_digest": LIST, "nodes": 5,
            "cell": "c", "word": "count", "scale": Fraction(10**6)} | changes  # fmt: skip
    source = Noise(*(told[k] for k in ("secret", "release", "list_digest", "nodes")))  # type: ignore[arg-type]
    cell, word, scale = told["cell"], told["word"], told["scale"]
    return tuple(source.share(f"{cell}{n}", word, scale) for n in range(12))  # type: ignore[arg-type]


def test_a_share_is_the_same_whenever_it_is_asked_for() -> None:
    """Asking a thousand times averages nothing away, for there is one draw."""
    assert share() == share() != (0,) * 12
    told = {"cell": "c", "word": "count", "nodes": 5, "scale": Fraction(9)}
    one = noise_share(octets("s"), RELEASE, LIST, **told)  # type: ignore[arg-type]
    again = Noise(octets("s"), RELEASE, LIST, 5).share("c", "count", Fraction(9))
    assert one == again


def test_each_thing_that_tells_figures_apart_gives_another_share() -> None:
    """Two figures under one share would show their difference, so no two have one."""
    changed = {
        "cube": "seizures", "cube_version": 2, "level": "quarter,kind", "version": 2,
    }  # fmt: skip
    drawn = [
        share(),
        *(share(release=replace(RELEASE, **{k: v})) for k, v in changed.items()),
        share(secret=octets("t")), share(list_digest=octets("m")), share(nodes=6),
        share(cell="d"), share(word="count^2"), share(scale=Fraction(10**6 + 1)),
    ]  # fmt: skip
    assert len({*drawn}) == len(drawn)


@pytest.mark.parametrize(
    "changed",
    [
        {"secret": b""}, {"list_digest": b"short"}, {"nodes": 0}, {"scale": Fraction(0)},
        {"scale": Fraction(-1)}, {"scale": Fraction(2**113)}, {"scale": Fraction(1, 2**113)},
    ],
)  # fmt: skip
def test_noise_of_nothing_is_refused(changed: dict[str, object]) -> None:
    """No secret, no list, no node or no scale: no share, rather than none that hides."""
    with pytest.raises(InvalidInput):
        share(**changed)

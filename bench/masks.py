"""Masking alone: what it costs a federation's nodes to hide their vectors and to add them up."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from hashlib import sha256
from statistics import median
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fairlead.summing import Binding, Release, Round, list_digest, mask, pair_seed, sum_of
from fairlead.summing.noise import Noise

T = TypeVar("T")
LIMITS = {"mask_ms_20x1000": 100.0, "octets_a_node": 20_000}
RELEASE = Release(
    cube="reports-received", cube_version=1, level="quarter,region", period="2026-Q1", version=1
)
SCALE = Fraction(3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much; the figures' names are of the full one."""

    nodes: int
    cells: int
    rounds: int


FULL = Scale(nodes=20, cells=1000, rounds=9)
QUICK = Scale(nodes=5, cells=50, rounds=1)


@dataclass(slots=True)
class Taken:
    """Milliseconds of each round."""

    seeds: list[float] = field(default_factory=list)
    noise: list[float] = field(default_factory=list)
    mask: list[float] = field(default_factory=list)
    sum: list[float] = field(default_factory=list)


def measure(scale: Scale, say: Callable[[str], None]) -> dict[str, Any]:
    """All figures, medians over the rounds; a wrong sum ends it."""
    ids = [f"p{number:03}" for number in range(scale.nodes)]
    figures = {name: [place % 7 for place in range(scale.cells)] for name in ids}
    truth = tuple(map(sum, zip(*figures.values(), strict=True)))
    taken, octets = Taken(), 0
    for number in range(1, scale.rounds + 1):
        seeds = _timed(taken.seeds, lambda: _seeds(ids))
        digest = list_digest(ids)
        noise = Noise(sha256(b"bench").digest(), RELEASE, digest, scale.nodes)
        _timed(taken.noise, lambda noise=noise: _shares(noise, scale.cells))
        binding = Binding(
            release=RELEASE,
            round=Round.VALUES,
            list_digest=digest,
            earlier=sha256(bytes([number])).digest(),
        )
        vectors = _timed(
            taken.mask,
            lambda seeds=seeds, binding=binding: {
                own: mask(figures[own], own, seeds[own].keys(), seeds[own], binding) for own in ids
            },
        )
        assert _timed(taken.sum, lambda v=vectors: sum_of(v, scale.cells, ids)) == truth
        octets = max(map(len, vectors.values()))
        say(f"round {number} of {scale.rounds}: {taken.mask[-1]:.1f} ms to mask")
    return {
        "mask_ms_20x1000": round(median(taken.mask), 1),
        "octets_a_node": octets,
        "sum_ms_20x1000": round(median(taken.sum), 2),
        "noise_ms_a_node": round(median(taken.noise), 1),
        "pair_seeds_ms_a_node": round(median(taken.seeds) / scale.nodes, 2),
    }


def _timed(into: list[float], what: Callable[[], T]) -> T:
    began = time.perf_counter()
    found = what()
    into.append(1000 * (time.perf_counter() - began))
    return found


def _seeds(ids: list[str]) -> dict[str, dict[str, bytes]]:
    """What each node derives once a quarter, each of both ends for itself."""
    keys = {n: X25519PrivateKey.from_private_bytes(sha256(n.encode()).digest()) for n in ids}
    public = {name: key.public_key().public_bytes_raw() for name, key in keys.items()}
    return {
        own: {
            other: pair_seed(
                keys[own],
                public[other],
                quarter="2026-Q4",
                federation="bench",
                ids=(own, other),
                nodes=(own, other),
            )
            for other in ids
            if other != own
        }
        for own in ids
    }


def _shares(noise: Noise, cells: int) -> None:
    for place in range(cells):
        noise.share(f"2026-Q1/c{place}", "count", SCALE)

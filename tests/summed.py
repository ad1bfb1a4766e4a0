"""Nodes that sum, in one process: keys, a store in memory, and the three rounds as one call."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fairlead import signing
from fairlead.errors import NotFound
from fairlead.summing import (
    Combined,
    Figures,
    ListKeeper,
    Measure,
    Release,
    Round,
    Rounds,
    Served,
    Statement,
    Terms,
    contributors,
    pair_seed,
    totals,
)
from fairlead.summing.figures import groups_of
from fairlead.summing.statement import vectors_of

QUARTER = "2026-Q4"
CUT_OFF = 1_790_000_000
COUNT = Measure(measure_id="count", bound=1000, scale=Fraction(1, 1000))
"""Noise of such a scale is zero but for one draw in e¹⁰⁰⁰: sums can be compared exactly."""
RELEASE = Release(
    cube="reports-received", cube_version=1, level="quarter,region", period="2026-Q1", version=1
)


def names(count: int) -> tuple[str, ...]:
    """Partner ids, in order."""
    return tuple(f"p{number:02}" for number in range(count))


def octets(*parts: object) -> bytes:
    """Thirty-two octets that follow from their name."""
    return hashlib.sha256(repr(parts).encode()).digest()


class MemoryStore:
    """A whole :class:`fairlead.summing.Store`, without a disk."""

    def __init__(self) -> None:
        self.lists: list[Served] = []
        self.octets: dict[bytes, bytes] = {}

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        before = list(self.lists), dict(self.octets)
        try:
            yield
        except BaseException:
            self.lists, self.octets = before
            raise

    def served(self, cube: str) -> Sequence[Served]:
        return [s for s in self.lists if s.release.cube == cube]

    def serve(self, served: Served) -> None:
        self.lists.append(served)

    def kept(self, key: bytes) -> bytes | None:
        return self.octets.get(key)

    def keep(self, key: bytes, octets: bytes) -> None:
        assert key not in self.octets, "nothing is ever replaced"
        self.octets[key] = octets


def count_figures(counts: Sequence[int]) -> Figures:
    """Figures of the measure :data:`COUNT`; a node contributes where it has any."""
    return Figures(
        contributes=tuple((count > 0,) for count in counts),
        values=tuple((count,) for count in counts),
    )


def figures_of(measures: Sequence[Measure], rows: Sequence[Sequence[int]]) -> Figures:
    """A node contributes to what it has more than nought of."""
    groups = groups_of(measures)
    return Figures(
        contributes=tuple(
            tuple(any(row[at] for at in group.places) for group in groups) for row in rows
        ),
        values=tuple(map(tuple, rows)),
    )


@dataclass
class Nodes:
    """So many partners, each with its keys, its secret and its store."""

    count: int
    stores: dict[str, MemoryStore] = field(default_factory=dict)
    rounds: dict[str, Rounds] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ids = names(self.count)
        signers = {n: Ed25519PrivateKey.from_private_bytes(octets("sign", n)) for n in self.ids}
        self.public = {n: signing.public_bytes(key) for n, key in signers.items()}
        self.signers = signers
        self.pairs: dict[tuple[str, ...], bytes] = {}
        for own in self.ids:
            self.stores[own] = MemoryStore()
            self.rounds[own] = Rounds(
                own=own,
                signing_key=signers[own],
                keys=self.key,
                seeds=self.seeds(own),
                secret=octets("noise", own),
                keeper=ListKeeper(self.stores[own]),
            )

    def key(self, name: str) -> bytes:
        """A partner's signing key."""
        try:
            return self.public[name]
        except KeyError:
            raise NotFound("no such partner", reasons=("UNKNOWN_PARTNER",)) from None

    def seeds(self, own: str, node: str = "a") -> Callable[[str, str], bytes]:
        """A partner's seeds, where it takes part by one of its nodes, and the others by ``a``."""
        private = _mask_key(own)

        def seed(other: str, quarter: str) -> bytes:
            pair = (*sorted((own, other)), quarter, node)
            if pair not in self.pairs:
                self.pairs[pair] = pair_seed(
                    private, _mask_key(other).public_key().public_bytes_raw(), quarter=quarter,
                    federation="test", ids=(own, other), nodes=(f"{own}/{node}", f"{other}/a"),
                )  # fmt: skip
            return self.pairs[pair]

        return seed

    def terms(self, width: int = 4, **changes: Any) -> Terms:
        """Terms of all nodes, read by somebody who takes no part, but for what is changed."""
        release = changes.get("release", RELEASE)
        usual: dict[str, Any] = {
            "release": release,
            "participants": self.ids,
            "readers": ("reader",),
            "quarter": QUARTER,
            "cut_off": max(CUT_OFF, release.ends),
            "measures": (COUNT,),
            "cells": tuple(f"{release.period}/c{place}" for place in range(width)),
        }
        return Terms(**(usual | changes))

    def ready(self, terms: Terms) -> dict[str, Statement]:
        """Round 0 of everybody."""
        return {name: self.rounds[name].ready(terms) for name in terms.participants}

    def indicators(
        self, terms: Terms, figures: Mapping[str, Figures], names: Sequence[str] = ()
    ) -> dict[str, Statement]:
        """Rounds 0 and 1 of everybody, or of some."""
        ready = self.ready(terms)
        return {
            name: self.rounds[name].indicators(terms, ready, lambda name=name: figures[name])
            for name in names or terms.participants
        }

    def values(self, terms: Terms, said: Mapping[str, Statement]) -> dict[str, Statement]:
        """Round 2 of everybody."""
        return {name: self.rounds[name].values(terms, said) for name in terms.participants}

    def combined(
        self, terms: Terms, said: Mapping[str, Statement], values: Mapping[str, Statement]
    ) -> Combined:
        """What a gateway makes of it."""
        binding = terms.binding(Round.INDICATORS)
        seen = vectors_of(said, terms.participants, binding, self.key)
        counted = contributors(seen, terms)
        bound = terms.values_binding(seen)
        return totals(vectors_of(values, terms.participants, bound, self.key), counted, terms)

    def run(self, terms: Terms, figures: Mapping[str, Figures]) -> Combined:
        """All three rounds."""
        said = self.indicators(terms, figures)
        return self.combined(terms, said, self.values(terms, said))


def _mask_key(name: str) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(octets("mask", name))

"""The blinded elements of a chunk for one owner: whoever has terms, seed and places makes them
again, octet for octet (PROTOCOL §3). So does the audit committee."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fairlead import blinding, ristretto
from fairlead.blinding import Blinded
from fairlead.envelope.blinded import BlindedTerms
from fairlead.identifiers import NORM_VERSION
from fairlead.identifiers.matching import asked_keys, keys_per_term

Terms = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the terms of one scheme are looked up at one owner: class (32 octets) and epoch."""

    scheme: str
    audience: bytes
    epoch: int


def element_count(terms: Terms) -> int:
    """Elements that each owner is sent."""
    return sum(keys_per_term(scheme) for scheme, _ in terms)


def blind_for(
    owner: str, *, seed: bytes, chunk: int, terms: Terms, places: Sequence[Place]
) -> list[tuple[BlindedTerms, Blinded]]:
    """The elements of each scheme for one owner, and what unblinds their evaluations.

    About 75 µs an element, so for a thread of its own.
    """
    blinds = blinding.derive_blinds(seed, owner=owner, chunk=chunk, count=element_count(terms))
    made, at = [], 0
    for place in places:
        values = [
            key.value
            for scheme, value in terms
            if scheme == place.scheme
            for key in asked_keys(scheme, value)
        ]
        size = len(values) * ristretto.SIZE
        inputs = blinding.encode_terms(NORM_VERSION, place.scheme, values)
        blinded = blinding.blind(inputs, blinds[at : at + size])
        at += size
        asked = BlindedTerms(
            scheme=place.scheme,
            audience=place.audience,
            epoch=place.epoch,
            elements=blinded.elements,
        )
        made.append((asked, blinded))
    return made

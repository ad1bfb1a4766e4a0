"""Figures that the Alliance asked for and nobody can collect yet: said, and never left out.

Each is dropped from here by itself once the registry has a cube that counts it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fairlead.cubes.cube import Cube

STATE = "not yet collected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """``cube`` is what the registry will call the one that counts it."""

    cube: str
    title: str
    why: str


_DISCLOSURES = "Disclosure requests with deadlines are not part of the exchange yet."

PENDING = (
    Pending(
        cube="disclosures",
        title="Urgent disclosure requests answered within 8 hours",
        why=_DISCLOSURES,
    ),
    Pending(
        cube="disclosures", title="Disclosure requests answered within 3 days", why=_DISCLOSURES
    ),
    Pending(
        cube="disclosures", title="Disclosure requests answered within 7 days", why=_DISCLOSURES
    ),
    Pending(
        cube="disclosures",
        title="Disclosure requests refused, by reason",
        why=_DISCLOSURES,
    ),
)


def pending(cubes: Iterable[Cube]) -> tuple[Pending, ...]:
    """What is not collected under these cubes."""
    counted = {cube.id for cube in cubes}
    return tuple(each for each in PENDING if each.cube not in counted)

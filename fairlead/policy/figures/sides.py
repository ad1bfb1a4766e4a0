"""The sides of an agreement on figures: what a question must fit, as the kernel asks.

The kernel (``policies/statistics``) decides; this says of compiled agreements *why*, for tools
that compare and explain. A test holds the two together over random agreements and questions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fairlead.policy.sides import (
    Party,
    Policy,
    Row,
    day,
    fits_roles,
    in_force,
    listed,
    names,
    side_words,
    validity_words,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureQuestion:
    """What agreements can tell of one question for figures."""

    asker: Party
    country: str
    cube: str
    purpose: str
    roles: tuple[str, ...]
    at: int


@dataclass(frozen=True, slots=True)
class FigureSide:
    """One side: its name, whether a row covers a question there, and the two in words."""

    name: str
    covers: Callable[[Row, FigureQuestion], bool]
    asked: Callable[[FigureQuestion], str]
    agreed: Callable[[Row], str]


SIDES: tuple[FigureSide, ...] = (
    FigureSide("from", lambda r, q: names(r["from"], q.asker),
               lambda q: str(q.asker), lambda r: side_words(r["from"])),
    FigureSide("valid", lambda r, q: in_force(r, q.at),
               lambda q: day(q.at), validity_words),
    FigureSide("cubes", lambda r, q: q.cube in r["cubes"],
               lambda q: q.cube, lambda r: listed(r["cubes"])),
    FigureSide("purposes", lambda r, q: q.purpose in r["purposes"],
               lambda q: q.purpose, lambda r: listed(r["purposes"])),
    FigureSide("roles", lambda r, q: fits_roles(r, q.roles),
               lambda q: listed(q.roles), lambda r: listed(r["roles"])),
    FigureSide("countries", lambda r, q: q.country in r["countries"],
               lambda q: q.country, lambda r: listed(r["countries"])),
)  # fmt: skip
"""In the order in which a refusal names the first that none covers."""


def failed(row: Row, question: FigureQuestion) -> list[FigureSide]:
    """The sides on which the agreement does not cover the question, in order."""
    return [side for side in SIDES if not side.covers(row, question)]


def figures_of(policy: Policy) -> Policy:
    """The agreements on figures of a compiled policy, by id; none where it has no such part."""
    found: Policy = policy.get("statistics", {})
    return found

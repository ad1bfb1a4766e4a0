"""What a policy changes of who may ask for which figures: in plain words, widening or narrowing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fairlead.policy.figures.cells import FigureCell, cells
from fairlead.policy.sides import Policy, day, listed
from fairlead.policy.widened import parties, within

DIMENSIONS = ("askers", "countries", "cubes", "purposes", "roles", "at")
"""What may differ between questions that the same can be said of."""
MAY, MAY_NOT = "may ask for figures of", "may no longer ask for figures of"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedFigures:
    """Questions for figures that a policy permits and another does not. ``grown`` is how, in words;
    ``agreements`` are the ones that permit them; ``at`` is from when on, Unix seconds."""

    grown: tuple[str, ...]
    askers: frozenset[str]
    countries: frozenset[str]
    cubes: frozenset[str]
    purposes: frozenset[str]
    roles: frozenset[str]
    at: frozenset[int]
    agreements: tuple[str, ...]

    def sentence(self, policy: Policy | None = None) -> str:
        """Who may, or may no longer, ask for what.

        :param policy: its registry, to say "the EU" and "every cube" instead of long lists.
        """
        words = policy or {"jurisdictions": {}, "cubes": {}}
        known = words.get("cubes", {})
        every = len(known) > 1 and known.keys() <= self.cubes
        return (
            f"{parties(self.askers)}{within(self.countries, words)}: {'; '.join(self.grown)} "
            f"{'every cube' if every else listed(self.cubes)} for {listed(self.purposes)} "
            f"(as {listed(self.roles)}; from {day(min(self.at))}; under {listed(self.agreements)})"
        )

    def record(self) -> dict[str, Any]:
        """The same for a program."""
        return {
            "what": list(self.grown),
            "askers": sorted(self.askers),
            "asker_countries": sorted(self.countries),
            "cubes": sorted(self.cubes),
            "purposes": sorted(self.purposes),
            "roles": sorted(self.roles),
            "from": day(min(self.at)),
            "agreements": list(self.agreements),
        }


def gained(before: Policy, after: Policy) -> Iterator[ChangedFigures]:
    """Every class of questions that ``after`` permits and ``before`` does not.

    :raises InvalidInput: POLICY_TOO_VARIED.
    """
    for cell in cells((before, after)):
        old, new = cell.covering
        if new and not old:
            yield _told(cell, MAY, new)


def lost(before: Policy, after: Policy) -> Iterator[ChangedFigures]:
    """Every class of questions that ``before`` permits and ``after`` does not.

    :raises InvalidInput: POLICY_TOO_VARIED.
    """
    for cell in cells((before, after)):
        old, new = cell.covering
        if old and not new:
            yield _told(cell, MAY_NOT, old)


def _told(cell: FigureCell, how: str, agreements: tuple[str, ...]) -> ChangedFigures:
    values = cell.values
    return ChangedFigures(
        grown=(how,),
        askers=frozenset(map(str, values["asker"])),
        countries=frozenset(values["country"]),
        cubes=frozenset(values["cube"]),
        purposes=frozenset(values["purpose"]),
        roles=frozenset(values["role"]),
        at=frozenset(values["at"]),
        agreements=agreements,
    )

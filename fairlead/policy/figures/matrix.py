"""Who may ask for which figures: every ordinary question, asked of the engine.

Only what agreements treat alike is asked once; whether it is permitted is the engine's word.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fairlead.policy.asked import PLAIN, Filters
from fairlead.policy.figures.cells import cells
from fairlead.policy.inputs import PartyFacts, UserFacts
from fairlead.policy.points import PolicyPoints
from fairlead.policy.sides import Party, Policy, listed
from fairlead.policy.widened import merged, parties

LEVEL = "quarter"
"""A level that every cube has: no rule looks at it."""
DIMENSIONS = ("askers", "countries", "cubes", "purposes", "roles")
FIGURE_COLUMNS = (*DIMENSIONS, "agreements")


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureRow:
    """Who may ask for what."""

    askers: frozenset[str]
    countries: frozenset[str]
    cubes: frozenset[str]
    purposes: frozenset[str]
    roles: frozenset[str]
    agreements: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """The same for a program."""
        return {name: sorted(getattr(self, name)) for name in self.__slots__}

    def words(self, policy: Policy) -> dict[str, str]:
        """The row as cells that a person reads."""
        europe = {name for name, place in policy["jurisdictions"].items() if place["eu"]}
        whole = europe <= self.countries
        places = sorted(self.countries - europe) if whole else sorted(self.countries)
        every = len(policy["cubes"]) > 1 and policy["cubes"].keys() <= self.cubes
        return {
            "askers": parties(self.askers),
            "countries": ", ".join(["EU", *places] if whole else places),
            "cubes": "every cube" if every else listed(self.cubes),
            "purposes": listed(self.purposes),
            "roles": listed(self.roles),
            "agreements": listed(self.agreements),
        }


def figure_matrix(
    points: PolicyPoints, policy: Policy, *, now: int, filters: Filters | None = None
) -> list[FigureRow]:
    """Every permitted kind of question for figures on one day, similar ones together.

    :param filters: of which askers, purposes and countries count.
    """
    return merged(_rows(points, policy, now, filters or Filters()), DIMENSIONS)


def _rows(points: PolicyPoints, policy: Policy, now: int, filters: Filters) -> Iterator[FigureRow]:
    for values in _classes(policy, filters):
        decision = points.statistics(
            now=now,
            cube=values["cube"][0],
            level=LEVEL,
            purpose=values["purpose"][0],
            asker=_party(policy, values["asker"][0], values["country"][0]),
            user=UserFacts(pseudonym="u-1", roles=(values["role"][0],)),
        )
        if decision.permit:
            yield FigureRow(
                askers=frozenset(map(str, values["asker"])),
                countries=frozenset(values["country"]),
                cubes=frozenset(values["cube"]),
                purposes=frozenset(values["purpose"]),
                roles=frozenset(values["role"]),
                agreements=decision.rules,
            )


def _classes(policy: Policy, filters: Filters) -> Iterator[Mapping[str, tuple[Any, ...]]]:
    """What agreements treat alike, once whatever the day; of it what is asked about."""
    seen = set()
    for cell in cells([policy]):
        values = {name: words for name, words in cell.values.items() if name != "at"}
        values["asker"] = tuple(p for p in values["asker"] if _wanted(p, filters.askers))
        values["country"] = _chosen(values["country"], filters.countries)
        values["purpose"] = _chosen(values["purpose"], filters.purposes)
        key = tuple(values.items())
        if key not in seen and all(values.values()):
            seen.add(key)
            yield values


def _wanted(party: Party, names: Collection[str]) -> bool:
    return not names or (party.partner or party.kind) in names


def _chosen(words: Iterable[str], wanted: Collection[str]) -> tuple[str, ...]:
    return tuple(word for word in words if not wanted or word in wanted)


def _party(policy: Policy, party: Party, country: str) -> PartyFacts:
    return PartyFacts(
        partner_id=party.partner or f"{PLAIN}{party.kind}",
        kind=party.kind,
        sector=policy["kinds"][party.kind],
        country=country,
        schemes=(),
    )

"""The ordinary questions of a whole federation: one of each kind, for a matrix of who may ask whom.

What every agreement treats alike is asked once: kinds of identifiers, countries, instruments.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fairlead.policy.cells import may_rely
from fairlead.policy.inputs import InstrumentFacts, PartyFacts, QueryFacts
from fairlead.policy.sides import Policy, lawful

MODES = ("blind", "sealed")
PLAIN = "any "
"""Before the kind, in the id of a partner that stands for any of its kind: no partner's id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What to ask about only; an empty one means everything."""

    askers: Collection[str] = ()
    owners: Collection[str] = ()
    purposes: Collection[str] = ()
    schemes: Collection[str] = ()
    modes: Collection[str] = ()
    countries: Collection[str] = ()


class Asked:
    """The questions of one policy. ``alike`` has, for each kind of identifier that is asked
    about, the kinds that every agreement treats like it."""

    def __init__(self, policy: Policy, filters: Filters) -> None:
        self._policy = policy
        self._rows = list(policy["agreements"].values())
        self._filters = filters
        schemes = _chosen(policy["schemes"], filters.schemes)
        groups = _alike(schemes, lambda s: [s in row["schemes"] for row in self._rows])
        self.alike = {group[0]: group for group in groups}
        places = _chosen(policy["jurisdictions"], filters.countries)
        self._places = {group[0]: group for group in _alike(places, self._treated)}

    def askers(self) -> Iterator[PartyFacts]:
        """One of each kind that may ask, in each class of countries, and each partner named."""
        return self._parties("from", self._filters.askers)

    def owners(self) -> Mapping[str, PartyFacts]:
        """The same of those who may be asked, each under an id of its own."""
        found: dict[str, PartyFacts] = {}
        for party in self._parties("to", self._filters.owners):
            name = party.partner_id
            found[name if name not in found else f"{name} {party.kind} {party.country}"] = party
        return {name: replace(party, partner_id=name) for name, party in found.items()}

    def queries(self, kind: str, now: int) -> Iterator[QueryFacts]:
        """One term of each kind of identifier for each purpose that this kind may ask for."""
        for purpose in _chosen(self._policy["purposes"], self._filters.purposes):
            for basis in self._policy["purposes"][purpose]["legal_bases"]:
                if may_rely(self._policy, kind, purpose, basis):
                    for scheme in self.alike:
                        for instrument in self._instruments(now):
                            yield from self._queries(purpose, basis, scheme, instrument)

    def place(self, country: str) -> str:
        """A class of countries in a word: the EU, or each of them."""
        europe = {name for name, row in self._policy["jurisdictions"].items() if row["eu"]}
        group = set(self._places[country])
        if europe <= group:
            return " ".join(["EU", *sorted(group - europe)])
        return " ".join(sorted(group))

    def _queries(
        self, purpose: str, basis: str, scheme: str, instrument: InstrumentFacts | None
    ) -> Iterator[QueryFacts]:
        for mode in _chosen(MODES, self._filters.modes):
            yield QueryFacts(
                mode="blind" if mode == "blind" else "sealed",
                purpose=purpose,
                legal_basis=basis,
                instrument=instrument,
                schemes=(scheme,),
                term_count=1,
                window_days=None,
                events=None,
            )

    def _instruments(self, now: int) -> Iterator[InstrumentFacts | None]:
        yield None
        wanted = [row["instrument"] for row in self._rows if row["instrument"] is not None]
        pairs = {(k, a) for one in wanted for k in one["kinds"] for a in one["authorities"]}
        for kind, authority in sorted(pairs):
            yield InstrumentFacts(kind=kind, authority=authority, valid_until=now + 1)

    def _parties(self, side: str, wanted: Collection[str]) -> Iterator[PartyFacts]:
        kinds = self._policy["kinds"].items()
        named = {p for row in self._rows for p in (*row[side]["partners"], *row["opted_out"])}
        for name in ("", *sorted(named)):
            for kind, sector in kinds:
                if not wanted or (name or kind) in wanted:
                    for country in self._places:
                        yield PartyFacts(
                            partner_id=name or f"{PLAIN}{side} {kind} {country}",
                            kind=kind,
                            sector=sector,
                            country=country,
                            schemes=tuple(self.alike),
                        )

    def _treated(self, country: str) -> list[Any]:
        return [
            (side, country in row[side], lawful(self._policy, row, country))
            for row in self._rows
            for side in ("asker_countries", "owner_countries")
        ]


def shown(party: PartyFacts) -> str:
    """Whom a question stands for: any of a kind, or one partner."""
    name = party.partner_id
    return party.kind if name.startswith(PLAIN) else f"{name.split()[0]} ({party.kind})"


def _alike(words: Iterable[str], treated: Any) -> list[tuple[str, ...]]:
    """Words by how agreements treat them; those that none covers are left out."""
    found: dict[tuple[Any, ...], list[str]] = {}
    for word in words:
        found.setdefault(tuple(treated(word)), []).append(word)
    return [tuple(group) for how, group in found.items() if any(_covered(how))]


def _covered(how: tuple[Any, ...]) -> Iterator[bool]:
    for item in how:
        yield item[1] and item[2] if isinstance(item, tuple) else item


def _chosen(known: Iterable[str], wanted: Collection[str]) -> list[str]:
    return [word for word in known if not wanted or word in wanted]

"""One thing that a policy lets somebody learn, or do with less, than another: in plain words."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from fairlead.partners import PartnerKind, Sector
from fairlead.policy.sides import Instrument, Policy, day, days_words, instrument_words, listed
from fairlead.policy.terms import facet_words

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MANY = 8
"""More kinds of identifiers than this are said by what is missing."""

DIMENSIONS = (
    "askers", "owners", "asker_countries", "owner_countries", "grounds", "instruments", "modes",
    "schemes", "roles", "sizes", "windows", "at",
)  # fmt: skip
"""What may differ between questions that the same can be said of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Widening:
    """Questions of which a policy says more than before.

    ``grown`` is how, in words. ``sizes`` and ``windows`` are the largest of each class;
    ``before`` and ``after`` are the facets shown, None a refusal; ``record_countries``
    where records may come from. ``agreements`` are the ones the new permission rests on. A
    widening without askers is one of the registry, or of something no tool here understands.
    """

    grown: tuple[str, ...]
    askers: frozenset[str] = frozenset()
    owners: frozenset[str] = frozenset()
    asker_countries: frozenset[str] = frozenset()
    owner_countries: frozenset[str] = frozenset()
    instruments: frozenset[Instrument | None] = frozenset()
    grounds: frozenset[tuple[str, str]] = frozenset()
    modes: frozenset[str] = frozenset()
    schemes: frozenset[tuple[str, ...]] = frozenset()
    roles: frozenset[tuple[str, ...]] = frozenset()
    sizes: frozenset[int] = frozenset()
    windows: frozenset[int | None] = frozenset()
    at: frozenset[int] = frozenset()
    before: frozenset[str] | None = None
    after: frozenset[str] | None = None
    record_countries: frozenset[str] = frozenset()
    agreements: tuple[str, ...] = ()

    def sentence(self, policy: Policy | None = None) -> str:
        """Who may learn what from whom, for what, within which limits.

        :param policy: its registry, to say "the EU" and "all but" instead of long lists.
        """
        what = "; ".join(self.grown)
        if not self.askers:
            return what
        limits = [
            *self._gives(),
            f"up to {max(self.sizes):,} terms",
            _longest(self.windows),
            *self._instruments(),
            f"from {day(min(self.at))}",
            f"under {listed(self.agreements)}",
        ]
        return f"{self.subject(policy)}: {what} ({'; '.join(limits)})"

    def subject(self, policy: Policy | None = None) -> str:
        """Whose questions to whom about what, without what is said of them."""
        words = policy or {"schemes": (), "jurisdictions": {}}
        return (
            f"{parties(self.askers)}{within(self.asker_countries, words)} asking "
            f"{parties(self.owners)}{within(self.owner_countries, words)} about "
            f"{scheme_words(self.schemes, words['schemes'])} for {ground_words(self.grounds)}, "
            f"{' or '.join(sorted(self.modes))}"
        )

    def record(self) -> dict[str, Any]:
        """The same for a program."""
        return {
            "what": list(self.grown),
            "askers": sorted(self.askers),
            "owners": sorted(self.owners),
            "asker_countries": sorted(self.asker_countries),
            "owner_countries": sorted(self.owner_countries),
            "instruments": sorted(map(instrument_words, self.instruments)),
            "grounds": [{"purpose": p, "legal_basis": b} for p, b in sorted(self.grounds)],
            "modes": sorted(self.modes),
            "schemes": sorted("+".join(s) for s in self.schemes),
            "max_terms": max(self.sizes, default=None),
            "max_window_days": _most(self.windows),
            "from": day(min(self.at)) if self.at else None,
            "facets_before": sorted(self.before or ()),
            "record_countries": sorted(self.record_countries),
            "facets_after": sorted(self.after or ()),
            "agreements": list(self.agreements),
        }

    def _gives(self) -> list[str]:
        new = self.before is None and self.after is not None
        return [facet_words(self.after)] if new and self.after is not None else []

    def _instruments(self) -> list[str]:
        if None in self.instruments:
            return []
        return [f"with {' or '.join(sorted(map(instrument_words, self.instruments)))}"]


Told = TypeVar("Told", bound="DataclassInstance")


def merged(found: Iterable[Told], dimensions: Sequence[str] = DIMENSIONS) -> list[Told]:
    """The same statements in fewer: those that differ in one dimension only become one."""
    rows = list(dict.fromkeys(found))
    while True:
        count = len(rows)
        for name in dimensions:
            groups: dict[Told, list[Told]] = {}
            for row in rows:
                groups.setdefault(_with(row, {name: frozenset()}), []).append(row)
            rows = [_with(key, {name: _union(name, group)}) for key, group in groups.items()]
        if len(rows) == count:
            return rows


def united(found: Sequence[Widening]) -> Widening:
    """One statement over all that some of the same kind concern, however they differ."""
    return _with(found[0], {name: _union(name, found) for name in DIMENSIONS})


def _with(row: Told, changes: Mapping[str, Any]) -> Told:
    return replace(row, **changes)


def _union(name: str, rows: Iterable[Told]) -> frozenset[Any]:
    return frozenset[Any]().union(*(getattr(row, name) for row in rows))


def scheme_words(schemes: Collection[tuple[str, ...]], every: Collection[str] = ()) -> str:
    """Kinds of identifiers; those asked together are joined."""
    left = set(every) - {scheme[0] for scheme in schemes if len(scheme) == 1}
    if len(schemes) > MANY and every and len(left) < MANY:
        return "every kind of identifier" + (f" except {listed(left)}" if left else "")
    return listed(" together with ".join(scheme) for scheme in schemes)


def parties(found: Collection[str]) -> str:
    """Kinds of partners, and partners; a whole sector by its name."""
    rest = set(found)
    sectors = []
    for name in {party.partition(" (")[0] for party in found if "(" in party}:
        kinds = {f"{name} ({kind.value})" for kind in PartnerKind}
        if len(kinds & rest) > 1:  # whatever it is: agreements name it, not its kind
            rest = (rest - kinds) | {name}
    for sector in Sector:
        kinds = {kind.value for kind in PartnerKind if kind.sector is sector}
        if kinds <= rest:
            rest -= kinds
            sectors.append(f"every {sector.value} partner")
    return " and ".join([*sectors, *([listed(rest)] if rest else [])])


def within(countries: Collection[str], policy: Policy) -> str:
    """Where, unless it is the whole EU and nowhere else."""
    europe = {name for name, row in policy["jurisdictions"].items() if row["eu"]}
    rest = set(countries) - europe if europe <= set(countries) else set(countries)
    if not rest or not europe:
        return ""
    return f" in {'the EU, ' if rest != set(countries) else ''}{listed(rest)}"


def ground_words(grounds: Iterable[tuple[str, str]]) -> str:
    """Purposes, each with the laws it rests on."""
    purposes: dict[str, list[str]] = {}
    for purpose, basis in sorted(grounds):
        purposes.setdefault(purpose, []).append(basis)
    return ", ".join(f"{purpose} ({' or '.join(bases)})" for purpose, bases in purposes.items())


def _most(windows: Collection[int | None]) -> int | None:
    """The longest period; None is an unbounded one."""
    if None in windows:
        return None
    return max((days for days in windows if days is not None), default=0)


def _longest(windows: Collection[int | None]) -> str:
    days = _most(windows)
    return days_words(None) if days is None else f"periods up to {days_words(days)}"

"""All questions there are, in classes that policies do not tell apart.

An agreement covers a box: askers × owners × purposes × … Along each dimension only the values
named by some agreement differ, so the questions fall into finitely many cells, and what holds of
one question of a cell holds of all. A cell says, for each policy, which agreements cover it. A
question with several schemes is covered by an agreement that has all of them, so classes of
schemes are closed under joining; roles, of which one suffices, under choosing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairlead.errors import InvalidInput
from fairlead.policy.sides import (
    Party,
    Policy,
    Row,
    demanded,
    fits_roles,
    fits_window,
    in_force,
    lawful,
)

MAX_CELLS = 2_000_000
MAX_CLASSES = 4096
"""Classes of one dimension, which are all made before the first cell is counted."""
"""More are not looked at: no federation's agreements come near, and a comparison must end."""

Masks = tuple[int, ...]
"""For each policy, the agreements concerned, one bit each."""
Covers = Callable[[Policy, Row, Any], bool]
"""Whether an agreement of a policy covers a value."""

HIDDEN = ("window_days", "roles")
"""Dimensions that the gateway does not see: every agreement counts there, whatever it says. The
owner sees the period, and only the asker's node the roles."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Values of one dimension that no policy tells apart.

    ``tag`` is what else of the registry depends on them: equal within a class.
    """

    values: tuple[Any, ...]
    masks: Masks
    tag: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class Cell:
    """One class of questions.

    ``values`` are by dimension. ``granted`` are the agreements that the gateway counts, which
    sees neither period nor roles; ``answering`` those of them that the owner counts, which sees
    the period; ``covering`` the ones that cover all of the question. What all of ``granted``
    permit is disclosed, and only if some are ``covering``.
    """

    asker: Party
    owner: Party
    values: Mapping[str, tuple[Any, ...]]
    granted: tuple[tuple[str, ...], ...]
    answering: tuple[tuple[str, ...], ...]
    covering: tuple[tuple[str, ...], ...]


class Plane:
    """Policies side by side."""

    def __init__(self, policies: Sequence[Policy]) -> None:
        self.policies = tuple(policies)
        self._ids = [tuple(sorted(policy["agreements"])) for policy in policies]
        self._rows = [
            [policy["agreements"][i] for i in ids]
            for policy, ids in zip(policies, self._ids, strict=True)
        ]
        self._seen = 0
        self._by_kind: dict[str, list[Choice]] = {}
        self._narrowed: dict[tuple[str, Masks], dict[str, list[Choice]]] = {}

    def cells(self, concerned: Iterable[str] | None = None) -> Iterator[Cell]:
        """Every cell that some agreement covers in some policy.

        :param concerned: ids; cells that none of these covers are left out. None: no such wish.
        :raises InvalidInput: POLICY_TOO_VARIED.
        """
        every: Masks = tuple((1 << len(ids)) - 1 for ids in self._ids)
        wanted = every if concerned is None else self._mask_of(set(concerned))
        fixed, owners = self._fixed(), self._parties("to")
        for asker in self._parties("from"):
            if not any(_both(asker.masks, wanted)):
                continue
            (a,) = asker.values
            dimensions = {"ground": self._grounds(a.kind), **fixed}
            for owner in owners:
                (o,) = owner.values
                start = _both(asker.masks, owner.masks)
                same = bool(a.partner) and a.partner == o.partner
                if not same and any(_both(start, wanted)):
                    yield from self._inside(a, o, start, dimensions)

    # ── One pair ─────────────────────────────────────────────────────────────────────────────

    def _inside(
        self, asker: Party, owner: Party, start: Masks, dimensions: Mapping[str, list[Choice]]
    ) -> Iterator[Cell]:
        narrowed = self._narrow(asker.kind, dimensions, start)
        seen = {name: narrowed[name] for name in narrowed if name not in HIDDEN}
        windows, roles = ({name: narrowed[name]} for name in HIDDEN)
        for values, granted in product(seen, start):
            for period, answering in product(windows, granted):
                for role, covering in product(roles, answering):
                    self._count()
                    found = (self._named(masks) for masks in (granted, answering, covering))
                    yield Cell(asker, owner, {**values, **period, **role}, *found)

    def _count(self) -> None:
        self._seen += 1
        if self._seen > MAX_CELLS:
            raise too_varied()

    def _narrow(
        self, kind: str, dimensions: Mapping[str, list[Choice]], start: Masks
    ) -> dict[str, list[Choice]]:
        """Every dimension's classes for the few agreements that are left; many pairs share them."""
        key = (kind, start)
        if key not in self._narrowed:
            found = {name: _merged(choices, start) for name, choices in dimensions.items()}
            found["schemes"] = _closed(found["schemes"], lambda a, b: a & b)
            self._narrowed[key] = found
        return self._narrowed[key]

    def _named(self, masks: Masks) -> tuple[tuple[str, ...], ...]:
        return tuple(
            tuple(name for place, name in enumerate(ids) if mask >> place & 1)
            for ids, mask in zip(self._ids, masks, strict=True)
        )

    def _mask_of(self, ids: set[str]) -> Masks:
        return tuple(
            sum(1 << place for place, name in enumerate(known) if name in ids)
            for known in self._ids
        )

    # ── Dimensions ───────────────────────────────────────────────────────────────────────────

    def _parties(self, side: str) -> list[Choice]:
        """Every kind, and every partner named, in every kind that it may be of."""
        every = [row for rows in self._rows for row in rows]
        named = {p for row in every for p in (*row[side]["partners"], *row["opted_out"])}
        kinds = {kind for policy in self.policies for kind in policy["kinds"]}
        parties = [Party(kind=k, partner=p) for k in sorted(kinds) for p in ("", *sorted(named))]
        by_kind = {k: self._masks(lambda _, r, v: v in r[side]["kinds"], k) for k in kinds}
        by_name = {n: self._masks(lambda _, r, v: v in r[side]["partners"], n) for n in named}
        out = {n: self._masks(lambda _, r, v: v in r["opted_out"], n) for n in named}
        none = (0,) * len(self.policies)

        def masks(party: Party) -> Masks:
            sides = (by_kind[party.kind], by_name.get(party.partner, none))
            gone = out.get(party.partner, none)
            return tuple((a | b) & ~c for a, b, c in zip(*sides, gone, strict=True))

        found = [Choice((party,), masks(party)) for party in parties]
        # A named partner that is treated as any other of its kind needs no cell of its own.
        plain = {c.values[0].kind: c.masks for c in found if not c.values[0].partner}
        return [c for c in found if not c.values[0].partner or c.masks != plain[c.values[0].kind]]

    def _grounds(self, kind: str) -> list[Choice]:
        """Purpose with legal basis, where the registry lets this kind rely on it."""
        if kind not in self._by_kind:
            self._by_kind[kind] = self._grounds_of(kind)
        return self._by_kind[kind]

    def _grounds_of(self, kind: str) -> list[Choice]:
        pairs = sorted(
            {
                (purpose, basis)
                for policy in self.policies
                for purpose, entry in policy["purposes"].items()
                for basis in entry["legal_bases"]
            }
        )

        def covers(policy: Policy, row: Row, pair: tuple[str, str]) -> bool:
            return (
                pair[0] in row["purposes"]
                and pair[1] in row["legal_bases"]
                and may_rely(policy, kind, *pair)
            )

        return [
            Choice(
                (p,),
                self._masks(covers, p),
                tuple(w["purposes"].get(p[0], {}).get("approvals") for w in self.policies),
            )
            for p in pairs
        ]

    def _fixed(self) -> dict[str, list[Choice]]:
        every = [row for rows in self._rows for row in rows]
        limits = [policy["limits"] for policy in self.policies]
        sizes = {row["max_terms"] for row in every}
        sizes |= {limit["max_terms"] for limit in limits}
        sizes |= {limit["second_person_above_terms"] for limit in limits}
        days = {row["max_window_days"] for row in every}
        longest = [None] if None in days else []
        moments = {row[edge] for row in every for edge in ("valid_from", "valid_until")}
        return {
            "asker_country": self._countries("asker_countries"),
            "owner_country": self._countries("owner_countries"),
            "instrument": self._each(self._instruments(every), demanded),
            "mode": self._each(("sealed", "blind"), lambda _, r, v: v in r["modes"]),
            "terms": self._sizes(sizes),
            "at": self._each(sorted(moments), lambda _, r, v: in_force(r, v)),
            "schemes": self._each(
                [(name,) for name in sorted({s for row in every for s in row["schemes"]})],
                lambda w, r, v: v[0] in r["schemes"] and v[0] in w["schemes"],
            ),
            "window_days": self._each(
                [*sorted(days - {None}), *longest], lambda _, r, v: fits_window(r, v)
            ),
            "roles": self._roles(every),
        }

    def _countries(self, side: str) -> list[Choice]:
        known = {name for policy in self.policies for name in policy["jurisdictions"]}
        return self._each(
            sorted(known),
            lambda w, r, v: v in r[side] and v in w["jurisdictions"] and lawful(w, r, v),
        )

    def _instruments(self, rows: Sequence[Row]) -> list[tuple[str, str] | None]:
        """None, and every instrument that some agreement accepts; any other is as good as none."""
        wanted = [row["instrument"] for row in rows if row["instrument"] is not None]
        pairs = {(kind, a) for one in wanted for kind in one["kinds"] for a in one["authorities"]}
        return [None, *sorted(pairs)]

    def _sizes(self, sizes: Iterable[int]) -> list[Choice]:
        """Each size stands for all from the next smaller one up to it."""
        above = [policy["limits"]["second_person_above_terms"] for policy in self.policies]

        def covers(policy: Policy, row: Row, size: int) -> bool:
            return bool(size <= min(row["max_terms"], policy["limits"]["max_terms"]))

        return [
            Choice(
                (size,),
                self._masks(covers, size),
                tuple(size > limit for limit in above),
            )
            for size in sorted(sizes)
        ]

    def _roles(self, rows: Sequence[Row]) -> list[Choice]:
        names_of = sorted({role for row in rows for role in row["roles"]})
        single = self._each([(name,) for name in names_of], lambda _, r, v: fits_roles(r, v))
        return _closed(single, lambda a, b: a | b)

    def _each(self, values: Iterable[Any], covers: Covers) -> list[Choice]:
        return [Choice((value,), self._masks(covers, value)) for value in values]

    def _masks(self, covers: Covers, value: Any) -> Masks:
        return tuple(
            sum(1 << place for place, row in enumerate(rows) if covers(policy, row, value))
            for policy, rows in zip(self.policies, self._rows, strict=True)
        )


def may_rely(policy: Policy, kind: str, purpose: str, basis: str) -> bool:
    """Whether this kind of organisation may ask for the purpose on this legal basis."""
    entry = policy["purposes"].get(purpose, {"legal_bases": {}})
    law = policy["legal_bases"].get(basis, {"kinds": {}})
    return basis in entry["legal_bases"] and kind in law["kinds"]


def too_varied() -> InvalidInput:
    """The error for agreements of which more classes are made than anybody compares."""
    return InvalidInput(
        "these agreements differ in too many ways to be compared whole",
        reasons=("POLICY_TOO_VARIED",),
        remedy="give similar agreements the same limits, dates and schemes",
    )


def _both(one: Masks, other: Masks) -> Masks:
    return tuple(a & b for a, b in zip(one, other, strict=True))


def _merged(choices: Sequence[Choice], start: Masks) -> list[Choice]:
    """The classes that are left where only the agreements of ``start`` count."""
    found: dict[tuple[Masks, tuple[object, ...]], list[Any]] = {}
    for choice in choices:
        masks = _both(choice.masks, start)
        if any(masks):
            found.setdefault((masks, choice.tag), []).extend(choice.values)
    return [Choice(tuple(values), masks, tag) for (masks, tag), values in found.items()]


def _closed(choices: list[Choice], join: Callable[[int, int], int]) -> list[Choice]:
    """The classes with every class that joining values of several makes."""
    found = {choice.masks: choice for choice in choices}
    waiting = list(choices)
    while waiting:
        one = waiting.pop()
        for other in list(found.values()):
            masks = tuple(join(a, b) for a, b in zip(one.masks, other.masks, strict=True))
            if len(found) > MAX_CLASSES:
                raise too_varied()
            if any(masks) and masks not in found:
                value = tuple(sorted({*one.values[0], *other.values[0]}))
                found[masks] = Choice((value,), masks)
                waiting.append(found[masks])
    return list(found.values())


def product(
    dimensions: Mapping[str, Sequence[Choice]], start: Masks
) -> Iterator[tuple[dict[str, tuple[Any, ...]], Masks]]:
    """Every combination of classes that some agreement covers."""
    if not dimensions:
        yield {}, start
        return
    (name, choices), *others = dimensions.items()
    for choice in choices:
        masks = _both(choice.masks, start)
        if any(masks):
            for values, left in product(dict(others), masks):
                yield {name: choice.values, **values}, left

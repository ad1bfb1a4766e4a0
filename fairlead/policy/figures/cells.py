"""All questions for figures there are, in classes that policies do not tell apart.

As :mod:`fairlead.policy.cells` for questions to owners, and simpler: no agreement narrows another,
so that a question is permitted where at least one covers it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairlead.policy.cells import MAX_CELLS, Choice, Masks, product, too_varied
from fairlead.policy.figures.sides import figures_of
from fairlead.policy.sides import Party, Policy, Row, in_force, names


@dataclass(frozen=True, slots=True)
class FigureCell:
    """One class of questions: its values by dimension, and for each policy what covers it."""

    values: Mapping[str, tuple[Any, ...]]
    covering: tuple[tuple[str, ...], ...]


def cells(policies: Sequence[Policy]) -> Iterator[FigureCell]:
    """Every cell that some agreement covers in some policy.

    :raises InvalidInput: POLICY_TOO_VARIED.
    """
    ids = [tuple(sorted(figures_of(policy))) for policy in policies]
    every: Masks = tuple((1 << len(known)) - 1 for known in ids)
    for count, (values, masks) in enumerate(product(_dimensions(policies), every)):
        if count >= MAX_CELLS:
            raise too_varied()
        yield FigureCell(
            values,
            tuple(
                tuple(name for place, name in enumerate(known) if mask >> place & 1)
                for known, mask in zip(ids, masks, strict=True)
            ),
        )


Covers = Callable[[Policy, Row, Any], bool]


def _dimensions(policies: Sequence[Policy]) -> dict[str, list[Choice]]:
    rows = [row for policy in policies for row in figures_of(policy).values()]

    def words(key: str, registered: str) -> list[Choice]:
        """Words of agreements that the registry has, too: the kernel asks both."""
        named = sorted({word for row in rows for word in row[key]})
        return _classes(policies, named, lambda p, r, w: w in r[key] and w in p.get(registered, {}))

    moments = sorted({row[edge] for row in rows for edge in ("valid_from", "valid_until")})
    return {
        "asker": _askers(policies, rows),
        "country": words("countries", "jurisdictions"),
        "cube": words("cubes", "cubes"),
        "purpose": words("purposes", "purposes"),
        "role": words("roles", "figure_roles"),
        "at": _classes(policies, moments, lambda _, r, at: in_force(r, at)),
    }


def _askers(policies: Sequence[Policy], rows: Iterable[Row]) -> list[Choice]:
    """Every kind, and every partner named, in every kind that it may be of, where that differs."""
    kinds = sorted({kind for policy in policies for kind in policy["kinds"]})
    named = sorted({partner for row in rows for partner in row["from"]["partners"]})

    def covers(policy: Policy, row: Row, party: Party) -> bool:
        return party.kind in policy["kinds"] and names(row["from"], party)

    plain = {kind: _masks(policies, Party(kind=kind), covers) for kind in kinds}
    parties = [Party(kind=kind) for kind in kinds]
    parties += [
        party
        for party in (Party(kind=kind, partner=name) for name in named for kind in kinds)
        if _masks(policies, party, covers) != plain[party.kind]
    ]
    return _classes(policies, parties, covers)


def _classes(policies: Sequence[Policy], values: Iterable[Any], covers: Covers) -> list[Choice]:
    """Values that are covered alike, together; those that nothing covers left out."""
    found: dict[Masks, list[Any]] = {}
    for value in values:
        masks = _masks(policies, value, covers)
        if any(masks):
            found.setdefault(masks, []).append(value)
    return [Choice(tuple(alike), masks) for masks, alike in found.items()]


def _masks(policies: Sequence[Policy], value: Any, covers: Covers) -> Masks:
    return tuple(
        sum(
            1 << place
            for place, (_, row) in enumerate(sorted(figures_of(policy).items()))
            if covers(policy, row, value)
        )
        for policy in policies
    )

"""What the vectors of all participants add up to, for nodes and gateway alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fairlead.errors import Forged
from fairlead.summing.figures import Word
from fairlead.summing.masking import sum_of
from fairlead.summing.terms import Terms

_TAIL = 128
"""Noise is above so many scales with a chance below 2⁻¹⁷⁰."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Combined:
    """How many contribute: by cell, by group of measures. Sums with noise: by cell, by word; of
    groups that survived only. Not yet what is released: see disclosure control."""

    contributors: Mapping[str, Mapping[str, int]]
    sums: Mapping[str, Mapping[str, int]]


def contributors(vectors: Mapping[str, bytes], terms: Terms) -> tuple[int, ...]:
    """How many nodes contribute to each cell's groups of measures: all of the first cell, then all
    of the second.

    :raises ParticipantMissing: PARTICIPANT_MISSING.
    :raises Forged: VECTORS; MASKS: more than there are nodes, so masks did not cancel.
    """
    found = sum_of(vectors, terms.flags, terms.participants)
    if not all(0 <= count <= len(terms.participants) for count in found):
        raise _not_cancelled()
    return found


def surviving(counted: Sequence[int], terms: Terms) -> tuple[tuple[int, int], ...]:
    """The indexes of cells and of their groups of which values are summed."""
    needed = terms.needed_by
    pairs = (divmod(place, len(needed)) for place in range(len(counted)))
    return tuple(
        (cell, group)
        for count, (cell, group) in zip(counted, pairs, strict=True)
        if count >= needed[group]
    )


def words_surviving(counted: Sequence[int], terms: Terms) -> int:
    """How many words a node says of them."""
    groups = terms.groups
    return sum(len(groups[group].words) for _, group in surviving(counted, terms))


def totals(vectors: Mapping[str, bytes], counted: Sequence[int], terms: Terms) -> Combined:
    """The sums of what survived.

    :raises ParticipantMissing: PARTICIPANT_MISSING.
    :raises Forged: VECTORS; MASKS: a sum that the bounds and the noise do not allow.
    """
    groups = terms.groups
    found = iter(sum_of(vectors, words_surviving(counted, terms), terms.participants))
    sums: dict[str, dict[str, int]] = {}
    for cell, group in surviving(counted, terms):
        row = sums.setdefault(terms.cells[cell], {})
        for word in groups[group].words:
            row[word.name] = value = next(found)
            _check_range(word, value, len(terms.participants))
    names, rest = [group.name for group in groups], iter(counted)
    return Combined(
        contributors={cell: {name: next(rest) for name in names} for cell in terms.cells},
        sums=sums,
    )


def _check_range(word: Word, value: int, nodes: int) -> None:
    if not -_TAIL * word.scale <= value <= nodes * word.bound + _TAIL * word.scale:
        raise _not_cancelled()


def _not_cancelled() -> Forged:
    return Forged(
        "the masked vectors do not add up: a node lied, or was shown something else",
        reasons=("MASKS",),
    )

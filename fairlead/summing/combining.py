"""What the vectors of all participants add up to, for nodes and gateway alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fairlead.summing.figures import Word
from fairlead.summing.indicators import Contributors, counted, not_cancelled
from fairlead.summing.masking import sum_of
from fairlead.summing.terms import Terms

_TAIL = 128
"""Noise is above so many scales with a chance below 2⁻¹⁸⁰."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Combined:
    """Sums with noise: by cell, by word. Not yet what is released: see disclosure control.

    ``groups``: contributors by group of measures, by cell; where they are too few its words are 0.
    """

    contributors: Mapping[str, int]
    sums: Mapping[str, Mapping[str, int]]
    groups: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def contributors(vectors: Mapping[str, bytes], terms: Terms) -> tuple[Contributors, ...]:
    """How many nodes contribute to each cell, and to each group of measures in it.

    :raises ParticipantMissing: PARTICIPANT_MISSING.
    :raises Forged: VECTORS; MASKS: more than there are nodes, so masks did not cancel.
    """
    found = sum_of(vectors, len(terms.cells), terms.participants)
    return tuple(counted(word, terms.groups, len(terms.participants)) for word in found)


def summed(count: int, group: str, terms: Terms) -> bool:
    """Whether a group's figures are summed in a cell of so many contributors."""
    return (of_group(count, group) if group else count) >= terms.needed


def of_group(count: int, group: str) -> int:
    """How many contribute to a group; nobody, where only the cell's contributors are known."""
    return count.groups.get(group, 0) if isinstance(count, Contributors) else 0


def surviving(counted: Sequence[int], terms: Terms) -> tuple[int, ...]:
    """The indexes of the cells of which values are summed."""
    return tuple(place for place, count in enumerate(counted) if count >= terms.needed)


def totals(vectors: Mapping[str, bytes], said: Sequence[int], terms: Terms) -> Combined:
    """The sums of the cells that survived.

    :raises ParticipantMissing: PARTICIPANT_MISSING.
    :raises Forged: VECTORS; MASKS: a sum that the bounds and the noise do not allow.
    """
    cells, words = surviving(said, terms), terms.words
    found = sum_of(vectors, len(cells) * len(words), terms.participants)
    rows: dict[str, dict[str, int]] = {}
    for row, place in enumerate(cells):
        own = found[row * len(words) : (row + 1) * len(words)]
        for word, value in zip(words, own, strict=True):
            is_summed = summed(said[place], word.group, terms)
            _check_range(word, value, len(terms.participants) if is_summed else 0)
        rows[terms.cells[place]] = {w.name: value for w, value in zip(words, own, strict=True)}
    groups = {
        group: {cell: of_group(count, group) for cell, count in zip(terms.cells, said, strict=True)}
        for group in terms.groups
    }
    return Combined(
        contributors={cell: int(count) for cell, count in zip(terms.cells, said, strict=True)},
        groups=groups,
        sums=rows,
    )


def _check_range(word: Word, value: int, nodes: int) -> None:
    """:param nodes: that have a figure; none where too few contribute, and then there is none."""
    off = _TAIL * word.scale if nodes else 0
    if not -off <= value <= nodes * word.bound + off:
        raise not_cancelled()

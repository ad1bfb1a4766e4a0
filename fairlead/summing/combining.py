"""What the vectors of all participants add up to, for nodes and gateway alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fairlead.errors import Forged
from fairlead.summing.figures import Word
from fairlead.summing.masking import sum_of
from fairlead.summing.terms import Terms

_TAIL = 128
"""Noise is above so many scales with a chance below 2⁻¹⁸⁰."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Combined:
    """Sums with noise: by cell, by word. Not yet what is released: see disclosure control."""

    contributors: Mapping[str, int]
    sums: Mapping[str, Mapping[str, int]]


def contributors(vectors: Mapping[str, bytes], terms: Terms) -> tuple[int, ...]:
    """How many nodes contribute to each cell.

    :raises ParticipantMissing: PARTICIPANT_MISSING.
    :raises Forged: VECTORS; MASKS: more than there are nodes, so masks did not cancel.
    """
    found = sum_of(vectors, len(terms.cells), terms.participants)
    if not all(0 <= count <= len(terms.participants) for count in found):
        raise _not_cancelled()
    return found


def surviving(counted: Sequence[int], terms: Terms) -> tuple[int, ...]:
    """The indexes of the cells of which values are summed."""
    return tuple(place for place, count in enumerate(counted) if count >= terms.needed)


def totals(vectors: Mapping[str, bytes], counted: Sequence[int], terms: Terms) -> Combined:
    """The sums of the cells that survived.

    :raises ParticipantMissing: PARTICIPANT_MISSING.
    :raises Forged: VECTORS; MASKS: a sum that the bounds and the noise do not allow.
    """
    cells, words = surviving(counted, terms), terms.words
    found = sum_of(vectors, len(cells) * len(words), terms.participants)
    rows: dict[str, dict[str, int]] = {}
    for row, place in enumerate(cells):
        own = found[row * len(words) : (row + 1) * len(words)]
        for word, value in zip(words, own, strict=True):
            _check_range(word, value, len(terms.participants))
        rows[terms.cells[place]] = {w.name: value for w, value in zip(words, own, strict=True)}
    return Combined(contributors=dict(zip(terms.cells, counted, strict=True)), sums=rows)


def _check_range(word: Word, value: int, nodes: int) -> None:
    if not -_TAIL * word.scale <= value <= nodes * word.bound + _TAIL * word.scale:
        raise _not_cancelled()


def _not_cancelled() -> Forged:
    return Forged(
        "the masked vectors do not add up: a node lied, or was shown something else",
        reasons=("MASKS",),
    )

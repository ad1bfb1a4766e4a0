"""Where a node contributes: to a cell, and within it to each group of measures.

One word has all of a cell: a field of 12 bits for the cell itself, then one for each group. Sums of
at most 1,024 nodes stay within their fields, so that what is summed is every field by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fairlead.errors import Forged
from fairlead.summing.figures import Figures, Measure

_FIELD = 12
MAX_GROUPS = 9
"""Ten fields lie below the middle of the sums' modulus."""


class Contributors(int):
    """How many nodes contribute to a cell; ``groups``: to each group of measures in it."""

    groups: Mapping[str, int]

    @classmethod
    def of(cls, count: int, groups: Mapping[str, int]) -> Contributors:
        """So many."""
        found = cls(count)
        found.groups = groups
        return found


def groups_of(measures: Sequence[Measure]) -> tuple[str, ...]:
    """The groups of measures, in order."""
    return tuple(dict.fromkeys(measure.group for measure in measures if measure.group))


def indicator_words(own: Figures, measures: Sequence[Measure]) -> list[int]:
    """A word for each cell: a node contributes to a group if one of its figures is above nought."""
    groups = groups_of(measures)
    places = [groups.index(m.group) + 1 if m.group else 0 for m in measures]
    found = []
    for contributes, row in zip(own.contributes, own.values, strict=True):
        fields = {0} if contributes else set()
        fields |= {place for place, value in zip(places, row, strict=True) if place and value}
        found.append(sum(1 << _FIELD * field for field in fields))
    return found


def counted(word: int, groups: Sequence[str], nodes: int) -> Contributors:
    """What the sum of all nodes' words says of one cell.

    :raises Forged: MASKS: more than there are nodes, or more to a group than to the cell.
    """
    if word < 0:
        raise not_cancelled()
    fields = [word >> _FIELD * place & (1 << _FIELD) - 1 for place in range(len(groups) + 1)]
    if word >> _FIELD * len(fields) or fields[0] > nodes or max(fields) > fields[0]:
        raise not_cancelled()
    return Contributors.of(fields[0], dict(zip(groups, fields[1:], strict=True)))


def not_cancelled() -> Forged:
    """The error of vectors that do not add up to what they should."""
    return Forged(
        "the masked vectors do not add up: a node lied, or was shown something else",
        reasons=("MASKS",),
    )

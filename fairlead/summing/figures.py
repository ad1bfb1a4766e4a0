"""A node's own figures for one release: what it has in each cell, and the bounds of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from fairlead.errors import InvalidInput, OwnerError
from fairlead.names import check_code
from fairlead.summing.masking import WORD_SIZE, pack, unpack

MAX_BOUND = 2**56
"""Its square, of 1024 nodes and with noise, still fits into a word."""


class BoundExceeded(OwnerError):
    """A figure is larger than its measure allows."""

    status = "FAILED_PRECONDITION"
    default_code = "BOUND_EXCEEDED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word summed of each cell: its name, the largest figure, the scale of its noise."""

    name: str
    bound: int
    scale: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A measure as it is summed; each bin of a histogram is one.

    ``scale`` is that of the noise (1/ε for what one record counts); with a ``square_scale`` the
    squares are summed too, for the test of dominance. One more record changes a square by up to
    twice the bound. Measures of one ``group``, as the bins of a histogram, have their contributors
    in common; without, a measure is a group by itself.

    :raises InvalidInput: CODE; MEASURE: a bound that is not from 1 to 2⁵⁶.
    """

    measure_id: str
    bound: int
    scale: Fraction
    square_scale: Fraction | None = None
    group: str = ""

    def __post_init__(self) -> None:
        check_code(self.measure_id)
        if not 0 < self.bound <= MAX_BOUND:
            raise InvalidInput("a measure's bound is too large to be summed", reasons=("MEASURE",))

    @property
    def words(self) -> tuple[Word, ...]:
        """The figure, and its square."""
        plain = Word(name=self.measure_id, bound=self.bound, scale=self.scale)
        if self.square_scale is None:
            return (plain,)
        name, bound = f"{self.measure_id}^2", self.bound**2
        return plain, Word(name=name, bound=bound, scale=self.square_scale)


class Group(NamedTuple):
    """Measures that are summed of a cell together or not at all; their places in a node's row."""

    name: str
    places: tuple[int, ...]
    words: tuple[Word, ...]
    squared: bool
    """Whether one contributor may make up most of it."""


def groups_of(measures: Sequence[Measure]) -> tuple[Group, ...]:
    """The groups of measures, in order."""
    names = [measure.group or measure.measure_id for measure in measures]
    found = []
    for name in dict.fromkeys(names):
        places = tuple(at for at, own in enumerate(names) if own == name)
        own = [measures[at] for at in places]
        words = tuple(word for measure in own for word in measure.words)
        squared = any(measure.square_scale is not None for measure in own)
        found.append(Group(name=name, places=places, words=words, squared=squared))
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of each cell to which groups of measures the node contributes, and its figures, one for each
    measure."""

    contributes: tuple[tuple[bool, ...], ...] = field(repr=False)
    values: tuple[tuple[int, ...], ...] = field(repr=False)

    def check(self, measures: Sequence[Measure], cells: int) -> None:
        """Refuse figures that must not be summed; nothing is cut off to fit.

        :raises InvalidInput: FIGURES: other cells or measures, or a figure where it contributes
            nothing: nobody would count the node among its contributors.
        :raises BoundExceeded: BOUND_EXCEEDED.
        """
        groups = groups_of(measures)
        if len(self.contributes) != cells or len(self.values) != cells:
            raise InvalidInput("figures are of each cell", reasons=("FIGURES",))
        for flags, row in zip(self.contributes, self.values, strict=True):
            if len(row) != len(measures) or len(flags) != len(groups):
                raise InvalidInput("figures are of each measure", reasons=("FIGURES",))
            for contributes, group in zip(flags, groups, strict=True):
                if not contributes and any(row[at] for at in group.places):
                    raise InvalidInput("figures stand where none are counted", reasons=("FIGURES",))
            if not all(0 <= value <= m.bound for value, m in zip(row, measures, strict=True)):
                raise BoundExceeded(
                    "a figure is larger than its measure's declared bound, or below zero",
                    remedy="correct the source, or ask for a larger bound in the registry",
                )

    def to_bytes(self) -> bytes:
        """Octets to keep: what was frozen for a release stays so."""
        rows = zip(self.contributes, self.values, strict=True)
        return pack([word for flags, row in rows for word in (*map(int, flags), *row)])

    @classmethod
    def from_bytes(cls, data: bytes, measures: Sequence[Measure]) -> Figures:
        """Undo :meth:`to_bytes`, for these measures.

        :raises InvalidInput: FIGURES: octets of something else.
        """
        flags = len(groups_of(measures))
        width = flags + len(measures)
        if len(data) % (width * WORD_SIZE):
            raise InvalidInput("kept figures are of other measures", reasons=("FIGURES",))
        words = unpack(data)
        rows = [words[at : at + width] for at in range(0, len(words), width)]
        return cls(
            contributes=tuple(tuple(map(bool, row[:flags])) for row in rows),
            values=tuple(row[flags:] for row in rows),
        )

"""A node's own figures for one release: what it has in each cell, and the bounds of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

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
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A measure as it is summed; each bin of a histogram is one.

    ``scale`` is that of the noise (1/ε for what one record counts); with a ``square_scale`` the
    squares are summed too, for the test of dominance. One more record changes a square by up to
    twice the bound. Measures of one ``group`` have contributors of their own: those with a figure
    above nought in one of them. Of a cell in which these are too few they are not summed.

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
        plain = Word(name=self.measure_id, bound=self.bound, scale=self.scale, group=self.group)
        if self.square_scale is None:
            return (plain,)
        name, bound = f"{self.measure_id}^2", self.bound**2
        square = Word(name=name, bound=bound, scale=self.square_scale, group=self.group)
        return plain, square


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of each cell whether the node contributes, and its figures, one for each measure."""

    contributes: tuple[bool, ...] = field(repr=False)
    values: tuple[tuple[int, ...], ...] = field(repr=False)

    def check(self, measures: Sequence[Measure], cells: int) -> None:
        """Refuse figures that must not be summed; nothing is cut off to fit.

        :raises InvalidInput: FIGURES: other cells or measures, or a figure where it contributes
            nothing: nobody would count the node among the cell's contributors.
        :raises BoundExceeded: BOUND_EXCEEDED.
        """
        if len(self.contributes) != cells or len(self.values) != cells:
            raise InvalidInput("figures are of each cell", reasons=("FIGURES",))
        for contributes, row in zip(self.contributes, self.values, strict=True):
            if len(row) != len(measures) or (any(row) and not contributes):
                raise InvalidInput("figures stand where none are counted", reasons=("FIGURES",))
            if not all(0 <= value <= m.bound for value, m in zip(row, measures, strict=True)):
                raise BoundExceeded(
                    "a figure is larger than its measure's declared bound, or below zero",
                    remedy="correct the source, or ask for a larger bound in the registry",
                )

    def to_bytes(self) -> bytes:
        """Octets to keep: what was frozen for a release stays so."""
        rows = zip(self.contributes, self.values, strict=True)
        return pack([word for contributes, row in rows for word in (int(contributes), *row)])

    @classmethod
    def from_bytes(cls, data: bytes, measures: int) -> Figures:
        """Undo :meth:`to_bytes`, for so many measures.

        :raises InvalidInput: FIGURES: octets of something else.
        """
        width = measures + 1
        if len(data) % (width * WORD_SIZE):
            raise InvalidInput("kept figures are of other measures", reasons=("FIGURES",))
        words = unpack(data)
        rows = [words[at : at + width] for at in range(0, len(words), width)]
        return cls(
            contributes=tuple(bool(row[0]) for row in rows), values=tuple(row[1:] for row in rows)
        )

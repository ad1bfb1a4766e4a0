"""The rules, and the cells that by themselves must not be shown (primary suppression). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from fairlead.errors import InvalidInput


class Reason(StrEnum):
    """Why a cell is withheld: for the records of who decides, never part of an answer."""

    TOO_FEW_CONTRIBUTORS = "TOO_FEW_CONTRIBUTORS"
    TOO_FEW_RECORDS = "TOO_FEW_RECORDS"
    DOMINATED = "DOMINATED"
    WITHHELD_BEFORE = "WITHHELD_BEFORE"
    """An earlier version of the period withheld it: shown now, it would tell what it was then."""
    OFTEN_DRAWN = "OFTEN_DRAWN"
    """Its records are in as many figures with noise of their own as may be."""
    COMPLEMENTARY = "COMPLEMENTARY"
    """Shown, it would give away another withheld cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a cell needs to be shown, and what a withheld one needs to stay unknown.

    Part of the signed policies; an answer names their hash.
    """

    contributors: int = 3
    """Of a cell, each with at least one record in it, other than any one reader."""
    records: int = 10
    dominance_contributors: int = 5
    """The same for a measure that one contributor may dominate (kilograms, money, time)."""
    hhi: Fraction = Fraction(9, 16)
    """Largest Σx² / (Σx)² of such a measure (Herfindahl and Hirschman)."""
    round_to: int = 5
    """An odd base, so that no value lies half-way."""
    width: int = 5
    share: Fraction = Fraction(3, 10)
    """What can be concluded about a withheld cell leaves an interval at least this wide: ``width``,
    and this share of its upper end (hence of the true value, which nobody knows)."""
    versions: int = 4
    """Of one period at one level."""
    draws: int = 6
    """Of figures with noise of their own that one record is in, over all levels and versions."""

    def __post_init__(self) -> None:
        """:raises InvalidInput: RULES: a rule that protects nothing."""
        counts = (self.contributors, self.records, self.dominance_contributors)
        if min(*counts, self.versions, self.draws, self.width) < 1 or self.round_to < 1:
            raise InvalidInput("a rule of statistics is below one", reasons=("RULES",))
        if not (self.round_to % 2 and 0 < self.hhi < 1 and 0 < self.share < 1):
            raise InvalidInput("a rule of statistics is out of range", reasons=("RULES",))

    def wide(self, low: float, high: float) -> bool:
        """Whether an interval says little enough about the withheld cell in it."""
        return high - low >= max(self.width, float(self.share) * high) - _ROUNDING


_ROUNDING = 1e-6
"""Ten times what HiGHS allows a solution to miss a bound by."""


def primary(
    indicators: Sequence[int],
    counts: Sequence[int],
    squares: Sequence[tuple[int, int]] | None,
    rules: Rules,
    *,
    waived: Sequence[int] | None = None,
) -> dict[int, Reason]:
    """Which cells, by their index, must not be shown, and why: the first rule that says no.

    A release is frozen and anybody may read it, also a contributor, who knows its own share: one
    contributor more is needed than ``rules.contributors``. An empty cell is withheld like one with
    a single contributor: shown as zero, it would tell the two apart.

    :param indicators: contributors of each cell.
    :param counts: its records. Noised, lest the limit tells whether one record is there.
    :param squares: for a measure marked ``dominance``, noised Σx and Σx² of each cell.
    :param waived: how many of the contributors publish their own share: these cover nobody.
    :raises InvalidInput: RULES: the sequences differ in length.
    """
    lengths = {len(indicators), len(counts)}
    lengths |= {len(optional) for optional in (squares, waived) if optional is not None}
    if len(lengths) != 1:
        raise InvalidInput("a cell's figures are not all there", reasons=("RULES",))
    needed = rules.dominance_contributors if squares is not None else rules.contributors
    found = {}
    for index, records in enumerate(counts):
        covering = indicators[index] - (waived[index] if waived is not None else 0)
        if covering < needed + 1:
            found[index] = Reason.TOO_FEW_CONTRIBUTORS
        elif records < rules.records:
            found[index] = Reason.TOO_FEW_RECORDS
        elif squares is not None and _dominated(*squares[index], rules):
            found[index] = Reason.DOMINATED
    return found


def _dominated(total: int, square: int, rules: Rules) -> bool:
    """Whether few contributors make up most of a sum; exact, and yes where there is no sum."""
    return total <= 0 or square * rules.hhi.denominator > rules.hhi.numerator * total * total

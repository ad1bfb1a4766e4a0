"""Rates: of two published figures, so that they say nothing that these have not said."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from fairlead.cubes.cube import Measure
from fairlead.published import PublishedCell, Shown

_TENTHS = 1000
"""Tenths of a per cent in a whole."""


def cells_of(
    measure: Measure, shown: Mapping[str, tuple[PublishedCell, ...]]
) -> tuple[PublishedCell, ...]:
    """A rate where both figures are numbers of their own, in tenths of a per cent."""
    numerator, denominator = measure.parts or ("", "")
    return tuple(
        _cell(part, whole) for part, whole in zip(shown[numerator], shown[denominator], strict=True)
    )


def _cell(part: PublishedCell, whole: PublishedCell) -> PublishedCell:
    """Withheld where the denominator may be nought: the error would have no end."""
    both = part.shown is whole.shown is Shown.VALUE
    if not both or whole.value <= whole.error:
        return PublishedCell(codes=part.codes, shown=Shown.SUPPRESSED)
    rate = Fraction(part.value * _TENTHS, whole.value)
    high = Fraction((part.value + part.error) * _TENTHS, whole.value - whole.error)
    low = Fraction(max(0, part.value - part.error) * _TENTHS, whole.value + whole.error)
    value = int(rate + Fraction(1, 2))
    return PublishedCell.of(part.codes, value, int(max(high - value, value - low)) + 1)

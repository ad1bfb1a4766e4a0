"""Medians: of histograms with noise, where the cube's first figure of the cell is shown.

Half of all records are below the median. How many are below each edge is known up to the noise of
the bars, so the median lies between two edges; within a bar nobody knows where. The error reaches
to the edges, and where it reaches into the last bar, which has no end, no median is shown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise

from fairlead.cubes.cube import Measure
from fairlead.disclosure.rules import Rules
from fairlead.published import PublishedCell, Shown
from fairlead.strategic.errors import TAIL
from fairlead.strategic.terms import scale_of

_TENTHS = 10


def cells_of(
    measure: Measure,
    codes: Sequence[tuple[str, ...]],
    bars: Sequence[Sequence[int] | None],
    contributors: Sequence[int],
    first: Sequence[PublishedCell] | None,
    rules: Rules,
) -> tuple[PublishedCell, ...]:
    """The median of each cell in tenths of its unit.

    :param first: the cells of the cube's first count.
    """
    found = []
    for at, (code, row) in enumerate(zip(codes, bars, strict=True)):
        shown = first is not None and first[at].shown is Shown.VALUE
        shown = shown and contributors[at] > rules.contributors
        said = _median(measure, row, rules) if shown and row is not None else None
        figure, error = said or (None, 0)
        found.append(PublishedCell.of(code, figure, error))
    return tuple(found)


def _median(measure: Measure, bars: Sequence[int], rules: Rules) -> tuple[int, int] | None:
    """Median and error; None where the rules or the noise allow none."""
    below = [0, *accumulate(accumulate(bars), max)]  # never fewer below a later edge
    total, edges = below[-1], (0, *measure.edges)
    if total < rules.records:
        return None
    half = total / 2
    # Of all bars, half the noise with one sign and half with the other.
    off = TAIL * scale_of(measure) * math.sqrt(len(bars)) / 2
    low, high = _bar(below, half - off), _bar(below, half + off)
    if high >= len(edges) - 1:
        return None
    bar = _bar(below, half)
    inside = (half - below[bar]) / max(1, below[bar + 1] - below[bar])
    median = edges[bar] + min(1.0, max(0.0, inside)) * (edges[bar + 1] - edges[bar])
    error = max(median - edges[low], edges[high + 1] - median)
    return round(median * _TENTHS), math.ceil(error * _TENTHS)


def _bar(below: Sequence[int], records: float) -> int:
    """The bar in which the record of this rank stands."""
    for bar, (_, until) in enumerate(pairwise(below)):
        if records < until:
            return bar
    return len(below) - 2

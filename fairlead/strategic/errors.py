"""By how much a published figure is off at most, at 95 per cent.

A figure of its own: the noise of all nodes but two is discrete Laplace, above ln 20 scales with a
chance of one in twenty; the shares of all have more variance (:func:`spread`), and a chance of at
most that. Rounding adds half its base. A total of published parts: independent errors add
up like the sides of right angles. Small parts are not treated so: they are shown where noise lifted
them, and never below nought, so that their errors have one sign and are added up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from fairlead.cubes.cube import Cube, Measure
from fairlead.disclosure.ledger import Release
from fairlead.disclosure.rules import Rules
from fairlead.disclosure.system import Cell, Sum
from fairlead.strategic.books import Account
from fairlead.strategic.terms import scale_of
from fairlead.summing.noise import BOUGHT

TAIL = math.log(20)
"""Noise is further than so many scales from nought with a chance of one in twenty."""
_FEWEST = 4
"""Participants without whom nothing is summed: all read."""
_SMALL = 2
"""Parts of at most so many of their errors are small."""


def spread(participants: int) -> float:
    """By how much the noise of all participants is wider than that of all but two."""
    nodes = max(participants, _FEWEST)
    return math.sqrt(nodes / (nodes - BOUGHT))


def noise_of(cube: Cube, measure: Measure, participants: int) -> float:
    """Of one word's noise alone."""
    return scale_of(cube, measure) * TAIL * spread(participants)


def own_error(cube: Cube, measure: Measure, participants: int, rules: Rules) -> int:
    """Of a figure with noise of its own, in the measure's unit."""
    noise = math.ceil(noise_of(cube, measure, participants))
    return (
        noise
        + rules.round_to // 2 * measure.step
        + math.ceil(measure.step / 2) * (measure.step > 1)
    )


def total_error(parts: Sequence[tuple[int, int]]) -> int:
    """Of a total: figures of its parts, each with its error."""
    small = sum(error for figure, error in parts if figure <= _SMALL * error)
    squares = sum(error**2 for figure, error in parts if figure > _SMALL * error)
    return small + math.ceil(math.sqrt(squares))


def of_release(
    made: Release, measure: Measure, sums: Sequence[Sum], own: Account, plain: int
) -> dict[Cell, int]:
    """Of every figure of a release that was just made.

    :param plain: of a figure with noise of its own.
    """
    from_parts = _from_parts(made, measure, sums, own)
    return {cell: from_parts.get(cell, plain) for cell in made.shown}


def _from_parts(
    made: Release, measure: Measure, sums: Sequence[Sum], own: Account
) -> Mapping[Cell, int]:
    wanted = made.partial | made.spans.keys()
    version, found = made.asked.version, dict[Cell, int]()
    for each in sums:
        if each.whole not in wanted:
            continue
        held = [own.ledger.holding(part, version) for part in each.parts]
        parts = [
            (one.shown[part] * measure.step, own.errors[version, part])
            for part, one in zip(each.parts, held, strict=True)
            if one is not None and part in one.shown
        ]
        complete = None not in held
        if complete and sum(figure for figure, _ in parts) == made.shown[each.whole] * measure.step:
            error = total_error(parts)
            found[each.whole] = max(error, found.get(each.whole, 0))
    return found

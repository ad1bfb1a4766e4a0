"""The figures of a cube, whatever it is made of at this node: the sum of its origins."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fairlead.cubes.cube import Cube, MadeOf
from fairlead.cubes.level import Level
from fairlead.cubes.period import Unit
from fairlead.errors import InvalidInput
from node.figures.port import Counted, FiguresOf, FiguresUnusable

Made = frozenset[MadeOf]
"""What one origin makes figures of, together."""


class Figures:
    """Every cube's figures.

    :param own: by what they are made of, without mapped sources: the register, the audit log.
    :param source: counts a cube's mapped sources; None where there are none.
    :param mapped: whether a source is mapped for a cube, which then adds to what ``own`` has.
    """

    def __init__(
        self,
        own: Mapping[Made, FiguresOf],
        *,
        source: FiguresOf | None = None,
        mapped: Callable[[str], bool] = lambda _: True,
        clock: Callable[[], float],
    ) -> None:
        self._own = own
        self._source = source
        self._mapped = mapped
        self._clock = clock

    def origins(self, cube: Cube) -> tuple[FiguresOf, ...]:
        """What this node counts a cube from; nothing where it has nothing to count it from, and
        then it says *not reported* rather than zero."""
        found = []
        if (origin := self._own.get(own_part(cube))) is not None:
            found.append(origin)
        if MadeOf.SOURCE in cube.made_of and self._source is not None and self._mapped(cube.id):
            found.append(self._source)
        return tuple(found)

    async def count(self, cube: Cube, level: Level, unit: Unit, *, cut_off: float) -> Counted:
        """See :meth:`FiguresOf.count`.

        :raises FiguresUnusable: FIGURES_NONE: there is nothing to count from; MEASURE_BOUND: the
            origins together are more than one partner may state; or what one of them raises.
        :raises InvalidInput: CUT_OFF: it is still to come, so what it will cover is not known.
        """
        if cut_off > self._clock():
            raise InvalidInput("a cut-off is in the past", reasons=("CUT_OFF",))
        origins = self.origins(cube)
        if not origins:
            raise FiguresUnusable(
                [f"{cube.id}: {', '.join(cube.made_of)}: none of these is kept here"],
                reasons=("FIGURES_NONE",),
                remedy="map a source for it, or leave it to others: docs/statistics.md",
            )
        found = [await origin.count(cube, level, unit, cut_off=cut_off) for origin in origins]
        if len(found) == 1:
            return found[0]
        return Counted.checked(
            cube,
            level,
            unit,
            records=[sum(each) for each in zip(*(c.records for c in found), strict=True)],
            values=[
                [sum(words) for words in zip(*rows, strict=True)]
                for rows in zip(*(c.values for c in found), strict=True)
            ],
        )


def own_part(cube: Cube) -> Made:
    """What a cube is made of beside mapped sources."""
    return frozenset(cube.made_of) - {MadeOf.SOURCE}

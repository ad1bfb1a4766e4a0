"""The mapped sources that a node's configuration names, read when something first needs them.

A node that serves has them checked when it starts; whoever does something else on its files, such
as pausing it, is not kept from it by a mapping that does not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from fairlead.cubes.cube import Cube
from fairlead.cubes.level import Level
from fairlead.cubes.period import Unit
from fairlead.cubes.registry import Registry
from node.figures.mapped import MappedFigures
from node.figures.mapped_fit import check_fits
from node.figures.mapped_form import FiguresMapping, load_figures
from node.figures.port import Counted


class MappedSources:
    """Counts what the configured mappings name.

    :param environ: where ``env:`` references of the mappings are looked up.
    """

    def __init__(self, paths: Sequence[Path], *, environ: Mapping[str, str]) -> None:
        self._paths = tuple(paths)
        self._environ = environ

    @cached_property
    def _mappings(self) -> tuple[FiguresMapping, ...]:
        return tuple(load_figures(path) for path in self._paths)

    def check(self, registry: Callable[[], Registry]) -> None:
        """Every mapping has the keys that its cube needs; no row is read.

        :raises ConfigurationInvalid: wrong keys; FIGURES_UNFIT.
        """
        for mapping in self._mappings:
            check_fits(mapping, registry())

    def maps(self, cube: str) -> bool:
        """Whether a cube has a mapping.

        :raises ConfigurationInvalid: wrong keys.
        """
        return any(mapping.file.cube == cube for mapping in self._mappings)

    async def count(self, cube: Cube, level: Level, unit: Unit, *, cut_off: float) -> Counted:
        """See :meth:`node.figures.mapped.MappedFigures.count`."""
        figures = MappedFigures(self._mappings, environ=self._environ)
        return await figures.count(cube, level, unit, cut_off=cut_off)

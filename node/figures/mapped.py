"""A cube's figures from what an owner has already: mapped files and databases, counted in place.

Everything that the mappings of a cube name is counted in its own engine for one level and one unit
of time; of the rows themselves nothing comes here. A fault anywhere, and nothing is counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fairlead.cubes.cube import Cube
from fairlead.cubes.level import Level
from fairlead.cubes.period import FIRST_YEAR, LAST_YEAR, TimeStep, Unit
from fairlead.cubes.registry import Registry
from node.figures.mapped_fault import Fault, Uncountable
from node.figures.mapped_fit import check_fits, problems_of
from node.figures.mapped_form import FiguresMapping, load_figures
from node.figures.mapped_plan import Group, Plan, Window, plan
from node.figures.port import Counted, FiguresUnusable
from node.sources.opening import format_by


class MappedFigures:
    """The figures of every cube that is mapped; the mappings have been found to fit.

    :param environ: where ``env:`` references of the mappings are looked up.
    """

    def __init__(self, mappings: Sequence[FiguresMapping], *, environ: Mapping[str, str]) -> None:
        self._mappings = tuple(mappings)
        self._environ = environ

    def maps(self, cube: str) -> bool:
        """Whether a cube has a mapping."""
        return any(mapping.file.cube == cube for mapping in self._mappings)

    async def count(self, cube: Cube, level: Level, unit: Unit, *, cut_off: float) -> Counted:
        """See :meth:`node.figures.port.FiguresOf.count`. Without a column that says when a row was
        recorded, what is there now counts.

        :raises FiguresUnusable: FIGURES_NONE: no mapping is of the cube; MEASURE_BOUND;
            FIGURES_CODES, DATE_UNREADABLE, NUMBER_UNREADABLE, with the rows.
        :raises SourceUnusable: a source cannot be read, or changed while it was.
        """
        return await asyncio.to_thread(self.counted, cube, level, unit, cut_off)

    def counted(self, cube: Cube, level: Level, unit: Unit, cut_off: float) -> Counted:
        """The same, at once."""
        if not self.maps(cube.id):
            raise FiguresUnusable(
                [f"{cube.id}: no mapping is of this cube"],
                reasons=("FIGURES_NONE",),
                remedy="add a mapping to `statistics` in the node's configuration:"
                " docs/statistics.md",
            )
        cells = _Cells(cube, level)
        for mapping in self._mappings:
            if mapping.file.cube == cube.id:
                _check_still(mapping, cube)
                asked = plan(mapping.file, cube, level)
                window = Window.of(unit, cut_off)
                for found in groups(mapping, asked, window, environ=self._environ):
                    cells.add(asked, found)
        return Counted.checked(cube, level, unit, records=cells.records, values=cells.values)


def _check_still(mapping: FiguresMapping, cube: Cube) -> None:
    """The cubes may have changed since the mapping was found to fit."""
    if problems := problems_of(mapping.file, cube):
        raise FiguresUnusable(
            [f"{mapping.name}: {problem.key}: {problem.expected}" for problem in problems],
            reasons=("FIGURES_UNFIT",),
            remedy="correct these keys of the mapping, then: fairlead-node statistics check",
        )


def groups(
    mapping: FiguresMapping, asked: Plan, window: Window, *, environ: Mapping[str, str]
) -> Iterator[Group]:
    """What a mapping's files, or its database, have in each place.

    :raises Uncountable: with the rows of the first file that has faulty ones.
    :raises SourceUnusable: see :func:`~node.figures.mapped_file.count_file` and
        :func:`~node.figures.mapped_sql.count_database`.
    """
    file, columns = mapping.file, mapping.file.columns()
    if file.database is not None:  # its engine is loaded where there is one
        from node.figures.mapped_sql import count_database

        yield from count_database(
            file.database, asked, window, base=mapping.base, environ=environ, columns=columns
        )
        return
    from node.figures.mapped_file import count_file

    kind = format_by(file.format, file.files)
    for path in mapping.data_files():
        yield from count_file(
            path,
            kind,
            asked,
            window,
            columns=columns,
            name=path.relative_to(mapping.base).as_posix(),
            delimiter=file.delimiter,
        )


def check_mapping(path: Path, registry: Registry, *, environ: Mapping[str, str]) -> tuple[str, int]:
    """A mapping read, its fit and all its rows: its cube and how many rows were read.

    :raises ConfigurationInvalid: wrong keys. :raises Uncountable: with the rows.
    :raises SourceUnusable: as :func:`groups`.
    """
    mapping = load_figures(path)
    cube = check_fits(mapping, registry)
    wrong, rows = faults(mapping, cube, environ=environ)
    if wrong:
        raise Uncountable(wrong)
    return cube.id, rows


def faults(
    mapping: FiguresMapping, cube: Cube, *, environ: Mapping[str, str]
) -> tuple[tuple[Fault, ...], int]:
    """Everything wrong with the rows of a mapping's source that any period could ask for, and how
    many rows were found good: in the first file with faulty rows, or in all of them.

    :raises SourceUnusable: as :func:`groups`.
    """
    asked = plan(mapping.file, cube, cube.levels[-1])
    begins, ends = Unit(TimeStep.YEAR, FIRST_YEAR).begins, Unit(TimeStep.YEAR, LAST_YEAR).ends
    window = Window(begins=begins, ends=ends, cut_off=ends)
    rows = 0
    try:
        for found in groups(mapping, asked, window, environ=environ):
            rows += found.rows
    except Uncountable as error:
        return error.faults, rows
    return (), rows


class _Cells:
    """Numbers of a level's cells."""

    def __init__(self, cube: Cube, level: Level) -> None:
        width = sum(measure.words for measure in cube.measures)
        self.records = [0] * level.width
        self.values = [[0] * width for _ in range(level.width)]

    def add(self, asked: Plan, group: Group) -> None:
        """One group more."""
        cell = asked.cell(group.places)
        self.records[cell] += group.rows
        words = [number for numbers in group.numbers for number in numbers]
        for place, number in enumerate(words):
            self.values[cell][place] += number

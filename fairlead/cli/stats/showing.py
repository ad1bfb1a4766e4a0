"""What is printed of released figures: a table, JSON, CSV, a chart. Pure but for :func:`show`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from fairlead.charting.grid import Grid, grid_of, title_of
from fairlead.charting.table import charted
from fairlead.cli.output import RowFormat, emit_json, emit_table, say
from fairlead.cubes.cube import Cube, Measure
from fairlead.cubes.level import BETWEEN, Level
from fairlead.cubes.period import Unit
from fairlead.escaping import sheet
from fairlead.kpi.rows import COLUMNS, figure_rows
from fairlead.published import Figures, Published, PublishedCell, Shown, decimals

FEW = 5
"""Rows without a figure that a table still names one by one; JSON and CSV always do."""
VERSIONS = {0: "none", 1: "first", 2: "final"}
"""What a release's version means; see :data:`fairlead.strategic.terms.FINAL_AFTER_S`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a question of figures brought: at most one release for each unit of time."""

    cube: Cube
    level: Level
    units: tuple[Unit, ...]
    releases: tuple[Published, ...]

    def grid(self, measure: Measure) -> Grid:
        """One measure, cells down and units of time across."""
        return grid_of(self.cube, self.level, measure, self.units, self.releases)

    def release(self, unit: Unit) -> Published | None:
        """The release of a unit of time; None: not reported."""
        return next((found for found in self.releases if found.unit == unit), None)


def document(answer: Answer) -> dict[str, object]:
    """The answer as JSON: ``value`` and ``error`` are null where no number is shown."""
    return {**_head(answer), "releases": [_release(answer, unit) for unit in answer.units]}


def table(grid: Grid) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of one measure; rows that say the same of nothing but what is not shown
    stand in one, and below are who took part and whether figures are first or final ones."""
    columns = [grid.by or "cell", *(column.unit.spelling for column in grid.columns)]
    rows = [[row.title, *(cell.said(grid.places) for cell in row.cells)] for row in grid.rows]
    bare = Counter(
        tuple(said)
        for row, (_, *said) in zip(grid.rows, rows, strict=True)
        if not any(cell.shown.is_number for cell in row.cells)
    )
    many = {said: count for said, count in bare.items() if count > FEW}
    told = [row for row in rows if tuple(row[1:]) not in many]
    told += [[f"{count} more", *said] for said, count in many.items()]
    below = [
        ["participants", *(column.coverage for column in grid.columns)],
        ["figures", *(VERSIONS.get(column.version, "later") for column in grid.columns)],
    ]
    return columns, [*told, *below]


def as_csv(answer: Answer) -> str:
    """The answer as CSV, in the columns of the KPI pack's files."""
    rows = figure_rows(answer.cube, answer.level, answer.units, answer.releases)
    return sheet(COLUMNS, rows)


def as_chart(answer: Answer, measure: str | None = None) -> str:
    """One measure as an SVG with its table; the cube's first unless another is named.

    :raises InvalidInput: MEASURE_UNKNOWN.
    """
    cube = answer.cube
    return charted(answer.grid(cube.measures[0] if measure is None else cube.measure(measure)))


def notes(answer: Answer) -> Iterator[str]:
    """What belongs to the figures: how they are protected, and by which rules, each once; and where
    to ask for what is suppressed, as no rule is lowered for it."""
    yield from dict.fromkeys(release.method for release in answer.releases)
    rules = dict.fromkeys(release.rules_digest.hex() for release in answer.releases)
    yield from (f"rules: {digest}" for digest in rules)
    missing = [unit.spelling for unit in answer.units if not _reported(answer.release(unit))]
    if missing:
        yield f"not reported: {', '.join(missing)}"
    coarser = answer.level.parent
    if coarser is not None and any(r.counted()[Shown.SUPPRESSED] for r in answer.releases):
        yield f"suppressed figures are part of a coarser level: ask with --level {coarser.name}"


def show(answer: Answer, output: RowFormat) -> None:
    """Print the answer: data to stdout, notes to stderr."""
    match output:
        case RowFormat.JSON:
            emit_json(document(answer))
        case RowFormat.NDJSON:
            for unit in answer.units:
                emit_json({**_head(answer), **_release(answer, unit)})
        case RowFormat.CSV:
            sys.stdout.write(as_csv(answer))
        case RowFormat.TABLE:
            for measure in answer.cube.measures:
                grid = answer.grid(measure)
                say(f"{grid.title}, in {measure.unit}, ± the error at 95 %")
                emit_table(*table(grid))
    for note in notes(answer):
        say(note)


def _head(answer: Answer) -> dict[str, object]:
    return {
        "schema": 1,
        "cube": answer.cube.id,
        "cube_version": answer.cube.version,
        "level": answer.level.name,
    }


def _release(answer: Answer, unit: Unit) -> dict[str, object]:
    found = answer.release(unit)
    if found is None:
        return {"period": unit.spelling, "reported": False}
    return {
        "period": unit.spelling,
        "reported": _reported(found),
        "version": found.version,
        "participants": found.participants,
        "expected": found.expected,
        "released_at": found.released_at,
        "registry_digest": found.registry_digest.hex(),
        "rules_digest": found.rules_digest.hex(),
        "release_digest": found.digest.hex(),
        "method": found.method,
        "figures": [_figures(answer, unit, each) for each in found.figures],
    }


def _reported(found: Published | None) -> bool:
    """Whether anything was released: not where too few took part."""
    return found is not None and found.version > 0


def _figures(answer: Answer, unit: Unit, figures: Figures) -> dict[str, object]:
    measure = figures.measure
    return {
        "measure": measure.id,
        "unit": measure.unit,
        "cells": [_cell(answer, unit, cell, decimals(measure)) for cell in figures.cells],
    }


def _cell(answer: Answer, unit: Unit, cell: PublishedCell, places: int) -> dict[str, object]:
    known = cell.shown.is_number
    return {
        "cell": BETWEEN.join([unit.spelling, *cell.codes]),
        "title": title_of(answer.level, cell.codes),
        "shown": cell.shown.value,
        "value": _number(cell.value, places) if known else None,
        "error": _number(cell.error, places) if known else None,
    }


def _number(value: int, places: int) -> int | float:
    return value / 10**places if places else value

"""The pack's pages of figures: at a glance, the two trends, and each cube with its definition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fairlead.charting.grid import Grid
from fairlead.charting.table import chart, html_table
from fairlead.cubes.cube import Cube, Measure, MeasureKind
from fairlead.cubes.level import Level
from fairlead.kpi.contents import Contents
from fairlead.kpi.page import heading, paragraph, rows_table
from fairlead.kpi.trends import UNKNOWN, change, quarters_of, share_of, told_sum, year_sum
from fairlead.published import spoken

MAX_ROWS = 60
"""Rows of a table on the page; a longer one is in the bundle of CSV alone."""


def glance(contents: Contents) -> Iterator[str]:
    """Every figure of the year as a whole, beside the year before's."""
    yield heading(2, "The year at a glance", "glance")
    rows = [row for cube in contents.cubes for row in _whole_year(contents, cube)]
    columns = ("figure", "unit", str(contents.year - 1), str(contents.year), "participants")
    yield rows_table(
        "Figures of the whole year, ± the error at 95 %; of a year that is not over, sums of the "
        "quarters that both years have",
        columns,
        rows,
    )


def _whole_year(contents: Contents, cube: Cube) -> Iterator[tuple[object, ...]]:
    level = next((found for found in cube.levels if found.name == "year"), None)
    if level is None:
        return
    for measure in cube.measures:
        grid = contents.grid(cube, level, measure)
        title = f"{contents.name(cube)}: {measure.title}"
        if not grid.columns[-1].version and (so_far := _so_far(contents, cube, measure)):
            yield title, measure.unit, *so_far
            continue
        said = [cell.said(grid.places) for cell in grid.rows[0].cells]
        before = said[0] if len(said) > 1 else "not reported"
        yield title, measure.unit, before, said[-1], grid.columns[-1].coverage


def _so_far(contents: Contents, cube: Cube, measure: Measure) -> tuple[str, str, str] | None:
    """What both years have in the same quarters, of a figure that may be added up; the participants
    of the last quarter. None where there is nothing of it."""
    level = next((found for found in cube.levels if found.name == "quarter"), None)
    if level is None or measure.kind not in {MeasureKind.COUNT, MeasureKind.SUM}:
        return None
    grid = contents.grid(cube, level, measure)
    quarters = quarters_of(grid.columns, contents.year)
    if not quarters:
        return None
    named = " ".join(f"Q{number}" for number in quarters)
    before, after = (
        f"{told_sum(grid.rows[0], grid.columns, year, quarters)} ({named})"
        for year in (contents.year - 1, contents.year)
    )
    last = next(column for column in reversed(grid.columns) if column.version)
    return before, after, last.coverage


def displacement(contents: Contents) -> Iterator[str]:
    """Whether events move from sea ports to inland ports."""
    yield heading(2, "From sea ports to inland ports", "displacement")
    grid = _found(contents, "displacement", "quarter,shore")
    if grid is None or not grid.reported:
        yield paragraph("Nothing was released of this: not reported.")
        return
    yield from figure(grid, "displacement-chart")
    shares = {}
    rows: list[Sequence[object]] = []
    quarters = quarters_of(grid.columns, contents.year)
    for year in (contents.year - 1, contents.year):
        sums = {row.codes: year_sum(row, grid.columns, year, quarters) for row in grid.rows}
        sea, inland = sums.get(("sea",)), sums.get(("inland",))
        shares[year] = share_of(inland, sea)
        told = (str(said or UNKNOWN) for said in (sea, inland, shares[year]))
        rows.append((_span(year, quarters), *told))
    before, after = shares[contents.year - 1], shares[contents.year]
    moved = {
        "more": f"In {_span(contents.year, quarters)} a larger share of events was at inland "
        "ports than a year before, by more than the error of the figures.",
        "less": f"In {_span(contents.year, quarters)} a smaller share of events was at inland "
        "ports than a year before, by more than the error of the figures.",
        UNKNOWN: "Whether the share of inland ports changed is not known: the same quarters of "
        "both years are not shown in full.",
    }
    plain = "The share of inland ports did not change by more than the error of the figures."
    yield paragraph(moved.get(change(before, after), plain), "told")
    columns = ("year", "sea ports", "inland ports", "share of inland ports")
    yield rows_table(
        "Sums of the quarters with the sums of their errors; of a share, between what it lies",
        columns,
        rows,
    )


def modus(contents: Contents) -> Iterator[str]:
    """By which ways consignments are abused, and which of them grow."""
    yield heading(2, "Modi operandi", "modus")
    grid = _found(contents, "modus-operandi", "quarter,modus-operandi")
    if grid is None or not grid.reported:
        yield paragraph("Nothing was released of this: not reported.")
        return
    yield from figure(grid, "modus-chart")
    rows = []
    quarters = quarters_of(grid.columns, contents.year)
    for row in grid.rows:
        before, after = (
            year_sum(row, grid.columns, year, quarters)
            for year in (contents.year - 1, contents.year)
        )
        said = (str(before or UNKNOWN), str(after or UNKNOWN))
        rows.append((row.title, *said, change(before, after)))
    spans = (_span(year, quarters) for year in (contents.year - 1, contents.year))
    columns = (grid.by, *spans, "change")
    yield rows_table("Sums of the quarters with the sums of their errors", columns, rows)


def _span(year: int, quarters: Sequence[int]) -> str:
    """A year, or which of its quarters: ``2026 Q1 Q2``."""
    return (
        str(year)
        if len(quarters) in {0, 4}
        else " ".join([str(year), *(f"Q{n}" for n in quarters)])
    )


def _found(contents: Contents, cube: str, level: str) -> Grid | None:
    """The first measure of a cube that the registry has at this level."""
    for found in contents.registry.cubes:
        for each in found.levels:
            if found.id == cube and each.name == level:
                return contents.grid(found, each, found.measures[0])
    return None


def cubes(contents: Contents) -> Iterator[str]:
    """Each cube: what it means, and its figures at every level of which any are here."""
    yield heading(2, "Every figure, with its definition", "figures")
    for cube in contents.cubes:
        yield heading(3, contents.name(cube), f"cube-{cube.id}-{cube.version}")
        yield from _definition(cube)
        levels = [level for level in contents.levels(cube) if level.name != "year"]
        if not any(contents.levels(cube)):
            yield paragraph("Nothing was released of this year: not reported.")
        for level in levels:
            yield from _level(contents, cube, level)


def _definition(cube: Cube) -> Iterator[str]:
    made = ", ".join(word.value.replace("-", " ") for word in cube.made_of)
    yield paragraph(
        f"{cube.about} Made of: {made}. Cube {cube.id}, version {cube.version}.", "soft"
    )
    rows = [(measure.title, kind_of(cube, measure), measure.unit) for measure in cube.measures]
    yield rows_table("What is measured", ("measure", "how", "unit"), rows)


def kind_of(cube: Cube, measure: Measure) -> str:
    """How a figure comes about, in words."""
    match measure.kind:
        case MeasureKind.RATE:
            titles = [cube.measure(part).title for part in measure.parts or ()]
            return f"{titles[0]}, in per cent of: {titles[1]}"
        case MeasureKind.MEDIAN:
            edges = ", ".join(spoken(edge, 0) for edge in measure.edges)
            return f"median of a histogram with bars at {edges}"
        case MeasureKind.SUM if measure.dominance:
            return "sum; shown only where no partner makes up most of it"
        case _:
            return measure.kind.value


def _level(contents: Contents, cube: Cube, level: Level) -> Iterator[str]:
    yield heading(4, f"By {' · '.join([level.time.value, *_steps(level)])}")
    if level.width > MAX_ROWS:
        yield paragraph(
            f"{level.width} cells in a {level.time.value}, too many for a page: they are in the "
            f"bundle, in figures/{cube.id}.csv at level {level.name}."
        )
        return
    for measure in cube.measures:
        grid = contents.grid(cube, level, measure)
        name = "-".join([cube.id, str(cube.version), level.name.replace(",", "-"), measure.id])
        yield from figure(grid, name)


def _steps(level: Level) -> Iterator[str]:
    return (axis.step.title.lower() for axis in level.axes)


def figure(grid: Grid, name: str) -> Iterator[str]:
    """A chart and its table; the table alone where there is no number to draw."""
    if any(cell.shown.is_number for row in grid.rows for cell in row.cells):
        yield f"<figure>{chart(grid, name)}</figure>"
    else:
        yield paragraph(f"{grid.title}: no figure can be shown.", "soft")
    yield html_table(grid)

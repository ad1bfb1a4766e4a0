"""A line chart: units of time across, one line for each row of a grid, and gaps where no figure is.

A line is broken where a cell is not shown; beneath the axis, a row of signs for each such line says
why. Whiskers are the error at 95 %.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fairlead.charting.drawing import (
    COLOURS,
    GAP,
    INK,
    SOFT,
    mark,
    path,
    picture,
    rule,
    shortened,
    ticks,
    words,
)
from fairlead.charting.grid import Grid, Row
from fairlead.escaping import marked_up
from fairlead.published import PublishedCell, Shown, spoken

MOST = 6
"""Lines in one chart; there are as many marks, and nobody follows more."""
SIGNS = {Shown.SUPPRESSED: "×", Shown.NOT_REPORTED: "–", Shown.PARTIAL: "p"}
WIDTH, HEIGHT = 960, 300
LEFT, RIGHT, TOP = 72, 240, 34
LANE, LABEL = 18, 17


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where a figure of a column stands."""

    columns: int
    scale: tuple[int, ...]

    def x(self, column: int) -> float:
        """Of a column's middle."""
        return LEFT + (column + 0.5) * (WIDTH - LEFT - RIGHT) / self.columns

    def y(self, value: int) -> float:
        """Of a value."""
        return HEIGHT - (HEIGHT - TOP) * value / self.scale[-1]


def line_chart(grid: Grid, name: str) -> str:
    """An SVG of the largest rows.

    :param name: of its ids, unique in a page.
    """
    drawn = grid.largest(MOST)
    tops = [cell.value + cell.error for row in drawn.rows for cell in row.cells]
    frame = Frame(columns=max(1, len(grid.columns)), scale=ticks(max([1, *tops])))
    lanes = [row for row in drawn.rows if any(cell.shown in SIGNS for cell in row.cells)]
    parts = [
        *_axes(grid, frame),
        *(part for place, row in enumerate(drawn.rows) for part in _line(grid, frame, place, row)),
        *_names(frame, drawn.rows),
        *_lanes(frame, drawn.rows, lanes),
    ]
    height = HEIGHT + 30 + LANE * (len(lanes) + bool(lanes))
    return picture(parts, (WIDTH, height), name, (grid.title, _about(grid, drawn)))


def _about(grid: Grid, drawn: Grid) -> str:
    ends = (grid.columns[0].unit.spelling, grid.columns[-1].unit.spelling) if grid.columns else ()
    counted = drawn.counted()
    return (
        f"Line chart, {grid.measure.unit}, {' to '.join(ends)}. {len(drawn.rows)} of "
        f"{len(grid.rows)} rows are drawn; of their figures {counted[Shown.SUPPRESSED]} are "
        f"suppressed and {counted[Shown.NOT_REPORTED]} not reported. The table has every figure."
    )


def _axes(grid: Grid, frame: Frame) -> Iterator[str]:
    yield words(LEFT, TOP - 16, _measured(grid), colour=SOFT)
    for value in frame.scale:
        y = frame.y(value)
        yield rule(LEFT, y, WIDTH - RIGHT, y, colour=INK if value == 0 else "#d5dbe1")
        yield words(LEFT - 8, y + 4, spoken(value, grid.places), anchor="end", colour=SOFT)
    every = -(-frame.columns * 62 // (WIDTH - LEFT - RIGHT))
    for place, column in enumerate(grid.columns):
        if place % every == 0:
            yield words(frame.x(place), HEIGHT + 20, column.unit.spelling, anchor="middle")


def _measured(grid: Grid) -> str:
    unit = grid.measure.unit
    return f"{unit}, ± the error at 95 %"


def _line(grid: Grid, frame: Frame, place: int, row: Row) -> Iterator[str]:
    run: list[tuple[float, float]] = []
    for column, cell in enumerate(row.cells):
        if cell.shown.is_number:
            run.append((frame.x(column), frame.y(cell.value)))
        if run and (not cell.shown.is_number or column == len(row.cells) - 1):
            if len(run) > 1:
                yield path(run, place)
            run = []
    for column, cell in enumerate(row.cells):
        if cell.shown.is_number:
            yield _mark(grid, frame, (place, column), row, cell)


def _mark(grid: Grid, frame: Frame, where: tuple[int, int], row: Row, cell: PublishedCell) -> str:
    place, column = where
    x, y = frame.x(column), frame.y(cell.value)
    colour = COLOURS[place % len(COLOURS)]
    low, high = frame.y(max(0, cell.value - cell.error)), frame.y(cell.value + cell.error)
    whisker = rule(x, low, x, high, colour=colour, more=' stroke-opacity=".55"')
    said = f"{row.title}, {grid.columns[column].unit.spelling}: {cell.said(grid.places)}"
    return (
        f'<g data-row="{marked_up("/".join(row.codes))}" data-column="{column}" '
        f'data-shown="{cell.shown}" data-value="{cell.value}">{whisker}'
        f"{mark(x, y, place, hollow=cell.shown is Shown.PARTIAL)}"
        f"<title>{marked_up(said)}</title></g>"
    )


def _names(frame: Frame, rows: Sequence[Row]) -> Iterator[str]:
    """Each line's name at its right end, moved so far that none covers another."""
    ends = []
    for place, row in enumerate(rows):
        known = [cell.value for cell in row.cells if cell.shown.is_number]
        ends.append((round(frame.y(known[-1])), place, row))
    lowest = HEIGHT - LABEL * (len(ends) - 1)
    y = 0
    for number, (wanted, place, row) in enumerate(sorted(ends, key=lambda end: end[:2])):
        y = max(min(wanted, lowest + LABEL * number), y + LABEL if number else TOP)
        yield mark(WIDTH - RIGHT + 14, y, place)
        yield words(WIDTH - RIGHT + 26, y + 4, shortened(row.title, 30))


def _lanes(frame: Frame, rows: Sequence[Row], lanes: Sequence[Row]) -> Iterator[str]:
    for number, row in enumerate(lanes):
        y, place = HEIGHT + 34 + LANE * (number + 0.5), rows.index(row)
        yield mark(WIDTH - RIGHT + 14, y - 4, place)
        yield words(WIDTH - RIGHT + 26, y, shortened(row.title, 30), colour=SOFT)
        for column, cell in enumerate(row.cells):
            if cell.shown in SIGNS:
                yield words(
                    frame.x(column), y, SIGNS[cell.shown], anchor="middle",
                    more=f' data-sign="{cell.shown}"',
                )  # fmt: skip
    if lanes:
        y = HEIGHT + 34 + LANE * (len(lanes) + 0.5)
        said = "× suppressed    – not reported    p the released parts alone"
        yield words(LEFT + GAP, y, said, colour=SOFT)

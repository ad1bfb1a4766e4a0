"""A line chart: units of time across, one line for each row of a grid, and gaps where no figure is.

A line is broken where a cell is not shown; beneath the axis, a row of signs for each such line says
why, and rows that have no figure at all stand there too. Whiskers are the error at 95 %; an arrow
says that it reaches further than the axis.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fairlead.charting.drawing import (
    COLOURS,
    INK,
    SOFT,
    hatched,
    head,
    mark,
    path,
    picture,
    reach,
    rule,
    shortened,
    ticks,
    whisker,
    words,
)
from fairlead.charting.grid import Grid, Row
from fairlead.escaping import marked_up
from fairlead.published import PublishedCell, Shown, spoken

MOST = 6
"""Lines in one chart; there are as many marks, and nobody follows more."""
BARE = 4
"""Rows without any figure that are named beneath a chart; the table has them all."""
SIGNS = {Shown.SUPPRESSED: "", Shown.NOT_REPORTED: "–", Shown.PARTIAL: "in part"}
"""Beneath the axis; a suppressed cell is a hatched box."""
WIDTH, HEIGHT = 960, 318
LEFT, RIGHT, TOP = 72, 240, 52
LANE, LABEL = 18, 17
BOX = (32, 11)


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
    figures = [(cell.value, cell.error) for row in drawn.rows for cell in row.cells]
    frame = Frame(columns=max(1, len(grid.columns)), scale=ticks(reach(figures)))
    lanes = _lanes(grid, drawn)
    parts = [
        *_axes(grid, drawn, frame),
        *(part for place, row in enumerate(drawn.rows) for part in _line(grid, frame, place, row)),
        *_names(frame, drawn.rows),
        *(part for number, lane in enumerate(lanes) for part in _lane(frame, number, *lane)),
        *(_key(len(lanes), _bare(grid) - BARE) if lanes else ()),
    ]
    height = HEIGHT + 32 + (LANE * (len(lanes) + 1) + 8 if lanes else 0)
    return picture(parts, (WIDTH, height), name, (grid.title, _about(grid, drawn)))


def _about(grid: Grid, drawn: Grid) -> str:
    ends = (grid.columns[0].unit.spelling, grid.columns[-1].unit.spelling) if grid.columns else ()
    counted = drawn.counted()
    return (
        f"Line chart, {grid.measure.unit}, {' to '.join(ends)}. {len(drawn.rows)} of "
        f"{len(grid.rows)} rows are drawn; of their figures {counted[Shown.SUPPRESSED]} are "
        f"suppressed and {counted[Shown.NOT_REPORTED]} not reported. The table has every figure."
    )


def _axes(grid: Grid, drawn: Grid, frame: Frame) -> Iterator[str]:
    yield head(LEFT, grid.title, _said(grid, len(drawn.rows)))
    for value in frame.scale:
        y = frame.y(value)
        yield rule(LEFT, y, WIDTH - RIGHT, y, colour=INK if value == 0 else "#d5dbe1")
        yield words(LEFT - 8, y + 4, spoken(value, grid.places), anchor="end", colour=SOFT)
    every = -(-frame.columns * 62 // (WIDTH - LEFT - RIGHT))
    for place, column in enumerate(grid.columns):
        if place % every == 0:
            yield words(frame.x(place), HEIGHT + 20, column.unit.spelling, anchor="middle")


def _said(grid: Grid, drawn: int) -> str:
    """In what a grid's figures are, and how many of the rows that have any a chart shows."""
    have = len(grid.rows) - _bare(grid)
    some = f"; the {drawn} largest of {have} rows" if drawn < have else ""
    return f"{grid.measure.unit}, ± the error at 95 %{some}"


def _bare(grid: Grid) -> int:
    """Rows that have no figure."""
    return sum(not any(cell.shown.is_number for cell in row.cells) for row in grid.rows)


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
    end, top = cell.value + cell.error, frame.scale[-1]
    low, high = frame.y(max(0, cell.value - cell.error)), frame.y(min(end, top))
    error = whisker((x, low), (x, high), colour=colour, cut=end > top)
    said = f"{row.title}, {grid.columns[column].unit.spelling}: {cell.said(grid.places)}"
    return (
        f'<g data-row="{marked_up("/".join(row.codes))}" data-column="{column}" '
        f'data-shown="{cell.shown}" data-value="{cell.value}">{error}'
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


def _lanes(grid: Grid, drawn: Grid) -> list[tuple[int | None, Row]]:
    """The rows that need signs: lines that are broken, by their places, then rows without any."""
    broken = [
        (place, row)
        for place, row in enumerate(drawn.rows)
        if any(cell.shown in SIGNS for cell in row.cells)
    ]
    bare = [row for row in grid.rows if not any(cell.shown.is_number for cell in row.cells)]
    return [*broken, *((None, row) for row in bare[:BARE])]


def _lane(frame: Frame, number: int, place: int | None, row: Row) -> Iterator[str]:
    y = HEIGHT + 36 + LANE * (number + 0.5)
    if place is not None:
        yield mark(WIDTH - RIGHT + 14, y - 4, place)
    yield words(WIDTH - RIGHT + 26, y, shortened(row.title, 30), colour=SOFT)
    for column, cell in enumerate(row.cells):
        if cell.shown in SIGNS:
            yield _sign(frame.x(column), y, cell.shown, min(BOX[0], 500 / frame.columns))


def _sign(x: float, y: float, shown: Shown, width: float) -> str:
    told = f'data-sign="{shown}"'
    if shown is Shown.SUPPRESSED:
        return f"<g {told}>{hatched(x - width / 2, y - 10, width, BOX[1])}</g>"
    return words(x, y, SIGNS[shown], anchor="middle", colour=SOFT, more=f" {told}")


def _key(lanes: int, more: int) -> Iterator[str]:
    """What the signs mean, beneath them."""
    y = HEIGHT + 44 + LANE * (lanes + 0.5)
    yield hatched(LEFT, y - 10, *BOX)
    yield words(LEFT + BOX[0] + 8, y, "suppressed", colour=SOFT)
    yield words(LEFT + 150, y, "– not reported", colour=SOFT)
    yield words(LEFT + 270, y, "in part: the released parts alone", colour=SOFT)
    if more > 0:
        yield words(WIDTH - RIGHT + 26, y, f"and {more} more without a figure", colour=SOFT)

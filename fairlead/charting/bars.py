"""A bar chart of one unit of time: a bar for each row of a grid, and a word where no figure is."""

from __future__ import annotations

from collections.abc import Iterator

from fairlead.charting.drawing import (
    COLOURS,
    INK,
    SOFT,
    hatched,
    head,
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
from fairlead.published import Shown, spoken

MOST = 30
"""Bars in one chart: the first rows in their order if all fit, else the largest."""
FILL = "#a9d0ea"
"""Of a bar: so light that its error stands out from it."""
HIDDEN = 60
"""The width of a hatched box, which says nothing of the size of what it hides."""
WIDTH, LEFT, RIGHT, TOP, BAR = 960, 300, 170, 52, 24


def bar_chart(grid: Grid, name: str) -> str:
    """An SVG of the grid's last unit of time.

    :param name: of its ids, unique in a page.
    """
    drawn = grid if len(grid.rows) <= MOST else grid.largest(MOST)
    scale = ticks(reach((row.cells[-1].value, row.cells[-1].error) for row in drawn.rows))
    bottom = TOP + BAR * len(drawn.rows)
    parts = [*_axis(grid, drawn, scale, bottom)]
    for number, row in enumerate(drawn.rows):
        parts.append(_bar(grid, row, TOP + BAR * number, scale[-1]))
    return picture(parts, (WIDTH, bottom + 28), name, (grid.title, _about(grid, drawn)))


def _about(grid: Grid, drawn: Grid) -> str:
    counted = drawn.counted()
    return (
        f"Bar chart, {grid.measure.unit}, {grid.columns[-1].unit.spelling}. {len(drawn.rows)} of "
        f"{len(grid.rows)} rows are drawn; {counted[Shown.SUPPRESSED]} are suppressed and "
        f"{counted[Shown.NOT_REPORTED]} not reported. The table has every figure."
    )


def _across(value: int, top: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * value / top


def _axis(grid: Grid, drawn: Grid, scale: tuple[int, ...], bottom: int) -> Iterator[str]:
    title = f"{grid.title}, {grid.columns[-1].unit.spelling}"
    some = "" if len(drawn.rows) == len(grid.rows) else f"; the {len(drawn.rows)} largest rows"
    yield head(8, title, f"{grid.measure.unit}, ± the error at 95 %{some}")
    for value in scale:
        x = _across(value, scale[-1])
        yield rule(x, TOP, x, bottom, colour=INK if value == 0 else "#d5dbe1")
        yield words(x, bottom + 18, spoken(value, grid.places), anchor="middle", colour=SOFT)


def _bar(grid: Grid, row: Row, top: int, most: int) -> str:
    cell = row.cells[-1]
    middle, end = top + BAR / 2, _across(cell.value, most)
    said = cell.said(grid.places)
    parts = [words(LEFT - 10, middle + 4, shortened(row.title, 42), anchor="end")]
    if cell.shown.is_number:
        fill = "#ffffff" if cell.shown is Shown.PARTIAL else FILL
        parts.append(
            f'<rect x="{LEFT}" y="{top + 5}" width="{end - LEFT:.1f}" height="{BAR - 10}" '
            f'fill="{fill}" stroke="{COLOURS[0]}"/>'
        )
        far = cell.value + cell.error
        low, high = _across(max(0, cell.value - cell.error), most), _across(min(far, most), most)
        if cell.error:
            parts.append(whisker((low, middle), (high, middle), colour=INK, cut=far > most))
        parts.append(words(max(high, end) + 8, middle + 4, said))
    elif cell.shown is Shown.SUPPRESSED:
        parts.append(hatched(LEFT, top + 5, HIDDEN, BAR - 10))
        parts.append(words(LEFT + HIDDEN + 8, middle + 4, said, colour=SOFT))
    else:
        parts.append(words(LEFT + 8, middle + 4, said, colour=SOFT))
    return (
        f'<g data-row="{marked_up("/".join(row.codes))}" data-column="{len(row.cells) - 1}" '
        f'data-shown="{cell.shown}" data-value="{cell.value}">{"".join(parts)}'
        f"<title>{marked_up(f'{row.title}: {said}')}</title></g>"
    )

"""The table of a grid: as HTML beside its chart, or drawn beneath one that stands alone."""

from __future__ import annotations

import re

from fairlead.charting.bars import bar_chart
from fairlead.charting.drawing import INK, SOFT, rule, shortened, words
from fairlead.charting.grid import Grid
from fairlead.charting.line import line_chart
from fairlead.escaping import marked_up

NAME, LINE, SIGN, GAP = 300, 20, 7.2, 22
"""Widths and heights of the drawn table; a sign is as wide as the widest digit and a little."""
_SIZE = re.compile(r'viewBox="0 0 (\d+) (\d+)" width="\d+" height="\d+"')


def chart(grid: Grid, name: str) -> str:
    """The chart that suits a grid: lines over units of time, bars of the last of one or two."""
    return line_chart(grid, name) if len(grid.columns) > 2 else bar_chart(grid, name)


def html_table(grid: Grid) -> str:
    """A table with a row for each row of the grid, and who took part below."""
    heads = "".join(
        f'<th scope="col">{marked_up(column.unit.spelling)}</th>' for column in grid.columns
    )
    rows = "".join(
        f'<tr><th scope="row">{marked_up(row.title)}</th>'
        + "".join(
            f'<td class="{cell.shown}">{marked_up(cell.said(grid.places))}</td>'
            for cell in row.cells
        )
        + "</tr>\n"
        for row in grid.rows
    )
    taking = "".join(f"<td>{marked_up(column.coverage)}</td>" for column in grid.columns)
    return (
        f'<div class="wide"><table class="figures"><caption>{marked_up(grid.title)}, in '
        f"{marked_up(grid.measure.unit)}, ± the error at 95 %</caption>\n"
        f'<thead><tr><th scope="col">{marked_up(grid.by)}</th>{heads}</tr></thead>\n'
        f"<tbody>{rows}</tbody>\n"
        f'<tfoot><tr><th scope="row">Participants of those expected</th>{taking}</tr></tfoot>'
        "</table></div>\n"
    )


def charted(grid: Grid, name: str = "chart") -> str:
    """A picture that stands alone: the chart, and its table drawn beneath."""
    svg = chart(grid, name)
    found = _SIZE.search(svg)
    assert found is not None  # noqa: S101 - drawn a line above
    width, top = int(found[1]), int(found[2]) + 24
    lines = [("", [column.unit.spelling for column in grid.columns])]
    lines += [(row.title, [cell.said(grid.places) for cell in row.cells]) for row in grid.rows]
    lines.append(("Participants", [column.coverage for column in grid.columns]))
    column = GAP + SIGN * max([8, *(len(said) for _, cells in lines for said in cells)])
    width = max(width, round(NAME + column * len(grid.columns)))
    drawn = "\n".join(
        _line(top + LINE * (number + 1), line, column, head=number == 0)
        for number, line in enumerate(lines)
    )
    table = (
        f'<g role="table" aria-label="{marked_up(grid.title)}">'
        f"{rule(0, top + 6, width, top + 6, colour=SOFT)}\n{drawn}</g>"
    )
    height = top + LINE * (len(lines) + 1)
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    paper = f'</desc>\n<rect width="{width}" height="{height}" fill="#ffffff"/>'
    svg = _SIZE.sub(size, svg, count=1).replace("</desc>", paper, 1)
    return svg.replace("\n</svg>", f"\n{table}\n</svg>")


def _line(y: float, line: tuple[str, list[str]], column: float, *, head: bool) -> str:
    title, cells = line
    role = "columnheader" if head else "cell"
    parts = [words(8, y, shortened(title, 40), more=' role="rowheader"')]
    for place, said in enumerate(cells):
        x = NAME + column * (place + 1) - 10
        parts.append(
            words(x, y, said, anchor="end", colour=SOFT if head else INK, more=f' role="{role}"')
        )
    return f'<g role="row">{"".join(parts)}</g>'

"""Charts: they show what their tables say, to whoever sees, hears or prints them."""

from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.charting import bars, line
from fairlead.charting.drawing import COLOURS, reach, ticks
from fairlead.charting.grid import Grid, grid_of
from fairlead.charting.table import chart, charted, html_table
from fairlead.cubes.cube import Measure
from fairlead.cubes.period import parse_period
from fairlead.errors import Conflict
from fairlead.published import Published, PublishedCell, Shown
from tests.released import every_kind, release, releases, small

SVG = "{http://www.w3.org/2000/svg}"
LEVEL = "quarter,country,kind"


def grid(period: str = "2026-Q1..2026-Q4", measure: str = "due") -> Grid:
    """Three quarters of every kind of cell, and one that was not released."""
    cube = small().cube("reports")
    made = [release(small(), "reports", LEVEL, u, every_kind)
            for u in ("2026-Q1", "2026-Q2", "2026-Q4")]  # fmt: skip
    level = cube.level(LEVEL)
    units = parse_period(period).units(level.time)
    return grid_of(cube, level, cube.measure(measure), units, made)


def marks(svg: str) -> list[ElementTree.Element]:
    """The groups that stand for a cell."""
    return [g for g in ElementTree.fromstring(svg).iter(f"{SVG}g") if g.get("data-shown")]


@pytest.mark.parametrize("period", ["2026-Q1..2026-Q4", "2026-Q1"])
def test_a_chart_names_itself(period: str) -> None:
    """Whoever cannot see a chart hears its title and what it shows, and nothing in it runs."""
    svg = chart(grid(period), "one")
    root = ElementTree.fromstring(svg)
    title, desc = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert root.get("role") == "img"
    assert title is not None
    assert desc is not None
    assert root.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"
    assert title.text == "Reports: Due"
    assert "The table has every figure." in (desc.text or "")
    assert not re.search(r"<script|href|style=|url\(|on\w+=", svg)


def test_a_line_stands_where_its_table_says() -> None:
    """Every mark of a line is at the height of its cell's figure, and no other cell has one."""
    given_grid = grid()
    svg = chart(given_grid, "one")
    frame = line.Frame(columns=4, scale=ticks(1265))
    found = {}
    for group in marks(svg):
        circle = group.find(f"{SVG}circle")
        shape = group.find(f"{SVG}polygon")
        row, column = group.get("data-row", ""), int(group.get("data-column", ""))
        whisker = group.find(f"{SVG}line")
        assert whisker is not None
        assert float(whisker.get("x1", "")) == pytest.approx(frame.x(column), abs=0.1)
        if circle is not None:
            y = float(circle.get("cy", ""))
        else:
            assert shape is not None
            ys = [float(p.split(",")[1]) for p in shape.get("points", "").split()]
            y = (min(ys) + max(ys)) / 2
        found[row, column] = int(group.get("data-value", ""))
        assert y == pytest.approx(frame.y(found[row, column]), abs=0.2)
    told = {
        ("/".join(row.codes), column): cell.value
        for row in given_grid.rows
        for column, cell in enumerate(row.cells)
        if cell.shown.is_number
    }
    assert found == told


def test_a_line_is_broken_where_nothing_is_shown() -> None:
    """No line runs through a quarter without a figure, and signs below say why there is none."""
    root = ElementTree.fromstring(chart(grid(), "one"))
    lines = [item.get("points", "").split() for item in root.iter(f"{SVG}polyline")]
    assert [len(points) for points in lines] == [2, 2]
    signs = [(t.get("data-sign"), t.text) for t in root.iter() if t.get("data-sign")]
    missing, hidden = ("not-reported", "–"), ("suppressed", None)
    assert signs == [
        *[missing] * 2, hidden, hidden, missing, hidden, *[missing] * 4,
    ]  # fmt: skip


def test_a_suppressed_cell_is_hatched_and_no_other_is() -> None:
    """Lines and bars have a hatched box for each suppressed cell, always of one size."""
    for period, key in (("2026-Q1..2026-Q4", 1), ("2026-Q1", 0)):
        found = grid(period)
        svg = chart(found, "one")
        boxes = re.findall(r'<path d="M[^"]*z(?:M[^"]+L[^"]+)+"', svg)
        assert len(boxes) == found.counted()[Shown.SUPPRESSED] + key
        assert len({re.sub(r"[^h]*h([0-9.]+)v([0-9.]+).*", r"\1 \2", box) for box in boxes}) == 1


def test_rows_without_a_figure_are_named_or_counted() -> None:
    """Of many rows that have no figure some stand beneath the lines, and the rest are counted."""
    cube = small().cube("reports")
    level = cube.level("month,port,kind")
    units = parse_period("2026-01..2026-03").units(level.time)

    def hidden(_: Measure, codes: tuple[str, ...]) -> PublishedCell:
        return PublishedCell.of(codes, None)

    made = [release(small(), "reports", level.name, u.spelling, hidden) for u in units]
    svg = line.line_chart(grid_of(cube, level, cube.measures[0], units, made), "one")
    assert svg.count('data-sign="suppressed"') == line.BARE * 3
    assert f"and {level.width - line.BARE} more without a figure" in svg


def test_a_bar_is_as_long_as_its_table_says() -> None:
    """A bar's length is its figure's, and a word stands where there is none."""
    given_grid = grid("2026-Q1")
    found = marks(chart(given_grid, "one"))
    top = ticks(1265)[-1]
    cells = [row.cells[0] for row in given_grid.rows]
    for group, cell in zip(found, cells, strict=True):
        assert group.get("data-shown") == cell.shown.value
        bar = group.find(f"{SVG}rect")
        said = [text.text for text in group.iter(f"{SVG}text")]
        assert cell.said(0) in said
        assert (bar is not None) == cell.shown.is_number
        if bar is not None:
            room = bars.WIDTH - bars.LEFT - bars.RIGHT
            assert float(bar.get("width", "")) == pytest.approx(room * cell.value / top, abs=0.1)


def test_a_table_tells_every_kind_of_cell_apart() -> None:
    """Suppressed, nought and not reported are other words and other classes in HTML."""
    html = html_table(grid())
    for kind, said in (
        ("value", "1,250 ± 15"), ("zero", "0 ± 15"), ("suppressed", "suppressed"),
        ("not-reported", "not reported"),
    ):  # fmt: skip
        assert f'<td class="{kind}">{said}</td>' in html
    assert html.count("<td>12 of 14</td>") == 3
    assert html.count("<td>none</td>") == 1


def test_a_picture_that_stands_alone_has_its_table() -> None:
    """Everything of the table is drawn beneath the chart, within the picture."""
    given_grid = grid()
    root = ElementTree.fromstring(charted(given_grid))
    table = next(g for g in root.iter(f"{SVG}g") if g.get("role") == "table")
    rows = [[t.text for t in row] for row in table if row.get("role") == "row"]
    assert rows[0][1:] == ["2026-Q1", "2026-Q2", "2026-Q3", "2026-Q4"]
    assert [row[1:] for row in rows[1:-1]] == [
        [cell.said(0) for cell in row.cells] for row in given_grid.rows
    ]
    height = float(root.get("height", ""))
    assert all(float(t.get("y", "")) < height for t in table.iter(f"{SVG}text"))


@settings(max_examples=40, deadline=None)
@given(releases())
def test_every_chart_is_well_formed(made: Published) -> None:
    """Whatever the figures, a chart is XML, within its frame, and its table is complete."""
    for measure in made.cube.measures:
        found = grid_of(made.cube, made.level, measure, [made.unit], [made])
        for svg in (bars.bar_chart(found, "a"), line.line_chart(found, "b"), charted(found)):
            root = ElementTree.fromstring(svg)
            width, height = float(root.get("width", "")), float(root.get("height", ""))
            for text in root.iter(f"{SVG}text"):
                assert 0 <= float(text.get("x", "")) <= width
                assert 0 <= float(text.get("y", "")) <= height
        assert html_table(found).count("<td class=") == made.level.width


def test_names_at_the_end_of_lines_do_not_cover_each_other() -> None:
    """Lines that end at one height have their names apart."""
    cube = small().cube("reports")
    level = cube.level("month,port,kind")
    units = parse_period("2026-01..2026-03").units(level.time)
    made = [release(small(), "reports", level.name, u.spelling, every_kind) for u in units]
    svg = line.line_chart(grid_of(cube, level, cube.measures[0], units, made), "one")
    names = [
        float(t.get("y", "")) for t in ElementTree.fromstring(svg).iter(f"{SVG}text")
        if float(t.get("x", "")) > line.WIDTH - line.RIGHT
    ]  # fmt: skip
    assert len(names) == 6
    assert all(b - a >= line.LABEL for a, b in itertools.pairwise(names))


@given(st.integers(1, 2**62))
def test_a_scale_is_round_and_reaches_the_top(top: int) -> None:
    """Ticks begin at nought, step evenly by 1, 2 or 5 times a power of ten, and are few."""
    found = ticks(top)
    assert found[0] == 0
    assert found[-1] >= top
    assert 2 <= len(found) <= 6
    step = found[1]
    assert list(found) == [step * n for n in range(len(found))]
    assert str(step).rstrip("0") in {"1", "2", "5"}


@pytest.mark.parametrize("period", ["2026-Q1..2026-Q2", "2026-Q1"])
def test_a_wide_error_does_not_press_the_figures_together(period: str) -> None:
    """The largest figure stands at two fifths of its axis or higher; an error that reaches further
    ends within the axis, in an arrow."""

    def wide(_: Measure, codes: tuple[str, ...]) -> PublishedCell:
        return PublishedCell.of(codes, 125, 1_275 if codes[0] == "BE" else 5)

    cube = small().cube("reports")
    level = cube.level(LEVEL)
    units = parse_period(period).units(level.time)
    made = [release(small(), "reports", LEVEL, unit.spelling, wide) for unit in units]
    svg = chart(grid_of(cube, level, cube.measure("due"), units, made), "one")
    assert 125 / ticks(reach([(125, 1_275), (125, 5)]))[-1] >= 0.4
    upright = len(units) > 1
    for group in marks(svg):
        error, ends = group.find(f"{SVG}line"), group.find(f"{SVG}path")
        assert error is not None
        assert ends is not None
        if upright:
            assert float(error.get("y2", "")) >= line.TOP - 0.1
        else:
            assert float(error.get("x2", "")) <= bars.WIDTH - bars.RIGHT + 0.1
        assert ("l" in ends.get("d", "")) == group.get("data-row", "").startswith("BE")


@given(st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 2**40)), max_size=8))
def test_an_axis_has_room_for_every_figure(figures: list[tuple[int, int]]) -> None:
    """It reaches to the largest figure and no further than twice that, or, where all are nought, to
    the end of the widest error."""
    largest = max((value for value, _ in figures), default=0)
    widest = max((error for _, error in figures), default=0)
    assert max(1, largest) <= reach(figures) <= max(1, 2 * largest or widest)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("colour", COLOURS)
def test_colours_stand_out_from_white(colour: str) -> None:
    """Each colour has a contrast of 4.5 to 1 (WCAG 2.2, 1.4.3)."""
    assert 1.05 / (luminance(colour) + 0.05) >= 4.5


def test_two_releases_of_one_unit_are_no_grid() -> None:
    """Which of two releases counts is for whoever keeps them, and is never guessed here."""
    cube = small().cube("reports")
    level = cube.level(LEVEL)
    made = [release(small(), "reports", LEVEL, "2026-Q1", every_kind, version=v) for v in (1, 2)]
    with pytest.raises(Conflict):
        grid_of(cube, level, cube.measures[0], [made[0].unit], made)


def test_a_grid_counts_what_it_shows() -> None:
    """Of four quarters one is not reported, in all its cells."""
    counted = grid().counted()
    assert counted[Shown.NOT_REPORTED] == 3 + 4
    assert sum(counted.values()) == 16

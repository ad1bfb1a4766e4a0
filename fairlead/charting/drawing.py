"""The pieces that charts are drawn with: texts, lines, marks, and the picture around them."""

from __future__ import annotations

from collections.abc import Iterable

from fairlead.escaping import marked_up

INK, SOFT, RULE = "#1b2733", "#5a6875", "#d5dbe1"
FONT = "Liberation Sans, DejaVu Sans, Arial, sans-serif"
COLOURS = ("#0072b2", "#b84a00", "#00795a", "#a0467f", "#1b2733", "#766400")
"""Told apart with any kind of colour vision; each at least 4.5 to 1 against white."""
DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 2", "12 4")
CAP, HATCH = 3, 6
"""Half the width of a whisker's ends; how far the lines of a hatch are apart."""


def picture(parts: Iterable[str], size: tuple[int, int], name: str, said: tuple[str, str]) -> str:
    """An SVG with its title and description for whoever cannot see it.

    :param name: of its ids, unique in a page. :param said: title and description.
    """
    title, about = said
    width, height = size
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-labelledby="{marked_up(name)}-t {marked_up(name)}-d" '
        f'font-family="{FONT}" font-size="13">\n'
        f'<title id="{marked_up(name)}-t">{marked_up(title)}</title>\n'
        f'<desc id="{marked_up(name)}-d">{marked_up(about)}</desc>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def words(
    x: float, y: float, text: str, *, anchor: str = "start", colour: str = INK, more: str = ""
) -> str:
    """A text whose base line begins, ends or has its middle there."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{more}>'
        f"{marked_up(text)}</text>"
    )


def rule(
    x: float, y: float, to_x: float, to_y: float, *, colour: str = RULE, more: str = ""
) -> str:
    """A straight line."""
    return (
        f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="{colour}"{more}/>'
    )


def head(x: float, title: str, said: str) -> str:
    """What a chart shows, and in what, above it."""
    return words(x, 17, title, more=' font-weight="600"') + words(x, 36, said, colour=SOFT)


def whisker(
    low: tuple[float, float], high: tuple[float, float], *, colour: str, cut: bool = False
) -> str:
    """An error, upright or lying: a line with a cap at either end.

    :param cut: it reaches further than the axis: an arrow at its high end says so.
    """
    upright = low[0] == high[0]
    across = f"m-{CAP},0h{2 * CAP}" if upright else f"m0,-{CAP}v{2 * CAP}"
    arrow = (
        f"m-{CAP},{2 * CAP}l{CAP},-{2 * CAP}l{CAP},{2 * CAP}"
        if upright
        else f"m-{2 * CAP},-{CAP}l{2 * CAP},{CAP}l-{2 * CAP},{CAP}"
    )
    ends = ((low, across), (high, arrow if cut else across))
    drawn = "".join(f"M{x:.1f},{y:.1f}{end}" for (x, y), end in ends)
    return rule(*low, *high, colour=colour) + f'<path d="{drawn}" fill="none" stroke="{colour}"/>'


def hatched(x: float, y: float, width: float, height: float) -> str:
    """A hatched box: a figure that is not shown. Its lines are drawn, because a pattern is named by
    an address, and nothing here names one."""
    lines = [f"M{x:.1f},{y:.1f}h{width:.1f}v{height:.1f}h{-width:.1f}z"]
    reach = HATCH
    while reach < width + height:
        left, top = x + max(0, reach - height), y + min(reach, height)
        right, end = x + min(reach, width), y + max(0, reach - width)
        lines.append(f"M{left:.1f},{top:.1f}L{right:.1f},{end:.1f}")
        reach += HATCH
    return f'<path d="{"".join(lines)}" fill="none" stroke="{SOFT}"/>'


def path(points: Iterable[tuple[float, float]], place: int) -> str:
    """A line through points, in the colour and the dashes of a place."""
    drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dash = DASHES[place % len(DASHES)]
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<polyline points="{drawn}" fill="none" stroke="{COLOURS[place % len(COLOURS)]}" '
        f'stroke-width="2"{dashed}/>'
    )


def mark(x: float, y: float, place: int, *, hollow: bool = False) -> str:
    """The mark of a place: a circle, a square, a triangle, a diamond, a cross or a hexagon."""
    shape = _SHAPES[place % len(_SHAPES)]
    corners = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in shape)
    colour = COLOURS[place % len(COLOURS)]
    fill = "#ffffff" if hollow else colour
    look = f'fill="{fill}" stroke="{colour}" stroke-width="1.5"'
    if not shape:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" {look}/>'
    return f'<polygon points="{corners}" {look}/>'


_SHAPES: tuple[tuple[tuple[float, float], ...], ...] = (
    (),
    ((-4, -4), (4, -4), (4, 4), (-4, 4)),
    ((0, -5), (5, 4), (-5, 4)),
    ((0, -5.5), (5.5, 0), (0, 5.5), (-5.5, 0)),
    ((-1.5, -5), (1.5, -5), (1.5, -1.5), (5, -1.5), (5, 1.5), (1.5, 1.5), (1.5, 5), (-1.5, 5),
     (-1.5, 1.5), (-5, 1.5), (-5, -1.5), (-1.5, -1.5)),
    ((-5, 0), (-2.5, -4.3), (2.5, -4.3), (5, 0), (2.5, 4.3), (-2.5, 4.3)),
)  # fmt: skip


def shortened(text: str, most: int) -> str:
    """A text of at most so many characters; what was cut off stands in the table."""
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def reach(figures: Iterable[tuple[int, int]]) -> int:
    """How far an axis goes: to where errors end, but no further than twice the largest figure.
    Otherwise one wide error would press all the figures together.

    :param figures: each with its error.
    """
    known = list(figures)
    largest = max((value for value, _ in known), default=0)
    ends = max((value + error for value, error in known), default=0)
    return max(1, min(ends, 2 * largest) if largest else ends)


def ticks(top: int, wanted: int = 5) -> tuple[int, ...]:
    """Round numbers from nought to at least ``top``, at most one more than ``wanted``."""
    step = 1
    for exponent in range(len(str(max(1, top))) + 1):
        for first in (1, 2, 5):
            step = first * 10**exponent
            if step * wanted >= top:
                steps = max(1, -(-top // step))
                return tuple(range(0, step * steps + 1, step))
    return (0, step * wanted)

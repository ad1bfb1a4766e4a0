"""A usage report to look at: bars in a terminal, and one page that runs and loads nothing.

On the page a policy inside says so, and only its own style sheet, named by its hash, applies. Bars
are inline SVG beside their number, so nothing rests on the picture. Every value passes
:func:`text`."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterator, Sequence
from itertools import groupby

from fairlead.auditing.usage import Line

WIDTH = 30
"""Characters of the longest bar."""
_EIGHTHS = " ▏▎▍▌▋▊▉"
_SVG = 220
_STYLE = """
:root { color-scheme: light; --ink: #1b2733; --soft: #5a6875; --line: #c4ccd4; --bar: #2f6f9f; }
body {
  font: 10.5pt/1.45 "Liberation Sans", "DejaVu Sans", Arial, sans-serif; color: var(--ink);
  margin: 0 auto; max-width: 60rem; padding: 2rem 1.5rem 3rem;
}
h1 { font-size: 1.6rem; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2rem 0 .4rem; padding-top: .5rem; border-top: 2px solid; }
.soft { color: var(--soft); }
table { border-collapse: collapse; margin: .6rem 0 1rem; min-width: 32rem; }
caption { text-align: left; font-weight: 600; padding-bottom: .2rem; }
th, td { border-bottom: 1px solid var(--line); padding: .2rem .6rem .2rem 0; text-align: left; }
th { font-weight: normal; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
svg { display: block; } rect { fill: var(--bar); }
@page { size: A4; margin: 12mm; }
@media print { body { max-width: none; padding: 0; } tr { break-inside: avoid; } }
"""
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; form-action 'none'; base-uri 'none'"


def bar(count: int, most: int) -> str:
    """A bar of block characters; anything above nothing shows."""
    eighths = max(1, round(count * WIDTH * 8 / most)) if count and most else 0
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def with_bars(lines: Sequence[Line]) -> Iterator[tuple[str, str, str, int, str]]:
    """Rows of a table: bars compare what is of one kind; a total has none."""
    for _, group in groupby(lines, key=lambda line: (line.part, line.of)):
        rows = list(group)
        most = max(line.count for line in rows)
        for line in rows:
            drawn = bar(line.count, most) if line.which else ""
            yield line.part, line.of, line.which, line.count, drawn


def page(lines: Sequence[Line], *, log: str, span: str, proof: str) -> str:
    """The whole page.

    :param log: whose log. :param span: which time, in words. :param proof: what it was counted
    from."""
    parts = []
    for part, of_part in groupby(lines, key=lambda line: line.part):
        parts.append(f"<h2>{text(part.capitalize())}</h2>")
        for of, group in groupby(of_part, key=lambda line: line.of):
            parts.append(_table(of, list(group)))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>Use of {text(log)}, {text(span)}</title><style>{_STYLE}</style></head><body>"
        f"<h1>Use of {text(log)}</h1><p>{text(span)}</p>"
        '<p class="soft">Counted from the leaves of the audit log alone. No leaf says whether an '
        f"answer was a hit, so no count does. {text(proof)}</p>"
        f"{''.join(parts)}</body></html>\n"
    )


def _table(of: str, lines: Sequence[Line]) -> str:
    most = max(line.count for line in lines) or 1
    rows = "".join(
        f"<tr><th>{text(line.which or of)}</th><td class=n>{line.count:,}</td>"
        f"<td>{_svg(line.count, most) if line.which else ''}</td></tr>"
        for line in lines
    )
    caption = f"<caption>{text(of)}</caption>" if lines[0].which else ""
    return f"<table>{caption}{rows}</table>"


def _svg(count: int, most: int) -> str:
    width = max(1, round(count * _SVG / most)) if count else 0
    return (
        f'<svg width="{_SVG}" height="12" role="img" aria-label="{count:,} of {most:,}">'
        f'<rect width="{width}" height="12"/></svg>'
    )


def text(value: object) -> str:
    """A value as HTML text: escaped, and without characters that only pretend to be others."""
    printable = "".join(
        c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value)[:2000]
    )
    return html.escape(printable, quote=True)

"""The page around the pack's sections: one file that runs nothing and loads nothing.

A policy inside says so, and only its own style sheet, named by its hash, applies.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence

from fairlead.escaping import marked_up

MAX_WHOLE = 24
"""Characters of a figure or a day that is kept in one line."""
_STYLE = """
:root { color-scheme: light; --ink: #1b2733; --soft: #5a6875; --line: #c4ccd4; --wash: #f4f6f8; }
* { box-sizing: border-box; }
body {
  font: 11pt/1.5 "Liberation Sans", "DejaVu Sans", Arial, sans-serif; color: var(--ink);
  margin: 0 auto; max-width: 76rem; padding: 2rem 1.5rem 4rem; background: #fff;
}
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.35rem; margin: 2.8rem 0 .5rem; padding-top: .6rem; border-top: 2px solid; }
h3 { font-size: 1.1rem; margin: 1.8rem 0 .3rem; }
h4 { font-size: 1rem; margin: 1.4rem 0 .2rem; }
p, ul { margin: .4rem 0 .6rem; max-width: 52rem; }
a { color: #00558a; }
.soft { color: var(--soft); }
.told { border-left: 4px solid #0072b2; padding: .3rem .9rem; background: var(--wash); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .5rem 0 1.2rem; font-size: .9rem; }
caption { text-align: left; color: var(--soft); padding-bottom: .3rem; }
th, td { border: 1px solid var(--line); padding: .28rem .55rem; text-align: left;
  vertical-align: top; }
th { background: var(--wash); font-weight: 600; }
table.figures td, td.n {
  text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums;
}
td.whole, table.figures thead th { white-space: nowrap; }
tfoot td, tfoot th { color: var(--soft); font-weight: normal; }
td.suppressed { background: repeating-linear-gradient(135deg, #fff 0 5px, #e3e7eb 5px 6.5px); }
td.not-reported { color: var(--soft); font-style: italic; background: var(--wash); }
td.partial { font-style: italic; }
td.overdue { font-weight: 700; }
figure { margin: .6rem 0; overflow-x: auto; }
code { font: .85rem "Liberation Mono", "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
@media screen and (max-width: 48rem) {
  body { padding: 1rem .8rem 3rem; } h2 { margin-top: 2rem; }
  .wide table { font-size: .8rem; } .wide th[scope="row"] { min-width: 8rem; }
}
@page { size: A4 landscape; margin: 12mm; }
@media print {
  body { max-width: none; padding: 0; font-size: 9pt; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  tr, figure { break-inside: avoid; } h2 { break-before: page; } h3, h4 { break-after: avoid; }
  table { font-size: 8.5pt; } .wide, figure { overflow: visible; }
}
"""
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; form-action 'none'; base-uri 'none'"


def page(title: str, body: Iterable[str]) -> str:
    """The whole page. :param body: HTML."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{marked_up(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def rows_table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of texts; numbers stand at the right, the first cell heads its row."""
    heads = "".join(f'<th scope="col">{marked_up(column)}</th>' for column in columns)
    body = "".join(
        f'<tr><th scope="row">{marked_up(first)}</th>{"".join(_cell(cell) for cell in rest)}</tr>\n'
        for first, *rest in rows
    )
    return (
        f'<div class="wide"><table><caption>{marked_up(caption)}</caption>\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>{body}</tbody></table></div>\n"
    )


def _cell(cell: object) -> str:
    text = f"{cell:,}" if isinstance(cell, int) else str(cell)
    kind = ""
    if isinstance(cell, int):
        kind = ' class="n"'
    elif text == "overdue":
        kind = ' class="overdue"'
    elif text[:1].isdigit() and len(text) <= MAX_WHOLE:
        kind = ' class="whole"'
    return f"<td{kind}>{marked_up(text)}</td>"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    named = f' class="{kind}"' if kind else ""
    return f"<p{named}>{marked_up(text)}</p>"


def heading(level: int, text: str, name: str = "") -> str:
    """A heading, to which ``#name`` leads."""
    named = f' id="{marked_up(name)}"' if name else ""
    return f"<h{level}{named}>{marked_up(text)}</h{level}>"

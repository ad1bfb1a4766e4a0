"""The matrix as one page, for people who sign it: a coloured grid for each purpose, then the rows.

One file that runs nothing and loads nothing; a policy inside says so, and only its own style sheet,
named by its hash, applies. A cell says its step in a letter and in words too, so nothing rests on
colour. Every value passes :func:`text`.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Mapping, Sequence

from fairlead.policy.documents import Registry
from fairlead.policy.figures.matrix import FIGURE_COLUMNS, FigureRow
from fairlead.policy.matrix import LEVELS, MatrixRow, grid
from fairlead.policy.sides import Policy
from fairlead.policy.widened import scheme_words

LEGEND: Mapping[str, tuple[str, str]] = {
    "nothing": ("–", "nothing: the question is refused"),
    "pointer": ("P", "a pointer: that something is held, or whom to call"),
    "count": ("C", "roughly how much is held"),
    "fields": ("F", "some fields of a record"),
    "record": ("R", "the record"),
}
"""The letter and the words of each step."""

_STYLE = """
:root { color-scheme: light; --ink: #1b2733; --soft: #5a6875; --line: #c4ccd4; --wash: #f4f6f8; }
* { box-sizing: border-box; }
body {
  font: 10.5pt/1.45 "Liberation Sans", "DejaVu Sans", Arial, sans-serif; color: var(--ink);
  margin: 0 auto; max-width: 76rem; padding: 2rem 1.5rem 3rem;
}
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .4rem; padding-top: .6rem; border-top: 2px solid; }
p { margin: .4rem 0; max-width: 52rem; }
.soft { color: var(--soft); }
table { border-collapse: collapse; margin: .6rem 0 1.2rem; font-size: .9rem; }
caption { text-align: left; color: var(--soft); padding-bottom: .3rem; }
th, td {
  border: 1px solid var(--line); padding: .3rem .5rem; text-align: left; vertical-align: top;
}
th { background: var(--wash); font-weight: 600; }
table.grid td { text-align: center; min-width: 5.2rem; }
table.grid td b { font-size: 1.15em; }
table.grid a { color: inherit; text-decoration: none; display: block; }
table.grid a:focus, table.grid a:hover { outline: 2px solid var(--ink); }
small { display: block; color: inherit; }
.nothing { background: #ffffff; color: var(--soft); }
.pointer { background: #e3eef9; }
.count { background: #c3dbf1; }
.fields { background: #fbe3b5; }
.record { background: #f3b39b; }
tr:target td { outline: 2px solid var(--ink); }
@page { size: A4 landscape; margin: 12mm; }
@media print { body { max-width: none; padding: 0; font-size: 8.5pt; } tr { break-inside: avoid; } }
"""
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; form-action 'none'; base-uri 'none'"


def text(value: object) -> str:
    """A value as HTML text: escaped, and without characters that only pretend to be others."""
    printable = "".join(
        c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value)[:2000]
    )
    return html.escape(printable, quote=True)


def page(
    rows: Sequence[MatrixRow],
    policy: Policy,
    registry: Registry,
    figures: Sequence[FigureRow] = (),
    *,
    day: str,
    name: str,
) -> str:
    """The whole page.

    :param registry: the titles of purposes and laws. :param figures: who may ask for which figures.
    :param day: the day the questions were asked. :param name: what the policy is called.
    """
    title = "Who may learn what from whom"
    purposes = list(dict.fromkeys(row.purpose for row in rows))
    numbered = {id(row): place for place, row in enumerate(rows, 1)}
    body = [
        f"<h1>{title}</h1>",
        (
            f'<p class="soft">{text(name)}, as every ordinary question of {text(day)} was decided '
            f"by the engine. {len(rows)} kinds of question are permitted; everything else is "
            "refused.</p>"
        ),
        _legend(),
        *(_section(purpose, rows, policy, registry, numbered) for purpose in purposes),
        _figures(figures, policy),
        _laws(rows, registry),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _legend() -> str:
    rows = "".join(
        f'<tr><td class="{level}"><b>{letter}</b></td><td>{text(words)}</td></tr>'
        for level, (letter, words) in LEGEND.items()
    )
    return (
        "<table><caption>What a cell says: the most that any question of its kind yields, and in "
        "which mode it may be asked. Sealed: the owner learns what is asked. Blind: it does not."
        f"</caption><tbody>{rows}</tbody></table>"
    )


def _figures(rows: Sequence[FigureRow], policy: Policy) -> str:
    heads = "".join(f'<th scope="col">{text(name)}</th>' for name in FIGURE_COLUMNS)
    lines = "".join(
        "<tr>"
        + "".join(f"<td>{_spoken(cell)}</td>" for cell in row.words(policy).values())
        + "</tr>"
        for row in rows
    )
    return (
        "<h2>Figures</h2><table><caption>Who may ask for the figures of everybody together; "
        "everything else is refused</caption>"
        f"<thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>"
    )


def _cells(row: FigureRow, policy: Policy) -> str:
    return "".join(f"<td>{_spoken(cell)}</td>" for cell in row.words(policy).values())


def _laws(rows: Sequence[MatrixRow], registry: Registry) -> str:
    named = dict.fromkeys(basis for row in rows for basis in row.legal_bases)
    lines = "".join(
        f'<tr><th scope="row">{text(basis)}</th><td>{text(registry.legal_bases[basis].title)}</td>'
        "</tr>"
        for basis in sorted(named.keys() & registry.legal_bases.keys())
    )
    return f"<h2>Legal bases</h2><table><tbody>{lines}</tbody></table>"


def _section(
    purpose: str,
    rows: Sequence[MatrixRow],
    policy: Policy,
    registry: Registry,
    numbered: Mapping[int, int],
) -> str:
    mine = [row for row in rows if row.purpose == purpose]
    cells = grid(mine)
    askers = list(dict.fromkeys(row.asker for row in mine))
    owners = list(dict.fromkeys(row.owner for row in mine))
    heads = "".join(f'<th scope="col">{_spoken(owner)}</th>' for owner in owners)
    lines = "".join(
        f'<tr><th scope="row">{_spoken(asker)}</th>'
        + "".join(_cell(cells.get((purpose, asker, owner), []), numbered) for owner in owners)
        + "</tr>"
        for asker in askers
    )
    known = registry.purposes.get(purpose)
    covert = " Covert: nobody at the owner must notice." if known and known.covert else ""
    title = f"<p>{text(known.title)}.{covert}</p>" if known else ""
    return (
        f"<h2>{_spoken(purpose)}</h2>{title}"
        '<table class="grid"><caption>Who asks (down) whom (across)</caption>'
        f"<thead><tr><td></td>{heads}</tr></thead><tbody>{lines}</tbody></table>"
        + _details(mine, policy, numbered)
    )


def _cell(rows: Sequence[MatrixRow], numbered: Mapping[int, int]) -> str:
    if not rows:
        letter, words = LEGEND["nothing"]
        return f'<td class="nothing" title="{text(words)}">{letter}</td>'
    most = max(rows, key=lambda row: LEVELS.index(row.level))
    letter, words = LEGEND[most.level]
    modes = " ".join(sorted({mode for row in rows for mode in row.modes}))
    more = f"<small>{len(rows)} rows</small>" if len(rows) > 1 else ""
    return (
        f'<td class="{most.level}" title="{text(words)}"><a href="#row-{numbered[id(rows[0])]}">'
        f"<b>{letter}</b><small>{text(modes)}</small>{more}</a></td>"
    )


def _details(rows: Sequence[MatrixRow], policy: Policy, numbered: Mapping[int, int]) -> str:
    heads = ("", "asks", "owns", "about", "mode", "learns", "legal bases", "countries",
             "under the conditions", "agreements")  # fmt: skip
    lines = "".join(_line(row, policy, numbered[id(row)]) for row in rows)
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in heads)
    return (
        f"<table><caption>Every row of this purpose</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{lines}</tbody></table>"
    )


def _line(row: MatrixRow, policy: Policy, number: int) -> str:
    schemes = scheme_words([(name,) for name in row.schemes], policy["schemes"])
    cells = (
        _spoken(row.asker), _spoken(row.owner), text(schemes), text(", ".join(row.modes)),
        text(row.words()), text(", ".join(row.legal_bases)), text(", ".join(row.countries)),
        text("; ".join(row.conditions)), text(", ".join(row.agreements)),
    )  # fmt: skip
    inner = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr id="row-{number}"><td class="{row.level}">{number}</td>{inner}</tr>'


def _spoken(word: str) -> str:
    """A word of the registry as a person says it."""
    return text(word.replace("_", " "))

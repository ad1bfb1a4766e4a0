"""The exposure as one page for a data-protection officer: to read, to print, to sign.

Pure: a document (:func:`node.exposure.document.document`) in, HTML out. The page is one file: no
script, no external resource, and a policy in it that forbids both, so that what somebody signs
cannot change when it is opened elsewhere. Every value passes :func:`text`.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from node.exposure.document import groups, limit, several_schemes
from node.exposure.processing import processing, staff

Json = Mapping[str, Any]
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'"
_STYLE = """
:root {
  color-scheme: light; --ink: #1b2733; --soft: #5a6875; --line: #d5dbe1; --wash: #f4f6f8;
  --warn: #8a3b00; --warnwash: #fff3e6; --good: #0b5c3b; --goodwash: #e8f5ee;
}
* { box-sizing: border-box; }
body {
  font: 10.5pt/1.45 "Liberation Sans", "DejaVu Sans", Arial, sans-serif; color: var(--ink);
  margin: 0 auto; max-width: 62rem; padding: 2rem 1.5rem 3rem;
}
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 {
  font-size: 1.2rem; margin: 2.2rem 0 .6rem; padding-top: .6rem;
  border-top: 2px solid var(--ink);
}
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
p { margin: .4rem 0; max-width: 48rem; }
.soft { color: var(--soft); }
code { font-family: "DejaVu Sans Mono", monospace; font-size: .86em; }
p code { overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1rem; font-size: .9rem; }
th, td {
  text-align: left; vertical-align: top; padding: .35rem .5rem;
  border-bottom: 1px solid var(--line);
}
th { background: var(--wash); border-bottom-color: var(--ink); }
table.facts th { width: 14rem; background: none; border-bottom-color: var(--line); }
td { overflow-wrap: break-word; }
td.across { background: var(--wash); }
.box {
  border: 1px solid var(--line); border-left: 6px solid var(--soft); padding: .6rem .9rem;
  margin: 1rem 0;
}
.box.warn { border-left-color: var(--warn); background: var(--warnwash); }
.box.good { border-left-color: var(--good); background: var(--goodwash); }
.chip {
  display: inline-block; border: 1px solid var(--line); border-radius: .7em; padding: 0 .5em;
  margin: .05em .15em .05em 0; background: #fff; font-size: .92em; white-space: nowrap;
}
.chip.person { border-color: var(--warn); color: var(--warn); font-weight: bold; }
.wait { color: var(--warn); font-weight: bold; }
tr.new td { background: var(--warnwash); }
.sign { display: grid; grid-template-columns: 1fr 1fr; gap: 1.2rem 2rem; margin-top: 1.2rem; }
.sign div {
  border-top: 1px solid var(--ink); padding-top: .2rem; margin-top: 2.6rem; font-size: .85rem;
}
footer { margin-top: 2.5rem; font-size: .8rem; color: var(--soft); }
@page { size: A4; margin: 16mm 14mm; }
@media print {
  body { padding: 0; max-width: none; font-size: 9pt; }
  h2, h3 { break-after: avoid; }
  tr, .box, .sign { break-inside: avoid; }
  td.across { break-after: avoid; }
  thead { display: table-header-group; }
}
"""


def text(value: object) -> str:
    """A value as HTML text: escaped, and without characters that only pretend to be others."""
    printable = "".join(
        c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value)[:400]
    )
    return html.escape(printable, quote=True)


def page(found: Json) -> str:
    """The whole page."""
    node = found["node"]
    title = f"What {node['display_name']} could release"
    body = [
        f"<h1>{text(title)}</h1>",
        (
            f'<p class="soft">Node <code>{text(node["partner"])}</code> in the federation '
            f"<code>{text(node['federation'])}</code>, measured {text(found['made_at'])} "
            f"under policy {text(found['policy_serial'])} "
            f"and directory {text(found['directory_serial'])}.</p>"
        ),
        _verdict(found),
        _summary(found),
        _recipients(found),
        _sources(found),
        _processing(found),
        _staff(found),
        _signature(found),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body>\n</html>\n"
    )


# ── Parts ────────────────────────────────────────────────────────────────────────────────────


def _verdict(found: Json) -> str:
    accepted = found["accepted"]
    waiting = [s["name"] for s in found["sources"] if not s["accepted"]]
    if accepted is None:
        return _box("warn", "<strong>Nobody has accepted this.</strong> The node answers nobody "
                    "and indexes no source until somebody does.")  # fmt: skip
    by = f"Accepted by <code>{text(accepted['by'])}</code> on {text(accepted['at'])}."
    if not found["pending"] and not waiting:
        return _box("good", f"<strong>{by}</strong> What could leave is what was accepted.")
    more = f"{len(found['pending'])} additions and {len(waiting)} sources"
    return _box("warn", f"{by} <strong>Since then it has grown: {more} are withheld until somebody "
                "accepts this page.</strong> They are marked below.")  # fmt: skip


def _summary(found: Json) -> str:
    rows = [row for row in found["rows"] if row["record_type"]]
    immediate = [row for row in rows if row["approvals"] == 0]
    partners = sorted({row["partner"] for row in immediate})
    asked = sorted({row["partner"] for row in found["rows"]})
    fields = {f for row in immediate for f in _fields(row)}
    personal = sorted(f for f in fields if _personal(found, f))
    silent = sorted(set(found["partners"]) - set(asked))
    facts = [
        ("Receive content, once they ask", _names(found, partners) or "nobody"),
        (
            "Are answered, always “no hit”",
            _names(found, sorted({*asked} - {*partners})) or "nobody",
        ),
        ("Are refused", _names(found, silent) or "nobody"),
        ("Fields that can leave", _chips(found, sorted(fields)) or "none"),
        ("Of these about persons", _chips(found, personal) or "none"),
    ]
    return (
        "<h2>In short</h2><p>Nothing is sent by itself. A partner asks about identifiers it has, "
        "for a stated purpose and legal basis; this node decides, and both sides write it into "
        "logs that cannot be changed unnoticed. What follows is the most that a question can "
        "bring. Asked <strong>sealed</strong>, this node sees the identifier; asked "
        "<strong>blind</strong>, it does not.</p>" + _facts(facts)
    )


def _recipients(found: Json) -> str:
    parts = ["<h2>Who can learn what</h2>"]
    by_partner: dict[str, list[dict[str, Any]]] = {}
    for group in groups(found):
        by_partner.setdefault(group["partner"], []).append(group)
    for partner, rows in by_partner.items():
        about = found["partners"].get(partner, {})
        parts.append(
            f"<h3>{text(about.get('display_name', partner))} "
            f'<span class="soft">({text(about.get("kind", "")).replace("_", " ")}, '
            f"{text(about.get('sector', ''))}, {text(about.get('country', ''))}, "
            f"<code>{text(partner)}</code>)</span></h3>"
        )
        rows.sort(key=lambda row: (row["purpose"], row["legal_bases"]))
        lines: list[tuple[bool, Sequence[str]]] = []
        above = ""
        for row in rows:
            heading = _purpose(found, row)
            if heading != above:
                lines.append((False, (heading,)))
            above = heading
            lines.append((not row["accepted"], _recipient(found, row)))
        parts.append(_table(("Asked", "By", "Records", "Learns at most", "Limits"), lines))
    silent = sorted(set(found["partners"]) - by_partner.keys())
    if silent:
        parts.append(f"<p>Refused whatever they ask: {_names(found, silent)}.</p>")
    return "".join(parts)


def _purpose(found: Json, row: Mapping[str, Any]) -> str:
    """The heading over the lines of one purpose and its legal bases."""
    purpose = found["purposes"].get(row["purpose"], {})
    covert = " · covert: nobody at the owner may notice" if purpose.get("covert") else ""
    bases = "; ".join(text(found["legal_bases"].get(b, b)) for b in row["legal_bases"])
    title = text(purpose.get("title", row["purpose"]))
    return f'<strong>{title}</strong>{covert}<br><span class="soft">{bases}</span>'


def _recipient(found: Json, row: Mapping[str, Any]) -> Sequence[str]:
    learns = _facets(found, row)
    if not row["accepted"]:
        learns = f'<span class="wait">Not accepted, withheld:</span><br>{learns}'
    return (
        f"<strong>{text(row['mode'])}</strong>",
        several_schemes(row) or "<br>".join(f"<code>{text(s)}</code>" for s in row["schemes"]),
        _records(row),
        learns,
        _limits(row),
    )


def _records(row: Mapping[str, Any]) -> str:
    if not row["record_type"]:
        return '<span class="soft">none held</span>'
    person = ' <span class="chip person">about persons</span>' if row["personal"] else ""
    sources = ", ".join(text(s) for s in row["sources"])
    return f'{text(row["record_type"])}{person}<br><span class="soft">{sources}</span>'


def _facets(found: Json, row: Mapping[str, Any]) -> str:
    if not row["record_type"]:
        return "“no hit”, always"
    plain = {"existence": "that something is held", "count_band": "roughly how much",
             "contact_desk": "whom to call"}  # fmt: skip
    said = [text(plain[f]) for f in row["facets"] if f in plain]
    fields = _chips(found, _fields(row))
    held = ", ".join(text(name) for name in row["redacted"])
    lines = ["; ".join(said), fields, f'<span class="soft">never: {held}</span>' if held else ""]
    return "<br>".join(line for line in lines if line)


def _limits(row: Mapping[str, Any]) -> str:
    if not row["record_type"]:
        return ""
    lines = [f"{limit(row['max_records'])} records a term",
             f"kept {limit(row['retention_days'])} days at most"]  # fmt: skip
    if row["approvals"]:
        lines.insert(0, f"after {row['approvals']} approval here")
    agreements = ", ".join(f"<code>{text(a)}</code>" for a in row["agreements"])
    return "<br>".join(text(line) for line in lines) + f"<br>under {agreements}"


def _sources(found: Json) -> str:
    if not found["sources"]:
        return "<h2>Out of what</h2><p>No source is mapped: this node holds nothing to release.</p>"
    rows = []
    for source in found["sources"]:
        state = "accepted" if source["accepted"] else '<span class="wait">not accepted</span>'
        person = ' <span class="chip person">about persons</span>' if source["personal"] else ""
        rows.append(
            (
                not source["accepted"],
                (
                    (f"<strong>{text(source['name'])}</strong>{person}<br>"
                    f'{text(source["record_type"])}<br><span class="soft">{state}</span>'),
                    "<br>".join(f"<code>{text(s)}</code>" for s in source["schemes"]),
                    _chips(found, source["fields"])
                    + (
                        '<br><span class="soft">always withheld: '
                        + ", ".join(text(f) for f in source["withheld"]) + "</span>"
                        if source["withheld"] else ""
                    ),
                    "<br>".join(text(p) for p in source["purposes"]),
                    f"{text(source['retention_days'])} days",
                    f"<code>{text(source['digest'][:16])}</code>",
                ),
            )
        )  # fmt: skip
    return (
        "<h2>Out of what</h2><p>Each source is read as its mapping says. Identifiers are indexed "
        "as "
        "keyed tokens and content is encrypted; columns that are not listed never enter. A changed "
        "mapping has another digest and is not read until it was accepted.</p>"
        + _table(("Source", "Found by", "Fields", "For purposes", "Retention", "Mapping"), rows)
    )


def _processing(found: Json) -> str:
    return (
        "<h2>Record of processing activities</h2>"
        '<p class="soft">Regulation (EU) 2016/679, Article 30(1). What this node cannot know is '
        "left open to be filled in.</p>"
        + _facts([(text(name), _lines(lines)) for name, lines in processing(found)])
    )


def _staff(found: Json) -> str:
    lines = staff(found)
    if not lines:
        return ""
    return (
        "<h2>Summary for the works council</h2><p>Some of this is data about staff or about people "
        "who work on the premises.</p>"
        + _facts([(text(name), _lines(values)) for name, values in lines])
    )


def _signature(found: Json) -> str:
    fields = ("Data-protection officer: name", "Date and signature", "For the controller: name",
              "Date and signature", "Works council, where it has a say: name",
              "Date and signature")  # fmt: skip
    return (
        "<h2>Acceptance</h2><p>Whoever signs has read that this, and no more, may leave under the "
        "conditions above. The digest covers every line and every mapping; the accepting command "
        "takes it, and refuses when anything has changed meanwhile.</p>"
        f"<p>Digest <code>{text(found['digest'])}</code></p>"
        f"<p><code>fairlead-node exposure accept --by USER --digest {text(found['digest'])} "
        "--config FILE</code></p>"
        '<div class="sign">' + "".join(f"<div>{text(f)}</div>" for f in fields) + "</div>"
        "<footer>Withheld from everybody, whatever an agreement says: records marked as active "
        "targets, TLP:RED, and whatever policy later permits beyond this page.</footer>"
    )


# ── Elements ─────────────────────────────────────────────────────────────────────────────────


def _box(kind: str, inner: str) -> str:
    return f'<div class="box {kind}">{inner}</div>'


def _facts(rows: Iterable[tuple[str, str]]) -> str:
    body = "".join(f"<tr><th scope=row>{name}</th><td>{value}</td></tr>" for name, value in rows)
    return f'<table class="facts"><tbody>{body}</tbody></table>'


def _table(head: Sequence[str], rows: Iterable[tuple[bool, Sequence[str]]]) -> str:
    columns = "".join(f"<th scope=col>{text(name)}</th>" for name in head)
    body = "".join(
        f"<tr{' class=new' if new else ''}>{_cells(cells, len(head))}</tr>" for new, cells in rows
    )
    return f"<table><thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table>"


def _cells(cells: Sequence[str], columns: int) -> str:
    """A line's cells; a single one goes across all columns, as a heading within the table."""
    if len(cells) == 1:
        return f'<td class=across colspan="{columns}">{cells[0]}</td>'
    return "".join(f"<td>{cell}</td>" for cell in cells)


def _lines(values: Iterable[str]) -> str:
    return "<br>".join(text(value) for value in values) or "…"


def _names(found: Json, partners: Iterable[str]) -> str:
    return ", ".join(text(found["partners"].get(p, {}).get("display_name", p)) for p in partners)


def _fields(row: Mapping[str, Any]) -> list[str]:
    return [f.removeprefix("field:") for f in row["facets"] if f.startswith("field:")]


def _personal(found: Json, field: str) -> bool:
    return bool(found["fields"].get(field, {}).get("personal", True))


def _chips(found: Json, fields: Iterable[str]) -> str:
    return " ".join(
        f'<span class="chip{" person" if _personal(found, f) else ""}">{text(f)}</span>'
        for f in fields
    )

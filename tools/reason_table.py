"""Write the tables of docs/reasons.md from the catalogue: ``python tools/reason_table.py``.

tests/test_reasons.py fails while the page is not what the catalogue says.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fairlead.reasons import catalogue, reason

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reasons.md"
START, END = "<!-- reasons -->\n", "<!-- /reasons -->"
TITLES = {
    "requester": "For the requester",
    "owner": "For the owner of the records alone",
    "auditor": "For auditors and security officers alone",
}


def tables() -> str:
    """A table for each audience, in the order of the catalogue, and the codes without one."""
    lines: list[str] = []
    for audience, title in TITLES.items():
        lines += [
            f"## {title}",
            "",
            "| code | audience | says | needed | next |",
            "|---|---|---|---|---|",
        ]
        for told in map(reason, catalogue().codes):
            if told.audience == audience:
                cells = (cell.replace("|", "\\|") for cell in (told.text, told.needed, told.next))
                lines.append(f"| `{told.code}` | {audience} | {' | '.join(cells)} |")
        lines.append("")
    lines += ["## Not explained one by one", "", "| codes | why | shown as |", "|---|---|---|"]
    for group in catalogue().internal:
        if group.shown_as:
            named = " ".join(f"`{code}`" for code in sorted(group.codes))
            lines.append(f"| {named} | {group.why} | `{group.shown_as}` |")
    return "\n".join([*lines, ""])


def page() -> str:
    """The page with fresh tables."""
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(START)
    return head + START + tables() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

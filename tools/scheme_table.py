"""Write the table of docs/schemes.md from the catalogue: ``python tools/scheme_table.py``.

tests/test_schemes_page.py fails while the page is not what the code says.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fairlead.identifiers import CATALOGUE

PAGE = Path(__file__).resolve().parent.parent / "docs" / "schemes.md"
START, END = "<!-- schemes -->\n", "<!-- /schemes -->"


def table() -> str:
    """One row for each scheme, in the order of the catalogue."""
    rows = ["| scheme | what it is | what is verified | what it needs beside it | for example |",
            "|---|---|---|---|---|"]  # fmt: skip
    for scheme in CATALOGUE.values():
        examples = ", ".join(f"`{text.replace('|', chr(92) + '|')}`" for text in scheme.examples)
        marks = (" · personal" if scheme.personal else "") + (
            " · pointer" if scheme.ceiling else ""
        )
        rows.append(
            f"| `{scheme.name}` | {scheme.title}{marks} | {scheme.checks} |"
            f" {scheme.issuer or '—'} | {examples} |"
        )
    return "\n".join(rows) + "\n"


def page() -> str:
    """The page with a fresh table."""
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(START)
    return head + START + table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

"""Text from elsewhere, where a program would obey it: in HTML and SVG, and in a spreadsheet."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Iterable, Sequence

REPLACED = "\N{REPLACEMENT CHARACTER}"
MAX_TEXT = 2_000
"""Characters of one text."""
_OBEYED = re.compile(r"(^|;)([\s\"']*)(?=[=+\-@])")
"""Where a spreadsheet takes a cell for a formula: where it begins, and, for programs of countries
with a decimal comma, behind a semicolon, which is where they begin the next one."""


def visible(text: object) -> str:
    """A text without characters that cannot be seen, or only pretend to be others."""
    return "".join(sign if sign.isprintable() else REPLACED for sign in str(text)[:MAX_TEXT])


def marked_up(text: object) -> str:
    """A text as HTML, or as XML: in an element or in an attribute between double quotes."""
    return html.escape(visible(text), quote=True)


def sheet(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows as CSV (RFC 4180, but lines end in a line feed) under their columns' names.

    What a spreadsheet would take for a formula gets an apostrophe before it, also when only blanks
    or quotation marks come first, and behind a semicolon within a text.
    """
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_harmless(cell) for cell in row])
    return written.getvalue()


def _harmless(cell: object) -> str:
    text = "" if cell is None else visible(cell)
    return _OBEYED.sub(r"\1'\2", text)

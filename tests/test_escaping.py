"""Text that a program would obey is made harmless, and nothing else is changed."""

from __future__ import annotations

import csv
import html
import io
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.escaping import marked_up, sheet

PRINTABLE = st.text(st.characters(exclude_categories=("C", "Z")), max_size=50)


@pytest.mark.parametrize(
    "cell", ["=1+1", "+1", "-1", "@SUM(A1)", " =1+1", "\t=1", "\r=1", "\u00a0=1"]
)
def test_a_formula_is_text(cell: str) -> None:
    """Whatever begins like a formula has an apostrophe before it."""
    (row,) = list(csv.reader(io.StringIO(sheet(["a"], [[cell]]))))[1:]
    assert row[0].startswith("'") or not row[0].lstrip().startswith(("=", "+", "-", "@"))


@given(st.lists(st.tuples(st.text(max_size=30), st.integers(0, 9)), min_size=1, max_size=4))
def test_a_sheet_reads_back_in_its_columns(rows: list[tuple[str, int]]) -> None:
    """No text breaks out of its cell, and no cell of a sheet begins like a formula."""
    read = list(csv.reader(io.StringIO(sheet(["text", "number"], rows))))
    assert [len(row) for row in read] == [2] * (len(rows) + 1)
    assert [row[1] for row in read[1:]] == [str(number) for _, number in rows]
    assert not any(cell.lstrip().startswith(("=", "+", "-", "@")) for row in read for cell in row)


@given(st.text(max_size=60))
def test_marked_up_text_is_text_in_xml(text: str) -> None:
    """Any text is well formed in an element and in an attribute, and stays text."""
    safe = marked_up(text)
    root = ElementTree.fromstring(f'<a b="{safe}">{safe}</a>')
    assert root.text == root.get("b") or not text
    assert len(root) == 0


@given(PRINTABLE)
def test_visible_text_is_not_changed(text: str) -> None:
    """What can be seen comes back as it was."""
    assert html.unescape(marked_up(text)) == text

"""The page a data-protection officer signs shows hostile names as words and runs nothing."""

from __future__ import annotations

import csv
import io
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.cli.exposure import _csv
from node.exposure.document import table_rows
from node.exposure.page import page

EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&<!--"
ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "div", "span",
    "strong", "code", "br", "table", "thead", "tbody", "tr", "th", "td", "footer",
}  # fmt: skip
ATTRIBUTES = {"lang", "charset", "http-equiv", "content", "name", "class", "scope", "colspan"}


def document(word: str = "terminal", *, accepted: bool = True, personal: bool = True) -> Any:
    """An exposure whose every free text is ``word``."""
    row = {
        "partner": word, "purpose": word, "legal_basis": word, "mode": "sealed", "scheme": word,
        "record_type": word, "personal": personal, "approvals": 0,
        "facets": ["existence", f"field:{word}"], "redacted": [word], "max_records": 20,
        "retention_days": 90, "rules": [word], "sources": [word],
    }  # fmt: skip
    party = {"display_name": word, "kind": word, "sector": word, "country": word}
    return {
        "schema": 1,
        "node": {"partner": word, "contact_desk": word, "federation": word, **party},
        "made_at": "2026-11-25T00:00:00Z", "policy_serial": 1, "directory_serial": 1,
        "digest": "ab" * 32,
        "accepted": {"digest": "cd" * 32, "by": word, "at": "x", "unchanged": accepted},
        "purposes": {word: {"title": word, "covert": True}}, "legal_bases": {word: word},
        "fields": {word: {"personal": personal}}, "partners": {word: party},
        "sources": [
            {
                "name": word, "digest": "ef" * 32, "record_type": word, "schemes": [word],
                "fields": [word], "withheld": ["driver_card"], "purposes": [word],
                "personal": personal, "retention_days": 365, "handlings": [word],
                "ground": word, "approver": word, "accepted": accepted,
            }
        ],
        "rows": [row], "pending": [] if accepted else [row],
    }  # fmt: skip


class Seen(HTMLParser):
    """What a browser would find."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.words = ""
        self.policy = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """One element."""
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        found = dict(attrs)
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found.get("content") or ""

    def handle_data(self, data: str) -> None:
        """One text."""
        self.words += data


def seen(found: Any) -> Seen:
    parser = Seen()
    parser.feed(page(found))
    parser.close()
    return parser


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=80) | st.just(EVIL), st.booleans())
def test_names_are_words(word: str, accepted: bool) -> None:
    """No name makes an element, an attribute or a script, whatever it holds."""
    parser = seen(document(word, accepted=accepted))
    assert parser.tags <= ALLOWED
    assert parser.attributes <= ATTRIBUTES


def test_hostile_names_are_shown() -> None:
    """A hostile name is there to be read, as it is written."""
    parser = seen(document(EVIL))
    assert EVIL in parser.words
    assert "script" not in parser.tags


def test_nothing_is_fetched() -> None:
    """The page itself forbids whatever it does not carry, and names no other place."""
    parser = seen(document())
    assert parser.policy.startswith("default-src 'none'")
    text = page(document())
    assert not any(word in text for word in ("http://", "https://", "url(", "@import", "src="))


def test_a_page_says_what_waits() -> None:
    """An addition nobody accepted is marked where it stands, and at the top."""
    waiting = seen(document(accepted=False)).words
    assert "withheld" in waiting
    assert "Not accepted, withheld:" in waiting
    assert "Not accepted" not in seen(document()).words
    nobody = document()
    nobody["accepted"] = None
    assert "Nobody has accepted this." in seen(nobody).words


def test_it_can_be_signed() -> None:
    """Digest, the accepting command and lines for signatures close the page."""
    words = seen(document()).words
    assert "ab" * 32 in words
    assert "Data-protection officer: name" in words
    assert "Record of processing activities" in words


@pytest.mark.parametrize("personal", [True, False])
def test_the_works_council_is_told(personal: bool) -> None:
    """Sources about people at work bring a summary for the works council, with ground and
    approver in the record of processing; others do not."""
    found = document(personal=personal)
    if not personal:
        found["sources"][0]["withheld"] = []
    words = seen(found).words
    assert ("Summary for the works council" in words) is personal
    assert "terminal: terminal, approved by terminal" in words


def test_a_spreadsheet_computes_nothing() -> None:
    """A name that begins like a formula becomes text."""
    (row,) = csv.DictReader(io.StringIO(_csv(document("=cmd|'/c calc'!A1"))))
    assert row["partner_name"].startswith("'=")
    assert row["accepted"] == "yes"


def test_the_table_groups() -> None:
    """Schemes that bring the same stand in one line."""
    found = document()
    found["rows"].append({**found["rows"][0], "scheme": "another"})
    (row,) = table_rows(found)
    assert row["schemes"] == "another terminal"

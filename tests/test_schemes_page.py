"""docs/schemes.md says what the code does: the table is generated, and every example is read."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from fairlead import identifiers
from tools.scheme_table import PAGE, page

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = [(s.name, text) for s in identifiers.CATALOGUE.values() for text in s.examples]


def test_the_table_is_what_the_code_says() -> None:
    """Run `python tools/scheme_table.py` when a scheme changes."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_reason_is_explained_on_the_page() -> None:
    """Each code that only new schemes have stands on the page with its way out."""
    text = PAGE.read_text(encoding="utf-8")
    general = {"CHECK_DIGIT", "CHECK_DIGIT_MISSING", "FORMAT"}
    assert [c for c in identifiers._MESSAGES.keys() - general if f"`{c}`" not in text] == []


@pytest.mark.parametrize(("scheme", "text"), EXAMPLES, ids=ascii)
def test_every_example_may_be_asked_about(scheme: str, text: str) -> None:
    """An example on the page is read, and its canonical form is read as itself."""
    found = identifiers.parse(scheme, text)
    assert identifiers.parse(scheme, found.value).value == found.value


def agreements() -> dict[str, dict[str, list[str]]]:
    """The baseline's agreements by id."""
    document = yaml.safe_load((ROOT / "policies/data/agreements.yaml").read_text())
    assert document["registry"]["schemes"] == list(identifiers.SCHEMES)
    rows = {row["id"]: row for row in document["agreements"]}
    return {name: {**rows.get(row.get("extends"), {}), **row} for name, row in rows.items()}


def test_private_partners_share_business_identifiers_only() -> None:
    """Between private partners: container, plate, seal, EORI and revoked badge, and no person."""
    rows = agreements()
    business = {"container", "vehicle-plate", "seal", "eori", "revoked-badge"}
    for row in rows.values():
        if row["from"] == ["sector:private"] and row["to"] == ["sector:private"]:
            assert set(row["schemes"]) == business


def test_persons_are_asked_about_by_public_partners_alone() -> None:
    """No private partner asks about a person by name, and a name alone stays among public ones."""
    for row in agreements().values():
        if any("private" in side for side in row["from"]):
            assert not {"person", "person-name"} & set(row["schemes"])
        if any("private" in side for side in row["to"]):
            assert "person-name" not in row["schemes"]

"""docs/policy.md says what the policy does: its reasons, checks, fields and bundle codes."""

from __future__ import annotations

import re
from pathlib import Path

from fairlead.policy.documents import Agreement
from fairlead.policy.reading import REQUIRED

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`([A-Za-z_]+)`", DOCUMENT))


def test_every_reason_is_documented_and_no_other() -> None:
    """The catalogue of the kernel, and what Python adds to it, is the documented list."""
    rego = (ROOT / "policies" / "reasons" / "reasons.rego").read_text(encoding="utf-8")
    catalogue = dict(re.findall(r'\t(?:requester|owner)\(\s*"([A-Z_]+)",()', rego))
    section = DOCUMENT.partition("## Reasons")[2].partition("## ")[0]
    assert len(catalogue) > 30
    assert set(re.findall(r"`([A-Z_]+)`", section)) == catalogue.keys() | {
        "POLICY_UNAVAILABLE", "OWNER_NOT_READY", "OWNER_PAUSED", "BUDGET_EXHAUSTED",
    }  # fmt: skip


def test_every_check_is_documented() -> None:
    """A check nobody wrote down is a check nobody can verify."""
    assert set().union(*REQUIRED.values()) - NAMED == set()


def test_every_field_of_an_agreement_is_documented() -> None:
    """An officer finds each field in the table."""
    fields = {field.alias or name for name, field in Agreement.model_fields.items()}
    assert fields - NAMED == set()


def test_every_bundle_code_is_documented() -> None:
    """Every way a bundle can be refused is told."""
    files = ("policy/bundle.py", "policy/manifest.py", "policy/reports.py", "policy/validity.py")
    source = "".join(
        (ROOT / "fairlead" / file).read_text(encoding="utf-8") for file in (*files, "releases.py")
    )
    codes = set(re.findall(r'"(POLICY_[A-Z_]+)"', source)) - {"POLICY_EMPTY"}
    assert codes
    assert codes - NAMED == set()


def test_the_words_of_the_page_are_those_of_the_registry() -> None:
    """Purposes, legal bases, schemes, fields and events are listed, all of them and no others."""
    import yaml

    from fairlead.vocabulary import Event

    root = Path(__file__).resolve().parent.parent
    page = (root / "docs" / "policy.md").read_text()
    words = page.partition("<!-- words -->")[2].partition("<!-- /words -->")[0]
    listed = set(re.findall(r"`([a-z0-9_-]+)`", words))
    registry = yaml.safe_load((root / "policies/data/agreements.yaml").read_text())["registry"]
    bases = {basis for purpose in registry["purposes"].values() for basis in purpose["legal_bases"]}
    known = {*registry["purposes"], *bases, *registry["schemes"], *registry["fields"]}
    assert listed == known | {event.value for event in Event}


def test_the_number_above_which_a_second_person_is_needed_is_the_policys() -> None:
    """Who reads a page plans by the number that the committed policy has."""
    data = (ROOT / "policies" / "data" / "agreements.yaml").read_text(encoding="utf-8")
    found = re.search(r"second_person_above_terms: (\d+)", data)
    assert found is not None
    page = (ROOT / "docs" / "approvals.md").read_text(encoding="utf-8")
    assert f"more than {int(found[1]):,} terms" in page

"""docs/policy.md and docs/policy/ say what the policy does: every rule has its page and its test,
every reason, check, field and bundle code is told."""

from __future__ import annotations

import re
from pathlib import Path

from fairlead.envelope.answer import OWNER_REASONS
from fairlead.policy.documents import Agreement, FiguresAgreement
from fairlead.policy.reading import REQUIRED

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
PAGES = {p.stem: p.read_text(encoding="utf-8") for p in (ROOT / "docs" / "policy").glob("*.md")}
NAMED = set(re.findall(r"`([A-Za-z_]+)`", DOCUMENT))
CODES = re.compile(r"`([A-Z]+(?:_[A-Z]+)*)`")
PYTHONS = {
    "POLICY_UNAVAILABLE", "DECISION_OTHER_POLICY", "OWNER_NOT_READY", "OWNER_PAUSED",
    "BUDGET_EXHAUSTED",
}  # fmt: skip
"""Codes that no rule gives."""


def test_rule_test_and_page_share_one_name() -> None:
    """Every package is a folder with its rule and its test, and has a page of its own."""
    folders = {p.parent.name for p in (ROOT / "policies").glob("*/*.rego")} - {"fixtures"}
    for name in folders:
        here = ROOT / "policies" / name
        assert {p.name for p in here.glob("*")} == {f"{name}.rego", f"{name}_test.rego"}
        rule, tests = (p.read_text(encoding="utf-8") for p in sorted(here.glob("*.rego")))
        assert re.findall(r"^package (.+)$", rule, re.MULTILINE) == [f"fairlead.{name}"]
        assert re.findall(r"^package (.+)$", tests, re.MULTILINE) == [f"fairlead.{name}_test"]
    assert PAGES.keys() == folders
    for name, page in PAGES.items():
        assert page.startswith(f"# {name}\n**")
        assert f"](policy/{name}.md)" in DOCUMENT


def test_every_point_is_documented_with_exactly_its_checks() -> None:
    """A page names the checks of its own point beside those of the pages it refers to."""
    shared = {name: set(re.findall(r"^\| `([a-z_]+)`", PAGES[name], re.MULTILINE))
              for name in ("question", "agreement")}  # fmt: skip
    for point in ("asking", "admission", "routing", "sovereignty", "release", "statistics"):
        required = set().union(*(c for kind, c in REQUIRED.items() if kind.split(".")[0] == point))
        named = set(re.findall(r"`([a-z_]+)`", PAGES[point]))
        assert required - named - shared["question"] - shared["agreement"] == set()


def test_every_reason_is_documented_and_no_other() -> None:
    """The catalogue of the kernel, and what Python adds to it, is the documented list."""
    rego = (ROOT / "policies" / "reasons" / "reasons.rego").read_text(encoding="utf-8")
    catalogue = set(re.findall(r'\t(?:requester|owner)\("([A-Z_]+)"\)', rego))
    assert len(catalogue) > 40
    known = catalogue | PYTHONS
    assert set(CODES.findall(PAGES["reasons"])) == known - {"DECISION_OTHER_POLICY"}
    for name, page in PAGES.items():
        assert set(CODES.findall(page)) - known <= {"EU"}, name


def test_an_owner_may_say_every_reason_that_its_rules_give_the_requester() -> None:
    """What is not in the closed list of the answer's header reaches nobody but as POLICY."""
    rego = (ROOT / "policies" / "reasons" / "reasons.rego").read_text(encoding="utf-8")
    requester = set(re.findall(r'\trequester\(\s*"([A-Z_]+)"', rego))
    elsewhere = {"USER_ROLE", "CASE_MISSING", "CASE_CLOSED", "CASE_NOT_ASSIGNED", "CASE_MISMATCH",
                 "APPROVAL_REQUIRED", "NO_PARTNER", "CUBE_UNKNOWN"}  # fmt: skip
    elsewhere |= {code for code in requester if code.startswith("FIGURES_")}
    assert requester - elsewhere <= OWNER_REASONS


def test_every_check_is_documented() -> None:
    """A check nobody wrote down is a check nobody can verify."""
    named = set(re.findall(r"`([a-z_]+)`", "\n".join(PAGES.values())))
    assert set().union(*REQUIRED.values()) - named == set()


def test_every_field_of_an_agreement_is_documented() -> None:
    """An officer finds each field in the table."""
    fields = {field.alias or name for name, field in Agreement.model_fields.items()}
    table = DOCUMENT.partition("| field | meaning |")[2].partition("\n\n")[0]
    first = [row.split("|")[1] for row in table.splitlines() if row.count("|") > 1]
    assert {name for cell in first for name in re.findall(r"`([a-z_]+)`", cell)} == fields


def test_every_field_of_an_agreement_on_figures_is_documented() -> None:
    """An officer finds each field of these, too."""
    fields = {field.alias or name for name, field in FiguresAgreement.model_fields.items()}
    table = DOCUMENT.partition("| field of `statistics` | meaning |")[2].partition("\n\n")[0]
    first = [row.split("|")[1] for row in table.splitlines() if row.count("|") > 1]
    assert {name for cell in first for name in re.findall(r"`([a-z_]+)`", cell)} == fields


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
    listed = set(re.findall(r"`([A-Za-z0-9_-]+)`", words))
    registry = yaml.safe_load((root / "policies/data/agreements.yaml").read_text())["registry"]
    bases = {basis for purpose in registry["purposes"].values() for basis in purpose["legal_bases"]}
    known = {*registry["purposes"], *bases, *registry["schemes"], *registry["fields"]}
    known |= {*registry["jurisdictions"], *registry["transfer_grounds"], *registry["instruments"]}
    known |= {a for kind in registry["instruments"].values() for a in kind["authorities"]}
    known |= set(registry["figure_roles"])
    assert listed == known | {event.value for event in Event}


def test_the_number_above_which_a_second_person_is_needed_is_the_policys() -> None:
    """Who reads a page plans by the number that the committed policy has."""
    data = (ROOT / "policies" / "data" / "agreements.yaml").read_text(encoding="utf-8")
    found = re.search(r"second_person_above_terms: (\d+)", data)
    assert found is not None
    page = (ROOT / "docs" / "approvals.md").read_text(encoding="utf-8")
    assert f"more than {int(found[1]):,} terms" in page

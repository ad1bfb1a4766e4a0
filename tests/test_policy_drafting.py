"""A new agreement is valid, commented and narrow; a draft is a copy that nobody signed."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from fairlead.errors import Conflict, Misconfigured
from fairlead.policy.building import is_signed, is_stale
from fairlead.policy.documents import InvalidAgreements
from fairlead.policy.draft import Draft
from fairlead.policy.drafting import add_agreement, narrow, render, start_draft

ROOT = Path(__file__).resolve().parents[1]
TODAY = dt.date(2028, 2, 29)


@pytest.fixture
def draft(tmp_path: Path) -> Draft:
    """A draft from the committed policies."""
    start_draft(ROOT / "policies", tmp_path / "draft")
    return Draft.read(tmp_path / "draft")


def values(draft: Draft, **more: Any) -> dict[str, Any]:
    """A narrow agreement."""
    return {
        **narrow(draft.registry, TODAY), "id": "fresh", "from": ["kind:police"],
        "to": ["kind:terminal"], "purposes": ["infiltration"],
        "legal_bases": ["national-criminal-procedure"], "schemes": ["container"], **more,
    }  # fmt: skip


def test_a_new_agreement_compiles_and_is_narrow(draft: Draft) -> None:
    """What nobody said is blind, existence only, one record, without names, for a year."""
    path = add_agreement(draft, values(draft))
    row = Draft.read(draft.root).policy["agreements"]["fresh"]
    assert path.name == "fresh.yaml"
    assert (row["modes"], row["facets"], row["max_records"]) == ({"blind": True}, ["existence"], 1)
    assert row["redact"] == ["driver_name", "operator_name"]
    assert row["valid_until"] - row["valid_from"] <= 366 * 86_400
    assert Draft.read(draft.root).places["fresh"] == "data/fresh.yaml:7"


def test_every_field_that_has_a_meaning_is_commented(draft: Draft) -> None:
    """The file explains itself, names its schema, and a country called NO stays one."""
    text = render(values(draft, asker_countries=["NO", "EU"], max_window_days=None))
    assert "# The longest period asked about; null is none." in text
    assert "$schema=../schema/agreements.schema.json" in text
    (row,) = yaml.safe_load(text)["agreements"]
    assert row["asker_countries"] == ["NO", "EU"]
    assert row["max_window_days"] is None
    assert text.index("# What decisions and logs cite.") < text.index('- id: "fresh"')


def test_an_agreement_that_extends_another_says_only_what_differs(draft: Draft) -> None:
    """Every other field is the extended agreement's."""
    add_agreement(draft, {"id": "fresh", "extends": "public-asks-public", "max_terms": 16})
    rows = Draft.read(draft.root).policy["agreements"]
    assert rows["fresh"] == {**rows["public-asks-public"], "max_terms": 16}
    assert len((draft.root / "data/fresh.yaml").read_text().splitlines()) < 16


@pytest.mark.parametrize(
    "wrong", [{"purposes": ["curiosity"]}, {"max_terms": 10**7}, {"owner_countries": ["GB"]},
              {"id": "police-asks-police"}]
)  # fmt: skip
def test_what_does_not_compile_is_not_written(draft: Draft, wrong: dict[str, Any]) -> None:
    """An unknown word, a lifted limit, a transfer without ground or an id in use leave no file."""
    with pytest.raises(InvalidAgreements):
        add_agreement(draft, values(draft, **wrong))
    assert Draft.read(draft.root).data.keys() == draft.data.keys()


def test_no_file_is_overwritten(draft: Draft) -> None:
    """The same id twice is a conflict."""
    add_agreement(draft, values(draft))
    with pytest.raises(Conflict):
        add_agreement(draft, values(draft))


def test_a_draft_of_a_bundle_has_no_signature(draft: Draft, tmp_path: Path) -> None:
    """Serial, dates and signatures stay behind; the list of what was built is kept."""
    built = json.loads((draft.root / "manifest.json").read_bytes())
    signed = {"manifest": {**built, "schema": 2, "serial": 7}, "signatures": [{"key": "00"}]}
    (draft.root / "manifest.json").write_text(json.dumps(signed))
    assert is_signed(draft.root)
    start_draft(draft.root, tmp_path / "next")
    fresh = Draft.read(tmp_path / "next")
    assert not is_signed(fresh.root)
    assert not is_stale(fresh)
    assert set(json.loads((fresh.root / "manifest.json").read_bytes())) == {
        "schema", "revision", "files",
    }  # fmt: skip


def test_a_folder_in_use_is_left_alone(draft: Draft) -> None:
    """A draft is not started over another."""
    with pytest.raises(Misconfigured):
        start_draft(ROOT / "policies", draft.root)


def test_a_module_of_other_rules_is_stale(draft: Draft) -> None:
    """Whoever changed a rule, or the module, has to build again."""
    assert not is_stale(draft)
    (draft.root / "facts/facts.rego").write_text("package fairlead.facts\n")
    assert is_stale(Draft.read(draft.root))
    (draft.root / "policy.wasm").write_bytes(b"\0asm")
    assert is_stale(Draft.read(draft.root))

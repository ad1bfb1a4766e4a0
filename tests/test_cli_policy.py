"""``fairlead policy``: docs/policy-tools.md typed, and how each command ends."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fairlead.cli.output import Exit
from fairlead.cli.policy import app
from fairlead.policy.compiler import VERSION, Opa
from fairlead.policy.conflicts import CODES as CONFLICTS
from fairlead.policy.draft import Draft
from fairlead.policy.drafting import start_draft
from fairlead.policy.figures.inquiry import ORDINARY as FIGURE_ORDINARY
from fairlead.policy.inquiry import ORDINARY
from fairlead.policy.lints import CODES as LINTS
from fairlead.policy.tables import CLAIMS
from tests.commands import Ended, fairlead
from tests.test_documentation import ROOT, table_after, text_of, typed

PAGE = "docs/policy-tools.md"
TYPED = list(typed(text_of(PAGE)))
ALONE = {"PATH": "/nonexistent"}
"""A machine without OPA."""
QUESTION = ROOT / "tests" / "vectors" / "policy" / "routing-demo.json"


def require_opa() -> None:
    """Skip visibly where OPA is missing."""
    if Opa.find() is None:
        if os.environ.get("FAIRLEAD_REQUIRE_ALL"):
            pytest.fail(f"OPA {VERSION} is missing: make tools")
        pytest.skip(f"OPA {VERSION} is missing: make tools")


async def policy(home: Path, *words: str, **environment: str) -> Ended:
    """``fairlead policy`` with these words, in a folder that holds the committed policies."""
    if not (home / "policies").exists():
        shutil.copytree(ROOT / "policies", home / "policies")
    return await fairlead("policy", *words, home=home, **environment)


async def test_the_page_is_typed(tmp_path: Path) -> None:
    """Every command of the page does what the page says, in its order."""
    require_opa()
    (tmp_path / "question.json").write_bytes(QUESTION.read_bytes())
    ended = [await policy(tmp_path, *words[2:]) for words in TYPED]
    told = {" ".join(words[2:4]): end for words, end in zip(TYPED, ended, strict=True)}
    assert [(words, end.err) for words, end in zip(TYPED, ended, strict=True) if end.code] == []
    assert "police asking terminal about container" in told["diff policies"].out
    assert "this widens" in told["diff policies"].err
    assert "BLIND_REQUIRED" not in told["explain draft"].out  # the last of them is the input's
    assert "BLIND_REQUIRED" in ended[-5].out
    assert "ask blind (the analyst)" in ended[-5].out
    assert "USER_ROLE" in ended[-3].out
    assert "have somebody with the role analyst ask (the asker)" in ended[-3].out
    assert (tmp_path / "matrix.html").read_text().startswith("<!doctype html>")
    report = json.loads((tmp_path / "draft/reports/tests.json").read_bytes())
    assert report["ok"]
    assert report["agreements"]["untested"] == ["police-counts-at-terminals"]


def test_the_tables_of_the_page_are_the_programs() -> None:
    """Codes, their words and columns are all on the page, and no others."""
    page = text_of(PAGE)
    for marker, codes in (("lints", LINTS), ("conflicts", CONFLICTS)):
        rows = {row[0].strip("`"): row[1] for row in table_after(page, marker)}
        assert rows == dict(codes)
    named = {n for row in table_after(page, "columns") for n in re.findall(r"`([a-z_]+)`", row[0])}
    assert named == {*ORDINARY, *CLAIMS}
    rows = table_after(page, "figure-columns")
    named = {n for row in rows for n in re.findall(r"`([a-z_]+)`", row[0])}
    assert named == {*FIGURE_ORDINARY, *CLAIMS}


async def test_without_opa_check_says_what_it_did_not_check(tmp_path: Path) -> None:
    """Data are checked anyway; the rules are told as not checked, and a failure when required."""
    ended = await policy(tmp_path, "check", "policies", "--output", "json", **ALONE)
    states = {found["check"]: found["state"] for found in ended.json}
    assert ended.code == 0
    assert states == {
        "agreements": "ok", "tables": "ok", "rules": "not checked", "lints": "not checked",
        "module": "ok", "cubes": "ok",
    }  # fmt: skip
    assert "not everything was checked" in ended.err
    for words, environment in (
        (("--require-opa",), ALONE),
        ((), {**ALONE, "FAIRLEAD_REQUIRE_ALL": "1"}),
    ):
        ended = await policy(tmp_path, "check", "policies", *words, **environment)
        assert ended.code == Exit.CHECK_FAILED
        assert "OPA_MISSING" in ended.err


async def test_check_names_file_and_line(tmp_path: Path) -> None:
    """A wrong agreement is told where it stands, and the command ends with 8."""
    await policy(tmp_path, "check", "policies", **ALONE)
    path = tmp_path / "policies/data/demo.yaml"
    path.write_text(path.read_text().replace("max_records: 20", "max_records: lots"))
    line = path.read_text().partition("max_records")[0].count("\n") + 1
    ended = await policy(tmp_path, "check", "policies", **ALONE)
    assert ended.code == Exit.CHECK_FAILED
    assert f"data/demo.yaml:{line}: agreements[0].max_records" in ended.err
    assert "lots" not in ended.err


async def test_a_failing_table_ends_with_8(tmp_path: Path) -> None:
    """The row that is decided otherwise is named, and the report says no."""
    await policy(tmp_path, "check", "policies", **ALONE)
    table = tmp_path / "policies/tests/own.yaml"
    table.write_text(
        "schema: 1\nat: 2026-12-01\ncolumns: [asker, owner, purpose, scheme, expect]\nrows:\n"
        "  - [customs, terminal, infiltration, container, permit]\n"
    )
    ended = await policy(tmp_path, "test", "policies", "--output", "json", **ALONE)
    assert ended.code == Exit.CHECK_FAILED
    (failed,) = ended.json["failed"]
    assert failed["place"] == "tests/own.yaml:5"
    assert "BLIND_REQUIRED" in failed["wrong"][0]
    assert not json.loads((tmp_path / "policies/reports/tests.json").read_bytes())["ok"]


async def test_a_missing_or_empty_folder_names_the_next_command(tmp_path: Path) -> None:
    """Exit 3, with the command that makes a draft."""
    for words in (("check", "nowhere"), ("diff", "nowhere", "policies"), ("matrix", "nowhere")):
        ended = await policy(tmp_path, *words, **ALONE)
        assert ended.code == Exit.CONFIGURATION
        assert "DRAFT_MISSING" in ended.err
        assert "next: fairlead policy init" in ended.err


async def test_diff_and_conflicts_can_stop_a_script(tmp_path: Path) -> None:
    """With --exit-code a widening, or something found, ends with 8; a tightening does not."""
    await policy(tmp_path, "init", "narrow", **ALONE)
    (tmp_path / "narrow/data/demo.yaml").unlink()
    wider = await policy(tmp_path, "diff", "narrow", "policies", "--exit-code", **ALONE)
    same = await policy(tmp_path, "diff", "policies", "narrow", "--exit-code", **ALONE)
    assert (wider.code, same.code) == (Exit.CHECK_FAILED, Exit.ANSWERED)
    late = await policy(
        tmp_path, "conflicts", "policies", "--at", "2040-01-01", "--exit-code", **ALONE
    )
    assert late.code == Exit.CHECK_FAILED
    assert "EXPIRED" in late.out


async def test_what_cannot_be_read_is_a_usage_error(tmp_path: Path) -> None:
    """A wrong day, a wrong column, an input that is none: exit 2, never a traceback."""
    (tmp_path / "bad.json").write_text('{"point": "routing"}')
    ordinary = ("asker=customs", "owner=police", "purpose=infiltration", "scheme=container")
    for words in (
        ("explain", "policies", *ordinary, "terms=lots"),
        ("explain", "policies", *ordinary, "unheard=1"),
        ("explain", "policies", *ordinary, "--at", "tomorrow"),
        ("explain", "policies", "asker=customs"),
        ("explain", "policies", "customs"),
        ("explain", "policies", "--input", "bad.json"),
        ("explain", "policies", "--input", "nowhere.json"),
        ("new-agreement", "policies", "--no-input", "--id", "x"),
    ):
        ended = await policy(tmp_path, *words, **ALONE)
        assert ended.code == Exit.USAGE, words
        assert "next: " in ended.err
        assert ended.out == ""


def test_a_person_is_asked_for_what_is_missing(tmp_path: Path) -> None:
    """Without --no-input the words there are are shown, and the answers make the agreement."""
    start_draft(ROOT / "policies", tmp_path / "draft")
    answers = "fresh\nkind:police\nkind:terminal\ninfiltration\n"
    answers += "national-criminal-procedure\ncontainer, seal\n"
    words = ["new-agreement", str(tmp_path / "draft"), "--max-window-days", "any"]
    ended = CliRunner().invoke(app, words, input=answers)
    assert ended.exit_code == 0, ended.output
    assert "drug-trafficking, infiltration" in ended.stderr
    row = Draft.read(tmp_path / "draft").policy["agreements"]["fresh"]
    assert row["schemes"] == {"container": True, "seal": True}
    assert row["max_window_days"] is None
    assert (tmp_path / "draft/data/fresh.yaml").is_file()


async def test_a_signed_bundle_is_never_built_again(tmp_path: Path) -> None:
    """Building would leave signatures over other octets."""
    require_opa()
    await policy(tmp_path, "check", "policies")
    manifest = tmp_path / "policies/manifest.json"
    manifest.write_text(json.dumps({"manifest": {}, "signatures": []}))
    ended = await policy(tmp_path, "build", "policies")
    assert ended.code == Exit.CONFIGURATION
    assert "BUNDLE_SIGNED" in ended.err

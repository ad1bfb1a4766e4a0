"""Tables of expectations: read with every mistake and its line, run on both engines, reported."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from fairlead.policy.compiler import VERSION, Opa
from fairlead.policy.draft import Draft
from fairlead.policy.tables import InvalidTables, read_tables
from fairlead.policy.testing import run_tests

DRAFT = Draft.read(Path(__file__).resolve().parents[1] / "policies")
HEAD = (
    b"schema: 1\nat: 2026-12-01\ncolumns: [asker, owner, purpose, scheme, mode, expect, reason]\n"
)
GOOD = b"rows:\n  - [customs, terminal, infiltration, container, sealed, deny, BLIND_REQUIRED]\n"


def problems(content: bytes) -> list[str]:
    """What is said of a table."""
    with pytest.raises(InvalidTables) as caught:
        read_tables({"tests/x.yaml": content})
    assert "next: correct every line listed" in caught.value.diagnostics()
    return list(caught.value.problems)


def test_the_baseline_says_what_its_table_expects() -> None:
    """Every row of policies/tests holds, and every agreement is exercised by one."""
    run = run_tests(DRAFT, None)
    assert [(r.row.place, r.wrong) for r in run.failed] == []
    assert run.untested == ()
    assert run.ok


def test_both_engines_decide_the_tables_alike() -> None:
    """Where OPA is there every input is decided twice, and the rules' own tests run."""
    opa = Opa.find()
    if opa is None:
        missing = f"OPA {VERSION} is missing: make tools"
        if os.environ.get("FAIRLEAD_REQUIRE_ALL"):
            pytest.fail(missing)
        pytest.skip(missing)
    run = run_tests(DRAFT, opa)
    assert run.differing == ()
    assert run.rules is not None
    assert run.rules["ok"]
    assert run.rules["coverage"] > 90
    narrower = {**DRAFT.data}
    narrower.pop("data/demo.yaml")
    other = replace(DRAFT, data=narrower)
    asked = [(p, d) for p, d in [("admission", {"now": 1})]]
    assert opa.decide(other.sources, other.compiled, asked)[0] is None  # no identity: undefined


def test_an_engine_that_decides_otherwise_is_found() -> None:
    """Rules that are not what the module was built from give another answer, which is told."""
    opa = Opa.find()
    if opa is None:
        pytest.skip(f"OPA {VERSION} is missing: make tools")
    name = "release/release.rego"
    changed = {**DRAFT.sources, name: DRAFT.sources[name].replace(b'"AMBER_STRICT"}', b'"RED"}')}
    run = run_tests(replace(DRAFT, sources=changed, rule_tests={}), opa)
    assert any(line.startswith("release: ") for line in run.differing)
    assert not run.ok


def test_a_wrong_expectation_is_told_with_its_line() -> None:
    """Effect, facets and reason are each compared, and the report says no."""
    table = HEAD.replace(b"reason]", b"reason, facets]") + (
        b"rows:\n"
        b"  - [customs, terminal, infiltration, container, sealed, permit, '', '']\n"
        b"  - [customs, terminal, infiltration, container, sealed, deny, LEGAL_BASIS, '']\n"
        b"  - [customs, terminal, infiltration, container, blind, permit, '', existence]\n"
        b"  - [customs, terminal, infiltration, container, loud, permit, '', '']\n"
    )
    run = run_tests(replace(DRAFT, tests={"tests/x.yaml": table}), None)
    told = {r.row.place: r.wrong[0] for r in run.failed}
    assert told["tests/x.yaml:5"] == "expected permit, got deny (BLIND_REQUIRED)"
    assert told["tests/x.yaml:6"] == "expected the reason LEGAL_BASIS, got BLIND_REQUIRED"
    assert told["tests/x.yaml:7"].startswith("expected the facets existence, got contact_desk")
    assert "the mode is sealed or blind" in told["tests/x.yaml:8"]
    assert not run.report()["ok"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"rows: [", "YAML of the documented form"),
        (b"a: &x 1\nb: *x\n", "YAML of the documented form"),
        (HEAD, "rows: not of the documented form"),
        (HEAD + b"rows: []\n", "rows: not of the documented form"),
        (HEAD.replace(b"scheme", b"shceme") + GOOD, "columns: expect, and each of"),
        (HEAD.replace(b"expect", b"terms") + GOOD, "columns: expect, and each of"),
        (HEAD.replace(b"schema: 1", b"schema: 2") + GOOD, "schema: not of the documented form"),
        (HEAD + b"rows:\n  - [customs]\n", "tests/x.yaml:5: one cell a column"),
        (HEAD + GOOD.replace(b"deny", b"maybe"), "tests/x.yaml:5: one cell a column"),
    ],
)
def test_a_table_that_cannot_be_read_is_told_with_its_place(content: bytes, what: str) -> None:
    """Not YAML, an alias, another schema, an unknown column, a row that is too short."""
    assert any(what in problem for problem in problems(content))


def test_no_table_is_no_success() -> None:
    """A draft that nobody wrote an expectation for has not passed."""
    assert not run_tests(replace(DRAFT, tests={}), None).ok


def test_the_same_files_give_the_same_report() -> None:
    """A report has no time in it and names the digest of every file that decided."""
    one, two = (json.dumps(run_tests(DRAFT, None).report()) for _ in range(2))
    assert one == two
    report = json.loads(one)
    assert {"policy.wasm", "data/agreements.yaml", "tests/baseline.yaml"} <= report["inputs"].keys()
    assert report["tables"]["failed"] == 0

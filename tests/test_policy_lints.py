"""Our own checks of rules: each finds its bad sample, and nothing in the committed rules."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from fairlead.policy.capabilities import (
    FAMILIES,
    IMPURE,
    TELLING,
    check_capabilities,
    forbidden,
)
from fairlead.policy.compiler import POINTS, VERSION, InvalidRules, Opa
from fairlead.policy.draft import Draft
from fairlead.policy.input_schemas import input_schemas
from fairlead.policy.lints import CODES, lint

ROOT = Path(__file__).resolve().parents[1]

BAD = {
    "ABSENCE_AS_EVIDENCE": [
        "allow if count(deny) == 0",
        "allow if 0 == count(deny)",
        "allow if count(deny) < 1",
        "allow if 1 > count(deny)",
        "allow if count(deny) <= 0",
        "allow if not count(deny) > 0",
        "allow if not count(deny) >= 1",
        "allow if not deny[_]",
        "allow if deny == set()",
        "allow if set() == deny",
        "allow if { x := [1]; count([y | some y in deny]) == 0; x[0] == 1 }",
        "allow if every a in [1] { count(deny) == 0; a == 1 }",
        "f(x) if { count(deny) == 0; x == 1 }",
        "allow if { input.a == 1 } else := true if { count(deny) == 0 }",
    ],
    "NESTED_NOT": [
        "allow if not input.user.blocked",
        "allow if not input.blocked",
        "allow if not data.federation.blocked[input.asker]",
        "allow if not f(input.asker)\n\nf(x) if x == 1",
        "allow if not input.a == input.b",
        "allow if { some r in input.records; not r.secret }",
    ],
    "MIXED_ORDER": [
        "least := min([1, input.a])",
        "most := max(input.numbers)",
        "row := sort([input.a, input.b])",
        "f(x) := min({x, input.a})",
    ],
    "EMPTY_ORDER": [
        "least := min([x | some x in deny])",
        "most := max(deny)",
        "f(ids) := max([x | some x in ids]) if { count(deny) > 0 }",
        'word := "a" if { 1 == 2 } else := max(deny)',
    ],
    "WALL_CLOCK": ["late if time.now_ns() > 5"],
    "OUTSIDE_WORLD": [
        'found := http.send({"method": "get", "url": "x"})',
        "host := opa.runtime()",
        'number := rand.intn("a", 5)',
        'name := uuid.rfc4122("a")',
        'there := net.lookup_ip_addr("a")',
        "shown if print(input)",
    ],
    "DEFAULT_TRUE": ["default allow := true"],
    "ENTRYPOINT": ["# METADATA\n# entrypoint: true\nallow if input.a == 1"],
}
GOOD = [
    "allow if count(deny) > 0",
    'why := "NOTHING" if count(deny) == 0',
    "any_event if count(input.events) == 0",
    "allow if not denied\n\ndefault denied := false",
    "least(ids) := min([x | some x in ids]) if { count(ids) > 0 }",
    "most := max([1, 2])",
    "most := max([data.federation.purposes[input.purpose].approvals, 1])",
    "default allow := false",
    "deny contains x if { some x in [1] }",
    'size := 0 if { is_null(input.a) } else := 1 if { input.a == "x" }',
]


@pytest.fixture(scope="module")
def opa() -> Opa:
    """The pinned OPA; skipped visibly without it."""
    found = Opa.find()
    if found is None:
        missing = f"OPA {VERSION} is missing: make tools"
        if os.environ.get("FAIRLEAD_REQUIRE_ALL"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


def sample(number: int, rule: str) -> tuple[str, bytes]:
    """A file with one rule of a package of its own, beside an objection."""
    text = f"package fairlead.sample{number}\n\ndeny contains 1 if input.bad == true\n\n{rule}\n"
    return f"sample{number}/sample{number}.rego", text.encode()


def test_each_check_finds_its_bad_samples(opa: Opa) -> None:
    """Every spelling is found under its code, at its line, and each parses."""
    rules = [(code, rule) for code, samples in BAD.items() for rule in samples]
    files = dict(sample(i, rule) for i, (_, rule) in enumerate(rules))
    trees = opa.parse(files)
    assert trees.keys() == files.keys()
    found = lint(trees)
    missed = [
        (code, rule)
        for i, (code, rule) in enumerate(rules)
        if code not in {f.code for f in found if f.file == f"sample{i}/sample{i}.rego"}
    ]
    assert missed == []
    assert BAD.keys() == CODES.keys()
    assert all(f.line >= (1 if f.code == "ENTRYPOINT" else 5) for f in found)


def test_good_rules_are_left_alone(opa: Opa) -> None:
    """What concludes from evidence, or only gives a reason, is not objected to."""
    files = dict(sample(i, rule) for i, rule in enumerate(GOOD))
    trees = opa.parse(files)
    assert trees.keys() == files.keys()
    assert [str(f) for f in lint(trees)] == []


def test_the_committed_rules_have_no_objection(opa: Opa) -> None:
    """The kernel follows its own checks, and OPA's strict one with the schemas of its inputs."""
    draft = Draft.read(ROOT / "policies")
    assert [str(f) for f in lint(opa.parse(draft.sources))] == []
    assert opa.check(draft.sources, input_schemas()) == []


def test_a_point_without_an_entrypoint_is_found(opa: Opa) -> None:
    """Who reads the rules sees where a decision begins."""
    draft = Draft.read(ROOT / "policies")
    source = draft.sources["routing/routing.rego"].replace(b"# entrypoint: true", b"# title: x")
    (found,) = lint(opa.parse({"routing/routing.rego": source}))
    assert found.code == "ENTRYPOINT"


def test_a_field_that_a_point_is_never_told_is_found(opa: Opa) -> None:
    """A typo, or the gateway reading the sealed period, is an error with its line."""
    draft = Draft.read(ROOT / "policies")
    name = "admission/admission.rego"
    for wrong in (b"input.case_opened == true", b"input.query.window.days == 3"):
        source = draft.sources[name].replace(b"input.case_open == true", wrong)
        (problem,) = opa.check({**draft.sources, name: source}, input_schemas())
        assert problem.startswith(f"{name}:")


@pytest.mark.parametrize("name", sorted(IMPURE | TELLING) + [f"{f}later" for f in FAMILIES])
def test_what_asks_the_world_is_not_there(opa: Opa, name: str) -> None:
    """The capabilities of a check have none of the forbidden built-ins."""
    assert forbidden(name)
    assert [b["name"] for b in opa.capabilities()["builtins"] if forbidden(b["name"])] == []
    assert not forbidden("count")


def test_what_passes_the_check_starts_in_the_engine(opa: Opa, tmp_path: Path) -> None:
    """The officers' tools and a node that runs OPA go by one list of what a rule may call."""
    (tmp_path / "rules").mkdir()
    check_capabilities(opa.path, tmp_path / "rules", into=tmp_path / "allowed.json")
    assert json.loads((tmp_path / "allowed.json").read_bytes()) == opa.capabilities()


def test_rules_that_do_not_compile_are_told_with_their_place(opa: Opa) -> None:
    """Building says where, and never gives half a module."""
    draft = Draft.read(ROOT / "policies")
    broken = {**draft.sources, "facts/facts.rego": b"package fairlead.facts\n\nx := \n"}
    with pytest.raises(InvalidRules) as caught:
        opa.build(broken, "0" * 64)
    assert "  facts/facts.rego:" in caught.value.diagnostics()


def test_the_committed_schemas_are_the_inputs() -> None:
    """policies/schema has what the builders of inputs say, for every point."""
    schemas = input_schemas()
    assert set(schemas) == set(POINTS)
    for point, schema in schemas.items():
        committed = (ROOT / "policies" / "schema" / f"{point}.json").read_bytes()
        assert json.loads(committed) == schema, "make policies"


def test_the_gateways_inputs_have_neither_period_nor_events() -> None:
    """In the schemas of admission and routing both are null."""
    for point in ("admission", "routing"):
        query = input_schemas()[point]["properties"]["query"]["properties"]
        assert query["window_days"] == query["events"] == {"type": "null"}

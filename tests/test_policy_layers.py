"""A partner's own layer, whatever it says: what leaves is never more than without it.

Local agreements are drawn at random, and so are the outputs of a local policy that lies; one
lies in Rego, compiled, and run by the product's engine.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairlead.policy.agreements import local_data
from fairlead.policy.compiling import identified
from fairlead.policy.decision import Decision, disclosed
from fairlead.policy.engine import PolicyEngine, Program, WasmEngine
from fairlead.policy.reading import REQUIRED
from fairlead.policy.supervision import supervised_engine
from tests import opas
from tests.holes import POLICY, decided, no_wider
from tests.policy_cases import DEMO
from tests.policy_engines import Slate, WasmSlate, wasm_slate
from tests.policy_inputs import DATA, REGISTRY, plain, questions

# isort: split
from policy_vectors import product
from vector_facts import FULL, MAKERS, data_of

POINTS = sorted(MAKERS)
SETTINGS = settings(
    max_examples=20, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


@pytest.fixture(scope="module")
def federation() -> Iterator[Slate]:
    """The federation's own layer."""
    with wasm_slate() as slate:
        slate.load(data_of(DATA))
        yield slate


@pytest.fixture(scope="module")
def local() -> Iterator[WasmSlate]:
    """The same kernel again, for the partner's own agreements."""
    with wasm_slate() as slate:
        yield slate


def fields_of(document: Mapping[str, Any], place: str) -> list[str]:
    """The fields a decision may be about: those of its record, or all there are."""
    if "records" in document:
        names: list[str] = document["records"][int(place)]["fields"]
        return names
    return [*REGISTRY["fields"], "colour"]


def compare(
    federation: PolicyEngine, layer: PolicyEngine, point: str, document: Mapping[str, Any]
) -> tuple[dict[str, Decision], dict[str, Decision]]:
    """Decide without the layer and with it; with it, no value leaves that would not have left."""
    alone = decided([federation], point, document, document)
    both = decided([federation, layer], point, document, document)
    assert both.keys() == alone.keys()
    for name, decision in both.items():
        fields = fields_of(document, name)
        assert disclosed(decision, fields) <= disclosed(alone[name], fields)
        assert no_wider(decision, alone[name])
    return alone, both


# ── Agreements of one's own ──────────────────────────────────────────────────────────────────


def _some(names: Any, *, least: int = 1) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(sorted(names)), min_size=least, max_size=4, unique=True)


SIDES = _some(
    ["sector:public", "sector:private", "kind:police", "kind:customs", "partner:p-1",
     "partner:p-2", "partner:police-nl"],
)  # fmt: skip
FACETS = [*FULL, "field:plate", "field:driver_name", "field:event"]
ROW = st.fixed_dictionaries(
    {
        "from": SIDES,
        "to": SIDES,
        "purposes": _some(REGISTRY["purposes"]),
        "legal_bases": _some(REGISTRY["legal_bases"]),
        "modes": _some(["sealed", "blind"]),
        "schemes": _some(["container", "vehicle-plate", "person-name", "seal"]),
        "roles": st.just(["analyst"]),
        "facets": _some(FACETS),
        "redact": _some(REGISTRY["fields"], least=0),
        "max_records": st.integers(1, 100),
        "approvals": st.integers(0, 2),
        "second_approver": st.integers(0, 2),
        "onward": st.sampled_from(["none", "with-consent", "same-sector"]),
        "notice_delay_s": st.integers(0, 100_000),
        "retention_days": st.integers(1, 365),
        "max_terms": st.sampled_from([1, 16, 4096, 1_048_576]),
        "max_window_days": st.sampled_from([None, 90, 1000]),
        "valid_from": st.just(dt.date(2020, 1, 1)),
        "valid_until": st.sampled_from([dt.date(2021, 1, 1), dt.date(2040, 1, 1)]),
    }
)


FIGURES = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.just("own-figures"),
            "from": SIDES,
            "cubes": st.just("all") | _some(REGISTRY["cubes"]),
            "purposes": _some(REGISTRY["purposes"]),
            "roles": _some(REGISTRY["figure_roles"]),
            "valid_from": st.just(dt.date(2020, 1, 1)),
            "valid_until": st.sampled_from([dt.date(2021, 1, 1), dt.date(2040, 1, 1)]),
        }
    ),
    max_size=1,
)


class _Plain(yaml.SafeDumper):
    """YAML without aliases, which a policy file may not have."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


@st.composite
def own_files(draw: st.DrawFn) -> bytes:
    """A partner's own file: some of the federation's agreements, and some of its own."""
    rows = draw(st.lists(ROW, max_size=4))
    document = {
        "schema": 2,
        "adopt": draw(_some([*REGISTRY["agreements"], *REGISTRY["statistics"]], least=0)),
        "agreements": [{"id": f"own-{n}", **row} for n, row in enumerate(rows)],
        "statistics": draw(FIGURES),
    }
    return yaml.dump(document, Dumper=_Plain).encode()


@pytest.mark.parametrize("point", POINTS)
def test_own_agreements_never_widen(federation: Slate, local: WasmSlate, point: str) -> None:
    """For any agreements of its own, a partner gives and asks no more than the federation says."""
    differing = []

    @SETTINGS
    @given(own_files(), st.lists(questions(point), min_size=1, max_size=4))
    def check(file: bytes, documents: list[dict[str, Any]]) -> None:
        local.load(identified(local_data(data_of(DATA), DEMO, "local.yaml", file), POLICY))
        for document in [plain(MAKERS[point]()), *documents]:
            alone, both = compare(federation, local, point, document)
            differing.append(alone != both)

    check()
    assert any(differing) or point == "admission"  # which looks at no agreement


# ── A policy that lies ───────────────────────────────────────────────────────────────────────


def claim(kind: str, facets: list[str], obligations: Mapping[str, Any]) -> dict[str, Any]:
    """A permit with every piece of evidence that is demanded, for figures where they are asked."""
    facets = ["figures"] if kind == "statistics" else facets
    return {
        "effect": "permit", "checks": dict.fromkeys(sorted(REQUIRED[kind]), True),
        "facets": facets, "obligations": obligations, "reasons": [], "rules": ["we-say-so"],
    }  # fmt: skip


NO_DUTIES = {
    "redact": [], "max_records": None, "approvals": 0, "second_approvers": 0,
    "notice_delay_s": 0, "retention_days": None, "onward": None, "notify": ["owner_desk"],
}  # fmt: skip
ALL_FACETS = [*FULL, *sorted(row["facet"] for row in REGISTRY["fields"].values())]


class Liar:
    """A layer that permits whatever it is asked, in the form that is demanded."""

    def __init__(self, facets: list[str], obligations: Mapping[str, Any]) -> None:
        self._facets = facets
        self._obligations = obligations

    def evaluate(self, point: str, document: Mapping[str, Any]) -> bytes:
        """Every check is true, says the liar."""
        said = claim(point, self._facets, self._obligations)
        if point == "release":
            said = {"records": ["all"] * len(document["records"]), "decisions": {"all": said}}
        elif "candidates" in document:
            each = claim(f"{point}.candidate", self._facets, self._obligations)
            said["decisions"] = {"all": each}
            said["candidates"] = dict.fromkeys([*document["candidates"], "p-99"], "all")
        return json.dumps({**said, "policy": POLICY}).encode()


LIES = st.builds(
    Liar,
    _some(ALL_FACETS),
    st.fixed_dictionaries(
        {
            "redact": _some(REGISTRY["fields"], least=0),
            "max_records": st.none() | st.integers(0, 2**31),
            "approvals": st.integers(0, 3),
            "second_approvers": st.integers(0, 3),
            "onward": st.sampled_from(["none", "with-consent", "same-sector", None]),
            "notice_delay_s": st.integers(0, 2**31),
            "retention_days": st.none() | st.integers(0, 2**31),
            "notify": st.sampled_from([[], ["owner_desk"]]),
        }
    ),
)


@pytest.mark.parametrize("point", POINTS)
def test_a_layer_that_lies_never_widens(federation: Slate, point: str) -> None:
    """For any well-formed output of a partner's own policy, no value leaves that would not have."""

    @SETTINGS
    @given(LIES, questions(point))
    def check(liar: Liar, document: dict[str, Any]) -> None:
        compare(federation, liar, point, document)

    check()


@pytest.mark.parametrize("point", POINTS)
def test_a_layer_that_permits_everything_changes_nothing(federation: Slate, point: str) -> None:
    """The boldest lie of all leaves the federation's decision as it was."""
    document = MAKERS[point]()
    alone, both = compare(federation, Liar(ALL_FACETS, NO_DUTIES), point, document)
    for name, decision in both.items():
        assert decision.permit is alone[name].permit
        assert decision.facets == alone[name].facets
        if decision.permit:
            assert decision.obligations == alone[name].obligations


def lying_rego(point: str) -> str:
    """The liar as a rule. It refuses an empty input, as an engine must to be started."""
    whole = json.dumps(claim(point, ALL_FACETS, NO_DUTIES))
    kind = f"{point}.candidate" if f"{point}.candidate" in REQUIRED else point
    each = json.dumps(claim(kind, ALL_FACETS, NO_DUTIES))
    said = {
        "release": '{"records": records, "decisions": {"all": each}}',
        "asking": 'object.union(whole, {"candidates": names, "decisions": {"all": each}})',
        "routing": 'object.union(whole, {"candidates": names, "decisions": {"all": each}})',
    }.get(point, "whole")
    nothing = '{"records": []}' if point == "release" else '{"effect": "deny"}'
    return f"""package fairlead.{point}
whole := {whole}
each := {each}
names := {{id: "all" | some id, _ in input.candidates}}
records := [name | some r in input.records; name := object.get({{}}, r.tlp, "all")]
decision := object.union({said}, {{"policy": data.federation.policy}}) if input.point
decision := {nothing} if not input.point
"""


@pytest.fixture(scope="module", params=["wasm", "opa"])
def lying(request: pytest.FixtureRequest) -> Iterator[PolicyEngine]:
    """The liar, run by each of the product's engines."""
    sources = {f"{point}/{point}.rego": lying_rego(point).encode() for point in POINTS}
    program = Program(wasm=b"", sources=sources)
    data = {"federation": {"policy": POLICY}}
    if request.param == "wasm":
        engine: PolicyEngine = WasmEngine(
            opas.compiled(program).wasm, data, deadline_s=opas.PATIENT_S
        )
    else:
        engine = supervised_engine(opas.command(), program, data, deadline_s=opas.PATIENT_S)
    yield engine
    engine.close()


@pytest.mark.parametrize("point", POINTS)
def test_a_lying_program_never_widens(federation: Slate, lying: PolicyEngine, point: str) -> None:
    """A partner's own Rego that claims everything is understood, and changes nothing."""
    for document in (MAKERS[point](), *SAMPLES[point]):
        asked = plain(document)
        claimed = decided([lying], point, asked, asked)
        assert all(decision.permit for decision in claimed.values())
        alone, both = compare(federation, lying, point, asked)
        assert {n: d.permit for n, d in both.items()} == {n: d.permit for n, d in alone.items()}


SAMPLES = {
    point: [v.document for v in product() if v.point == point and v.data == "demo"][:12]
    for point in POINTS
}

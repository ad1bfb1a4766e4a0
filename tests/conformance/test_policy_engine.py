"""One suite over every policy engine: the golden vectors, and failing closed.

The second engine is the real OPA on the command line, the reference the vectors come from.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fairlead.errors import PolicyUnavailable
from fairlead.policy.agreements import federation_data
from fairlead.policy.compiling import identified
from fairlead.policy.engine import POINTS, PolicyEngine, WasmEngine, _Interrupted, _Loaded

ROOT = Path(__file__).resolve().parent.parent.parent
VECTORS = sorted((ROOT / "tests" / "vectors" / "policy").glob("*.json"))
sys.path.insert(0, str(ROOT / "tools"))

import get_opa  # noqa: E402
import test_opa as reference  # noqa: E402


class OpaEngine:
    """The real OPA, one process a decision."""

    def __init__(self, opa: Path, data: list[str]) -> None:
        self._opa = opa
        self._data = data

    def evaluate(self, point: str, document: Mapping[str, object]) -> bytes:
        """:raises PolicyUnavailable: undefined, as for a point that does not exist."""
        vector = {"point": point, "data": self._data, "input": document}
        value = reference.evaluate(self._opa, vector)
        if value is None:
            raise PolicyUnavailable("undefined")
        return json.dumps(value).encode()


def decided(engine: PolicyEngine, point: str, document: dict[str, Any]) -> Any:
    """The engine's value, in an order that does not depend on the engine."""
    return reference.ordered(json.loads(engine.evaluate(point, document)))


@pytest.fixture(params=["wasm", "opa"])
def make(request: pytest.FixtureRequest) -> Any:
    """Make an engine over the named agreements."""
    if request.param == "wasm":
        return wasm
    opa = get_opa.find_opa()
    if opa is None:
        missing = f"OPA {get_opa.VERSION} is missing: make tools"
        if os.environ.get("FAIRLEAD_REQUIRE_ALL"):
            pytest.fail(missing)
        pytest.skip(missing)
    return lambda data: OpaEngine(opa, data)


def wasm(data: list[str], deadline_s: float = 10) -> WasmEngine:
    """The shipped engine; a busy test machine gets time."""
    policies = ROOT / "policies"
    document = federation_data({name: (policies / name).read_bytes() for name in data})
    module = (policies / "policy.wasm").read_bytes()
    return WasmEngine(module, identified(document, reference.POLICY), deadline_s=deadline_s)


BASELINE = ["data/agreements.yaml"]


@pytest.mark.parametrize("path", VECTORS, ids=lambda p: p.stem)
def test_golden_vector(make: Any, path: Path) -> None:
    """The engine's decision is the one a person reviewed, to the last field."""
    vector = json.loads(path.read_bytes())
    engine: PolicyEngine = make(vector["data"])
    assert decided(engine, vector["point"], vector["input"]) == vector["expect"]


def test_every_point_has_vectors() -> None:
    """No point is without a golden permit and a golden denial."""
    found: dict[str, set[str]] = {point: set() for point in POINTS}
    for path in VECTORS:
        vector = json.loads(path.read_bytes())
        expect = vector["expect"]
        inner = [] if "records" in expect else [expect]
        every = [*inner, *expect.get("decisions", {}).values()]
        found[vector["point"]] |= {decision["effect"] for decision in every}
    assert found == {point: {"permit", "deny"} for point in POINTS}


def test_an_unknown_point_is_unavailable(make: Any) -> None:
    """A point that does not exist gives no value, and no value is not an empty one."""
    with pytest.raises(PolicyUnavailable):
        make(BASELINE).evaluate("curiosity", {})


def test_an_empty_input_is_denied(make: Any) -> None:
    """Nothing permits nothing."""
    engine: PolicyEngine = make(BASELINE)
    for point in POINTS:
        value = json.loads(engine.evaluate(point, {}))
        assert isinstance(value, dict)
        assert value.pop("policy") == reference.POLICY
        nothing = {"records": [], "decisions": {}}
        assert value == nothing if point == "release" else value["effect"] == "deny"


# ── The shipped engine alone ─────────────────────────────────────────────────────────────────


def test_wasm_that_is_no_policy_is_refused_at_start() -> None:
    """Octets that are no module, and data without a federation, never reach a request."""
    good = (ROOT / "policies" / "policy.wasm").read_bytes()
    with pytest.raises(PolicyUnavailable):
        WasmEngine(b"\x00asm", {})
    with pytest.raises(PolicyUnavailable):
        WasmEngine(good[:-100], {})
    with pytest.raises(PolicyUnavailable):
        WasmEngine(good, {}, deadline_s=10)


def test_a_closed_engine_is_unavailable() -> None:
    """After closing there is no decision, rather than an old one."""
    engine = wasm(BASELINE)
    engine.close()
    with pytest.raises(PolicyUnavailable):
        engine.evaluate("admission", {})


def test_a_decision_that_takes_too_long_is_unavailable() -> None:
    """An input made to keep the engine busy meets the deadline twice; the next one is decided."""
    vector = json.loads((ROOT / "tests/vectors/policy/routing-demo.json").read_bytes())
    engine = wasm(vector["data"], deadline_s=0.2)
    partner = vector["input"]["candidates"]["police"]
    many = {f"p{i}": {**partner, "partner_id": f"p{i}"} for i in range(15_000)}
    with pytest.raises(PolicyUnavailable):
        engine.evaluate("routing", {**vector["input"], "candidates": many})
    assert decided(engine, "routing", vector["input"]) == vector["expect"]


def test_a_decision_that_a_busy_machine_held_up_is_made_once_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One interruption costs nobody an answer; a second one does."""
    vector = json.loads((ROOT / "tests/vectors/policy/routing-demo.json").read_bytes())
    engine = wasm(vector["data"])
    honest, interrupted = _Loaded.evaluate, iter([True, False, True, True, False])

    def evaluate(self: _Loaded, entrypoint: str, document: bytes) -> bytes:
        if next(interrupted):
            self.broken = True
            raise _Interrupted
        return honest(self, entrypoint, document)

    monkeypatch.setattr(_Loaded, "evaluate", evaluate)
    assert decided(engine, "routing", vector["input"]) == vector["expect"]
    with pytest.raises(PolicyUnavailable):
        engine.evaluate("routing", vector["input"])
    assert decided(engine, "routing", vector["input"]) == vector["expect"]


def test_an_input_json_cannot_say_is_unavailable() -> None:
    """A value that is no JSON is refused before the engine sees it."""
    with pytest.raises(PolicyUnavailable):
        wasm(BASELINE).evaluate("admission", {"now": object()})


def test_a_forgotten_engine_takes_its_thread_along() -> None:
    """A process that swaps policies again and again does not gather one ticker for each."""
    import gc
    import threading

    def tickers() -> int:
        return sum("ticker" in thread.name for thread in threading.enumerate())

    gc.collect()
    before = tickers()
    held = [wasm(["data/agreements.yaml"]), wasm(["data/agreements.yaml"])]
    assert tickers() >= before + 2
    held.clear()
    gc.collect()
    assert tickers() <= before

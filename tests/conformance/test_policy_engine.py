"""One suite over every policy engine: the golden vectors, and failing closed.

The engines are the WebAssembly in this process, an OPA that is started and supervised, and an OPA
that an operator runs and that is loaded over HTTP.
"""

from __future__ import annotations

import gc
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fairlead.errors import PolicyUnavailable
from fairlead.policy.compiled import IDLE
from fairlead.policy.engine import (
    DEADLINE_S,
    MAX_INPUT,
    POINTS,
    SELF_TEST,
    PolicyEngine,
    Program,
    WasmEngine,
    _Interrupted,
    _Loaded,
    self_test,
)
from fairlead.policy.pushing import remote_engine
from fairlead.policy.supervision import supervised_engine
from tests import opas
from tests.opas import BASELINE, PATIENT_S

ROOT = Path(__file__).resolve().parent.parent.parent
VECTORS = sorted((ROOT / "tests" / "vectors" / "policy").glob("*.json"))
sys.path.insert(0, str(ROOT / "tools"))

import test_opa as reference  # noqa: E402
from self_test import vectors  # noqa: E402

Make = Callable[[Program, Mapping[str, object]], PolicyEngine]
KINDS = ["wasm", "opa supervised", "opa by url"]


def decided(engine: PolicyEngine, point: str, document: dict[str, Any]) -> Any:
    """The engine's value, in an order that does not depend on the engine."""
    return reference.ordered(json.loads(engine.evaluate(point, document)))


@pytest.fixture(scope="module", params=KINDS)
def maker(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Make an engine of each kind, as the product does, with time for a busy machine."""
    with ExitStack() as stack:
        if request.param == "wasm":
            yield lambda program, data: WasmEngine(program.wasm, data, deadline_s=PATIENT_S)
        elif request.param == "opa supervised":
            yield partial(supervised_engine, opas.command(), deadline_s=PATIENT_S)
        else:
            opa = stack.enter_context(opas.running())
            yield partial(remote_engine, opa.place, opa.token, deadline_s=PATIENT_S)


@pytest.fixture(scope="module")
def make(maker: Make) -> Iterator[Callable[[list[str]], PolicyEngine]]:
    """Make an engine over the named agreements; one at a time, as a server holds one policy."""
    held: dict[str, PolicyEngine] = {}

    def engine_over(names: list[str]) -> PolicyEngine:
        key = " ".join(names)
        if key not in held:
            for engine in held.values():
                engine.close()
            held.clear()
            held[key] = maker(opas.program(), opas.data(names))
        return held[key]

    yield engine_over
    for engine in held.values():
        engine.close()


def wasm(data: list[str], deadline_s: float = 10) -> WasmEngine:
    """The WebAssembly engine over the named agreements; a busy test machine gets time."""
    return WasmEngine(opas.program().wasm, opas.data(data), deadline_s=deadline_s)


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


def test_the_self_test_is_what_the_kernel_decides() -> None:
    """The committed vectors are those that the committed kernel gives (else: make policies)."""
    path = ROOT / "policies" / SELF_TEST
    assert path.read_bytes() == vectors(opas.program().wasm)
    found = json.loads(path.read_bytes())
    assert {vector["point"] for vector in found} == set(POINTS)


@pytest.mark.parametrize("names", [BASELINE, opas.DEMO, None], ids=["baseline", "demo", "own"])
def test_the_self_test_holds_over_any_agreements(maker: Make, names: list[str] | None) -> None:
    """No agreement changes what the self-test asks, so none keeps an engine from starting."""
    data = opas.data(names) if names else opas.own_data()
    engine = maker(opas.program(), data)
    self_test(engine, opas.program())
    engine.close()


def test_an_engine_says_its_name(make: Any) -> None:
    """Records of decisions say which of the two engines decided."""
    assert make(BASELINE).name in {"wasm", "opa"}


def test_an_input_json_cannot_say_is_unavailable(make: Any) -> None:
    """A value that is no JSON is refused before the engine sees it."""
    with pytest.raises(PolicyUnavailable):
        make(BASELINE).evaluate("admission", {"now": object()})


def test_an_enormous_input_does_not_pass(make: Any) -> None:
    """An input above the limit is no decision, or a refusal, and the next one is decided."""
    vector = opas.vector("admission")
    engine: PolicyEngine = make(vector["data"])
    try:
        value = json.loads(engine.evaluate("admission", {"x": "y" * (MAX_INPUT + 1)}))
        assert value["effect"] == "deny"
    except PolicyUnavailable:
        pass
    assert decided(engine, "admission", vector["input"]) == vector["expect"]


LOOPS = """
decision := nothing if not input.busy
decision := {"effect": "permit", "n": n} if {
	input.busy
	all := numbers.range(1, 3000)
	n := count([1 | some x in all; some y in all; some z in all; x + y == z])
}
"""
EATS = """
decision := nothing if not input.busy
decision := {"effect": "permit", "n": n} if {
	input.busy
	many := numbers.range(1, 1000000)
	n := count([concat(input.busy, [format_int(x, 10), "y"]) | some x in many])
}
"""


@pytest.fixture(params=KINDS[:2])
def impatient(request: pytest.FixtureRequest) -> Make:
    """Make an engine that decides within its real deadline, doubled for a busy machine."""
    if request.param == "wasm":
        return lambda program, data: WasmEngine(program.wasm, data, deadline_s=2 * DEADLINE_S)
    return partial(supervised_engine, opas.command(), deadline_s=2 * DEADLINE_S)


@pytest.mark.parametrize("rule", [LOOPS, EATS], ids=["loops", "eats"])
def test_a_policy_without_an_end_is_stopped(impatient: Make, rule: str) -> None:
    """A rule that loops, or gathers without measure, is no decision, and the next one is made."""
    engine = impatient(opas.compiled(opas.tiny(rule)), {})
    began = time.monotonic()
    with pytest.raises(PolicyUnavailable):
        engine.evaluate("admission", {"busy": "x" * 1000})
    assert time.monotonic() - began < 1
    until = time.monotonic() + PATIENT_S
    value = None
    while value is None and time.monotonic() < until:
        try:
            value = json.loads(engine.evaluate("admission", {"calm": True}))
        except PolicyUnavailable:
            time.sleep(0.2)
    assert value == {"effect": "deny"}
    engine.close()


@pytest.fixture(params=KINDS[:2])
def patient(request: pytest.FixtureRequest) -> Make:
    """Make an engine that would wait for long."""
    if request.param == "wasm":
        return lambda program, data: WasmEngine(program.wasm, data, deadline_s=PATIENT_S)
    return partial(supervised_engine, opas.command(), deadline_s=PATIENT_S)


def test_a_policy_gets_no_more_memory_than_its_share(patient: Make) -> None:
    """With all the time it wants, a rule that gathers without measure is stopped by its limit."""
    engine = patient(opas.compiled(opas.tiny(EATS)), {})
    with pytest.raises(PolicyUnavailable) as caught:
        engine.evaluate("admission", {"busy": "x" * 1000})
    assert caught.value.code in {"ENGINE_FAILED", "OPA_LOST"}
    engine.close()


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
    many = {f"p{i}": {**partner, "partner_id": f"p{i}", "country": f"C{i}"} for i in range(15_000)}
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


def test_engines_share_a_module_and_the_last_takes_its_thread_along() -> None:
    """A process that swaps policies again and again does not gather one ticker for each."""

    def tickers() -> int:
        return sum("ticker" in thread.name for thread in threading.enumerate())

    gc.collect()
    program, data, before = opas.program().wasm, opas.data(["data/agreements.yaml"]), tickers()
    modules = [program + bytes([0, 2, 1, 65 + n]) for n in range(3)]  # a custom section, named
    held = [WasmEngine(module, data, deadline_s=10) for module in modules for _ in range(2)]
    assert tickers() >= before + len(modules) - IDLE
    assert tickers() <= before + len(modules)
    held.clear()
    gc.collect()
    assert tickers() <= before + IDLE


def test_engines_that_share_a_module_share_no_data() -> None:
    """Over one module each engine decides by its own agreements; closing one of them leaves the
    other at work."""
    read = (json.loads(path.read_bytes()) for path in VECTORS if "routing" in path.stem)
    one, other = ({str(vector["data"]): vector for vector in read}).values()
    first, second = wasm(one["data"]), wasm(other["data"])
    assert decided(first, "routing", one["input"]) == one["expect"]
    assert decided(first, "routing", other["input"]) != other["expect"]
    assert decided(second, "routing", other["input"]) == other["expect"]
    second.close()
    assert decided(first, "routing", one["input"]) == one["expect"]

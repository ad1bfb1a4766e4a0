"""Where decisions are computed: the engine port, and OPA's policy as WebAssembly in-process.

``opa-py-wasm`` runs what ``opa build -t wasm`` compiled. Its defaults are not ours: one
instance, a deadline of 50 ms for a decision, no waiting for the instance, and an undefined
decision is an error (FACTS: OPA). To change the policy, make a new engine and swap it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import orjson
from opapywasm import OpaWasmError, OpaWasmPolicy, PolicyConfig

from fairlead.errors import PolicyUnavailable

POINTS = ("asking", "admission", "routing", "sovereignty", "release")
"""The decision points; each is the package ``fairlead.<point>`` with the rule ``decision``."""

DEADLINE_S = 0.05
MAX_INPUT = 4 * 1024 * 1024
MAX_RESULT = 4 * 1024 * 1024


class PolicyEngine(Protocol):
    """Evaluates one point's rule over one input. Whoever calls it trusts nothing it returns."""

    def evaluate(self, point: str, document: Mapping[str, object]) -> object:
        """The rule's value.

        :raises PolicyUnavailable: no value, for whatever reason.
        """
        ...


class ExpiringEngine:
    """An engine whose policy ends: past ``not_after`` (Unix seconds) there is no decision."""

    def __init__(self, engine: PolicyEngine, not_after: float) -> None:
        self._engine = engine
        self._not_after = not_after

    def evaluate(self, point: str, document: Mapping[str, object]) -> object:
        """:raises PolicyUnavailable: POLICY_EXPIRED, or as the engine inside."""
        now = document.get("now")
        if not isinstance(now, int) or now >= self._not_after:
            raise PolicyUnavailable("the policy has expired", reasons=("POLICY_EXPIRED",))
        return self._engine.evaluate(point, document)


class WasmEngine:
    """The compiled policy and its data, fixed at construction."""

    def __init__(
        self, wasm: bytes, data: Mapping[str, object], *, deadline_s: float = DEADLINE_S
    ) -> None:
        """Compile, load the data, and evaluate every point once over an empty input.

        Takes about half a second: not on a request's path.

        :raises PolicyUnavailable: not a module, not this kernel, built-ins it would need from
            the host, or a point that permits an empty input.
        """
        config = PolicyConfig(
            pool_size=1,
            borrow_timeout_seconds=deadline_s,
            eval_timeout_seconds=deadline_s,
            strict_result=True,
            parse_raw_json_input=False,
            max_input_bytes=MAX_INPUT,
            max_result_bytes=MAX_RESULT,
        )
        try:
            self._policy = OpaWasmPolicy.from_wasm_bytes(wasm, config)
            self._policy.set_data(orjson.dumps(data))
        except (OpaWasmError, orjson.JSONEncodeError):
            raise _unavailable("ENGINE_START") from None
        if self._policy.builtins or not self._denies_nothing():
            self._policy.close()
            raise _unavailable("ENGINE_START")

    def evaluate(self, point: str, document: Mapping[str, object]) -> object:
        """:raises PolicyUnavailable: undefined, too slow, too large, or an engine's failure."""
        try:
            return self._policy.evaluate(orjson.dumps(document), f"fairlead/{point}/decision")
        except (OpaWasmError, orjson.JSONEncodeError):
            raise _unavailable("ENGINE_FAILED") from None

    def _denies_nothing(self) -> bool:
        """Whether every point refuses an empty input; warms the instance up as well."""
        try:
            empty = {point: self.evaluate(point, {}) for point in POINTS}
        except PolicyUnavailable:
            return False
        return empty.pop("release") == {"records": []} and all(
            isinstance(value, dict) and value.get("effect") == "deny" for value in empty.values()
        )

    def close(self) -> None:
        """Free the instance; later evaluations are unavailable."""
        self._policy.close()


def _unavailable(code: str) -> PolicyUnavailable:
    return PolicyUnavailable(
        "the policy engine gives no decision",
        reasons=(code,),
        remedy="install the bundle the security officers published last, and restart",
    )

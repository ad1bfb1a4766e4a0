"""Where decisions are computed: the engine port, and OPA's policy as WebAssembly in-process.

The other engine is an OPA server (``fairlead.policy.opa``); which one decides is configured once
(``fairlead.policy.making``), and there is no falling back from one to the other.

``opa-py-wasm`` runs what ``opa build -t wasm`` compiled. Its defaults are not ours: one
instance, a deadline of 50 ms for a decision, no waiting for the instance, and an undefined
decision is an error (FACTS: OPA). To change the policy, make a new engine and swap it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import orjson
import wasmtime
from opapywasm import OpaWasmError
from opapywasm.abi import OpaAbi, OpaAbiSpec
from opapywasm.memory import MemoryCodec
from opapywasm.runtime import WasmtimeRuntimeFactory

from fairlead.errors import PolicyUnavailable
from fairlead.policy.call import EvalCall
from fairlead.policy.compiled import compiled_for

POINTS = ("asking", "admission", "routing", "sovereignty", "release", "statistics")
"""The decision points; each is the package ``fairlead.<point>`` with the rule ``decision``."""

DEADLINE_S = 0.05
ATTEMPTS = 2
"""A decision takes a fraction of a millisecond: one that met the deadline met a machine that was
busy elsewhere, and is made once more. An input that keeps the engine busy meets it again."""
MAX_INPUT = 4 * 1024 * 1024
MAX_RESULT = 4 * 1024 * 1024
SELF_TEST = "selftest.json"
_BEFORE, _BEHIND = b'[{"result":', b"}]"
_UNUSABLE = (ValueError, KeyError, TypeError, AttributeError)
"""What an input that JSON cannot say, an unknown point or a result of another form raise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What an engine runs: the compiled kernel, and the sources it was compiled from.

    ``sources`` maps ``"admission/admission.rego"`` to its octets, without tests and data; it may
    hold :data:`SELF_TEST` as well.
    """

    wasm: bytes
    sources: Mapping[str, bytes]


class PolicyEngine(Protocol):
    """Evaluates one point's rule over one input. Whoever calls it trusts nothing it returns."""

    @property
    def name(self) -> str:
        """``"wasm"`` or ``"opa"``, for records of decisions."""
        ...

    def evaluate(self, point: str, document: Mapping[str, object]) -> bytes:
        """The rule's value, as JSON.

        :raises PolicyUnavailable: no value, for whatever reason.
        """
        ...

    def close(self) -> None:
        """Free what it holds; later evaluations are unavailable. Forgetting it does the same."""
        ...


EngineMaker = Callable[[Program, Mapping[str, object]], PolicyEngine]
"""Loads a program over a data document; raises ``PolicyUnavailable`` when that does not go well."""


def wasm_engine(program: Program, data: Mapping[str, object]) -> PolicyEngine:
    """The default: the compiled kernel in this process.

    :raises PolicyUnavailable: see :class:`WasmEngine`, and ENGINE_SELFTEST.
    """
    engine = WasmEngine(program.wasm, data)
    self_test(engine, program)
    return engine


def self_test(engine: PolicyEngine, program: Program) -> None:
    """Refuse an engine that does not decide as it should; closes it then.

    Every point refuses an empty input, and each vector of the program's :data:`SELF_TEST`, a list
    of ``{"point", "input", "expect"}``, comes out as expected over whatever agreements are loaded.

    :raises PolicyUnavailable: ENGINE_SELFTEST, or as the engine.
    """
    try:
        good = _denies_nothing(engine) and _vectors_hold(engine, program.sources.get(SELF_TEST))
    except PolicyUnavailable:
        engine.close()
        raise
    if not good:
        engine.close()
        raise _unavailable("ENGINE_SELFTEST")


def _denies_nothing(engine: PolicyEngine) -> bool:
    """Whether every point refuses an empty input; warms the engine up as well."""
    try:
        empty = {point: orjson.loads(engine.evaluate(point, {})) for point in POINTS}
    except orjson.JSONDecodeError:
        return False
    values = [value if isinstance(value, dict) else {} for value in empty.values()]
    return empty["release"].get("records") == [] and all(
        value.get("effect") == "deny" or value is empty["release"] for value in values
    )


def _vectors_hold(engine: PolicyEngine, vectors: bytes | None) -> bool:
    try:
        for vector in orjson.loads(vectors or b"[]"):
            found = orjson.loads(engine.evaluate(vector["point"], vector["input"]))
            found.pop("policy", None)  # says which agreements are loaded
            if _ordered(found) != _ordered(vector["expect"]):
                return False
    except _UNUSABLE:
        return False
    return True


def _ordered(value: object) -> object:
    """The same document with lists of texts, which stand for sets, in order."""
    if isinstance(value, dict):
        return {key: _ordered(item) for key, item in value.items()}
    if isinstance(value, list):
        items = [_ordered(item) for item in value]
        return sorted(items) if all(isinstance(item, str) for item in items) else items  # type: ignore[type-var]
    return value


class WasmEngine:
    """The compiled policy and its data, fixed at construction. One evaluation at a time."""

    name = "wasm"

    def __init__(
        self, wasm: bytes, data: Mapping[str, object], *, deadline_s: float = DEADLINE_S
    ) -> None:
        """Compile unless another engine runs the same module, load the data, and evaluate every
        point once over an empty input.

        Takes about half a second: not on a request's path.

        :raises PolicyUnavailable: not a module, not this kernel, built-ins it would need from
            the host, or a point that permits an empty input.
        """
        self._lock = threading.Lock()
        self._deadline_s = deadline_s
        self._factory: WasmtimeRuntimeFactory | None = None
        try:
            self._data = orjson.dumps(data)
            self._factory, self._release = compiled_for(self, wasm)
            self._loaded = _Loaded(self._factory, self._data, deadline_s)
        except (OpaWasmError, orjson.JSONEncodeError):
            self.close()
            raise _unavailable("ENGINE_START") from None
        if self._loaded.builtins:
            self.close()
            raise _unavailable("ENGINE_START")
        self_test(self, Program(wasm=wasm, sources={}))

    def evaluate(self, point: str, document: Mapping[str, object]) -> bytes:
        """:raises PolicyUnavailable: undefined, too slow, too large, or an engine's failure."""
        if self._factory is None or not self._lock.acquire(timeout=self._deadline_s):
            raise _unavailable("ENGINE_FAILED")
        try:
            octets = orjson.dumps(document)
            for _ in range(ATTEMPTS):
                if self._loaded.broken:
                    self._loaded.close()
                    self._loaded = _Loaded(self._factory, self._data, self._deadline_s)
                with suppress(_Interrupted):
                    return self._loaded.evaluate(f"fairlead/{point}/decision", octets)
        except (OpaWasmError, wasmtime.WasmtimeError, wasmtime.Trap, *_UNUSABLE):
            pass
        finally:
            self._lock.release()
        raise _unavailable("ENGINE_FAILED")

    def close(self) -> None:
        """Free the instance; later evaluations are unavailable."""
        if self._factory is not None:
            self._factory = None
            self._release()


class _Interrupted(Exception):
    """An evaluation met its deadline."""


class _Loaded:
    """One instance with its data: each evaluation is one call into it.

    The input is written where the instance's heap begins after the data, and ``opa_eval`` is
    told that the heap begins behind the input, as OPA's own Go SDK does; ``opa-py-wasm`` makes
    five calls of it. Whatever goes wrong inside leaves the instance ``broken``.
    """

    def __init__(self, factory: WasmtimeRuntimeFactory, data: bytes, deadline_s: float) -> None:
        self.broken = False
        self._runtime = factory.create_runtime()
        self._abi = OpaAbi(self._runtime, OpaAbiSpec())
        self._codec = MemoryCodec(
            self._abi,
            max_input_bytes=MAX_INPUT,
            max_data_bytes=MAX_INPUT,
            max_result_bytes=MAX_RESULT,
            max_cstring_scan_bytes=MAX_RESULT,
        )
        self._call = EvalCall(self._runtime.store, self._runtime.get_func("opa_eval"))
        self._ticks = factory.epoch.deadline_ticks(deadline_s)
        self._points = self._codec.decode_entrypoints()
        self.builtins = self._codec.decode_builtins()
        self._data = self._codec.python_to_opa_value(data, limit=MAX_INPUT, kind="data")
        self._base = self._abi.opa_heap_ptr_get()
        factory.epoch.ensure_running()

    def evaluate(self, entrypoint: str, document: bytes) -> bytes:
        """The rule's value over ``document``, both JSON.

        What comes out is ``[{"result":`` value ``}]``: two results in it would not read as one
        value, and reading is what everybody does next.

        :raises OpaWasmError: the instance failed. :raises ValueError: undefined, or too large.
        :raises _Interrupted: it met the deadline.
        """
        size, number = len(document), self._points[entrypoint]
        if size > MAX_INPUT:
            raise ValueError
        self.broken = True
        self._abi.set_epoch_deadline(self._ticks)
        where = self._base
        if where + size > self._abi.memory_len():  # the instance's own allocator makes room
            self._abi.opa_heap_ptr_set(where)
            where = self._abi.opa_malloc(size)
        self._abi.memory_write(where, document)
        heap = (where + size + 7) & ~7
        try:
            found = self._call(number, self._data, where, size, heap)
        except wasmtime.Trap as trap:
            if trap.trap_code is wasmtime.TrapCode.INTERRUPT:
                raise _Interrupted from None
            raise
        result = self._codec.read_cstring(found)
        self.broken = False
        if not (result.startswith(_BEFORE) and result.endswith(_BEHIND)):
            raise ValueError
        return result[len(_BEFORE) : -len(_BEHIND)]

    def close(self) -> None:
        """Free the instance."""
        self._runtime.close()


def _unavailable(code: str) -> PolicyUnavailable:
    return PolicyUnavailable(
        "the policy engine gives no decision",
        reasons=(code,),
        remedy="install the bundle the security officers published last, and restart",
    )

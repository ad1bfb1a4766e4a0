"""``opa_eval`` called without the detour: the arguments' types are fixed, so they are set once.

``wasmtime.Func`` asks for the function's type at every call and builds each argument anew, which
takes longer than the evaluation of an admission itself (docs/adr/0015). The binding used here is
private to ``wasmtime``, whose version ``opa-py-wasm`` pins; the engine's conformance suite and the
golden vectors run over it.
"""

from __future__ import annotations

from ctypes import POINTER, byref
from typing import Any

import wasmtime
from wasmtime import _ffi as ffi

PARAMETERS = 7
"""``opa_eval(reserved, entrypoint, data, input, input_length, heap, format)``, all i32."""


class EvalCall:
    """One instance's ``opa_eval``, its arguments and result allocated once; not thread-safe."""

    def __init__(self, store: wasmtime.Store, function: wasmtime.Func) -> None:
        """:raises ValueError: the function has not the shape of ``opa_eval``."""
        kind = function.type(store)
        names = [str(value) for value in (*kind.params, *kind.results)]
        if names != ["i32"] * (PARAMETERS + 1):
            raise ValueError
        self._store = store
        self._function = function
        self._arguments: Any = (ffi.wasmtime_val_t * PARAMETERS)()
        for argument in self._arguments:
            argument.kind = ffi.WASMTIME_I32
        self._results: Any = (ffi.wasmtime_val_t * 1)()

    def __call__(self, entrypoint: int, data: int, where: int, size: int, heap: int) -> int:
        """Address of the result, JSON ending in NUL.

        :raises wasmtime.Trap: the evaluation was interrupted, or went wrong inside.
        :raises wasmtime.WasmtimeError: it could not be called.
        """
        arguments = self._arguments
        for place, value in enumerate((0, entrypoint, data, where, size, heap, 0)):
            arguments[place].of.i32 = value
        trap: Any = POINTER(ffi.wasm_trap_t)()
        error = ffi.wasmtime_func_call(
            self._store._context(),  # noqa: SLF001
            byref(self._function._func),  # noqa: SLF001
            arguments,
            PARAMETERS,
            self._results,
            1,
            byref(trap),
        )
        if error:
            raise wasmtime.WasmtimeError._from_ptr(error)  # noqa: SLF001
        if trap:
            raise wasmtime.Trap._from_ptr(trap)  # noqa: SLF001
        return int(self._results[0].of.i32)

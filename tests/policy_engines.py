"""Both policy engines over any data, for tests that change the data again and again.

The WebAssembly is compiled once and its instance made anew for each data; the other is the real
OPA of the reference (``tools/opa_server.py``). Neither has a deadline that a busy machine meets.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import orjson
from opapywasm.runtime import WasmtimeRuntimeFactory

from fairlead.errors import PolicyUnavailable
from fairlead.policy.engine import _Loaded
from tests import opas

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from build_policies import sources  # noqa: E402
from opa_server import Reference  # noqa: E402

PATIENCE_S = 10.0


class Slate(Protocol):
    """An engine whose data can be replaced."""

    def load(self, data: Mapping[str, object]) -> None:
        """Put ``data`` in the place of all data there was."""
        ...

    def evaluate(self, point: str, document: Mapping[str, object]) -> bytes:
        """:raises PolicyUnavailable: no value."""
        ...


class WasmSlate:
    """The module in-process."""

    def __init__(self, wasm: bytes) -> None:
        self._factory = WasmtimeRuntimeFactory(wasm)
        self._loaded: _Loaded | None = None
        self._data = b""

    def load(self, data: Mapping[str, object]) -> None:
        """A new instance over this data."""
        self._data = orjson.dumps(data)
        self._fresh()

    def evaluate(self, point: str, document: Mapping[str, object]) -> bytes:
        """:raises PolicyUnavailable: as the product's engine does."""
        if self._loaded is None or self._loaded.broken:
            self._fresh()
        assert self._loaded is not None
        try:
            return self._loaded.evaluate(f"fairlead/{point}/decision", orjson.dumps(document))
        except Exception as error:
            raise PolicyUnavailable("no value") from error

    def close(self) -> None:
        """Free everything."""
        self._factory.close()

    def _fresh(self) -> None:
        if self._loaded is not None:
            self._loaded.close()
        self._loaded = _Loaded(self._factory, self._data, PATIENCE_S)


class OpaSlate:
    """The reference."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        self.load = reference.load

    def evaluate(self, point: str, document: Mapping[str, object]) -> bytes:
        """:raises PolicyUnavailable: undefined."""
        value = self._reference.evaluate(point, document)
        if value is None:
            raise PolicyUnavailable("undefined")
        return json.dumps(value).encode()


@contextmanager
def wasm_slate(wasm: bytes | None = None) -> Iterator[WasmSlate]:
    """The committed module, or another."""
    slate = WasmSlate(wasm or (ROOT / "policies" / "policy.wasm").read_bytes())
    try:
        yield slate
    finally:
        slate.close()


@contextmanager
def opa_slate() -> Iterator[OpaSlate]:
    """The committed sources in a real OPA."""
    with Reference(opas.command(), sources()) as reference:
        yield OpaSlate(reference)

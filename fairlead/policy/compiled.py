"""Modules that this process has compiled, shared by all engines that run the same one.

Compiling is most of what an engine's start takes. A node runs the federation's policy and
its own over the same module, and a release that changes the agreements leaves the module as it
was. What is shared is code and the thread that counts deadlines; each engine has an instance, a
memory and data of its own.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from weakref import finalize

from opapywasm.runtime import WasmtimeRuntimeFactory

MAX_PAGES = 4096
"""Pages of 64 KiB that an instance may grow to: a policy that allocates more is stopped."""
IDLE = 1
"""Modules that stay compiled though no engine runs them: the one before, or the next one's."""


@dataclass(slots=True)
class _Compiled:
    factory: WasmtimeRuntimeFactory
    users: int = 0


_lock = threading.RLock()  # a finalizer may come while this very thread holds it
_compiled: dict[bytes, _Compiled] = {}


def compiled_for(user: object, wasm: bytes) -> tuple[WasmtimeRuntimeFactory, Callable[[], object]]:
    """The compiled module, and what gives it back; that happens at the latest when ``user`` is
    forgotten.

    :raises OpaWasmError: not a module, or not OPA's.
    """
    key = hashlib.sha256(wasm).digest()
    with _lock:
        found = _compiled.pop(key, None)
        if found is None:
            found = _Compiled(WasmtimeRuntimeFactory(wasm, max_memory_pages=MAX_PAGES))
        found.users += 1
        _compiled[key] = found  # the last in the order of use
    release = finalize(user, _give_back, key, found)
    release.atexit = False
    return found.factory, release


def _give_back(key: bytes, compiled: _Compiled) -> None:
    """One engine less runs it; those idle for longest go, with their threads."""
    with _lock:
        compiled.users -= 1
        if not compiled.users and _compiled.get(key) is compiled:
            _compiled[key] = _compiled.pop(key)
        idle = [key for key, one in _compiled.items() if not one.users]
        gone = [_compiled.pop(key) for key in idle[: max(0, len(idle) - IDLE)]]
    for one in gone:
        one.factory.close()

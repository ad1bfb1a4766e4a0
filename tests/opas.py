"""OPA for tests: the real program, the policy it runs, and a server that answers as it is told.

The suites over the real OPA are skipped where it is missing, with the command that gets it, unless
``FAIRLEAD_REQUIRE_ALL`` is set.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from fairlead.policy.agreements import federation_data, local_data
from fairlead.policy.bundle import program_of
from fairlead.policy.compiling import identified
from fairlead.policy.engine import POINTS, Program
from fairlead.policy.issuing import tree
from fairlead.policy.transport import Place
from tests.policy_cases import CUBES

ROOT = Path(__file__).resolve().parent.parent
POLICIES = ROOT / "policies"
BASELINE = ["data/agreements.yaml"]
DEMO = [*BASELINE, "data/demo.yaml"]
POLICY = "golden"
"""The identity of the policy that these engines have."""
PATIENT_S = 20.0
"""A deadline for what is not about deadlines: a busy test machine gets time."""

sys.path.insert(0, str(ROOT / "tools"))
import get_opa  # noqa: E402


def command() -> Path:
    """The pinned OPA; skips, or fails when everything is required."""
    found = get_opa.find_opa()
    if found is None:
        missing = f"OPA {get_opa.VERSION} is missing (next: make tools)"
        if os.environ.get("FAIRLEAD_REQUIRE_ALL") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    return found.resolve()


def program(**changed: bytes) -> Program:
    """The kernel; ``admission=b"…"`` puts another text in the place of that package's."""
    made = program_of(tree(POLICIES))
    texts = {f"{name}/{name}.rego": text for name, text in changed.items()}
    return replace(made, sources={**made.sources, **texts})


def data(names: Sequence[str] = BASELINE) -> dict[str, Any]:
    """The compiled agreements of these files."""
    files = {name: (POLICIES / name).read_bytes() for name in names}
    return identified(federation_data(files, CUBES), POLICY)


def own_data() -> dict[str, Any]:
    """The second layer of a partner with agreements of its own."""
    files = {name: (POLICIES / name).read_bytes() for name in DEMO}
    own = (POLICIES / "data/local.example.yaml").read_bytes()
    return identified(local_data(federation_data(files, CUBES), files, "local.yaml", own), POLICY)


def vector(name: str) -> dict[str, Any]:
    """A golden vector."""
    found: dict[str, Any] = json.loads((ROOT / f"tests/vectors/policy/{name}.json").read_bytes())
    return found


def tiny(rule: str) -> Program:
    """A program that refuses everything, except that admission is decided by ``rule``.

    ``rule`` is the body of a package; ``nothing`` in it is a denial.
    """
    nothing = 'nothing := {"effect": "deny"}\n'
    texts = dict.fromkeys(POINTS, nothing + "decision := nothing")
    texts["release"] = 'decision := {"records": []}'
    texts["admission"] = nothing + rule
    return Program(
        wasm=b"", sources={f"{p}/{p}.rego": f"package fairlead.{p}\n{t}\n".encode()
                           for p, t in texts.items()},
    )  # fmt: skip


def compiled(of: Program) -> Program:
    """The same with its WebAssembly."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for source, text in of.sources.items():
            (folder / source).parent.mkdir(exist_ok=True)
            (folder / source).write_bytes(text)
        entries = [part for p in POINTS for part in ("-e", f"fairlead/{p}/decision")]
        subprocess.run(
            [command(), "build", "-t", "wasm", *entries, "-o", "b.tar.gz",
             *(name for name in of.sources if name.endswith(".rego"))],
            cwd=folder, check=True, capture_output=True,
        )  # fmt: skip
        subprocess.run(["tar", "xzf", "b.tar.gz"], cwd=folder, check=True, capture_output=True)
        return Program(wasm=(folder / "policy.wasm").read_bytes(), sources=of.sources)


@dataclass(kw_only=True)
class Running:
    """An OPA that an operator runs: over TCP, with a token, and empty."""

    place: Place
    token: str
    process: subprocess.Popen[bytes]


AUTHZ = """
package system.authz
default allow := false
allow if input.identity == "{token}"
"""


@contextmanager
def running(*options: str, files: Sequence[Path] = ()) -> Iterator[Running]:
    """Start OPA as an operator would, and end it."""
    opa, token = command(), "correct-horse"
    folder = Path(tempfile.mkdtemp(prefix="fairlead-opa-test-"))
    (folder / "authz.rego").write_text(AUTHZ.format(token=token))
    port = free_port()
    process = subprocess.Popen(
        [opa, "run", "--server", "--addr", f"127.0.0.1:{port}", "--skip-version-check",
         "--log-level", "error", "--authentication=token", "--authorization=basic", *options,
         folder / "authz.rego", *files],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _await_port(port)
        yield Running(place=Place(port=port), token=token, process=process)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """A port where nobody listens now."""
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return int(chosen.getsockname()[1])


def _await_port(port: int) -> None:
    until = time.monotonic() + PATIENT_S
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    pytest.fail("OPA did not start")


# ── A server that answers as it is told ──────────────────────────────────────────────────────

Answer = Callable[[socket.socket], None]


@dataclass(kw_only=True)
class FaultServer:
    """Reads one request after another and gives each to ``answer``; counts them."""

    place: Place
    answer: Answer
    requests: list[bytes] = field(default_factory=list)


def replies(body: bytes, status: str = "200 OK", *headers: str) -> Answer:
    """A whole answer, well formed as HTTP."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return lambda wire: wire.sendall("\r\n".join(lines).encode() + body)


@contextmanager
def fault_server(answer: Answer, *, tls: ssl.SSLContext | None = None) -> Iterator[FaultServer]:
    """Serve on loopback until the block ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = FaultServer(place=Place(port=listener.getsockname()[1]), answer=answer)
    wires: list[socket.socket] = []

    def serve(wire: socket.socket) -> None:
        with contextlib.suppress(OSError), wire:
            secured = tls.wrap_socket(wire, server_side=True) if tls else wire
            with secured:
                while request := _request(secured):
                    server.requests.append(request)
                    server.answer(secured)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                wire, _ = listener.accept()
                wires.append(wire)
                threading.Thread(target=serve, args=(wire,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for wire in wires:
            with contextlib.suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)
            wire.close()


def _request(wire: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        more = wire.recv(65_536)
        if not more:
            return b""
        head += more
    head, _, body = head.partition(b"\r\n\r\n")
    size = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n")
         if line.lower().startswith(b"content-length:")), 0,
    )  # fmt: skip
    while len(body) < size:
        body += wire.recv(65_536)
    return head + b"\r\n\r\n" + body

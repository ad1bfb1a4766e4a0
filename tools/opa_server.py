"""The reference: one real OPA over Rego sources, which takes any data and any input.

A process for each decision would take a minute for the golden vectors; this one listens on a
Unix socket in a folder of its own, so nobody else on the machine can speak to it. It is not the
product's engine (``fairlead/policy/opa.py``): what is compared must not share its mistakes.
"""

from __future__ import annotations

import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

START_S = 30.0
TIMEOUT_S = 30.0


class Reference:
    """A running OPA; a context manager that ends it."""

    def __init__(self, opa: Path, sources: Sequence[Path]) -> None:
        """Start it over the Rego files ``sources``, without data.

        :raises RuntimeError: it does not start.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="fairlead-opa-")
        at = Path(self._folder.name) / "opa.sock"
        self._process = subprocess.Popen(
            [str(opa), "run", "--server", "--addr", f"unix://{at}", "--log-level", "error",
             "--disable-telemetry", "--optimize-store-for-read-speed", *map(str, sources)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._connection = _Socket(at)
        self._wait()

    def load(self, data: Mapping[str, object]) -> None:
        """Put ``data`` in the place of all data there was."""
        federation = data.get("federation")
        if federation is None:
            self._call("DELETE", "/v1/data/federation", None)
        else:
            self._call("PUT", "/v1/data/federation", federation)

    def evaluate(self, point: str, document: Mapping[str, object]) -> Any:
        """The value of one point's rule; None when it is undefined or fails."""
        path = f"/v1/data/fairlead/{point}/decision"
        status, answer = self._call("POST", path, {"input": document})
        return answer.get("result") if status == 200 else None

    def close(self) -> None:
        """End it."""
        self._connection.close()
        self._process.terminate()
        self._process.wait(timeout=TIMEOUT_S)
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if self._call("GET", "/health", None)[0] == 200:
                    return
            except OSError:
                self._connection.close()
                time.sleep(0.05)
        self.close()
        raise RuntimeError("OPA does not start")

    def _call(self, method: str, path: str, body: object) -> tuple[int, dict[str, Any]]:
        octets = None if body is None else json.dumps(body).encode()
        self._connection.request(method, path, octets, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        content = response.read()
        return response.status, json.loads(content) if content else {}


class _Socket(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(str(self._path))

"""The benchmark's child processes: started, spoken to, measured, and always ended."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.federation import ROOT

START_S = 180.0
STOP_S = 15.0
_PR_SET_PDEATHSIG = 1
"""prctl(2)"""
_LIBC = ctypes.CDLL(None)
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class ChildFailed(Exception):
    """A child process did not start, or ended before its time; its log is in the message."""


@dataclass(slots=True)
class Child:
    """One process that obeys lines on its standard input, or a product's own process."""

    name: str
    process: subprocess.Popen[str]
    log: Path

    def cpu_s(self) -> float:
        """CPU seconds this process has used so far, all threads, user and system (proc(5))."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / _TICKS_PER_S

    def rss_mb(self) -> float:
        """Resident memory of this process now, in MiB (proc(5))."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024

    def tell(self, line: str) -> str:
        """Send one line, return the line that answers it.

        :raises ChildFailed: it ended instead.
        """
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.hear()

    def order(self, **order: object) -> dict[str, Any]:
        """:meth:`tell`, in JSON both ways."""
        answer: dict[str, Any] = json.loads(self.tell(json.dumps(order)))
        return answer

    def hear(self) -> str:
        """The next line it prints.

        :raises ChildFailed: it ended instead.
        """
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise self.failure()
        return line.strip()

    def failure(self) -> ChildFailed:
        """What its log says."""
        return ChildFailed(f"{self.name} ended: {self.log.read_text()[-2000:]}")

    def logged(self, event: str) -> bool:
        """Whether its log holds ``event``.

        :raises ChildFailed: it ended.
        """
        if self.process.poll() is not None:
            raise self.failure()
        return event in self.log.read_text()

    def signal(self, number: int) -> None:
        """Send a signal to this process alone."""
        self.process.send_signal(number)

    def stop(self) -> None:
        """End it, kindly at first."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


class Children:
    """Every child of one benchmark; leaving the context ends them all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._children: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop(*self._children)

    def obedient(self, name: str, module: str, *arguments: str) -> Child:
        """Start a module of the benchmark's own; it says ``ready`` and then obeys."""
        return self.foreign(name, sys.executable, "-m", module, *arguments)

    def foreign(self, name: str, *command: str) -> Child:
        """Start any program that says ``ready`` and then obeys."""
        child = self._start(name, command, pipe=subprocess.PIPE)
        if child.hear() != "ready":
            raise child.failure()
        return child

    def product(self, name: str, module: str, *arguments: str) -> Child:
        """Start one of the product's processes as shipped; see :func:`wait_until_serving`."""
        command = (sys.executable, "-m", module, *arguments)
        return self._start(name, command, pipe=subprocess.DEVNULL)

    def stop(self, *children: Child) -> None:
        """End these."""
        for child in children:
            child.stop()
        self._children = [child for child in self._children if child not in children]

    def _start(self, name: str, command: Sequence[str], *, pipe: int) -> Child:
        log = self._folder / f"{name}.log"
        with log.open("wb") as errors:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=pipe,
                stdout=pipe if pipe == subprocess.PIPE else errors,
                stderr=errors,
                text=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509  a benchmark starts no threads before
            )
        self._children.append(Child(name=name, process=process, log=log))
        return self._children[-1]


def _end_with_parent() -> None:
    """In the child: whatever ends the benchmark, SIGKILL too, tells this process to stop."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def wait_until_serving(*children: Child) -> None:
    """Wait until the product's processes say in their logs that they serve.

    :raises ChildFailed: one ended, or took too long.
    """
    for child in children:
        deadline = time.monotonic() + START_S
        while not child.logged("server-started"):
            if time.monotonic() > deadline:
                raise child.failure()
            time.sleep(0.05)

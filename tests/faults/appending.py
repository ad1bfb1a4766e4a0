"""The parent's side of :mod:`tests.faults.appender`: start it, let it go on, end it, read it."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LONGEST_S = 120.0
"""A process that says nothing for so long hangs, which is a fault of its own."""


@dataclass(slots=True)
class Appending:
    """One running appender; ``lines`` is what it has said."""

    process: subprocess.Popen[bytes]
    lines: list[str] = field(default_factory=list)

    @property
    def pid(self) -> int:
        """Its process id, and that of its first thread."""
        return self.process.pid

    def read(self, count: int) -> None:
        """Read so many lines more, fewer when it ends."""
        assert self.process.stdout is not None
        for _ in range(count):
            line = self.process.stdout.readline()
            if not line.endswith(b"\n"):
                return
            self.lines.append(line.decode())

    def until(self, kind: str) -> str:
        """Read until a line of this kind; returns the rest of it, or nothing when it ended."""
        while True:
            before = len(self.lines)
            self.read(1)
            if len(self.lines) == before:
                return ""
            word, _, rest = self.lines[-1].partition(" ")
            if word.strip() == kind:
                return rest.strip() or kind

    def go(self) -> None:
        """Let it go on from where it waits."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(b"go\n")
            self.process.stdin.flush()

    def kill(self) -> None:
        """SIGKILL: nothing of it is flushed."""
        self.process.send_signal(signal.SIGKILL)

    def end(self) -> int:
        """Read all it says until it ends; returns its exit code."""
        out, _ = self.process.communicate(timeout=LONGEST_S)
        self.lines += [line for line in out.decode().splitlines(keepends=True) if line[-1] == "\n"]
        return self.process.returncode


@contextlib.contextmanager
def appending(log: Path, *arguments: str | int, said: Path) -> Iterator[Appending]:
    """An appender on ``log``; its standard error goes to the file ``said``."""
    command: Sequence[str] = (sys.executable, "-m", "tests.faults.appender", str(log))
    with said.open("ab") as stream:
        process = subprocess.Popen(
            [*command, *map(str, arguments)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream,
        )  # fmt: skip
    running = Appending(process)
    try:
        yield running
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

"""Typing a page of the documentation: each command behind a ``$``, in a shell, as a process.

A page is typed block by block in its own order. What differs from machine to machine (an id, a
phrase, a port, a path) is replaced by one table of values per page; nothing else of a line is.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.federation import ROOT

PATIENCE_S = 60.0
RUN_S = 240.0
_PARTS = re.compile(
    r"^#{1,3} (?P<heading>[^\n]+)$|^```(?P<language>console|bash|python)\n(?P<text>.*?)^```",
    re.MULTILINE | re.DOTALL,
)
_REFUSAL = re.compile(r"^error: .*\[([A-Z_, ]+)\]$", re.MULTILINE)


# ── The page ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command as the page shows it, and what the page shows below it."""

    line: str
    below: str = ""

    @property
    def refusal(self) -> str | None:
        """The reason code the page shows, where it shows a refusal."""
        found = _REFUSAL.search(self.below)
        return found[1] if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block of commands, and the heading it stands under."""

    heading: str
    commands: tuple[Command, ...]


def text_of(page: str) -> str:
    """A page, such as ``docs/ask.md``."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> Iterator[Block]:
    """Every block of commands of a page, in its order; a script is one command."""
    heading = ""
    for found in _PARTS.finditer(text_of(page)):
        if found["heading"]:
            heading = found["heading"]
        elif found["language"] == "console":
            if commands := tuple(_typed(found["text"])):
                yield Block(heading=heading, commands=commands)
        else:
            script = found["text"]
            if found["language"] == "python":
                script = f"python - <<'END'\n{script}END"
            yield Block(heading=heading, commands=(Command(line=script.strip()),))


def _typed(text: str) -> Iterator[Command]:
    joined = re.sub(r"\\\n\s*", "", text)
    for part in re.split(r"^\$ ", joined, flags=re.MULTILINE)[1:]:
        line, _, below = part.partition("\n")
        yield Command(line=line, below=below)


# ── The machine ──────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Machine:
    """Where it is typed: what was printed so far, and what serves until it is ended.

    :param home: a folder of its own, for logs and as the home of whoever types.
    """

    home: Path
    said: str = ""
    serving: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def heard(self, pattern: str, nth: int = -1) -> str:
        """What stood in the group of ``pattern`` when it was printed last, or for the nth time."""
        found = re.findall(pattern, self.said, re.MULTILINE)
        assert found, f"nobody has said {pattern}"
        return str(found[nth])

    def heard_in(self, log: Path, text: str) -> None:
        """Wait until a server has written something."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)

    def run(self, text: str, folder: Path, environment: Mapping[str, str]) -> tuple[int, str]:
        """Run to its end; returns the exit code and everything printed."""
        running = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", text], cwd=folder, env=environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        try:
            out, err = running.communicate(timeout=RUN_S)
        finally:
            _ended(running, signal.SIGINT)
        self.said += f"{out}\n{err}\n"
        return running.returncode, out + err

    def serve(self, text: str, folder: Path, environment: Mapping[str, str]) -> None:
        """Start a server and wait until it serves; one typed again is ended first."""
        server = _server(text)
        self.end(server)
        log = self.home / f"{re.sub(r'[^a-z]+', '-', server)}.log"
        running = self._background(text, folder, environment, log)
        self.serving[server] = running
        _wait(lambda: "server-started" in log.read_text(), running, log)

    def watch(self, text: str, folder: Path, environment: Mapping[str, str]) -> None:
        """Let it print once, then press Ctrl-C."""
        log = self.home / "watch.log"
        running = self._background(text, folder, environment, log)
        self.serving["watch"] = running
        _wait(lambda: _is_json(log.read_text()), running, log)
        _ended(running, signal.SIGINT)
        del self.serving["watch"]
        assert running.returncode == 130, log.read_text()

    def end(self, server: str) -> None:
        """End a server in order, if it serves."""
        if server in self.serving:
            running = self.serving[server]
            _ended(running, signal.SIGTERM)
            del self.serving[server]
            assert running.returncode == 0, server

    def _background(
        self, text: str, folder: Path, environment: Mapping[str, str], log: Path
    ) -> subprocess.Popen[bytes]:
        with log.open("wb") as stream:
            return subprocess.Popen(
                ["bash", "-c", f"exec {text}"], cwd=folder, env=environment,
                stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True,
            )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Nothing stays: in order when all went well, at once otherwise."""
        try:
            for server in list(self.serving) if error is None else ():
                self.end(server)
        finally:
            for running in self.serving.values():
                _ended(running, signal.SIGKILL)


def _server(text: str) -> str:
    """What a line serves or restores: the program and its configuration."""
    words = shlex.split(text)
    assert "--config" in words, text
    return f"{words[0]} {Path(words[words.index('--config') + 1]).name}"


def _ended(running: subprocess.Popen[Any], how: signal.Signals) -> None:
    """Wait for the end of a process and its children, which a signal asks for."""
    if running.poll() is not None:
        return
    with suppress(ProcessLookupError):
        os.killpg(running.pid, how)
    try:
        running.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        raise


def _wait(ready: Callable[[], bool], running: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not ready():
        assert running.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def _is_json(text: str) -> bool:
    try:
        return bool(json.loads(text))
    except ValueError:
        return False


# ── The hands ────────────────────────────────────────────────────────────────────────────────

Value = str | tuple[str, ...] | Callable[[], str]
"""What stands for an example: a text, one text for each of several people who type the same
line, or what is known only when it is typed."""


@dataclass(slots=True)
class Typist:
    """Types one page, block by block, in ``folder``.

    :param values: example on the page → what it is here; whole words or quoted texts only.
    :param variables: of the shell of whoever types a line.
    :param only: which blocks; all by default.
    """

    page: str
    machine: Machine
    folder: Path
    values: Mapping[str, Value] = field(default_factory=dict)
    variables: Callable[[str], Mapping[str, str]] = lambda _: {}
    only: Callable[[Block], bool] = lambda _: True
    _left: list[Block] = field(init=False)
    _used: set[str] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self._left = [block for block in blocks(self.page) if self.only(block)]
        for example in self.values:
            assert not example.startswith("-"), f"{example} is no value"

    def block(self, heading: str) -> str:
        """Type the next block of the page, which stands under ``heading``."""
        assert self._left, f"{self.page} has no further block"
        block = self._left.pop(0)
        assert block.heading == heading, f"next on {self.page} is {block.heading}"
        said = ""
        for command in block.commands:
            by_itself = {typed.line: typed for typed in _typed(said)}
            if command.line in by_itself:  # the command before it typed it: make demo
                assert by_itself[command.line].refusal == command.refusal, said
                self._compare(command, said)
            else:
                said = self.type(command)
        return said

    def type(self, command: Command) -> str:
        """One command, by everybody who types it; returns what was printed."""
        said = whole = ""
        for text in self._filled(command.line):
            word = text.split()[1:2]
            environment = self._environment(command.line)
            if word in (["serve"], ["run"]):
                self.machine.serve(text, self.folder, environment)
            elif " --watch" in text:
                self.machine.watch(text, self.folder, environment)
            else:
                if word == ["restore"]:  # it needs the process stopped, as the page says
                    self.machine.end(_server(text))
                code, said = self.machine.run(text, self.folder, environment)
                story = f"{self.page}: $ {text}\n{said}exit code {code}"
                assert (code == 0) == (command.refusal is None), story
                assert command.refusal is None or f"[{command.refusal}]" in said, story
                whole += said
        self._compare(command, whole)
        return said

    def _compare(self, command: Command, said: str) -> None:
        """What the page shows was printed, but for columns' widths and what differs each time.

        Compared are lines without a digit, a phrase or an ellipsis.
        """
        printed = " ".join(said.split())
        for line in command.below.splitlines():
            if line.strip() and not re.search(r"[0-9…]|check phrase", line):
                shown = " ".join(self._filled(line)[0].split())
                assert shown in printed, f"{self.page} shows: {shown}\n{said}"

    def done(self) -> None:
        """Nothing on the page was left out, and no value stands in vain."""
        left = [command.line for block in self._left for command in block.commands]
        assert not left, f"nobody typed on {self.page}: {left}"
        idle = set(self.values) - self._used
        assert not idle, f"{self.page} has no such example: {idle}"

    def _filled(self, line: str) -> list[str]:
        """The line with the values of here, once for each of those who type it."""
        here = [e for e in self.values if _whole(e).search(line)]
        people = max([len(v) for e in here if isinstance(v := self.values[e], tuple)], default=1)
        self._used.update(here)
        filled = []
        for person in range(people):
            text = line
            for example in sorted(here, key=len, reverse=True):
                value = self.values[example]
                if isinstance(value, tuple):
                    value = value[person]
                known = value if isinstance(value, str) else value()
                assert not re.search(r"(^| )--", known), f"{known} is no value"
                text = _whole(example).sub(known.replace("\\", r"\\"), text)
            filled.append(text)
        return filled

    def _environment(self, line: str) -> dict[str, str]:
        """A shell that finds our programs, has its own home and knows no profile."""
        inherited = {n: v for n, v in os.environ.items() if not n.startswith(("FAIRLEAD_", "MAKE"))}
        places = (Path(sys.executable).parent, ROOT / ".tools" / "bin", os.environ["PATH"])
        return {
            **inherited,
            "PATH": os.pathsep.join(map(str, places)),
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.machine.home),
            "NO_COLOR": "1",
            **self.variables(line),
        }


def _whole(example: str) -> re.Pattern[str]:
    """The example as a whole word, or a whole part of a quoted text."""
    return re.compile(rf"(?<![^\s\"'=]){re.escape(example)}(?![^\s\"'])")

"""docs/join.md, typed: a seventh partner joins the running demo and gives its first answer."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template

import pytest

from tests.federation import ROOT, free_ports
from tests.postgres import postgres

PAGE = (ROOT / "docs" / "join.md").read_text(encoding="utf-8")
MODULES = {
    "fairlead": "fairlead.cli.main",
    "fairlead-authority": "fairlead.cli.authority",
    "fairlead-gateway": "gateway.cli.main",
    "fairlead-node": "node.cli.main",
}
PARTNERS = "## The partner", "## The owner"
"""Sections whose commands the seventh partner types."""
MOST = 12
RECORDS = "3000"
STORY, OTHER = "MSCU6639870", "TCLU1234568"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]


def typed() -> Iterator[tuple[str, str]]:
    """(section heading, command line) in the order of the page."""
    for section in re.split(r"^(?=## )", PAGE, flags=re.MULTILINE)[1:]:
        heading = section.splitlines()[0]
        for block in re.findall(r"^```console\n(.*?)^```", section, re.MULTILINE | re.DOTALL):
            for line in re.sub(r"\\\n\s*", "", block).splitlines():
                if line.startswith("$ "):
                    yield heading, line[2:]


def test_the_partner_types_at_most_twelve_commands() -> None:
    """The page keeps its promise: every command at the partner is counted."""
    own = [line for heading, line in typed() if heading.startswith(PARTNERS)]
    assert 0 < len(own) <= MOST
    assert sum("serve" in line.split() for line in own) == 1


class Typist:
    """Types the page's commands in one folder, remembering the phrases that are read out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.phrases: dict[str, str] = {}
        self.serving: subprocess.Popen[bytes] | None = None
        own, authority = free_ports(2)
        self._ports = {"127.0.0.1:7591": f"127.0.0.1:{own}"}
        self._ports["127.0.0.1:7590"] = f"127.0.0.1:{authority}"

    def type(self, line: str) -> str:
        """One command; returns what it printed. ``serve`` goes on in the background."""
        words = shlex.split(Template(line).substitute(self.phrases))
        variables = {}
        while "=" in words[0]:
            name, _, value = words.pop(0).partition("=")
            variables[name] = value
        command = [sys.executable, "-m", MODULES[words[0]]]
        command += [self._ports.get(word, word) for word in words[1:]]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", **variables}
        if words[1] == "serve":
            self._serve(command, environment)
            return ""
        done = subprocess.run(
            command, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        self._listen(words, done.stderr)
        return done.stdout + done.stderr

    def _listen(self, words: list[str], said: str) -> None:
        """Keep a phrase that a command says, as whoever holds the telephone would."""
        found = re.search(r"check phrase[^\n]*?: ([^\n]+)", said)
        if found is not None and words[1:3] == ["partner", "invite"]:
            self.phrases["INVITED"] = found[1]
        if found is not None and words[1] == "init" and words[0] == "fairlead-node":
            self.phrases["ROOT"] = found[1]

    def _serve(self, command: list[str], environment: dict[str, str]) -> None:
        log = self.folder / "serve.log"
        with log.open("wb") as stream:
            self.serving = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL,
                stdout=stream, stderr=stream,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while "server-started" not in log.read_text():
            assert self.serving.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """End the node that the page left serving."""
        if self.serving is not None:
            self.serving.terminate()
            self.serving.wait(30)


@contextmanager
def running_demo(folder: Path) -> Iterator[None]:
    """``make demo-up`` in a folder of its own."""
    environment = {**os.environ, "FAIRLEAD_DEMO_DIR": str(folder / ".demo"), "NO_COLOR": "1"}
    demo = [sys.executable, "-m", "demo.run", "--records", RECORDS]

    def run(option: str) -> None:
        subprocess.run(
            [*demo, option], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
            capture_output=True, timeout=240, check=True,
        )  # fmt: skip

    run("--up")
    try:
        yield
    finally:
        run("--down")


def customs_phrase(folder: Path) -> str:
    """What customs' people read out: the phrase of their root, from their own node's list."""
    from fairlead.phrases import check_phrase
    from fairlead.trust import Trust

    trust = Trust.load(folder / ".demo" / "public" / "customs" / "pins.toml")
    return check_phrase(trust.roots["customs"])


def test_a_seventh_partner_joins_with_the_documented_commands(tmp_path: Path) -> None:
    """Its own CSV file and PostgreSQL table give the first answer, to whoever pinned it."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600))
    rows = [f"{STORY},{moment},IN,Gate 3", f"CSQU3054383,{moment},OUT,Gate 4"]
    (tmp_path / "trips.csv").write_text(
        "\n".join(["container_no,moved_at,direction,gate", *rows]) + "\n"
    )
    typist = Typist(tmp_path)
    with postgres() as server, running_demo(tmp_path):
        server.run(
            "CREATE TABLE gate_moves (id bigint PRIMARY KEY, container text NOT NULL, "
            "moved_at timestamptz NOT NULL, lane text)",
            f"INSERT INTO gate_moves VALUES (1, '{STORY}', '{moment}', 'L1'), "  # noqa: S608
            f"(2, '{OTHER}', '{moment}', 'L2')",
            "CREATE ROLE reader LOGIN",
            "GRANT SELECT ON gate_moves TO reader",
        )
        typist.phrases["CUSTOMS"] = customs_phrase(tmp_path)
        try:
            for _, line in typed():
                if "db.url" in line:
                    url = tmp_path / "node" / "db.url"
                    url.write_text(server.url(user="reader"))
                    url.chmod(0o600)
                said = typist.type(line)
        finally:
            typist.stop()
    assert re.search(r"^east-quay +HIT 2-5", said, re.MULTILINE), said
    assert "Gate 3" in said

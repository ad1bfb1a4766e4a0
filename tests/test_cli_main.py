"""``fairlead``: its commands, its help, and how it ends."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from fairlead.cli.output import Exit
from tests.commands import fairlead, run_module

COMMANDS = [(), ("ask",), ("partners",), ("cases",), ("cases", "open"), ("cases", "list")]
PROGRAMS = {
    "fairlead.cli.main": "fairlead",
    "fairlead.cli.authority": "fairlead-authority",
    "fairlead.cli.oversight": "fairlead-oversight",
    "gateway.cli.main": "fairlead-gateway",
    "node.cli.main": "fairlead-node",
}
HEAVY = {"asyncio", "cryptography", "duckdb", "google.protobuf", "grpc", "pydantic", "rich"}
HEAVY |= {"sqlalchemy", "wasmtime"}
COMMANDS += [("receipts",), ("receipts", "verify"), ("audit",), ("audit", "verify")]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
async def test_every_command_has_help(command: tuple[str, ...], tmp_path: Path) -> None:
    """``--help`` needs no profile, no network and no key, and prints no colour into a pipe."""
    ended = await fairlead(*command, "--help", home=tmp_path)
    assert ended.code == Exit.ANSWERED
    assert "Usage:" in ended.out
    assert "\x1b" not in ended.out
    assert ended.err == ""


@pytest.mark.parametrize(
    "words",
    [("nonsense",), ("ask",), ("ask", "--nonsense"), ("cases", "open"), ("receipts", "verify")],
)
async def test_wrong_words_are_usage_errors(words: tuple[str, ...], tmp_path: Path) -> None:
    """Exit 2, the usage on stderr, nothing on stdout, no traceback."""
    ended = await fairlead(*words, home=tmp_path)
    assert (ended.code, ended.out) == (Exit.USAGE, "")
    assert "Traceback" not in ended.err
    assert ended.err


@pytest.mark.parametrize("program", PROGRAMS)
async def test_help_does_not_load_what_it_does_not_use(program: str, tmp_path: Path) -> None:
    """Neither gRPC, cryptography nor the engines of policy and data are imported for ``--help``."""
    ended = await run_module(program, "--help", home=tmp_path, PYTHONPROFILEIMPORTTIME="1")
    loaded = {line.rpartition("|")[2].strip() for line in ended.err.splitlines()}
    assert ended.code == Exit.ANSWERED
    assert "typer" in loaded
    assert loaded.isdisjoint(HEAVY)


@pytest.mark.parametrize(("module", "name"), PROGRAMS.items(), ids=PROGRAMS.values())
async def test_every_program_says_its_version(module: str, name: str, tmp_path: Path) -> None:
    """``--version`` prints the program's name and the release on stdout, and ends well."""
    ended = await run_module(module, "--version", home=tmp_path)
    assert (ended.code, ended.out, ended.err) == (0, f"{name} {version('fairlead')}\n", "")

"""The control socket: this user alone, one bounded command at a time, whatever is written to it."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fairlead.errors import FairleadError, InvalidInput, Misconfigured, Stale
from node.control.client import call
from node.control.message import (
    COMMANDS,
    MAX_REQUEST,
    SOCKET,
    NodeRefused,
    parse_reply,
    parse_request,
    request,
)
from node.control.server import CONNECTIONS, ControlServer, bind

SECRET = "MSCU6639870"


async def echo(**fields: object) -> Mapping[str, Any]:
    """Return what came."""
    return {"fields": sorted(fields)}


async def refuse() -> Mapping[str, Any]:
    """Refuse as an act does."""
    raise Stale("this node does not pause", reasons=("NOT_PAUSED",), remedy="nothing")


async def fail(**_: object) -> Mapping[str, Any]:
    """Fail as nothing should, with a term in the words."""
    raise RuntimeError(SECRET)


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[ControlServer]:
    server = ControlServer(
        folder, {"status": echo, "pause": echo, "resume": refuse, "accept": fail}
    )
    await server.start()
    try:
        yield server
    finally:
        await server.close()


async def ask(folder: Path, command: str, **fields: object) -> dict[str, Any] | None:
    return await asyncio.to_thread(call, folder, command, fields)


# ── Messages ─────────────────────────────────────────────────────────────────────────────────


def hostile() -> st.SearchStrategy[bytes]:
    """Octets, and JSON that is nearly a request."""
    leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300)
    values = st.recursive(leaf, lambda v: st.lists(v, max_size=3), max_leaves=4)
    names = st.sampled_from(["command", "by", "digest", "reason", "for_s", "term", "since", "x"])
    commands = st.sampled_from([*COMMANDS, "", "serve", "__class__"])
    objects = st.dictionaries(names, values, max_size=5)
    near = st.builds(lambda o, c: {**o, "command": c}, objects, commands | values)
    return st.binary(max_size=400) | near.map(lambda o: str(o).encode()) | near.map(dumped)


def dumped(value: object) -> bytes:
    return json.dumps(value).encode()


@settings(deadline=None, max_examples=400)
@given(hostile())
@example(b"[" * 5_000)
@example(b'{"command": "status", "command": "status"}')
@example(b'{"command": "pause", "reason": "A", "for_s": true}')
@example(b'{"command": "pause", "reason": "A", "for_s": 1e400}')
@example(b'{"command": "pause", "reason": "A", "for_s": ' + b"9" * 5_000 + b"}")
@example(b'{"command": "status"}' + b" " * MAX_REQUEST)
@example(b"\xff\xfe{")
def test_a_request_is_exactly_a_known_command(octets: bytes) -> None:
    """Any octets are a command with its own typed fields, or INVALID_INPUT; never anything else."""
    try:
        command, fields = parse_request(octets)
    except InvalidInput:
        return
    known = COMMANDS[command]
    assert fields.keys() <= known.keys()
    assert all(type(fields[n]) is kind for n, (kind, _) in known.items() if n in fields)
    assert all(name in fields for name, (_, needed) in known.items() if needed)


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
@example(b'{"error": {"message": 1}}')
@example(b'{"error": 1}')
@example(b"[" * 5_000)
def test_a_reply_is_a_result_or_an_error(octets: bytes) -> None:
    """Whatever answers on the socket, the command ends with a result or with one of our errors."""
    try:
        parse_reply(octets)
    except FairleadError:
        return


def test_what_is_asked_arrives() -> None:
    """A request reads back as it was written."""
    asked = {"reason": "MAINTENANCE", "for_s": 60}
    assert parse_request(request("pause", asked)) == ("pause", asked)


# ── The socket ───────────────────────────────────────────────────────────────────────────────


async def test_a_command_is_answered(tmp_path: Path) -> None:
    """A command reaches its act with its fields, and an act's refusal comes back as one."""
    async with serving(tmp_path):
        assert await ask(tmp_path, "pause", reason="X", for_s=1) == {"fields": ["for_s", "reason"]}
        with pytest.raises(NodeRefused) as caught:
            await ask(tmp_path, "resume")
    assert (caught.value.code, caught.value.exit_code) == ("NOT_PAUSED", Stale.exit_code)


async def test_no_node_no_answer(tmp_path: Path) -> None:
    """Without a node there is no result, and neither with the socket of one that was killed."""
    assert await ask(tmp_path, "status") is None
    assert await ask(tmp_path / "nothing", "status") is None
    bind(tmp_path).close()  # as a killed process leaves it
    assert await ask(tmp_path, "status") is None
    async with serving(tmp_path):
        assert await ask(tmp_path, "status") == {"fields": []}
    assert not (tmp_path / SOCKET).exists()


async def test_a_path_may_be_long(tmp_path: Path) -> None:
    """A state folder deeper than a socket's path may be long works all the same."""
    folder = tmp_path / ("deep" * 40) / ("deeper" * 20)
    folder.mkdir(parents=True)
    async with serving(folder):
        assert await ask(folder, "status") == {"fields": []}


async def test_its_file_is_private(tmp_path: Path) -> None:
    """Only the node's own user may open the socket."""
    async with serving(tmp_path):
        assert stat.S_IMODE((tmp_path / SOCKET).stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
async def test_another_user_gets_nothing(tmp_path: Path) -> None:
    """The kernel says who connects: another user gets no octet, were the file open to all."""
    script = (
        "import os, socket, sys\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        "os.chdir(sys.argv[1]); os.setgid(65534); os.setuid(int(sys.argv[2]))\n"
        f"s.connect('{SOCKET}')\n"
        "try:\n"
        '    s.sendall(b\'{"command": "status"}\\n\')\n'
        "    sys.stdout.write(s.recv(100).decode())\n"
        "except OSError: pass\n"
    )
    async with serving(tmp_path):
        tmp_path.chmod(0o755)
        (tmp_path / SOCKET).chmod(0o666)
        for user, answered in ((65534, False), (0, True)):
            command = [sys.executable, "-c", script, str(tmp_path), str(user)]
            done = await asyncio.to_thread(
                subprocess.run, command, capture_output=True, text=True, check=True
            )
            assert bool(done.stdout) is answered


@pytest.mark.parametrize(
    "octets",
    [
        b"", b"\n", b"{}\n", b"null\n", b"\x00" * 100 + b"\n", b"x" * (4 * MAX_REQUEST),
        b"GET / HTTP/1.1\r\n\r\n", b'{"command": "accept", "by": "u-x"}\n',
        b'{"command": "exposure"}\n', b'{"command": "status"} {"command": "status"}\n',
    ],
)  # fmt: skip
async def test_hostile_octets(
    tmp_path: Path, octets: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is written, the node answers with an error of its own or not at all, goes on, and
    repeats no word of it."""
    async with serving(tmp_path):
        reader, writer = await connect(tmp_path)
        try:
            writer.write(octets)
            writer.write_eof()
            told = await reader.read()
        except OSError:
            told = b""
        writer.close()
        assert b'"result"' not in told
        assert SECRET.encode() not in told
        assert await ask(tmp_path, "status") == {"fields": []}
    assert SECRET not in capsys.readouterr().err


async def test_those_who_say_nothing_are_few(tmp_path: Path) -> None:
    """Beyond a handful of open connections further ones are closed at once, and the handful
    does not keep the socket from serving again when it leaves."""
    async with serving(tmp_path):
        silent = [await connect(tmp_path) for _ in range(CONNECTIONS)]
        await asyncio.sleep(0)
        with pytest.raises(Misconfigured):
            await ask(tmp_path, "status")
        for _, writer in silent:
            writer.close()
        while True:
            try:
                assert await ask(tmp_path, "status") == {"fields": []}
                break
            except Misconfigured:
                await asyncio.sleep(0)


async def connect(folder: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return await asyncio.open_unix_connection(f"/proc/self/fd/{handle}/{SOCKET}")
    finally:
        os.close(handle)

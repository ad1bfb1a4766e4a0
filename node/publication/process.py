"""Starting the child of a publication, and listening to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from fairlead.errors import Misconfigured
from node.control.message import parse_reply

STOP_S = 10.0
_LINE = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a publication is: in ``phase`` (``survey``: records read; ``evaluate``: entries of the
    index looked at; ``match``: match keys looked at; ``write``: snapshots written), ``done`` of
    ``total``."""

    phase: str
    done: int
    total: int


Watch = Callable[[Progress], None]


def silent(_progress: Progress) -> None:
    """Nobody is watching."""


def surroundings(state_dir: Path) -> dict[str, str]:
    """The child's environment: it finds this program, and what SQLite sorts outside memory lies
    where there is room for an index, not in a ``/tmp`` that may be memory itself."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "SQLITE_TMPDIR": str(state_dir),
    }


async def obeyed(order: bytes, watch: Watch, *, state_dir: Path) -> dict[str, Any]:
    """What a child made of an order; one that is cancelled takes its child with it.

    :param state_dir: the node's, for what has no place in memory.
    :raises FairleadError: the child's own error, or ``PUBLISH_CRASHED``.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "node.publication.child",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE,
            env=surroundings(state_dir),
        )
    except OSError:
        raise _crashed() from None
    try:
        reply = await _reply(process, order, watch)
    finally:
        await _end(process)
    if not reply:
        raise _crashed()
    return parse_reply(reply)


async def _reply(process: asyncio.subprocess.Process, order: bytes, watch: Watch) -> bytes:
    if process.stdin is None or process.stdout is None:
        return b""  # both are pipes
    with contextlib.suppress(OSError):
        process.stdin.write(order)
        await process.stdin.drain()
        process.stdin.close()
    last = b""
    async for line in process.stdout:
        if line.startswith(b'{"progress"'):
            watch(Progress(**orjson.loads(line)["progress"]))
        else:
            last = line
    await process.wait()
    return last


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()


def _crashed() -> Misconfigured:
    return Misconfigured(
        "the process that publishes has died",
        reasons=("PUBLISH_CRASHED",),
        remedy="look for lack of memory (dmesg), then publish again: what was computed is kept",
    )

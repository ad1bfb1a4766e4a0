"""Gateways and nodes as real processes, started from real configuration files."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from fairlead.config import GatewayConfig, NodeConfig
from tests.federation import ROOT, Federation

START_S = 60.0
GATEWAY, NODE = "gateway.cli.main", "node.cli.main"
OVERSIGHT = "fairlead.cli.oversight"


def write_config(path: Path, config: GatewayConfig | NodeConfig, **changes: object) -> Path:
    """Write ``config`` as the file an operator would write; a change of None leaves a key out."""
    wanted = {**config.model_dump(mode="json", exclude_none=True), **changes}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(_lines(wanted)) + "\n")
    return path


def _lines(table: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    """A table as TOML, with the tables in it behind its own keys."""
    inner = {key: value for key, value in table.items() if isinstance(value, dict)}
    for key, value in table.items():
        if key not in inner and value is not None:
            yield f"{key} = {json.dumps(value)}"
    for key, value in inner.items():
        yield f"[{prefix}{key}]"
        yield from _lines(value, f"{prefix}{key}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str


async def command(*arguments: str | Path, under: Sequence[str] = ()) -> Ended:
    """Run one of our modules to its end, as ``python -m``; ``under`` is a launcher before it."""
    process = await asyncio.create_subprocess_exec(
        *under,
        sys.executable,
        "-m",
        *map(str, arguments),
        cwd=ROOT,
        env={**os.environ, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(START_S):
        out, err = await process.communicate()
    return Ended(code=process.returncode or 0, out=out.decode(), err=err.decode())


def unprivileged() -> tuple[str, ...]:
    """A launcher under which file modes bind even the superuser; nothing for anybody else."""
    if os.geteuid() != 0:
        return ()
    launcher = shutil.which("setpriv")
    dropped = "-dac_override,-dac_read_search"
    return (launcher, "--bounding-set", dropped, "--inh-caps", dropped) if launcher else ("false",)


@dataclass(slots=True)
class Serving:
    """One serving process; its stderr goes to ``log``."""

    process: asyncio.subprocess.Process
    log: Path

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL, nothing is flushed."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # dead, and not yet waited for
                os.kill(self.pid, signal.SIGKILL)

    async def stop(self) -> int:
        """End it in order; returns its exit code."""
        if self.process.returncode is None:
            self.process.terminate()
        return await self.wait()

    async def wait(self) -> int:
        """Wait for its end; returns its exit code."""
        async with asyncio.timeout(START_S):
            return await self.process.wait()


async def serve(module: str, config: Path, log: Path, *, word: str = "serve") -> Serving:
    """Start a server, by its command ``word``, and wait until it serves."""
    log.parent.mkdir(parents=True, exist_ok=True)
    before = log.stat().st_size if log.exists() else 0
    with log.open("ab") as stream:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            word,
            "--config",
            str(config),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
        )
    running = Serving(process=process, log=log)
    try:
        async with asyncio.timeout(START_S):
            while b"server-started" not in log.read_bytes()[before:]:
                if process.returncode is not None:
                    raise AssertionError(log.read_text())
                await asyncio.sleep(0.02)
    except BaseException:
        running.kill()
        raise
    return running


@asynccontextmanager
async def gateway_process(
    made: Federation, wanted: GatewayConfig | None = None
) -> AsyncIterator[Serving]:
    """The federation's gateway as a process of its own, or another one."""
    wanted = wanted or made.gateway_config
    name = "gateway" if wanted is made.gateway_config else wanted.name
    config = write_config(made.folder / "config" / f"{name}.toml", wanted)
    running = await serve(GATEWAY, config, made.folder / "logs" / f"{name}.log")
    try:
        yield running
    finally:
        running.kill()
        await running.wait()


@asynccontextmanager
async def node_process(made: Federation, partner: str) -> AsyncIterator[Serving]:
    """One node of the federation as a process of its own."""
    config = write_config(made.folder / "config" / f"{partner}.toml", made.node_configs[partner])
    running = await serve(NODE, config, made.folder / "logs" / f"{partner}.log")
    try:
        yield running
    finally:
        running.kill()
        await running.wait()


@asynccontextmanager
async def oversight_process(config: Path) -> AsyncIterator[Serving]:
    """An oversight as a process of its own."""
    running = await serve(OVERSIGHT, config, config.parent / "oversight.log", word="run")
    try:
        yield running
    finally:
        running.kill()
        await running.wait()

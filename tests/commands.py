"""Running ``fairlead`` as a person does: a process of its own, with a profile and two pipes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.federation import ROOT, Federation


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command left behind: exit code, data and talk."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The data, which must be one JSON document."""
        return json.loads(self.out)


def profile(made: Federation, partner: str = "customs", user: str = "u-c01") -> Path:
    """A profile file of one of the federation's users."""
    keys = made.layout.user(partner, user)
    settings = made.profile(partner, user)
    folder = made.folder / "profiles" / user
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "profile.toml"
    lines = {
        "node": settings.node,
        "node_id": settings.node_id,
        "certificate": str(keys / "user.pem"),
        "key": str(keys / "user.key"),
        "directory": str(made.layout.directory),
        "trust": str(made.layout.pins),
    }
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items()))
    return path


async def fairlead(
    *arguments: str, home: Path, profile_file: Path | None = None, **environment: str
) -> Ended:
    """Run ``fairlead`` with these words."""
    return await run_module(
        "fairlead.cli.main", *arguments, home=home, profile_file=profile_file, **environment
    )


async def run_module(
    module: str, *arguments: str, home: Path, profile_file: Path | None = None, **environment: str
) -> Ended:
    """Run a program with these words; nothing of the caller's environment but the path."""
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": str(ROOT),
        "GRPC_VERBOSITY": "NONE",
        **({"FAIRLEAD_PROFILE": str(profile_file)} if profile_file else {}),
        **environment,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=variables,
        cwd=home,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


async def as_user(
    made: Federation, *arguments: str, user: str = "u-c01", partner: str = "customs"
) -> Ended:
    """Run ``fairlead`` as one of the federation's users."""
    path = profile(made, partner, user)
    return await fairlead(*arguments, home=path.parent, profile_file=path)

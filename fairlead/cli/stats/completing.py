"""Completion of cubes and levels in a shell, from what the own node said last. It asks nobody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

CUBES = "cubes.json"
"""The registry as the own node last said it, beside the releases that are kept."""


def remember(folder: Path, registry: bytes) -> None:
    """Keep the registry for completion; that it cannot be kept stops nothing."""
    from fairlead.keyfile import write_private

    path = folder / CUBES
    try:
        if not path.is_file() or path.read_bytes() != registry:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_private(path, registry)
    except OSError:
        return


def cubes(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The cubes that begin so, each with its title."""
    return [
        (str(cube["id"]), str(cube["title"]))
        for cube in _cubes(context)
        if str(cube["id"]).startswith(incomplete)
    ]


def levels(context: typer.Context, incomplete: str) -> list[str]:
    """The levels, that begin so, of the cube that was typed; of all where none was."""
    wanted = context.params.get("cube")
    found = {
        str(level["level"]): None
        for cube in _cubes(context)
        if wanted in {None, cube["id"]}
        for level in cube["levels"]
    }
    return [name for name in found if name.startswith(incomplete)]


def _cubes(context: typer.Context) -> Iterator[dict[str, Any]]:
    """What is kept; nothing where there is none, or no profile."""
    from fairlead.cli.stats.keeping import FOLDER
    from fairlead.errors import FairleadError
    from fairlead.profile import profile_path

    try:
        folder = profile_path(context.params.get("profile")).parent / FOLDER
        yield from json.loads((folder / CUBES).read_bytes())["cubes"]
    except (FairleadError, OSError, ValueError, KeyError, TypeError):
        return

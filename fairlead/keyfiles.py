"""Files that hold a secret: nobody but their owner may read or change them.

One rule for every program, whether it starts a node, checks one, or logs a person in.
"""

from __future__ import annotations

import shlex
import stat
from collections.abc import Iterable
from pathlib import Path

from fairlead.errors import Misconfigured

PRIVATE_SUFFIXES = frozenset({".key", ".seed", ".secret"})
"""How the names of our private files end."""
OTHERS = stat.S_IRWXG | stat.S_IRWXO


class KeyFilesOpen(Misconfigured):
    """Private files that others than their owner may read or write; ``paths`` holds each."""

    default_code = "KEY_PERMISSIONS"

    def __init__(self, paths: Iterable[Path]) -> None:
        self.paths = tuple(paths)
        names = " ".join(shlex.quote(str(path)) for path in self.paths)
        super().__init__(
            "a private key file may be read or changed by others than its owner",
            remedy=f"chmod 600 {names}",
        )


def open_to_others(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Those of ``paths`` that group or world may read, write or execute; a missing file is none."""
    found = []
    for path in paths:
        try:
            mode = path.stat().st_mode
        except OSError:
            continue
        if mode & OTHERS:
            found.append(path)
    return tuple(found)


def private_files(folder: Path) -> tuple[Path, ...]:
    """The private files of a folder, in order: see :data:`PRIVATE_SUFFIXES`."""
    try:
        return tuple(sorted(p for p in folder.iterdir() if p.suffix in PRIVATE_SUFFIXES))
    except OSError:
        return ()


def require_private(*paths: Path) -> None:
    """Refuse private files that others may open: files as given, of folders those they hold.

    :raises KeyFilesOpen: ``KEY_PERMISSIONS``, with the ``chmod 600`` that repairs all of them.
    """
    files = [file for p in paths for file in (private_files(p) if p.is_dir() else (p,))]
    if found := open_to_others(files):
        raise KeyFilesOpen(found)

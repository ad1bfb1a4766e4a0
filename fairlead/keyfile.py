"""Files that hold a secret, or that a reader must never see half written."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path

from fairlead.errors import Misconfigured

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def read_private(path: Path) -> bytes:
    """Read a private key file that its owner alone may read.

    :raises Misconfigured: KEY_PERMISSIONS: its group or others may read or write it.
    :raises OSError: missing or unreadable.
    """
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & _OTHERS:
            raise Misconfigured(
                "a private key file may be read by others",
                reasons=("KEY_PERMISSIONS",),
                remedy=f"chmod 600 {shlex.quote(str(path))}",
            )
        return file.read()


def write_private(path: Path, data: bytes) -> None:
    """Put ``data`` in place of ``path`` in one step, readable by its owner alone (mode 0600)."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def private_folder(path: Path) -> Path:
    """Make a folder for its owner alone (mode 0700), with those above it."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path

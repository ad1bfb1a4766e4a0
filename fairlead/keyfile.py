"""Files that hold a secret: nobody but their owner may read or change them, and no reader
meets one half written. One rule for every program that starts, checks, or logs a person in."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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


def read_private(path: Path) -> bytes:
    """Read a private key file that its owner alone may read.

    :raises KeyFilesOpen: ``KEY_PERMISSIONS``, its group or others may read or write it.
    :raises OSError: missing or unreadable.
    """
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & OTHERS:
            raise KeyFilesOpen([path])
        return file.read()


def write_private(path: Path, data: bytes) -> None:
    """Put ``data`` in place of ``path`` in one step that a power cut does not undo, readable by its
    owner alone (mode 0600)."""
    with _fresh(path, data) as fresh:
        fresh.replace(path)


def create_private(path: Path, data: bytes) -> None:
    """As :func:`write_private`, where nothing is yet.

    :raises FileExistsError: somebody was faster.
    """
    with _fresh(path, data) as fresh:
        path.hardlink_to(fresh)


@contextmanager
def _fresh(path: Path, data: bytes) -> Iterator[Path]:
    """A durable file of ``data`` beside ``path``, for a moment; what became of it is durable."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield fresh
    finally:
        fresh.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def private_folder(path: Path) -> Path:
    """Make a folder for its owner alone (mode 0700), with those above it."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path

"""Reading and writing in a folder that somebody else may have made, such as a draft.

The folder itself is the caller's choice. What lies in it is not: a link in it could have a tool
read a file of whoever runs it, or write over one, and a FIFO could hold it up for ever. So no link
below the folder is followed, nothing but a regular file is read, and no more of it than a limit.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fairlead.errors import Misconfigured

MAX_FILE = 8 * 1024 * 1024
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
FRESH = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def read(root: Path, name: str, *, largest: int = MAX_FILE) -> bytes:
    """The regular file ``name`` (relative, with ``/``) of the folder ``root``.

    :raises OSError: there is none, it is a link or in a linked folder, no regular file, or larger
        than ``largest``.
    """
    with _opened(root, name) as (folder, last):
        handle = os.open(last, READ, dir_fd=folder)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "no regular file")
        content = file.read(largest + 1)
    if len(content) > largest:
        raise OSError(errno.EFBIG, "too large")
    return content


def write(root: Path, name: str, content: bytes) -> None:
    """Put ``content`` in place of the file ``name`` of the folder ``root``, in one step; a link of
    that name is replaced, not followed. Missing folders are made.

    :raises Misconfigured: DRAFT_UNWRITABLE.
    """
    fresh = f".{secrets.token_hex(16)}.new"
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _opened(root, name, make=True) as (folder, last):
            try:
                with os.fdopen(os.open(fresh, FRESH, 0o666, dir_fd=folder), "wb") as file:
                    file.write(content)
                os.replace(fresh, last, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(fresh, dir_fd=folder)
                raise
    except OSError:
        raise Misconfigured(
            "a file of the draft cannot be written",
            reasons=("DRAFT_UNWRITABLE",),
            remedy="see that its folder is a folder, no link to one, and yours to write",
        ) from None


def unreadable() -> Misconfigured:
    """What a file of a draft that :func:`read` refuses is to an officer."""
    return Misconfigured(
        "a file of the draft cannot be read",
        reasons=("DRAFT_UNREADABLE",),
        remedy="look for links, files too large and permissions, then: fairlead policy check DIR",
    )


@contextmanager
def _opened(root: Path, name: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
    """The folder that holds ``name``, reached without a link, and the last part of the name."""
    *folders, last = name.split("/")
    at = os.open(root, FOLDER)
    try:
        for part in folders:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=at)
            below = os.open(part, FOLDER | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = below
        yield at, last
    finally:
        os.close(at)

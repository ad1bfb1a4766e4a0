"""strace, attached to one thread or to a whole process that waits for it."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

MISSING = "strace is not here: apt-get install strace"
_ATTACHED = re.compile(rb"attached|detached")
_HEX = re.compile(r"(?:\\x[0-9a-f]{2})+")


class CannotTrace(RuntimeError):
    """strace is not installed, or may not attach."""


def available() -> bool:
    """Whether there is one."""
    return shutil.which("strace") is not None


@contextlib.contextmanager
def attached(thread: int, out: Path, *arguments: str) -> Iterator[None]:
    """Trace a thread, or with ``-f`` its process; returns when it is attached.

    :raises CannotTrace: no strace, or no permission.
    """
    if not available():
        raise CannotTrace(MISSING)
    command = ["strace", "-o", str(out), "-y", "-xx", *arguments, "-p", str(thread)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert process.stderr is not None
    line = process.stderr.readline()
    if not _ATTACHED.search(line):
        process.kill()
        process.wait()
        process.stderr.close()
        raise CannotTrace(line.decode(errors="replace").strip())
    try:
        yield
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):  # it ends with what it traces
            process.wait(10)
        process.kill()
        process.communicate()


def octets(shown: str) -> bytes:
    """What stands in a string of ``-xx``."""
    return bytes.fromhex(shown.replace("\\x", ""))


def plain(line: str) -> str:
    """A line of ``-xx`` with its paths readable; good for finding them, not for their data."""
    return _HEX.sub(lambda found: octets(found[0]).decode("latin-1"), line)

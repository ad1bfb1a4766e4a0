"""A log's leaves told to a SIEM as they become durable: in their order, each at least once.

Another process reads the log's file and never writes to it. What it has told stands in a cursor:
the index of the next leaf, replaced only when the lines before it are on the disk. A crash between
the two repeats lines, which ``event.sequence`` shows; an outage of any length loses none."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fairlead.auditing.events import erased_line, line
from fairlead.auditing.reading import STEP, Read, damaged, number_of
from fairlead.errors import Misconfigured, Stale

_CURSOR = re.compile(r"([0-9]{1,18}) ([0-9a-f]{64})\n", re.ASCII)
EVERY_S = 1.0
"""Seconds between two looks at a log that has not moved."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a log was told: the index of the next leaf, and the hash of the one before it, which
    betrays a log that was put in its place; empty where nobody says."""

    index: int = 0
    last: bytes = b""


def pending(read: Read, start: Cursor) -> Iterator[tuple[Cursor, bytes]]:
    """The lines of the leaves from ``start`` that are durable now; each with the cursor behind it.

    :raises Stale: CURSOR_AHEAD: the log is shorter than what was told of it, or another one.
    """
    rows = read("SELECT max(size) FROM checkpoint", ())
    size = number_of(rows[0][0])
    before = read("SELECT hash FROM leaf WHERE idx = ?", (start.index - 1,))
    other = start.last and (not before or before[0][0] != start.last)
    if start.index > size or other:
        raise Stale(
            "the log is not the one that was streamed, or it lost its end",
            reasons=("CURSOR_AHEAD",),
            remedy="find out why, then begin anew with another --to FILE",
        )
    for low in range(start.index, size, STEP):
        found = read(
            "SELECT idx, hash, body FROM leaf WHERE idx >= ? AND idx < ? ORDER BY idx",
            (low, min(low + STEP, size)),
        )
        if not found:
            raise damaged()
        for index, leaf_hash, body in found:
            gone = body == b"" and isinstance(leaf_hash, bytes)
            told = erased_line(index, leaf_hash) if gone else line(number_of(index), body)
            yield Cursor(index + 1, leaf_hash), told


@dataclass(slots=True, kw_only=True)
class Target:
    """A file of lines that an operator's shipper reads and rotates, and the cursor beside it.

    The file is opened anew for each batch, so whoever renames it gets a new one.
    """

    path: Path

    @property
    def cursor_path(self) -> Path:
        """Where the cursor is."""
        return self.path.with_name(f"{self.path.name}.cursor")

    def cursor(self) -> Cursor:
        """Where to go on; the begin where nothing was told yet.

        :raises Misconfigured: CURSOR_UNREADABLE.
        """
        try:
            found = _CURSOR.fullmatch(self.cursor_path.read_text("ascii"))
        except FileNotFoundError:
            return Cursor()
        except (OSError, UnicodeError):
            found = None
        if found is None:
            raise _unreadable()
        return Cursor(int(found[1]), bytes.fromhex(found[2]))

    def put(self, lines: bytes, cursor: Cursor) -> None:
        """Append lines, and only when they are on the disk move the cursor.

        :raises Misconfigured: STREAM_UNWRITABLE: not told; the next attempt tells them again.
        """
        try:
            # 1. The lines, on the disk; a line that a crash cut is ended first.
            handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                size = os.fstat(handle).st_size
                torn = size and os.pread(handle, 1, size - 1) != b"\n"
                _write(handle, b"\n" + lines if torn else lines)
            finally:
                os.close(handle)
            # 2. The cursor, whole or not at all.
            fresh = self.cursor_path.with_name(f"{self.cursor_path.name}.new")
            handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                _write(handle, f"{cursor.index} {cursor.last.hex()}\n".encode("ascii"))
            finally:
                os.close(handle)
            fresh.replace(self.cursor_path)
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError:
            raise Misconfigured(
                "the stream's file cannot be written",
                reasons=("STREAM_UNWRITABLE",),
                remedy="free some space, or correct the folder and its owner, then start it again",
            ) from None


def run(
    read: Read,
    put: Callable[[bytes, Cursor], None],
    start: Cursor,
    *,
    follow: bool,
    sleep: Callable[[float], None] = time.sleep,
) -> Cursor:
    """Tell what there is; with ``follow`` go on for as long as the process lives.

    :param put: takes lines and the cursor behind them. :returns: the cursor.
    """
    while True:
        lines, held = b"", 0
        for cursor, one in pending(read, start):
            lines, held, start = lines + one, held + 1, cursor
            if held == STEP:
                put(lines, start)
                lines, held = b"", 0
        if lines:
            put(lines, start)
        if not follow:
            return start
        sleep(EVERY_S)


def _write(handle: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]
    os.fsync(handle)


def _unreadable() -> Misconfigured:
    return Misconfigured(
        "the stream's cursor cannot be read",
        reasons=("CURSOR_UNREADABLE",),
        remedy="remove the .cursor file beside the stream's: everything is told again",
    )

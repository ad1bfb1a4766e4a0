"""What a disk may hold after a power cut, given what a process did to its files.

The model, which is meant to be harsher than a real disk that keeps its word:

* What a file held when a flush of it ended is there. Of each write since, any 512-octet sector may
  be there or not, whatever came later; a hole reads as zeros.
* A name that was made or removed since the last flush of its folder may be there or not.
* Shared memory (``-shm``) and locks are gone.

It knows no disk that lies about a flush, and no sector that rots.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

SECTOR = 512


class Tearing(StrEnum):
    """Which unflushed writes survive in one round."""

    NOTHING = "nothing"
    SECTORS = "sectors"
    WRITES = "writes"
    PREFIX = "prefix"


@dataclass(frozen=True, slots=True)
class Write:
    """Octets at an offset; ``None`` for a change of the length to ``offset``."""

    offset: int
    data: bytes | None


@dataclass(slots=True)
class File:
    """One file: what is flushed, and what was written since."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[Write] = field(default_factory=list)

    def flush(self) -> None:
        """A flush of this file ended."""
        for write in self.pending:
            _apply(self.durable, write)
        self.pending.clear()

    def after(self, tearing: Tearing, chance: random.Random) -> bytes:
        """What may be there after a cut."""
        content = bytearray(self.durable)
        for write in _surviving(self.pending, tearing, chance):
            _apply(content, write)
        return bytes(content)


@dataclass(slots=True)
class Disk:
    """The files of one folder by name, and which names are flushed."""

    files: dict[str, File] = field(default_factory=dict)
    names: dict[str, File] = field(default_factory=dict)
    """What the folder said when it was flushed last."""

    @classmethod
    def holding(cls, folder: Path) -> Disk:
        """All that lies in a folder, long since flushed."""
        files = {
            path.name: File(durable=bytearray(path.read_bytes()))
            for path in folder.iterdir()
            if lasting(path.name)
        }
        return cls(files=files, names=dict(files))

    def opened(self, name: str, *, create: bool, truncate: bool) -> None:
        """A file was opened, and made if need be."""
        if create and name not in self.files:
            self.files[name] = File()
        if truncate and name in self.files:
            self.files[name].pending.append(Write(0, None))

    def removed(self, name: str) -> None:
        """A name was removed."""
        self.files.pop(name, None)

    def flush_names(self) -> None:
        """A flush of the folder ended."""
        self.names = dict(self.files)

    def cut(self, folder: Path, tearing: Tearing, chance: random.Random) -> None:
        """Write what may be there after a cut now into an empty folder."""
        for name in sorted(self.files.keys() | self.names.keys()):
            now, then = self.files.get(name), self.names.get(name)
            file = now if now is then or chance.random() < 0.5 else then
            if file is not None:
                (folder / name).write_bytes(file.after(tearing, chance))


def lasting(name: str) -> bool:
    """Whether a file outlives a power cut at all."""
    return not name.endswith(("-shm", ".lock"))


def _apply(content: bytearray, write: Write) -> None:
    if write.data is None:
        del content[write.offset :]
        content.extend(bytes(write.offset - len(content)))
        return
    content.extend(bytes(max(0, write.offset - len(content))))
    content[write.offset : write.offset + len(write.data)] = write.data


def _surviving(pending: list[Write], tearing: Tearing, chance: random.Random) -> Iterator[Write]:
    if tearing == Tearing.NOTHING:
        return
    if tearing == Tearing.PREFIX:
        yield from pending[: chance.randrange(len(pending) + 1)]
        return
    for write in pending:
        pieces = list(_sectors(write)) if tearing == Tearing.SECTORS else [write]
        yield from (piece for piece in pieces if chance.random() < 0.5)


def _sectors(write: Write) -> Iterator[Write]:
    """A write in the pieces that a disk writes whole."""
    if write.data is None:
        yield write
        return
    at, end = write.offset, write.offset + len(write.data)
    while at < end:
        stop = min(end, at - at % SECTOR + SECTOR)
        yield Write(at, write.data[at - write.offset : stop - write.offset])
        at = stop

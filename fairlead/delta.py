"""A delta: what turns one snapshot into the next one of its class, epoch and scheme.

======  ===========  =====================================================================
offset  octets       a delta, numbers big-endian
======  ===========  =====================================================================
0       16           ``fairlead delta 1``
16      8            *r*, how many tags are gone
24      8            *a*, how many entries are new or changed
32      16 · r       the tags that are gone, ascending: tombstones
…       96 · a       the entries, ascending by tag
======  ===========  =====================================================================

It needs no signature: what becomes of it must be the snapshot that the next signed manifest
describes, octet by octet, or is refused. A changed entry is among the entries only. Whoever has
both snapshots learns nothing from it, and a filler that gave way looks like a term that is gone.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

from fairlead.entries import ENTRY_SIZE, TAG_SIZE
from fairlead.errors import Forged, InvalidInput, Misconfigured
from fairlead.snapshot import write_snapshot

_MAGIC = b"fairlead delta 1"
_HEAD = struct.Struct(">16sQQ")
_ROWS = 4_096


def write_delta(path: Path, before: Path, after: Path) -> None:
    """Write what turns the snapshot at ``before`` into that at ``after``; both are this node's.

    :raises Misconfigured: ``DELTA_UNWRITABLE``.
    """
    unfinished = path.with_name(path.name + ".new")
    removed = added = 0
    try:
        descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w+b") as file:
            file.write(bytes(_HEAD.size))
            for old, new in _pairs(before, after):
                if new is None:
                    file.write(old[:TAG_SIZE])
                    removed += 1
            for old, new in _pairs(before, after):
                if new is not None and new != old:
                    file.write(new)
                    added += 1
            file.seek(0)
            file.write(_HEAD.pack(_MAGIC, removed, added))
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise Misconfigured(
            "a delta cannot be written",
            reasons=("DELTA_UNWRITABLE",),
            remedy="make room under state_dir (df -h) and check its permissions (ls -ld)",
        ) from None


def apply_delta(before: Path, delta: Path, after: Path, *, entries: int, digest: bytes) -> None:
    """Make the next snapshot of the one at ``before``, a verified one, at ``after``.

    1. The delta is as long as its head says. 2. Its tags and its entries ascend, each once.
    3. Every tombstone stands on an entry that is there, and no tag is both gone and new. 4. The
    outcome has the count and the digest of the next manifest; else nothing stands at ``after``.

    :param entries: and ``digest``: of the next verified manifest.
    :raises Forged: ``DELTA``: fetch the whole snapshot instead.
    :raises Misconfigured: a file cannot be read or written.
    """
    fresh = after.with_name(after.name + ".applied")
    try:
        # 1
        removed, added = _counts(delta)
        # 2 and 3
        made = write_snapshot(fresh, _applied(before, delta, removed, added))
        # 4
        if made != digest or fresh.stat().st_size != entries * ENTRY_SIZE:
            raise _wrong()
        fresh.replace(after)
    except InvalidInput:
        raise _wrong() from None
    except OSError:
        raise Misconfigured("a delta cannot be read", reasons=("DELTA_UNREADABLE",)) from None
    finally:
        fresh.unlink(missing_ok=True)


def _counts(delta: Path) -> tuple[int, int]:
    with delta.open("rb") as file:
        head, size = file.read(_HEAD.size), os.fstat(file.fileno()).st_size
    if len(head) != _HEAD.size:
        raise _wrong()
    magic, removed, added = _HEAD.unpack(head)
    if magic != _MAGIC or size != _HEAD.size + removed * TAG_SIZE + added * ENTRY_SIZE:
        raise _wrong()
    return removed, added


def _applied(before: Path, delta: Path, removed: int, added: int) -> Iterator[bytes]:
    start = _HEAD.size
    gone = _rows(delta, start, TAG_SIZE, removed)
    fresh = _rows(delta, start + removed * TAG_SIZE, ENTRY_SIZE, added)
    tombstone, entry = next(gone, None), next(fresh, None)
    for old in _rows(before, 0, ENTRY_SIZE, before.stat().st_size // ENTRY_SIZE):
        tag = old[:TAG_SIZE]
        while entry is not None and entry[:TAG_SIZE] < tag:
            yield entry
            entry = next(fresh, None)
        replaced = entry is not None and entry[:TAG_SIZE] == tag
        if tombstone == tag:
            if replaced:
                raise _wrong()
            tombstone = next(gone, None)
        elif not replaced:
            yield old
    if tombstone is not None:
        raise _wrong()
    while entry is not None:
        yield entry
        entry = next(fresh, None)


def _pairs(before: Path, after: Path) -> Iterator[tuple[bytes, bytes | None]]:
    """Old and new entry of each tag; an old one of no octets where the tag is new."""
    old_rows = _rows(before, 0, ENTRY_SIZE, before.stat().st_size // ENTRY_SIZE)
    new_rows = _rows(after, 0, ENTRY_SIZE, after.stat().st_size // ENTRY_SIZE)
    old, new = next(old_rows, None), next(new_rows, None)
    while old is not None or new is not None:
        if new is None or (old is not None and old[:TAG_SIZE] < new[:TAG_SIZE]):
            yield old or b"", None
            old = next(old_rows, None)
        elif old is None or new[:TAG_SIZE] < old[:TAG_SIZE]:
            yield b"", new
            new = next(new_rows, None)
        else:
            yield old, new
            old, new = next(old_rows, None), next(new_rows, None)


def _rows(path: Path, start: int, size: int, count: int) -> Iterator[bytes]:
    """Rows of ``size`` octets from ``start`` on, some thousands in memory at a time."""
    with path.open("rb") as file:
        file.seek(start)
        while count > 0:
            part = file.read(size * min(count, _ROWS))
            if not part or len(part) % size:
                raise _wrong()
            yield from (part[at : at + size] for at in range(0, len(part), size))
            count -= len(part) // size


def _wrong() -> Forged:
    return Forged(
        "a delta does not lead to the snapshot its manifest describes",
        reasons=("DELTA",),
        remedy="fetch the whole snapshot; if that is refused too, tell the owner's contact desk",
    )

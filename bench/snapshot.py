"""A stand-in for the sealed index on its way to an asker: sorted entries in one file, looked up.

Only what the measurement of the protocol needs: no manifest, no padding, no deltas.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from fairlead.entries import ENTRY_SIZE, TAG_SIZE

_BUCKETS = 256


def write(path: Path, chunks: Iterable[bytes]) -> int:
    """Sort whole entries by their tags into a file; returns its octets.

    Entries gather by their first octet, so that no more than one bucket becomes objects at once.
    """
    buckets = [bytearray() for _ in range(_BUCKETS)]
    for chunk in chunks:
        for at in range(0, len(chunk), ENTRY_SIZE):
            buckets[chunk[at]] += chunk[at : at + ENTRY_SIZE]
    with path.open("wb") as file:
        for number, bucket in enumerate(buckets):
            rows = range(0, len(bucket), ENTRY_SIZE)
            file.writelines(sorted(bytes(bucket[at : at + ENTRY_SIZE]) for at in rows))
            buckets[number] = bytearray()
    return path.stat().st_size


class Snapshot:
    """A file of sorted entries, mapped."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._rows = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._count = len(self._rows) // ENTRY_SIZE

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._rows.close()

    def find(self, tag: bytes) -> bytes | None:
        """The entry under this tag, if there is one: tags are uniform, so its place is guessed."""
        low, high, rows = 0, self._count, self._rows
        guess = int.from_bytes(tag[:8]) * self._count >> 64
        step = 64
        if rows[guess * ENTRY_SIZE : guess * ENTRY_SIZE + TAG_SIZE] <= tag:
            low = guess
            while low + step < high and self._tag(low + step) <= tag:
                low, step = low + step, 2 * step
            high = min(high, low + step)
        else:
            high = guess
            while high - step > low and self._tag(high - step) > tag:
                high, step = high - step, 2 * step
            low = max(low, high - step)
        while high - low > 1:
            middle = (low + high) // 2
            if self._tag(middle) <= tag:
                low = middle
            else:
                high = middle
        at = low * ENTRY_SIZE
        return rows[at : at + ENTRY_SIZE] if rows[at : at + TAG_SIZE] == tag else None

    def _tag(self, place: int) -> bytes:
        return self._rows[place * ENTRY_SIZE : place * ENTRY_SIZE + TAG_SIZE]

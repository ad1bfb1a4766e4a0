"""Under which key each leaf of a log lies in the archives: its class and month when it was first
sealed.

The class of a leaf follows the directory of the day, and archives are older: a partner becomes
something else, or is no longer listed. So it is kept beside the keys under what each leaf was
sealed, every later archive seals it under the same, and a key goes when no leaf lives that was.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fairlead.errors import Misconfigured
from fairlead.keyfile import read_private, write_private
from fairlead.retention.classes import LeafClass
from fairlead.retention.periods import MONTHS, unwritable

_CLASSES = tuple(LeafClass)
_BEGIN = b"fairlead-sealed\x01"
SIZE = 3
"""Octets of a leaf: its class counted from 1, and its month; zeros of one that was never sealed."""
Period = tuple[LeafClass, int]
"""A class and a month."""


def file_beside(keys: Path) -> Path:
    """Where it is kept."""
    return keys.with_suffix(".sealed")


class SealedUnder:
    """What each leaf of one log was sealed under, by its index."""

    def __init__(self, data: bytes = b"") -> None:
        self._data = bytearray(data)

    @classmethod
    def parse(cls, data: bytes) -> SealedUnder:
        """Read a file's octets.

        :raises Misconfigured: PERIOD_KEYS.
        """
        rest = data[len(_BEGIN) :]
        if not data.startswith(_BEGIN) or len(rest) % SIZE:
            raise _damaged()
        found = cls(rest)
        for place in range(0, len(rest), SIZE):
            number, month = rest[place], int.from_bytes(rest[place + 1 : place + SIZE], "big")
            if number > len(_CLASSES) or month >= MONTHS or (month and not number):
                raise _damaged()
        return found

    @classmethod
    def load(cls, path: Path) -> SealedUnder:
        """Read a file; where none is, nothing was sealed yet.

        :raises Misconfigured: PERIOD_KEYS, or KEY_PERMISSIONS.
        """
        try:
            return cls.parse(read_private(path))
        except FileNotFoundError:
            return cls()
        except OSError:
            raise _damaged() from None

    def save(self, path: Path) -> None:
        """Put it in place of a file. :raises Misconfigured: PERIOD_KEYS."""
        try:
            write_private(path, self.to_bytes())
        except OSError:
            raise unwritable() from None

    def to_bytes(self) -> bytes:
        """The file's octets."""
        return _BEGIN + self._data

    def get(self, index: int) -> Period | None:
        """What the leaf at ``index`` was sealed under; None: never sealed."""
        number, high, low = self._data[index * SIZE : (index + 1) * SIZE] or bytes(SIZE)
        return (_CLASSES[number - 1], high << 8 | low) if number else None

    def put(self, index: int, period: Period) -> None:
        """Say what it was."""
        leaf_class, month = period
        lacking = (index + 1) * SIZE - len(self._data)
        self._data += bytes(max(0, lacking))
        number = _CLASSES.index(leaf_class) + 1
        self._data[index * SIZE : (index + 1) * SIZE] = bytes([number]) + month.to_bytes(2, "big")

    def items(self) -> Iterator[tuple[int, Period]]:
        """The index of each leaf that was sealed, and under what."""
        for index in range(len(self._data) // SIZE):
            if period := self.get(index):
                yield index, period


def _damaged() -> Misconfigured:
    return Misconfigured(
        "what the log's leaves were sealed under cannot be read",
        reasons=("PERIOD_KEYS",),
        remedy="put the newest copy of periods.sealed back into keys_dir, or move it away: the "
        "next backup writes it anew, of the leaves that are left",
    )

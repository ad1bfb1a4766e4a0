"""Keys of periods: one for each class and month, all made from one small file, and each of them can
be destroyed without the others.

The file holds nodes of a binary tree for each class, in the beginning its root: a child is the
HMAC of its parent, a leaf at depth 12 is a month's key (a puncturable pseudorandom function;
Goldreich, Goldwasser, Micali 1986). To destroy a month is to keep the nodes beside its path instead
of those on it. So several gateways hold the same file, nothing has to be kept for each month, and
what was destroyed cannot be made again from what is left.

Copies of a log that leave its machine hold bodies and details under these keys: once a period is
destroyed, they are unreadable in every copy.
"""

from __future__ import annotations

import fcntl
import hmac
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from fairlead.errors import Misconfigured
from fairlead.keyfile import create_private, read_private, write_private
from fairlead.retention.classes import LeafClass

FILE = "periods.secret"
DEPTH = 12
MONTHS = 1 << DEPTH
FIRST_YEAR = 2000
MAX_FILE = 1024 * 1024
SIZE = 32
_VERSION = 1
Node = tuple[int, int]
"""Depth, and the path from the root as a number of so many bits."""


@dataclass(frozen=True, slots=True)
class PeriodKeys:
    """What is left of each class's tree."""

    nodes: Mapping[LeafClass, Mapping[Node, bytes]] = field(repr=False)

    @classmethod
    def make(cls, random: Callable[[int], bytes] = os.urandom) -> PeriodKeys:
        """Fresh keys, of every month."""
        return cls({one: {(0, 0): random(SIZE)} for one in LeafClass})

    @classmethod
    def parse(cls, data: bytes) -> PeriodKeys:
        """Read a file's octets.

        :raises Misconfigured: PERIOD_KEYS.
        """
        try:
            document = json.loads(data[: MAX_FILE + 1])
            if set(document) != {"fairlead_period_keys", "keys"} or len(data) > MAX_FILE:
                raise ValueError
            if document["fairlead_period_keys"] != _VERSION:
                raise ValueError
            keys = document["keys"]
            if set(keys) != {one.value for one in LeafClass}:
                raise ValueError
            return cls({one: dict(map(_node, keys[one.value])) for one in LeafClass})
        except (ValueError, TypeError, KeyError, RecursionError):
            raise unusable() from None

    @classmethod
    def load(cls, path: Path) -> PeriodKeys:
        """Read a file.

        :raises Misconfigured: PERIOD_KEYS, or KEY_PERMISSIONS.
        """
        try:
            return cls.parse(read_private(path))
        except OSError:
            raise unusable() from None

    @classmethod
    def load_or_make(cls, path: Path) -> tuple[PeriodKeys, bool]:
        """Read a file, or make it; and whether it was made. Of two that make it at once one reads
        the other's: nothing is ever sealed under keys that are not kept.

        :raises Misconfigured: PERIOD_KEYS, or KEY_PERMISSIONS.
        """
        if path.exists():
            return cls.load(path), False
        made = cls.make()
        try:
            create_private(path, made.to_bytes())
        except FileExistsError:
            return cls.load(path), False
        except OSError:
            raise unwritable() from None
        return made, True

    def save(self, path: Path) -> None:
        """Put what is left in place of a file.

        :raises Misconfigured: PERIOD_KEYS: it cannot be written.
        """
        try:
            write_private(path, self.to_bytes())
        except OSError:
            raise unwritable() from None

    def to_bytes(self) -> bytes:
        """The file's octets."""
        keys = {
            one.value: [[*node, seed.hex()] for node, seed in sorted(nodes.items())]
            for one, nodes in self.nodes.items()
        }
        return json.dumps({"fairlead_period_keys": _VERSION, "keys": keys}).encode() + b"\n"

    def key(self, leaf_class: LeafClass, month: int) -> bytes | None:
        """The key of a month; None once it was destroyed."""
        found = _above(self.nodes[leaf_class], month)
        if found is None:
            return None
        (depth, _), seed = found
        for level in range(depth, DEPTH):
            seed = _child(seed, month >> (DEPTH - 1 - level) & 1)
        return hmac.digest(seed, b"fairlead/v1/period-key", "sha256")

    def without(self, leaf_class: LeafClass, months: Iterable[int]) -> PeriodKeys:
        """What is left when the keys of these months are destroyed."""
        left = dict(self.nodes[leaf_class])
        for month in months:
            _puncture(left, month)
        return PeriodKeys({**self.nodes, leaf_class: left})


def month_of(time_ms: int) -> int:
    """The month of a moment (UTC), counted from January 2000; what is no time is of the first."""
    try:
        moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return 0
    return min(max((moment.year - FIRST_YEAR) * 12 + moment.month - 1, 0), MONTHS - 1)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Nobody else changes this file of keys, or seals under it, meanwhile: whoever read it before
    would put back what was destroyed since, or seal under it.

    :raises Misconfigured: PERIOD_KEYS: the lock beside it cannot be made.
    """
    try:
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        raise unwritable() from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def unwritable() -> Misconfigured:
    """The error for period keys, or what lies beside them, that cannot be written."""
    return Misconfigured(
        "the period keys cannot be written",
        reasons=("PERIOD_KEYS",),
        remedy="let whoever runs this write into keys_dir, and do it again",
    )


def destroyed() -> Misconfigured:
    """The error for a month that leaves are to be sealed under, and whose key was destroyed."""
    return Misconfigured(
        "the key of this very month was destroyed: the clock was ahead once, or is behind now",
        reasons=("PERIOD_DESTROYED",),
        remedy="correct the clock (timedatectl) and back up again; an older file of keys would "
        "undo the erasures since",
    )


def unusable() -> Misconfigured:
    """The error for a file of period keys that cannot be used."""
    return Misconfigured(
        "the period keys cannot be read",
        reasons=("PERIOD_KEYS",),
        remedy=f"put {FILE} back into keys_dir, from where the keys are kept offline",
    )


def _puncture(nodes: dict[Node, bytes], month: int) -> None:
    """Put the nodes beside a month's path in place of the one above it."""
    found = _above(nodes, month)
    if found is None:
        return
    (depth, path), seed = found
    del nodes[depth, path]
    for level in range(depth, DEPTH):
        way = month >> (DEPTH - 1 - level) & 1
        nodes[level + 1, path << 1 | (1 - way)] = _child(seed, 1 - way)
        path, seed = path << 1 | way, _child(seed, way)


def _above(nodes: Mapping[Node, bytes], month: int) -> tuple[Node, bytes] | None:
    """The node that is left on the way to a month."""
    for depth in range(DEPTH + 1):
        node = (depth, month >> (DEPTH - depth))
        if node in nodes:
            return node, nodes[node]
    return None


def _child(seed: bytes, way: int) -> bytes:
    return hmac.digest(seed, b"fairlead/v1/period-node" + bytes([way]), "sha256")


def _node(item: object) -> tuple[Node, bytes]:
    depth, path, text = item if isinstance(item, list) and len(item) == 3 else (None, None, "")
    seed = bytes.fromhex(text)
    if type(depth) is not int or type(path) is not int or len(seed) != SIZE:
        raise ValueError
    if not 0 <= depth <= DEPTH or not 0 <= path < 2**depth:
        raise ValueError
    return (depth, path), seed

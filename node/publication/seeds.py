"""The seeds behind a node's keys for blind queries: a file that only ever moves forward.

The file holds the seed of the present epoch and, while the overlap lasts, of the one before it.
Turning it forward computes the next seed from the newest (:func:`fairlead.blinding.next_seed`) and
erases what is over: the old file is overwritten, synchronised and unlinked. A file system that
copies on write, a disk that remaps, and a copy somebody made keep what they keep; no program
erases that. No backup of this node holds the file.

A clock that goes backwards is refused: a seed of that time is no longer there, and a new one for
an epoch that had one would be a second key for it.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from fairlead.blinding import EpochSeed, next_seed
from fairlead.errors import InvalidInput, Misconfigured, Stale
from fairlead.keyfile import private_folder, read_private
from node.publication.epochs import Epochs

FILE = "epochs.seed"
SKEW_S = 120
"""Seconds by which a clock may be set back."""
SEEN_EVERY_S = 60
"""Seconds after which the time is written down again although no seed has changed."""
MAX_TURNS = 100_000
"""Epochs at once: eleven years of the shortest; a clock further ahead is wrong."""
_MAGIC = b"fairlead seeds 1"
_HEAD = struct.Struct(">16sQQB")
_SEED = struct.Struct(">I32s")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """What the file says: ``seen_at`` and the length of an epoch in seconds, oldest seed first."""

    seen_at: int
    length_s: int
    seeds: tuple[EpochSeed, ...]

    def pack(self) -> bytes:
        head = _HEAD.pack(_MAGIC, self.seen_at, self.length_s, len(self.seeds))
        return head + b"".join(_SEED.pack(seed.epoch, seed.secret) for seed in self.seeds)

    @classmethod
    def parse(cls, octets: bytes) -> _Held:
        try:
            magic, seen_at, length_s, count = _HEAD.unpack_from(octets)
            rows = list(_SEED.iter_unpack(octets[_HEAD.size :]))
            seeds = tuple(EpochSeed(epoch=epoch, secret=secret) for epoch, secret in rows)
        except (struct.error, InvalidInput):
            raise _damaged() from None
        ascending = all(a.epoch < b.epoch for a, b in pairwise(seeds))
        if magic != _MAGIC or not 0 < len(seeds) == count or not ascending:
            raise _damaged()
        return cls(seen_at=seen_at, length_s=length_s, seeds=seeds)


class SeedFile:
    """The file in ``folder``. Every method moves it to ``now`` first; one process at a time.

    :param random: so many octets that nobody can guess.
    """

    def __init__(
        self, folder: Path, epochs: Epochs, *, random: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._path = folder / FILE
        self._epochs = epochs
        self._random = random

    @property
    def exists(self) -> bool:
        """Whether a seed was ever drawn."""
        return self._path.exists()

    def current(self, now: float) -> EpochSeed:
        """The seed of the present epoch; the first is drawn.

        :raises Misconfigured: ``CLOCK_BACKWARDS``, ``CLOCK_AHEAD``, ``EPOCH_LENGTH``,
            ``SEED_DAMAGED``, ``SEED_UNWRITABLE``, ``KEY_PERMISSIONS``.
        """
        return self.turn(now, draw=True)[-1]

    def of(self, epoch: int, now: float) -> EpochSeed:
        """The seed of an epoch whose key still answers.

        :raises Stale: ``EPOCH_OVER``: it does not, or not yet, or its seed is another machine's.
        :raises Misconfigured: as :meth:`current`.
        """
        for seed in self.turn(now):
            if seed.epoch == epoch:
                return seed
        raise Stale("an epoch's key does not answer now", reasons=("EPOCH_OVER",))

    def turn(self, now: float, *, draw: bool = False) -> tuple[EpochSeed, ...]:
        """Move to ``now``; the seeds that answer, oldest first.

        1. What a crash left behind is erased.
        2. The clock has not gone backwards, nor impossibly far ahead.
        3. The newest seed is turned forward as many epochs as have passed.
        4. The file with what still answers takes the old one's place; the old one is erased.

        :param draw: draw a seed when there is none; else there are none to return.
        """
        if not draw and not self.exists:
            return ()
        with self._locked():
            # 1
            self._clean()
            held = self._read()
            if held is None:
                first = EpochSeed(epoch=self._epochs.at(now), secret=self._random(32))
                seeds: tuple[EpochSeed, ...] = (first,)
            else:
                # 2
                self._check_clock(held, now)
                now = max(now, held.seen_at)
                # 3
                seeds = self._forward(held.seeds, now)
            # 4
            fresh = _Held(seen_at=int(now), length_s=self._epochs.length_s, seeds=seeds)
            if held is None or seeds != held.seeds or now >= held.seen_at + SEEN_EVERY_S:
                self._replace(fresh.pack())
            return seeds

    def _check_clock(self, held: _Held, now: float) -> None:
        if held.length_s != self._epochs.length_s:
            raise Misconfigured(
                "an epoch's length was changed, so epochs cannot be counted on",
                reasons=("EPOCH_LENGTH",),
                remedy="set blind_epoch_s back, or remove blind/epochs.seed: every snapshot "
                "published before is then void",
            )
        if now < held.seen_at - SKEW_S:
            raise Misconfigured(
                "the clock has gone backwards; an epoch that is over is not begun again",
                reasons=("CLOCK_BACKWARDS",),
                remedy="correct the clock; if it was ahead before, remove blind/epochs.seed: every "
                "snapshot published before is then void",
            )
        if self._epochs.at(now) - held.seeds[-1].epoch > MAX_TURNS:
            raise Misconfigured(
                "the clock is impossibly far ahead",
                reasons=("CLOCK_AHEAD",),
                remedy="correct the clock (date), then run it again",
            )

    def _forward(self, seeds: tuple[EpochSeed, ...], now: float) -> tuple[EpochSeed, ...]:
        kept = list(seeds)
        while kept[-1].epoch < self._epochs.at(now):
            kept = [kept[-1], next_seed(kept[-1])]
        answering = [s for s in kept if now < self._epochs.answers_until(s.epoch)]
        return tuple(answering)

    # ── The file ─────────────────────────────────────────────────────────────────────────────

    def _read(self) -> _Held | None:
        try:
            return _Held.parse(read_private(self._path))
        except FileNotFoundError:
            return None
        except OSError:
            raise _unwritable() from None

    def _replace(self, octets: bytes) -> None:
        """The new file stands before the old one goes; a crash leaves one of them whole."""
        fresh, old = self._beside(".new"), self._beside(".old")
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(octets)
                file.flush()
                os.fsync(file.fileno())
            if self._path.exists():
                os.link(self._path, old)
            fresh.replace(self._path)
            _sync(self._path.parent)
            erase(old)
        except OSError:
            raise _unwritable() from None

    def _clean(self) -> None:
        old = self._beside(".old")
        try:
            if old.exists() and self._path.exists() and old.samefile(self._path):
                old.unlink()  # the replacement had not begun: this is the file in use
            erase(old)
            erase(self._beside(".new"))
        except OSError:
            raise _unwritable() from None

    def _beside(self, suffix: str) -> Path:
        return self._path.with_name(self._path.name + suffix)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            private_folder(self._path.parent)
            lock = os.open(self._beside(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            raise _unwritable() from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def erase(path: Path) -> None:
    """Overwrite, synchronise and unlink a file; one that is not there is erased already.

    :raises OSError: it cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.write(descriptor, bytes(os.fstat(descriptor).st_size))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    path.unlink()
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _damaged() -> Misconfigured:
    return Misconfigured(
        "the file of seeds for blind queries is damaged",
        reasons=("SEED_DAMAGED",),
        remedy="remove blind/epochs.seed in the state folder and publish anew: every snapshot "
        "published before is then void",
    )


def _unwritable() -> Misconfigured:
    return Misconfigured(
        "the seeds for blind queries cannot be read or written",
        reasons=("SEED_UNWRITABLE",),
        remedy="check the permissions of the folder blind in the state folder, and the free space",
    )

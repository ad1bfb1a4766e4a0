"""Computing entries in processes of their own: one multiplication of the group a term."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Self

from fairlead.blinding import PrivateKey, evaluate_unblinded
from fairlead.entries import ENTRY_SIZE, EntryCodec
from fairlead.errors import Misconfigured


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Work:
    """Terms of one target to be computed: tokens, OPRF inputs, payloads and their prints, in one
    order. ``place`` is the target's in its build."""

    place: int
    scalar: bytes
    audience: bytes
    epoch: int
    tokens: tuple[bytes, ...]
    inputs: tuple[bytes, ...]
    payloads: tuple[bytes, ...]
    prints: tuple[bytes, ...]


def compute(scalar: bytes, audience: bytes, epoch: int, inputs: Sequence[bytes],
            payloads: Sequence[bytes]) -> bytes:  # fmt: skip
    """The entries of some terms, 96 octets each, in their order."""
    codec = EntryCodec(audience=audience, epoch=epoch)
    outputs = evaluate_unblinded(PrivateKey(scalar=scalar), inputs)
    return b"".join(codec.seal(o, payload) for o, payload in zip(outputs, payloads, strict=True))


class Workers:
    """As many processes as there are processors; a context manager.

    Results come in the order of the work, and never more than a few batches wait in memory.
    """

    def __init__(self, count: int = 0) -> None:
        count = count or len(os.sched_getaffinity(0))
        self._pool = ProcessPoolExecutor(
            count, mp_context=get_context("spawn"), initializer=_end_with_parent
        )
        self._room = 2 * count
        self._waiting: deque[tuple[Work, Future[bytes]]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def put(self, work: Work) -> list[tuple[Work, list[bytes]]]:
        """Hand out some work; what is finished, or must be before more is taken in."""
        future = self._submit(work)
        self._waiting.append((work, future))
        done = []
        while len(self._waiting) > self._room or (self._waiting and self._waiting[0][1].done()):
            done.append(self._first())
        return done

    def rest(self) -> list[tuple[Work, list[bytes]]]:
        """Everything that was handed out, once it is finished."""
        return [self._first() for _ in range(len(self._waiting))]

    def _submit(self, work: Work) -> Future[bytes]:
        try:
            return self._pool.submit(
                compute, work.scalar, work.audience, work.epoch, work.inputs, work.payloads
            )
        except BrokenExecutor:
            raise _died() from None

    def _first(self) -> tuple[Work, list[bytes]]:
        work, future = self._waiting.popleft()
        try:
            octets = future.result()
        except BrokenExecutor:
            raise _died() from None
        return work, [octets[at : at + ENTRY_SIZE] for at in range(0, len(octets), ENTRY_SIZE)]


def _end_with_parent() -> None:
    """A parent that is killed takes its workers with it."""
    parent = parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()


def _died() -> Misconfigured:
    return Misconfigured(
        "a process that computes entries has died",
        reasons=("PUBLISH_CRASHED",),
        remedy="look for lack of memory (dmesg), then publish again: what was computed is kept",
    )

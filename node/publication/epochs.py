"""Epochs: which one it is, from when to when, and how long its key answers."""

from __future__ import annotations

from dataclasses import dataclass

from fairlead.blinding import check_epoch
from fairlead.errors import Misconfigured


@dataclass(frozen=True, slots=True, kw_only=True)
class Epochs:
    """Epoch *n* begins ``n · length_s`` seconds after 1970; its key answers for ``overlap_s`` more.

    :raises Misconfigured: ``BLIND_TIMES``, an overlap longer than an epoch.
    """

    length_s: int
    overlap_s: int

    def __post_init__(self) -> None:
        if not 0 <= self.overlap_s <= self.length_s or self.length_s < 1:
            raise Misconfigured(
                "the overlap is longer than an epoch",
                reasons=("BLIND_TIMES",),
                remedy="correct blind_overlap_s in the node's configuration",
            )

    def at(self, now: float) -> int:
        """The epoch of a moment. :raises InvalidInput: ``EPOCH``, before 1970."""
        epoch = int(now // self.length_s)
        check_epoch(epoch)
        return epoch

    def begins_at(self, epoch: int) -> int:
        """Its first second."""
        return epoch * self.length_s

    def ends_at(self, epoch: int) -> int:
        """The first second of the next one."""
        return self.begins_at(epoch + 1)

    def answers_until(self, epoch: int) -> int:
        """The first second at which its key no longer answers."""
        return self.ends_at(epoch) + self.overlap_s

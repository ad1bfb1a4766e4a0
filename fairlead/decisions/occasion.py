"""What a decision is about: the query under way, known to whoever handles it, not to policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from fairlead.decisions.batch import Pending

Take = Callable[[Sequence[Pending]], None]


@dataclass(slots=True)
class Occasion:
    """A query, and the ids of the records its decisions have left so far, by point."""

    query_id: bytes = b""
    ids: dict[str, bytes] = field(default_factory=dict)
    holds: bool = False
    """Whether records that depend on what was found are kept back."""
    _held: list[Pending] = field(default_factory=list)
    _take: Take | None = None

    def hold(self, item: Pending, take: Take) -> bool:
        """Keep a record back until :meth:`hand_over`, if this occasion does so."""
        if self.holds:
            self._held.append(item)
            self._take = take
        return self.holds

    def hand_over(self) -> None:
        """Give away together what was kept back; from now on nothing is."""
        self.holds = False
        held, self._held = self._held, []
        if self._take is not None and held:
            self._take(held)


_occasion: ContextVar[Occasion | None] = ContextVar("fairlead_occasion", default=None)


def about(query_id: bytes) -> Occasion:
    """Say that further decisions of this task, and of those it starts, are about this query."""
    occasion = Occasion(query_id)
    _occasion.set(occasion)
    return occasion


@contextmanager
def holding(query_id: bytes) -> Iterator[Occasion]:
    """As :func:`about`; what is decided over records is kept back until it is handed over, at the
    latest at the end, however that comes. When and in how many batches it is written then does not
    depend on what was found."""
    occasion = Occasion(query_id, holds=True)
    _occasion.set(occasion)
    try:
        yield occasion
    finally:
        occasion.hand_over()


def current() -> Occasion | None:
    """What decisions of this task are about, if anybody said so."""
    return _occasion.get()

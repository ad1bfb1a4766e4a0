"""What a decision is about: the query under way, known to whoever handles it, not to policy."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Occasion:
    """A query, and the ids of the records its decisions have left so far, by point."""

    query_id: bytes = b""
    ids: dict[str, bytes] = field(default_factory=dict)


_occasion: ContextVar[Occasion | None] = ContextVar("fairlead_occasion", default=None)


def about(query_id: bytes) -> Occasion:
    """Say that further decisions of this task, and of those it starts, are about this query."""
    occasion = Occasion(query_id)
    _occasion.set(occasion)
    return occasion


def current() -> Occasion | None:
    """What decisions of this task are about, if anybody said so."""
    return _occasion.get()

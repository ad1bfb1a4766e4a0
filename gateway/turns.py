"""Turns at what is dear: one at a time of each partner, and so many in all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fairlead.errors import Overloaded


class Turns:
    """Turns of partners, however many nodes each has. Whoever is turned away is not on the record:
    nothing of it was looked at, and a leaf each time would be a flood of its own."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken: set[str] = set()

    @contextmanager
    def of(self, partner_id: str) -> Iterator[None]:
        """:raises Overloaded: it has its turn already, or others have all of them."""
        if partner_id in self._taken or len(self._taken) >= self._limit:
            raise Overloaded("this gateway is busy", remedy="it is tried again within the hour")
        self._taken.add(partner_id)
        try:
            yield
        finally:
            self._taken.discard(partner_id)

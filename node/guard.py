"""The guard against enumeration: at the asker's node, the only place that sees every term.

It remembers a user's different terms of the last 24 hours in memory alone, and after a restart
reads them again from the encrypted history; nothing of it is written anywhere (PROTOCOL §3).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable

from fairlead.config import Guard as Limits
from fairlead.errors import Refused
from node.sweep import Asked, Sign, Term, Trail

MEMORY_S = 86_400
"""Seconds that a term counts after it was asked last."""


class Enumeration(Refused):
    """These terms, with those of the last day, sweep through a range of identifiers.

    ``sign`` says what gave it away: for the alarm, and not for the user, who could tune to it.
    """

    default_code = "ENUMERATION"

    def __init__(self, sign: Sign) -> None:
        super().__init__(
            "these terms sweep through a range of identifiers; nothing was sent, and your "
            "security officer is told",
            remedy="ask about the identifiers that your case names",
        )
        self.sign = sign


class Guard:
    """Watches what each own user asks. One per node."""

    def __init__(
        self,
        limits: Limits,
        *,
        asked: Iterable[tuple[str, float, Iterable[Term]]] = (),
        clock: Callable[[], float],
    ) -> None:
        """:param asked: user, unix seconds and terms of earlier queries, the oldest first."""
        self._limits = limits
        self._clock = clock
        self._trails: dict[str, Trail] = {}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        for user, moment, terms in asked:
            self._trails.setdefault(user, Trail()).add(terms, moment)

    def turn(self, user: str) -> asyncio.Lock:
        """To be held around :meth:`check` and :meth:`admit`: with many terms they take long, and
        nothing of the same user may pass between looking and remembering."""
        return self._turns[user]

    def forget(self) -> None:
        """Let go of users who asked nothing within a day."""
        for user, trail in list(self._trails.items()):
            if not self._turns[user].locked():
                trail.forget(self._clock() - MEMORY_S)
                if not trail:
                    del self._trails[user]

    def check(self, user: str, terms: Iterable[Term]) -> None:
        """Say early what :meth:`admit` would say; nothing is remembered.

        :raises Enumeration: they sweep.
        """
        self._judge(user, terms, keep=False)

    def admit(self, user: str, terms: Iterable[Term]) -> None:
        """Remember that ``user``, a pseudonym, asks ``terms``. The user's turn is held meanwhile,
        so that no second query passes beside the first.

        :raises Enumeration: they sweep, and are not remembered.
        """
        self._judge(user, terms, keep=True)

    def _judge(self, user: str, terms: Iterable[Term], *, keep: bool) -> None:
        now, asked = self._clock(), Asked(terms)
        trail = self._trails.setdefault(user, Trail())
        trail.forget(now - MEMORY_S)
        sign = trail.sign(asked, self._limits)
        if sign is not None:
            raise Enumeration(sign)
        if keep:
            trail.keep(asked, now)

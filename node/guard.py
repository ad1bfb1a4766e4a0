"""The guard against enumeration: at the asker's node, the only place that sees every term.

It remembers a user's different terms of the last 24 hours in memory alone, and after a restart
reads them again from the encrypted history; nothing of it is written anywhere (PROTOCOL §3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from fairlead.config import Guard as Limits
from fairlead.errors import Refused
from node.sweep import Sign, Term, Trail

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
        asked: Iterable[tuple[str, float, Sequence[Term]]] = (),
        clock: Callable[[], float],
    ) -> None:
        """:param asked: user, unix seconds and terms of earlier queries, the oldest first."""
        self._limits = limits
        self._clock = clock
        self._trails: dict[str, Trail] = {}
        for user, moment, terms in asked:
            self._trails.setdefault(user, Trail()).add(terms, moment)

    def check(self, user: str, terms: Sequence[Term]) -> None:
        """Say early what :meth:`admit` would say; nothing is remembered.

        :raises Enumeration: they sweep.
        """
        self._judge(user, terms, keep=False)

    def admit(self, user: str, terms: Sequence[Term]) -> None:
        """Remember that ``user``, a pseudonym, asks ``terms``. Nothing is awaited between looking
        and remembering, so that no second query passes beside the first.

        :raises Enumeration: they sweep, and are not remembered.
        """
        self._judge(user, terms, keep=True)

    def _judge(self, user: str, terms: Sequence[Term], *, keep: bool) -> None:
        now = self._clock()
        self._forget(now - MEMORY_S)
        trail = self._trails.setdefault(user, Trail())
        fresh = [term for term in dict.fromkeys(terms) if term not in trail]
        trail.add(fresh, now)
        sign = trail.sign(terms, self._limits)
        if sign is not None or not keep:
            trail.remove(fresh)
        else:
            trail.add(terms, now)
        if sign is not None:
            raise Enumeration(sign)

    def _forget(self, before: float) -> None:
        for user, trail in list(self._trails.items()):
            trail.forget(before)
            if not trail:
                del self._trails[user]

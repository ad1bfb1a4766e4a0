"""Cover: one question a slot, at a constant rate, whether there is something to ask or not.

Whoever sees the slots from outside cannot tell which of them were somebody's question, because
both are asked by the same code under the same signature; see docs/adr/0023-watches-and-cover.md for
what that hides and what not.
"""

from __future__ import annotations

import random
import string
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from fairlead import identifiers
from fairlead.errors import FairleadError, InvalidInput, Refused

MAX_DRAWS = 20_000
MAX_WAITING = 1_000
"""Terms that wait for their slot."""


def invented(scheme: str, draw: random.Random) -> str:
    """A well-formed identifier that nobody chose: each letter and digit of the scheme's example is
    drawn anew until its check digit fits.

    :raises InvalidInput: ``COVER_SCHEME``: none is found, or it would be a person.
    """
    known = identifiers.CATALOGUE.get(scheme)
    if known is not None and not known.personal:
        like = identifiers.normalise(scheme, known.examples[0]).value
        for _ in range(MAX_DRAWS):
            text = "".join(_drawn(character, draw) for character in like)
            try:
                return identifiers.parse(scheme, text).value
            except InvalidInput:
                continue
    raise InvalidInput(
        "for this scheme no identifier can be invented",
        reasons=("COVER_SCHEME",),
        remedy="fairlead cover --scheme container …",
    )


def _drawn(character: str, draw: random.Random) -> str:
    for letters in (string.digits, string.ascii_uppercase):
        if character in letters:
            return draw.choice(letters)
    return character


@dataclass(slots=True, kw_only=True)
class Lane:
    """A lane of slots.

    :param ask: asks about one term; raises Refused when nothing left, another FairleadError when
        it may have. The second argument says whether somebody typed it, and must change nothing
        that leaves the machine.
    :param invent: a term nobody typed.
    :param interval_s: seconds from one slot to the next.
    :param clock: seconds that never go back. :param sleep: waits so many seconds.
    """

    ask: Callable[[str, bool], Awaitable[None]]
    invent: Callable[[], str]
    interval_s: float
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    say: Callable[[FairleadError], None]
    waiting: deque[str] = field(default_factory=deque)

    def put(self, term: str) -> None:
        """Let a term wait for its slot.

        :raises Refused: ``COVER_FULL``.
        """
        if len(self.waiting) >= MAX_WAITING:
            raise Refused(
                "too many terms wait for a slot",
                reasons=("COVER_FULL",),
                remedy="wait, or ask at once: fairlead ask --mode blind …",
            )
        self.waiting.append(term)

    async def run(self, lasts_s: float) -> None:
        """Go through the slots of so many seconds; the end does not depend on what was asked.

        1. Slots lie at whole multiples of the interval from the beginning; one that was missed is
        left out and never made good.
        2. The oldest term that waits is asked, or an invented one where none does.
        3. A term that is refused before anything left gives its slot to an invented one; when that
        is refused too, the lane ends.

        What is not answered costs its slot, and the lane goes on.

        :raises Refused: ``COVER_OVER``: an invented term was refused as well.
        """
        begun, slot = self.clock(), 0
        while True:
            # 1
            slot = max(slot + 1, int((self.clock() - begun) / self.interval_s) + 1)
            due = slot * self.interval_s
            if due > lasts_s:
                return
            await self.sleep(begun + due - self.clock())
            # 2
            if self.waiting and await self._asked(self.waiting.popleft(), typed=True):
                continue
            # 3
            if not await self._asked(self.invent(), typed=False):
                raise Refused(
                    "the lane has ended: not even an invented question is let",
                    reasons=("COVER_OVER",),
                    remedy="see why above; fairlead budgets, fairlead cases list",
                )

    async def _asked(self, term: str, *, typed: bool) -> bool:
        """Whether the slot is used up; not when the question was refused before it left."""
        try:
            await self.ask(term, typed)
        except FairleadError as error:
            self.say(error)
            return not isinstance(error, Refused)
        return True

"""Who takes part in a release: everybody who signs that it takes part with exactly this list.

Nodes refuse a list that, together with one they served before, isolates too few of them. So a list
that was served is asked first; it is that of the release itself, or of another release of the cube
that shares a month with it, for there the same figures are summed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fairlead.cubes.period import parse_unit
from fairlead.strategic.terms import quarter_at
from fairlead.summing import LooksUsedUp, Release, Statement, Terms
from fairlead.summing.participants import TOGETHER, ListTooClose, TooFewParticipants
from fairlead.v1 import query_pb2
from fairlead.v1 import statistics_pb2 as pb
from gateway.figures.rounds import Partners, Progress, Said
from gateway.figures.shelf import Attempt
from gateway.members import LegFailed

KNOWN_LISTS = 3
"""Lists served before that are asked at most ..."""
NEW_LISTS = 3
"""... and lists of those who are left: once with everybody, and twice without who dropped out. Who
did not answer the first time is asked a second time, for whoever is left out of a list is left out
of all figures of these months."""
FINAL_REASONS = frozenset({"BREAKER_OPEN", "NOT_LISTED", "ROOT_UNPINNED", "SUSPENDED"})
"""Of partners that a moment later will not answer either."""
TOO_CLOSE = "LIST_TOO_CLOSE"
USED_UP = "FIGURES_USED_UP"
STRANGER = frozenset({"ROOT_UNPINNED", "UNKNOWN_PARTNER"})
"""Somebody of the list is not known where it was asked."""

Draft = Callable[[Attempt], Terms]
"""The terms of a release's rounds. Raises TooFewParticipants."""
ToWire = Callable[[Terms], pb.RoundTerms]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """Everybody of a list, ready."""

    terms: Terms
    wire: pb.RoundTerms
    ready: Mapping[str, Statement]


class Gathering:
    """Finds the participants of one release.

    :param before: with what rounds of this cube began, the last ones first.
    :param draft: makes terms of an attempt. :param to_wire: as partners are asked.
    """

    def __init__(
        self,
        partners: Partners,
        release: Release,
        before: Sequence[Attempt],
        *,
        draft: Draft,
        to_wire: ToWire,
        progress: Progress,
    ) -> None:
        self._partners = partners
        self._release = release
        self._own = [each for each in before if each.release == release]
        self._before = before
        self._draft = draft
        self._to_wire = to_wire
        self._progress = progress
        self._failed: Said | None = None
        now = partners.clock()
        self._quarter = quarter_at(now)
        self._cut_off = self._own[-1].cut_off if self._own else int(now)

    async def gathered(self) -> Gathered | None:
        """Everybody of a list; None where too few partners have figures of this kind.

        1. Lists served before, where everybody on one is ready again.
        2. Everybody, then those that are left; nodes say whether that list may be served.
        3. A release that began with a list waits for it.

        :raises LooksUsedUp: the nodes state no further sums of these months.
        :raises ParticipantMissing: somebody of a list served before is not there, and no other one
            may be served; the remedy names who.
        :raises ListTooClose: nobody knows why: another gateway served it.
        """
        # 1
        for known in self._known():
            found = await self._asked(known)
            if isinstance(found, Gathered):
                return found
            self._failed = self._failed or found
        # 2
        listed: tuple[str, ...] = tuple(sorted(self._partners.directory.listed))
        for turn in range(NEW_LISTS):
            new = self._attempt(listed)
            try:
                found = await self._asked(new)
            except TooFewParticipants:
                break
            if isinstance(found, Gathered):
                return found
            silent = set() if turn else {n for n, why in found.failed.items() if _silent(why)}
            if silent:
                await asyncio.sleep(self._partners.round_s / 10)
            listed = self._left(found, silent)
            if not listed:
                break
        # 3
        if self._own and self._failed is not None:
            self._failed.complete()
        return None

    def _known(self) -> Iterator[Attempt]:
        """Lists served before: as they were of this release, then of those that share a month."""
        seeds = seeds_at(self._partners.clock())
        lists: list[tuple[str, ...]] = []
        for each in self._own:
            lists.append(each.participants)
            if each.quarter in seeds:
                yield each
        months = self._release.months
        for each in self._before:
            shared = any(month in each.release.months for month in months)
            if shared and each.participants not in lists and len(lists) < KNOWN_LISTS:
                lists.append(each.participants)
                yield self._attempt(each.participants)

    def _attempt(self, listed: tuple[str, ...]) -> Attempt:
        """With another list; what counts is as of when the release's rounds first began."""
        return Attempt(
            release=self._release,
            participants=listed,
            quarter=self._quarter,
            cut_off=self._cut_off,
        )

    async def _asked(self, attempt: Attempt) -> Gathered | Said:
        """:raises TooFewParticipants: of them no cell could be shown. :raises LooksUsedUp: several
        say so, for what one says alone is not frozen into a release."""
        terms = self._draft(attempt)
        wire = self._to_wire(terms)
        said = await self._partners.ready(terms, wire, self._progress)
        used_up = [name for name, why in said.failed.items() if why.reason == USED_UP]
        if len(used_up) >= TOGETHER:
            raise LooksUsedUp("the nodes state no further sums of this period's figures")
        if said.failed:
            return said
        return Gathered(terms=terms, wire=wire, ready=said.statements)

    def _left(self, said: Said, silent: set[str]) -> tuple[str, ...]:
        """Who is left of a list: without those who take no part; and once all of them do, without
        those who know somebody of it not, for who that is they do not say.

        :param silent: those who are asked once more.
        :raises ParticipantMissing, ListTooClose: see :meth:`gathered`.
        """
        asked = {*said.statements, *said.failed}
        strangers = {
            name
            for name, why in said.failed.items()
            if why.reason in STRANGER and why.status == query_pb2.STATUS_INVALID
        }
        objecting = {name for name, why in said.failed.items() if why.reason == TOO_CLOSE}
        gone = said.failed.keys() - objecting - strangers - silent
        if not gone and not silent:
            gone = strangers
        if gone or silent:
            return tuple(sorted(asked - gone))
        if self._failed is not None:
            self._failed.complete()
        names = ", ".join(sorted(objecting))
        raise ListTooClose(
            "a list of participants differs by too few from one that was served",
            remedy=f"wait for the release's next version; these partners refuse: {names}",
        )


def _silent(why: LegFailed) -> bool:
    return why.status != query_pb2.STATUS_INVALID and why.reason not in FINAL_REASONS


def seeds_at(now: float) -> set[str]:
    """The quarters whose seeds nodes still have: this one and the last."""
    this = quarter_at(now)
    return {this, quarter_at(parse_unit(this).begins - 1)}

"""A release: the frozen one, or one that is made now, once, by all who take part."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from fairlead.auditlog import AuditLog
from fairlead.cubes.cube import Cube
from fairlead.cubes.level import Level
from fairlead.cubes.period import Unit
from fairlead.cubes.registry import Registry
from fairlead.disclosure.rules import Rules
from fairlead.leaves import LeafWriter
from fairlead.partners import DenyLists, Directories
from fairlead.published import Published
from fairlead.strategic.deciding import Books, Made, decide_unit, not_reported
from fairlead.strategic.terms import terms_of, terms_to_wire, version_at
from fairlead.summing import Combined, Release, Terms
from fairlead.v1 import audit_pb2
from gateway.figures.lists import Gathered, Gathering
from gateway.figures.rounds import ROUND_S, Partners, Progress
from gateway.figures.shelf import Attempt, FiguresShelf, Overtaken, put_attempt, put_release
from gateway.members import Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """One cube at one level for one unit of time."""

    registry: Registry
    cube: Cube
    level: Level
    unit: Unit


class Maker:
    """Gives releases, and makes those that are not out yet: one of a cube at a time.

    :param rules: by which it is decided what is shown.
    :param round_s: seconds that partners have in a round.
    """

    def __init__(
        self,
        *,
        log: AuditLog,
        leaves: LeafWriter,
        directory: Directories,
        deny_lists: DenyLists,
        transport: Transport,
        clock: Callable[[], float],
        rules: Rules,
        round_s: float = ROUND_S,
    ) -> None:
        self._log = log
        self._leaves = leaves
        self._directory = directory
        self._deny_lists = deny_lists
        self._transport = transport
        self._clock = clock
        self._rules = rules
        self._round_s = round_s
        self._shelf = FiguresShelf(log)
        self._making: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def due(self, sought: Sought) -> tuple[Release, bytes | None]:
        """The release that the clock says is to be given, and its octets where it is out.

        :raises InvalidInput: PERIOD_OPEN.
        """
        release = Release(
            cube=sought.cube.id,
            cube_version=sought.cube.version,
            level=sought.level.name,
            period=sought.unit.spelling,
            version=version_at(sought.unit, self._clock()),
        )
        return release, self._shelf.frozen(release)

    async def released(self, sought: Sought, *, partner: str, progress: Progress) -> bytes:
        """The octets of a release.

        1. What is frozen is given again.
        2. Everybody of one list is ready; too few, and it is not reported, for now.
        3. List, quarter and cut-off are durable: whoever goes on later says the same.
        4. The rounds: no sum is made of less than everybody's part.
        5. It is decided what may be shown, over everything that is out.
        6. It is frozen in the transaction of its leaf, unless another gateway of the log released
           something of this cube meanwhile: then step 5 again.

        :param partner: on whose account it is made.
        :raises FairleadError: it was not made; nothing of it is kept but step 3.
        """
        async with self._making[sought.cube.id]:
            # 1
            release, frozen = self.due(sought)
            if frozen is not None:
                return frozen
            # 2
            partners = Partners(
                transport=self._transport,
                directory=self._directory.current,
                deny_lists=self._deny_lists,
                clock=self._clock,
                round_s=self._round_s,
            )
            expected = len(partners.directory.listed)
            found = await self._gathered(sought, release, partners, progress)
            if found is None:
                return self._not_reported(sought, expected).to_bytes()
            # 3
            attempt = put_attempt(Attempt.of(found.terms), partner=partner, now=self._clock())
            await self._log.keep(attempt)
            # 4
            counted, combined = await partners.sums(
                found.terms, found.wire, found.ready, progress
            )
            # 5 and 6
            return await self._decided(sought, found.terms, counted, combined, expected)

    async def _gathered(
        self, sought: Sought, release: Release, partners: Partners, progress: Progress
    ) -> Gathered | None:
        return await Gathering(
            partners,
            release,
            self._shelf.attempts(release.cube),
            draft=partial(_terms, sought),
            to_wire=lambda terms: terms_to_wire(terms, sought.cube, sought.registry.digest),
            progress=progress,
        ).gathered()

    async def _decided(
        self,
        sought: Sought,
        terms: Terms,
        counted: tuple[int, ...],
        combined: Combined,
        expected: int,
    ) -> bytes:
        while True:
            after, rows = self._shelf.books(sought.cube.id)
            made = await asyncio.to_thread(
                self._decide, sought, terms, counted, combined, rows, expected
            )
            octets = made.published.to_bytes()
            put = put_release(
                terms.release, octets, books=made.added, after=after
            )
            try:
                await self._log.append(self._leaf(made.published, terms), also=put)
            except Overtaken:
                if (frozen := self._shelf.frozen(terms.release)) is not None:
                    return frozen
            else:
                return octets

    def _decide(
        self,
        sought: Sought,
        terms: Terms,
        counted: tuple[int, ...],
        combined: Combined,
        rows: list[bytes],
        expected: int,
    ) -> Made:
        """Takes a moment: call it in a thread."""
        return decide_unit(
            terms, sought.cube, sought.level, sought.unit, counted, combined,
            Books.of(sought.cube, rows), self._rules,
            expected=expected, released_at=int(self._clock()),
        )  # fmt: skip

    def _leaf(self, published: Published, terms: Terms) -> bytes:
        return self._leaves.figures(
            "figures-released",
            audit_pb2.FiguresLeaf(
                cube=terms.release.cube,
                cube_version=terms.release.cube_version,
                level=terms.release.level,
                period=terms.release.period,
                version=terms.release.version,
                list_digest=terms.list_digest,
                participants=len(terms.participants),
                statement_digest=published.digest,
            ),
        )

    def _not_reported(self, sought: Sought, expected: int) -> Published:
        return not_reported(
            sought.cube, sought.level, sought.unit,
            registry_digest=sought.registry.digest, rules=self._rules,
            expected=expected, released_at=int(self._clock()),
        )  # fmt: skip


def _terms(sought: Sought, attempt: Attempt) -> Terms:
    return terms_of(
        sought.cube, sought.level, sought.unit,
        version=attempt.release.version,
        participants=attempt.participants,
        quarter=attempt.quarter,
        cut_off=attempt.cut_off,
    )  # fmt: skip

"""A release: the frozen one, or one that is made now, once, by all who take part."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from fairlead import signing
from fairlead.auditlog import AuditLog
from fairlead.cubes.cube import Cube
from fairlead.cubes.level import Level
from fairlead.cubes.period import Unit
from fairlead.cubes.registry import Registry
from fairlead.disclosure.rules import Rules
from fairlead.leaves import LeafWriter
from fairlead.partners import DenyLists, Directories
from fairlead.published import Published
from fairlead.strategic.books import Books
from fairlead.strategic.deciding import Made, decide_unit, needs_rounds, not_reported, total_unit
from fairlead.strategic.layout import layout_of
from fairlead.strategic.terms import terms_of, terms_to_wire, version_at
from fairlead.summing import Combined, LooksUsedUp, Release, Terms
from fairlead.telemetry import Event, get_logger
from gateway.figures.lists import Gathered, Gathering, NoListLeft, seeds_at
from gateway.figures.proving import Proofs
from gateway.figures.restating import restated
from gateway.figures.rounds import ROUND_S, Partners, Progress
from gateway.figures.shelf import (
    Attempt,
    FiguresShelf,
    Overtaken,
    put_attempt,
    put_gathering,
    put_release,
)
from gateway.figures.unreported import Unreported
from gateway.figures.waivers import WaiverShelf
from gateway.figures.workshop import Workshop
from gateway.members import Transport

T = TypeVar("T")
DECIDERS = 2
"""Decisions over linear programmes that are worked on at a time, on threads of their own."""


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
        self._proofs = Proofs(log, leaves)
        self._waivers = WaiverShelf(log)
        self._making: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._workshop: Workshop[bytes] = Workshop()
        self._unreported = Unreported(clock)
        self._deciders = ThreadPoolExecutor(DECIDERS, thread_name_prefix="figures")

    async def finish(self, within_s: float) -> None:
        """Wait until what is being made is out, so many seconds at most."""
        await self._workshop.finish(within_s)

    async def drain(self) -> None:
        """Abandon what is being made. A decision that runs ends by itself, and nobody takes it."""
        await self._workshop.drain()
        self._deciders.shutdown(wait=False, cancel_futures=True)

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
        return release, self._out(sought, release)

    def _out(self, sought: Sought, release: Release) -> bytes | None:
        found = self._shelf.frozen(release, layout_of(sought.cube))
        return found and restated(*found, sought.cube, sought.registry.digest)

    async def new(self, units: Iterable[Sought]) -> int:
        """How many of some units are to be made."""

        def missing() -> list[Release]:
            due = (self.due(sought) for sought in units)
            return [release for release, frozen in due if frozen is None]

        unreported = self._unreported
        return sum(unreported.get(each) is None for each in await asyncio.to_thread(missing))

    async def released(self, sought: Sought, *, partner: str, progress: Progress) -> bytes:
        """The octets of a release: as they are frozen, or not reported a moment ago, whatever
        else of the cube is under way; or of one that is made now. It is made once, by work of its
        own, which others that ask for it join and which goes on when they go away.

        :param partner: on whose account it is made, if it is not under way.
        :raises FairleadError: it was not made.
        """
        release, frozen = await asyncio.to_thread(self.due, sought)
        known = frozen or self._unreported.get(release)
        if known is not None:
            return known
        return await self._workshop.made(
            release,
            lambda tell: self._made(sought, partner, tell),
            partner=partner,
            progress=progress,
        )

    async def _made(self, sought: Sought, partner: str, progress: Progress) -> bytes:
        """A release that is made now.

        1. What is frozen is given again.
        2. Where all figures are totals of what is out, nobody is asked.
        3. Everybody of one list is ready; too few, and it is not reported, for now. Nodes that
           state no further sums of these months, or none for any list, leave what totals there are.
        4. List, quarter and cut-off are durable: whoever goes on says the same.
        5. The rounds: no sum is made of less than everybody's part.
        6. It is decided what may be shown, over everything that is out.
        7. It is frozen in the transaction of its leaf, unless another gateway of the log released
           something of this cube meanwhile: then step 6 again.

        :param partner: on whose account it is made.
        :raises FairleadError: it was not made; nothing of it is kept but step 4.
        """
        async with self._making[sought.cube.id]:
            # 1
            release, frozen = self.due(sought)
            if frozen is not None:
                return frozen
            partners = self._partners()
            expected = len(partners.directory.listed)
            # 2
            total = partial(self._totalled, sought, release, expected)
            if not await self._apart(self._needs_rounds, sought, release):
                return await self._frozen(sought, release, total)
            # 3 and 4
            try:
                found = await self._begun(sought, release, partners, partner, progress)
            except (LooksUsedUp, NoListLeft) as why:
                for_good = isinstance(why, LooksUsedUp)
                if for_good or await self._apart(self._shows, total, release):
                    return await self._frozen(sought, release, total)
                found = None
            if found is None:
                octets = self._not_reported(sought, expected).to_bytes()
                self._unreported.put(release, octets)
                return octets
            # 5
            combined = await partners.sums(found.terms, found.wire, found.ready, progress)
            # 6 and 7
            return await self._frozen(
                sought,
                release,
                partial(self._decided, sought, found.terms, combined, expected),
                found.terms,
            )

    async def _apart(self, work: Callable[..., T], *about: Any) -> T:
        """Work that takes a processor for a while."""
        return await asyncio.get_running_loop().run_in_executor(self._deciders, work, *about)

    def _partners(self) -> Partners:
        return Partners(
            transport=self._transport,
            directory=self._directory.current,
            deny_lists=self._deny_lists,
            clock=self._clock,
            round_s=self._round_s,
        )

    async def _begun(
        self,
        sought: Sought,
        release: Release,
        partners: Partners,
        partner: str,
        progress: Progress,
    ) -> Gathered | None:
        """Steps 3 and 4; None: too few. What another gateway of the log began meanwhile is gone on
        with: its list first, as of its moment."""
        await self._log.keep(put_gathering(partner, self._clock()))
        while True:
            after = self._shelf.last_attempt(release)
            found = await self._gathered(sought, release, partners, progress)
            if found is None:
                return None
            seeds = seeds_at(self._clock())
            put = put_attempt(Attempt.of(found.terms), seeds=seeds, after=after)
            with suppress(Overtaken):
                await self._log.keep(put)
                return found

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

    async def _frozen(
        self,
        sought: Sought,
        release: Release,
        decide: Callable[[Books], Made],
        terms: Terms | None = None,
    ) -> bytes:
        """Decide over what is out, and freeze it.

        :param decide: given the books of the cube; takes a moment.
        :param terms: of the rounds, where there were any.
        """
        while True:
            after, books = await asyncio.to_thread(self._books, release)
            if (frozen := self._out(sought, release)) is not None:
                return frozen
            made = await self._apart(decide, books)
            octets = made.published.to_bytes()
            put = put_release(release, octets, cube=sought.cube, books=made.row, after=after)
            with suppress(Overtaken):
                listed = b"" if terms is None else terms.list_digest
                await self._proofs.record(octets, list_digest=listed, also=put)
                self._unreported.forget(release.cube)
                if made.beyond:
                    await self._alarm(octets, sum(map(len, made.beyond.values())))
                return octets

    async def _alarm(self, octets: bytes, cells: int) -> None:
        """Withheld cells that nothing protects any more: what is out cannot be taken back."""
        get_logger().error(Event.FIGURES_BEYOND, count=cells)
        leaf = self._leaves.alarm(
            ["FIGURES_BEYOND"], subject="figures-released", detail_digest=signing.digest(octets)
        )
        await self._log.append(leaf, detail=octets)

    def _shows(self, decide: Callable[[Books], Made], release: Release) -> bool:
        """Whether any figure would be shown."""
        figures = decide(self._books(release)[1]).published.figures
        return any(cell.shown.is_number for each in figures for cell in each.cells)

    def _books(self, release: Release) -> tuple[int, Books]:
        """The place of the last release of a cube in a release's calendar year, and the books of
        that year: what is out, and what owners waived.

        :raises InvalidInput: BOOKS: what is kept is unreadable.
        """
        after, rows = self._shelf.books(release)
        return after, Books.of(rows, self._waivers.of_year(release.cube, release.period[:4]))

    def _needs_rounds(self, sought: Sought, release: Release) -> bool:
        _, books = self._books(release)
        return needs_rounds(
            sought.cube, sought.level, sought.unit, release.version, books, self._rules
        )

    def _decided(
        self, sought: Sought, terms: Terms, combined: Combined, expected: int, books: Books
    ) -> Made:
        return decide_unit(
            terms, sought.cube, sought.level, sought.unit, combined, books,
            self._rules, registry_digest=sought.registry.digest, expected=expected,
            released_at=int(self._clock()),
        )  # fmt: skip

    def _totalled(self, sought: Sought, release: Release, expected: int, books: Books) -> Made:
        return total_unit(
            sought.cube, sought.level, sought.unit, books, self._rules,
            version=release.version, registry_digest=sought.registry.digest, expected=expected,
            released_at=int(self._clock()),
        )  # fmt: skip

    def _not_reported(self, sought: Sought, expected: int) -> Published:
        return not_reported(
            sought.cube, sought.level, sought.unit,
            registry_digest=sought.registry.digest, expected=expected,
            released_at=int(self._clock()),
        )  # fmt: skip


def _terms(sought: Sought, attempt: Attempt) -> Terms:
    return terms_of(
        sought.cube, sought.level, sought.unit,
        version=attempt.release.version,
        participants=attempt.participants,
        quarter=attempt.quarter,
        cut_off=attempt.cut_off,
    )  # fmt: skip

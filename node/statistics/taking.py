"""Taking part: the three rounds at this node, each on the record before anything leaves.

What is said is durable first (:mod:`node.statistics.keeping`), then its leaf, then it leaves.
Whoever asks again gets the same octets, and there is no second leaf. Masks, files and counting are
beside the event loop.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from threading import Lock
from typing import Any, NamedTuple, Protocol, TypeVar

from fairlead.auditlog import AuditLog
from fairlead.certificates import Identity
from fairlead.cubes.cube import Cube
from fairlead.cubes.registry import Registry
from fairlead.errors import FairleadError, Overloaded, OwnerError, Refused, Stale
from fairlead.keyring import KeyRing
from fairlead.leaves import LeafWriter
from fairlead.partners import Directories
from fairlead.strategic.statements import statement_to_wire, statements_from_wire
from fairlead.strategic.terms import RoundsOf, figures_of_counted
from fairlead.summing import Figures, ListKeeper, Rounds, Statement, Store
from fairlead.summing.release import Release, framed
from fairlead.telemetry import Event, get_logger
from fairlead.v1 import audit_pb2
from fairlead.v1 import statistics_pb2 as pb
from node.figures.port import FiguresOf
from node.statistics.agreeing import agree
from node.statistics.seeds import PairSeeds

AT_ONCE = 8
"""Calls under way; further ones are to come again."""
WORKERS = 2
AHEAD = 32
"""Releases counted for the first round that are kept in memory for the second."""
AHEAD_S, SLOW_S = 600, 5.0
"""Seconds by which they may be older than a cut-off where counting took longer than so many: who
counts for longer than a gateway waits is ready when it asks again."""
COUNTED, SUMMED = "figures-counted", "figures-summed"
MIGRATIONS = (
    """
    CREATE TABLE figures_said (said BLOB PRIMARY KEY) STRICT, WITHOUT ROWID;
    CREATE TABLE figures_store (mask_key BLOB PRIMARY KEY, name BLOB NOT NULL)
    STRICT, WITHOUT ROWID;
    """,
)
"""In the log's file: of what there is a leaf, and which store a mask key was used with."""

T = TypeVar("T")


class NotCounted(OwnerError):
    """This node's figures cannot be counted, for whatever reason its own record has."""

    default_code = "FIGURES_UNUSABLE"


class NamedStore(Store, Protocol):
    """A store that is known again; one that was lost and made anew has another name."""

    @property
    def name(self) -> bytes:
        """Octets that no other store has."""

    def close(self) -> None:
        """Release it."""


class Origins(FiguresOf, Protocol):
    """See :class:`node.figures.Figures`."""

    def origins(self, cube: Cube) -> tuple[FiguresOf, ...]:
        """What a cube is counted from here; nothing where nothing is."""


class _Ahead(NamedTuple):
    """Figures counted as of a cut-off, good for one that is so many seconds later."""

    cut_off: int
    lasts_s: int
    figures: Figures


@dataclass(slots=True, kw_only=True)
class TakingPart:
    """One node's part.

    :param node: the own node's SPIFFE id. :param secret: of the noise.
    :param figures: what this node can state of a cube.
    :param cubes: the registry in force. :param paused: whether the owner answers nobody now.
    """

    partner: str
    node: str
    directory: Directories
    keys: KeyRing
    secret: bytes = field(repr=False)
    store: NamedStore
    figures: Origins
    cubes: Callable[[], Awaitable[Registry]]
    paused: Callable[[], bool]
    log: AuditLog
    leaves: LeafWriter
    clock: Callable[[], float]
    _seeds: PairSeeds = field(init=False)
    _pool: ThreadPoolExecutor = field(init=False)
    _ahead: OrderedDict[Release, _Ahead] = field(default_factory=OrderedDict)
    _counting: Lock = field(default_factory=Lock)
    _busy: int = 0
    _noting: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self._seeds = PairSeeds(own=self.partner, directory=self.directory, keys=self.keys)
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="figures")

    async def close(self) -> None:
        """Wait for what is under way, and release the store; nothing more is begun."""
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)
        self.store.close()

    async def ready(self, request: pb.GetReadyRequest, peer: Identity) -> pb.GetReadyResponse:
        """Round 0: :meth:`fairlead.summing.Rounds.ready`, if this node has anything to state, and
        can count it: whoever is ready and drops out then stops the release for everybody.

        :raises FairleadError: refused, with the refusal on the record.
        """
        async with self._recorded(peer, "GetReady"):
            about = await self._about(request.terms)
            said = await self._apart(self._rounds().ready, about.terms)
            await self._apart(self._count_ahead, about, asyncio.get_running_loop())
        return pb.GetReadyResponse(statement=statement_to_wire(said))

    async def count(
        self, request: pb.CountContributorsRequest, peer: Identity
    ) -> pb.CountContributorsResponse:
        """Round 1: :meth:`fairlead.summing.Rounds.indicators`; the figures are counted the first
        time, and frozen.

        :raises FairleadError: refused, with the refusal on the record.
        """
        async with self._recorded(peer, "CountContributors"):
            about = await self._about(request.terms)
            counting = partial(self._counted, about, asyncio.get_running_loop())
            ready = statements_from_wire(request.ready)
            said = await self._apart(self._rounds().indicators, about.terms, ready, counting)
            await self._note(COUNTED, about, said)
        return pb.CountContributorsResponse(statement=statement_to_wire(said))

    async def sum(self, request: pb.SumValuesRequest, peer: Identity) -> pb.SumValuesResponse:
        """Round 2: :meth:`fairlead.summing.Rounds.values`.

        :raises FairleadError: refused, with the refusal on the record.
        """
        async with self._recorded(peer, "SumValues"):
            about = await self._about(request.terms)
            indicators = statements_from_wire(request.indicators)
            said = await self._apart(self._rounds().values, about.terms, indicators)
            await self._note(SUMMED, about, said)
        return pb.SumValuesResponse(statement=statement_to_wire(said))

    async def claim(self) -> None:
        """Put on record that this store goes with the mask key of the directory. A key that was
        used with another one is used no more: what was said under it is forgotten here, and said
        anew it would show the difference.

        :raises Refused: FIGURES_LOST.
        """
        key = self.directory.current.partner(self.partner).mask_key
        found = self.log.read("SELECT name FROM figures_store WHERE mask_key = ?", (key,))
        if not found:
            await self.log.keep(_claimed(key, self.store.name))
            found = self.log.read("SELECT name FROM figures_store WHERE mask_key = ?", (key,))
        if found[0][0] != self.store.name:
            raise Refused(
                "this node has lost what it said about figures under its mask key",
                reasons=("FIGURES_LOST",),
                remedy="fairlead-node rotate mask --config FILE",
            )

    async def _about(self, said: pb.RoundTerms) -> RoundsOf:
        """1. The owner does not pause, the directory is in force, and of a partner's several nodes
        this is the one that takes part: another's file may know of other lists.
        2. Nothing that was said under this mask key is forgotten.
        3. What is wanted agrees with clock and registry: :func:`agree`.
        4. There is something to count it from: *not reported* is not zero.
        """
        # 1
        self._check_paused()
        directory = self.directory.current
        directory.check_current(self.clock())
        if directory.partner(self.partner).nodes[0].spiffe_id != self.node:
            raise _not_reported()
        # 2
        await self.claim()
        # 3
        registry = await self.cubes()
        about = await self._apart(partial(agree, said, registry, now=self.clock()))
        # 4
        if not self.figures.origins(about.cube):
            raise _not_reported()
        return about

    def _check_paused(self) -> None:
        """:raises Refused: OWNER_PAUSED."""
        if self.paused():
            raise Refused(
                "the owner states no figures at the moment",
                reasons=("OWNER_PAUSED",),
                remedy="ask again later, or call the owner's contact desk",
            )

    def _rounds(self) -> Rounds:
        directory = self.directory.current
        return Rounds(
            own=self.partner,
            signing_key=self.keys.signing(directory.partner(self.partner).signing_key),
            keys=lambda name: directory.partner(name).signing_key,
            seeds=self._seeds,
            secret=self.secret,
            keeper=ListKeeper(self.store),
        )

    def _count_ahead(self, about: RoundsOf, loop: asyncio.AbstractEventLoop) -> None:
        """Count what the next round will say, unless it is frozen.

        :raises OwnerError: it cannot be counted.
        """
        try:
            self._rounds().keeper.frozen(about.terms.release, not_frozen)
        except Stale:
            self._counted(about, loop)

    def _counted(self, about: RoundsOf, loop: asyncio.AbstractEventLoop) -> Figures:
        """The node's figures, counted on the loop while a worker waits, or a moment ago.

        :raises OwnerError: they cannot be counted.
        """
        cube, level, unit, terms = about
        with self._counting:
            ahead = self._ahead.get(terms.release)
        if ahead is not None and 0 <= terms.cut_off - ahead.cut_off <= ahead.lasts_s:
            return ahead.figures
        began = self.clock()
        counting = self.figures.count(cube, level, unit, cut_off=min(terms.cut_off, began))
        try:
            counted = asyncio.run_coroutine_threadsafe(counting, loop).result()
            figures = figures_of_counted(cube, counted)
            figures.check(terms.measures, len(terms.cells))
        except OwnerError:
            raise
        except FairleadError as error:
            raise NotCounted("figures cannot be counted", reasons=error.reasons) from None
        lasts_s = AHEAD_S if self.clock() - began > SLOW_S else 0
        with self._counting:
            self._ahead.pop(terms.release, None)
            self._ahead[terms.release] = _Ahead(terms.cut_off, lasts_s, figures)
            while len(self._ahead) > AHEAD:
                self._ahead.popitem(last=False)
        return figures

    async def _apart(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    @asynccontextmanager
    async def _recorded(self, peer: Identity, method: str) -> AsyncIterator[None]:
        """One call: what is raised is on the record first. What keeps this node from counting is
        its owner's to mend, and for the gateway it has nothing to report."""
        try:
            if self._busy >= AT_ONCE:
                raise Overloaded(
                    "this owner is busy", reasons=("ROUNDS_IN_FLIGHT",), remedy="try again later"
                )
            self._busy += 1
            try:
                yield
                self._check_paused()  # it may have begun meanwhile
            finally:
                self._busy -= 1
        except FairleadError as error:
            leaf = self.leaves.refusal(
                error,
                subject=f"FiguresService.{method}",
                partner_id=peer.partner_id or "",
                user=peer.spiffe_id,
            )
            await self.log.append(leaf)
            if not isinstance(error, OwnerError):
                raise
            get_logger().warning(Event.FIGURES_NOT_STATED, error=error)
            raise _not_reported() from None

    async def _note(self, subject: str, about: RoundsOf, said: Statement) -> None:
        """The leaf of what this node is about to say, once."""
        release, listed = about.terms.release, about.terms.list_digest
        octets = framed(subject.encode(), release.to_bytes(), listed)
        key = hashlib.sha256(b"fairlead/v1/statistics-noted\x00" + octets).digest()
        async with self._noting:
            if self.log.read("SELECT 1 FROM figures_said WHERE said = ?", (key,)):
                return
            figures = audit_pb2.FiguresLeaf(
                cube=release.cube,
                cube_version=release.cube_version,
                level=release.level,
                period=release.period,
                version=release.version,
                list_digest=listed,
                participants=len(about.terms.participants),
                statement_digest=hashlib.sha256(said.vector).digest(),
            )
            await self.log.append(self.leaves.figures(subject, figures), also=_noted(key))


def not_frozen() -> bytes:
    """In the place of what would freeze figures. :raises Stale: ROUND_ORDER."""
    raise Stale("nothing is frozen yet", reasons=("ROUND_ORDER",))


def _noted(key: bytes) -> Callable[[Any], None]:
    def put(connection: Any) -> None:
        connection.execute("INSERT INTO figures_said VALUES (?)", (key,))

    return put


def _claimed(key: bytes, name: bytes) -> Callable[[Any], None]:
    def put(connection: Any) -> None:
        connection.execute("INSERT OR IGNORE INTO figures_store VALUES (?, ?)", (key, name))

    return put


def _not_reported() -> Refused:
    return Refused(
        "this node has no figures of this to state",
        reasons=("NOT_REPORTED",),
        remedy="ask without this partner",
    )

"""Publishing an own figure: what an owner waives is known to everybody from then on.

It is exact, without noise, and never taken back. So it is shown first, and signed only as shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fairlead import tls  # noqa: F401  before grpc: it sets the TLS floor

# isort: split
import grpc.aio

from fairlead.cubes.cube import Cube, Measure, MeasureKind
from fairlead.cubes.level import Cell, Level
from fairlead.cubes.period import Period
from fairlead.errors import FairleadError, InvalidInput, Refused, Stale, Unreachable
from fairlead.names import check_code
from fairlead.partners import Partner
from fairlead.strategic.layout import layout_of
from fairlead.strategic.terms import version_at, word_names, words_of
from fairlead.strategic.waiver import Waiver, read_waiver, sign_waiver
from fairlead.summing import Figures, ListKeeper, Release
from fairlead.v1 import statistics_pb2 as pb
from fairlead.v1 import statistics_pb2_grpc
from node.following import gateway_refusal
from node.line import GatewayLine
from node.statistics.taking import TakingPart, not_frozen

Json = dict[str, Any]
HandOver = Callable[[pb.PublishWaiverRequest], Awaitable[None]]
"""Brings a waiver to the gateway; raises a FairleadError."""
DEADLINE_S = 30.0
WAIVED = "figure-waived"
MIGRATIONS = (
    """
    CREATE TABLE figures_waived (
        cube TEXT NOT NULL, layout TEXT NOT NULL, level TEXT NOT NULL, cell TEXT NOT NULL,
        measure TEXT NOT NULL, version INTEGER NOT NULL, waiver BLOB NOT NULL,
        PRIMARY KEY (cube, layout, level, cell, measure, version)
    ) STRICT, WITHOUT ROWID
    """,
)
_FIND = (
    "SELECT waiver FROM figures_waived WHERE cube = ? AND layout = ? AND level = ? AND cell = ? "
    "AND measure = ? AND version = ?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """One measure of one cell, of one version of its release."""

    cube: Cube
    level: Level
    cell: Cell
    measure: Measure
    version: int

    @property
    def release(self) -> Release:
        """The release that its figures are in."""
        return Release(
            cube=self.cube.id,
            cube_version=self.cube.version,
            level=self.level.name,
            period=self.cell.unit.spelling,
            version=self.version,
        )

    @property
    def place(self) -> int:
        """Where the cell is in the release."""
        unit = self.cell.unit
        return self.level.cells(Period(unit, unit)).place(self.cell)

    @property
    def key(self) -> tuple[str, str, str, str, str, int]:
        """What it is kept by."""
        return (
            self.cube.id,
            layout_of(self.cube),
            self.level.name,
            self.cell.spelling,
            self.measure.id,
            self.version,
        )


@dataclass(slots=True, kw_only=True)
class Waiving:
    """The owner's act, at the node that takes part in the rounds and has what was said in them."""

    taking: TakingPart
    hand_over: HandOver

    async def waive(
        self,
        *,
        cube: str,
        level: str,
        cell: str,
        measure: str,
        version: int,
        by: str,
        value: int | None = None,
    ) -> Json:
        """Publish an own figure, or show what that would publish.

        1. Measure and cell are of the registry in force; the unit is over, and the version due.
        2. What was published before is handed over again, in the same octets.
        3. The figure is the one that is frozen for the release; where none is, as of now.
        4. Without ``value`` it is shown, and nothing else happens; else it is the one shown.
        5. It is signed; waiver and leaf are durable together.
        6. The gateway has it.

        :param by: the pseudonym of who publishes it, written into the leaf.
        :raises Stale: FIGURE_CHANGED. :raises FairleadError: refused; the gateway does not answer.
        """
        check_code(by)
        # 1
        wanted = await self._wanted(cube, level, cell, measure, version)
        # 2
        kept = self.taking.log.read(_FIND, wanted.key)
        if kept:
            waiver, frozen = read_waiver(bytes(kept[0][0])), True
        else:
            # 3
            own, frozen = await self._own(wanted)
            waiver = self._drafted(wanted, own)
        told = _told(wanted, waiver.value, frozen=frozen)
        # 4
        if value is None:
            return told | {"state": "published" if kept else "shown"}
        if value != waiver.value:
            raise Stale(
                "the figure is no longer the one that was shown",
                reasons=("FIGURE_CHANGED",),
                remedy="run the same command again, and look at what it shows now",
            )
        # 5
        if not kept:
            await self._keep(wanted, waiver, by)
        # 6
        await self.hand_over(self._signed(waiver))
        return told | {"state": "published", "changed": not kept}

    async def _wanted(
        self, cube: str, level: str, cell: str, measure: str, version: int
    ) -> _Wanted:
        """:raises InvalidInput: CUBE_UNKNOWN, LEVEL_UNKNOWN, CELL_UNKNOWN, MEASURE_UNKNOWN,
        WAIVER_MEASURE, PERIOD_OPEN, RELEASE_VERSION. :raises Refused: FIRST_NODE.
        """
        registry = await self.taking.cubes()
        found = registry.cube(cube)
        at = found.level(level)
        wanted = _Wanted(
            cube=found,
            level=at,
            cell=at.cell(cell),
            measure=found.measure(measure),
            version=version,
        )
        if wanted.measure.kind not in {MeasureKind.COUNT, MeasureKind.SUM}:
            raise InvalidInput(
                "only counts and sums are published by themselves",
                reasons=("WAIVER_MEASURE",),
                remedy="name a count or a sum: fairlead-node statistics preview --help",
            )
        if not 1 <= version <= version_at(wanted.cell.unit, self.taking.clock()):
            raise InvalidInput(
                "figures of this version are not due",
                reasons=("RELEASE_VERSION",),
                remedy="1 are the first figures, 2 the final ones, half a year later",
            )
        if self._partner.nodes[0].spiffe_id != self.taking.node:
            raise Refused(
                "another node of this partner takes part in sums",
                reasons=("FIRST_NODE",),
                remedy="run this at the node that the directory lists first",
            )
        return wanted

    @property
    def _partner(self) -> Partner:
        return self.taking.directory.current.partner(self.taking.partner)

    async def _own(self, wanted: _Wanted) -> tuple[int, bool]:
        """The own figure, and whether it is frozen.

        :raises InvalidInput: RELEASE_VERSION. :raises OwnerError: it cannot be counted.
        """
        try:
            octets = ListKeeper(self.taking.store).frozen(wanted.release, not_frozen)
        except Stale:
            return await self._counted(wanted), False
        words = words_of(wanted.cube)
        (name,) = word_names(wanted.cube.measures.index(wanted.measure), wanted.measure)
        word = next(at for at, each in enumerate(words) if each.measure_id == name)
        return Figures.from_bytes(octets, words).values[wanted.place][word], True

    async def _counted(self, wanted: _Wanted) -> int:
        now = self.taking.clock()
        if wanted.version != version_at(wanted.cell.unit, now):
            raise InvalidInput(
                "these figures were never stated, and will not be any more",
                reasons=("RELEASE_VERSION",),
                remedy="publish those of the next version",
            )
        if not self.taking.figures.origins(wanted.cube):
            raise Refused(
                "this node counts nothing of this cube",
                reasons=("NOT_REPORTED",),
                remedy="fairlead-node statistics check",
            )
        counted = await self.taking.figures.count(
            wanted.cube, wanted.level, wanted.cell.unit, cut_off=now
        )
        before = wanted.cube.measures[: wanted.cube.measures.index(wanted.measure)]
        return counted.values[wanted.place][sum(each.words for each in before)]

    def _drafted(self, wanted: _Wanted, value: int) -> Waiver:
        return Waiver(
            federation=self.taking.directory.current.federation,
            partner=self.taking.partner,
            cube=wanted.cube.id,
            measure=wanted.measure.id,
            level=wanted.level.name,
            cell=wanted.cell.spelling,
            version=wanted.version,
            layout=layout_of(wanted.cube),
            value=value,
            issued_at=int(self.taking.clock()),
        )

    async def _keep(self, wanted: _Wanted, waiver: Waiver, by: str) -> None:
        octets = waiver.to_bytes()

        def put(connection: Any) -> None:
            connection.execute(
                "INSERT INTO figures_waived VALUES (?, ?, ?, ?, ?, ?, ?)", (*wanted.key, octets)
            )

        leaf = self.taking.leaves.owner(WAIVED, user=by, digest=hashlib.sha256(octets).digest())
        await self.taking.log.append(leaf, also=put)

    def _signed(self, waiver: Waiver) -> pb.PublishWaiverRequest:
        """Under the signing key of today: the waiver outlives keys."""
        key = self.taking.keys.signing(self._partner.signing_key)
        signed = pb.SignedWaiver(waiver=waiver.to_bytes(), signature=sign_waiver(waiver, key))
        return pb.PublishWaiverRequest(waiver=signed)


def handing_over(line: GatewayLine) -> HandOver:
    """Over the node's line to the gateway."""

    async def hand_over(request: pb.PublishWaiverRequest) -> None:
        """:raises Unreachable: GATEWAY_UNREACHABLE. :raises Refused: the gateway refused."""
        stub: statistics_pb2_grpc.StatisticsServiceAsyncStub = (
            statistics_pb2_grpc.StatisticsServiceStub(line.channel())
        )
        try:
            await stub.PublishWaiver(request, timeout=DEADLINE_S)
        except grpc.aio.AioRpcError as error:
            raise _why(error) from None

    return hand_over


def _why(error: grpc.aio.AioRpcError) -> FairleadError:
    if error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
        return Unreachable(
            "the figure is signed, and the gateway does not have it yet",
            reasons=("GATEWAY_UNREACHABLE",),
            remedy="run the same command again: it hands over what was signed",
        )
    return gateway_refusal(error)


def _told(wanted: _Wanted, value: int, *, frozen: bool) -> Json:
    return {
        "cube": wanted.cube.id,
        "level": wanted.level.name,
        "cell": wanted.cell.spelling,
        "measure": wanted.measure.id,
        "version": wanted.version,
        "value": value,
        "unit": wanted.measure.unit,
        "frozen": frozen,
        "changed": False,
    }

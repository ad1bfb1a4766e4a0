"""Partners' nodes that state figures, in one process: their keys, logs and files, and a gateway
that carries between them what it likes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fairlead.auditlog import AuditLog
from fairlead.certificates import Identity
from fairlead.cubes.cube import Cube
from fairlead.cubes.level import Level
from fairlead.cubes.period import Period, Unit, parse_unit
from fairlead.cubes.registry import Registry
from fairlead.keyring import KeyRing
from fairlead.leaves import LeafWriter
from fairlead.partners import Directories
from fairlead.strategic.statements import statement_from_wire
from fairlead.strategic.terms import quarter_at, terms_of, terms_to_wire
from fairlead.summing import Combined, Round, Terms, contributors, totals
from fairlead.v1 import audit_pb2
from fairlead.v1 import statistics_pb2 as pb
from node.figures import Counted, FiguresOf
from node.opening import MIGRATIONS
from node.statistics import FILE, FiguresStore, TakingPart
from tests.cubes import SMALL, written
from tests.walks import World

REGISTRY = Registry.parse(written(SMALL))
CUBE = REGISTRY.cube("reports")
LEVEL = "quarter,country"
"""Two cells, of which every partner has seven words."""
UNIT = parse_unit("2026-Q3")
PARTNERS = ("customs", "inland-port", "oceanic-line", "police", "quayguard", "terminal-north")
Row = tuple[int, ...]


@dataclass(slots=True)
class Given:
    """An origin of figures that has these rows in each cell: records, then the cube's words."""

    rows: Sequence[Row]
    counted: list[tuple[str, str, float]] = field(default_factory=list)
    """What it was asked for, and as of when."""

    async def count(self, cube: Cube, level: Level, unit: Unit, *, cut_off: float) -> Counted:
        """See :class:`node.figures.FiguresOf`."""
        self.counted.append((level.name, unit.spelling, cut_off))
        return Counted.checked(
            cube,
            level,
            unit,
            records=[row[0] for row in self.rows],
            values=[row[1:] for row in self.rows],
        )


@dataclass(slots=True)
class One:
    """Figures of one origin; of none, nothing is reported."""

    origin: FiguresOf | None

    def origins(self, _cube: Cube) -> tuple[FiguresOf, ...]:
        """See :class:`node.figures.Figures`."""
        return () if self.origin is None else (self.origin,)

    async def count(self, cube: Cube, level: Level, unit: Unit, *, cut_off: float) -> Counted:
        """See :class:`node.figures.Figures`."""
        assert self.origin is not None
        return await self.origin.count(cube, level, unit, cut_off=cut_off)


@dataclass(slots=True)
class Changed:
    """Figures that are counted in another way."""

    figures: Any
    count: Callable[..., Any]

    def origins(self, cube: Cube) -> tuple[FiguresOf, ...]:
        """See :class:`node.figures.Figures`."""
        found: tuple[FiguresOf, ...] = self.figures.origins(cube)
        return found


@dataclass(slots=True)
class Clock:
    """A clock that a test moves."""

    now: float

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True)
class Node:
    """One partner's node, and what a test turns at it."""

    partner: str
    folder: Path
    world: World
    clock: Clock
    origin: Any
    directory: Directories
    registry: Registry = REGISTRY
    paused: bool = False
    log: AuditLog = field(init=False)
    store: FiguresStore = field(init=False)
    taking: TakingPart = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.open()

    def open(self) -> None:
        """Start it."""
        keys = self.world.opened.layout.node(self.partner)
        listed = self.directory.current.partner(self.partner)
        ring = KeyRing(keys)
        self.log = AuditLog.open(
            self.folder / "audit.sqlite",
            origin=f"test/partner/{self.partner}",
            key=ring.signing(listed.signing_key),
            clock=self.clock,
            migrations=MIGRATIONS,
        )
        self.store = FiguresStore.open(self.folder / FILE)

        async def cubes() -> Registry:
            return self.registry

        self.taking = TakingPart(
            partner=self.partner,
            node=listed.nodes[0].spiffe_id,
            directory=self.directory,
            keys=ring,
            secret=(keys / "noise.secret").read_bytes(),
            store=self.store,
            figures=One(self.origin),
            cubes=cubes,
            paused=lambda: self.paused,
            log=self.log,
            leaves=LeafWriter(log=f"partner/{self.partner}", clock=self.clock),
            clock=self.clock,
        )

    async def close(self) -> None:
        """Stop it; its files stay."""
        await self.taking.close()
        self.log.close()

    async def again(self) -> None:
        """Stop and start it."""
        await self.close()
        self.open()

    @property
    def leaves(self) -> list[audit_pb2.AuditLeaf]:
        """Every leaf of its log."""
        rows = self.log.read("SELECT body FROM leaf ORDER BY idx")
        return [audit_pb2.AuditLeaf.FromString(body) for (body,) in rows]

    @property
    def told(self) -> list[str]:
        """Subject and reasons of every leaf."""
        return [" ".join([leaf.subject, *leaf.reasons]) for leaf in self.leaves]


class Stating:
    """All of them, and a gateway that asks each in turn."""

    def __init__(
        self, folder: Path, world: World, rows: Mapping[str, Sequence[Row]], *, clock: Clock
    ) -> None:
        self.world = world
        self.clock = clock
        self.peer: Identity = world.peer("gw-1")
        self.nodes = {
            partner: Node(
                partner, folder / partner, world, clock, Given(own), world.directory
            )
            for partner, own in rows.items()
        }  # fmt: skip

    async def close(self) -> None:
        """Stop all."""
        for node in self.nodes.values():
            await node.close()

    def terms(self, names: Sequence[str] = (), **changes: Any) -> Terms:
        """Terms of all nodes, or of some, begun now, but for what is changed."""
        usual: dict[str, Any] = {
            "version": 1,
            "participants": tuple(names or sorted(self.nodes)),
            "quarter": quarter_at(self.clock()),
            "cut_off": int(self.clock()),
        }
        level = changes.pop("level", LEVEL)
        unit = changes.pop("unit", UNIT)
        return terms_of(CUBE, CUBE.level(level), unit, **(usual | changes))

    def wire(self, terms: Terms, registry: Registry = REGISTRY) -> pb.RoundTerms:
        """As a node is told them."""
        return terms_to_wire(terms, registry.cube("reports"), registry.digest)

    async def ready(self, terms: Terms) -> list[pb.RoundStatement]:
        """Round 0 of everybody on the list."""
        request = pb.GetReadyRequest(terms=self.wire(terms))
        return [
            (await self.nodes[name].taking.ready(request, self.peer)).statement
            for name in terms.participants
        ]

    async def counted(
        self, terms: Terms, *, without: Sequence[str] = ()
    ) -> list[pb.RoundStatement]:
        """Rounds 0 and 1, the second of everybody but some."""
        ready = await self.ready(terms)
        request = pb.CountContributorsRequest(terms=self.wire(terms), ready=ready)
        return [
            (await self.nodes[name].taking.count(request, self.peer)).statement
            for name in terms.participants
            if name not in without
        ]

    async def summed(
        self, terms: Terms, indicators: Sequence[pb.RoundStatement], *, without: Sequence[str] = ()
    ) -> list[pb.RoundStatement]:
        """Round 2 of everybody but some."""
        request = pb.SumValuesRequest(terms=self.wire(terms), indicators=indicators)
        return [
            (await self.nodes[name].taking.sum(request, self.peer)).statement
            for name in terms.participants
            if name not in without
        ]

    def combined(
        self,
        terms: Terms,
        indicators: Sequence[pb.RoundStatement],
        values: Sequence[pb.RoundStatement],
    ) -> Combined:
        """What a gateway makes of it, each statement verified."""
        seen = self._verified(indicators, terms.binding(Round.INDICATORS))
        counted = contributors(seen, terms)
        said = self._verified(values, terms.values_binding(seen))
        return totals(said, counted, terms)

    def _verified(self, said: Sequence[pb.RoundStatement], binding: Any) -> dict[str, bytes]:
        found = {each.partner_id: statement_from_wire(each) for each in said}
        for name, statement in found.items():
            statement.verify(self.world.directory.partner(name).signing_key, binding)
        return {name: statement.vector for name, statement in found.items()}

    async def run(self, terms: Terms) -> Combined:
        """All three rounds."""
        indicators = await self.counted(terms)
        return self.combined(terms, indicators, await self.summed(terms, indicators))


def cells(level: str = LEVEL, unit: Unit = UNIT) -> tuple[str, ...]:
    """The spellings of a level's cells."""
    return tuple(cell.spelling for cell in CUBE.level(level).cells(Period(unit, unit)))

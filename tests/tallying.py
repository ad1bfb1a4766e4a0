"""A gateway's figures in one process: real nodes' rounds in memory, behind a transport that fails
as it is told to. Keys, directory, log and shelf are real; policy says what a test says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from fairlead import signing
from fairlead.auditlog import AuditLog
from fairlead.cubes.cube import Cube
from fairlead.cubes.registry import Registry
from fairlead.disclosure.rules import Rules
from fairlead.errors import FairleadError
from fairlead.leaves import LeafWriter
from fairlead.partners import Directory
from fairlead.policy.decision import FIGURES, NOTHING, Decision, Effect
from fairlead.published import Published
from fairlead.quorum import missing
from fairlead.strategic.question import draft_question, make_statement, sign_question
from fairlead.strategic.statements import statement_to_wire, statements_from_wire
from fairlead.strategic.terms import terms_from_wire
from fairlead.summing import Figures, Statement, Terms
from fairlead.v1 import audit_pb2, query_pb2
from fairlead.v1 import statistics_pb2 as pb
from gateway import app
from gateway.figures.making import Maker
from gateway.members import LegFailed, RoundRequest, Transport
from gateway.strategic import Strategic
from tests.cubes import SMALL, written
from tests.summed import Nodes, figures_of
from tests.walks import ASKER, World

LARGER = deepcopy(SMALL)
"""With room for figures that noise does not hide."""
for measure in LARGER["cubes"][0]["measures"]:
    if "bound" in measure:
        measure["bound"] = 100_000_000
REGISTRY = Registry.parse(written(LARGER))
CUBE = REGISTRY.cube("reports")
LEVEL, UNIT = "quarter,country", "2026-Q3"
"""Two cells, over for less than half a year at the time of the tests."""
PERMIT = Decision(
    effect=Effect.PERMIT,
    checks=MappingProxyType({}),
    facets=frozenset({FIGURES}),
    obligations=NOTHING,
    rules=("figures-for-all",),
    policy_serial=1,
)

Counts = Callable[[str, Terms], Figures]
"""What a partner has, for the terms of a release."""


def plenty(partner: str, terms: Terms) -> Figures:
    """Everybody contributes to every cell, with a few records more than the last one."""
    rank = int(partner[1:]) + 10
    rows = [(rank,) + (1,) * (len(terms.measures) - 1) for _ in terms.cells]
    return figures_of(terms.measures, rows)


class Policy:
    """Permits, or not; with the registry of a town."""

    def __init__(self, registry: Registry) -> None:
        self.decision = PERMIT
        self.cubes = registry.canonical
        self.sensitive = False
        self.asked: list[dict[str, Any]] = []

    @property
    def current(self) -> Policy:
        return self

    def highly_sensitive(self, _purpose: str) -> bool:
        return self.sensitive

    def statistics(self, **said: Any) -> Decision:
        self.asked.append(said)
        return self.decision


@dataclass
class Watched:
    """Witnesses that cosign at once, or do not."""

    quorum: bool = True
    waited_for: list[int] = field(default_factory=list)

    def check(self, *, sensitive: bool) -> None:
        """:raises NoQuorum:"""
        if not self.quorum and not sensitive:
            raise missing()

    async def covering(self, index: int, _directory: Directory, *, within_s: float) -> None:
        """:raises NoQuorum:"""
        assert within_s
        self.waited_for.append(index)
        if not self.quorum:
            raise missing()


@dataclass
class Wire:
    """The way to the nodes. ``faults`` is asked before each call, ``lies`` after it."""

    nodes: Nodes
    registry: Registry = REGISTRY
    counts: Counts = plenty
    faults: dict[str, Callable[[RoundRequest], None]] = field(default_factory=dict)
    lies: dict[str, Callable[[RoundRequest, Statement], Statement]] = field(default_factory=dict)
    stalled: set[str] = field(default_factory=set)
    looks_used_up: bool = False
    """Whether every node has stated as many sums of each month as it ever does."""
    seen: list[tuple[str, RoundRequest]] = field(default_factory=list)
    said: list[tuple[str, pb.RoundStatement]] = field(default_factory=list)

    async def take_round(
        self, partner_id: str, request: RoundRequest, *, timeout_s: float, limit: int
    ) -> pb.RoundStatement:
        self.seen.append((partner_id, request))
        if partner_id in self.stalled:
            await asyncio.sleep(3600)
        if partner_id in self.faults:
            self.faults[partner_id](request)
        if partner_id not in self.nodes.rounds:
            raise LegFailed(query_pb2.STATUS_INVALID, "NOT_REPORTED")
        if self.looks_used_up:
            raise LegFailed(query_pb2.STATUS_INVALID, "FIGURES_USED_UP")
        statement = await asyncio.to_thread(self.statement, partner_id, request)
        if partner_id in self.lies:
            statement = self.lies[partner_id](request, statement)
        found = statement_to_wire(statement)
        self.said.append((partner_id, found))
        return found

    def statement(self, partner_id: str, request: RoundRequest) -> Statement:
        """What a partner says."""
        terms = terms_from_wire(request.terms, self.registry).terms
        rounds = self.nodes.rounds[partner_id]
        try:
            match request:
                case pb.GetReadyRequest():
                    return rounds.ready(terms)
                case pb.CountContributorsRequest():
                    ready = statements_from_wire(request.ready)
                    return rounds.indicators(terms, ready, lambda: self.counts(partner_id, terms))
                case _:
                    return rounds.values(terms, statements_from_wire(request.indicators))
        except FairleadError as error:
            raise LegFailed(query_pb2.STATUS_INVALID, error.code) from None


def gone(_request: RoundRequest) -> None:
    """A fault: nobody answers."""
    raise LegFailed(query_pb2.STATUS_UNREACHABLE, "UNREACHABLE")


def gone_in(kind: type[RoundRequest]) -> Callable[[RoundRequest], None]:
    """A fault: nobody answers in one of the rounds."""

    def fail(request: RoundRequest) -> None:
        if isinstance(request, kind):
            gone(request)

    return fail


def listing(world: World, nodes: Nodes) -> Directory:
    """The world's directory with the asker, and the nodes in place of everybody else."""
    known = world.directory
    model = known.partners["police"]
    partners = {ASKER: known.partners[ASKER]} | {
        name: replace(model, partner_id=name, signing_key=nodes.public[name]) for name in nodes.ids
    }
    listed = tuple(sorted(partners))
    return replace(known, partners=MappingProxyType(partners), listed=listed)


@dataclass
class Town:
    """So many nodes, and a gateway."""

    world: World
    folder: Path
    count: int = 8
    place: Any = None
    now: float = 0.0
    round_s: float = 2.0
    registry: Registry = REGISTRY
    witnesses: Watched = field(default_factory=Watched)
    policy: Policy = field(init=False)
    heard: list[pb.QueryFiguresResponse] = field(default_factory=list)
    """What the last question was told so far."""
    nodes: Nodes = field(init=False)
    wire: Wire = field(init=False)
    log: AuditLog = field(init=False)

    def __post_init__(self) -> None:
        self.now = self.now or self.world.now
        self.policy = Policy(self.registry)
        self.nodes = Nodes(self.count)
        self.wire = Wire(self.nodes, self.registry)
        self.directory = listing(self.world, self.nodes)
        self.open()

    def open(self) -> None:
        """Start the gateway (again)."""
        self.log = AuditLog.open(
            self.place or self.folder / "audit.sqlite",
            origin=self.world.gateway.log_origin,
            key=self.world.gateway_key("log"),
            clock=lambda: self.now,
            migrations=app.MIGRATIONS,
        )
        self.strategic = self.gateway()

    def gateway(self, ahead: float = 0.0, wire: Wire | None = None) -> Strategic:
        """One more gateway over the same log, its clock so many seconds ahead."""

        def clock() -> float:
            return self.now + ahead

        leaves = LeafWriter(log="gateway/gw-1", clock=clock)
        usual: dict[str, Any] = {
            "log": self.log,
            "leaves": leaves,
            "directory": self.directory,
            "deny_lists": self.world.opened.deny_lists,
            "clock": clock,
        }
        self.maker = Maker(
            transport=cast("Transport", wire or self.wire),
            rules=Rules(),
            round_s=self.round_s,
            **usual,
        )
        return Strategic(
            self.maker,
            gateway=self.world.gateway.spiffe_id,
            key=self.world.gateway_key,
            policy=cast("Any", self.policy),
            witnesses=cast("Any", self.witnesses),
            **usual,
        )

    def restart(self) -> None:
        """Stop the gateway and start it again over what it kept."""
        self.log.close()
        self.open()

    def question(
        self,
        level: str = LEVEL,
        period: str = UNIT,
        *,
        cube: Cube = CUBE,
        purpose: str = "strategic-analysis",
        question: bytes = b"",
    ) -> pb.SignedFiguresQuestion:
        """A question of customs' analyst, signed by user and node."""
        certificate, found = self.world.certificate(), cube.level(level)
        drafted = question or draft_question(
            federation=self.directory.federation,
            partner_id=ASKER,
            user_certificate=certificate,
            purpose=purpose,
            cube=cube,
            registry_digest=self.registry.digest,
            level=found,
            period=found.period(period),
            now=self.now,
        )
        key = signing.load_user_key(self.world.opened.layout.user(ASKER, "u-c01") / "user.key")
        return make_statement(
            drafted, sign_question(drafted, key), certificate,
            key=self.world.signing_key(ASKER), directory_serial=self.directory.serial,
            policy_serial=1, now=self.now,
        )  # fmt: skip

    async def ask(
        self,
        signed: pb.SignedFiguresQuestion | None = None,
        *,
        of: Strategic | None = None,
        peer: str = ASKER,
        **about: Any,
    ) -> list[pb.QueryFiguresResponse]:
        """Every event of one question."""
        request = pb.QueryFiguresRequest(question=signed or self.question(**about))
        asking = (of or self.strategic).query(request, self.world.peer(peer))
        heard = self.heard = []
        async with aclosing(asking) as events:
            async for event in events:
                heard += [event]
        return heard

    async def released(self, **about: Any) -> list[Published]:
        """The releases of one question."""
        return releases(await self.ask(**about))

    def leaves(self, subject: str = "") -> list[audit_pb2.AuditLeaf]:
        """The gateway's leaves, those of a subject."""
        rows = self.log.read("SELECT body FROM leaf ORDER BY idx")
        found = [audit_pb2.AuditLeaf.FromString(body) for (body,) in rows]
        return [leaf for leaf in found if leaf.subject == subject or not subject]

    def close(self) -> None:
        """Let go of the log."""
        self.log.close()


def releases(events: Sequence[pb.QueryFiguresResponse]) -> list[Published]:
    """What was released, read back."""
    found = [event.released for event in events if event.HasField("released")]
    return [Published.parse(each.release, [REGISTRY]) for each in found]


def sums_of(nodes: Nodes, terms: Terms, counts: Counts = plenty) -> Mapping[str, int]:
    """What all have together in the first word of each cell."""
    every = [counts(name, terms) for name in nodes.ids]
    return {
        cell: sum(each.values[place][0] for each in every) for place, cell in enumerate(terms.cells)
    }

"""A node as `fairlead stats` sees it, over releases that lie ready, signed with a gateway's key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import signing
from fairlead.cubes.period import Unit
from fairlead.cubes.registry import Registry
from fairlead.kpi.signature import DOMAIN as PACK
from fairlead.kpi.signature import Statement
from fairlead.published import DOMAIN, Published, PublishedCell, Shown
from fairlead.strategic.received import Request
from fairlead.v1 import asking_pb2, statistics_pb2
from tests.released import KEY, every_kind, release, small

GATEWAY = "spiffe://example/gateway/gw-1"
GATEWAY_KEY = Ed25519PrivateKey.from_private_bytes(b"\x09" * 32)
PURPOSE = "strategic-analysis"


def directory() -> Any:
    """What of a directory is looked at: one gateway and one partner."""
    partner = SimpleNamespace(signing_key=signing.public_bytes(KEY))
    gateway = SimpleNamespace(signing_key=signing.public_bytes(GATEWAY_KEY))
    return SimpleNamespace(
        federation="example", gateways={GATEWAY: gateway}, partner=lambda _: partner
    )


def signed(
    found: Published, key: Ed25519PrivateKey = GATEWAY_KEY
) -> statistics_pb2.ReleasedFigures:
    """A release as a gateway transmits it."""
    octets = found.to_bytes()
    return statistics_pb2.ReleasedFigures(
        release=octets, signature=signing.sign(key, DOMAIN, octets), gateway=GATEWAY
    )


def made(request: Request, unit: Unit) -> Published:
    """A release of every kind of cell, for a unit of a request."""
    return release(request.registry, request.cube.id, request.level.name, unit.spelling, every_kind)


def not_reported(request: Request, unit: Unit) -> Published:
    """What comes back where too few took part."""
    return release(
        request.registry, request.cube.id, request.level.name, unit.spelling,
        lambda _, codes: PublishedCell(codes=codes, shown=Shown.NOT_REPORTED),
        version=0, participants=2,
    )  # fmt: skip


def request(
    level: str = "quarter,country,kind", period: str = "2026-Q1..2026-Q2", cube: str = "reports"
) -> Request:
    """A question about the small registry."""
    found = small().cube(cube)
    return Request(
        registry=small(), cube=found, level=found.level(level),
        period=found.level(level).period(period), purpose=PURPOSE,
    )  # fmt: skip


@dataclass(slots=True)
class Node:
    """What a user's client talks to. ``asked``: the questions, in order."""

    registry: Registry = field(default_factory=small)
    purposes: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {PURPOSE: tuple(cube.id for cube in small().cubes)}
    )
    releases: Callable[[Request, Unit], Published] = made
    change: Callable[[list[Any]], list[Any]] = list
    directory: Any = field(default_factory=directory)
    partner_id: str = "customs"
    asked: list[Request] = field(default_factory=list)
    signatures: int = 0

    async def list_cubes(self, *, timeout_s: float) -> asking_pb2.ListCubesResponse:
        """The cubes, and what may be asked."""
        del timeout_s
        return asking_pb2.ListCubesResponse(
            registry=self.registry.canonical,
            federation="example",
            purposes=[
                asking_pb2.FiguresPurpose(purpose=name, cubes=cubes)
                for name, cubes in self.purposes.items()
            ],
        )

    async def ask_figures(self, wanted: Request) -> AsyncIterator[asking_pb2.AskFiguresResponse]:
        """The events of a question that is answered."""
        self.asked.append(wanted)
        kind, answer = asking_pb2.AskFiguresResponse, statistics_pb2.QueryFiguresResponse
        yield kind(accepted=answer.Accepted(units=len(wanted.units)))
        for unit in wanted.units:
            told = answer.Progress(unit=unit.spelling, round=2, answered=3, participants=12)
            yield kind(progress=told)
        for found in self.change([signed(self.releases(wanted, unit)) for unit in wanted.units]):
            yield kind(released=found)

    async def sign_pack(self, statement: Statement) -> bytes:
        """The partner's signature."""
        self.signatures += 1
        return signing.sign(KEY, PACK, statement.to_bytes())

"""Witnesses without a network: real ones over real logs, and what attackers put in their place.

A directory of as many witnesses as a test likes is made from one real partner, whose entry is
copied under other names and witness keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import cosigning, signing
from fairlead.appointed import Appointed
from fairlead.auditlog import AuditLog
from fairlead.auditlog import Place as LogPlace
from fairlead.certificates import Identity
from fairlead.leaves import LeafWriter
from fairlead.partners import Directory, Gateway, PartnerKind
from fairlead.v1 import audit_pb2, owner_pb2
from fairlead.v1 import witness_pb2 as pb
from gateway import standing
from gateway.members import LegFailed
from gateway.witnesses import Witnesses
from node import witness as witnessing
from node.heads import HeadKeeper
from node.witness import Witness
from tests.walks import NOW, OWNER, PaperLog, World

KINDS = (PartnerKind.CUSTOMS, PartnerKind.TERMINAL)


class Keys:
    """The witness keys of one node: only those it was given."""

    def __init__(self, *keys: Ed25519PrivateKey) -> None:
        self._keys = {signing.public_bytes(key): key for key in keys}

    def witness(self, public: bytes) -> Ed25519PrivateKey:
        """See :meth:`fairlead.keyring.KeyRing.witness`."""
        return self._keys[public]


def names(count: int) -> list[str]:
    """So many partner ids, in order."""
    return [f"w-{number:02}" for number in range(count)]


@dataclass(slots=True)
class Town:
    """A federation's directory of witnesses, with their keys. Every other one is public."""

    world: World
    keys: dict[str, Ed25519PrivateKey]
    tolerated: int
    rekeyed: dict[str, Ed25519PrivateKey] = field(default_factory=dict)
    moved: Gateway | None = None
    """The gateway's entry, once its log began anew."""

    @classmethod
    def of(cls, world: World, count: int, *, tolerated: int = 1) -> Town:
        return cls(world, {p: Ed25519PrivateKey.generate() for p in names(count)}, tolerated)

    @property
    def directory(self) -> Directory:
        model = self.world.directory.partner(OWNER)
        partners = {
            p: replace(
                model,
                partner_id=p,
                kind=KINDS[place % 2],
                witness_key=signing.public_bytes(self.rekeyed.get(p, self.keys[p])),
            )
            for place, p in enumerate(sorted(self.keys))
        }
        gateway = self.moved or self.world.gateway
        return replace(
            self.world.directory,
            gateways=MappingProxyType({gateway.spiffe_id: gateway}),
            listed=tuple(partners),
            partners=MappingProxyType(partners),
            appointed=Appointed(witnesses=tuple(partners), tolerated=self.tolerated),
        )

    @property
    def gateway(self) -> Identity:
        return self.world.peer("gw-1")

    def line(self, partner: str, checkpoint: str, now: float = NOW) -> str:
        """What a witness that cosigns anything says."""
        name = cosigning.witness_name(self.directory.federation, partner)
        return cosigning.cosign(checkpoint, name, self.keys[partner], now)


@dataclass(slots=True)
class Place:
    """One witness over its own log."""

    witness: Witness
    log: AuditLog
    heads: HeadKeeper

    def leaves(self, kind: int) -> list[audit_pb2.AuditLeaf]:
        rows = self.log.read("SELECT body FROM leaf ORDER BY idx")
        found = [audit_pb2.AuditLeaf.FromString(body) for (body,) in rows]
        return [leaf for leaf in found if leaf.type == kind]


@contextmanager
def opened(folder: Path, town: Town, partner: str) -> Iterator[Place]:
    """A witness's own log and what it is made of; call ``witness.open`` next."""
    folder.mkdir(parents=True, exist_ok=True)
    log = AuditLog.open(
        folder / "audit.sqlite",
        origin=f"fairlead.demo/partner/{partner}",
        key=town.keys[partner],
        clock=lambda: NOW,
        migrations=witnessing.MIGRATIONS,
    )
    heads = HeadKeeper(log, town.directory.gateway)
    witness = Witness(
        partner_id=partner,
        keys=Keys(town.keys[partner], *town.rekeyed.values()),  # type: ignore[arg-type]
        log=log,
        leaves=LeafWriter(log=f"partner/{partner}", clock=lambda: NOW),
        heads=heads,
        directory=_Now(town),  # type: ignore[arg-type]
        state=folder,
        clock=lambda: NOW,
    )
    try:
        yield Place(witness, log, heads)
    finally:
        log.close()


@dataclass(slots=True)
class _Now:
    """A history of directories whose current one is the town's."""

    town: Town

    @property
    def current(self) -> Directory:
        return self.town.directory


def shown(log: PaperLog, size: int, known: int = 0) -> pb.AddCheckpointRequest:
    """A checkpoint of a paper log, from the head of ``known``."""
    older, newer = sorted((known, size))
    return pb.AddCheckpointRequest(
        old_size=known,
        consistency=log.consistency(older, newer),
        checkpoint=log.head(size).checkpoint,
    )


Answer = Callable[[pb.AddCheckpointRequest], Awaitable[pb.AddCheckpointResponse]]


class Wires:
    """A transport whose far ends are functions: ``ends[partner]`` answers; nobody is a stranger."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.ends: dict[str, Answer] = {}
        self.asked: list[str] = []

    def attach(self, partner: str, place: Place) -> None:
        """An honest witness."""
        self.ends[partner] = lambda request: place.witness.add(request, self.town.gateway)

    async def add_checkpoint(
        self, partner_id: str, request: pb.AddCheckpointRequest, *, timeout_s: float
    ) -> pb.AddCheckpointResponse:
        self.asked.append(partner_id)
        if partner_id not in self.ends:
            raise LegFailed(0, "UNREACHABLE")
        return await self.ends[partner_id](request)

    async def answer(
        self, partner_id: str, request: owner_pb2.AnswerRequest, *, timeout_s: float
    ) -> owner_pb2.AnswerResponse:
        raise NotImplementedError

    async def feedback(
        self, partner_id: str, request: owner_pb2.OwnerServiceFeedbackRequest, *, timeout_s: float
    ) -> None:
        raise NotImplementedError

    async def deliver(
        self, partner_id: str, request: owner_pb2.DeliverRequest, *, timeout_s: float
    ) -> owner_pb2.DeliverResponse:
        raise NotImplementedError

    async def close(self) -> None:
        """Nothing is open."""


@dataclass(slots=True)
class Clock:
    """A clock that a test moves."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True)
class Desk:
    """A gateway's log and its collector."""

    log: AuditLog
    collector: Witnesses
    leaves: LeafWriter
    clock: Clock
    forked: asyncio.Event

    async def write(self, count: int = 1) -> int:
        """Leaves in the log; the index of the last one."""
        index = -1
        for serial in range(count):
            leaf = self.leaves.activation("directory", serial=serial, digest=b"")
            index = (await self.log.append(leaf)).index
        return index


@contextmanager
def desk(
    folder: Path,
    town: Town,
    wires: Wires,
    clock: Clock | None = None,
    place: LogPlace | None = None,
) -> Iterator[Desk]:
    """A gateway's log, its own or the one at a place, and what has it cosigned."""
    folder.mkdir(parents=True, exist_ok=True)
    moved, forked = clock or Clock(), asyncio.Event()
    log = AuditLog.open(
        place or folder / "audit.sqlite",
        origin=town.world.gateway.log_origin,
        key=town.world.gateway_key("log"),
        clock=moved,
        migrations=standing.MIGRATIONS,
    )
    leaves = LeafWriter(log="gateway/gw-1", clock=moved)
    try:
        collector = Witnesses(
            log=log,
            leaves=leaves,
            directory=_Now(town),  # type: ignore[arg-type]
            gateway=town.world.gateway.spiffe_id,
            transport=wires,
            known_heads={},
            clock=moved,
            on_fork=forked.set,
        )
        yield Desk(log, collector, leaves, moved, forked)
    finally:
        log.close()


async def stalled(_: pb.AddCheckpointRequest) -> pb.AddCheckpointResponse:
    """A witness that never answers."""
    await asyncio.Event().wait()
    raise AssertionError


def saying(**fields: object) -> Answer:
    """A witness that says the same to everything."""

    async def answer(_: pb.AddCheckpointRequest) -> pb.AddCheckpointResponse:
        return pb.AddCheckpointResponse(**fields)  # type: ignore[arg-type]

    return answer


def everybody(wires: Wires, places: Sequence[tuple[str, Place]]) -> None:
    """All of them honest."""
    for partner, place in places:
        wires.attach(partner, place)

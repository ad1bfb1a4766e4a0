"""One partner's node and its gateway with real logs, keys and statements, and no network between.

What each end writes is what the product writes at that place, in its order; a test leaves one leaf
out, or puts one in, and reconciles.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, cast

from fairlead import merkle, signing
from fairlead.auditlog import AuditLog
from fairlead.certificates import Identity
from fairlead.config import Limits
from fairlead.keyring import KeyRing
from fairlead.leaves import LeafWriter
from fairlead.partners import Directory, Gateway
from fairlead.reconciling import Ledger, open_reconciliation
from fairlead.reconciling.exchange import Exchange, claimed_pair
from fairlead.v1 import audit_pb2
from fairlead.v1 import reconcile_pb2 as pb
from gateway import reconciled
from gateway.reconciliation import Reconciliations
from gateway.restarting import next_origin
from node import reconciling
from node.heads import HeadKeeper
from node.parts import Parts
from node.reconciling import Calling, Reconciler, Witnessing
from tests.walks import NOW, World

PARTNER, OTHER = "customs", "police"
INTENT, RELEASE = audit_pb2.LEAF_TYPE_INTENT, audit_pb2.LEAF_TYPE_RELEASE
ALARM, RECONCILED = audit_pb2.LEAF_TYPE_ALARM, audit_pb2.LEAF_TYPE_RECONCILED
REFUSAL = audit_pb2.LEAF_TYPE_REFUSAL
_NUMBERS = count(1)


def digest(*about: object) -> bytes:
    """Some digest, another one for something else."""
    return signing.digest(repr(about).encode())


@dataclass(slots=True)
class End:
    """One end's log. ``skew_s``: how far its clock is ahead."""

    name: str
    path: Path
    log: AuditLog
    ledger: Ledger
    leaves: LeafWriter
    clock: Callable[[], float]

    async def write(self, kind: int, **fields: object) -> bytes:
        """Append a leaf; returns its hash."""
        leaf = audit_pb2.AuditLeaf(
            type=kind,  # type: ignore[arg-type]
            time_ms=int(self.clock() * 1000),
            log=self.name,
            **fields,  # type: ignore[arg-type]
        )
        return (await self.log.append(signing.canonical(leaf))).leaf_hash

    def of(self, kind: int) -> list[audit_pb2.AuditLeaf]:
        """Every leaf of a type."""
        rows = self.log.read("SELECT body FROM leaf ORDER BY idx")
        found = [audit_pb2.AuditLeaf.FromString(body) for (body,) in rows]
        return [leaf for leaf in found if leaf.type == kind]

    def reasons(self) -> list[list[str]]:
        """The codes of every alarm."""
        return [list(leaf.reasons) for leaf in self.of(ALARM)]

    def close(self) -> None:
        """Release both files."""
        self.ledger.close()
        self.log.close()


class Direct(Calling):
    """Brings what the node says to a gateway in this process; a test may bend what comes back."""

    def __init__(self, gateway: Reconciliations, peer: Identity) -> None:
        self.gateway = gateway
        self.peer = peer
        self.bend: Callable[[pb.ReconcileResponse], pb.ReconcileResponse] = lambda said: said
        self.deaf = False
        self.requests: list[pb.ReconcileRequest] = []
        self.verdicts: list[pb.Reconciliation] = []

    async def reconcile(self, request: pb.ReconcileRequest) -> pb.ReconcileResponse:
        """Its answer."""
        self.requests.append(request)
        return self.bend(await self.gateway.reconcile(request, self.peer))

    async def conclude(self, kept: pb.Reconciliation) -> pb.ConcludeResponse:
        """What it recorded; lost on its way to a gateway that is deaf."""
        self.verdicts.append(kept)
        if self.deaf:
            raise ConnectionResetError
        return pb.ConcludeResponse(incidents=await self.gateway.conclude(kept, self.peer))


@dataclass(slots=True)
class Both:
    """Both ends. Context manager."""

    world: World
    folder: Path
    partner: str = PARTNER
    skew_s: float = 0.0
    now: float = NOW
    limit: int | None = None
    witnessing: Witnessing | None = None
    directory: Directory = field(init=False)
    member: SimpleNamespace = field(init=False)
    endpoint: str = field(init=False)
    gateway: End = field(init=False)
    node: End = field(init=False)
    desk: Reconciliations = field(init=False)
    line: Direct = field(init=False)
    reconciler: Reconciler = field(init=False)
    heads: HeadKeeper = field(init=False)

    def __enter__(self) -> Self:
        self.member = SimpleNamespace()
        self.enact(self.world.directory)
        self.endpoint = self.world.gateway.endpoint
        self.open_gateway()
        self.open_node()
        return self

    def __exit__(self, *_: object) -> None:
        self.node.close()
        self.gateway.close()

    def enact(self, directory: Directory) -> None:
        """This is the directory from now on, at the node at once; a gateway is opened under it."""
        self.directory = self.member.directory = directory

    @property
    def entry(self) -> Gateway:
        """The gateway that the node's configuration names."""
        return self.directory.gateway_at(self.endpoint)

    # ── Open ─────────────────────────────────────────────────────────────────────────────────

    def _end(
        self, name: str, origin: str, key: Any, migrations: Any, clock: Callable[[], float],
        file: str,
    ) -> End:  # fmt: skip
        path = self.folder / f"{file}.sqlite"
        log = AuditLog.open(path, origin=origin, key=key, clock=clock, migrations=migrations)
        ledger = Ledger(self.folder / f"{file}-ledger.sqlite", log)
        leaves = LeafWriter(log=name, clock=clock)
        return End(name=name, path=path, log=log, ledger=ledger, leaves=leaves, clock=clock)

    def open_gateway(self, file: str = "gateway") -> None:
        """The gateway's end, over one of its histories."""
        world = self.world
        self.gateway = self._end(
            "gateway/gw-1", self.entry.log_origin, world.gateway_key("log"),
            reconciled.MIGRATIONS, lambda: self.now, file,
        )  # fmt: skip
        self.desk = Reconciliations(
            gateway=self.entry.spiffe_id,
            key=world.gateway_key,
            log=self.gateway.log,
            leaves=self.gateway.leaves,
            ledger=self.gateway.ledger,
            directory=self.directory,
            clock=lambda: self.now,
            limit=self.limit or 4_096,
        )
        if hasattr(self, "line"):
            self.line.gateway = self.desk

    def open_node(self, file: str = "node", *, name: str = "") -> None:
        """The node's end, over one of its histories.

        :param name: its SPIFFE id, in the place of the one it had.
        """
        world = self.world
        peer = world.peer(self.partner)
        peer = replace(peer, spiffe_id=name or peer.spiffe_id)
        origin = f"{world.directory.federation}/partner/{self.partner}"
        self.node = self._end(
            f"partner/{self.partner}", origin, world.signing_key(self.partner),
            reconciling.MIGRATIONS, lambda: self.now + self.skew_s, file,
        )  # fmt: skip
        self.heads = HeadKeeper(self.node.log, self.entry)
        config = SimpleNamespace(
            gateway=self.endpoint,
            partner=self.partner,
            limits=Limits(max_message_bytes=4_194_304 if self.limit is None else 65_536),
        )
        parts = Parts(
            config=cast("Any", config),
            member=cast("Any", self.member),
            keys=KeyRing(world.opened.layout.node(self.partner)),
            log=self.node.log,
            leaves=self.node.leaves,
            policy=cast("Any", None),
            heads=self.heads,
            clock=self.node.clock,
        )
        before = getattr(self, "line", None)
        self.line = Direct(self.desk, peer)
        if before is not None:
            self.line.requests, self.line.verdicts = before.requests, before.verdicts
        self.reconciler = Reconciler(
            parts, self.line, self.node.ledger, node=self.line.peer.spiffe_id,
            witnessing=lambda: self.witnessing,
        )  # fmt: skip

    async def begin_anew(self, former: str) -> None:
        """The gateway's log begins under the next origin, after one that ended with this note; its
        first leaf says so, and the node's next."""
        entry = replace(
            self.entry, log_origin=next_origin(self.entry.log_origin), former_checkpoint=former
        )
        self.gateway.close()
        self.enact(replace(self.directory, gateways={entry.spiffe_id: entry}))
        self.open_gateway("anew")
        await self.gateway.log.append(self.gateway.leaves.witness("new-origin", [former]))
        assert self.heads.head is not None
        notes = [self.heads.head.checkpoint, former]
        self.heads.follow(entry)
        await self.node.log.append(self.node.leaves.witness("new-origin", notes))

    async def reconcile(self) -> dict[str, Any]:
        """Reconcile now."""
        return await self.reconciler.reconcile()

    # ── What honest ends write, in their order ───────────────────────────────────────────────

    async def asked(self, *, skip: str = "", other: str = "") -> bytes:
        """This partner asks, and another answers.

        :param skip: what is not written, ``node-intent``, ``release`` (by the gateway) …
        :param other: ``answer``: the gateway records another one than it delivers.
        """
        query_id, header = digest(next(_NUMBERS))[:16], digest(next(_NUMBERS))
        fields = {"query_id": query_id, "partner_id": self.partner, "header_digest": header}
        if skip != "node-intent":
            await self.node.write(INTENT, **fields)
        await self.gateway.write(INTENT, **fields)
        answer = digest(next(_NUMBERS))
        if skip != "release":
            told = digest("another") if other == "answer" else answer
            await self.gateway.write(RELEASE, released=[_released(query_id, OTHER, told)])
        if skip != "node-intent":
            await self.node.write(RELEASE, released=[_released(query_id, OTHER, answer)])
        return query_id

    async def answered(self, *, skip: str = "", other: str = "", twice: bool = False) -> bytes:
        """Another partner asks, and this one answers; ``skip`` and ``other`` as above."""
        query_id = digest(next(_NUMBERS))[:16]
        fields = {"query_id": query_id, "partner_id": OTHER, "header_digest": digest(query_id)}
        intent = merkle.leaf_hash(signing.canonical(audit_pb2.AuditLeaf(**fields)))  # type: ignore[arg-type]
        if skip != "intent":
            intent = await self.gateway.write(INTENT, **fields)
        if skip != "node":
            await self.node.write(INTENT, intent_leaf_hash=intent, **fields)
        answer = digest(next(_NUMBERS))
        if twice:  # the owner paused while it composed: this one stayed
            held = _released(query_id, self.partner, digest("held"))
            await self.node.write(RELEASE, released=[held])
        if skip not in {"node", "node-release"}:
            await self.node.write(RELEASE, released=[_released(query_id, self.partner, answer)])
        if skip != "late":
            told = digest("another") if other == "answer" else answer
            await self.gateway.write(RELEASE, released=[_released(query_id, self.partner, told)])
        return query_id

    async def published(self, *, skip: str = "") -> bytes:
        """This partner publishes a manifest, and another fetches it."""
        manifest = digest(next(_NUMBERS))
        if skip != "node":
            await self.node.write(
                audit_pb2.LEAF_TYPE_OWNER, subject="blind-published", detail_digest=manifest
            )
        if skip != "accepted":
            await self._publication(self.gateway, "manifest-accepted", self.partner, manifest)
        if skip not in {"node", "receipt"}:
            await self._publication(self.node, "manifest-announced", self.partner, manifest)
            if skip != "relayed":
                await self._publication(self.gateway, "relayed", OTHER, manifest)
            await self._publication(self.node, "delivered", OTHER, manifest)
        return manifest

    async def taken_over(self, *, skip: str = "") -> None:
        """This partner reads another's manifest."""
        manifest = digest(next(_NUMBERS))
        if skip != "accepted":
            await self._publication(self.gateway, "manifest-accepted", OTHER, manifest)
        await self._publication(self.node, "taken-over", OTHER, manifest)

    @staticmethod
    async def _publication(end: End, subject: str, partner: str, manifest: bytes) -> None:
        await end.write(
            audit_pb2.LEAF_TYPE_PUBLICATION, subject=subject, partner_id=partner,
            manifest_digest=manifest,
        )  # fmt: skip

    async def hour(self) -> None:
        """One honest hour."""
        for work in (self.asked, self.answered, self.published, self.taken_over):
            await cast("Callable[[], Awaitable[object]]", work)()

    # ── Read ─────────────────────────────────────────────────────────────────────────────────

    def kept(self, end: End, kind: int = ALARM) -> list[Exchange]:
        """What is kept beside an end's leaves of a type, verified by a stranger with two keys."""
        found = []
        for body, detail in end.log.read("SELECT body, detail FROM leaf ORDER BY idx"):
            leaf = audit_pb2.AuditLeaf.FromString(body)
            if leaf.type == kind and detail:
                assert signing.digest(detail) == leaf.detail_digest
                found.append(self.opened(pb.Reconciliation.FromString(detail)))
        return found

    def opened(self, kept: pb.Reconciliation) -> Exchange:
        """A reconciliation, verified."""
        return open_reconciliation(
            kept,
            node_key=self.world.directory.partner(self.partner).signing_key,
            gateways={self.entry.spiffe_id: self.entry.signing_key},
            pair=claimed_pair(kept.statement),
        )


def _released(query_id: bytes, partner: str, answer: bytes) -> audit_pb2.ReleasedAnswer:
    return audit_pb2.ReleasedAnswer(
        query_id=query_id,
        partner_id=partner,
        status=1,  # type: ignore[arg-type]
        answer_digest=answer,
    )

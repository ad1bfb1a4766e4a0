"""A stage for the delivery of publications without a network: the gateway's own code and log, an
owner that signs and seals with its own keys, a reader's own store; a test changes what passes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fairlead import process
from fairlead.audience import Audience
from fairlead.auditlog import AuditLog, Place
from fairlead.blinding import derive_key
from fairlead.delta import write_delta
from fairlead.entries import ENTRY_SIZE
from fairlead.envelope.manifest import Manifest, sign_manifest
from fairlead.envelope.piece import PIECE_SIZE, seal_piece
from fairlead.errors import FairleadError, Unreachable
from fairlead.identifiers import NORM_VERSION
from fairlead.keyring import KeyRing
from fairlead.leaves import LeafWriter
from fairlead.snapshot import padded_count, write_snapshot
from fairlead.v1 import audit_pb2, blind_pb2, gateway_pb2, owner_pb2, query_pb2
from gateway import manifests
from gateway.members import LegFailed
from gateway.publications import Publications
from node import snapshots
from node.heads import HeadKeeper
from node.snapshots import Snapshots
from tests.walks import ASKER, NOW, OWNER, World

DAY_S = 86_400
PURPOSE = "drug-trafficking"
Tamper = Callable[[Any], Any]


def unchanged(found: Any) -> Any:
    """What an honest gateway makes of what passes."""
    return found


def entry(number: int, version: int = 0) -> bytes:
    """One entry of a snapshot, in the order of its number; nothing in it opens."""
    return number.to_bytes(16, "big") + hashlib.shake_256(bytes([version])).digest(ENTRY_SIZE - 16)


def rows(count: int, *, version: int = 0, first: int = 1) -> list[bytes]:
    """So many entries, and as many more as lead to a rung."""
    return [entry(n, version) for n in range(first, first + padded_count(count))]


def some(version: int) -> list[bytes]:
    """The smallest snapshot, of which the first five entries have this version."""
    return [*rows(10, version=version)[:5], *rows(10)[5:]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What the owner published: its manifest as signed, and its files."""

    signed: blind_pb2.SignedBlindManifest
    manifest: Manifest
    snapshot: Path
    delta: Path | None


@dataclass(slots=True)
class Stage:
    """Everything but the network. ``now`` may be moved; every ``tamper_*`` is the attacker's."""

    world: World
    folder: Path
    now: float = NOW
    place: Place | None = None
    """Where the gateway's log lies, if not in the folder."""
    log: AuditLog = field(init=False)
    publications: Publications = field(init=False)
    made: dict[bytes, Made] = field(default_factory=dict)
    newest: Made | None = None
    delivered: list[blind_pb2.Piece] = field(default_factory=list)
    tamper_list: Tamper = unchanged
    tamper_piece: Tamper = unchanged
    decoys: bytes = b"sealed" * 3_000
    """What is sealed to the reader's oversight with every manifest."""
    owner_down: bool = False
    gateway_down: bool = False
    _stores: list[AuditLog] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = AuditLog.open(
            self.place or self.folder / "gateway.sqlite",
            origin=self.world.gateway.log_origin,
            key=self.world.gateway_key("log"),
            clock=lambda: self.now,
            migrations=manifests.MIGRATIONS,
        )
        self.publications = Publications(
            log=self.log,
            leaves=LeafWriter(log="gateway/gw-1", clock=lambda: self.now),
            directory=self.world.directory,
            deny_lists=self.world.opened.deny_lists,
            transport=self,  # type: ignore[arg-type]
            clock=lambda: self.now,
            policy_serial=lambda: 1,
            deadline_s=5.0,
        )

    def close(self) -> None:
        for log in (self.log, *self._stores):
            log.close()

    # ── The owner ────────────────────────────────────────────────────────────────────────────

    def manifest(self, **changes: object) -> Manifest:
        """An honest first manifest of the owner's line, of which anything may be changed."""
        federation = self.world.directory.federation
        node = self.world.directory.partner(OWNER).nodes[0].spiffe_id
        honest = Manifest(
            federation=federation,
            owner=OWNER,
            node=node.removeprefix(f"spiffe://{federation}/"),
            audience=Audience(partners=(ASKER, "police"), purposes=(PURPOSE,), policy_serial=1),
            epoch=2967,
            begins_at=int(NOW) - DAY_S,
            ends_at=int(NOW) + 6 * DAY_S,
            answers_until=int(NOW) + 7 * DAY_S,
            scheme="container",
            norm_version=NORM_VERSION,
            serial=1,
            predecessor=b"",
            public_key=derive_key(bytes(32), b"manifest").public,
            entry_count=1_024,
            snapshot_digest=bytes(32),
            contact_desks=("desk@terminal-north.example",),
            made_at=int(self.now),
        )
        return replace(honest, **changes)  # type: ignore[arg-type]

    def make(self, entries: Sequence[bytes], **changes: object) -> Made:
        """Write and sign the next publication; nobody hears of it yet."""
        place = self.folder / f"{len(self.made)}.made"
        digest = write_snapshot(place, entries)
        before = self.newest
        line = {} if before is None else {
            "serial": before.manifest.serial + 1, "predecessor": before.manifest.digest,
        }  # fmt: skip
        settings = {"entry_count": len(entries), "snapshot_digest": digest, **line, **changes}
        content = self.manifest(**settings)
        signed, name = sign_manifest(content, self.world.signing_key(OWNER))
        delta = None
        if before is not None and before.manifest.public_key == content.public_key:
            delta = place.with_suffix(".delta")
            write_delta(delta, before.snapshot, place)
        made = Made(
            signed=signed, manifest=replace(content, digest=name), snapshot=place, delta=delta
        )
        self.made[name] = self.newest = made
        return made

    async def publish(self, entries: Sequence[bytes], **changes: object) -> Made:
        """Make the next publication and have the gateway take it."""
        made = self.make(entries, **changes)
        response = await self.offer(made.signed)
        assert response.HasField("receipt")
        return made

    async def offer(
        self, signed: blind_pb2.SignedBlindManifest, *, by: str = OWNER, head_size: int = 0
    ) -> gateway_pb2.PublishManifestResponse:
        """Bring a manifest to the gateway as a partner's node."""
        request = gateway_pb2.PublishManifestRequest(manifest=signed, head_size=head_size)
        return await self.publications.publish(request, self.world.peer(by))

    async def deliver(
        self, partner_id: str, request: owner_pb2.DeliverRequest, *, timeout_s: float
    ) -> owner_pb2.DeliverResponse:
        """The owner's node, as the gateway's transport reaches it."""
        assert partner_id == OWNER
        assert timeout_s > 0
        if self.owner_down:
            raise LegFailed(query_pb2.STATUS_UNREACHABLE, "UNREACHABLE")
        made, piece = self.made[request.piece.manifest], request.piece
        delta = piece.kind == blind_pb2.PIECE_KIND_DELTA
        path = made.delta if delta else made.snapshot
        whole = path.read_bytes() if path is not None else b""
        if piece.kind == blind_pb2.PIECE_KIND_DECOYS:
            whole = self.decoys
        self.delivered.append(piece)
        return owner_pb2.DeliverResponse(piece=self.sealed(whole, piece, request.reader))

    def sealed(
        self, whole: bytes, piece: blind_pb2.Piece, reader: str = ASKER
    ) -> blind_pb2.SealedPiece:
        """A piece of some octets, sealed as an owner seals it."""
        content = whole[piece.offset : piece.offset + PIECE_SIZE]
        public = self.world.directory.partner(reader).sealing_key
        return seal_piece(content, piece, reader=reader, size=len(whole), public=public)

    # ── The reader ───────────────────────────────────────────────────────────────────────────

    async def listed(
        self, request: gateway_pb2.ListManifestsRequest
    ) -> gateway_pb2.ListManifestsResponse:
        """The gateway, as the reader's store asks it."""
        if self.gateway_down:
            raise Unreachable("the gateway does not answer", reasons=("GATEWAY_UNREACHABLE",))
        found = await self.publications.listed(request, self.world.peer(ASKER))
        return self.tamper_list(found)  # type: ignore[no-any-return]

    async def fetch(
        self, request: gateway_pb2.FetchPublicationRequest
    ) -> gateway_pb2.FetchPublicationResponse:
        """See :meth:`listed`."""
        found = await self.publications.fetch(request, self.world.peer(ASKER))
        return self.tamper_piece(found)  # type: ignore[no-any-return]

    def reader(self, name: str = "reader", **changes: Any) -> Snapshots:
        """A reader's store; one of the same name is the same node, started again."""
        state = self.folder / name
        state.mkdir(exist_ok=True)
        log = AuditLog.open(
            state / "audit.sqlite",
            origin=f"fairlead.demo/partner/{ASKER}",
            key=self.world.signing_key(ASKER),
            clock=lambda: self.now,
            migrations=(*process.MIGRATIONS, *snapshots.MIGRATIONS),
        )
        self._stores.append(log)
        settings: dict[str, Any] = {
            "partner_id": ASKER,
            "state": state,
            "directory": self.world.directory,
            "keys": KeyRing(self.world.opened.layout.node(ASKER)),
            "log": log,
            "leaves": LeafWriter(log=f"partner/{ASKER}", clock=lambda: self.now),
            "heads": HeadKeeper(log, self.world.gateway),
            "exchange": self,
            "policy_serial": lambda: 1,
            "clock": lambda: self.now,
            "jitter": lambda: 0.5,
        }
        return Snapshots(**{**settings, **changes})

    def stop(self, store: Snapshots) -> None:
        """End a reader's process."""
        store._log.close()
        self._stores.remove(store._log)


async def caught_up(store: Snapshots) -> Snapshots:
    """Poll and fetch once."""
    await store.look()
    await store.take()
    return store


def held_rows(store: Snapshots, *numbers: int, version: int = 0) -> list[bool]:
    """Which of these entries are found in what the store would look up now."""
    found = store.usable(OWNER, purpose=PURPOSE, scheme="container").snapshot
    return [found.find(number.to_bytes(16, "big")) == entry(number, version) for number in numbers]


def code(act: Callable[[], object]) -> str:
    """The code of the error that an act raises; empty when it raises none."""
    try:
        act()
    except FairleadError as error:
        return error.code
    return ""


def usable_code(store: Snapshots, **changes: str) -> str:
    """Why nothing would be looked up; empty when something would."""
    wanted = {"owner": OWNER, "purpose": PURPOSE, "scheme": "container", **changes}
    owner = wanted.pop("owner")
    return code(lambda: store.usable(owner, **wanted))


def told(log: AuditLog, kind: int) -> list[str]:
    """Subject and first reason of every leaf of one type."""
    found = [
        audit_pb2.AuditLeaf.FromString(body)
        for (body,) in log.read("SELECT body FROM leaf ORDER BY idx")
    ]
    return [" ".join([leaf.subject, *leaf.reasons[:1]]) for leaf in found if leaf.type == kind]


def publications(log: AuditLog) -> list[str]:
    """The subjects of the PUBLICATION leaves."""
    return told(log, audit_pb2.LEAF_TYPE_PUBLICATION)


def refusals(log: AuditLog) -> list[str]:
    """Subjects and reasons of the REFUSAL leaves."""
    return told(log, audit_pb2.LEAF_TYPE_REFUSAL)


def alarms(log: AuditLog) -> list[str]:
    """Subjects and reasons of the ALARM leaves."""
    return told(log, audit_pb2.LEAF_TYPE_ALARM)

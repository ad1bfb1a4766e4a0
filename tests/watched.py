"""What the tests of watches share: a user's watches over one owner's snapshots, under a clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from certs.dev.lists import deny
from fairlead import signing
from fairlead.auditlog import AuditLog
from fairlead.envelope.query import ANY, Scope
from fairlead.leaves import LeafWriter
from fairlead.partners import Directory
from fairlead.v1 import asking_pb2 as pb
from fairlead.v1 import audit_pb2, query_pb2
from node import cases
from node.batch import Batch
from node.blinded import AskedBlind, BlindChunk, BlindPlan, Found, find
from node.cases import CaseRegister
from node.opening import VAULT_MIGRATIONS
from node.termlist import TermList
from node.vault import Cipher, Vault
from node.watches import Watches, WatchShelf
from node.watches.watch import Watched
from tests.libraries import PURPOSE, OneOwner, evaluated, library
from tests.test_node_cases import WORDS
from tests.walks import NOW, OWNER, World

CASE = "CASE-1"
DAY_S = 86_400
TERM = ("container", "MSCU6639870")
OTHER = ("container", "CSQU3054383")


def listed(terms: Sequence[tuple[str, str]]) -> TermList:
    """Terms of one page, in memory."""
    return TermList(
        vault=cast("Vault", None), list_id=bytes(16), row_count=0,
        schemes=Counter(scheme for scheme, _ in terms), tails={0: (0, list(terms))},
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Listed:
    """A list of partners that does not change."""

    current: Directory


@dataclass(slots=True)
class Shelf:
    """An owner's snapshots at the reader, of which the newest one counts."""

    folder: Path
    held: OneOwner = field(default_factory=lambda: OneOwner({}))
    serial: int = 0

    def publish(self, said: dict[tuple[str, str], Any], *, epoch: int = 3, **changes: Any) -> None:
        """Hold another snapshot instead; attributes of its manifest may be changed."""
        self.serial += 1
        place = self.folder / str(self.serial)
        place.mkdir()
        made = library(place, said, schemes=("container",), epoch=epoch, serial=self.serial)
        made.held = {
            scheme: replace(item, manifest=replace(item.manifest, **changes))
            for scheme, item in made.held.items()
        }
        self.held = made

    def usable(self, owner: str, *, purpose: str, scheme: str) -> Any:
        """See :class:`node.blinded.Library`."""
        return self.held.usable(owner, purpose=purpose, scheme=scheme)

    def of_class(self, owner: str, *, audience: bytes, epoch: int, scheme: str) -> Any:
        """See :class:`node.blinded.Library`."""
        return self.held.of_class(owner, audience=audience, epoch=epoch, scheme=scheme)


class Bench:
    """Watches of customs' analyst with everything behind them, and no network."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.now = NOW
        self.folder = folder
        self.user = world.user("customs", "u-c01")
        self.approver = world.user("customs", "u-c02")
        self.log = AuditLog.open(
            folder / "audit.sqlite",
            origin="fairlead.demo/partner/customs",
            key=world.signing_key("customs"),
            clock=lambda: self.now,
            migrations=cases.MIGRATIONS,
        )
        leaves = LeafWriter(log="partner/customs", clock=lambda: self.now)
        self.cases = CaseRegister(self.log, leaves, words=lambda: WORDS, clock=lambda: self.now)
        self.vault_file = folder / "history.sqlite"
        self.vault = Vault.open(self.vault_file, key=bytes(32), migrations=VAULT_MIGRATIONS)
        self.shelf = WatchShelf(self.vault, Cipher(b"w" * 32))
        (folder / "snapshots").mkdir()
        self.library = Shelf(folder / "snapshots")
        self.told: list[tuple[AskedBlind, list[tuple[str, bytes, bytes]]]] = []
        self.watches = self.opened()
        self._count = 0

    def opened(self, *, policy_serial: int = 1, directory: Directory | None = None) -> Watches:
        """The node's watches, as after a start."""

        async def on_hits(asked: AskedBlind, refs: Sequence[tuple[str, bytes, bytes]]) -> None:
            self.told.append((asked, list(refs)))

        return Watches(
            shelf=self.shelf,
            log=self.log,
            leaves=LeafWriter(log="partner/customs", clock=lambda: self.now),
            cases=self.cases,
            directory=Listed(directory or self.world.directory),  # type: ignore[arg-type]
            deny_lists=self.world.opened.deny_lists,
            library=self.library,
            policy_serial=lambda: policy_serial,
            clock=lambda: self.now,
            on_hits=on_hits,
        )

    def close(self) -> None:
        """Release the files."""
        self.log.close()
        self.vault.close()

    # ── What users do ────────────────────────────────────────────────────────────────────────

    async def open_case(self, case_id: str = CASE, **changes: Any) -> None:
        """An approver opens a case for the analyst."""
        fields: dict[str, Any] = {
            "case_id": case_id, "purpose": PURPOSE, "legal_basis": "eu-ucc-art-46",
            "schemes": ["container"], "members": ["u-c01"], "expires_at": int(NOW) + 30 * DAY_S,
        }  # fmt: skip
        await self.cases.open(pb.Case(**{**fields, **changes}), self.approver)

    def batch(
        self,
        *terms: tuple[str, str],
        until: float | None = None,
        renews: bytes = b"",
        user: str = "u-c01",
        scope: Scope = ANY,
        **changes: Any,
    ) -> Batch:
        """A signed query that is to stand; any attribute may be changed."""
        self._count += 1
        asked = terms or (TERM,)
        mandate = query_pb2.Mandate(
            purpose=PURPOSE, mode=query_pb2.MODE_BLIND, case_commitment=bytes(32),
            mandate_id=self._count.to_bytes(16, "big"),
        ).SerializeToString()  # fmt: skip
        order = signing.canonical(
            pb.WatchOrder(
                mandate_digest=signing.digest(mandate),
                until=int(self.now + 7 * DAY_S if until is None else until),
                renews=renews,
            )
        )
        key = signing.load_user_key(self.world.opened.layout.user("customs", user) / "user.key")
        settings: dict[str, Any] = {
            "batch_id": self._count.to_bytes(16, "big"),
            "user": self.world.user("customs", user).spiffe_id,
            "user_name": user,
            "case_id": CASE,
            "mandate": mandate,
            "signature": b"",
            "certificate": self.world.certificate("customs", user),
            "session": None,
            "terms": listed(asked),
            "nonce_seed": bytes(32),
            "roots": (),
            "salts": {OWNER: bytes(32)},
            "scope": scope,
            "not_asked": {},
            "asked_at": int(self.now),
            "case_retention_days": 90,
            "watch": order,
            "watch_signature": signing.sign_as_user(key, "watch", order),
        }
        return Batch(**{**settings, **changes})

    async def watched(self, *terms: tuple[str, str], days: int | None = None, **how: Any) -> bytes:
        """Order a watch, ask, and have it answered; its id."""
        batch = self.batch(*terms, **how)
        self.watches.check(batch)
        await self.watches.begin(batch)
        await self.watches.keep(batch, self.found(batch), days)
        return pb.WatchOrder.FromString(batch.watch).renews or batch.batch_id

    def found(self, batch: Batch) -> Found:
        """What the owner's evaluations find now."""
        terms = list(batch.terms)
        plan = BlindPlan.make(self.library, [OWNER], purpose=PURPOSE, terms=terms)
        pairs = BlindChunk(plan, 0, terms).for_owner(OWNER)
        said = evaluated([item for item, _ in pairs], serial=self.library.serial)
        return find(self.library, OWNER, terms, pairs, said, batch.scope, self.now)

    def deny(self, user: str, serial: int) -> None:
        """Customs' user authority suspends somebody, or with an empty name nobody any more."""
        opened = self.world.opened
        denied = [self.world.user("customs", user).spiffe_id] if user else []
        data = deny(opened.layout, denied, serial=serial, now=NOW, lifetime=timedelta(days=365))
        opened.deny_lists.update(
            data, directory=opened.directory, operators=opened.operators, now=self.now
        )

    # ── What is there ────────────────────────────────────────────────────────────────────────

    async def news(self, watch_id: bytes) -> list[tuple[str, str]]:
        """Kind and term, or reason, of everything noticed."""
        shown = await self.watches.show(watch_id, self.user)
        kinds = pb.WatchNewsKind
        return [
            (
                kinds.Name(item.kind).removeprefix("WATCH_NEWS_KIND_").lower(),
                item.term.value or item.reason,
            )
            for item in shown.news
        ]

    def state(self, watch_id: bytes) -> str:
        """How a watch stands; empty when it is gone."""
        for watch in self.watches.listed(self.user):
            if watch.watch_id == watch_id:
                return pb.WatchState.Name(watch.state).removeprefix("WATCH_STATE_").lower()
        return ""

    def places(self, watch_id: bytes) -> list[Watched]:
        """Its places."""
        return self.shelf.places(watch_id)

    def outputs(self) -> list[bytes]:
        """What is kept of evaluations, encrypted."""
        rows = self.vault.read("SELECT outputs FROM watch_place WHERE outputs IS NOT NULL")
        return [bytes(row[0]) for row in rows]

    def subjects(self) -> list[str]:
        """Of the log's leaves of kept answers, in order."""
        rows = self.log.read("SELECT body FROM leaf ORDER BY idx")
        leaves = [audit_pb2.AuditLeaf.FromString(body) for (body,) in rows]
        return [x.subject for x in leaves if x.type == audit_pb2.LEAF_TYPE_HISTORY]

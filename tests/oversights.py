"""What the tests of oversight share: an outbox of a partner at rest, and who opens it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fairlead import signing
from fairlead.auditlog import AuditLog
from fairlead.config import load
from fairlead.leaves import LeafWriter
from fairlead.notice import Asked
from fairlead.oversight import founding
from fairlead.oversight.app import open_register, open_taking
from fairlead.oversight.config import OversightConfig
from fairlead.oversight.register import Register
from fairlead.oversight.taking import Taking
from fairlead.partners import Partner
from fairlead.sealing import SealingKey
from node.decoys import MIGRATIONS
from node.oversight import FOLDER, OUTBOX, Outbox
from tests.walks import NOW, World

READER, OWNER = "customs", "terminal-north"
QUERY = bytes(range(16))
MANIFEST = b"m" * 32


def asked(number: int = 0, **changes: object) -> Asked:
    """Who asked the ``number``-th query."""
    settings: dict[str, object] = {
        "query_id": number.to_bytes(16, "big"), "partner": READER, "user": "u-c01",
        "purpose": "drug-trafficking", "case_commitment": bytes(32), "at": int(NOW),
    }  # fmt: skip
    return Asked(**{**settings, **changes})  # type: ignore[arg-type]


def seed_of(layout: Any, partner: str) -> SealingKey:
    """The oversight key of a development partner."""
    return SealingKey.load(layout.partner(partner) / "oversight" / "oversight.seed")


def oversight_of(
    layout: Any, folder: Path, partner: str, state: Path, federation: str = "fairlead.demo"
) -> Path:
    """An oversight's folder for a development partner; its configuration file."""
    seed = layout.partner(partner) / "oversight" / "oversight.seed"
    founding.found(folder, partner=partner, federation=federation, node_folder=None, seed=seed)
    settings = {
        "outbox": state / FOLDER / OUTBOX, "directory": layout.directory, "trust": layout.pins,
    }  # fmt: skip
    path = folder / "oversight.toml"
    lines = [line for line in path.read_text().splitlines() if line.split()[0] not in settings]
    lines += [f"{name} = {json.dumps(str(value))}" for name, value in settings.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


@dataclass(slots=True)
class Clock:
    """A clock that a test moves."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass(slots=True, kw_only=True)
class Watched:
    """A partner's outbox, and its oversight."""

    outbox: Outbox
    folder: Path
    config: OversightConfig
    register: Register
    log: AuditLog
    layout: Any
    partner: Partner
    clock: Clock = field(default_factory=Clock)
    taking: Taking = field(init=False)

    def __post_init__(self) -> None:
        self.taking = open_taking(self.config, self.register, self.clock)

    @property
    def files(self) -> list[Path]:
        """What waits in the outbox."""
        return sorted((self.folder / OUTBOX).glob("*.notice"))

    def look(self, times: int = 2) -> int:
        """Look often enough that a gap is believed."""
        return sum(self.taking.look() for _ in range(times))

    def reasons(self) -> list[str]:
        """Why alerts were raised, the oldest first."""
        return [alert["reason"] for alert in reversed(self.register.alerts())]

    def restarted(self) -> Outbox:
        """The outbox of a node that was started again."""
        self.outbox = outbox(self.folder, self.layout, self.partner, self.log, self.clock)
        return self.outbox


def outbox(
    folder: Path, layout: Any, partner: Partner, log: AuditLog, clock: Callable[[], float]
) -> Outbox:
    """An outbox with the partner's development keys."""
    key = signing.load_signing_key(layout.node(partner.partner_id) / "signing.key")
    return Outbox(
        folder, partner=lambda: partner, key=lambda _: key, log=log,
        leaves=LeafWriter(log=f"partner/{partner.partner_id}", clock=clock), clock=clock,
        random=os.urandom,
    )  # fmt: skip


@asynccontextmanager
async def watched(world: World, folder: Path, partner: str = READER) -> AsyncIterator[Watched]:
    """One partner of a world with an outbox and an oversight."""
    layout = world.opened.layout
    state = folder / "state"
    state.mkdir()
    path = oversight_of(layout, folder / "oversight", partner, state)
    config = load(OversightConfig, path)
    register = open_register(config)
    log = AuditLog.open(
        state / "audit.sqlite", origin=f"fairlead.demo/partner/{partner}",
        key=signing.load_signing_key(layout.node(partner) / "signing.key"),
        clock=time.time, migrations=MIGRATIONS,
    )  # fmt: skip
    clock = Clock()
    listed = world.directory.partner(partner)
    try:
        yield Watched(
            outbox=outbox(state / FOLDER, layout, listed, log, clock),
            folder=state / FOLDER, config=config, register=register, log=log, layout=layout,
            partner=listed, clock=clock,
        )  # fmt: skip
    finally:
        log.close()
        register.close()

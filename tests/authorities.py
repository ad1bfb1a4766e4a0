"""A serving user authority beside a founded federation, and people who log in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256

from fairlead.auditlog import verify_log
from fairlead.certificates import Role
from fairlead.config import load
from fairlead.login import LoggedIn, log_in
from fairlead.signing import load_signing_key, public_bytes
from fairlead.user_authority import service
from fairlead.user_authority.app import ServerCertificate, open_people
from fairlead.user_authority.config import AuthorityConfig
from fairlead.user_authority.founding import found
from fairlead.user_authority.journal import LOG_FILE, open_journal, origin
from fairlead.user_authority.people import People
from fairlead.user_authority.register import Person
from fairlead.v1 import audit_pb2
from tests.founders import FEDERATION, enrol, founded, node


@dataclass(slots=True)
class Moving:
    """A clock that a test can push."""

    offset: float = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset


@dataclass(kw_only=True)
class Serving:
    """One partner's authority; ``port`` is 0 while it does not serve."""

    folder: Path
    people: People
    clock: Moving = field(default_factory=Moving)
    port: int = 0

    @property
    def fingerprint(self) -> bytes:
        """What people are told with their code."""
        return self.people.issuer.certificate.fingerprint(SHA256())

    @property
    def address(self) -> str:
        """Where people log in."""
        return f"127.0.0.1:{self.port}"

    def add(self, pseudonym: str, *roles: Role, **more: object) -> str:
        """Enter somebody; their code."""
        person = Person(pseudonym=pseudonym, roles=roles or (Role.ANALYST,), **more)  # type: ignore[arg-type]
        return self.people.add(person)

    async def log_in(self, code: str, name: str = "person", **changes: object) -> LoggedIn:
        """Log in as a person with a folder of their own."""
        settings: dict[str, object] = {
            "profile": self.folder / "people" / name / "profile.toml",
            "address": self.address,
            "fingerprint": self.fingerprint,
            "code": code,
            "node": None,
            "now": self.clock(),
        }
        call: Callable[[], LoggedIn] = lambda: log_in(**{**settings, **changes})  # type: ignore[arg-type]  # noqa: E731
        return await asyncio.to_thread(call)

    def leaves(self) -> list[audit_pb2.AuditLeaf]:
        """Everything in the authority's log, verified first."""
        from fairlead import storage

        config = self.people.config
        path = config.state_dir / LOG_FILE
        key = public_bytes(load_signing_key(config.keys_dir / "log.key"))
        verify_log(path, origin=origin(config), public_key=key)
        database = storage.open_readonly(path)
        rows = database.execute("SELECT body FROM leaf ORDER BY idx").fetchall()
        database.close()
        return [audit_pb2.AuditLeaf.FromString(body) for (body,) in rows]

    def subjects(self) -> list[str]:
        """What the log says was done, in order."""
        return [leaf.subject for leaf in self.leaves()]


@asynccontextmanager
async def authority(folder: Path, *, ready: bool = True) -> AsyncIterator[Serving]:
    """The authority of customs, serving; ``ready``: customs is enrolled in a federation."""
    moving = Moving()
    place = folder / "authority"
    issuer = found(
        place, partner="customs", federation=FEDERATION, listen="127.0.0.1:0",
        node_folder=folder / "node", now=time.time(),
    )  # fmt: skip
    if ready:
        gateway = founded(folder / "gateway")
        home = node(folder / "node", gateway.invitation, issuer=issuer)
        enrol(home, gateway.admission(home))
    config = load(AuthorityConfig, place / "authority.toml")
    people = open_people(config, moving)
    journal = open_journal(config, people.register, clock=moving)
    server, port = service.bind(
        people, journal, ServerCertificate(replace(people, clock=time.time))
    )  # TLS looks at the real clock
    await server.start()
    try:
        yield Serving(folder=folder, people=people, clock=moving, port=port)
    finally:
        await server.stop(0)
        await journal.drain()
        await journal.close()
        people.register.close()

"""Logs with leaves of every class, and what erases them: two operators, a clock of long ago."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import signing
from fairlead.auditlog import AuditLog
from fairlead.leaves import LeafWriter
from fairlead.retention import (
    Eraser,
    LeafClass,
    Retention,
    approve_as_operator,
    by_operators,
    holds,
    propose,
)
from fairlead.retention.copies import destroy_over
from fairlead.v1 import audit_pb2 as pb
from fairlead.v1 import query_pb2

NOW = 1_760_000_000.0
DAY = 86_400
OPERATORS = [Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2, 3)]
KEYS = [signing.public_bytes(key) for key in OPERATORS]
RETENTION = Retention(
    days={LeafClass.NATIONAL: 1_000, LeafClass.EU_AGENCY: 400, LeafClass.PRIVATE: 100},
    partners={
        "police": LeafClass.NATIONAL,
        "europol": LeafClass.EU_AGENCY,
        "terminal": LeafClass.PRIVATE,
    },
    own=LeafClass.NATIONAL,
)
USER = "spiffe://fairlead.demo/partner/{}/user/{}"
FIRST = signing.canonical(
    pb.AuditLeaf(type=pb.LEAF_TYPE_ACTIVATION, log="gateway/main", time_ms=1, subject="directory")
)


def query(number: int) -> bytes:
    return number.to_bytes(16)


def aged(days: float) -> int:
    """Unix milliseconds of so many days ago."""
    return int((NOW - days * DAY) * 1000)


def asked(number: int, partner: str, days: float, *, user: str = "u-a") -> tuple[bytes, bytes]:
    """The INTENT of a partner's query of so many days ago, with a sealed detail."""
    detail = b"sealed " + query(number)
    leaf = pb.AuditLeaf(
        type=pb.LEAF_TYPE_INTENT,
        query_id=query(number),
        time_ms=aged(days),
        log="gateway/main",
        partner_id=partner,
        user=USER.format(partner, user),
        purpose="drug-trafficking",
        detail_digest=signing.digest(detail),
    )
    return signing.canonical(leaf), detail


def let_out(numbers: Sequence[int], days: float) -> tuple[bytes, bytes]:
    """The RELEASE of an answer to each of several queries."""
    released = [
        pb.ReleasedAnswer(query_id=query(n), partner_id="police", status=query_pb2.STATUS_ANSWERED)
        for n in numbers
    ]
    leaf = pb.AuditLeaf(
        type=pb.LEAF_TYPE_RELEASE, time_ms=aged(days), log="gateway/main", released=released
    )
    return signing.canonical(leaf), b""


def closed(number: int, partner: str, days: float) -> tuple[bytes, bytes]:
    """The OUTCOME of a query."""
    leaf = pb.AuditLeaf(
        type=pb.LEAF_TYPE_OUTCOME,
        query_id=query(number),
        time_ms=aged(days),
        log="gateway/main",
        partner_id=partner,
    )
    return signing.canonical(leaf), b""


def whole(number: int, partner: str, days: float) -> list[tuple[bytes, bytes]]:
    """INTENT, RELEASE and OUTCOME of a query."""
    return [
        asked(number, partner, days), let_out([number], days), closed(number, partner, days),
    ]  # fmt: skip


@dataclass(slots=True)
class Desk:
    """A log, and everybody who has a hand in erasing leaves of it."""

    log: AuditLog
    now: float = NOW
    keys: Path = field(default_factory=lambda: Path("no-such-file"))
    retention: Retention = RETENTION

    async def fill(self, leaves: Iterable[tuple[bytes, bytes]]) -> None:
        """Append leaves with their details, behind the first of all."""
        appends = [self.log.append(leaf, detail=detail) for leaf, detail in [(FIRST, b""), *leaves]]
        await asyncio.gather(*appends)

    @property
    def eraser(self) -> Eraser:
        return Eraser(
            log=self.log,
            leaves=LeafWriter(log="gateway/main", clock=lambda: self.now),
            retention=lambda: self.retention,
            approved=by_operators("fairlead.demo", KEYS),
            clock=lambda: self.now,
            after=lambda kept: destroy_over(self.keys, self.log.read, self.log.head.size, kept),
        )

    def propose(self, leaf_class: str, days: float, **changes: Any) -> bytes:
        settings: dict[str, Any] = {
            "origin": self.log.origin,
            "retention": self.retention,
            "holds": holds(self.log.read, self.log.head.size),
            "leaf_class": LeafClass(leaf_class),
            "until_ms": aged(days),
            "now": self.now,
        }
        return propose(self.log.read, self.log.head.size, **(settings | changes))

    async def erase(self, leaf_class: str, days: float) -> int:
        """Propose, approve twice, carry out."""
        count = await self.eraser.erase(approved(self.propose(leaf_class, days)))
        while not await self.eraser.scrub():
            await asyncio.sleep(0.05)
        return count

    def bodies(self) -> dict[int, bytes]:
        rows = self.log.read("SELECT idx, body FROM leaf ORDER BY idx")
        return {index: bytes(body) for index, body in rows}

    def gone(self) -> set[int]:
        return {index for index, body in self.bodies().items() if not body}


def approved(order: bytes, *by: int) -> bytes:
    """The order with the signatures of operators; of the first two by default."""
    for number in by or (0, 1):
        order, _ = approve_as_operator(order, OPERATORS[number], KEYS)
    return order

"""Decision records as tests make them: a log, its recorder, and decisions of the real policy."""

from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import signing
from fairlead.auditlog import AuditLog, LogReport, Place, verify_log
from fairlead.decisions import BatchRecorder
from fairlead.decisions.shelf import Row, batches, sealed_key, span
from fairlead.decisions.stream import Check, Stream, read_file, responses, write_file
from fairlead.leaves import LeafWriter
from fairlead.policy.points import PolicyPoints
from fairlead.policy.recorded import Recorded
from fairlead.receipts import verify_receipt
from fairlead.sealing import SealingKey
from fairlead.v1 import audit_pb2
from tests.policy_cases import ANALYST, CANDIDATES, CUSTOMS, GRANT, NOW, QUERY, RECORD, TERMINAL
from tests.policy_cases import points as committed

ORIGIN = "example/gateway/gw-1"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OFFICER = SealingKey(bytes(range(96)))
STRANGER = SealingKey(bytes(96))


def check(log: str, receipt: object) -> None:
    """As an officer who knows the log's key."""
    public = signing.public_bytes(KEY)
    verify_receipt(receipt, origin=f"example/{log}", public_key=public, head=None)  # type: ignore[arg-type]


@dataclass(kw_only=True)
class Decided:
    """A process that decides; ``now`` is its clock."""

    path: Place
    now: float = float(NOW)
    replay_key: bytes | None = field(default_factory=OFFICER.public_bytes)

    def __post_init__(self) -> None:
        self.log = AuditLog.open(self.path, origin=ORIGIN, key=KEY, clock=self.clock)
        self.leaves = LeafWriter(log="gateway/gw-1", clock=self.clock)
        self.recorder = BatchRecorder.open(
            self.log, self.leaves, clock=self.clock, replay_key=self.replay_key
        )
        self.policy: PolicyPoints = committed().recorded_by(self.recorder)

    def clock(self) -> float:
        """Unix seconds."""
        return self.now

    def admit(self, **changes: object) -> None:
        """Decide one admission."""
        settings = {
            "now": NOW, "query": QUERY, "asker": CUSTOMS, "user": ANALYST, "case_open": True,
            "user_assigned": True, "approvals": 0,
        }  # fmt: skip
        self.policy.admission(**{**settings, **changes})  # type: ignore[arg-type]

    def route(self) -> None:
        """Decide one routing."""
        self.policy.routing(now=NOW, query=QUERY, asker=CUSTOMS, approvals=0, candidates=CANDIDATES)

    def own(self) -> None:
        """Decide as an owner."""
        self.policy.sovereignty(
            now=NOW, query=QUERY, asker=CUSTOMS, approvals=0, owner=TERMINAL, grant=GRANT
        )

    def release(self, count: int = 1) -> None:
        """Decide over records."""
        self.policy.release(
            now=NOW, query=QUERY, asker=CUSTOMS, owner=TERMINAL, facets=GRANT.facets,
            records=[RECORD] * count,
        )  # fmt: skip

    async def commit(self) -> None:
        """Some leaf that rests on what was decided."""
        await self.log.append(self.leaves.history(subject="history-read"))

    def story(self, count: int = 3) -> None:
        """Decide, and write, so many times."""

        async def tell() -> None:
            for _ in range(count):
                self.admit()
                self.route()
                await self.commit()
                self.now += 1

        asyncio.run(tell())

    def close(self) -> None:
        """Release the log."""
        self.log.close()

    def verify(self) -> LogReport:
        """As an auditor."""
        return verify_log(self.path, origin=ORIGIN, public_key=signing.public_bytes(KEY))

    def rows(self) -> list[Row]:
        """What is on the shelf."""
        return list(batches(self.log, span(self.log, 0, 0)))

    def sealed_key(self, row: Row) -> bytes:
        """The sealed content key of a row."""
        return sealed_key(self.log, row.key_id)

    def export(self, numbers: range | None = None) -> bytes:
        """An export's octets."""
        file = io.BytesIO()
        found = span(self.log, 0, 0) if numbers is None else numbers
        write_file(responses(self.log, found, self.log.receipt), file)
        return file.getvalue()


def undecided(log: AuditLog) -> list[audit_pb2.AuditLeaf]:
    """Every leaf of a log but those of decision records, which may come a moment later."""
    rows = log.read("SELECT body FROM leaf ORDER BY idx")
    leaves = [audit_pb2.AuditLeaf.FromString(body) for (body,) in rows]
    return [leaf for leaf in leaves if leaf.type != audit_pb2.LEAF_TYPE_DECISION]


def read_export(
    octets: bytes, *, private: SealingKey | None = OFFICER, check: Check = check
) -> list[Recorded]:
    """Every record of an export, its proof verified."""
    stream = Stream(private=private, check=check)
    found = [record for item in read_file(io.BytesIO(octets)) for record in stream.take(item)]
    stream.finish()
    return found

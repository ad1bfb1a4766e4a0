"""The log under test: whose it is, how it is opened and verified, and the leaves of a query."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import receipts, signing
from fairlead.auditlog import AuditLog, LogReport, verify_log
from fairlead.auditlog.sqlite_store import SqliteStore
from fairlead.v1 import audit_pb2, query_pb2

ORIGIN = "gateway.example/log"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
FOREIGN = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = signing.public_bytes(KEY)
LOG = "gateway/main"
SEEN = ("CREATE TABLE seen (id BLOB PRIMARY KEY) STRICT, WITHOUT ROWID",)
"""The application's own table, which ``also`` writes beside an INTENT as the gateway does."""
OWNERS = ("oceanic-line", "terminal-north", "terminal-south")


def open_log(path: Path, *, clock: Callable[[], float] = time.time) -> AuditLog:
    """The log of ``path``, as its process opens it."""
    return AuditLog.open(path, origin=ORIGIN, key=KEY, clock=clock, migrations=SEEN)


def database(log: AuditLog) -> sqlite3.Connection:
    """The connection that the log writes through."""
    return cast("SqliteStore", log._store)._database


def verify(path: Path, known: Sequence[receipts.Head] = ()) -> LogReport:
    """The log of ``path``, as a stranger verifies it."""
    return verify_log(path, origin=ORIGIN, public_key=PUBLIC, known=known)


def leaf(kind: audit_pb2.LeafType.ValueType, query_id: bytes, **fields: Any) -> bytes:
    """A canonical leaf about a query."""
    made = audit_pb2.AuditLeaf(
        type=kind, query_id=query_id, time_ms=int(time.time() * 1000), log=LOG, **fields
    )
    return signing.canonical(made)


def intent(query_id: bytes, detail: bytes) -> bytes:
    """The leaf before anybody is asked, of the size that a gateway's has."""
    return leaf(
        audit_pb2.LEAF_TYPE_INTENT,
        query_id,
        partner_id="customs",
        user="spiffe://fairlead.example/partner/customs/user/u-a01",
        mandate_digest=hashlib.sha256(query_id).digest(),
        header_digest=hashlib.sha256(query_id + b"h").digest(),
        purpose="drug-trafficking",
        legal_basis="eu-ucc-art-46",
        mode=query_pb2.MODE_SEALED,
        schemes=["container"],
        term_count=1,
        rules=["purpose-known", "user-may-ask"],
        commitment=hashlib.sha256(query_id + b"c").digest(),
        detail_digest=hashlib.sha256(detail).digest(),
        signatures=[query_id * 4, query_id[::-1] * 4],
    )


def answer(query_id: bytes, owner: str) -> bytes:
    """The digest of what an owner answers: anybody who knows the query can tell it."""
    return hashlib.sha256(query_id + owner.encode()).digest()


def release(query_id: bytes, owners: Sequence[str] = OWNERS) -> bytes:
    """The leaf that lets the owners' answers out."""
    released = [
        audit_pb2.ReleasedAnswer(
            query_id=query_id,
            partner_id=owner,
            status=query_pb2.STATUS_ANSWERED,
            answer_digest=answer(query_id, owner),
        )
        for owner in owners
    ]
    return leaf(audit_pb2.LEAF_TYPE_RELEASE, b"", released=released)


def outcome(query_id: bytes, owners: Sequence[str] = OWNERS) -> bytes:
    """The leaf that closes a query."""
    lines = [
        query_pb2.PartnerOutcome(partner_id=owner, status=query_pb2.STATUS_ANSWERED)
        for owner in owners
    ]
    return leaf(audit_pb2.LEAF_TYPE_OUTCOME, query_id, partner_id="customs", partners=lines)

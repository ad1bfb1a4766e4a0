"""A small log with a leaf of every kind, and any leaf at all: what auditors' tests read."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import strategies as st

from fairlead import signing
from fairlead.auditlog import AuditLog
from fairlead.v1 import audit_pb2 as pb
from fairlead.v1 import query_pb2

ORIGIN = "fairlead.demo/partner/customs"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = signing.public_bytes(KEY)
START = 1_790_000_000.0
USER = "spiffe://fairlead.demo/partner/customs/user/"
QUERY = bytes(range(16))
ACTIVE = ("CREATE TABLE active (subject TEXT PRIMARY KEY, serial INTEGER NOT NULL) WITHOUT ROWID",)


class Clock:
    """A clock that a test moves."""

    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def leaf(kind: int, number: int = 0, **fields: Any) -> bytes:
    """Canonical octets of a leaf of customs' log, a minute after the one before."""
    content: dict[str, Any] = {
        "type": kind,
        "time_ms": int(START * 1000) + number * 60_000,
        "log": "partner/customs",
    }
    return signing.canonical(pb.AuditLeaf(**(content | fields)))


def intent(number: int, *, mandate: int = 0, asker: str = "customs", **fields: Any) -> bytes:
    """An INTENT of a query with three terms."""
    settings: dict[str, Any] = {
        "query_id": number.to_bytes(16, "big"),
        "partner_id": asker,
        "user": f"{USER.replace('customs', asker)}u-{mandate % 2}",
        "mandate_digest": bytes([mandate]) * 32,
        "purpose": "drug-trafficking",
        "mode": query_pb2.MODE_SEALED,
        "schemes": ["container"],
        "term_count": 3,
    }
    return leaf(pb.LEAF_TYPE_INTENT, number, **{**settings, **fields})


def story() -> list[bytes]:
    """Two queries of customs (one in two parts, let go by a second person), one asked of it."""
    answered = query_pb2.STATUS_ANSWERED
    states = [
        query_pb2.PartnerOutcome(partner_id="terminal-north", status=answered),
        query_pb2.PartnerOutcome(
            partner_id="police", status=query_pb2.STATUS_REFUSED, reason="PURPOSE_NOT_COVERED"
        ),
    ]
    released = [
        pb.ReleasedAnswer(query_id=bytes(16), partner_id="customs", status=answered),
    ]
    return [
        leaf(pb.LEAF_TYPE_ACTIVATION, 0, subject="directory", policy_serial=1),
        intent(1, mandate=1),
        leaf(pb.LEAF_TYPE_OUTCOME, 2, query_id=bytes(15) + b"\1", partners=states),
        intent(3, mandate=2, approvers=[f"{USER}u-9"]),
        intent(4, mandate=2, approvers=[f"{USER}u-9"], mode=query_pb2.MODE_BLIND),
        intent(5, mandate=3, asker="police"),
        leaf(pb.LEAF_TYPE_RELEASE, 6, released=released),
        leaf(pb.LEAF_TYPE_REFUSAL, 7, reasons=["BUDGET_USER", "X"], purpose="MSCU6639870"),
        leaf(pb.LEAF_TYPE_APPROVAL, 8, subject="approval-given", user=f"{USER}u-9"),
        leaf(pb.LEAF_TYPE_ALARM, 9, reasons=["ACTIVE_TARGET"], subject="desk,night-desk"),
    ]


def make_log(path: Path, leaves: Sequence[bytes], *, commits: int = 3, **changes: Any) -> None:
    """Write a log of these leaves, so many of them a commit and a minute, and close it."""
    clock = Clock()
    settings: dict[str, Any] = {
        "origin": ORIGIN, "key": KEY, "clock": clock, "migrations": ACTIVE,
    }  # fmt: skip

    async def fill() -> None:
        log = AuditLog.open(path, **(settings | changes))
        for low in range(0, len(leaves), commits):
            await asyncio.gather(*(log.append(body) for body in leaves[low : low + commits]))
            clock.now += 60 * commits
        log.close()

    asyncio.run(fill())


_WORDS = st.sampled_from(
    ["", "customs", "terminal-north", "u-1", "MSCU6639870", "74-BXK-3", "a b", "POLICY", "\x1b[1m"]
)


def any_leaf() -> st.SearchStrategy[pb.AuditLeaf]:
    """Leaves of any type with anything in any of their fields."""
    known = pb.LeafType.values()
    lines = st.builds(
        query_pb2.PartnerOutcome,
        partner_id=_WORDS, status=st.integers(0, 8), reason=_WORDS, answer_digest=st.binary(),
    )  # fmt: skip
    answers = st.builds(
        pb.ReleasedAnswer, query_id=st.binary(max_size=20), partner_id=_WORDS,
        status=st.integers(0, 8), answer_digest=st.binary(),
    )  # fmt: skip
    texts = st.lists(_WORDS, max_size=3)
    octets = st.binary(max_size=40)
    selection = st.builds(pb.LeafSelection, first=st.integers(0, 99), partners=texts)
    figures = st.builds(
        pb.FiguresLeaf, cube=_WORDS, level=_WORDS, period=_WORDS, version=st.integers(0, 9),
        list_digest=octets, participants=st.integers(0, 99), statement_digest=octets,
    )  # fmt: skip
    return st.builds(
        pb.AuditLeaf,
        type=st.sampled_from([*known, 99]),
        query_id=octets, time_ms=st.integers(-(2**63), 2**63 - 1), log=_WORDS, partner_id=_WORDS,
        user=_WORDS, mandate_digest=octets, header_digest=octets, purpose=_WORDS,
        legal_basis=_WORDS, mode=st.integers(0, 9), schemes=texts,
        term_count=st.integers(0, 2**32 - 1), policy_serial=st.integers(0, 2**64 - 1), rules=texts,
        reasons=texts, partners=st.lists(lines, max_size=2), released=st.lists(answers, max_size=2),
        commitment=octets, detail_digest=octets, intent_leaf_hash=octets, subject=_WORDS,
        signatures=st.lists(octets, max_size=2), checkpoints=texts, manifest_digest=octets,
        approvers=texts, decision_batch=st.integers(0, 2**64 - 1), selection=st.none() | selection,
        figures=st.none() | figures,
    )  # fmt: skip

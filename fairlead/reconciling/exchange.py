"""A whole reconciliation as evidence: three signed messages, verified with two public keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairlead import merkle, receipts, signing
from fairlead.errors import Forged, InvalidInput
from fairlead.reconciling.facts import RESUMED, facts, listed_facts
from fairlead.reconciling.judgement import Judgement, judge
from fairlead.reconciling.statement import (
    MAX_OCTETS,
    Counterstatement,
    Entry,
    Pair,
    Statement,
    Verdict,
    open_counterstatement,
    open_statement,
    open_verdict,
)
from fairlead.v1 import audit_pb2
from fairlead.v1 import reconcile_pb2 as pb

OF_LOG = ("CHECKPOINT_FORK", "LOG_BEHIND", "RECONCILE_UNWITNESSED")
"""What a node may hold against the gateway's log as a whole, with the checkpoints that show it."""
Read = Callable[[str, Sequence[object]], list[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What was said, verified, and what it comes to."""

    statement: Statement
    said: Counterstatement
    verdict: Verdict
    judgement: Judgement


def open_reconciliation(
    kept: pb.Reconciliation, *, node_key: bytes, gateways: Mapping[str, bytes], pair: Pair
) -> Exchange:
    """Verify a whole reconciliation.

    1. The statement is this node's. 2. A gateway of the directory signed the counterstatement,
    which answers it. 3. The verdict is this node's, about that counterstatement.

    :param node_key: the partner's signing key. :param gateways: SPIFFE id → signing key.
    :raises Forged: :raises InvalidInput: see :mod:`fairlead.reconciling.statement`.
    """
    # 1
    statement = open_statement(
        kept.statement, kept.statement_signature, public_key=node_key, pair=pair
    )
    # 2
    claimed = claimed_gateway(kept.counterstatement)
    if claimed not in gateways:
        raise Forged("a statement is of no gateway of this federation", reasons=("WRONG_PEER",))
    said = open_counterstatement(
        kept.counterstatement,
        kept.counterstatement_signature,
        public_key=gateways[claimed],
        statement=statement,
    )
    # 3
    verdict = open_verdict(kept.verdict, kept.verdict_signature, public_key=node_key, said=said)
    return Exchange(
        statement=statement, said=said, verdict=verdict, judgement=judge(statement, said, verdict)
    )


def shown(found: Exchange) -> list[str]:
    """The signed heads of an incident: two of one log that contradict each other, or both logs'."""
    if found.verdict.reasons and found.verdict.accepted:
        return [found.verdict.accepted, found.said.checkpoint]
    return [found.statement.lost or found.statement.checkpoint, found.said.checkpoint]


def claimed_gateway(octets: bytes) -> str:
    """Which gateway a counterstatement says it is of: good for choosing the key to verify it."""
    content = signing.parse_canonical(pb.ReconcileCounterstatement, octets, limit=MAX_OCTETS)
    return content.gateway


def claimed_pair(octets: bytes) -> Pair:
    """Whose a statement says it is, not verified."""
    content = signing.parse_canonical(pb.ReconcileStatement, octets, limit=MAX_OCTETS)
    return Pair(federation=content.federation, partner_id=content.partner_id, node=content.node)


def require_in_log(found: Exchange, read: Read) -> int:
    """Hold what a node signed against its own log, or what a gateway signed against the gateway's.

    1. Whatever a statement says its log records stands there, at the leaf it names, of that time;
       so does whatever it says its log holds of the other's entries.
    2. It leaves out nothing of the window that it says it is about.
    3. Where it says that a log of the gateway's was taken up, it was.

    :param read: runs one query on the log's file.
    :returns: how many entries were looked at. A leaf that was erased contradicts nothing any more:
        whether it was erased rightly, ``verify_log`` says.
    :raises Forged: RECONCILE_UNTRUE: a signed statement that its own log belies.
    :raises InvalidInput: LOG_ORIGIN: the log is of neither, or holds what is no leaf.
    """
    pair = found.statement.pair
    rows = read("SELECT body FROM leaf WHERE idx = 0", ())
    log = _leaf(rows[0][0]).log if rows else ""
    said: Statement | Counterstatement
    if log == f"partner/{pair.partner_id}":
        said, of_other = found.statement, zip(found.said.entries, found.verdict.leaves, strict=True)
    elif log.startswith("gateway/"):
        said, of_other = found.said, zip(found.statement.entries, found.said.leaves, strict=True)
    else:
        raise InvalidInput(
            "the log is neither the node's nor the gateway's",
            reasons=("LOG_ORIGIN",),
            remedy="name the log of one of the two that signed",
        )
    claims = [(e, e.leaf, e.time_ms) for e in said.entries]
    claims += [(e, leaf - 1, 0) for e, leaf in of_other if leaf]
    # 1
    looked = 0
    for entry, leaf, time_ms in claims:
        rows = read("SELECT body FROM leaf WHERE idx = ?", (leaf,))
        if rows != [(b"",)]:
            _require(entry, time_ms, rows)
            looked += 1
    # 2
    wanted = {(e.leaf, e.kind, e.partner_id, e.query_id, e.digest) for e in said.entries}
    window = read("SELECT idx, body FROM leaf WHERE idx >= ? AND idx < ?", (said.first, said.next))
    for index, body in window:
        for fact in listed_facts(_leaf(body), merkle.leaf_hash(bytes(body)), pair.partner_id):
            if (index, *fact) not in wanted:
                raise _untrue()
    # 3
    if isinstance(said, Statement) and said.resumed:
        rows = read("SELECT body FROM leaf WHERE idx = ?", (said.resumed,))
        if RESUMED not in {fact.kind for (body,) in rows for fact in facts(_leaf(body), b"")}:
            raise _untrue()
    return looked


def _leaf(body: bytes) -> audit_pb2.AuditLeaf:
    return signing.parse_canonical(audit_pb2.AuditLeaf, bytes(body), limit=receipts.MAX_LEAF)


def _require(entry: Entry, time_ms: int, rows: list[tuple[Any, ...]]) -> None:
    for (body,) in rows:
        leaf = _leaf(body)
        alike = (entry.partner_id, entry.query_id, entry.digest)
        held = any(fact[1:] == alike for fact in facts(leaf, merkle.leaf_hash(bytes(body))))
        if held and time_ms in {0, leaf.time_ms}:
            return
    raise _untrue()


def _untrue() -> Forged:
    return Forged(
        "a signed statement says of its own log what is not in it, or leaves out what is",
        reasons=("RECONCILE_UNTRUE",),
        remedy="keep the log and the statement: together they show who did not tell the truth",
    )

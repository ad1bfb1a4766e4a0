"""Reconciliation: what two logs say of each other, behind good signatures and without one."""

from __future__ import annotations

from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fairlead import signing
from fairlead.reconciling import (
    Counterstatement,
    Entry,
    Pair,
    Statement,
    Verdict,
    claimed_pair,
    judge,
    open_counterstatement,
    open_reconciliation,
    open_statement,
    open_verdict,
    sign_counterstatement,
    sign_statement,
    sign_verdict,
)
from fairlead.reconciling.statement import COUNTERSTATEMENT, STATEMENT, VERDICT
from fairlead.v1 import reconcile_pb2 as pb
from tests.fuzz.target import Target

PAIR = Pair(
    federation="fairlead.demo",
    partner_id="customs",
    node="spiffe://fairlead.demo/partner/customs/node/node-1",
)
GATEWAY = "spiffe://fairlead.demo/gateway/gw-1"


def _entry(kind: int, leaf: int) -> Entry:
    of_query = kind in {pb.ENTRY_KIND_ASKED, pb.ENTRY_KIND_INTENT, pb.ENTRY_KIND_RELEASED}
    return Entry(
        kind=kind,
        leaf=leaf,
        time_ms=1_795_000_000_000,
        query_id=bytes(16) if of_query else b"",
        partner_id="" if kind == pb.ENTRY_KIND_INTENT else "customs",
        digest=bytes(32),
    )


def statement() -> Statement:
    """What an honest node says."""
    kinds = (pb.ENTRY_KIND_INTENT, pb.ENTRY_KIND_RELEASED, pb.ENTRY_KIND_ACCEPTED)
    return Statement(
        pair=PAIR,
        gateway_origin="fairlead.demo/gateway/gw-1",
        time_ms=1,
        first=0,
        next=9,
        checkpoint="a\n1\nb\n\n— c d\n",
        resumed=0,
        gateway_next=3,
        lost="",
        entries=tuple(_entry(int(kind), leaf) for leaf, kind in enumerate(kinds)),
    )


def targets() -> Iterator[Target]:
    """The three messages, the whole of them, and what is read before a key is known."""
    node, gateway = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    own, other = signing.public_bytes(node), signing.public_bytes(gateway)
    first = sign_statement(statement(), node)
    said = open_statement(*first, public_key=own, pair=PAIR)
    second = sign_counterstatement(
        Counterstatement(
            pair=PAIR, gateway=GATEWAY, time_ms=1, statement_digest=said.digest, first=0, next=9,
            checkpoint="x", previous_ms=0, excused=0, more=False,
            entries=(_entry(int(pb.ENTRY_KIND_ASKED), 4),), leaves=(1, 0, 3), differing=(1,),
        ),
        gateway,
    )  # fmt: skip
    counter = open_counterstatement(*second, public_key=other, statement=said)
    third = sign_verdict(
        Verdict(
            pair=PAIR, time_ms=1, counterstatement_digest=counter.digest, checkpoint="x",
            leaves=(0,), differing=(0,), reasons=("CHECKPOINT_FORK",), accepted="y",
        ),
        node,
    )  # fmt: skip

    def signed_statement(data: bytes) -> object:
        signature = signing.sign(node, STATEMENT, data)
        return open_statement(data, signature, public_key=own, pair=PAIR)

    def signed_counterstatement(data: bytes) -> object:
        signature = signing.sign(gateway, COUNTERSTATEMENT, data)
        return open_counterstatement(data, signature, public_key=other, statement=said)

    def signed_verdict(data: bytes) -> object:
        signature = signing.sign(node, VERDICT, data)
        found = open_verdict(data, signature, public_key=own, said=counter)
        return judge(said, counter, found).table()

    def whole(data: bytes) -> object:
        kept = signing.parse_canonical(pb.Reconciliation, data)
        return open_reconciliation(kept, node_key=own, gateways={GATEWAY: other}, pair=PAIR)

    kept = pb.Reconciliation(
        statement=first[0], statement_signature=first[1], counterstatement=second[0],
        counterstatement_signature=second[1], verdict=third[0], verdict_signature=third[1],
    )  # fmt: skip
    yield Target(name="reconcile-statement", seeds=[first[0]], attempt=signed_statement)
    yield Target(
        name="reconcile-counterstatement", seeds=[second[0]], attempt=signed_counterstatement
    )
    yield Target(name="reconcile-verdict", seeds=[third[0]], attempt=signed_verdict)
    yield Target(name="reconcile-whole", seeds=[signing.canonical(kept)], attempt=whole)
    yield Target(name="reconcile-claim", seeds=[first[0]], attempt=claimed_pair)

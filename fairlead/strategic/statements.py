"""What partners say in a round, on the wire."""

from __future__ import annotations

from collections.abc import Iterable

from fairlead import summing
from fairlead.errors import Forged
from fairlead.names import check_partner_id
from fairlead.v1 import statistics_pb2 as pb

_SIGNATURE = 64


def statement_to_wire(statement: summing.Statement) -> pb.RoundStatement:
    """One statement."""
    return pb.RoundStatement(
        partner_id=statement.partner_id, vector=statement.vector, signature=statement.signature
    )


def statement_from_wire(said: pb.RoundStatement) -> summing.Statement:
    """Undo :func:`statement_to_wire`; whether it is true, its signature says.

    :raises InvalidInput: PARTNER_ID. :raises Forged: SIGNATURE: that is none.
    """
    if len(said.signature) != _SIGNATURE:
        raise Forged("a statement is not signed", reasons=("SIGNATURE",))
    return summing.Statement(
        partner_id=check_partner_id(said.partner_id),
        vector=said.vector,
        signature=said.signature,
    )


def statements_to_wire(said: Iterable[summing.Statement]) -> list[pb.RoundStatement]:
    """All of a round, by partner."""
    return [statement_to_wire(each) for each in sorted(said, key=lambda each: each.partner_id)]


def statements_from_wire(said: Iterable[pb.RoundStatement]) -> dict[str, summing.Statement]:
    """Partner → what it said.

    :raises InvalidInput: PARTNER_ID. :raises Forged: SIGNATURE; VECTORS: one partner twice.
    """
    found: dict[str, summing.Statement] = {}
    for each in said:
        read = statement_from_wire(each)
        if found.setdefault(read.partner_id, read) is not read:
            raise Forged("a partner says two things in one round", reasons=("VECTORS",))
    return found

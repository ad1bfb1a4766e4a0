"""Attack: an owner finds out who else is asked."""

from __future__ import annotations

from pathlib import Path

from google.protobuf.message import Message

from fairlead.v1 import audit_pb2, owner_pb2, query_pb2
from tests.attacks.crafted import OTHER_OWNER, OWNER
from tests.attacks.dictionary import values
from tests.attacks.evil import tap
from tests.federation import federation

PARTNERS = ("customs", "police", OWNER, OTHER_OWNER)
VARYING = ("mandate_signature", "signatures", "user_certificate", "receipt.leaf")
"""Fields with ECDSA signatures inside: their length varies by an octet or two by itself."""


def nested(request: owner_pb2.AnswerRequest) -> list[Message]:
    """Everything an owner can read of one request."""
    leaf = audit_pb2.AuditLeaf.FromString(request.receipt.leaf)
    return [
        request,
        query_pb2.Mandate.FromString(request.query.mandate),
        query_pb2.QueryHeader.FromString(request.query.header),
        query_pb2.NodeStatement.FromString(request.query.statement),
        query_pb2.GrantStatement.FromString(request.grant_statement),
        query_pb2.OwnerGrant.FromString(request.grant),
        leaf,
    ]


def shape(request: owner_pb2.AnswerRequest) -> list[tuple[str, int]]:
    """Names and sizes of all fields an owner receives."""
    return [
        (name, len(value))
        for message in nested(request)
        for name, value in values(message)
        if not name.endswith(VARYING)
    ]


async def received(folder: Path, *partners: str) -> owner_pb2.AnswerRequest:
    """What the terminal receives in a fresh federation when these partners are asked."""
    async with federation(folder, partners=PARTNERS) as made:
        seen = tap(made.nodes[OWNER].answering, "answer")
        await made.open_case()
        await made.ask(partners=partners)
        (request,) = seen
        return request  # type: ignore[no-any-return]


def assert_opaque(request: owner_pb2.AnswerRequest) -> None:
    """Each directory partner has 32 unrelated octets in each list; the logged leaf names nobody."""
    mandate = query_pb2.Mandate.FromString(request.query.mandate)
    header = query_pb2.QueryHeader.FromString(request.query.header)
    statement = query_pb2.GrantStatement.FromString(request.grant_statement)
    for digests in (mandate.partner_digests, header.part_digests, statement.grant_digests):
        assert len(set(digests)) == len(digests) == len(PARTNERS)
        assert all(len(value) == 32 and len(set(value)) > 8 for value in digests)
    leaf = audit_pb2.AuditLeaf.FromString(request.receipt.leaf)
    assert not leaf.partners
    assert not leaf.released
    assert len(leaf.commitment) == 32


async def test_an_owner_receives_the_same_whoever_else_is_asked(tmp_path: Path) -> None:
    """Asked alone, with another, or with everybody: same fields and sizes, nobody else named."""
    alone = await received(tmp_path / "1", OWNER)
    with_another = await received(tmp_path / "2", OWNER, OTHER_OWNER)
    with_all = await received(tmp_path / "3")
    assert shape(alone) == shape(with_another) == shape(with_all)
    for request in (alone, with_another, with_all):
        assert_opaque(request)
        text = b"\n".join(value for message in nested(request) for _, value in values(message))
        for partner in PARTNERS:
            assert (partner.encode() in text) == (partner in {"customs", OWNER}), partner

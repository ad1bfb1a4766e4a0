"""Attack: an owner, the gateway or the wire tells a question from the cover around it."""

from __future__ import annotations

from pathlib import Path

from fairlead.cli import cover
from fairlead.v1 import audit_pb2, gateway_pb2
from tests.blind import require_libsodium
from tests.commands import profile
from tests.federation import CASE, PURPOSE, STORY, Federation
from tests.live import leaves
from tests.scenarios.test_blind_answer import ABSENT, OTHER_OWNER, OWNER, READER, delivered

require_libsodium()
FRESH = {
    "query_id", "time_ms", "mandate_digest", "header_digest", "commitment", "detail_digest",
    "intent_leaf_hash", "signatures",
}  # fmt: skip
"""Random, or follows from what is."""


View = tuple[str, list[tuple[int, str]], int]


def views(made: Federation, query: int) -> list[View]:
    """What gateway and owners have of a query in their logs: log, fields but fresh ones, size.

    How many answers one RELEASE leaf covers depends on the moment, so those are left out.
    """
    found = []
    for app in (made.gateway, made.nodes[OWNER], made.nodes[OTHER_OWNER]):
        for kind in (audit_pb2.LEAF_TYPE_INTENT, audit_pb2.LEAF_TYPE_OUTCOME):
            of_kind = [leaf for leaf in leaves(app.log) if leaf.type == kind]  # type: ignore[union-attr]
            found += [view(leaf) for leaf in of_kind[query : query + 1]]
    return found


def view(leaf: audit_pb2.AuditLeaf) -> View:
    told = [
        (field.number, str(value))
        for field, value in leaf.ListFields()
        if field.name not in FRESH | {"partners"}
    ]
    return leaf.log, told, leaf.ByteSize() - sum(len(item) for item in leaf.signatures)


async def test_a_slot_somebody_asked_in_looks_like_any_other(tmp_path: Path) -> None:
    """A hit, a miss and an invented term: same fields, same sizes, in every log and on the wire."""
    async with delivered(tmp_path) as made:
        sent: list[tuple[int, ...]] = []
        honest = made.nodes[READER].asking._sending._send

        async def send(message: gateway_pb2.QueryRequest):  # type: ignore[no-untyped-def]
            front = message.query
            sizes = [len(part.part) for part in message.parts]
            sent.append((len(front.header), len(front.mandate), *sizes))
            async for response in honest(message):
                yield response

        made.nodes[READER].asking._sending._send = send
        asked = cover._Asked(
            case=CASE, purpose=PURPOSE, scheme="container", since="90d", to=[],
            profile=profile(made),
        )  # fmt: skip
        slots = ((STORY, True), (ABSENT, True), (ABSENT, False), (STORY, False))
        for term, typed in slots:
            await cover._ask(term, typed, asked)
        seen = [views(made, query) for query in range(len(slots))]
        assert len(seen[0]) == 4  # the gateway's INTENT and OUTCOME, and an INTENT of each owner
        assert all(item == seen[0] for item in seen)
        assert len(sent) == 4
        assert len(set(sent)) == 1

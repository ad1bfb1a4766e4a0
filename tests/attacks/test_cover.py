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


def views(made: Federation) -> list[tuple[str, list[tuple[int, str]], int]]:
    """Every leaf that gateway and owners have of queries: kind, fields but fresh ones, size."""
    kinds = (audit_pb2.LEAF_TYPE_INTENT, audit_pb2.LEAF_TYPE_RELEASE, audit_pb2.LEAF_TYPE_OUTCOME)
    found = []
    for app in (made.gateway, made.nodes[OWNER], made.nodes[OTHER_OWNER]):
        for leaf in leaves(app.log):  # type: ignore[union-attr]
            if leaf.type not in kinds:
                continue
            told = [
                (field.number, str(value))
                for field, value in leaf.ListFields()
                if field.name not in FRESH | {"released", "partners"}
            ]
            size = leaf.ByteSize() - sum(len(signature) for signature in leaf.signatures)
            found.append((leaf.log, told, size))
    return found


async def test_a_slot_somebody_asked_in_looks_like_any_other(tmp_path: Path) -> None:
    """A hit, a miss and an invented term: same fields, same sizes, in every log and on the wire."""
    async with delivered(tmp_path) as made:
        sent: list[tuple[int, ...]] = []
        honest = made.nodes[READER].asking._sending._send

        async def send(message: gateway_pb2.QueryRequest):  # type: ignore[no-untyped-def]
            sent.append(
                (len(message.query.header), len(message.query.mandate))
                + tuple(len(part.part) for part in message.parts)
            )
            async for response in honest(message):
                yield response

        made.nodes[READER].asking._sending._send = send
        asked = cover._Asked(
            case=CASE, purpose=PURPOSE, scheme="container", since="90d", to=[],
            profile=profile(made),
        )  # fmt: skip
        seen = []
        for term, typed in ((STORY, True), (ABSENT, True), (ABSENT, False), (STORY, False)):
            before = len(views(made))
            await cover._ask(term, typed, asked)
            seen.append(sorted(views(made)[before:], key=str))
        counts = {len(view) for view in seen}
        assert counts != {0}
        assert len(counts) == 1
        assert all(view == seen[0] for view in seen)
        assert len(sent) == 4
        assert len(set(sent)) == 1

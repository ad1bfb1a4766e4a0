"""Attack: an owner answers in another partner's name, alone or together with the gateway."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fairlead import signing
from fairlead.envelope.answer import sign_answer
from fairlead.v1 import gateway_pb2, owner_pb2, query_pb2
from tests.attacks.evil import (
    OTHER_OWNER,
    OWNER,
    EvilNode,
    changed,
    corrupt,
    craft,
    node_key,
    refused,
)
from tests.federation import Federation, federation, states

Answered = dict[str, query_pb2.SignedAnswer]


def for_another(made: Federation, honest: Answered) -> query_pb2.SignedAnswer:
    """The terminal signs, as itself, an answer that names the shipping line."""
    header = query_pb2.AnswerHeader.FromString(honest[OWNER].header)
    named = signing.canonical(changed(header, partner_id=OTHER_OWNER))
    signature = signing.sign(node_key(made, OWNER), "answer", named)
    return changed(honest[OWNER], header=named, signature=signature)


def of_another(_made: Federation, honest: Answered) -> query_pb2.SignedAnswer:
    """The terminal returns the shipping line's own, truly signed answer."""
    return honest[OTHER_OWNER]


def under_the_own_name(made: Federation, honest: Answered) -> query_pb2.SignedAnswer:
    """The terminal puts its own header and signature over the shipping line's sealed body."""
    header = query_pb2.AnswerHeader.FromString(honest[OWNER].header)
    body = honest[OTHER_OWNER].body
    named = signing.canonical(changed(header, body_digest=signing.digest(body)))
    signature = signing.sign(node_key(made, OWNER), "answer", named)
    return query_pb2.SignedAnswer(header=named, signature=signature, body=body)


def of_another_query(made: Federation, honest: Answered) -> query_pb2.SignedAnswer:
    """The terminal answers with what it sealed for an earlier query."""
    return honest["earlier"]


LIES: list[tuple[Callable[[Federation, Answered], query_pb2.SignedAnswer], str]] = [
    (for_another, "ANSWER_BINDING"),
    (of_another, "SIGNATURE"),
    (of_another_query, "ANSWER_BINDING"),
]


def lying(
    made: Federation, lie: Callable[[Federation, Answered], query_pb2.SignedAnswer]
) -> Answered:
    """Change the terminal's code: it waits for the shipping line's answer, then tells ``lie``."""
    honest: Answered = {}
    for partner in (OWNER, OTHER_OWNER):
        answering = made.nodes[partner].answering
        inner = answering.answer

        async def answer(
            request: owner_pb2.AnswerRequest,
            peer: Any,
            inner: Any = inner,
            partner: str = partner,
        ) -> owner_pb2.AnswerResponse:
            response = await inner(request, peer)
            honest[partner] = response.answer
            if partner == OWNER and "earlier" in honest:
                while OTHER_OWNER not in honest:
                    await made.nodes[OWNER].answering._log.append(_pause())
                return owner_pb2.AnswerResponse(answer=lie(made, honest))
            honest.setdefault("earlier", response.answer)
            return response

        answering.answer = answer  # type: ignore[method-assign]
    return honest


def _pause() -> bytes:
    from fairlead.v1 import audit_pb2

    return signing.canonical(
        audit_pb2.AuditLeaf(type=audit_pb2.LEAF_TYPE_ACTIVATION, subject="waiting")
    )

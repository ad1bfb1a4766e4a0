"""An owner's node that a test's own gateway asks: real keys, a paper log in the gateway's place."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from fairlead import merkle, signing
from fairlead.envelope.grant import grant_statement, make_grant
from fairlead.envelope.query import Scope
from fairlead.leaves import LeafWriter
from fairlead.policy.decision import Decision, Effect, Obligations
from fairlead.v1 import audit_pb2, owner_pb2, query_pb2
from node.app import NodeApp
from tests.federation import Federation
from tests.walks import PaperLog, Walk, World, world_of

OWNER = "terminal-north"
FULL = frozenset({"existence", "count_band", "contact_desk", "full_record"})


@dataclass(slots=True)
class Place:
    """One owner's node, and a gateway made of the gateway's keys and a paper log."""

    made: Federation
    log: PaperLog

    @property
    def world(self) -> World:
        return world_of(self.made.layout, now=time.time())

    @property
    def node(self) -> NodeApp:
        return self.made.nodes[OWNER]

    def walk(self, *terms: tuple[str, str], **changes: Any) -> Walk:
        world = self.world
        scope = Scope(since=int(world.now) - 30 * 86_400)
        return world.walk(*terms, **{"scope": scope, **changes})

    def request(
        self,
        walk: Walk,
        *,
        facets: frozenset[str] = FULL,
        known: int | None = None,
        log: PaperLog | None = None,
        serial: int = 1,
        **limits: Any,
    ) -> owner_pb2.AnswerRequest:
        """What the gateway would send, over a receipt from the head the owner holds."""
        world, query = walk.world, walk.verify()
        history = log or self.log
        writer = LeafWriter(log="gateway/gw-1", clock=time.time)
        leaf, _ = writer.intent(query, rules=[], policy_serial=1, commits_to=b"who")
        index = history.append(leaf)
        decision = Decision(
            effect=Effect.PERMIT,
            checks={},
            facets=facets,
            obligations=Obligations(**limits),
            policy_serial=serial,
        )
        grant = make_grant(query, OWNER, decision, expires_at=int(time.time()) + 60)
        statement = grant_statement(
            query,
            {OWNER: grant},
            directory=world.directory,
            gateway=world.gateway.spiffe_id,
            intent_leaf_hash=merkle.leaf_hash(leaf),
            now=time.time(),
        )
        start = self.head() if known is None else known
        return owner_pb2.AnswerRequest(
            query=walk.signed,
            part=walk.parts[OWNER],
            grant=grant,
            grant_statement=statement,
            grant_signature=signing.sign(world.gateway_key(), "grant", statement),
            receipt=history.receipt(index, known=start),
        )

    def head(self) -> int:
        """Size of the gateway's log as this owner durably knows it."""
        head = self.node.log.foreign_head(self.world.gateway.log_origin)
        return head.size if head else 0

    async def answer(
        self, request: owner_pb2.AnswerRequest, peer: str = "gw-1"
    ) -> owner_pb2.AnswerResponse:
        return await self.node.answering.answer(request, self.world.peer(peer))

    async def ask(self, walk: Walk, **changes: Any) -> query_pb2.SignedAnswer:
        return (await self.answer(self.request(walk, **changes))).answer

    def leaves(self, query_id: bytes) -> list[audit_pb2.AuditLeaf]:
        rows = self.node.log.read("SELECT body FROM leaf ORDER BY idx")
        found = [audit_pb2.AuditLeaf.FromString(body) for (body,) in rows]
        return [
            leaf
            for leaf in found
            if query_id in {leaf.query_id, *(item.query_id for item in leaf.released)}
        ]

    def types(self, query_id: bytes) -> list[str]:
        return [
            audit_pb2.LeafType.Name(leaf.type).removeprefix("LEAF_TYPE_")
            for leaf in self.leaves(query_id)
        ]

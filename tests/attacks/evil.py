"""The attackers: each holds exactly the keys and the code that its place gives it.

* :class:`EvilNode` is a partner's node administrator: the node's keys, no user's key;
* :class:`EvilGateway` is the gateway's operator: the gateway's keys, as many logs as it likes;
* :func:`tap` is an insider reading what their own process receives.

A process whose *code* its operator changed keeps its keys, its port and its mTLS; the tests
replace one method of the running application by the attacker's.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from fairlead import tls  # before grpc: it sets the TLS floor

# isort: split
import grpc
import grpc.aio
import pytest

from fairlead import signing
from fairlead.auditlog import Appended, AuditLog
from fairlead.certificates import SpiffeId
from fairlead.envelope.grant import grant_statement, make_grant
from fairlead.envelope.query import (
    Query,
    verify_query,
)
from fairlead.leaves import LeafWriter
from fairlead.policy.decision import Decision, Obligations
from fairlead.server import REASON_KEY
from fairlead.v1 import (
    audit_pb2,
    gateway_pb2,
    gateway_pb2_grpc,
    owner_pb2,
    owner_pb2_grpc,
    query_pb2,
)
from tests.attacks.crafted import OWNER, Crafted, changed
from tests.federation import Federation, apart

UNLIMITED = Obligations()
EVERYTHING = ("existence", "count_band", "contact_desk", "full_record")

# ── Refusals and what logs hold ──────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Told:
    """What a refused caller was told."""

    code: grpc.StatusCode | None = None
    reasons: list[str] = field(default_factory=list)


@contextmanager
def refused(*reasons: str, code: grpc.StatusCode = grpc.StatusCode.PERMISSION_DENIED) -> Any:
    """The RPC inside is refused with this code, and with one of ``reasons`` (if any is named)."""
    told = Told()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        yield told
    error = caught.value
    told.code = error.code()
    told.reasons = [str(v) for k, v in (error.trailing_metadata() or ()) if k == REASON_KEY]
    assert told.code is code, (told.code, told.reasons)
    assert not reasons or set(reasons) & set(told.reasons), told.reasons


def leaves(log: AuditLog, kind: int) -> list[audit_pb2.AuditLeaf]:
    """Every leaf of one type in a running process's log."""
    rows = log.read("SELECT body FROM leaf ORDER BY idx")
    found = [audit_pb2.AuditLeaf.FromString(body) for (body,) in rows]
    return [leaf for leaf in found if leaf.type == kind]


def intents(log: AuditLog) -> int:
    """How many INTENT leaves a log holds."""
    return len(leaves(log, audit_pb2.LEAF_TYPE_INTENT))


def refusals(log: AuditLog) -> list[str]:
    """The first reason of every REFUSAL leaf, in order."""
    return [leaf.reasons[0] for leaf in leaves(log, audit_pb2.LEAF_TYPE_REFUSAL)]


def alarms(log: AuditLog) -> list[audit_pb2.AuditLeaf]:
    """Every ALARM leaf."""
    return leaves(log, audit_pb2.LEAF_TYPE_ALARM)


def tap(target: Any, method: str) -> list[Any]:
    """Record the first argument of every call of ``target.method``, which still runs."""
    seen: list[Any] = []
    inner: Callable[..., Awaitable[Any]] = getattr(target, method)

    def recording(*arguments: Any, **named: Any) -> Any:
        seen.append(arguments[0])
        return inner(*arguments, **named)

    setattr(target, method, recording)
    return seen


# ── A node's administrator ───────────────────────────────────────────────────────────────────


class EvilNode:
    """A partner's node administrator: the node's certificate and keys. Async context manager."""

    def __init__(self, made: Federation, partner: str = "customs") -> None:
        keys = made.layout.node(partner)
        material = tls.KeyMaterial.load(
            keys / "tls.pem", keys / "tls.key", [made.directory.federation_ca]
        )
        self._made = made
        self._material = material
        self._channels: list[grpc.aio.Channel] = []
        gateway = made.directory.gateway
        channel = self.dial(gateway.endpoint, gateway.spiffe_id)
        self.gateway = gateway_pb2_grpc.GatewayServiceStub(channel)

    def dial(self, endpoint: str, server: str) -> grpc.aio.Channel:
        """A connection to anybody, under this node's identity."""
        channel = tls.open_channel(endpoint, server=SpiffeId.parse(server), material=self._material)
        self._channels.append(channel)
        return channel

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for channel in self._channels:
            await channel.close()

    async def ask(self, crafted: Crafted, **changes: object) -> list[gateway_pb2.QueryResponse]:
        """Send a query to the gateway; every event, apart."""
        call = self.gateway.Query(crafted.request(**changes), timeout=20)
        return [event async for response in call for event in apart(response)]


# ── A gateway's operator ─────────────────────────────────────────────────────────────────────


class EvilGateway:
    """The gateway's operator: the real keys of the gateway and of its log. Async context manager.

    It reaches every owner over real mTLS and keeps as many histories as it likes.
    """

    def __init__(self, made: Federation) -> None:
        keys = made.layout.gateway("gw-1")
        self._made = made
        self.entry = made.directory.gateway
        self.key = signing.load_signing_key(keys / "signing.key")
        self._log_key = signing.load_signing_key(keys / "log.key")
        self._material = tls.KeyMaterial.load(
            keys / "tls.pem", keys / "tls.key", [made.directory.federation_ca]
        )
        self._leaves = LeafWriter(log="gateway/gw-1", clock=time.time)
        self._logs: dict[str, AuditLog] = {}
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._intents: dict[tuple[str, bytes], Appended] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for channel in self._channels.values():
            await channel.close()
        for log in self._logs.values():
            log.close()

    def history(self, name: str = "main") -> AuditLog:
        """One history of the gateway's log, under the log's real key and origin."""
        if name not in self._logs:
            self._logs[name] = AuditLog.open(
                self._made.folder / f"evil-{name}.sqlite",
                origin=self.entry.log_origin,
                key=self._log_key,
                clock=time.time,
            )
        return self._logs[name]

    async def grow(self, name: str, leaves: int, *, tag: int = 0) -> AuditLog:
        """Let a history grow by leaves that tell it from others."""
        log = self.history(name)
        for serial in range(leaves):
            subject = f"policy-{tag}"
            await log.append(self._leaves.activation(subject, serial=serial, digest=bytes(32)))
        return log

    def verified(self, crafted: Crafted) -> Query:
        """What the gateway knows of a query."""
        return verify_query(
            crafted.signed, directory=self._made.directory, deny_lists=None, now=time.time()
        )

    async def intent(self, crafted: Crafted, name: str = "main") -> Appended:
        """The INTENT leaf of a query in one history; written once."""
        key = (name, crafted.query_id)
        if key not in self._intents:
            leaf, _ = self._leaves.intent(
                self.verified(crafted), rules=(), policy_serial=1, commits_to=b""
            )
            log = self.history(name)
            self._intents[key] = await log.append(leaf, detail=crafted.detail)
        return self._intents[key]

    async def request(
        self,
        crafted: Crafted,
        owner: str = OWNER,
        *,
        history: str = "main",
        known: int = 0,
        facets: Sequence[str] = EVERYTHING,
        obligations: Obligations = UNLIMITED,
        part: bytes | None = None,
        grant_for: str | None = None,
    ) -> owner_pb2.AnswerRequest:
        """One owner's request as this operator likes it: by default everything, unlimited.

        :param known: the size of the head that the receipt starts from.
        :param grant_for: whom the grant names, when not the owner.
        """
        query, log = self.verified(crafted), self.history(history)
        appended = await self.intent(crafted, history)
        decision = Decision.of_grant(facets=EVERYTHING, obligations=obligations, policy_serial=1)
        grant = make_grant(query, grant_for or owner, decision, expires_at=int(time.time()) + 60)
        content = query_pb2.OwnerGrant.FromString(grant)
        grant = signing.canonical(changed(content, facets=sorted(facets)))
        statement = grant_statement(
            query,
            {owner: grant},
            directory=self._made.directory,
            gateway=self.entry.spiffe_id,
            intent_leaf_hash=appended.leaf_hash,
            now=time.time(),
        )
        return owner_pb2.AnswerRequest(
            query=crafted.signed,
            part=crafted.parts[owner] if part is None else part,
            grant=grant,
            grant_statement=statement,
            grant_signature=signing.sign(self.key, "grant", statement),
            receipt=log.receipt(appended.index, known),
        )

    async def send(
        self, request: owner_pb2.AnswerRequest, owner: str = OWNER
    ) -> owner_pb2.AnswerResponse:
        """Call an owner over mTLS."""
        if owner not in self._channels:
            node = self._made.directory.partner(owner).nodes[0]
            self._channels[owner] = tls.open_channel(
                node.endpoint, server=SpiffeId.parse(node.spiffe_id), material=self._material
            )
        stub = owner_pb2_grpc.OwnerServiceStub(self._channels[owner])
        return await stub.Answer(request, timeout=20)

    async def ask(
        self, crafted: Crafted, owner: str = OWNER, **settings: Any
    ) -> owner_pb2.AnswerResponse:
        """Request and send; a stale receipt is issued again, as the honest gateway does."""
        response = await self.send(await self.request(crafted, owner, **settings), owner)
        if response.WhichOneof("result") == "stale":
            settings["known"] = response.stale.size
            response = await self.send(await self.request(crafted, owner, **settings), owner)
        return response


Events = Sequence[gateway_pb2.QueryResponse]


def corrupt(
    made: Federation, change: Callable[[list[gateway_pb2.QueryResponse]], Events]
) -> Callable[[], None]:
    """Change the running gateway's code: it hands its askers ``change(honest events)``.

    :returns: what puts the honest code back.
    """
    assert made.gateway is not None
    tactical = made.gateway.tactical
    honest = tactical.query

    async def query(request: gateway_pb2.QueryRequest, peer: Any) -> Any:
        # Copies: the running gateway keeps its own for repetitions.
        events = [e async for response in honest(request, peer) for e in apart(changed(response))]
        for event in change(events):
            yield event

    def restore() -> None:
        tactical.query = honest  # type: ignore[method-assign]

    tactical.query = query  # type: ignore[method-assign]
    return restore

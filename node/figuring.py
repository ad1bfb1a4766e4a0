"""Figures asked for by the partner's own users: verified, decided, recorded, sent, checked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass

import grpc

from fairlead import signing
from fairlead.auditlog import AuditLog
from fairlead.certificates import Identity
from fairlead.cubes.registry import Registry
from fairlead.errors import FairleadError, Forged, Refused, Unreachable
from fairlead.facts import party_facts, refusal_of, user_facts
from fairlead.keyring import KeyRing
from fairlead.leaves import LeafWriter
from fairlead.names import reason_code
from fairlead.partners import DenyLists, Directories
from fairlead.policy.decision import Decision
from fairlead.policy.live import LivePolicy
from fairlead.policy.points import PolicyPoints
from fairlead.reasons import reason
from fairlead.receipts import CheckpointFork, Head
from fairlead.server import REASON_KEY
from fairlead.strategic.question import (
    Asked,
    Signed,
    make_statement,
    verify_question,
    verify_signed,
)
from fairlead.strategic.received import ASKED, Received, Request, check_asked_leaf
from fairlead.v1 import asking_pb2 as pb
from fairlead.v1 import audit_pb2, statistics_pb2
from node.heads import HeadKeeper

SUBJECT = "AskingService"
CAME_BACK = "figures-received"
"""The subject of the leaf of what came of a question."""

Events = AsyncGenerator[pb.AskFiguresResponse, None]
GatewayFigures = Callable[
    [statistics_pb2.QueryFiguresRequest], AsyncIterator[statistics_pb2.QueryFiguresResponse]
]


@dataclass(slots=True, kw_only=True)
class _UnderWay:
    """A question under way."""

    asked: Asked
    request: statistics_pb2.QueryFiguresRequest
    received: Received
    recorded: bool = False
    """Whether the gateway proved that the question is on its record."""
    proved: int = 0
    """Size of the head by which it did: receipts of releases start from there."""


class Figuring:
    """Asks for figures on behalf of the partner's own users."""

    def __init__(
        self,
        *,
        partner_id: str,
        keys: KeyRing,
        log: AuditLog,
        leaves: LeafWriter,
        directory: Directories,
        deny_lists: DenyLists,
        policy: LivePolicy,
        heads: HeadKeeper,
        registry: Callable[[PolicyPoints], Registry],
        check_clock: Callable[[], None],
        send: GatewayFigures,
        clock: Callable[[], float],
    ) -> None:
        """:param registry: the cubes signed with a policy; it takes its time at first."""
        self._partner_id = partner_id
        self._keys = keys
        self._log = log
        self._leaves = leaves
        self._directory = directory
        self._deny_lists = deny_lists
        self._policy = policy
        self._heads = heads
        self._registry = registry
        self._check_clock = check_clock
        self._send = send
        self._clock = clock

    async def listed(self, user: Identity) -> pb.ListCubesResponse:
        """The cubes in force, and for which purposes this user may ask for which.

        :raises Misconfigured: the policy has no cubes.
        """
        points = self._policy.imagined
        registry = await asyncio.to_thread(self._registry, points)
        purposes = sorted(points.registry.purposes) if points.registry else []
        return pb.ListCubesResponse(
            registry=registry.canonical,
            federation=self._directory.asking.federation,
            policy_serial=points.serial,
            purposes=[
                pb.FiguresPurpose(purpose=purpose, cubes=cubes)
                for purpose in purposes
                if (cubes := self._permitted(points, registry, purpose, user))
            ],
        )

    def _permitted(
        self, points: PolicyPoints, registry: Registry, purpose: str, user: Identity
    ) -> list[str]:
        """The cubes that a user may ask for, by the coarsest level of each."""
        return [
            cube.id
            for cube in registry.cubes
            if self._decide(points, cube.id, cube.levels[-1].name, purpose, user).permit
        ]

    def _decide(
        self, points: PolicyPoints, cube: str, level: str, purpose: str, user: Identity
    ) -> Decision:
        return points.statistics(
            now=int(self._clock()),
            cube=cube,
            level=level,
            purpose=purpose,
            asker=party_facts(self._directory.asking.partner(self._partner_id)),
            user=user_facts(user),
        )

    # ── Asking ───────────────────────────────────────────────────────────────────────────────

    async def ask(
        self, request: pb.AskFiguresRequest, user: Identity, certificate: bytes
    ) -> Events:
        """Send a question and pass on what comes back.

        1. The user signed it, just now; it names cubes as they are in force here, and a period that
           is over.
        2. The node's own policy permits it.
        3. The whole verifies as a stranger would verify it, under this node's statement.
        4. The question is durable in the own log.
        5. The gateway's receipts extend the heads seen before; every release is one that was asked
           for, signed by a gateway of the directory and on its record. What came back is on the
           own record, and so is that something did which does not hold.

        :param certificate: the user's certificate as TLS presented it (DER).
        :raises FairleadError: refused at home or by the gateway, or it does not verify.
        """
        try:
            under_way = await self._admitted(request, user, certificate)
        except FairleadError as error:
            await self._refuse(error, "AskFigures", user)
            raise
        try:
            async for event in self._collect(under_way):
                yield event
        except FairleadError as error:
            if not isinstance(error, _OWN_RECORD):
                await self._refuse(error, "AskFigures", user)
            raise
        finally:
            await asyncio.shield(self._end(under_way))

    async def _admitted(
        self, request: pb.AskFiguresRequest, user: Identity, certificate: bytes
    ) -> _UnderWay:
        self._check_clock()
        now, directory, points = self._clock(), self._directory.asking, self._policy.current
        # 1
        signed = verify_signed(
            request.question, request.signature, certificate,
            directory=directory, deny_lists=self._deny_lists, now=now,
        )  # fmt: skip
        if signed.user.spiffe_id != user.spiffe_id:
            raise Forged("a question is signed by somebody else", reasons=("USER",))
        registry = await asyncio.to_thread(self._registry, points)
        wanted = signed.wanted(registry, now)
        # 2
        decision = self._decide(points, signed.cube, signed.level, signed.purpose, user)
        if not decision.permit:
            raise refusal_of(decision)
        # 3
        question = make_statement(
            request.question,
            request.signature,
            certificate,
            key=self._keys.signing(directory.partner(self._partner_id).signing_key),
            directory_serial=directory.serial,
            policy_serial=points.serial,
            now=now,
        )
        asked = verify_question(question, directory=self._directory, deny_lists=None, now=now)
        # 4
        await self._log.append(self._leaf(asked, decision))
        sought = Request(
            registry=registry,
            cube=wanted.cube,
            level=wanted.level,
            period=wanted.period,
            purpose=signed.purpose,
        )
        return _UnderWay(
            asked=asked,
            request=statistics_pb2.QueryFiguresRequest(
                question=question, head_size=self._heads.size
            ),
            received=Received(request=sought, directory=directory, clock=self._clock),
        )

    def _leaf(self, asked: Asked, decision: Decision) -> bytes:
        return self._leaves.figures(
            ASKED,
            _about(asked),
            query_id=asked.question_id,
            partner_id=self._partner_id,
            user=asked.user.spiffe_id,
            purpose=asked.purpose,
            policy_serial=asked.policy_serial,
            rules=decision.rules,
            signatures=asked.signatures,
        )

    async def _collect(self, under_way: _UnderWay) -> Events:
        received = under_way.received
        try:
            async for response in self._send(under_way.request):
                match response.WhichOneof("event"):
                    case "accepted":
                        await self._accept(under_way, response.accepted.asked)
                        yield pb.AskFiguresResponse(accepted=response.accepted)
                    case "progress":
                        yield pb.AskFiguresResponse(progress=response.progress)
                    case "released":
                        await self._take(under_way, response.released)
                        yield pb.AskFiguresResponse(released=response.released)
        except grpc.aio.AioRpcError as error:
            raise _error(error) from None
        received.check_whole()

    async def _accept(self, under_way: _UnderWay, receipt: audit_pb2.Receipt) -> None:
        """The receipt proves the leaf of this question, in the same history that was seen before.

        :raises Forged: it does not. :raises CheckpointFork: another history; an alarm says so.
        """
        head = await self._followed(receipt, under_way.request.head_size)
        check_asked_leaf(receipt.leaf, under_way.asked)
        under_way.recorded, under_way.proved = True, head.size

    async def _followed(self, receipt: audit_pb2.Receipt, asked_from: int) -> Head:
        """A receipt's head. :raises Forged: see :meth:`_accept`. :raises CheckpointFork:"""
        try:
            return self._heads.accept(receipt, asked_from=asked_from)
        except CheckpointFork as fork:
            await self._log.append(
                self._leaves.alarm(
                    fork.reasons, subject="gateway-log", checkpoints=fork.checkpoints
                )
            )
            raise

    async def _take(self, under_way: _UnderWay, found: statistics_pb2.ReleasedFigures) -> None:
        """A release is on the record that was seen before, and is what was asked for."""
        if not under_way.recorded:
            raise Forged(
                "the gateway releases figures before the question is on its record",
                reasons=("FIGURES_LEAF",),
            )
        if found.HasField("receipt"):
            await self._followed(found.receipt, under_way.proved)
        await asyncio.to_thread(under_way.received.take, found)

    async def _end(self, under_way: _UnderWay) -> None:
        """What came back, on the record; with it the gateway's head is durable."""
        if not under_way.recorded:
            return
        about = _about(under_way.asked)
        digests = [release.digest for release in under_way.received.ordered()]
        about.statement_digest = signing.digest(b"".join(digests))
        leaf = self._leaves.figures(
            CAME_BACK,
            about,
            query_id=under_way.asked.question_id,
            partner_id=self._partner_id,
            user=under_way.asked.user.spiffe_id,
            purpose=under_way.asked.purpose,
        )
        await self._log.append(leaf, also=self._heads.persist())

    async def _refuse(self, error: FairleadError, step: str, user: Identity) -> None:
        leaf = self._leaves.refusal(
            error,
            subject=f"{SUBJECT}.{step}",
            partner_id=self._partner_id,
            user=user.spiffe_id,
        )
        await self._log.append(leaf)


def _about(asked: Signed) -> audit_pb2.FiguresLeaf:
    """What a question is about, as its leaves say it."""
    return audit_pb2.FiguresLeaf(
        cube=asked.cube,
        cube_version=asked.cube_version,
        level=asked.level,
        period=asked.period,
    )


def _error(error: grpc.aio.AioRpcError) -> FairleadError:
    """What the gateway said, as an error of our own; its free text is not repeated."""
    told = [str(v) for k, v in (error.trailing_metadata() or ()) if k == REASON_KEY]
    reasons = tuple(reason_code(code) for code in told[:16] if code)
    if error.code() in _SILENT and not reasons:
        return Unreachable(
            "the gateway does not answer",
            reasons=("GATEWAY_UNREACHABLE",),
            remedy="ask again: what was released stays as it is",
        )
    codes = reasons or ("GATEWAY_REFUSED",)
    kind = Unreachable if error.code() in _SILENT else Refused
    return kind(
        "the gateway refused this question about figures",
        reasons=codes,
        remedy=reason(codes[0]).next,
    )


_OWN_RECORD = (CheckpointFork, Refused, Unreachable)
"""What has its alarm already, or stands in the gateway's log."""
_SILENT = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)

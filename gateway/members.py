"""The members a gateway can reach: one channel, bulkhead and breaker per partner."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from fairlead.door import REASON_KEY
from fairlead.envelope.piece import PIECE_SIZE
from fairlead.v1 import owner_pb2, query_pb2, statistics_pb2, witness_pb2
from gateway.breaker import Breaker, Passage

ANSWER = "/fairlead.v1.OwnerService/Answer"
FEEDBACK = "/fairlead.v1.OwnerService/Feedback"
DELIVER = "/fairlead.v1.OwnerService/Deliver"
ADD_CHECKPOINT = "/fairlead.v1.WitnessService/AddCheckpoint"
FIGURES = "/fairlead.v1.FiguresService"
PLACES = 256
"""Calls to one partner at a time, while it answers."""
QUIET_S = 2.0
"""A partner that was asked and has answered nothing for so long is stalled ..."""
QUIET_PLACES = 16
"""... and further queries do not wait for it beyond so many: they are told OVERLOADED at once."""
MAX_RESPONSE = 256 * 1024
"""Octets; an answer about 512 terms, the most there can be, takes about 135 KiB."""
MAX_WITNESSED = 64 * 1024
"""Octets of what a witness says: a line, or a checkpoint."""
MAX_PIECE = PIECE_SIZE + 4 * 1024
"""Octets of a response with a sealed piece of a publication."""
DRAIN_S = 30.0
"""Seconds the calls on a replaced channel may still take."""
PASSED_ON = frozenset({"DIRECTORY_MISMATCH", "QUERY_WINDOW", "QUORUM_MISSING", "ROOT_UNPINNED"})
"""Reasons of an owner's own door that tell the asker what to do; any other stays a fixed code."""
DELIVERY_PASSED_ON = frozenset(
    {"EPOCH_OVER", "NOT_IN_AUDIENCE", "OWNER_PAUSED", "PIECE", "SEALING_KEY", "UNKNOWN_PARTNER"}
)
"""The same, of an owner that delivers no piece."""
WITNESS_PASSED_ON = frozenset({"NOT_A_WITNESS"})
"""The same, of a witness that cosigns nothing."""
FIGURES_PASSED_ON = frozenset(
    {
        "BOUND_EXCEEDED",
        "CUBE_VERSION",
        "CUT_OFF",
        "FIGURES_LOST",
        "FIGURES_USED_UP",
        "LIST_TOO_CLOSE",
        "NOT_REPORTED",
        "OWNER_PAUSED",
        "PARTICIPANT_MISSING",
        "QUARTER",
        "RELEASE_VERSION",
        "ROOT_UNPINNED",
        "ROUND_DIFFERS",
        "ROUND_ORDER",
        "UNKNOWN_PARTNER",
    }
)
"""The same, of a partner that takes no part in a round of figures."""


M = TypeVar("M", bound=Message)
RoundRequest = (
    statistics_pb2.GetReadyRequest
    | statistics_pb2.CountContributorsRequest
    | statistics_pb2.SumValuesRequest
)
"""What a partner is asked in each of the three rounds of figures."""
_ROUNDS: dict[type[Message], tuple[str, type[Message]]] = {
    statistics_pb2.GetReadyRequest: ("GetReady", statistics_pb2.GetReadyResponse),
    statistics_pb2.CountContributorsRequest: (
        "CountContributors",
        statistics_pb2.CountContributorsResponse,
    ),
    statistics_pb2.SumValuesRequest: ("SumValues", statistics_pb2.SumValuesResponse),
}


class LegFailed(Exception):
    """One partner gave no answer; ``status`` says why, ``reason`` is a stable code."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Transport(Protocol):
    """How a gateway reaches owners. A link dialled by the node will be the second one."""

    async def answer(
        self, partner_id: str, request: owner_pb2.AnswerRequest, *, timeout_s: float
    ) -> owner_pb2.AnswerResponse:
        """Ask one owner.

        :raises LegFailed: unreachable, timed out, overloaded, or the reply is garbage.
        """

    async def feedback(
        self, partner_id: str, request: owner_pb2.OwnerServiceFeedbackRequest, *, timeout_s: float
    ) -> None:
        """Hand sealed feedback to one owner.

        :raises LegFailed: the owner did not take it.
        """

    async def deliver(
        self, partner_id: str, request: owner_pb2.DeliverRequest, *, timeout_s: float
    ) -> owner_pb2.DeliverResponse:
        """Fetch one sealed piece of a publication from its owner.

        :raises LegFailed: unreachable, timed out, overloaded, refused, or the reply is garbage.
        """

    async def add_checkpoint(
        self, partner_id: str, request: witness_pb2.AddCheckpointRequest, *, timeout_s: float
    ) -> witness_pb2.AddCheckpointResponse:
        """Have one witness cosign.

        :raises LegFailed: unreachable, timed out, overloaded, refused, or the reply is garbage.
        """

    async def take_round(
        self, partner_id: str, request: RoundRequest, *, timeout_s: float, limit: int
    ) -> statistics_pb2.RoundStatement:
        """Have one partner take part in a round of figures.

        :param limit: octets that its response may have.
        :raises LegFailed: unreachable, timed out, overloaded, refused, or the reply is garbage.
        """

    async def close(self) -> None:
        """Release every connection."""


_Call = grpc.aio.UnaryUnaryMultiCallable[Message, bytes]


@dataclass(slots=True)
class _Member:
    channel: grpc.aio.Channel
    call: _Call
    version: object = None
    breaker: Breaker = field(default_factory=Breaker)
    in_flight: int = 0
    heard: float = 0.0
    """When it last answered, or was asked while nothing was outstanding."""
    failed_as: int = query_pb2.STATUS_UNREACHABLE
    """The status of its last failure, which stands for it while the breaker is open."""


_UNANSWERED = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
    }
)
"""What a call says when nobody answered it; any other status came from the partner."""

_STATUS_OF = {
    grpc.StatusCode.DEADLINE_EXCEEDED: (query_pb2.STATUS_TIMEOUT, "DEADLINE"),
    grpc.StatusCode.UNAVAILABLE: (query_pb2.STATUS_UNREACHABLE, "UNREACHABLE"),
    grpc.StatusCode.CANCELLED: (query_pb2.STATUS_UNREACHABLE, "UNREACHABLE"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (query_pb2.STATUS_OVERLOADED, "OVERLOADED"),
    grpc.StatusCode.ABORTED: (query_pb2.STATUS_INVALID, "CHECKPOINT_FORK"),
}


def _failure(error: grpc.aio.AioRpcError, passed_on: frozenset[str] = PASSED_ON) -> LegFailed:
    if "larger than max" in (error.details() or ""):  # gRPC's own limit, with a status of overload
        return LegFailed(query_pb2.STATUS_INVALID, "TOO_LARGE")
    told = {str(value) for key, value in error.trailing_metadata() or () if key == REASON_KEY}
    reason = min(passed_on & told, default="OWNER_REFUSED_CALL")
    status = _STATUS_OF.get(error.code(), (query_pb2.STATUS_INVALID, reason))
    return LegFailed(*status)


def _parse(kind: type[M], data: bytes, limit: int) -> M:
    if len(data) > limit:
        raise LegFailed(query_pb2.STATUS_INVALID, "TOO_LARGE")
    try:
        return kind.FromString(data)
    except DecodeError:
        raise LegFailed(query_pb2.STATUS_INVALID, "GARBAGE") from None


class UnaryTransport:
    """One unary call per leg over a long-lived mTLS channel per partner.

    :param connect: opens the channel of a partner.
    :param clock: monotonic seconds.
    :param places: calls to one partner at a time, while it answers.
    :param version: what a partner's channel was opened with; when it differs, a new channel is
        opened and the old one drained.
    """

    def __init__(
        self,
        connect: Callable[[str], grpc.aio.Channel],
        *,
        clock: Callable[[], float],
        places: int = PLACES,
        version: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._version = version
        self._draining: set[asyncio.Task[None]] = set()
        self._places = places
        self._connect = connect
        self._clock = clock
        self._members: dict[str, _Member] = {}

    def _member(self, partner_id: str) -> _Member:
        member = self._members.get(partner_id)
        version = self._version(partner_id)
        if member is not None and member.version != version:
            self._drain(member.channel)
            member = None
        if member is None:
            channel = self._connect(partner_id)
            call: _Call = channel.unary_unary(
                ANSWER,
                request_serializer=owner_pb2.AnswerRequest.SerializeToString,
                response_deserializer=None,
            )
            member = self._members[partner_id] = _Member(
                channel=channel, call=call, version=version
            )
        return member

    async def answer(
        self, partner_id: str, request: owner_pb2.AnswerRequest, *, timeout_s: float
    ) -> owner_pb2.AnswerResponse:
        """See :class:`Transport`."""
        member = self._member(partner_id)
        return _parse(
            owner_pb2.AnswerResponse,
            await self._asked(member, member.call, request, timeout_s, PASSED_ON),
            MAX_RESPONSE,
        )

    async def deliver(
        self, partner_id: str, request: owner_pb2.DeliverRequest, *, timeout_s: float
    ) -> owner_pb2.DeliverResponse:
        """See :class:`Transport`."""
        member = self._member(partner_id)
        take: _Call = member.channel.unary_unary(
            DELIVER,
            request_serializer=owner_pb2.DeliverRequest.SerializeToString,
            response_deserializer=None,
        )
        reply = await self._asked(member, take, request, timeout_s, DELIVERY_PASSED_ON)
        return _parse(owner_pb2.DeliverResponse, reply, MAX_PIECE)

    async def add_checkpoint(
        self, partner_id: str, request: witness_pb2.AddCheckpointRequest, *, timeout_s: float
    ) -> witness_pb2.AddCheckpointResponse:
        """See :class:`Transport`."""
        member = self._member(partner_id)
        take: _Call = member.channel.unary_unary(
            ADD_CHECKPOINT,
            request_serializer=witness_pb2.AddCheckpointRequest.SerializeToString,
            response_deserializer=None,
        )
        reply = await self._asked(member, take, request, timeout_s, WITNESS_PASSED_ON)
        return _parse(witness_pb2.AddCheckpointResponse, reply, MAX_WITNESSED)

    async def take_round(
        self, partner_id: str, request: RoundRequest, *, timeout_s: float, limit: int
    ) -> statistics_pb2.RoundStatement:
        """See :class:`Transport`."""
        member = self._member(partner_id)
        name, kind = _ROUNDS[type(request)]
        take: _Call = member.channel.unary_unary(
            f"{FIGURES}/{name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=None,
        )
        reply = await self._asked(member, take, request, timeout_s, FIGURES_PASSED_ON)
        response: Any = _parse(kind, reply, limit)
        if not response.HasField("statement"):
            raise LegFailed(query_pb2.STATUS_INVALID, "GARBAGE")
        return response.statement  # type: ignore[no-any-return]

    async def _asked(
        self,
        member: _Member,
        make: _Call,
        request: Message,
        timeout_s: float,
        passed_on: frozenset[str],
    ) -> bytes:
        """One call through bulkhead and breaker."""
        passage = self._enter(member)
        call = make(request, timeout=timeout_s)
        member.in_flight += 1
        try:
            response = await call
        except grpc.aio.AioRpcError as error:
            failure = _failure(error, passed_on)
            if error.code() in _UNANSWERED:
                member.failed_as = failure.status
                member.breaker.unanswered(passage, self._clock())
            else:
                self._heard(member)
            raise failure from None
        except BaseException:
            member.breaker.given_up(passage)
            raise
        finally:
            member.in_flight -= 1
            if not call.done():
                call.cancel()
        self._heard(member)
        return response

    async def feedback(
        self, partner_id: str, request: owner_pb2.OwnerServiceFeedbackRequest, *, timeout_s: float
    ) -> None:
        """See :class:`Transport`."""
        take: _Call = self._member(partner_id).channel.unary_unary(
            FEEDBACK,
            request_serializer=owner_pb2.OwnerServiceFeedbackRequest.SerializeToString,
            response_deserializer=None,
        )
        call = take(request, timeout=timeout_s)
        try:
            await call
        except grpc.aio.AioRpcError as error:
            raise _failure(error) from None
        finally:
            call.cancel()

    def _enter(self, member: _Member) -> Passage:
        """Let one call through, or say at once why not: nobody waits for a partner in trouble.

        :raises LegFailed: BULKHEAD_FULL, or BREAKER_OPEN with the status of the last failure.
        """
        now = self._clock()
        if not member.in_flight:
            member.heard = now
        stalled = now - member.heard >= QUIET_S
        if member.in_flight >= (min(QUIET_PLACES, self._places) if stalled else self._places):
            raise LegFailed(query_pb2.STATUS_OVERLOADED, "BULKHEAD_FULL")
        passage = member.breaker.enter(now)
        if passage is Passage.REFUSED:
            raise LegFailed(member.failed_as, "BREAKER_OPEN")
        return passage

    def _heard(self, member: _Member) -> None:
        member.heard = self._clock()
        member.breaker.answered()

    def _drain(self, channel: grpc.aio.Channel) -> None:
        task = asyncio.ensure_future(channel.close(DRAIN_S))
        self._draining.add(task)
        task.add_done_callback(self._draining.discard)

    async def close(self) -> None:
        """See :class:`Transport`."""
        for task in self._draining:
            task.cancel()
        await asyncio.gather(*self._draining, return_exceptions=True)
        await asyncio.gather(*(member.channel.close() for member in self._members.values()))
        self._members.clear()

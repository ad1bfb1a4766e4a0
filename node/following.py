"""Following the gateway: its directory and deny lists as they change, and its clock.

The gateway is believed about nothing: what it sends is verified here as if it lay in a file.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable

import grpc
import grpc.aio

from fairlead.errors import FairleadError, Refused, Stale
from fairlead.membership import Membership
from fairlead.names import reason_code
from fairlead.server import REASON_KEY
from fairlead.telemetry import Event, get_logger
from fairlead.v1 import federation_pb2, federation_pb2_grpc
from node.line import GatewayLine

DEAD_S = 15.0
"""Seconds of silence after which a stream is given up: three missed signs of life."""
PAUSE_S, MAX_PAUSE_S = 0.2, 10.0
MAX_SKEW_S = 120.0


_REFUSALS = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}


class Following:
    """Keeps one ``Follow`` stream open, and takes over what arrives.

    :param jitter: a factor between 0 and 1 for each pause, so that nodes do not return at once.
    """

    def __init__(
        self,
        line: GatewayLine,
        member: Membership,
        *,
        clock: Callable[[], float],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._line = line
        self._member = member
        self._clock = clock
        self._jitter = jitter
        self._hurry = asyncio.Event()
        self._refused = b""
        self.skew_s = 0.0
        """The gateway's clock minus this one's, when last heard."""
        self.connected = asyncio.Event()
        """Set while a stream is open and has said something."""
        self.on_connected: Callable[[], None] = lambda: None
        """Called when a stream has said something for the first time."""
        self.on_policy: Callable[[federation_pb2.FollowResponse], None] = lambda _response: None
        """Called with each message, for what it says of policy."""
        self._heard = b""
        member.directory.on_unknown = self._hurry.set
        member.on_change.append(lambda _before, _after: self._hear_again())

    def check_clock(self) -> None:
        """:raises Stale: CLOCK_SKEW, this clock and the gateway's differ by over two minutes."""
        if abs(self.skew_s) > MAX_SKEW_S:
            raise Stale(
                "this node's clock and the gateway's differ by more than two minutes",
                reasons=("CLOCK_SKEW",),
                remedy="timedatectl status   (on both machines), correct the clock, ask again",
            )

    async def run(self) -> None:
        """Follow until cancelled; reconnect after a pause that grows and jitters."""
        pause = PAUSE_S
        while True:
            try:
                await self._stream()
                pause = PAUSE_S
            except (grpc.aio.AioRpcError, TimeoutError) as error:
                if isinstance(error, grpc.aio.AioRpcError) and error.code() in _REFUSALS:
                    self._member.problem(gateway_refusal(error))
                pause = PAUSE_S if self.connected.is_set() else min(2 * pause, MAX_PAUSE_S)
            except FairleadError as error:
                self._member.problem(error)
                pause = min(2 * pause, MAX_PAUSE_S)
            if self.connected.is_set():
                get_logger().warning(Event.GATEWAY_LOST)
                self.connected.clear()
            self._hurry.clear()
            try:
                async with asyncio.timeout(pause * (0.5 + self._jitter())):
                    await self._hurry.wait()
            except TimeoutError:
                continue

    async def _stream(self) -> None:
        stub = federation_pb2_grpc.FederationServiceStub(self._line.channel())
        call = stub.Follow(federation_pb2.FollowRequest())
        self._refused = b""
        try:
            while True:
                async with asyncio.timeout(DEAD_S):
                    response = await call.read()
                if not isinstance(response, federation_pb2.FollowResponse):  # EOF
                    return
                await self._hear(response)
                self.on_policy(response)
                if not self.connected.is_set():
                    self.connected.set()
                    self.on_connected()
                    get_logger().info(Event.GATEWAY_FOLLOWED)
        finally:
            call.cancel()

    async def _hear(self, response: federation_pb2.FollowResponse) -> None:
        """Take over what verifies; what does not is written down once, and changes nothing."""
        before, self.skew_s = self.skew_s, response.time_ms / 1000 - self._clock()
        if abs(self.skew_s) > MAX_SKEW_S >= abs(before):
            get_logger().error(Event.CLOCK_SKEW, age_s=int(self.skew_s))
        if response.directory:
            await self._take(response.directory)
        self._member.directory.confirm(response.directory_serial)
        if response.deny_lists:
            self._heard = response.deny_lists
            try:
                self._member.take_deny_lists(response.deny_lists)
            except FairleadError as error:
                self._member.problem(error)

    def _hear_again(self) -> None:
        """Lists of partners that were unknown when the gateway sent them may count by now."""
        with contextlib.suppress(Stale):
            if self._heard:
                self._member.take_deny_lists(self._heard)

    async def _take(self, directory: bytes) -> None:
        if directory == self._refused:
            return
        try:
            await self._member.take(directory)
        except FairleadError as error:
            self._refused = directory
            self._member.problem(error)


def gateway_refusal(error: grpc.aio.AioRpcError) -> Refused:
    """What the gateway refused, by its first reason code; its free text is not repeated."""
    told = [str(v) for k, v in (error.trailing_metadata() or ()) if k == REASON_KEY]
    reasons = tuple(reason_code(code) for code in told[:16] if code)
    return Refused("the gateway refused", reasons=reasons or ("GATEWAY_REFUSED",))

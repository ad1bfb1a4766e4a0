"""The node's side of policy releases: hears of them, fetches them, and passes officers' on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

import grpc
import grpc.aio

from fairlead import signing
from fairlead.auditlog import AuditLog
from fairlead.certificates import Identity
from fairlead.errors import FairleadError, Forged, NotFound, Unreachable
from fairlead.leaves import LeafWriter
from fairlead.policy.bundle import Files
from fairlead.policy.manifest import MANIFEST, parse_manifest
from fairlead.policy.wire import from_wire, to_wire
from fairlead.releases import Releases
from fairlead.telemetry import Event, get_logger
from fairlead.v1 import federation_pb2 as pb
from fairlead.v1 import federation_pb2_grpc, policy_pb2
from node.following import gateway_refusal
from node.line import GatewayLine

CALL_S = 20.0
MAX_CHAIN = 256
"""Releases that a node which was away follows one after the other."""
PAUSE_S, MAX_PAUSE_S = 1.0, 60.0

T = TypeVar("T")


class ReleaseFollower:
    """Keeps the node under the gateway's release, and serves its officers.

    :param own: the node's SPIFFE id.
    """

    def __init__(
        self,
        releases: Releases,
        line: GatewayLine,
        *,
        own: str,
        log: AuditLog,
        leaves: LeafWriter,
        clock: Callable[[], float],
    ) -> None:
        self._releases = releases
        self._line = line
        self._own = own
        self._log = log
        self._leaves = leaves
        self._clock = clock
        self._wake = asyncio.Event()
        self._wanted: tuple[int, bytes] = (0, b"")
        self._refused = b""
        self._reported: tuple[object, ...] = ()
        releases.on_change.append(self._wake.set)

    # ── Following ────────────────────────────────────────────────────────────────────────────

    def connected(self) -> None:
        """A stream to the gateway has opened: it may have forgotten what was reported."""
        self._reported = ()
        self._wake.set()

    def heard(self, response: pb.FollowResponse) -> None:
        """What the gateway says is in force: perhaps what decides here, perhaps another one."""
        if not response.policy_serial:
            return
        self._releases.confirm(response.policy_serial, response.policy_identity.hex())
        self._wanted = response.policy_serial, response.policy_manifest
        if self._behind():
            self._wake.set()

    def _behind(self) -> bool:
        """Whether the gateway has a manifest that is neither here nor was refused here."""
        known = (b"", self._refused, signing.digest(self._releases.bundle.signed.to_bytes()))
        return self._wanted[1] not in known

    async def run(self) -> None:
        """Catch up and report, whenever there is reason to, until cancelled."""
        pause = PAUSE_S
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                if self._behind():
                    await self._catch_up()
                await self._report()
                pause = PAUSE_S
            except FairleadError as error:
                get_logger().warning(Event.POLICY_NOT_HEARD, error=error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, MAX_PAUSE_S)
                if isinstance(error, Unreachable):
                    self._wake.set()

    async def _catch_up(self) -> None:
        """Take up every release between the one in force here and the gateway's, or none."""
        serial, manifest = self._wanted
        try:
            chain = await self._chain(min(self._releases.bundle.serial, serial - 1), serial)
            await self._releases.take(*chain)
        except Unreachable:
            raise
        except FairleadError:  # on the record; the same again would be refused again
            self._refused = manifest
            raise
        self._releases.confirm(serial, self._releases.bundle.identity)

    async def _chain(self, after: int, newest: int) -> list[Files]:
        chain: list[Files] = []
        while after < newest:
            files = await self._next(after)
            serial = parse_manifest(files[MANIFEST]).manifest.serial
            if serial <= after or len(chain) >= MAX_CHAIN:
                raise Forged("the gateway shows no later policy", reasons=("POLICY_CHAIN",))
            chain.append(files)
            after = serial
        return chain

    async def _next(self, after: int) -> Files:
        request = pb.FetchPolicyRequest(after=after)
        response: pb.FetchPolicyResponse = await self._call(
            lambda stub: stub.FetchPolicy(request, timeout=CALL_S)
        )
        return from_wire(response.release)

    async def _report(self) -> None:
        bundle, since = self._releases.bundle, int(self._releases.since)
        told = (bundle.serial, bundle.identity, since)
        if told == self._reported:
            return
        request = pb.ReportPolicyRequest(
            serial=bundle.serial, identity=bytes.fromhex(bundle.identity), since=since
        )
        with suppress(Unreachable):  # told when the stream opens again
            await self._call(lambda stub: stub.ReportPolicy(request, timeout=CALL_S))
            self._reported = told

    async def _call(self, call: Callable[[Any], Awaitable[T]]) -> T:
        """One call of the gateway.

        :raises Unreachable: for now. :raises Refused: with the gateway's reasons.
        """
        stub = federation_pb2_grpc.FederationServiceStub(self._line.channel())
        try:
            return await call(stub)
        except grpc.aio.AioRpcError as error:
            refused = gateway_refusal(error)
            judged = refused.code.startswith(("POLICY_", "AGREEMENTS_", "ENGINE_"))
            if error.code() in _LATER and not judged:
                raise Unreachable(
                    "the gateway cannot be reached",
                    reasons=("GATEWAY_UNREACHABLE",),
                    remedy="fairlead-node status   (is the gateway reachable?), then again",
                ) from None
            raise refused from None

    # ── Officers ─────────────────────────────────────────────────────────────────────────────

    def get(self, serial: int) -> policy_pb2.GetPolicyResponse:
        """A release that is, or was, in force here.

        :raises NotFound: none of that serial is kept.
        """
        files = self._releases.files(serial)
        if files is None:
            raise NotFound(
                "this node keeps no policy of that serial",
                reasons=("POLICY_UNKNOWN",),
                remedy="fairlead policy status; another partner's node may keep it",
            )
        return policy_pb2.GetPolicyResponse(release=to_wire(files))

    async def publish(self, release: policy_pb2.PolicyRelease, user: Identity) -> int:
        """Hand a release to the gateway; who did so is on this node's record first.

        :returns: the serial in force at the gateway.
        :raises FairleadError: it refused, or is out of reach.
        """
        try:
            manifest = parse_manifest(from_wire(release)[MANIFEST]).manifest
        except FairleadError as error:
            subject = "PolicyService.PublishPolicy"
            refusal = self._leaves.refusal(error, subject=subject, user=user.spiffe_id)
            await self._log.append(refusal)
            raise
        identity = bytes.fromhex(manifest.identity)
        leaf = self._leaves.owner("policy-published", user=user.spiffe_id, digest=identity)
        await self._log.append(leaf)
        request = pb.FederationServicePublishPolicyRequest(release=release, user=user.spiffe_id)
        response: pb.FederationServicePublishPolicyResponse = await self._call(
            lambda stub: stub.PublishPolicy(request, timeout=CALL_S)
        )
        return int(response.serial)

    async def status(self) -> policy_pb2.PolicyStatusResponse:
        """What decides here, and everywhere as far as the gateway can be heard."""
        releases, now = self._releases, self._clock()
        bundle, own = releases.bundle, releases.own
        manifest = bundle.manifest
        found = policy_pb2.PolicyStatusResponse(
            here=policy_pb2.PolicyServed(
                spiffe_id=self._own,
                serial=bundle.serial,
                identity=bytes.fromhex(bundle.identity),
                since=int(releases.since),
                reported_at=int(now),
            ),
            issued_at=manifest.issued_at,
            not_after=manifest.not_after,
            until=int(releases.until),
            kind=manifest.kind.value,
            reviewed=bundle.reviewed,
            overdue=releases.overdue(now),
            own_serial=own.serial if own else 0,
            own_identity=bytes.fromhex(own.identity) if own else b"",
        )
        with suppress(FairleadError):
            listed: pb.ListPoliciesResponse = await self._call(
                lambda stub: stub.ListPolicies(pb.ListPoliciesRequest(), timeout=CALL_S)
            )
            found.served.extend(listed.served)
            found.gateway_reached = True
        return found


_LATER = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}

"""The gateway's side of policy releases: taken from officers, passed to nodes, and who has which.

Whoever brings one is believed about nothing: two people of two organisations signed it, it follows
the release in force, or it is refused (:mod:`fairlead.releases`).
"""

from __future__ import annotations

from collections.abc import Callable

from fairlead.certificates import Identity, IdentityKind, SpiffeId
from fairlead.errors import FairleadError
from fairlead.policy.wire import from_wire, to_wire
from fairlead.releases import Releases
from fairlead.signing import digest
from fairlead.v1 import federation_pb2 as pb
from fairlead.v1 import policy_pb2

MAX_NODES = 4_096


class ReleaseExchange:
    """Hands releases on between officers and nodes.

    :param own: the gateway's SPIFFE id.
    """

    def __init__(self, releases: Releases, *, own: str, clock: Callable[[], float]) -> None:
        self._releases = releases
        self._own = own
        self._clock = clock
        self._served: dict[str, policy_pb2.PolicyServed] = {}

    def announce(self, event: pb.FollowResponse) -> None:
        """Say in a message to followers which release is in force."""
        bundle = self._releases.bundle
        event.policy_serial = bundle.serial
        event.policy_identity = bytes.fromhex(bundle.identity)
        event.policy_manifest = digest(bundle.signed.to_bytes())

    def fetch(self, request: pb.FetchPolicyRequest) -> pb.FetchPolicyResponse:
        """The release that came after one a node has."""
        found = self._releases.next_after(request.after)
        release = to_wire(found) if found is not None else None
        return pb.FetchPolicyResponse(release=release, newest=self._releases.bundle.serial)

    async def publish(
        self, request: pb.FederationServicePublishPolicyRequest, peer: Identity
    ) -> int:
        """Put a release in force for everybody.

        The release in force once more says that it still is the current one, which its maximum
        age counts from; that needs one officer, for it changes nothing.

        :returns: the serial in force.
        :raises FairleadError: refused, with the refusal on the record; nothing has changed.
        """
        user, partner_id = _person(request.user, peer), peer.partner_id or ""
        try:
            files = from_wire(request.release)
        except FairleadError as error:
            await self._releases.refuse(error, partner_id=partner_id, user=user)
            raise
        if not await self._releases.take(files, partner_id=partner_id, user=user):
            await self._releases.renew()
        return self._releases.bundle.serial

    def report(self, request: pb.ReportPolicyRequest, peer: Identity) -> None:
        """A node tells what it decides under; the last word counts."""
        if peer.spiffe_id not in self._served and len(self._served) >= MAX_NODES:
            return
        self._served[peer.spiffe_id] = policy_pb2.PolicyServed(
            spiffe_id=peer.spiffe_id,
            serial=request.serial,
            identity=request.identity[:32],
            since=request.since,
            reported_at=int(self._clock()),
        )

    def listed(self) -> pb.ListPoliciesResponse:
        """Who decides under which release: this gateway, then every node that told it."""
        bundle = self._releases.bundle
        own = policy_pb2.PolicyServed(
            spiffe_id=self._own,
            serial=bundle.serial,
            identity=bytes.fromhex(bundle.identity),
            since=int(self._releases.since),
            reported_at=int(self._clock()),
        )
        others = [self._served[name] for name in sorted(self._served)]
        return pb.ListPoliciesResponse(served=[own, *others])


def _person(claimed: str, peer: Identity) -> str:
    """Who brings a release, as the record says: one of the caller's own people, or the caller."""
    try:
        found = SpiffeId.parse(claimed)
    except FairleadError:
        return peer.spiffe_id
    own = found.kind is IdentityKind.USER and found.partner_id == peer.partner_id
    return claimed if own else peer.spiffe_id
